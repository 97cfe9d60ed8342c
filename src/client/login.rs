//! What is said about logins.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// A login that waits for a decision. Times are seconds since the epoch.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq)]
#[non_exhaustive]
pub struct Login {
    /// The client that asks.
    pub client_id: String,
    /// Where the browser goes in the end.
    pub redirect_uri: String,
    /// The scope that is asked for.
    #[serde(default)]
    pub scope: String,
    /// The audiences that are asked for (RFC 8707).
    #[serde(default)]
    pub resource: Vec<String>,
    /// `prompt`, as it was asked for: whether to ask again (OpenID Connect Core §3.1.2.1).
    #[serde(default)]
    pub prompt: Option<String>,
    /// The most seconds that the person may have been logged in.
    #[serde(default)]
    pub max_age: Option<u64>,
    /// Who it probably is.
    #[serde(default)]
    pub login_hint: Option<String>,
    /// The authentication contexts that are wanted.
    #[serde(default)]
    pub acr_values: Option<String>,
    /// The languages of the person.
    #[serde(default)]
    pub ui_locales: Option<String>,
    /// Whom the client expects, where it presented an ID token.
    #[serde(default)]
    pub subject: Option<String>,
    /// When the login is over.
    pub expires_at: i64,
}

/// That a person logged in, and agrees.
#[derive(Clone, Debug, Default, Eq, PartialEq, Serialize)]
pub struct Acceptance {
    /// Who it is: `sub` of what is issued.
    pub subject: String,
    /// The scope that was agreed to, within what was asked for; all of it where it is left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scope: Option<String>,
    /// When the person proved who it is; now where it is left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub auth_time: Option<i64>,
    /// The authentication context (OpenID Connect Core §2).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub acr: Option<String>,
    /// How it was proven (RFC 8176).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub amr: Option<Vec<String>>,
    /// Further claims of the person, for ID token and userinfo.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub claims: Option<Map<String, Value>>,
    /// The front-end's own name for the session, to end it by.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub session: Option<String>,
}

/// That nobody logged in, or somebody does not agree.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct Refusal {
    /// The code that the client learns, such as `access_denied` (RFC 6749 §4.1.2.1).
    pub error: String,
    /// What happened, for its developer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error_description: Option<String>,
}

/// A device that waits for a decision (RFC 8628). Times are seconds since the epoch.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq)]
#[non_exhaustive]
pub struct Device {
    /// The client on it.
    pub client_id: String,
    /// The scope that is asked for.
    #[serde(default)]
    pub scope: String,
    /// The audiences that are asked for (RFC 8707).
    #[serde(default)]
    pub resource: Vec<String>,
    /// When the code is over.
    pub expires_at: i64,
}

/// A logout that waits for the person to confirm it. Times are seconds since the epoch.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq)]
#[non_exhaustive]
pub struct Logout {
    /// The client that asks.
    pub client_id: String,
    /// Where the browser goes afterwards.
    #[serde(default)]
    pub post_logout_redirect_uri: Option<String>,
    /// Whom the client showed an ID token of.
    #[serde(default)]
    pub subject: Option<String>,
    /// The front-end's session that this token is of.
    #[serde(default)]
    pub session: Option<String>,
    /// Whom the client means.
    #[serde(default)]
    pub logout_hint: Option<String>,
    /// The languages of the person.
    #[serde(default)]
    pub ui_locales: Option<String>,
    /// When the logout is over.
    pub expires_at: i64,
}

/// What follows a logout.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq)]
#[non_exhaustive]
pub struct AfterLogout {
    /// Where the browser goes now; without it, it stays at the front-end.
    #[serde(default)]
    pub redirect_to: Option<String>,
}

/// What ended with a session.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq)]
#[non_exhaustive]
pub struct EndedSession {
    /// How many refresh families lived.
    pub families: u64,
}

/// Where the browser goes now.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq)]
#[non_exhaustive]
pub struct Redirection {
    /// The URL; it is for this browser alone.
    pub redirect_to: String,
}

/// A wish for tokens without a browser.
#[derive(Clone, Debug, Default, Eq, PartialEq, Serialize)]
pub struct FrontendGrant {
    /// A client of this front-end.
    pub client_id: String,
    /// The audiences of the access token (RFC 8707), at least one; the client's where it is left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resource: Option<Vec<String>>,
    /// Who it is, and what was agreed to.
    #[serde(flatten)]
    pub acceptance: Acceptance,
}

/// Tokens (RFC 6749 §5.1).
#[derive(Clone, Deserialize)]
#[non_exhaustive]
pub struct IssuedTokens {
    /// The access token.
    pub access_token: String,
    /// `Bearer`, or `DPoP` where it is bound to a key.
    pub token_type: String,
    /// For how many seconds it is good.
    pub expires_in: u64,
    /// The refresh token, where the client may have one.
    #[serde(default)]
    pub refresh_token: Option<String>,
    /// The ID token, where the scope has `openid`.
    #[serde(default)]
    pub id_token: Option<String>,
    /// The scope of the access token.
    #[serde(default)]
    pub scope: Option<String>,
}

/// Not the tokens.
impl std::fmt::Debug for IssuedTokens {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("IssuedTokens")
            .field("token_type", &self.token_type)
            .field("expires_in", &self.expires_in)
            .field("scope", &self.scope)
            .finish_non_exhaustive()
    }
}
