//! `POST /oauth/token`.

use std::sync::Arc;

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;

use super::PublicApi;
use super::form::{Body, Form};
use crate::http::render::{not_stored, oauth_error};

pub(super) async fn exchange(State(api): State<Arc<PublicApi>>, headers: HeaderMap, body: Body) -> Response {
    let form = match Form::of(&headers, &body) {
        Ok(form) => form,
        Err(error) => return oauth_error(&error),
    };
    match api.token_endpoint.exchange(form.basic.as_ref(), &form.parameters).await {
        Ok(response) => not_stored(StatusCode::OK, &response),
        Err(error) => oauth_error(&error),
    }
}
