//! A form with its credentials, as the token, revocation and introspection endpoints take it.

use std::borrow::Cow;

use axum::body::{Bytes, HttpBody as _};
use axum::extract::{FromRequest, Request};
use axum::http::header::{AUTHORIZATION, CONTENT_TYPE, COOKIE, ORIGIN};
use axum::http::{HeaderMap, StatusCode};
use axum::middleware::Next;
use axum::response::Response;

use super::BODY_LIMIT;
use crate::http::listener::Peer;
use crate::http::render::with_status;
use crate::oauth::OAuthError;
use crate::oauth::authentication::{PresentedBasic, claimed_id};
use crate::oauth::parameters::PresentedParameters;
use crate::oauth::refresh_cookie::PresentedBrowser;
use crate::oauth::request::PresentedRequest;

/// Where a proof of possession is (RFC 9449 §4.1).
pub(super) const DPOP: &str = "dpop";

pub(super) const FORM: &str = "application/x-www-form-urlencoded";

const TOO_LARGE: OAuthError = OAuthError::InvalidRequest("the body is too large or was not received whole");

/// A body that was received whole.
pub(in crate::http) struct Body(Bytes);

impl Body {
    pub(in crate::http) fn bytes(&self) -> &[u8] {
        &self.0
    }
}

impl<State: Send + Sync> FromRequest<State> for Body {
    type Rejection = Response;

    async fn from_request(request: Request, state: &State) -> Result<Self, Response> {
        let refused = |status| with_status(status, HeaderMap::new(), &TOO_LARGE);
        Bytes::from_request(request, state).await.map(Self).map_err(|rejection| refused(rejection.status()))
    }
}

/// A request with a form.
pub(super) struct Form<'a>(pub(super) PresentedRequest<'a>);

impl<'a> Form<'a> {
    /// Reads it.
    ///
    /// # Errors
    /// [`OAuthError`] of a request that has none, or a broken one.
    pub(super) fn of(peer: &Peer, headers: &'a HeaderMap, body: &'a Body) -> Result<Self, OAuthError> {
        if !is_of_type(headers, FORM) {
            return Err(OAuthError::InvalidRequest("expected Content-Type: application/x-www-form-urlencoded"));
        }
        let parameters = PresentedParameters::parse(&body.0)?;
        let (basic, dpop, certificate) = (basic(headers)?, dpop(headers)?, peer.certificate.clone());
        Ok(Self(PresentedRequest { parameters, basic, dpop, certificate, browser: browser(headers) }))
    }

    /// Whom it names, proven or not.
    pub(super) fn claimed_id(&self) -> Option<Cow<'_, str>> {
        claimed_id(&self.0)
    }
}

/// Refuses a body that says it is too large before any of it is read.
pub(in crate::http) async fn refuse_oversized(request: Request, next: Next) -> Response {
    let limit = u64::try_from(BODY_LIMIT).unwrap_or(u64::MAX);
    if request.body().size_hint().lower() > limit {
        return with_status(StatusCode::PAYLOAD_TOO_LARGE, HeaderMap::new(), &TOO_LARGE);
    }
    next.run(request).await
}

/// The answer to methods that an endpoint does not take; axum adds `Allow`.
pub(in crate::http) async fn method_not_allowed() -> Response {
    const OTHER: OAuthError = OAuthError::InvalidRequest("this endpoint does not take this method: see Allow");
    with_status(StatusCode::METHOD_NOT_ALLOWED, HeaderMap::new(), &OTHER)
}

/// Whether the body says that it is of `media_type`.
pub(in crate::http) fn is_of_type(headers: &HeaderMap, media_type: &str) -> bool {
    let named = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    // A parameter such as a charset may follow; ours is UTF-8 whatever it says.
    named.split(';').next().unwrap_or_default().trim().eq_ignore_ascii_case(media_type)
}

/// The one `DPoP` header, where there is one (RFC 9449 §4.3 check 1).
pub(super) fn dpop(headers: &HeaderMap) -> Result<Option<&str>, OAuthError> {
    let mut values = headers.get_all(DPOP).iter();
    match (values.next(), values.next()) {
        (None, _) => Ok(None),
        (Some(value), None) => {
            value.to_str().map(Some).map_err(|_| OAuthError::InvalidDpopProof("expected a JWT in the DPoP header"))
        }
        (Some(_), Some(_)) => Err(OAuthError::InvalidDpopProof("the DPoP header is included more than once")),
    }
}

/// What a browser adds. Of several origins, and of one that cannot be read, none is anybody's.
fn browser(headers: &HeaderMap) -> PresentedBrowser<'_> {
    let mut origins = headers.get_all(ORIGIN).iter().map(|origin| origin.to_str().unwrap_or_default());
    let origin = match (origins.next(), origins.next()) {
        (Some(_), Some(_)) => Some(""),
        (origin, _) => origin,
    };
    PresentedBrowser { cookies: headers.get_all(COOKIE).iter().filter_map(|line| line.to_str().ok()).collect(), origin }
}

/// The credentials of the `Authorization` header, where there is one.
fn basic(headers: &HeaderMap) -> Result<Option<PresentedBasic>, OAuthError> {
    let mut values = headers.get_all(AUTHORIZATION).iter();
    let Some(value) = values.next() else {
        return Ok(None);
    };
    if values.next().is_some() {
        return Err(OAuthError::InvalidRequest("the Authorization header is included more than once"));
    }
    let unusable = OAuthError::InvalidClient("expected Authorization: Basic and base64");
    let (scheme, credentials) = value.to_str().ok().and_then(|value| value.split_once(' ')).ok_or(unusable.clone())?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return Err(unusable);
    }
    PresentedBasic::parse(credentials.trim()).map(Some).map_err(|_| unusable)
}
