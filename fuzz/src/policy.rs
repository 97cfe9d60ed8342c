//! What a mint asks the keeper to sign: the header on a line, then the claims.

use std::sync::LazyLock;

use mintkeep::clock::Timestamp;
use mintkeep::hardware::Role;
use mintkeep::jose::base64url;
use mintkeep::keeper::policy::{ACCESS_TOKEN_PROFILE, INTROSPECTION_PROFILE, Policy, SigningRequest};
use serde_json::{Map, Value, json};

use super::reading::{audience, first_line, object, text};
use super::scene::{ISSUER, NOW, configuration};

const KID: &str = "key-1";
/// The client, or the resource server, on whose behalf the request is.
const ASKING: &str = "robot";
/// The longest that any client's access token lives.
const LONGEST: i64 = 300;

static POLICY: LazyLock<Policy> = LazyLock::new(|| Policy::new(configuration().token_profiles()));

/// Asks the policy, by each of its profiles.
pub fn run(data: &[u8]) -> bool {
    let (header, claims) = first_line(data);
    let input = format!("{}.{}", base64url::encode(header), base64url::encode(claims));
    let allows = |profile| {
        let request = SigningRequest { client: ASKING, profile, kid: KID, role: Role::Signing };
        POLICY.check(&request, input.as_bytes(), Timestamp::from_unix_seconds(NOW)).is_ok()
    };
    let (as_token, as_answer) = (allows(ACCESS_TOKEN_PROFILE), allows(INTROSPECTION_PROFILE));
    assert!(!(as_token && as_answer), "a token that passes for something else");
    if as_token {
        check_header(header, "at+jwt");
        check_token(&object(claims));
    }
    if as_answer {
        check_header(header, "token-introspection+jwt");
        check_answer(claims);
    }
    as_token || as_answer
}

fn check_header(header: &[u8], typ: &str) {
    assert_eq!(Value::Object(object(header)), json!({"alg": "ES256", "typ": typ, "kid": KID}));
}

fn check_token(claims: &Map<String, Value>) {
    const KNOWN: [&str; 11] = ["iss", "sub", "aud", "client_id", "scope", "iat", "exp", "jti", "sid", "cnf", "act"];
    assert!(claims.keys().all(|name| KNOWN.contains(&name.as_str())), "{:?}", claims.keys());
    assert_eq!((text(claims, "iss"), text(claims, "client_id")), (Some(ISSUER), Some(ASKING)));
    for claim in ["sub", "jti"] {
        assert!(text(claims, claim).is_some_and(|text| !text.is_empty()), "{claim}");
    }
    let audience = audience(claims);
    assert!(!audience.is_empty() && audience.iter().all(|value| !value.is_empty()), "aud");
    assert!(claims["aud"].as_array().is_none_or(|values| values.len() == audience.len()), "aud is not all text");
    let issued_at = check_issued_at(claims);
    let ends = claims["exp"].as_i64().expect("exp in whole seconds");
    assert!((1..=LONGEST).contains(&(ends - issued_at)), "a life of {} s", ends - issued_at);
    let actors =
        std::iter::successors(claims.get("act"), |actor| actor.get("act")).take_while(|actor| !actor.is_null());
    let names: Vec<_> = actors.map(|actor| actor["sub"].as_str().expect("an actor has a name")).collect();
    assert!(names.len() <= 8 && names.iter().all(|name| !name.is_empty()), "{names:?}");
}

fn check_answer(claims: &[u8]) {
    // The keeper does not read what is inside of `token_introspection`; where others cannot, it is no use to anybody.
    let Ok(Value::Object(claims)) = serde_json::from_slice(claims) else { return };
    const KNOWN: [&str; 4] = ["iss", "aud", "iat", "token_introspection"];
    assert!(claims.keys().all(|name| KNOWN.contains(&name.as_str())), "{:?}", claims.keys());
    assert_eq!(text(&claims, "iss"), Some(ISSUER));
    assert_eq!(audience(&claims), [ASKING]);
    check_issued_at(&claims);
}

fn check_issued_at(claims: &Map<String, Value>) -> i64 {
    let issued_at = claims["iat"].as_i64().expect("iat in whole seconds");
    assert!((NOW - 60..=NOW + 60).contains(&issued_at), "iat is {issued_at}");
    issued_at
}
