//! The rules for logout tokens (OpenID Connect Back-Channel Logout 1.0 §2.4, §2.6): they say that a session ended, and
//! nothing that could make them pass for another kind of token.

use std::time::Duration;

use serde_json::json;

use super::id_token::{text, time};
use super::{Rule, check_issued_at, require};
use crate::clock::Timestamp;
use crate::jose::id_token::read_claims;
use crate::jose::logout_token::LOGOUT_EVENT;

/// The longest `exp - iat` (§2.4: at the most two minutes).
pub const LOGOUT_TOKEN_LIFETIME: Duration = Duration::from_secs(120);

/// Whether the claims in `json` are those of a logout token for `client`.
pub(super) fn check(json: &[u8], issuer: &str, client: &str, now: Timestamp) -> Result<(), Rule> {
    let mut claims = read_claims(json)?;
    require(text(&mut claims, "iss")?.as_deref() == Some(issuer), Rule::Issuer)?;
    require(text(&mut claims, "aud")?.as_deref() == Some(client), Rule::Audience)?;
    let issued_at = check_issued_at(time(&mut claims, "iat")?, now)?;
    let expires_at = time(&mut claims, "exp")?.ok_or(Rule::Required("exp"))?;
    require(expires_at > issued_at && expires_at.since(issued_at) <= LOGOUT_TOKEN_LIFETIME, Rule::Lifetime)?;
    for name in ["jti", "sub", "sid"] {
        require(text(&mut claims, name)?.is_some(), Rule::Required(name))?;
    }
    require(claims.remove("events") == Some(json!({ LOGOUT_EVENT: {} })), Rule::Claim("events"))?;
    // Above all no nonce.
    require(claims.is_empty(), Rule::Reserved)
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;
    use crate::jose::Malformed;

    const NOW: i64 = 1_800_000_000;

    fn check(json: &str) -> Result<(), Rule> {
        super::check(json.as_bytes(), "https://mint.example", "web-app", Timestamp::from_unix_seconds(NOW))
    }

    fn claims() -> Value {
        json!({
            "iss": "https://mint.example", "sub": "ada", "aud": "web-app", "iat": NOW, "exp": NOW + 120, "jti": "one",
            "sid": "session", "events": { LOGOUT_EVENT: {} },
        })
    }

    #[test]
    fn a_logout_token_says_that_a_session_ended_and_nothing_else() {
        assert_eq!(check(&claims().to_string()), Ok(()));
        let broken = |member: &str, value: Value| {
            let mut claims = claims();
            claims[member] = value;
            check(&claims.to_string()).unwrap_err()
        };
        assert_eq!(broken("iss", json!("https://other.example")), Rule::Issuer);
        for aud in [json!("other"), json!("")] {
            assert!(matches!(broken("aud", aud), Rule::Audience | Rule::Claim("aud")));
        }
        assert_eq!(broken("aud", json!(["web-app"])), Rule::Claim("aud"));
        assert_eq!(broken("iat", json!(NOW - 61)), Rule::IssuedAt);
        for exp in [NOW, NOW + 121] {
            assert_eq!(broken("exp", json!(exp)), Rule::Lifetime);
        }
        for (name, claim) in [("jti", json!("")), ("sub", json!(1)), ("sid", Value::Null)] {
            assert!(matches!(broken(name, claim), Rule::Claim(_)));
        }
        for name in ["iss", "aud", "iat", "exp", "jti", "sub", "sid", "events"] {
            let mut claims = claims();
            claims.as_object_mut().unwrap().remove(name);
            assert!(check(&claims.to_string()).is_err(), "{name}");
        }
        let other_event = json!({ "http://schemas.openid.net/event/other": {} });
        for events in
            [json!({}), json!([]), json!({ LOGOUT_EVENT: [] }), json!({ LOGOUT_EVENT: {"a": 1} }), other_event]
        {
            assert_eq!(broken("events", events), Rule::Claim("events"));
        }
        for name in ["nonce", "acr", "scope", "client_id", "EXP"] {
            assert_eq!(broken(name, json!("x")), Rule::Reserved, "{name}");
        }
        let twice = claims().to_string().replacen('{', r#"{"sub":"mallory","#, 1);
        assert_eq!(check(&twice), Err(Rule::Format(Malformed::Json)));
    }
}
