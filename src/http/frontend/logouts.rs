//! `/admin/v1/logouts/{handle}`: the logout that a client asks for, and the front-end's word that it took place; and
//! `/admin/v1/sessions/end`, for one that nobody asked for.

use std::sync::Arc;

use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::logins::answer;
use super::{Caller, FrontendApi, json};
use crate::http::openapi::{Description, JSON, problem, uncached};
use crate::http::public::form::Body;
use crate::http::render::{not_stored, oauth_error};
use crate::oauth::OAuthError;
use crate::oauth::logout::{AfterLogout, LogoutAcceptance, WaitingLogout};

/// The path of a logout.
pub(super) const LOGOUT_PATH: &str = "/admin/v1/logouts/{handle}";
/// The path where it is accepted.
pub(super) const ACCEPT_PATH: &str = "/admin/v1/logouts/{handle}/accept";
/// The path where sessions end.
pub(super) const END_PATH: &str = "/admin/v1/sessions/end";

const HANDLE: &str = "handle";

/// The handle in the path. What cannot be read is nobody's, and is answered so.
type LogoutHandle = Result<Path<String>, PathRejection>;

/// The session that ended.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct EndedSession {
    /// The front-end's own name for it.
    session: String,
}

/// What ended with it.
#[derive(Serialize, ToSchema)]
struct EndedFamilies {
    /// The refresh families that lived.
    families: usize,
}

pub(super) async fn read(
    State(api): State<Arc<FrontendApi>>,
    Caller(caller): Caller,
    handle: LogoutHandle,
) -> Response {
    answer(api.logouts.read(&caller, &named(handle)).await)
}

pub(super) async fn accept(
    State(api): State<Arc<FrontendApi>>,
    Caller(caller): Caller,
    handle: LogoutHandle,
    headers: HeaderMap,
    body: Body,
) -> Response {
    // There may be nothing to say.
    let json = if body.bytes().is_empty() { Ok(body.bytes()) } else { json(&headers, &body) };
    match json {
        Ok(json) => answer(api.logouts.accept(&caller, &named(handle), json).await),
        Err(error) => oauth_error(&error),
    }
}

pub(super) async fn end_session(
    State(api): State<Arc<FrontendApi>>,
    Caller(caller): Caller,
    headers: HeaderMap,
    body: Body,
) -> Response {
    let outcome = async {
        let read = serde_json::from_slice(json(&headers, &body)?);
        let EndedSession { session } = read.map_err(|_| OAuthError::InvalidRequest("expected JSON with session"))?;
        api.session_ends.end(caller.frontend(), &session).await
    };
    match outcome.await {
        Ok(families) => not_stored(StatusCode::OK, &EndedFamilies { families }),
        Err(error) => oauth_error(&error),
    }
}

fn named(handle: LogoutHandle) -> String {
    handle.map(|Path(handle)| handle).unwrap_or_default()
}

pub(super) fn read_description() -> Description {
    of_logout("frontendLogout", "The logout that a client asks for").answer_of::<WaitingLogout>(
        200,
        JSON,
        uncached("The logout."),
    )
}

pub(super) fn accept_description() -> Description {
    of_logout("acceptLogout", "Says that the person is logged out, and of which session")
        .json::<LogoutAcceptance>()
        .answer_of::<AfterLogout>(200, JSON, uncached("Where to send the browser."))
}

pub(super) fn end_session_description() -> Description {
    Description::new("endSession", "Ends a session of the front-end's, and tells its clients")
        .json::<EndedSession>()
        .frontend()
        .answer_of::<EndedFamilies>(200, JSON, uncached("It ended."))
}

fn of_logout(id: &str, summary: &str) -> Description {
    Description::new(id, summary)
        .in_path(HANDLE, "The handle that the browser brought, in the parameter logout.")
        .frontend()
        .answer(404, problem("There is no such logout, or none any more."))
        .answer(409, problem("It was accepted before."))
}
