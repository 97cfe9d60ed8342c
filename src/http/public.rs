//! The public listener's routes: what clients and resource servers use.

pub(super) mod discovery;
pub mod failures;
pub(super) mod form;
mod introspection;
mod registration;
mod revocation;
mod token;

use std::sync::Arc;
use std::time::Duration;

use axum::extract::DefaultBodyLimit;
use axum::routing::{get, post};
use axum::{Extension, Router};
use utoipa::openapi::HttpMethod;

use self::failures::FailureAnswers;
use super::openapi::{self, Listener};
use crate::keyring::CurrentKeyring;
use crate::oauth::delegated::DelegatedSigning;
use crate::oauth::introspection::IntrospectionEndpoint;
use crate::oauth::metadata::{
    CurrentMetadata, INTROSPECTION_PATH, JWKS_PATH, METADATA_PATH, OPENAPI_PATH, PROFILE_JWKS_PATH, REGISTRATION_PATH,
    REVOCATION_PATH, TOKEN_PATH,
};
use crate::oauth::registration::RegistrationEndpoint;
use crate::oauth::revocation::RevocationEndpoint;
use crate::oauth::token_endpoint::TokenEndpoint;

/// A token request is a few hundred bytes; a body larger than this is not read.
pub(super) const BODY_LIMIT: usize = 16 * 1024;

type Endpoint = openapi::Endpoint<PublicApi>;

/// What the routes serve.
pub struct PublicApi {
    /// The token endpoint.
    pub token_endpoint: Arc<TokenEndpoint>,
    /// The revocation endpoint.
    pub revocation_endpoint: RevocationEndpoint,
    /// The introspection endpoint.
    pub introspection_endpoint: IntrospectionEndpoint,
    /// The registration endpoint, which answers 404 where registration is off.
    pub registration_endpoint: RegistrationEndpoint,
    /// Has the keys of what is signed for front-ends.
    pub signing: Arc<DelegatedSigning>,
    /// How failed attempts at these are answered.
    pub failures: FailureAnswers,
    /// The published keys.
    pub keyring: CurrentKeyring,
    /// The authorization server metadata.
    pub metadata: CurrentMetadata,
    /// How long others may keep the published keys and the metadata.
    pub max_age: Duration,
    /// The path of the issuer identifier, empty or beginning with a slash: every route is below it.
    pub issuer_path: String,
}

/// The router of the public listener.
pub fn router(api: PublicApi) -> Router {
    let endpoints = endpoints(&api);
    let description = Arc::new(openapi::description(Listener::Public, &endpoints));
    let mut router = Router::new();
    for Endpoint { path, methods, .. } in endpoints {
        router = router.route(&path, methods.fallback(form::method_not_allowed));
    }
    router
        .layer(DefaultBodyLimit::max(BODY_LIMIT))
        .layer(axum::middleware::from_fn(form::refuse_oversized))
        .layer(Extension(description))
        .with_state(Arc::new(api))
}

/// Everything that is routed and described.
fn endpoints(api: &PublicApi) -> Vec<Endpoint> {
    let path = &api.issuer_path;
    let below = |name: &str| format!("{path}{name}");
    let form =
        |name: &str, methods, description| Endpoint::new(below(name), methods).describe(HttpMethod::Post, description);
    let document = |path, methods, description| Endpoint::new(path, methods).describe(HttpMethod::Get, description);
    vec![
        form(TOKEN_PATH, post(token::exchange), token::description()),
        form(REVOCATION_PATH, post(revocation::revoke), revocation::description()),
        document(below(JWKS_PATH), get(discovery::jwks), discovery::jwks_description()),
        document(
            below(&format!("{PROFILE_JWKS_PATH}/{{profile}}")),
            get(discovery::profile_jwks),
            discovery::profile_jwks_description(),
        ),
        // The issuer's path comes after the well-known one here (RFC 8414 §3).
        document(format!("{METADATA_PATH}{path}"), get(discovery::metadata), discovery::metadata_description()),
        document(below(OPENAPI_PATH), get(discovery::openapi), discovery::openapi_description()),
        // Also where nobody may ask: who does hears so.
        form(INTROSPECTION_PATH, post(introspection::introspect), introspection::description()),
        form(REGISTRATION_PATH, post(registration::register), registration::register_description()),
        Endpoint::new(
            below(&format!("{REGISTRATION_PATH}/{{client_id}}")),
            get(registration::read).put(registration::replace).delete(registration::remove),
        )
        .describe(HttpMethod::Get, registration::read_description())
        .describe(HttpMethod::Put, registration::replace_description())
        .describe(HttpMethod::Delete, registration::remove_description()),
    ]
}
