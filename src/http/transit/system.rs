//! What clients ask before they sign: who they are, whether the server is well, what is mounted.

use std::sync::Arc;

use axum::extract::State;
use axum::http::header::AUTHORIZATION;
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use serde::Serialize;

use super::envelope::{Auth, refused};
use super::request::{Caller, Names};
use crate::http::frontend::FrontendApi;
use crate::http::render::not_stored;
use crate::oauth::frontend::Frontend;
use crate::transit::TransitError;

/// What is told of a token. It never ends: so no client begins to renew it.
#[derive(Serialize)]
struct Token {
    accessor: &'static str,
    creation_time: u32,
    creation_ttl: u32,
    display_name: String,
    entity_id: &'static str,
    expire_time: Option<()>,
    explicit_max_ttl: u32,
    /// The token itself, to who presented it; empty where somebody proved itself in another way.
    id: String,
    meta: Option<()>,
    num_uses: u32,
    orphan: bool,
    path: &'static str,
    policies: Vec<String>,
    renewable: bool,
    ttl: u32,
    #[serde(rename = "type")]
    token_type: &'static str,
}

/// `GET /v1/auth/token/lookup-self`.
pub(super) async fn lookup_self(
    State(api): State<Arc<FrontendApi>>,
    Caller(caller): Caller,
    headers: HeaderMap,
) -> Response {
    api.transit.answer(Token {
        accessor: "",
        creation_time: 0,
        creation_ttl: 0,
        display_name: caller.name.clone(),
        entity_id: "",
        expire_time: None,
        explicit_max_ttl: 0,
        id: token(&headers),
        meta: None,
        num_uses: 0,
        orphan: true,
        path: "auth/token/create",
        policies: policies(&caller),
        renewable: false,
        ttl: 0,
        token_type: "service",
    })
}

/// `POST /v1/auth/token/renew-self`: the token goes on as it is.
pub(super) async fn renew_self(
    State(api): State<Arc<FrontendApi>>,
    Caller(caller): Caller,
    headers: HeaderMap,
) -> Response {
    api.transit.answer_auth(Auth {
        client_token: token(&headers),
        accessor: "",
        policies: policies(&caller),
        token_policies: policies(&caller),
        metadata: None,
        lease_duration: 0,
        renewable: false,
        entity_id: "",
        token_type: "service",
        orphan: true,
    })
}

/// The signing profiles, which are the nearest to what Vault means.
fn policies(caller: &Frontend) -> Vec<String> {
    caller.signing.profiles.clone()
}

/// The token that a request presents, which was found good.
fn token(headers: &HeaderMap) -> String {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let bearer = || text(AUTHORIZATION.as_str()).and_then(|value| value.split_once(' ')).map(|(_, token)| token.trim());
    text("x-vault-token").or_else(bearer).unwrap_or_default().to_owned()
}

/// Whether the server is well. It is sealed, as Vault has it, where no device can sign.
#[derive(Serialize)]
struct Health {
    initialized: bool,
    sealed: bool,
    standby: bool,
    performance_standby: bool,
    replication_performance_mode: &'static str,
    replication_dr_mode: &'static str,
    server_time_utc: i64,
    version: &'static str,
}

/// `GET /v1/sys/health`, for anybody. No device is asked for it.
pub(super) async fn health(State(api): State<Arc<FrontendApi>>) -> Response {
    let sealed = !api.transit.keepers.members().iter().any(|member| member.keeper.is_well());
    let health = Health {
        initialized: true,
        sealed,
        standby: false,
        performance_standby: false,
        replication_performance_mode: "disabled",
        replication_dr_mode: "disabled",
        server_time_utc: api.transit.clock.now().unix_seconds(),
        version: env!("CARGO_PKG_VERSION"),
    };
    not_stored(if sealed { StatusCode::SERVICE_UNAVAILABLE } else { StatusCode::OK }, &health)
}

/// What is mounted.
#[derive(Serialize)]
struct Mount {
    path: &'static str,
    #[serde(rename = "type")]
    mount_type: &'static str,
    description: &'static str,
    options: Option<()>,
    local: bool,
    seal_wrap: bool,
    external_entropy_access: bool,
}

/// `GET /v1/sys/internal/ui/mounts/transit`, and of any path below.
pub(super) async fn mount(
    State(api): State<Arc<FrontendApi>>,
    Caller(_): Caller,
    Names(path): Names<String>,
) -> Response {
    if path.split('/').next() != Some("transit") {
        return refused(&TransitError::Forbidden("nothing but transit is mounted"));
    }
    api.transit.answer(Mount {
        path: "transit/",
        mount_type: "transit",
        description: "keys in hardware",
        options: None,
        local: false,
        seal_wrap: false,
        external_entropy_access: false,
    })
}
