//! The end session endpoint (§2).

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use url::form_urlencoded;

use crate::clock::Clock;
use crate::entropy::Entropy;
use crate::oauth::OAuthError;
use crate::oauth::authorization::{IdTokenHint, IdTokenHints};
use crate::oauth::beginnings::Beginnings;
use crate::oauth::client::Client;
use crate::oauth::error::UNAVAILABLE;
use crate::oauth::handle::Handle;
use crate::oauth::parameters::PresentedParameters;
use crate::oauth::registrations::{CurrentRegistrations, Registrations};
use crate::oauth::source::Source;
use crate::store::{BegunLogin, LoginKind, PendingLogin, Store};

/// How long a person may take to confirm it.
const LIFETIME: Duration = Duration::from_secs(600);

/// How many logins and logouts wait at a time, at the most: anybody can begin one.
const MOST: u32 = 50_000;

/// Bytes of a parameter that is kept.
const LONGEST: usize = 2048;

/// Judges logout requests that browsers bring.
pub struct LogoutEndpoint {
    /// Whose they are, and who logs people out.
    pub registrations: CurrentRegistrations,
    /// Reads `id_token_hint`.
    pub hints: IdTokenHints,
    /// What sources have begun.
    pub beginnings: Arc<Beginnings>,
    /// Where requests wait.
    pub store: Arc<dyn Store>,
    /// The clock.
    pub clock: Arc<dyn Clock>,
    /// What handles are made of.
    pub entropy: Arc<dyn Entropy>,
}

/// What a client asked for. It is what the store has, in JSON.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct LogoutRequest {
    /// The client.
    pub client_id: String,
    /// Where the browser goes afterwards: a registered one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub post_logout_redirect_uri: Option<String>,
    /// Goes there with it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<String>,
    /// `sub` of the ID token of ours that was the `id_token_hint`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<String>,
    /// `sid` of that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sid: Option<String>,
    /// Whom the client means.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub logout_hint: Option<String>,
    /// Language tags, separated by spaces.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ui_locales: Option<String>,
}

impl LogoutEndpoint {
    /// Begins the logout that `presented`, the query or the form, asks for from `source`. Where the browser goes then: to the
    /// logout page of the client's front-end, with the handle of the logout.
    ///
    /// # Errors
    /// [`OAuthError`], for the person to see: nobody is sent back by a request that is not good (§4).
    pub async fn begin(&self, presented: &[u8], source: Option<Source>) -> Result<String, OAuthError> {
        let parameters = PresentedParameters::parse(presented)?;
        let registered = self.registrations.load();
        let hint = parameters.find("id_token_hint").map(|text| {
            self.hints.read(text).ok_or(OAuthError::InvalidRequest("id_token_hint: expected an ID token of ours"))
        });
        let hint = hint.transpose()?;
        let client = client(&registered, &parameters, hint.as_ref())?;
        let redirect_uri = parameters.find("post_logout_redirect_uri");
        if redirect_uri.is_some_and(|uri| !client.is_redirected_to_after_logout(uri)) {
            return Err(OAuthError::InvalidRequest(
                "post_logout_redirect_uri: expected one that is registered, character for character",
            ));
        }
        let frontend = registered.frontends.of_client(&client.id);
        let page = frontend.and_then(|frontend| frontend.pages.logout.clone());
        let mut page = page.ok_or(OAuthError::UnauthorizedClient("no front-end logs people out of this client"))?;
        let (subject, sid) = hint.map_or((None, None), |hint| (Some(hint.sub), hint.sid));
        let request = LogoutRequest {
            client_id: client.id.clone(),
            post_logout_redirect_uri: redirect_uri.map(str::to_owned),
            state: text(parameters.find("state"))?,
            subject,
            sid,
            logout_hint: text(parameters.find("logout_hint"))?,
            ui_locales: text(parameters.find("ui_locales"))?,
        };
        self.beginnings.admit(source)?;
        let handle = self.keep(&request).await?;
        page.query_pairs_mut().append_pair("logout", &handle.text());
        Ok(page.into())
    }

    async fn keep(&self, request: &LogoutRequest) -> Result<Handle, OAuthError> {
        let handle = Handle::new(&*self.entropy);
        let json = serde_json::to_string(request).map_err(|_| OAuthError::ServerError)?;
        let logout =
            PendingLogin::new(LoginKind::Logout, handle.id(), request.client_id.clone(), json, self.clock.now());
        match self.store.begin_login(logout.lasting(LIFETIME), MOST).await? {
            BegunLogin::Begun => Ok(handle),
            BegunLogin::Full => {
                tracing::warn!("as many logins and logouts wait as may wait: refusing");
                Err(UNAVAILABLE)
            }
            // It has none.
            BegunLogin::UserCodeTaken => Err(OAuthError::ServerError),
        }
    }
}

impl LogoutRequest {
    /// Where the browser goes once the person is logged out (§3); none where it stays at the front-end.
    pub fn done(&self) -> Option<String> {
        let uri = self.post_logout_redirect_uri.as_ref()?;
        let Some(state) = &self.state else { return Some(uri.clone()) };
        let separator = match uri.split_once('?') {
            None => "?",
            Some((_, query)) if query.is_empty() || query.ends_with('&') => "",
            Some(_) => "&",
        };
        let query = form_urlencoded::Serializer::new(String::new()).append_pair("state", state).finish();
        Some(format!("{uri}{separator}{query}"))
    }
}

/// The client that asks: the one that it names, or that the ID token was made for. Both have to be the same (§2).
fn client<'a>(
    registered: &'a Registrations,
    parameters: &PresentedParameters<'_>,
    hint: Option<&IdTokenHint>,
) -> Result<&'a Client, OAuthError> {
    let id = match (parameters.find("client_id"), hint) {
        (Some(id), Some(hint)) if !hint.is_for(id) => {
            return Err(OAuthError::InvalidRequest("id_token_hint: expected an ID token of the client"));
        }
        (Some(id), _) => Some(id),
        (None, Some(hint)) => hint.only_audience(),
        (None, None) => return Err(OAuthError::InvalidRequest("id_token_hint or client_id is required")),
    };
    let client = id.and_then(|id| registered.clients.find(id));
    client.map(AsRef::as_ref).ok_or(OAuthError::InvalidRequest("client_id: there is no such client"))
}

/// What is kept as it came.
fn text(presented: Option<&str>) -> Result<Option<String>, OAuthError> {
    let Some(text) = presented else { return Ok(None) };
    if text.len() > LONGEST || text.chars().any(char::is_control) {
        return Err(OAuthError::InvalidRequest(
            "state, logout_hint, ui_locales: expected at the most 2048 bytes of text each",
        ));
    }
    Ok(Some(text.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_browser_goes_where_it_may_with_the_state() {
        let done = |uri: Option<&str>, state: Option<&str>| {
            let owned = |text: Option<&str>| text.map(str::to_owned);
            LogoutRequest {
                client_id: "web".to_owned(),
                post_logout_redirect_uri: owned(uri),
                state: owned(state),
                subject: None,
                sid: None,
                logout_hint: None,
                ui_locales: None,
            }
            .done()
        };
        assert_eq!(done(None, Some("s")), None);
        assert_eq!(done(Some("https://app/"), None).unwrap(), "https://app/");
        assert_eq!(done(Some("https://app/"), Some("a&b=c d")).unwrap(), "https://app/?state=a%26b%3Dc+d");
        assert_eq!(done(Some("https://app/?a=1"), Some("s")).unwrap(), "https://app/?a=1&state=s");
    }
}
