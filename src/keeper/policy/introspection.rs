//! The rules of signed introspection answers (RFC 9701 §5).

use super::{Rule, check_issued_at, require};
use crate::clock::Timestamp;
use crate::jose::claims::{Audience, PresentedIntrospectionClaims};

pub(super) fn check(
    claims: &PresentedIntrospectionClaims<'_>,
    issuer: &str,
    resource_server: &str,
    now: Timestamp,
) -> Result<(), Rule> {
    require(claims.iss.as_deref() == Some(issuer), Rule::Issuer)?;
    require(claims.token_introspection.is_some(), Rule::Required("token_introspection"))?;
    let audience = claims.aud.as_ref().map(Audience::values).unwrap_or_default();
    require(audience == [resource_server], Rule::Audience)?;
    check_issued_at(claims.iat, now).map(drop)
}
