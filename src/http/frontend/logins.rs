//! `/admin/v1/logins/{handle}`: what a client asks a person for, and what the front-end decides.

use std::sync::Arc;

use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use serde::Serialize;

use super::{Caller, FrontendApi, json};
use crate::http::openapi::{Description, JSON, problem, uncached};
use crate::http::public::form::Body;
use crate::http::render::{not_stored, oauth_error, with_code};
use crate::oauth::acceptance::Acceptance;
use crate::oauth::login::{LoginError, Redirect, Refusal, WaitingLogin};

/// The path of a login.
pub const LOGIN_PATH: &str = "/admin/v1/logins/{handle}";
/// The path where it is accepted.
pub(super) const ACCEPT_PATH: &str = "/admin/v1/logins/{handle}/accept";
/// The path where it is refused.
pub(super) const REFUSE_PATH: &str = "/admin/v1/logins/{handle}/refuse";

const HANDLE: &str = "handle";

/// The handle in the path. What cannot be read is nobody's, and is answered so.
type LoginHandle = Result<Path<String>, PathRejection>;

pub(super) async fn read(State(api): State<Arc<FrontendApi>>, Caller(caller): Caller, handle: LoginHandle) -> Response {
    answer(api.logins.read(&caller, &named(handle)).await)
}

pub(super) async fn accept(
    State(api): State<Arc<FrontendApi>>,
    Caller(caller): Caller,
    handle: LoginHandle,
    headers: HeaderMap,
    body: Body,
) -> Response {
    match json(&headers, &body) {
        Ok(json) => answer(api.logins.accept(&caller, &named(handle), json).await),
        Err(error) => oauth_error(&error),
    }
}

pub(super) async fn refuse(
    State(api): State<Arc<FrontendApi>>,
    Caller(caller): Caller,
    handle: LoginHandle,
    headers: HeaderMap,
    body: Body,
) -> Response {
    match json(&headers, &body) {
        Ok(json) => answer(api.logins.refuse(&caller, &named(handle), json).await),
        Err(error) => oauth_error(&error),
    }
}

fn named(handle: LoginHandle) -> String {
    handle.map(|Path(handle)| handle).unwrap_or_default()
}

/// The answer to what came of a request about something that waits for a decision.
pub(super) fn answer(outcome: Result<impl Serialize, LoginError>) -> Response {
    match outcome {
        Ok(body) => not_stored(StatusCode::OK, &body),
        Err(LoginError::Unknown) => {
            with_code(StatusCode::NOT_FOUND, "invalid_request", "nothing of that name waits for a decision")
        }
        Err(LoginError::Decided) => {
            with_code(StatusCode::CONFLICT, "invalid_request", "this was decided before, and is decided once")
        }
        Err(LoginError::Refused(error)) => oauth_error(&error),
    }
}

pub(super) fn read_description() -> Description {
    of_login("login", "What a client asks a person for").answer_of::<WaitingLogin>(200, JSON, uncached("The login."))
}

pub(super) fn accept_description() -> Description {
    of_login("acceptLogin", "Says who logged in, and what was granted").json::<Acceptance>().answer_of::<Redirect>(
        200,
        JSON,
        uncached("Where to send the browser."),
    )
}

pub(super) fn refuse_description() -> Description {
    of_login("refuseLogin", "Says that nobody logged in, and why").json::<Refusal>().answer_of::<Redirect>(
        200,
        JSON,
        uncached("Where to send the browser."),
    )
}

fn of_login(id: &str, summary: &str) -> Description {
    Description::new(id, summary)
        .in_path(HANDLE, "The handle that the browser brought, in the parameter login.")
        .frontend()
        .answer(404, problem("There is no such login, or none any more."))
        .answer(409, problem("The login was decided before."))
}
