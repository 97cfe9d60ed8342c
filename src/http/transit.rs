//! The routes of Vault that its clients use to sign (`/v1/transit`), and the few that they ask before: who they are,
//! whether the server is well, what is mounted. They are served wherever the front-ends' routes are.

mod envelope;
mod keys;
mod request;
mod signing;
mod system;

use std::sync::Arc;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::routing::{any, get, post};

use super::frontend::FrontendApi;
use crate::clock::Clock;
use crate::entropy::Entropy;
use crate::keeper::Keepers;
use crate::transit::Transit;

/// What is signed is in the body, in base64, and goes to the keeper in one frame of at most 64 KiB.
const BODY_LIMIT: usize = 64 * 1024;

/// What the routes serve, beside what all routes of front-ends need.
pub struct TransitApi {
    /// The keys.
    pub engine: Transit,
    /// Whether they can be used.
    pub keepers: Keepers,
    /// The time that `/v1/sys/health` tells.
    pub clock: Arc<dyn Clock>,
    /// Where the ids of requests are from.
    pub entropy: Arc<dyn Entropy>,
}

/// The routes below `/v1`, which is all theirs.
pub(super) fn router(api: Arc<FrontendApi>) -> Router {
    let engine = Router::new()
        // Vault's own method for it is LIST, which has no route of its own here.
        .route("/keys", any(keys::list))
        .route("/keys/", any(keys::list))
        .route("/keys/{name}", get(keys::read).post(keys::create).put(keys::create).delete(keys::delete))
        .route("/keys/{name}/config", post(keys::configure).put(keys::configure))
        .route("/keys/{name}/rotate", post(keys::rotate).put(keys::rotate))
        .route("/sign/{name}", post(signing::sign).put(signing::sign))
        .route("/sign/{name}/{algorithm}", post(signing::sign_hashed_by).put(signing::sign_hashed_by))
        .route("/verify/{name}", post(signing::verify).put(signing::verify))
        .route("/verify/{name}/{algorithm}", post(signing::verify_hashed_by).put(signing::verify_hashed_by));
    let routes = Router::new()
        .nest("/transit", engine)
        .route("/auth/token/lookup-self", get(system::lookup_self))
        .route("/auth/token/renew-self", post(system::renew_self).put(system::renew_self))
        .route("/sys/health", get(system::health))
        .route("/sys/internal/ui/mounts/{*path}", get(system::mount))
        .method_not_allowed_fallback(request::method_not_allowed)
        .fallback(request::no_route)
        .layer(DefaultBodyLimit::max(BODY_LIMIT))
        .with_state(api);
    Router::new().nest("/v1", routes)
}
