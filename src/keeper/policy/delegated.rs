//! Signing for front-ends: profiles that look at claims which the mint did not make.

use std::num::NonZeroU32;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{Rule, SigningRequest, check_issued_at, require};
use crate::clock::Timestamp;
pub use crate::hardware::DelegatedKeys;
use crate::hardware::{KeyName, ProfileKeys, Role};
use crate::jose::Malformed;
use crate::jose::foreign::json::{self, Bounds};
use crate::jose::jws::{ES256, PresentedSigningInput};

/// How much JSON is looked at.
const BOUNDS: Bounds = Bounds { depth: 32, members: 4096 };

/// What the evidence begins with that a PKCS#11 key gives of itself: nobody else may have it signed.
const EVIDENCE: &[u8] = b"mintkeep attestation: ";

/// Claims that the rules read. A verifier that does not look at the case must not read another one in their place.
const READ: [&str; 5] = ["iss", "aud", "exp", "iat", "nbf"];

/// What front-ends may have signed under one name, and by which keys: by this profile's own, and by no others.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct DelegatedProfile {
    /// Its name, of one segment, by which a request asks for it and its keys are called.
    pub name: KeyName,
    /// What is signed.
    pub content: Content,
    /// How many digests are signed a second, whose claims nobody can look at; none without this.
    pub prehashed_per_second: Option<NonZeroU32>,
    /// How many keys it has.
    pub keys: DelegatedKeys,
}

/// What a profile for front-ends signs.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub enum Content {
    /// JWTs: a header of just `alg`, `kid` and `typ`, and any claims, of which these are held to the profile.
    Jwt {
        /// The `iss` allowed, at least one.
        issuers: Vec<String>,
        /// The values of `aud` allowed, at least one of which is there; anything where this is left out.
        audiences: Option<Vec<String>>,
        /// The `typ` allowed, at least one; an empty one stands for a header without.
        types: Vec<String>,
        /// The longest `exp - iat` allowed.
        max_lifetime: Duration,
    },
    /// Anything, but for evidence of keys.
    Any,
}

impl DelegatedProfile {
    /// Its keys.
    pub fn its_keys(&self) -> ProfileKeys {
        ProfileKeys { profile: self.name, keys: self.keys }
    }

    /// Whether a key of `role` is this profile's.
    pub fn has(&self, role: Role) -> bool {
        matches!(role, Role::Delegated(name) if self.its_keys().include(&name))
    }

    pub(super) fn check(&self, request: &SigningRequest<'_>, input: &[u8], now: Timestamp) -> Result<(), Rule> {
        match &self.content {
            Content::Any => require(!input.starts_with(EVIDENCE), Rule::Evidence),
            Content::Jwt { issuers, audiences, types, max_lifetime } => {
                let presented = PresentedSigningInput::parse(input)?;
                check_header(&json::object(presented.header_json(), BOUNDS)?, request.kid, types)?;
                let claims = json::object(presented.claims_json(), BOUNDS)?;
                check_spelling(&claims)?;
                check_issuer(&claims, issuers)?;
                check_audience(&claims, audiences.as_deref())?;
                check_times(&claims, *max_lifetime, now)
            }
        }
    }
}

fn check_header(header: &Map<String, Value>, kid: &str, types: &[String]) -> Result<(), Rule> {
    require(header.keys().all(|name| matches!(name.as_str(), "alg" | "kid" | "typ")), Malformed::Json.into())?;
    require(text(header, "alg") == Some(ES256), Rule::Algorithm)?;
    require(text(header, "kid") == Some(kid), Rule::KeyId)?;
    let typ = match header.get("typ") {
        None => Some(""),
        // An empty one is not the same as none.
        Some(_) => text(header, "typ").filter(|typ| !typ.is_empty()),
    };
    require(typ.is_some_and(|typ| types.iter().any(|allowed| allowed == typ)), Rule::Type)
}

fn check_spelling(claims: &Map<String, Value>) -> Result<(), Rule> {
    let is_other_spelling = |name: &str, claim: &str| name != claim && name.eq_ignore_ascii_case(claim);
    let other = READ.into_iter().find(|claim| claims.keys().any(|name| is_other_spelling(name, claim)));
    other.map_or(Ok(()), |claim| Err(Rule::Spelling(claim)))
}

fn check_issuer(claims: &Map<String, Value>, issuers: &[String]) -> Result<(), Rule> {
    let issuer = text(claims, "iss").ok_or(Rule::Required("iss"))?;
    require(issuers.iter().any(|allowed| allowed == issuer), Rule::Issuer)
}

fn check_audience(claims: &Map<String, Value>, audiences: Option<&[String]>) -> Result<(), Rule> {
    let presented = match claims.get("aud") {
        None if audiences.is_none() => return Ok(()),
        None => return Err(Rule::Required("aud")),
        Some(Value::Array(values)) => values.iter().map(Value::as_str).collect::<Option<Vec<_>>>(),
        Some(value) => value.as_str().map(|value| vec![value]),
    };
    let presented = presented.filter(|values| !values.is_empty() && values.iter().all(|value| !value.is_empty()));
    let presented = presented.ok_or(Rule::Audiences)?;
    let is_allowed = |value: &str| audiences.is_none_or(|allowed| allowed.iter().any(|allowed| allowed == value));
    require(presented.into_iter().all(is_allowed), Rule::Audiences)
}

fn check_times(claims: &Map<String, Value>, max_lifetime: Duration, now: Timestamp) -> Result<(), Rule> {
    let issued_at = check_issued_at(seconds(claims, "iat")?, now)?;
    let expires_at = seconds(claims, "exp")?.ok_or(Rule::Required("exp"))?;
    require(expires_at > issued_at && expires_at.since(issued_at) <= max_lifetime, Rule::Lifetime)?;
    require(seconds(claims, "nbf")?.is_none_or(|not_before| not_before <= expires_at), Rule::NotBefore)
}

fn text<'a>(object: &'a Map<String, Value>, name: &str) -> Option<&'a str> {
    object.get(name).and_then(Value::as_str)
}

/// A time in whole seconds: with parts of one, no two verifiers need agree on it.
fn seconds(claims: &Map<String, Value>, claim: &'static str) -> Result<Option<Timestamp>, Rule> {
    match claims.get(claim) {
        None => Ok(None),
        Some(value) => match value.as_i64() {
            Some(seconds) => Ok(Some(Timestamp::from_unix_seconds(seconds))),
            None => Err(Rule::Seconds(claim)),
        },
    }
}

#[cfg(test)]
mod tests;
