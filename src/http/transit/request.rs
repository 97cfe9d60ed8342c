//! What a request brings: its caller, the names in its path, its body.

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::{FromRequest, FromRequestParts, Path, Request};
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use serde::de::DeserializeOwned;

use super::envelope::{errors, refused};
use crate::http::frontend::FrontendApi;
use crate::http::listener::Peer;
use crate::oauth::OAuthError;
use crate::oauth::frontend::{CallingFrontend, FrontendError};
use crate::transit::{self, TransitError};

/// Where a client asks for its answer to be kept for somebody else.
const WRAP_TTL: &str = "x-vault-wrap-ttl";

/// The front-end that makes a request, in whichever way it proves itself. Who is none is told what Vault tells.
pub(super) struct Caller(pub(super) CallingFrontend);

impl FromRequestParts<Arc<FrontendApi>> for Caller {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, api: &Arc<FrontendApi>) -> Result<Self, Response> {
        let peer = parts.extensions.get::<Peer>();
        match api.authenticate(peer, &parts.headers) {
            Ok(_) if is_to_be_wrapped(&parts.headers) => {
                Err(refused(&TransitError::Invalid("response wrapping is not supported".to_owned())))
            }
            Ok(frontend) => Ok(Self(frontend)),
            Err(error) => {
                let response = match error {
                    FrontendError::Unknown => errors(StatusCode::FORBIDDEN, Some("permission denied".to_owned())),
                    FrontendError::Forbidden(_) | FrontendError::TooMany(_) => refused(&error.into()),
                };
                Err(api.refuse_as(peer, &parts.headers, &OAuthError::from(error), response).await)
            }
        }
    }
}

/// An answer must not go out bare where the client wants it wrapped.
fn is_to_be_wrapped(headers: &HeaderMap) -> bool {
    headers.get(WRAP_TTL).is_some_and(|time| !time.is_empty() && time != "0")
}

/// The names in the path. One that is no text names nothing.
pub(super) struct Names<Of>(pub(super) Of);

impl<Of: DeserializeOwned + Send, State: Send + Sync> FromRequestParts<State> for Names<Of> {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, state: &State) -> Result<Self, Response> {
        let names = Path::<Of>::from_request_parts(parts, state).await;
        names.map(|Path(names)| Self(names)).map_err(|_| refused(&TransitError::NotFound))
    }
}

/// The body, read as JSON whatever type it says that it has.
pub(super) struct Body<Parameters>(pub(super) Parameters);

impl<Parameters: DeserializeOwned + Default, State: Send + Sync> FromRequest<State> for Body<Parameters> {
    type Rejection = Response;

    async fn from_request(request: Request, state: &State) -> Result<Self, Response> {
        let bytes = Bytes::from_request(request, state).await.map_err(|rejection| {
            errors(rejection.status(), Some("the body is too large or was not received whole".to_owned()))
        })?;
        transit::read(&bytes).map(Self).map_err(|error| refused(&error))
    }
}

/// The answer to a path that is none, which only callers get.
pub(super) async fn no_route(Caller(_): Caller) -> Response {
    refused(&TransitError::NotFound)
}

/// The answer to a method that a path does not have.
pub(super) async fn method_not_allowed(Caller(_): Caller) -> Response {
    errors(StatusCode::METHOD_NOT_ALLOWED, Some("unsupported operation".to_owned()))
}
