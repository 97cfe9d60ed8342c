//! How errors become answers: the one place (RFC 6749 §5.2, RFC 9110 §10.2.3).

use axum::Json;
use axum::http::header::{CACHE_CONTROL, PRAGMA, RETRY_AFTER, WWW_AUTHENTICATE};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;

use crate::oauth::OAuthError;

/// The realm of the `Basic` challenge (RFC 7617).
const CHALLENGE: HeaderValue = HeaderValue::from_static("Basic realm=\"mintkeep\", charset=\"UTF-8\"");

/// What a bearer token that is not good is told (RFC 6750 §3).
const BEARER_CHALLENGE: HeaderValue = HeaderValue::from_static("Bearer realm=\"mintkeep\", error=\"invalid_token\"");

/// An answer that no cache may keep, because it carries a token or says something about one
/// (RFC 6749 §5.1).
pub(super) fn not_stored(status: StatusCode, body: &impl Serialize) -> Response {
    let mut response = (status, Json(body)).into_response();
    let headers = response.headers_mut();
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(PRAGMA, HeaderValue::from_static("no-cache"));
    response
}

/// An error (RFC 6749 §5.2).
#[derive(Serialize, ToSchema)]
pub(super) struct ErrorBody {
    /// The code.
    error: &'static str,
    /// What was wrong, for the developer of the client: fixed text.
    error_description: &'static str,
}

/// `error` as an answer.
pub(super) fn oauth_error(error: &OAuthError) -> Response {
    let mut headers = HeaderMap::new();
    let status = match error {
        OAuthError::InvalidClient(_) => {
            headers.insert(WWW_AUTHENTICATE, CHALLENGE);
            StatusCode::UNAUTHORIZED
        }
        OAuthError::InvalidToken(_) => {
            headers.insert(WWW_AUTHENTICATE, BEARER_CHALLENGE);
            StatusCode::UNAUTHORIZED
        }
        OAuthError::InvalidRequest(_)
        | OAuthError::InvalidGrant(_)
        | OAuthError::AuthorizationPending
        | OAuthError::SlowDown
        | OAuthError::AccessDenied(_)
        | OAuthError::ExpiredToken
        | OAuthError::UnauthorizedClient(_)
        | OAuthError::UnsupportedResponseType(_)
        | OAuthError::InvalidRequestObject(_)
        | OAuthError::InvalidRequestUri(_)
        | OAuthError::UnsupportedGrantType(_)
        | OAuthError::InvalidScope(_)
        | OAuthError::InvalidTarget(_)
        | OAuthError::InvalidClientMetadata(_)
        | OAuthError::InvalidDpopProof(_)
        | OAuthError::UseDpopNonce => StatusCode::BAD_REQUEST,
        OAuthError::Forbidden(_) => StatusCode::FORBIDDEN,
        OAuthError::OverLimit => {
            headers.insert(RETRY_AFTER, HeaderValue::from_static("1"));
            StatusCode::TOO_MANY_REQUESTS
        }
        OAuthError::TooManyBegun { retry_after } => {
            headers.insert(RETRY_AFTER, HeaderValue::from(retry_after.as_secs()));
            StatusCode::TOO_MANY_REQUESTS
        }
        OAuthError::TemporarilyUnavailable { retry_after } => {
            headers.insert(RETRY_AFTER, HeaderValue::from(retry_after.as_secs()));
            StatusCode::SERVICE_UNAVAILABLE
        }
        OAuthError::ServerError => StatusCode::INTERNAL_SERVER_ERROR,
    };
    with_status(status, headers, error)
}

/// `response` as an answer to who fails too often (RFC 6585 §4). What it says stays true, so that a client
/// whose token has ended learns that it has.
pub(super) fn over_limit(mut response: Response) -> Response {
    *response.status_mut() = StatusCode::TOO_MANY_REQUESTS;
    response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("1"));
    response
}

/// `error` under a status of HTTP's own, such as 405 or 413.
pub(super) fn with_status(status: StatusCode, headers: HeaderMap, error: &OAuthError) -> Response {
    let mut response = with_code(status, error.code(), error.description());
    response.headers_mut().extend(headers);
    response
}

/// An error that is none of the token endpoint's.
pub(super) fn with_code(status: StatusCode, error: &'static str, error_description: &'static str) -> Response {
    not_stored(status, &ErrorBody { error, error_description })
}
