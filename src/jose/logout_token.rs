//! Logout tokens: that a session ended, for clients that took part in it (OpenID Connect Back-Channel Logout 1.0 §2.4).

use serde::Serialize;

use crate::clock::Timestamp;

/// The type of a logout token.
pub const LOGOUT_TOKEN_TYPE: &str = "logout+jwt";

/// The event that it tells of.
pub const LOGOUT_EVENT: &str = "http://schemas.openid.net/event/backchannel-logout";

/// The claims of a logout token. It has no `nonce`, so that nobody takes it for an ID token.
#[derive(Debug, Serialize)]
pub struct LogoutTokenClaims<'a> {
    /// The issuer.
    pub iss: &'a str,
    /// Who logged out.
    pub sub: &'a str,
    /// The client that is told.
    pub aud: &'a str,
    /// When it was made.
    pub iat: Timestamp,
    /// When it is good for nothing any more.
    pub exp: Timestamp,
    /// Its name.
    pub jti: &'a str,
    /// The session, as the client's ID tokens name it.
    pub sid: &'a str,
    /// What happened.
    pub events: LogoutEvents,
}

/// The one event.
#[derive(Debug, Default, Serialize)]
pub struct LogoutEvents {
    #[serde(rename = "http://schemas.openid.net/event/backchannel-logout")]
    logout: Nothing,
}

/// An empty object.
#[derive(Debug, Default, Serialize)]
struct Nothing {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_event_is_written_as_the_policy_reads_it() {
        let events = serde_json::to_value(LogoutEvents::default()).unwrap();
        assert_eq!(events, serde_json::json!({LOGOUT_EVENT: {}}));
    }
}
