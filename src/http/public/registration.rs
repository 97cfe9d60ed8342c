//! `POST /oauth/register` (RFC 7591), and `/oauth/register/{client_id}` (RFC 7592).

use std::sync::Arc;

use axum::Extension;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::http::header::{AUTHORIZATION, CACHE_CONTROL};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};

use super::PublicApi;
use super::form::{Body, is_of_type};
use super::openapi::{Description, JSON, off, uncached};
use crate::http::listener::Peer;
use crate::http::render::not_stored;
use crate::oauth::OAuthError;
use crate::oauth::registration::{ClientInformation, PresentedMetadata};

const CLIENT_ID: &str = "client_id";

/// The id in the path. What cannot be read is nobody's, and is answered so.
type ClientId = Result<Path<String>, PathRejection>;

pub(super) async fn register(
    State(api): State<Arc<PublicApi>>,
    Extension(peer): Extension<Peer>,
    headers: HeaderMap,
    body: Body,
) -> Response {
    let Some(registration) = api.registration_endpoint.open() else { return is_off() };
    let outcome = async { registration.register(bearer(&headers)?, json(&headers, &body)?).await };
    let answered = outcome.await.map(|information| not_stored(StatusCode::CREATED, &information));
    answer(&api, &peer, &headers, answered).await
}

pub(super) async fn read(
    State(api): State<Arc<PublicApi>>,
    Extension(peer): Extension<Peer>,
    client_id: ClientId,
    headers: HeaderMap,
) -> Response {
    let Some(registration) = api.registration_endpoint.open() else { return is_off() };
    let outcome = async { registration.read(&named(client_id), bearer(&headers)?).await };
    let answered = outcome.await.map(|information| not_stored(StatusCode::OK, &information));
    answer(&api, &peer, &headers, answered).await
}

pub(super) async fn replace(
    State(api): State<Arc<PublicApi>>,
    Extension(peer): Extension<Peer>,
    client_id: ClientId,
    headers: HeaderMap,
    body: Body,
) -> Response {
    let Some(registration) = api.registration_endpoint.open() else { return is_off() };
    let outcome = async { registration.replace(&named(client_id), bearer(&headers)?, json(&headers, &body)?).await };
    let answered = outcome.await.map(|information| not_stored(StatusCode::OK, &information));
    answer(&api, &peer, &headers, answered).await
}

pub(super) async fn remove(
    State(api): State<Arc<PublicApi>>,
    Extension(peer): Extension<Peer>,
    client_id: ClientId,
    headers: HeaderMap,
) -> Response {
    let Some(registration) = api.registration_endpoint.open() else { return is_off() };
    let outcome = async { registration.remove(&named(client_id), bearer(&headers)?).await };
    let answered = outcome.await.map(|()| (StatusCode::NO_CONTENT, [(CACHE_CONTROL, "no-store")]).into_response());
    answer(&api, &peer, &headers, answered).await
}

/// As if there were no such endpoint.
fn is_off() -> Response {
    StatusCode::NOT_FOUND.into_response()
}

async fn answer(api: &PublicApi, peer: &Peer, headers: &HeaderMap, outcome: Result<Response, OAuthError>) -> Response {
    match outcome {
        Ok(response) => response,
        // Whoever fails names nobody that it could be.
        Err(error) => api.failures.answer(peer, headers, None, &error).await,
    }
}

fn named(client_id: ClientId) -> String {
    client_id.map(|Path(client_id)| client_id).unwrap_or_default()
}

/// The bearer token of the `Authorization` header (RFC 6750 §2.1), where there is one.
fn bearer(headers: &HeaderMap) -> Result<Option<&str>, OAuthError> {
    let mut values = headers.get_all(AUTHORIZATION).iter();
    let Some(value) = values.next() else {
        return Ok(None);
    };
    if values.next().is_some() {
        return Err(OAuthError::InvalidRequest("the Authorization header is included more than once"));
    }
    let (scheme, token) = value.to_str().ok().and_then(|value| value.split_once(' ')).unwrap_or_default();
    Ok(scheme.eq_ignore_ascii_case("bearer").then_some(token.trim()))
}

fn json<'a>(headers: &HeaderMap, body: &'a Body) -> Result<&'a [u8], OAuthError> {
    if is_of_type(headers, JSON) {
        return Ok(body.bytes());
    }
    Err(OAuthError::InvalidRequest("expected Content-Type: application/json"))
}

pub(super) fn register_description() -> Description {
    Description::new("register", "Registers a client, for who holds an initial access token (RFC 7591)")
        .json::<PresentedMetadata>()
        .bearer()
        .answer_of::<ClientInformation>(201, JSON, uncached("The client."))
        .answer(404, off())
}

pub(super) fn read_description() -> Description {
    of_client("readRegistration", "What is registered of a client, for that client (RFC 7592)")
        .answer_of::<ClientInformation>(200, JSON, uncached("The client."))
}

pub(super) fn replace_description() -> Description {
    of_client("replaceRegistration", "Registers other metadata of a client, for that client (RFC 7592)")
        .json::<PresentedMetadata>()
        .answer_of::<ClientInformation>(200, JSON, uncached("The client."))
}

pub(super) fn remove_description() -> Description {
    of_client("removeRegistration", "Ends a client, for that client (RFC 7592)")
        .answer(204, uncached("There is no such client any more."))
}

fn of_client(id: &str, summary: &str) -> Description {
    Description::new(id, summary).in_path(CLIENT_ID, "The id of the client.").bearer().answer(404, off())
}
