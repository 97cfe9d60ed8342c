//! `POST /oauth/revoke` (RFC 7009).

use std::sync::Arc;

use axum::Extension;
use axum::extract::State;
use axum::http::header::CACHE_CONTROL;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};

use super::PublicApi;
use super::form::{Body, Form};
use crate::http::listener::Peer;
use crate::oauth::attempts::Claimed;

pub(super) async fn revoke(
    State(api): State<Arc<PublicApi>>,
    Extension(peer): Extension<Peer>,
    headers: HeaderMap,
    body: Body,
) -> Response {
    let form = match Form::of(&headers, &body) {
        Ok(form) => form,
        Err(error) => return api.failures.answer(&peer, &headers, None, &error).await,
    };
    match api.revocation_endpoint.revoke(&form.0).await {
        // RFC 7009 §2.2: the body of a success is not looked at.
        Ok(()) => (StatusCode::OK, [(CACHE_CONTROL, "no-store")]).into_response(),
        Err(error) => {
            let id = form.claimed_id();
            api.failures.answer(&peer, &headers, id.as_deref().map(Claimed::Client), &error).await
        }
    }
}
