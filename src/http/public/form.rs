//! A form with its credentials, as the token, revocation and introspection endpoints take it.

use axum::body::{Bytes, HttpBody as _};
use axum::extract::Request;
use axum::extract::rejection::BytesRejection;
use axum::http::header::{ALLOW, AUTHORIZATION, CONTENT_TYPE};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::middleware::Next;
use axum::response::Response;

use super::BODY_LIMIT;
use crate::http::render::{oauth_error, with_status};
use crate::oauth::OAuthError;
use crate::oauth::authentication::PresentedBasic;
use crate::oauth::parameters::PresentedParameters;

const FORM: &str = "application/x-www-form-urlencoded";

const TOO_LARGE: OAuthError = OAuthError::InvalidRequest("the body is too large or was not received whole");

/// A body as axum gives it.
pub(super) type Body = Result<Bytes, BytesRejection>;

/// What a request presents.
pub(super) struct Form<'a> {
    pub(super) basic: Option<PresentedBasic>,
    pub(super) parameters: PresentedParameters<'a>,
}

impl<'a> Form<'a> {
    /// Reads it.
    ///
    /// # Errors
    /// The answer to a request that has none, or a broken one.
    // The answer is what is sent next; it is not kept anywhere.
    #[expect(clippy::result_large_err, reason = "the error is the answer, built once and sent")]
    pub(super) fn of(headers: &HeaderMap, body: &'a Body) -> Result<Self, Response> {
        let body = body.as_ref().map_err(|rejection| with_status(rejection.status(), HeaderMap::new(), &TOO_LARGE))?;
        Self::read(headers, body).map_err(|error| oauth_error(&error))
    }

    fn read(headers: &HeaderMap, body: &'a [u8]) -> Result<Self, OAuthError> {
        if !is_form(headers) {
            return Err(OAuthError::InvalidRequest("expected Content-Type: application/x-www-form-urlencoded"));
        }
        Ok(Self { parameters: PresentedParameters::parse(body)?, basic: basic(headers)? })
    }
}

/// Refuses a body that says it is too large before any of it is read.
pub(super) async fn refuse_oversized(request: Request, next: Next) -> Response {
    let limit = u64::try_from(BODY_LIMIT).unwrap_or(u64::MAX);
    if request.body().size_hint().lower() > limit {
        return with_status(StatusCode::PAYLOAD_TOO_LARGE, HeaderMap::new(), &TOO_LARGE);
    }
    next.run(request).await
}

/// The answer to other methods than POST.
pub(super) async fn method_not_allowed() -> Response {
    let allow = HeaderMap::from_iter([(ALLOW, HeaderValue::from_static("POST"))]);
    with_status(StatusCode::METHOD_NOT_ALLOWED, allow, &OAuthError::InvalidRequest("this endpoint takes POST only"))
}

fn is_form(headers: &HeaderMap) -> bool {
    let media_type = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    // A parameter such as a charset may follow; the form's is UTF-8 whatever it says.
    media_type.split(';').next().unwrap_or_default().trim().eq_ignore_ascii_case(FORM)
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
