//! The rules of access tokens (RFC 9068 §2.2).

use std::borrow::Cow;
use std::time::Duration;

use super::{CLOCK_TOLERANCE, Rule, check_issued_at, require};
use crate::clock::Timestamp;
use crate::jose::claims::{Actor, PresentedAccessTokenClaims};

pub(super) fn check(
    claims: &PresentedAccessTokenClaims<'_>,
    issuer: &str,
    client: &str,
    now: Timestamp,
    max_lifetime: Duration,
) -> Result<(), Rule> {
    let has_text = |claim: &Option<Cow<'_, str>>| claim.as_ref().is_some_and(|text| !text.is_empty());
    require(claims.iss.as_deref() == Some(issuer), Rule::Issuer)?;
    require(has_text(&claims.sub), Rule::Required("sub"))?;
    require(claims.aud.as_ref().is_some_and(|aud| !aud.is_empty()), Rule::Required("aud"))?;
    require(has_text(&claims.jti), Rule::Required("jti"))?;
    require(has_text(&claims.client_id), Rule::Required("client_id"))?;
    require(claims.client_id.as_deref() == Some(client), Rule::Client)?;
    let issued_at = check_issued_at(claims.iat, now)?;
    let expires_at = claims.exp.ok_or(Rule::Required("exp"))?;
    require(expires_at > issued_at && expires_at.since(issued_at) <= max_lifetime, Rule::Lifetime)?;
    require(claims.auth_time.is_none_or(|at| at <= now.plus(CLOCK_TOLERANCE)), Rule::AuthenticatedAt)?;
    require(claims.acr.as_ref().is_none_or(|acr| !acr.is_empty()), Rule::Claim("acr"))?;
    let is_list = |values: &Vec<String>| !values.is_empty() && values.iter().all(|value| !value.is_empty());
    require(claims.amr.as_ref().is_none_or(is_list), Rule::Claim("amr"))?;
    let actors = std::iter::successors(claims.act.as_ref(), |actor| actor.act.as_deref());
    let (named, number) = actors.fold((true, 0), |(named, number), actor| (named && !actor.sub.is_empty(), number + 1));
    require(named && number <= Actor::MOST, Rule::Actor)
}
