//! The rules for ID tokens (OpenID Connect Core 1.0 §2): what they say of the login is typed, and what else they say of
//! the person is nothing that a verifier decides by.

use std::time::Duration;

use serde_json::{Map, Value};

use super::{CLOCK_TOLERANCE, Rule, check_issued_at, require};
use crate::clock::Timestamp;
use crate::jose::base64url;
use crate::jose::id_token::{is_reserved, read_claims};

/// Bytes of an `at_hash` for ES256.
const HALF_A_HASH: usize = 16;

/// Whether the claims in `json` are those of an ID token for `client`.
pub(super) fn check(
    json: &[u8],
    issuer: &str,
    client: &str,
    now: Timestamp,
    max_lifetime: Duration,
) -> Result<(), Rule> {
    let mut claims = read_claims(json)?;
    require(text(&mut claims, "iss")?.as_deref() == Some(issuer), Rule::Issuer)?;
    require(text(&mut claims, "sub")?.is_some(), Rule::Required("sub"))?;
    // A list of one would be good too; what the mint makes is a string, and nothing else has to be signed.
    require(text(&mut claims, "aud")?.as_deref() == Some(client), Rule::Audience)?;
    let issued_at = check_issued_at(time(&mut claims, "iat")?, now)?;
    let expires_at = time(&mut claims, "exp")?.ok_or(Rule::Required("exp"))?;
    require(expires_at > issued_at && expires_at.since(issued_at) <= max_lifetime, Rule::Lifetime)?;
    let authenticated_at = time(&mut claims, "auth_time")?;
    require(authenticated_at.is_none_or(|at| at <= now.plus(CLOCK_TOLERANCE)), Rule::AuthenticatedAt)?;
    for name in ["nonce", "acr", "sid"] {
        text(&mut claims, name)?;
    }
    require(claims.remove("amr").is_none_or(|amr| is_text_list(&amr)), Rule::Claim("amr"))?;
    let at_hash = text(&mut claims, "at_hash")?;
    let is_hash = |hash: String| base64url::decode_array::<HALF_A_HASH>(&hash).is_ok();
    require(at_hash.is_none_or(is_hash), Rule::Claim("at_hash"))?;
    require(!claims.keys().any(|name| is_reserved(name)), Rule::Reserved)
}

/// Whether `value` is a list of strings, and none of them is empty.
fn is_text_list(value: &Value) -> bool {
    let is_text = |value: &Value| value.as_str().is_some_and(|text| !text.is_empty());
    value.as_array().is_some_and(|values| !values.is_empty() && values.iter().all(is_text))
}

/// The claim `name`, a string that is not empty where it is there.
pub(super) fn text(claims: &mut Map<String, Value>, name: &'static str) -> Result<Option<String>, Rule> {
    match claims.remove(name) {
        None => Ok(None),
        Some(Value::String(text)) if !text.is_empty() => Ok(Some(text)),
        Some(_) => Err(Rule::Claim(name)),
    }
}

/// The claim `name`, whole seconds where it is there.
pub(super) fn time(claims: &mut Map<String, Value>, name: &'static str) -> Result<Option<Timestamp>, Rule> {
    match claims.remove(name) {
        None => Ok(None),
        Some(value) => value.as_i64().map(Timestamp::from_unix_seconds).map(Some).ok_or(Rule::Claim(name)),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::jose::Malformed;

    const NOW: i64 = 1_800_000_000;

    fn check(json: &str) -> Result<(), Rule> {
        let now = Timestamp::from_unix_seconds(NOW);
        super::check(json.as_bytes(), "https://mint.example", "web-app", now, Duration::from_secs(300))
    }

    fn claims() -> Value {
        json!({
            "iss": "https://mint.example", "sub": "alice", "aud": "web-app", "iat": NOW, "exp": NOW + 300,
            "nonce": "n", "auth_time": NOW - 10, "acr": "urn:mfa", "amr": ["pwd", "otp"], "sid": "s",
            "at_hash": "77QmUPtjPfzWtF2AnpK9RQ", "email": "alice@example.com", "groups": ["a"],
        })
    }

    #[test]
    fn what_the_profile_describes_is_signed() {
        assert_eq!(check(&claims().to_string()), Ok(()));
        for optional in ["nonce", "auth_time", "acr", "amr", "sid", "at_hash", "email", "groups"] {
            let mut claims = claims();
            claims.as_object_mut().unwrap().remove(optional);
            assert_eq!(check(&claims.to_string()), Ok(()), "{optional}");
        }
    }

    #[test]
    fn each_rule_refuses_what_breaks_it() {
        let broken = |member: &str, value: Value| {
            let mut claims = claims();
            claims[member] = value;
            check(&claims.to_string()).unwrap_err()
        };
        assert_eq!(broken("iss", json!("https://other.example")), Rule::Issuer);
        assert_eq!(broken("aud", json!("another")), Rule::Audience);
        assert_eq!(broken("aud", json!(["web-app"])), Rule::Claim("aud"));
        assert_eq!(broken("exp", json!(NOW + 301)), Rule::Lifetime);
        assert_eq!(broken("exp", json!(NOW)), Rule::Lifetime);
        assert_eq!(broken("exp", json!(i64::MAX)), Rule::Lifetime);
        assert_eq!(broken("iat", json!(NOW + 61)), Rule::IssuedAt);
        assert_eq!(broken("iat", json!(NOW - 61)), Rule::IssuedAt);
        assert_eq!(broken("auth_time", json!(NOW + 61)), Rule::AuthenticatedAt);
        for claim in ["iss", "sub", "nonce", "acr", "sid"] {
            for value in [json!(""), json!(1), json!(null), json!(["x"])] {
                assert_eq!(broken(claim, value), Rule::Claim(claim.to_owned().leak()), "{claim}");
            }
        }
        for claim in ["iat", "exp", "auth_time"] {
            for value in [json!("1800000000"), json!(1.5), json!(null)] {
                assert_eq!(broken(claim, value), Rule::Claim(claim.to_owned().leak()), "{claim}");
            }
        }
        for amr in [json!("pwd"), json!([]), json!([""]), json!([1])] {
            assert_eq!(broken("amr", amr), Rule::Claim("amr"));
        }
        assert_eq!(broken("at_hash", json!("short")), Rule::Claim("at_hash"));
        for reserved in ["nbf", "jti", "azp", "cnf", "act", "scope", "client_id", "events", "EXP", "Sub", "c_hash"] {
            assert_eq!(broken(reserved, json!("x")), Rule::Reserved, "{reserved}");
        }
    }

    #[test]
    fn what_is_required_is_there_and_nothing_is_there_twice() {
        for (required, rule) in [
            ("iss", Rule::Issuer),
            ("sub", Rule::Required("sub")),
            ("aud", Rule::Audience),
            ("iat", Rule::Required("iat")),
            ("exp", Rule::Required("exp")),
        ] {
            let mut claims = claims();
            claims.as_object_mut().unwrap().remove(required);
            assert_eq!(check(&claims.to_string()), Err(rule));
        }
        for twice in [r#"{"sub":"bob","#, r#"{"\u0073ub":"bob","#, r#"{"email":"b","#, r#"{"x":{"a":1,"a":2},"#] {
            let claims = claims().to_string().replacen('{', twice, 1);
            assert_eq!(check(&claims), Err(Rule::Format(Malformed::Json)), "{twice}");
        }
        assert_eq!(check("[]"), Err(Rule::Format(Malformed::Json)));
    }
}
