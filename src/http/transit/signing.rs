//! `/v1/transit/sign` and `/v1/transit/verify`. The hash algorithm may be in the path.

use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use serde::Serialize;

use super::TransitApi;
use super::envelope::refused;
use super::request::{Body, Caller, Names};
use crate::http::frontend::FrontendApi;
use crate::transit::{SigningParameters, TransitError};

type Api = State<Arc<FrontendApi>>;

/// `POST /v1/transit/sign/{name}`.
pub(super) async fn sign(
    State(api): Api,
    Caller(caller): Caller,
    Names(name): Names<String>,
    Body(parameters): Body<SigningParameters>,
) -> Response {
    told(&api.transit, api.transit.engine.sign(&caller, &name, None, parameters).await)
}

/// `POST /v1/transit/sign/{name}/{algorithm}`.
pub(super) async fn sign_hashed_by(
    State(api): Api,
    Caller(caller): Caller,
    Names((name, algorithm)): Names<(String, String)>,
    Body(parameters): Body<SigningParameters>,
) -> Response {
    told(&api.transit, api.transit.engine.sign(&caller, &name, Some(&algorithm), parameters).await)
}

/// `POST /v1/transit/verify/{name}`.
pub(super) async fn verify(
    State(api): Api,
    Caller(caller): Caller,
    Names(name): Names<String>,
    Body(parameters): Body<SigningParameters>,
) -> Response {
    told(&api.transit, api.transit.engine.verify(&caller, &name, None, parameters).await)
}

/// `POST /v1/transit/verify/{name}/{algorithm}`.
pub(super) async fn verify_hashed_by(
    State(api): Api,
    Caller(caller): Caller,
    Names((name, algorithm)): Names<(String, String)>,
    Body(parameters): Body<SigningParameters>,
) -> Response {
    told(&api.transit, api.transit.engine.verify(&caller, &name, Some(&algorithm), parameters).await)
}

fn told(api: &TransitApi, outcome: Result<impl Serialize, TransitError>) -> Response {
    match outcome {
        Ok(data) => api.answer(data),
        Err(error) => refused(&error),
    }
}
