//! `/v1/transit/keys`.

use std::sync::Arc;

use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::http::Method;
use axum::response::Response;
use serde::{Deserialize, Serialize};

use super::TransitApi;
use super::envelope::{done, refused};
use super::request::{Body, Caller, Names, method_not_allowed};
use crate::http::frontend::FrontendApi;
use crate::transit::{KeyParameters, TransitError, Written};

#[derive(Deserialize)]
pub(super) struct ListQuery {
    #[serde(default)]
    list: String,
}

#[derive(Serialize)]
struct KeyNames {
    keys: Vec<String>,
}

/// `LIST /v1/transit/keys`, or `GET` with `list=true`. Where there is none that is not found.
pub(super) async fn list(
    State(api): State<Arc<FrontendApi>>,
    caller: Caller,
    method: Method,
    query: Result<Query<ListQuery>, QueryRejection>,
) -> Response {
    let is_asked = query.is_ok_and(|Query(query)| query.list == "true");
    if method.as_str() != "LIST" && !(method == Method::GET && is_asked) {
        return method_not_allowed(caller).await;
    }
    let keys = api.transit.engine.list(&caller.0);
    if keys.is_empty() { refused(&TransitError::NotFound) } else { api.transit.answer(KeyNames { keys }) }
}

/// `GET /v1/transit/keys/{name}`.
pub(super) async fn read(
    State(api): State<Arc<FrontendApi>>,
    Caller(caller): Caller,
    Names(name): Names<String>,
) -> Response {
    match api.transit.engine.describe(&caller, &name).await {
        Ok(key) => api.transit.answer(key),
        Err(error) => refused(&error),
    }
}

/// `POST /v1/transit/keys/{name}`.
pub(super) async fn create(
    State(api): State<Arc<FrontendApi>>,
    Caller(caller): Caller,
    Names(name): Names<String>,
    Body(parameters): Body<KeyParameters>,
) -> Response {
    written(&api.transit, api.transit.engine.create(&caller, &name, &parameters).await)
}

/// `POST /v1/transit/keys/{name}/config`.
pub(super) async fn configure(
    State(api): State<Arc<FrontendApi>>,
    Caller(caller): Caller,
    Names(name): Names<String>,
    Body(parameters): Body<KeyParameters>,
) -> Response {
    written(&api.transit, api.transit.engine.configure(&caller, &name, &parameters).await)
}

fn written(api: &TransitApi, outcome: Result<Written, TransitError>) -> Response {
    match outcome {
        Ok(Written { key, warning }) => api.answer_with(key, warning),
        Err(error) => refused(&error),
    }
}

/// `DELETE /v1/transit/keys/{name}`.
pub(super) async fn delete(
    State(api): State<Arc<FrontendApi>>,
    Caller(caller): Caller,
    Names(name): Names<String>,
) -> Response {
    match api.transit.engine.delete(&caller, &name).await {
        Ok(()) => done(),
        Err(error) => refused(&error),
    }
}

/// `POST /v1/transit/keys/{name}/rotate`, which is always refused.
pub(super) async fn rotate(
    State(api): State<Arc<FrontendApi>>,
    Caller(caller): Caller,
    Names(name): Names<String>,
) -> Response {
    refused(&api.transit.engine.refuse_rotation(&caller, &name).await)
}
