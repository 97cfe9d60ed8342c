//! `POST /admin/v1/grants`, as front-ends use it: tokens for somebody who logged in there.

use std::sync::Arc;

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;

use super::{Caller, FrontendApi, json};
use crate::http::openapi::{Description, JSON, uncached};
use crate::http::public::form::Body;
use crate::http::render::{not_stored, oauth_error};
use crate::oauth::frontend_grant::FrontendGrantRequest;
use crate::oauth::issuer::IssuedLogin;

/// The path where front-ends, and operators, grant.
pub const GRANTS_PATH: &str = "/admin/v1/grants";

pub(super) async fn grant(
    State(api): State<Arc<FrontendApi>>,
    Caller(caller): Caller,
    headers: HeaderMap,
    body: Body,
) -> Response {
    let outcome = async {
        let request = FrontendGrantRequest::parse(json(&headers, &body)?)?;
        api.token_endpoint.grant_to(&caller, request).await
    };
    match outcome.await {
        Ok(issued) => not_stored(StatusCode::CREATED, &issued),
        Err(error) => oauth_error(&error),
    }
}

pub(super) fn description() -> Description {
    Description::new("grant", "Tokens of a client of the front-end's, for somebody who logged in there")
        .json::<FrontendGrantRequest>()
        .frontend()
        .answer_of::<IssuedLogin>(201, JSON, uncached("The tokens."))
}
