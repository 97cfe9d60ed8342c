//! `/admin/v1/clients`: the clients that registered themselves, and ending them.

use std::sync::Arc;

use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::response::Response;
use serde::{Deserialize, Serialize};

use super::AdminApi;
use crate::clock::Timestamp;
use crate::http::render::{not_stored, oauth_error};
use crate::oauth::OAuthError;
use crate::oauth::registration::{Registration, RegistrationRules};
use crate::store::{RegisteredClient, Store};

/// The path where clients are listed.
pub const CLIENTS_PATH: &str = "/admin/v1/clients";
/// The path of one client.
pub(super) const CLIENT_PATH: &str = "/admin/v1/clients/{client_id}";

const DEFAULT_LIMIT: u32 = 100;
const MOST: u32 = 1000;

/// Which part of the list.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct ClientListRequest {
    /// Begin behind this client.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<String>,
    /// At the most this many, up to 1000.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<u32>,
}

impl ClientListRequest {
    /// The first part, as long as one can be.
    pub fn first() -> Self {
        Self { after: None, limit: Some(MOST) }
    }
}

/// A client that registered itself, as operators see it. Times are seconds since the epoch.
#[derive(Debug, Deserialize, Serialize)]
pub struct SelfRegisteredClient {
    /// Its id.
    pub client_id: String,
    /// What people call it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_name: Option<String>,
    /// How it proves itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token_endpoint_auth_method: Option<String>,
    /// The most scope that it registered for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scope: Option<String>,
    /// When it registered.
    pub created_at: Timestamp,
    /// When it was last used, to an hour.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_used_at: Option<Timestamp>,
    /// When its registration expires, by the present configuration.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Timestamp>,
    /// Why it gets no tokens, where it does not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refused: Option<String>,
}

/// A part of the list, and where the next one begins.
#[derive(Debug, Deserialize, Serialize)]
pub struct ClientList {
    /// The clients, in the order of their ids.
    pub clients: Vec<SelfRegisteredClient>,
    /// What to put into `after` for the next part, which may be empty; absent at the end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

/// The client that is gone.
#[derive(Debug, Deserialize, Serialize)]
pub struct RemovedClient {
    /// Its id.
    pub removed: String,
}

/// The path of the client `client_id`.
pub fn path_of_client(client_id: &str) -> String {
    // What is no id could be another path.
    let client_id: String = form_urlencoded::byte_serialize(client_id.as_bytes()).collect();
    CLIENT_PATH.replace("{client_id}", &client_id)
}

/// A part of the list of clients in `store`, as they are by `rules` at `now`.
///
/// # Errors
/// [`OAuthError`]: of the request or of the store.
pub async fn list_clients(
    store: &dyn Store,
    rules: Option<&RegistrationRules>,
    request: ClientListRequest,
    now: Timestamp,
) -> Result<ClientList, OAuthError> {
    let limit = request.limit.unwrap_or(DEFAULT_LIMIT);
    if !(1..=MOST).contains(&limit) {
        return Err(OAuthError::InvalidRequest("limit: expected a number from 1 to 1000"));
    }
    let records = store.clients(request.after, limit).await?;
    let is_full = records.len() == limit as usize;
    let next = records.last().filter(|_| is_full).map(|record| record.client_id.clone());
    Ok(ClientList { clients: records.into_iter().map(|record| told(record, rules, now)).collect(), next })
}

fn told(record: RegisteredClient, rules: Option<&RegistrationRules>, now: Timestamp) -> SelfRegisteredClient {
    let (client_id, created_at, last_used_at) = (record.client_id.clone(), record.created_at, record.last_used_at);
    let registration = Registration::of(record);
    let metadata = registration.as_ref().ok().map(|registration| registration.metadata.clone());
    let refused = match (rules, registration) {
        (None, _) => Some("registration is off".to_owned()),
        (Some(_), Err(error)) => Some(error.to_string()),
        (Some(rules), Ok(registration)) => rules.client(registration, now).err().map(|reason| reason.to_string()),
    };
    SelfRegisteredClient {
        client_id,
        client_name: metadata.as_ref().and_then(|metadata| metadata.client_name.clone()),
        token_endpoint_auth_method: metadata
            .as_ref()
            .map(|metadata| metadata.token_endpoint_auth_method.as_str().to_owned()),
        scope: metadata.map(|metadata| metadata.scope),
        created_at,
        last_used_at,
        expires_at: rules.and_then(|rules| rules.expires_at(created_at)),
        refused,
    }
}

/// Ends the client `client_id` in `store`, and all that was granted to it.
///
/// # Errors
/// [`OAuthError`]: there is no such client, or the store failed.
pub async fn remove_client(store: &dyn Store, client_id: &str, now: Timestamp) -> Result<RemovedClient, OAuthError> {
    let record = store.client(client_id.to_owned()).await?;
    let record = record.ok_or(OAuthError::InvalidRequest("no client of that id has registered itself"))?;
    // Its token never changes, so this fails only where it is gone by now.
    store.remove_client(client_id.to_owned(), record.token_hash, now).await?;
    tracing::warn!(client = client_id, "a client that registered itself was removed by an operator");
    Ok(RemovedClient { removed: client_id.to_owned() })
}

pub(super) async fn list(
    State(api): State<Arc<AdminApi>>,
    request: Result<Query<ClientListRequest>, QueryRejection>,
) -> Response {
    let Ok(Query(request)) = request else {
        return oauth_error(&OAuthError::InvalidRequest("expected after and limit at the most"));
    };
    let rules = api.registrations.load().registration.clone();
    match list_clients(api.store.as_ref(), rules.as_deref(), request, api.clock.now()).await {
        Ok(list) => not_stored(StatusCode::OK, &list),
        Err(error) => oauth_error(&error),
    }
}

pub(super) async fn remove(State(api): State<Arc<AdminApi>>, Path(client_id): Path<String>) -> Response {
    match remove_client(api.store.as_ref(), &client_id, api.clock.now()).await {
        Ok(removed) => not_stored(StatusCode::OK, &removed),
        Err(error) => oauth_error(&error),
    }
}
