//! `POST /admin/v1/grants`, as front-ends use it: tokens for somebody who logged in there.

use std::sync::Arc;

use axum::extract::{FromRequest as _, FromRequestParts as _, Request, State};
use axum::http::{HeaderMap, StatusCode};
use axum::middleware::Next;
use axum::response::Response;

use super::caller::is_presented;
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

/// Answers front-ends, at the listener where operators grant at the same path: whoever presents a token is a front-end.
pub(in crate::http) async fn answer_frontends(
    State(api): State<Arc<FrontendApi>>,
    request: Request,
    next: Next,
) -> Response {
    if !is_presented(request.headers()) {
        return next.run(request).await;
    }
    let (mut parts, body) = request.into_parts();
    let caller = match Caller::from_request_parts(&mut parts, &api).await {
        Ok(caller) => caller,
        Err(refused) => return refused,
    };
    let headers = parts.headers.clone();
    match Body::from_request(Request::from_parts(parts, body), &api).await {
        Ok(body) => grant(State(api), caller, headers, body).await,
        Err(refused) => refused,
    }
}

pub(super) fn description() -> Description {
    Description::new("grant", "Tokens of a client of the front-end's, for somebody who logged in there")
        .json::<FrontendGrantRequest>()
        .frontend()
        .answer_of::<IssuedLogin>(201, JSON, uncached("The tokens."))
}
