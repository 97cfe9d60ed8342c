//! `POST /oauth/token`.

use std::sync::Arc;

use axum::Extension;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;

use super::PublicApi;
use super::form::{Body, Form};
use crate::http::listener::Peer;
use crate::http::render::not_stored;
use crate::oauth::attempts::Claimed;

pub(super) async fn exchange(
    State(api): State<Arc<PublicApi>>,
    Extension(peer): Extension<Peer>,
    headers: HeaderMap,
    body: Body,
) -> Response {
    let form = match Form::of(&headers, &body) {
        Ok(form) => form,
        Err(error) => return api.failures.answer(&peer, &headers, None, &error).await,
    };
    match api.token_endpoint.exchange(form.basic.as_ref(), &form.parameters).await {
        Ok(response) => not_stored(StatusCode::OK, &response),
        Err(error) => {
            let id = form.claimed_id();
            api.failures.answer(&peer, &headers, id.as_deref().map(Claimed::Client), &error).await
        }
    }
}
