//! Answers as Vault writes them.

use axum::http::header::RETRY_AFTER;
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse as _, Response};
use serde::Serialize;
use uuid::Builder;

use super::TransitApi;
use crate::http::render::not_stored;
use crate::transit::TransitError;

/// What stands around an answer. Nothing here is leased or wrapped.
#[derive(Serialize)]
struct Envelope<Data> {
    request_id: String,
    lease_id: &'static str,
    renewable: bool,
    lease_duration: u32,
    data: Option<Data>,
    wrap_info: Option<()>,
    warnings: Option<[String; 1]>,
    auth: Option<Auth>,
}

/// What is told of a token that was to be renewed.
#[derive(Serialize)]
pub(super) struct Auth {
    pub(super) client_token: String,
    pub(super) accessor: &'static str,
    pub(super) policies: Vec<String>,
    pub(super) token_policies: Vec<String>,
    pub(super) metadata: Option<()>,
    pub(super) lease_duration: u32,
    pub(super) renewable: bool,
    pub(super) entity_id: &'static str,
    pub(super) token_type: &'static str,
    pub(super) orphan: bool,
}

#[derive(Serialize)]
struct Errors {
    errors: Vec<String>,
}

impl TransitApi {
    /// `data` as an answer.
    pub(super) fn answer(&self, data: impl Serialize) -> Response {
        self.answer_with(data, None)
    }

    /// The same, with something that is to be said beside.
    pub(super) fn answer_with(&self, data: impl Serialize, warning: Option<String>) -> Response {
        let warnings = warning.map(|warning| [warning]);
        not_stored(StatusCode::OK, &Envelope { data: Some(data), warnings, ..self.envelope() })
    }

    /// `auth` as an answer.
    pub(super) fn answer_auth(&self, auth: Auth) -> Response {
        not_stored(StatusCode::OK, &Envelope::<()> { auth: Some(auth), ..self.envelope() })
    }

    fn envelope<Data>(&self) -> Envelope<Data> {
        Envelope {
            request_id: Builder::from_random_bytes(self.entropy.bytes()).into_uuid().to_string(),
            lease_id: "",
            renewable: false,
            lease_duration: 0,
            data: None,
            wrap_info: None,
            warnings: None,
            auth: None,
        }
    }
}

/// That something was done, and there is nothing to say.
pub(super) fn done() -> Response {
    StatusCode::NO_CONTENT.into_response()
}

/// `error` as an answer.
pub(super) fn refused(error: &TransitError) -> Response {
    let (status, retry_after) = match error {
        TransitError::NotFound => return errors(StatusCode::NOT_FOUND, None),
        TransitError::Invalid(_) => (StatusCode::BAD_REQUEST, None),
        TransitError::Forbidden(_) => (StatusCode::FORBIDDEN, None),
        TransitError::TooMany(time) => (StatusCode::TOO_MANY_REQUESTS, Some(*time)),
        TransitError::Unavailable(time) => (StatusCode::SERVICE_UNAVAILABLE, Some(*time)),
        TransitError::Internal => (StatusCode::INTERNAL_SERVER_ERROR, None),
    };
    let mut response = errors(status, Some(error.to_string()));
    if let Some(time) = retry_after {
        // There are no fractions (RFC 9110 §10.2.3): nobody is to come too early.
        let seconds = time.as_secs() + u64::from(time.subsec_nanos() > 0);
        response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(seconds));
    }
    response
}

/// Vault's form of an error.
pub(super) fn errors(status: StatusCode, message: Option<String>) -> Response {
    not_stored(status, &Errors { errors: message.into_iter().collect() })
}
