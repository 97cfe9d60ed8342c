//! The claims of ID tokens (OpenID Connect Core 1.0 §2), and what else a front-end may say of a person.

use aws_lc_rs::digest::{SHA256, digest};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::foreign::json::{self, Bounds};
use super::{Malformed, base64url};
use crate::clock::Timestamp;

/// The `typ` of an ID token.
pub const ID_TOKEN_TYPE: &str = "JWT";

/// What the claims of a token may be at the most, those of a front-end among them.
const BOUNDS: Bounds = Bounds { depth: 16, members: 512 };

/// The claims that have a meaning to whoever verifies a token, or make a token of another kind of it. None of them is a
/// front-end's to say; nor is one by another spelling, for a verifier that does not look at the case.
pub const RESERVED: [&str; 27] = [
    "iss",
    "sub",
    "aud",
    "exp",
    "iat",
    "nbf",
    "jti",
    "azp",
    "nonce",
    "at_hash",
    "c_hash",
    "s_hash",
    "auth_time",
    "acr",
    "amr",
    "sid",
    "cnf",
    "act",
    "may_act",
    "scope",
    "client_id",
    "events",
    "sub_id",
    "sub_jwk",
    "toe",
    "txn",
    "token_introspection",
];

/// Whether only the mint itself may say the claim `name`.
pub fn is_reserved(name: &str) -> bool {
    RESERVED.iter().any(|reserved| reserved.eq_ignore_ascii_case(name))
}

/// What a front-end says of a person beside what the login was: claims that are not reserved.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(transparent)]
pub struct ExtraClaims(Map<String, Value>);

/// Why claims are not taken.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum RefusedClaims {
    /// One of them is [`RESERVED`].
    #[error("a claim is among those that only the mint says")]
    Reserved,
    /// They are longer than [`ExtraClaims::MOST_BYTES`], too deep, or too many.
    #[error("the claims are too long, too deep or too many")]
    TooLarge,
}

impl ExtraClaims {
    /// Their length at the most, as JSON.
    pub const MOST_BYTES: usize = 8 * 1024;

    /// Takes `claims` where a token may carry them.
    ///
    /// # Errors
    /// [`RefusedClaims`].
    pub fn new(claims: Map<String, Value>) -> Result<Self, RefusedClaims> {
        if claims.keys().any(|name| is_reserved(name)) {
            return Err(RefusedClaims::Reserved);
        }
        // As whoever reads the token will.
        let text = serde_json::to_vec(&claims).map_err(|_| RefusedClaims::TooLarge)?;
        let bounds = Bounds { members: BOUNDS.members - RESERVED.len(), ..BOUNDS };
        if text.len() > Self::MOST_BYTES || json::object(&text, bounds).is_err() {
            return Err(RefusedClaims::TooLarge);
        }
        Ok(Self(claims))
    }

    /// Those that `is_wanted`.
    pub fn limited_to(&self, is_wanted: impl Fn(&str) -> bool) -> Self {
        let wanted = self.0.iter().filter(|(name, _)| is_wanted(name));
        Self(wanted.map(|(name, value)| (name.clone(), value.clone())).collect())
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// The claims of one ID token.
#[derive(Debug, Serialize)]
pub struct IdTokenClaims<'a> {
    /// The issuer identifier.
    pub iss: &'a str,
    /// Who logged in.
    pub sub: &'a str,
    /// The client, and nobody else.
    pub aud: &'a str,
    /// When it was issued.
    pub iat: Timestamp,
    /// When it ends.
    pub exp: Timestamp,
    /// What the client sent to know its answer by.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub nonce: Option<&'a str>,
    /// When the person proved who it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub auth_time: Option<Timestamp>,
    /// How sure that was.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub acr: Option<&'a str>,
    /// How it was done (RFC 8176).
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    pub amr: &'a [String],
    /// The refresh family that began with the login.
    pub sid: &'a str,
    /// The hash of the access token that it came with.
    pub at_hash: &'a str,
    /// What the front-end said beside that.
    #[serde(flatten)]
    pub extra: &'a ExtraClaims,
}

/// `at_hash` of `access_token`: half of its SHA-256 (OpenID Connect Core 1.0 §3.1.3.6, for ES256).
pub fn at_hash(access_token: &str) -> String {
    let hash = digest(&SHA256, access_token.as_bytes());
    base64url::encode(&hash.as_ref()[..16])
}

/// The object that the claims of a JWT are: each name once, at every level, and not more than a token of ours has.
///
/// # Errors
/// [`Malformed::Json`] for anything else.
pub fn read_claims(json: &[u8]) -> Result<Map<String, Value>, Malformed> {
    json::object(json, BOUNDS)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn extra(claims: Value) -> Result<ExtraClaims, RefusedClaims> {
        let Value::Object(claims) = claims else { panic!("an object") };
        ExtraClaims::new(claims)
    }

    #[test]
    fn a_front_end_says_nothing_that_only_the_mint_says() {
        extra(json!({"email": "a@example.com", "groups": ["a", "b"], "address": {"country": "NL"}})).unwrap();
        for name in RESERVED {
            assert_eq!(extra(json!({name: "x"})), Err(RefusedClaims::Reserved), "{name}");
            assert_eq!(extra(json!({name.to_uppercase(): "x"})), Err(RefusedClaims::Reserved), "{name}");
        }
        let longest = "a".repeat(ExtraClaims::MOST_BYTES - r#"{"a":""}"#.len());
        extra(json!({"a": longest})).unwrap();
        assert_eq!(extra(json!({"a": longest + "a"})), Err(RefusedClaims::TooLarge));
        let deep = (0..16).fold(Value::Null, |inner, _| json!([inner]));
        assert_eq!(extra(json!({"a": deep})), Err(RefusedClaims::TooLarge));
    }

    #[test]
    fn the_hash_is_that_of_a_published_token() {
        // OpenID Connect Core 1.0, appendix A.4: its access token, and its at_hash by the same SHA-256.
        assert_eq!(at_hash("jHkWEdUXMU1BwAsC4vtUsZwnNvTIxEl0z9K3vx5KF0Y"), "77QmUPtjPfzWtF2AnpK9RQ");
    }
}
