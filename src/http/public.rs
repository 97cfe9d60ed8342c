//! The public listener's routes: what clients and resource servers use.

mod discovery;
pub mod failures;
mod form;
mod introspection;
mod revocation;
mod token;

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::routing::{MethodRouter, get, post};

use self::failures::FailureAnswers;
use crate::keyring::{CurrentKeyring, Document};
use crate::oauth::introspection::IntrospectionEndpoint;
use crate::oauth::metadata::{INTROSPECTION_PATH, JWKS_PATH, METADATA_PATH, REVOCATION_PATH, TOKEN_PATH};
use crate::oauth::revocation::RevocationEndpoint;
use crate::oauth::token_endpoint::TokenEndpoint;

/// A token request is a few hundred bytes; a body larger than this is not read.
pub(super) const BODY_LIMIT: usize = 16 * 1024;

/// What the routes serve.
pub struct PublicApi {
    /// The token endpoint.
    pub token_endpoint: Arc<TokenEndpoint>,
    /// The revocation endpoint.
    pub revocation_endpoint: RevocationEndpoint,
    /// The introspection endpoint.
    pub introspection_endpoint: IntrospectionEndpoint,
    /// How failed attempts at these three are answered.
    pub failures: FailureAnswers,
    /// The published keys.
    pub keyring: CurrentKeyring,
    /// The authorization server metadata.
    pub metadata: Document,
    /// How long others may keep the published keys and the metadata.
    pub max_age: Duration,
    /// The path of the issuer identifier, empty or beginning with a slash: every route is below it.
    pub issuer_path: String,
}

/// The router of the public listener.
pub fn router(api: PublicApi) -> Router {
    let path = api.issuer_path.clone();
    let endpoint = |route: MethodRouter<Arc<PublicApi>>| route.fallback(form::method_not_allowed);
    Router::new()
        .route(&format!("{path}{TOKEN_PATH}"), endpoint(post(token::exchange)))
        .route(&format!("{path}{REVOCATION_PATH}"), endpoint(post(revocation::revoke)))
        .route(&format!("{path}{INTROSPECTION_PATH}"), endpoint(post(introspection::introspect)))
        .route(&format!("{path}{JWKS_PATH}"), get(discovery::jwks))
        // The issuer's path comes after the well-known one here (RFC 8414 §3).
        .route(&format!("{METADATA_PATH}{path}"), get(discovery::metadata))
        .layer(DefaultBodyLimit::max(BODY_LIMIT))
        .layer(axum::middleware::from_fn(form::refuse_oversized))
        .with_state(Arc::new(api))
}
