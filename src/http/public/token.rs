//! `POST /oauth/token`.

use std::sync::Arc;

use axum::Extension;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;

use super::PublicApi;
use super::form::{Body, Form};
use super::openapi::{Description, JSON, Parameter, uncached};
use crate::http::listener::Peer;
use crate::http::render::not_stored;
use crate::oauth::attempts::Claimed;
use crate::oauth::client::GrantType;
use crate::oauth::issuer::TokenResponse;

pub(super) async fn exchange(
    State(api): State<Arc<PublicApi>>,
    Extension(peer): Extension<Peer>,
    headers: HeaderMap,
    body: Body,
) -> Response {
    let form = match Form::of(&headers, &body) {
        Ok(form) => form,
        Err(error) => return api.failures.answer(peer, &headers, None, &error).await,
    };
    match api.token_endpoint.exchange(form.basic.as_ref(), &form.parameters).await {
        Ok(response) => not_stored(StatusCode::OK, &response),
        Err(error) => {
            let id = form.claimed_id();
            api.failures.answer(peer, &headers, id.as_deref().map(Claimed::Client), &error).await
        }
    }
}

pub(super) fn description() -> Description {
    Description::new("token", "A grant, for an access token (RFC 6749)")
        .form([
            Parameter::required("grant_type", "The grant.").one_of(GrantType::ALL.map(GrantType::as_str)),
            Parameter::optional("scope", "Values separated by spaces; all that is granted where it is left out."),
            Parameter::optional("refresh_token", "Required for the grant refresh_token."),
        ])
        .answer_of::<TokenResponse>(200, JSON, uncached("The tokens."))
}
