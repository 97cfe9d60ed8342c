//! `POST /oauth/revoke` (RFC 7009).

use std::sync::Arc;

use axum::Extension;
use axum::extract::State;
use axum::http::header::CACHE_CONTROL;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};

use super::PublicApi;
use super::form::{Body, Form};
use super::openapi::{Description, Parameter, uncached};
use super::token::with_cookie;
use crate::http::listener::Peer;
use crate::oauth::attempts::Claimed;

pub(super) async fn revoke(
    State(api): State<Arc<PublicApi>>,
    Extension(peer): Extension<Peer>,
    headers: HeaderMap,
    body: Body,
) -> Response {
    let form = match Form::of(&peer, &headers, &body) {
        Ok(form) => form,
        Err(error) => return api.failures.answer(&peer, &headers, None, &error).await,
    };
    match api.revocation_endpoint.revoke(&form.0).await {
        // RFC 7009 §2.2: the body of a success is not looked at.
        Ok(removal) => with_cookie((StatusCode::OK, [(CACHE_CONTROL, "no-store")]).into_response(), removal.as_ref()),
        Err(error) => {
            let id = form.claimed_id();
            api.failures.answer(&peer, &headers, id.as_deref().map(Claimed::Client), &error).await
        }
    }
}

pub(super) fn description() -> Description {
    Description::new("revoke", "Gives back a token of the client's own (RFC 7009)")
        .form([
            Parameter::optional("token", "An access token or a refresh token. Required, but where a cookie has it."),
            Parameter::token_type_hint(),
        ])
        .answer(200, uncached("The token is not good, or not any more."))
}
