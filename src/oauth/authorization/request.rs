//! An authorization request that was found good, as it waits in the store for a front-end's decision.

use serde::{Deserialize, Serialize};
use url::form_urlencoded;

use crate::jose::thumbprint::Thumbprint;

/// What a client asked for. It is what the store has, in JSON; a member that is empty or `None` is left out.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
// What a later release wrote, and this one does not know, may be a limit.
#[serde(deny_unknown_fields)]
pub struct AuthorizationRequest {
    /// The client.
    pub client_id: String,
    /// Where the browser goes with the answer, exactly as the client wrote it: a registered one, at a loopback address with
    /// the port of the moment.
    pub redirect_uri: String,
    /// What it asks for, within what the client may have: values separated by spaces. All of that where it did not say.
    pub scope: String,
    /// Comes back with the answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<String>,
    /// Goes into the ID token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nonce: Option<String>,
    /// The SHA-256 of the code verifier (RFC 7636 §4.2; the method is always `S256`).
    pub code_challenge: Thumbprint,
    /// How the person is to be asked (OpenID Connect Core §3.1.2.1): `none` only alone.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub prompt: Vec<Prompt>,
    /// The seconds since the last login after which there has to be another one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_age: Option<u64>,
    /// Whom the client expects.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub login_hint: Option<String>,
    /// Language tags, separated by spaces.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ui_locales: Option<String>,
    /// Authentication contexts, separated by spaces, the preferred ones first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub acr_values: Option<String>,
    /// Who the tokens are to be for (RFC 8707 §2.1), each one that the client may name; the client's own audience where
    /// there is none. The token request may name some of these.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub resources: Vec<String>,
    /// The key that the code is bound to (RFC 9449 §10).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dpop_jkt: Option<Thumbprint>,
    /// `sub` of the ID token of ours that was the `id_token_hint`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<String>,
}

/// A value of `prompt`.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Prompt {
    /// Nobody may be asked anything.
    None,
    /// The person has to log in again.
    Login,
    /// The person has to agree again.
    Consent,
    /// The person has to choose an account.
    SelectAccount,
}

impl Prompt {
    /// Every one.
    pub const ALL: [Self; 4] = [Self::None, Self::Login, Self::Consent, Self::SelectAccount];

    /// As `prompt` has it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Login => "login",
            Self::Consent => "consent",
            Self::SelectAccount => "select_account",
        }
    }

    /// The one that `text` names.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|prompt| prompt.as_str() == text)
    }
}

impl AuthorizationRequest {
    /// Where the browser goes with `code`, from the issuer `issuer` (RFC 6749 §4.1.2, RFC 9207 §2).
    pub fn granted(&self, issuer: &str, code: &str) -> String {
        answered(&self.redirect_uri, &[("code", Some(code)), ("state", self.state.as_deref()), ("iss", Some(issuer))])
    }

    /// Where the browser goes with an error (RFC 6749 §4.1.2.1, RFC 9207 §2).
    pub fn refused(&self, issuer: &str, error: &str, description: Option<&str>) -> String {
        refused(&self.redirect_uri, self.state.as_deref(), issuer, error, description)
    }
}

/// As [`AuthorizationRequest::refused`], for a request that never became one.
pub(super) fn refused(
    redirect_uri: &str,
    state: Option<&str>,
    issuer: &str,
    error: &str,
    description: Option<&str>,
) -> String {
    let answer = [("error", Some(error)), ("error_description", description), ("state", state), ("iss", Some(issuer))];
    answered(redirect_uri, &answer)
}

/// `redirect_uri`, and what is there of `answer` after the query that it has (RFC 6749 §3.1.2).
fn answered(redirect_uri: &str, answer: &[(&str, Option<&str>)]) -> String {
    let separator = match redirect_uri.split_once('?') {
        None => "?",
        Some((_, query)) if query.is_empty() || query.ends_with('&') => "",
        Some(_) => "&",
    };
    let mut query = form_urlencoded::Serializer::new(String::new());
    for (name, value) in answer {
        if let Some(value) = value {
            query.append_pair(name, value);
        }
    }
    format!("{redirect_uri}{separator}{}", query.finish())
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// The request of the client `id`, for tests that change what they are about.
    pub(crate) fn request(id: &str) -> AuthorizationRequest {
        AuthorizationRequest {
            client_id: id.to_owned(),
            redirect_uri: "https://app.example.com/callback".to_owned(),
            scope: "openid".to_owned(),
            state: None,
            nonce: None,
            code_challenge: Thumbprint::of(b"verifier"),
            prompt: Vec::new(),
            max_age: None,
            login_hint: None,
            ui_locales: None,
            acr_values: None,
            resources: Vec::new(),
            dpop_jkt: None,
            subject: None,
        }
    }

    #[test]
    fn the_answer_follows_the_query_that_is_there_and_cannot_add_to_itself() {
        let at = |redirect_uri: &str, state: Option<&str>| {
            let request = AuthorizationRequest {
                redirect_uri: redirect_uri.to_owned(),
                state: state.map(str::to_owned),
                ..request("web")
            };
            [request.granted("https://mint.example.com", "c"), request.refused("https://mint.example.com", "e", None)]
        };
        let iss = "iss=https%3A%2F%2Fmint.example.com";
        assert_eq!(at("https://a.example", None)[0], format!("https://a.example?code=c&{iss}"));
        assert_eq!(at("https://a.example/?", None)[0], format!("https://a.example/?code=c&{iss}"));
        assert_eq!(at("https://a.example/?b=c", None)[1], format!("https://a.example/?b=c&error=e&{iss}"));
        let state = "x&code=other#y é";
        assert_eq!(
            at("https://a.example/", Some(state))[0],
            format!("https://a.example/?code=c&state=x%26code%3Dother%23y+%C3%A9&{iss}")
        );
    }

    #[test]
    fn the_store_has_what_was_asked_for_and_nothing_more() {
        let request = AuthorizationRequest { prompt: vec![Prompt::SelectAccount], max_age: Some(0), ..request("web") };
        let json = serde_json::to_string(&request).unwrap();
        assert_eq!(serde_json::from_str::<AuthorizationRequest>(&json).unwrap(), request);
        assert!(json.ends_with(r#""prompt":["select_account"],"max_age":0}"#), "{json}");
    }
}
