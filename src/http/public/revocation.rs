//! `POST /oauth/revoke` (RFC 7009).

use std::sync::Arc;

use axum::extract::State;
use axum::http::header::CACHE_CONTROL;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};

use super::PublicApi;
use super::form::{Body, Form};
use crate::http::render::oauth_error;

pub(super) async fn revoke(State(api): State<Arc<PublicApi>>, headers: HeaderMap, body: Body) -> Response {
    let form = match Form::of(&headers, &body) {
        Ok(form) => form,
        Err(error) => return oauth_error(&error),
    };
    match api.revocation_endpoint.revoke(form.basic.as_ref(), &form.parameters).await {
        // RFC 7009 §2.2: the body of a success is not looked at.
        Ok(()) => (StatusCode::OK, [(CACHE_CONTROL, "no-store")]).into_response(),
        Err(error) => oauth_error(&error),
    }
}
