//! `POST /oauth/token`.

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::State;
use axum::extract::rejection::BytesRejection;
use axum::http::header::{ALLOW, AUTHORIZATION, CONTENT_TYPE};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::Response;

use super::PublicApi;
use crate::http::render::{not_stored, oauth_error, with_status};
use crate::oauth::OAuthError;
use crate::oauth::authentication::PresentedBasic;
use crate::oauth::issuer::TokenResponse;
use crate::oauth::parameters::PresentedParameters;

const FORM: &str = "application/x-www-form-urlencoded";

pub(super) async fn exchange(
    State(api): State<Arc<PublicApi>>,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Response {
    let body = match body {
        Ok(body) => body,
        Err(rejection) => {
            let error = OAuthError::InvalidRequest("the body is too large or was not received whole");
            return with_status(rejection.status(), HeaderMap::new(), &error);
        }
    };
    match answer(&api, &headers, &body).await {
        Ok(response) => not_stored(StatusCode::OK, &response),
        Err(error) => oauth_error(&error),
    }
}

pub(super) async fn method_not_allowed() -> Response {
    let allow = HeaderMap::from_iter([(ALLOW, HeaderValue::from_static("POST"))]);
    with_status(
        StatusCode::METHOD_NOT_ALLOWED,
        allow,
        &OAuthError::InvalidRequest("the token endpoint takes POST only"),
    )
}

async fn answer(api: &PublicApi, headers: &HeaderMap, body: &[u8]) -> Result<TokenResponse, OAuthError> {
    if !is_form(headers) {
        return Err(OAuthError::InvalidRequest("expected Content-Type: application/x-www-form-urlencoded"));
    }
    let parameters = PresentedParameters::parse(body)?;
    let basic = basic(headers)?;
    api.token_endpoint.exchange(basic.as_ref(), &parameters).await
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
