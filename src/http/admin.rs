//! The admin listener's routes: health, metrics, and what operators ask for. It is a Unix socket that
//! only its owner can open.

pub mod attestation;
pub mod clients;
pub mod keys;
pub mod sessions;

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::rejection::JsonRejection;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, get, post};
use axum::{Json, Router};
use prometheus_client::encoding::text::encode;
use prometheus_client::registry::Registry;
use serde::{Deserialize, Serialize};
use tower::ServiceExt as _;

use self::attestation::{ATTESTATIONS_PATH, KEY_ATTESTATION_PATH};
use self::clients::{CLIENT_PATH, CLIENTS_PATH};
use self::keys::{KEY_ORDERS_PATH, KEYS_PATH};
use self::sessions::{REVOKE_PATH, SESSIONS_PATH};
use super::frontend::grants::GRANTS_PATH;
use super::frontend::{self, FrontendApi, presents_token};
use super::render::{not_stored, oauth_error};
use crate::clock::Clock;
use crate::keeper::Keepers;
use crate::keyring::Caretaker;
use crate::oauth::OAuthError;
use crate::oauth::registrations::CurrentRegistrations;
use crate::oauth::token_endpoint::TokenEndpoint;
use crate::store::Store;

/// What the routes serve.
pub struct AdminApi {
    /// Issues grants.
    pub token_endpoint: Arc<TokenEndpoint>,
    /// Probed for readiness.
    pub keepers: Keepers,
    /// Probed for readiness; holds the sessions.
    pub store: Arc<dyn Store>,
    /// The rules for clients that register themselves.
    pub registrations: CurrentRegistrations,
    /// Looks after the keys.
    pub caretaker: Arc<Caretaker>,
    /// The time that a revocation carries.
    pub clock: Arc<dyn Clock>,
    /// What front-ends use, here too.
    pub frontend: Arc<FrontendApi>,
    /// What `/metrics` shows.
    pub metrics: Registry,
}

/// An operator's wish for a first refresh token.
#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct GrantRequest {
    /// The registered client.
    pub client_id: String,
    /// Who the tokens speak for.
    pub subject: String,
    /// The scope; all of the client's where it is left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scope: Option<String>,
}

/// Whether each part can serve.
#[derive(Serialize)]
struct Readiness {
    ready: bool,
    /// The first fault of a device where none can sign.
    keeper: String,
    store: String,
    /// By the name of the device.
    devices: BTreeMap<String, String>,
}

/// The router of the admin listener. Whoever presents a token is there as a front-end, and has what front-ends have.
/// Whoever presents none is the operator, and has what only front-ends have where its uid is one's.
pub fn router(api: AdminApi) -> Router {
    let frontends = frontend::router(Arc::clone(&api.frontend));
    Router::new()
        .route("/healthz", get(async || "ok\n"))
        .route("/readyz", get(readiness))
        .route("/metrics", get(metrics))
        .route(GRANTS_PATH, post(grant))
        .route(SESSIONS_PATH, get(sessions::list))
        .route(REVOKE_PATH, post(sessions::revoke))
        .route(CLIENTS_PATH, get(clients::list))
        .route(CLIENT_PATH, delete(clients::remove))
        .route(ATTESTATIONS_PATH, get(attestation::of_all))
        .route(KEY_ATTESTATION_PATH, get(attestation::of_key))
        .route(KEYS_PATH, get(keys::list))
        .route(KEY_ORDERS_PATH, post(keys::order))
        .fallback_service(frontends.clone())
        .layer(from_fn_with_state(frontends, separate))
        .with_state(Arc::new(api))
}

/// Leads front-ends to their own routes, some of which are at the paths of the operators'.
async fn separate(State(frontends): State<Router>, request: Request, next: Next) -> Response {
    if !presents_token(request.headers()) {
        return next.run(request).await;
    }
    match frontends.oneshot(request).await {
        Ok(response) => response,
        Err(never) => match never {},
    }
}

/// Ready means: a device made a signature that verifies, and the store committed a write.
async fn readiness(State(api): State<Arc<AdminApi>>) -> Response {
    let (devices, store) = tokio::join!(api.keepers.probe(), api.store.probe());
    let first_fault = devices.iter().find_map(|(_, outcome)| outcome.as_ref().err());
    let keeper = if devices.iter().any(|(_, outcome)| outcome.is_ok()) { None } else { first_fault };
    let ready = keeper.is_none() && store.is_ok();
    let told = |failure: Option<String>| failure.unwrap_or_else(|| "ok".to_owned());
    let body = Readiness {
        ready,
        keeper: told(keeper.map(ToString::to_string)),
        store: told(store.err().map(|error| error.to_string())),
        devices: devices
            .iter()
            .map(|(name, outcome)| ((*name).to_owned(), told(outcome.as_ref().err().map(ToString::to_string))))
            .collect(),
    };
    let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    not_stored(status, &body)
}

async fn metrics(State(api): State<Arc<AdminApi>>) -> Response {
    let mut text = String::new();
    match encode(&mut text, &api.metrics) {
        Ok(()) => {
            ([(CONTENT_TYPE, "application/openmetrics-text; version=1.0.0; charset=utf-8")], text).into_response()
        }
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

async fn grant(State(api): State<Arc<AdminApi>>, request: Result<Json<GrantRequest>, JsonRejection>) -> Response {
    let Ok(Json(request)) = request else {
        return oauth_error(&OAuthError::InvalidRequest(
            "expected JSON with client_id, subject and, optionally, scope",
        ));
    };
    let GrantRequest { client_id, subject, scope } = request;
    match api.token_endpoint.begin_family(&client_id, &subject, scope.as_deref()).await {
        Ok(grant) => not_stored(StatusCode::CREATED, &grant),
        Err(error) => oauth_error(&error),
    }
}
