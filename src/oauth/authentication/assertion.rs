//! Client assertions (`private_key_jwt`, RFC 7523 §2.2 and §3, with the audience rule of its 2026 update, RFC 10070).

use std::time::Duration;

use crate::clock::Timestamp;
use crate::jose::Malformed;
use crate::jose::foreign::{ForeignClaims, PresentedForeignJws, Untimely};
use crate::oauth::once::LONGEST;

/// The one `client_assertion_type` (RFC 7523 §2.2).
pub const ASSERTION_TYPE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

/// How far the client's clock may be off ours.
const LEEWAY: Duration = Duration::from_secs(30);

/// An assertion whose signature nobody verified yet.
pub(super) struct PresentedAssertion<'a> {
    pub(super) jws: PresentedForeignJws<'a>,
    claims: ForeignClaims,
}

/// Why an assertion proves nothing: for the log.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub(super) enum Flaw {
    #[error("typ: expected JWT, client-authentication+jwt, or none")]
    Type,
    #[error("iss and sub: expected the client's id in both")]
    Names,
    #[error("aud: expected this issuer identifier as its only value, and not the URL of an endpoint")]
    Audience,
    #[error("exp, nbf, iat: {0}")]
    Untimely(#[from] Untimely),
    #[error("exp: expected within an hour from now")]
    TooLong,
    #[error("jti: required, and absent")]
    NoJti,
}

impl<'a> PresentedAssertion<'a> {
    pub(super) fn parse(text: &'a str) -> Result<Self, Malformed> {
        let jws = PresentedForeignJws::parse(text)?;
        let claims = jws.claims()?;
        Ok(Self { jws, claims })
    }

    /// Who it says that it is of.
    pub(super) fn subject(&self) -> Option<&str> {
        self.claims.sub.as_deref()
    }

    /// Checks that it is the assertion of `client_id` for `issuer`, good at `now`. The name that it is used up by, and
    /// when it ends.
    pub(super) fn check(&self, client_id: &str, issuer: &str, now: Timestamp) -> Result<(&str, Timestamp), Flaw> {
        let is_typed = |typ| self.jws.is_of_type(typ);
        if self.jws.typ().is_some() && !is_typed("jwt") && !is_typed("client-authentication+jwt") {
            return Err(Flaw::Type);
        }
        let ForeignClaims { iss, sub, aud, exp, jti, .. } = &self.claims;
        if iss.as_deref() != Some(client_id) || sub.as_deref() != Some(client_id) {
            return Err(Flaw::Names);
        }
        if aud.as_slice() != [issuer] {
            return Err(Flaw::Audience);
        }
        self.claims.check_times(now, LEEWAY)?;
        let ends = exp.ok_or(Untimely::NoExpiry)?.plus(LEEWAY);
        if ends > now.plus(LONGEST) {
            return Err(Flaw::TooLong);
        }
        Ok((jti.as_deref().ok_or(Flaw::NoJti)?, ends))
    }
}
