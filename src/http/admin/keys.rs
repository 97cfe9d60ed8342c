//! `/admin/v1/keys`: the life of each key, and moving it on.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::extract::rejection::JsonRejection;
use axum::http::StatusCode;
use axum::response::Response;
use serde::{Deserialize, Serialize};

use super::AdminApi;
use crate::clock::Timestamp;
use crate::hardware::Role;
use crate::http::render::{not_stored, oauth_error};
use crate::keyring::{Caretaker, KeyError, Revocation};
use crate::oauth::OAuthError;
use crate::store::{KeyRecord, KeyState};

/// The path where keys are listed.
pub const KEYS_PATH: &str = "/admin/v1/keys";
/// The path where keys are moved on.
pub const KEY_ORDERS_PATH: &str = "/admin/v1/keys/orders";

/// What an operator has done about keys.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename_all = "lowercase", deny_unknown_fields)]
pub enum KeyOrder {
    /// Publish the next keys, which take over when everybody knows them.
    Rotate {
        /// In this device; in all where it is left out.
        device: Option<String>,
        /// Of this role; of both where it is left out.
        role: Option<Role>,
    },
    /// Take this key out of use; what it made stays good.
    Retire(String),
    /// Remove this key, which nothing depends on any more.
    Remove(String),
    /// Take this key out at once, and make worthless what it made.
    Revoke(String),
}

/// A key, as operators see it. Times are seconds since the epoch.
#[derive(Debug, Deserialize, Serialize)]
pub struct Key {
    /// Its `kid`.
    pub kid: String,
    /// What it is for.
    pub role: Role,
    /// The device that it was first found in.
    pub device: String,
    /// The JOSE algorithm that it is used with.
    pub algorithm: String,
    /// What it is good for.
    pub state: KeyState,
    /// When it was first found.
    pub found_at: Timestamp,
    /// When everybody was to know it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub published_at: Option<Timestamp>,
    /// When it came into use.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub activated_at: Option<Timestamp>,
    /// When it went out of use.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retired_at: Option<Timestamp>,
    /// When what it made stopped being good.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub removed_at: Option<Timestamp>,
    /// Whether that was an emergency.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub revoked: bool,
    /// When the last token ends that it made, as far as was noted; at the latest.
    pub needed_until: Timestamp,
    /// How many tokens it made, as far as was noted.
    pub uses: u64,
}

/// Keys, and what has to be said of them.
#[derive(Debug, Deserialize, Serialize)]
pub struct KeyReport {
    /// The keys.
    pub keys: Vec<Key>,
    /// What an order breaks, or what happens next.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub remarks: Vec<String>,
}

impl From<KeyRecord> for Key {
    fn from(record: KeyRecord) -> Self {
        Self {
            algorithm: record.algorithm().to_owned(),
            state: record.state(),
            kid: record.kid,
            role: record.role,
            device: record.device,
            found_at: record.found_at,
            published_at: record.life.published_at,
            activated_at: record.life.activated_at,
            retired_at: record.life.retired_at,
            removed_at: record.life.removed_at,
            revoked: record.life.is_revoked,
            needed_until: record.needed_until,
            uses: record.uses,
        }
    }
}

/// Carries out `order`.
///
/// # Errors
/// [`KeyError`].
pub async fn carry_out(caretaker: &Caretaker, order: KeyOrder) -> Result<KeyReport, KeyError> {
    match order {
        KeyOrder::Rotate { device, role } => {
            let published = caretaker.rotate(device.as_deref(), role).await?;
            let schedule = caretaker.schedule();
            let remarks = published.iter().filter_map(|record| {
                let at = record.life.published_at?.plus(schedule.of(record.role)?.publish_ahead);
                Some(format!("{} takes over at {at} or soon after, when everybody knows it", record.kid))
            });
            Ok(KeyReport { remarks: remarks.collect(), keys: published.into_iter().map(Key::from).collect() })
        }
        KeyOrder::Retire(kid) => caretaker.retire(&kid).await.map(one),
        KeyOrder::Remove(kid) => caretaker.remove(&kid).await.map(one),
        KeyOrder::Revoke(kid) => caretaker.revoke(&kid).await.map(revoked),
    }
}

fn one(record: KeyRecord) -> KeyReport {
    KeyReport { keys: vec![record.into()], remarks: Vec::new() }
}

fn revoked(Revocation { revoked, successor }: Revocation) -> KeyReport {
    let mut remarks = vec![match revoked.role {
        Role::Signing => "every access token that it signed is worthless: introspection says so from now on, and whoever verifies by the published keys when it fetches them again (tokens.jwks_max_age)",
        Role::Delegated(_) => "everything that it signed is worthless to whoever verifies by the published keys, when they are fetched again",
        Role::Sealing => "every refresh token that it sealed is worthless: the workloads that hold one need a new grant",
    }
    .to_owned()];
    match (&successor, revoked.life.activated_at) {
        (Some(successor), _) if revoked.role.signs() => remarks.push(format!(
            "{} signs in its place from now on; whoever has not fetched the published keys since refuses its tokens until it does",
            successor.kid
        )),
        (Some(successor), _) => remarks.push(format!("{} seals in its place from now on", successor.kid)),
        // What a front-end had made has no successor.
        (None, _) if matches!(revoked.role, Role::Delegated(name) if name.created_name().is_some()) => {}
        (None, Some(_)) if revoked.life.retired_at.is_none() => {
            remarks.push("no key is in its place: its device is down, or makes none".to_owned());
        }
        (None, _) => {}
    }
    KeyReport { keys: std::iter::once(revoked).chain(successor).map(Key::from).collect(), remarks }
}

/// `GET /admin/v1/keys`.
pub(super) async fn list(State(api): State<Arc<AdminApi>>) -> Response {
    let keys = api.caretaker.keys().await;
    told(keys.map(|keys| KeyReport { keys: keys.into_iter().map(Key::from).collect(), remarks: Vec::new() }))
}

/// `POST /admin/v1/keys/orders`.
pub(super) async fn order(State(api): State<Arc<AdminApi>>, order: Result<Json<KeyOrder>, JsonRejection>) -> Response {
    let Ok(Json(order)) = order else {
        return oauth_error(&OAuthError::InvalidRequest(
            r#"expected JSON: {"rotate": {"device": …, "role": …}}, or {"retire": KID}, {"remove": KID}, {"revoke": KID}"#,
        ));
    };
    told(carry_out(&api.caretaker, order).await)
}

#[derive(Serialize)]
struct Refusal {
    error: &'static str,
    error_description: String,
}

fn told(outcome: Result<KeyReport, KeyError>) -> Response {
    match outcome {
        Ok(report) => not_stored(StatusCode::OK, &report),
        Err(error) => {
            let (status, code) = match &error {
                KeyError::Unknown(_) | KeyError::UnknownDevice(_) | KeyError::NotReplaced(_) => {
                    (StatusCode::NOT_FOUND, "not_found")
                }
                KeyError::NotNow { .. } | KeyError::Raced(_) => (StatusCode::CONFLICT, "conflict"),
                KeyError::Store(_) | KeyError::Device { .. } => {
                    (StatusCode::SERVICE_UNAVAILABLE, "temporarily_unavailable")
                }
                KeyError::Missing { .. } | KeyError::Damaged(_) => (StatusCode::INTERNAL_SERVER_ERROR, "server_error"),
            };
            not_stored(status, &Refusal { error: code, error_description: error.to_string() })
        }
    }
}
