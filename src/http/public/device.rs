//! `POST /oauth/device_authorization` (RFC 8628 §3.1).

use std::sync::Arc;

use axum::Extension;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;

use super::form::{Body, Form};
use super::{PublicApi, RequestSource};
use crate::http::listener::Peer;
use crate::http::openapi::{Description, JSON, Parameter, uncached};
use crate::http::render::not_stored;
use crate::oauth::attempts::Claimed;
use crate::oauth::device::DeviceAuthorization;

pub(super) async fn begin(
    State(api): State<Arc<PublicApi>>,
    Extension(peer): Extension<Peer>,
    source: RequestSource,
    headers: HeaderMap,
    body: Body,
) -> Response {
    let form = match Form::of(&peer, &headers, &body) {
        Ok(form) => form,
        Err(error) => return api.failures.answer(&peer, &headers, None, &error).await,
    };
    match api.device_endpoint.begin(&form.0, source.0).await {
        Ok(begun) => not_stored(StatusCode::OK, &begun),
        Err(error) => {
            let id = form.claimed_id();
            api.failures.answer(&peer, &headers, id.as_deref().map(Claimed::Client), &error).await
        }
    }
}

pub(super) fn description() -> Description {
    Description::new("deviceAuthorization", "Begins the login of a device (RFC 8628)")
        .form([
            Parameter::optional(
                "scope",
                "Values separated by spaces; all that the client may have where it is left out.",
            ),
            Parameter::optional("resource", "Who the tokens are to be for (RFC 8707).").repeatable(),
        ])
        .answer_of::<DeviceAuthorization>(200, JSON, uncached("What the device shows, and polls by."))
}
