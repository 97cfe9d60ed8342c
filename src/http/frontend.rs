//! The front-ends' routes: what those programs use that log people in or have keys here sign. They are served at
//! `[listen.frontend]`, and at the admin socket beside the operators' own.

mod caller;
mod description;
mod devices;
pub mod grants;
pub mod logins;
mod logouts;
pub mod sign;

use std::sync::Arc;
use std::time::Duration;

use axum::extract::DefaultBodyLimit;
use axum::http::HeaderMap;
use axum::routing::{get, post};
use axum::{Extension, Router};
use utoipa::openapi::HttpMethod;

use self::grants::GRANTS_PATH;
use self::logins::{ACCEPT_PATH, LOGIN_PATH, REFUSE_PATH};
use self::sign::{PROFILE_JWKS_PATH, SIGN_PATH};
use super::openapi::{self, JSON, Listener};
use super::public::failures::FailureAnswers;
use super::public::form::Body;
use super::public::{BODY_LIMIT, form};
use super::transit::{self, TransitApi};
use crate::oauth::OAuthError;
use crate::oauth::delegated::DelegatedSigning;
use crate::oauth::device::Devices;
use crate::oauth::frontend::FrontendAuthenticator;
use crate::oauth::login::Logins;
use crate::oauth::logout::Logouts;
use crate::oauth::metadata::OPENAPI_PATH;
use crate::oauth::session_end::SessionEnds;
use crate::oauth::token_endpoint::TokenEndpoint;

pub use self::caller::Caller;
pub(super) use self::caller::presents_token;

type Endpoint = openapi::Endpoint<FrontendApi>;

/// What the routes serve.
pub struct FrontendApi {
    /// Who has front-ends prove themselves.
    pub frontends: Arc<FrontendAuthenticator>,
    /// How callers are answered that are none.
    pub failures: FailureAnswers,
    /// Has keys sign what they bring.
    pub signing: Arc<DelegatedSigning>,
    /// The logins that they decide.
    pub logins: Logins,
    /// The devices that they decide on.
    pub devices: Devices,
    /// The logouts that they perform.
    pub logouts: Logouts,
    /// Ends their sessions.
    pub session_ends: Arc<SessionEnds>,
    /// Has tokens for them.
    pub token_endpoint: Arc<TokenEndpoint>,
    /// How long others may keep published keys and the description.
    pub max_age: Duration,
    /// The same keys for clients of Vault.
    pub transit: TransitApi,
}

/// The router of a listener of front-ends.
pub fn router(api: Arc<FrontendApi>) -> Router {
    let endpoints = routes();
    let description = Arc::new(openapi::description(Listener::Frontends, &endpoints));
    let mut router = Router::new();
    for Endpoint { path, methods, .. } in endpoints {
        router = router.route(&path, methods.fallback(form::method_not_allowed));
    }
    router
        .layer(DefaultBodyLimit::max(BODY_LIMIT))
        .layer(axum::middleware::from_fn(form::refuse_oversized))
        .layer(Extension(description))
        .with_state(Arc::clone(&api))
        .merge(transit::router(api))
}

/// The body of a request that says it is JSON.
fn json<'a>(headers: &HeaderMap, body: &'a Body) -> Result<&'a [u8], OAuthError> {
    if form::is_of_type(headers, JSON) {
        return Ok(body.bytes());
    }
    Err(OAuthError::InvalidRequest("expected Content-Type: application/json"))
}

/// Everything that is routed and described.
fn routes() -> Vec<Endpoint> {
    vec![
        Endpoint::new(SIGN_PATH.to_owned(), post(sign::sign)).describe(HttpMethod::Post, sign::description()),
        Endpoint::new(PROFILE_JWKS_PATH.to_owned(), get(sign::jwks))
            .describe(HttpMethod::Get, sign::jwks_description()),
        Endpoint::new(LOGIN_PATH.to_owned(), get(logins::read)).describe(HttpMethod::Get, logins::read_description()),
        Endpoint::new(ACCEPT_PATH.to_owned(), post(logins::accept))
            .describe(HttpMethod::Post, logins::accept_description()),
        Endpoint::new(REFUSE_PATH.to_owned(), post(logins::refuse))
            .describe(HttpMethod::Post, logins::refuse_description()),
        Endpoint::new(devices::DEVICE_PATH.to_owned(), get(devices::read))
            .describe(HttpMethod::Get, devices::read_description()),
        Endpoint::new(devices::ACCEPT_PATH.to_owned(), post(devices::accept))
            .describe(HttpMethod::Post, devices::accept_description()),
        Endpoint::new(devices::REFUSE_PATH.to_owned(), post(devices::refuse))
            .describe(HttpMethod::Post, devices::refuse_description()),
        Endpoint::new(logouts::LOGOUT_PATH.to_owned(), get(logouts::read))
            .describe(HttpMethod::Get, logouts::read_description()),
        Endpoint::new(logouts::ACCEPT_PATH.to_owned(), post(logouts::accept))
            .describe(HttpMethod::Post, logouts::accept_description()),
        Endpoint::new(logouts::END_PATH.to_owned(), post(logouts::end_session))
            .describe(HttpMethod::Post, logouts::end_session_description()),
        Endpoint::new(GRANTS_PATH.to_owned(), post(grants::grant)).describe(HttpMethod::Post, grants::description()),
        Endpoint::new(OPENAPI_PATH.to_owned(), get(description::openapi))
            .describe(HttpMethod::Get, description::description()),
    ]
}
