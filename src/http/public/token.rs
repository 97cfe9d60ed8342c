//! `POST /oauth/token`.

use std::sync::Arc;

use axum::Extension;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use axum::response::Response;

use super::PublicApi;
use super::form::{Body, DPOP, Form};
use super::openapi::{Description, JSON, Parameter, uncached};
use crate::http::listener::Peer;
use crate::http::render::not_stored;
use crate::oauth::attempts::Claimed;
use crate::oauth::client::GrantType;
use crate::oauth::issuer::TokenResponse;

/// Where a client learns the nonce of its next proof (RFC 9449 §8).
const DPOP_NONCE: HeaderName = HeaderName::from_static("dpop-nonce");

pub(super) async fn exchange(
    State(api): State<Arc<PublicApi>>,
    Extension(peer): Extension<Peer>,
    headers: HeaderMap,
    body: Body,
) -> Response {
    let form = match Form::of(&peer, &headers, &body) {
        Ok(form) => form,
        Err(error) => return api.failures.answer(&peer, &headers, None, &error).await,
    };
    let mut response = match api.token_endpoint.exchange(&form.0).await {
        Ok(response) => not_stored(StatusCode::OK, &response),
        Err(error) => {
            let id = form.claimed_id();
            api.failures.answer(&peer, &headers, id.as_deref().map(Claimed::Client), &error).await
        }
    };
    if form.0.dpop.is_some()
        && let Ok(nonce) = HeaderValue::try_from(api.token_endpoint.dpop_nonce())
    {
        response.headers_mut().insert(DPOP_NONCE, nonce);
    }
    response
}

pub(super) fn description() -> Description {
    Description::new("token", "A grant, for an access token (RFC 6749)")
        .form([
            Parameter::required("grant_type", "The grant.").one_of(GrantType::ALL.map(GrantType::as_str)),
            Parameter::optional("scope", "Values separated by spaces; all that is granted where it is left out."),
            Parameter::optional("resource", "Who the token is to be for (RFC 8707).").repeatable(),
            Parameter::optional("refresh_token", "Required for the grant refresh_token."),
        ])
        .header(DPOP, "A proof of the key that the token is to be bound to (RFC 9449).")
        .answer_of::<TokenResponse>(200, JSON, uncached("The tokens."))
}
