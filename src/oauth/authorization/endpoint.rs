//! The authorization endpoint (RFC 6749 §3.1): a request in, a way to the front-end's login page or back to the client out.

use std::sync::Arc;
use std::time::Duration;

use url::Url;

use super::checks::{AuthorizationError, Way};
use super::id_token_hint::IdTokenHints;
use super::request::AuthorizationRequest;
use crate::clock::Clock;
use crate::entropy::Entropy;
use crate::oauth::OAuthError;
use crate::oauth::authentication::Authenticator;
use crate::oauth::beginnings::Beginnings;
use crate::oauth::client::{Client, GrantType};
use crate::oauth::dpop::Proofs;
use crate::oauth::error::UNAVAILABLE;
use crate::oauth::handle::Handle;
use crate::oauth::once::UsedOnce;
use crate::oauth::parameters::PresentedParameters;
use crate::oauth::registrations::{CurrentRegistrations, Registrations};
use crate::oauth::source::Source;
use crate::store::{BegunLogin, LoginKind, PendingLogin, Store};

/// How long a person may take to log in.
const LIFETIME: Duration = Duration::from_secs(600);

/// How many logins wait at a time, at the most: anybody can begin one.
const MOST: u32 = 50_000;

/// Judges authorization requests, pushed or brought by browsers, and keeps those that are good.
pub struct AuthorizationEndpoint {
    /// Whose they are, and who logs people in.
    pub registrations: CurrentRegistrations,
    /// Has clients prove themselves that push requests.
    pub authenticator: Arc<Authenticator>,
    /// Judges their proofs.
    pub proofs: Arc<Proofs>,
    /// Request objects that were used.
    pub used: Arc<UsedOnce>,
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
    /// The issuer identifier.
    pub issuer: String,
    /// Where requests are pushed to, as clients know it.
    pub pushed_url: Url,
}

impl AuthorizationEndpoint {
    /// Begins the login that `presented`, the query or the form, asks for from `source`. Where the browser goes then: to the
    /// login page of the client's front-end, with the handle of the login.
    ///
    /// # Errors
    /// [`AuthorizationError`].
    pub async fn begin(&self, presented: &[u8], source: Option<Source>) -> Result<String, AuthorizationError> {
        let parameters = PresentedParameters::parse_repeated(presented).map_err(AuthorizationError::Page)?;
        let registered = self.registrations.load();
        let client = client(&registered, &parameters).map_err(AuthorizationError::Page)?;
        let request_uri = parameters.find_once("request_uri").map_err(AuthorizationError::Page)?;
        let request = match request_uri {
            None => {
                let request = self.checked(&registered, client, &parameters, Way::Browser).await?;
                // Not for the client to hear: it cannot help it, and would send the browser again.
                self.beginnings.admit(source).map_err(AuthorizationError::Page)?;
                request
            }
            // RFC 9101 §5.
            Some(_) if parameters.find_once("request").map_or(true, |object| object.is_some()) => {
                return Err(AuthorizationError::Page(OAuthError::InvalidRequest(
                    "request and request_uri: expected one of them",
                )));
            }
            // What else is there does not count (RFC 9126 §4): the client said it all when it pushed.
            Some(request_uri) => self.taken(client, request_uri, source).await.map_err(AuthorizationError::Page)?,
        };
        let page = login_page(&registered, client);
        let handle = match page {
            Ok(page) => self.keep(&request).await.map(|handle| (page, handle)),
            Err(error) => Err(error),
        };
        let (page, handle) = handle.map_err(|error| AuthorizationError::of(&request, &self.issuer, error))?;
        let mut page = page.clone();
        page.query_pairs_mut().append_pair("login", &handle.text());
        Ok(page.into())
    }

    async fn keep(&self, request: &AuthorizationRequest) -> Result<Handle, OAuthError> {
        let handle = Handle::new(&*self.entropy);
        let (kind, now) = (LoginKind::Authorization, self.clock.now());
        let login = PendingLogin::new(kind, handle.id(), request.client_id.clone(), request.stored()?, now);
        match self.store.begin_login(login.lasting(LIFETIME), MOST).await? {
            BegunLogin::Begun => Ok(handle),
            BegunLogin::Full => {
                tracing::warn!("as many logins wait as may wait: refusing");
                Err(UNAVAILABLE)
            }
            // It has none.
            BegunLogin::UserCodeTaken => Err(OAuthError::ServerError),
        }
    }
}

/// The client that the request names.
fn client<'a>(registered: &'a Registrations, parameters: &PresentedParameters<'_>) -> Result<&'a Client, OAuthError> {
    let id = parameters.find_once("client_id")?.ok_or(OAuthError::InvalidRequest("client_id is required"))?;
    let client = registered.clients.find(id).ok_or(OAuthError::InvalidRequest("client_id: there is no such client"))?;
    if !client.may_use(GrantType::AuthorizationCode) {
        return Err(OAuthError::UnauthorizedClient("the client may not use the grant authorization_code"));
    }
    Ok(client)
}

/// The page on which people log in to `client`.
pub(super) fn login_page<'a>(registered: &'a Registrations, client: &Client) -> Result<&'a Url, OAuthError> {
    let frontend = registered.frontends.of_client(&client.id);
    let page = frontend.and_then(|frontend| frontend.pages.login.as_ref());
    page.ok_or(OAuthError::UnauthorizedClient("no front-end logs people in for this client"))
}
