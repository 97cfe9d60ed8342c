//! `/admin/v1/devices/{user_code}`: what a device asks for whose code somebody typed, and what the front-end decides.

use std::sync::Arc;

use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::http::HeaderMap;
use axum::response::Response;
use serde::Serialize;
use utoipa::ToSchema;

use super::logins::answer;
use super::{Caller, FrontendApi, json};
use crate::http::openapi::{Description, JSON, problem, uncached};
use crate::http::public::form::Body;
use crate::http::render::oauth_error;
use crate::oauth::acceptance::Acceptance;
use crate::oauth::device::WaitingDevice;
use crate::oauth::login::Refusal;

/// The path of a device.
pub(super) const DEVICE_PATH: &str = "/admin/v1/devices/{user_code}";
/// The path where it is accepted.
pub(super) const ACCEPT_PATH: &str = "/admin/v1/devices/{user_code}/accept";
/// The path where it is refused.
pub(super) const REFUSE_PATH: &str = "/admin/v1/devices/{user_code}/refuse";

const USER_CODE: &str = "user_code";

/// The code in the path. What cannot be read is nobody's, and is answered so.
type TypedCode = Result<Path<String>, PathRejection>;

/// That it was done.
#[derive(Serialize, ToSchema)]
struct Done {}

pub(super) async fn read(State(api): State<Arc<FrontendApi>>, Caller(caller): Caller, code: TypedCode) -> Response {
    answer(api.devices.read(&caller, &typed(code)).await)
}

pub(super) async fn accept(
    State(api): State<Arc<FrontendApi>>,
    Caller(caller): Caller,
    code: TypedCode,
    headers: HeaderMap,
    body: Body,
) -> Response {
    match json(&headers, &body) {
        Ok(json) => answer(api.devices.accept(&caller, &typed(code), json).await.map(|()| Done {})),
        Err(error) => oauth_error(&error),
    }
}

pub(super) async fn refuse(
    State(api): State<Arc<FrontendApi>>,
    Caller(caller): Caller,
    code: TypedCode,
    headers: HeaderMap,
    body: Body,
) -> Response {
    match json(&headers, &body) {
        Ok(json) => answer(api.devices.refuse(&caller, &typed(code), json).await.map(|()| Done {})),
        Err(error) => oauth_error(&error),
    }
}

fn typed(code: TypedCode) -> String {
    code.map(|Path(code)| code).unwrap_or_default()
}

pub(super) fn read_description() -> Description {
    of_device("device", "What a device asks for").answer_of::<WaitingDevice>(200, JSON, uncached("The device."))
}

pub(super) fn accept_description() -> Description {
    of_device("acceptDevice", "Says who logged in for the device, and what was granted")
        .json::<Acceptance>()
        .answer_of::<Done>(200, JSON, uncached("It was accepted."))
}

pub(super) fn refuse_description() -> Description {
    of_device("refuseDevice", "Says that the device gets nothing").json::<Refusal>().answer_of::<Done>(
        200,
        JSON,
        uncached("It was refused."),
    )
}

fn of_device(id: &str, summary: &str) -> Description {
    Description::new(id, summary)
        .in_path(USER_CODE, "The code, as the person typed it: upper or lower case, with or without the hyphen.")
        .frontend()
        .answer(404, problem("No device of this front-end's shows such a code, or none any more."))
        .answer(409, problem("It was decided before."))
}
