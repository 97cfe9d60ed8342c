//! The front-ends' routes: what those programs use that log people in or have keys here sign. They are served at
//! `[listen.frontend]`, and at the admin socket beside the operators' own.

mod caller;
mod description;
pub mod sign;

use std::sync::Arc;
use std::time::Duration;

use axum::extract::DefaultBodyLimit;
use axum::routing::{get, post};
use axum::{Extension, Router};
use utoipa::openapi::HttpMethod;

use self::sign::{PROFILE_JWKS_PATH, SIGN_PATH};
use super::openapi::{self, Listener};
use super::public::failures::FailureAnswers;
use super::public::{BODY_LIMIT, form};
use crate::oauth::delegated::DelegatedSigning;
use crate::oauth::frontend::FrontendAuthenticator;
use crate::oauth::metadata::OPENAPI_PATH;

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
    /// How long others may keep published keys and the description.
    pub max_age: Duration,
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
        .with_state(api)
}

/// Everything that is routed and described.
fn routes() -> Vec<Endpoint> {
    vec![
        Endpoint::new(SIGN_PATH.to_owned(), post(sign::sign)).describe(HttpMethod::Post, sign::description()),
        Endpoint::new(PROFILE_JWKS_PATH.to_owned(), get(sign::jwks))
            .describe(HttpMethod::Get, sign::jwks_description()),
        Endpoint::new(OPENAPI_PATH.to_owned(), get(description::openapi))
            .describe(HttpMethod::Get, description::description()),
    ]
}
