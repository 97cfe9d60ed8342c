//! `/admin/v1/keys/{kid}/attestation`, and `/admin/v1/attestations` for all keys: evidence of where they live and
//! what they may do.

use std::sync::Arc;

use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::response::Response;
use serde::{Deserialize, Serialize};

use super::AdminApi;
use crate::hardware::attestation::{Attestation, Nonce};
use crate::http::render::{not_stored, oauth_error};
use crate::keeper::{KeeperError, Keepers};
use crate::oauth::OAuthError;

/// The path of the documents of all keys.
pub const ATTESTATIONS_PATH: &str = "/admin/v1/attestations";
/// The path of the document of one key.
pub(super) const KEY_ATTESTATION_PATH: &str = "/admin/v1/keys/{kid}/attestation";

/// What the documents are made for.
#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct AttestationRequest {
    /// What whoever asks made up.
    pub nonce: Nonce,
}

/// The path of the document of the key `kid`.
pub fn path_of_key(kid: &str) -> String {
    // What is no kid could be another path.
    let kid: String = form_urlencoded::byte_serialize(kid.as_bytes()).collect();
    KEY_ATTESTATION_PATH.replace("{kid}", &kid)
}

pub(super) async fn of_key(
    State(api): State<Arc<AdminApi>>,
    Path(kid): Path<String>,
    request: Result<Query<AttestationRequest>, QueryRejection>,
) -> Response {
    let Ok(Query(AttestationRequest { nonce })) = request else { return no_nonce() };
    match attest(&api.keepers, &kid, &nonce).await {
        Ok(document) => not_stored(StatusCode::OK, &document),
        Err(error) => oauth_error(&error),
    }
}

pub(super) async fn of_all(
    State(api): State<Arc<AdminApi>>,
    request: Result<Query<AttestationRequest>, QueryRejection>,
) -> Response {
    let Ok(Query(AttestationRequest { nonce })) = request else { return no_nonce() };
    let documents = match api.keepers.attest_all(&nonce).await {
        Ok(documents) => documents.iter().map(|json| read(json)).collect::<Result<Vec<_>, _>>(),
        Err(error) => Err(error.into()),
    };
    match documents {
        Ok(documents) => not_stored(StatusCode::OK, &documents),
        Err(error) => oauth_error(&error),
    }
}

fn no_nonce() -> Response {
    oauth_error(&OAuthError::InvalidRequest("expected nonce, 8 to 32 bytes in base64url, and no more"))
}

async fn attest(keepers: &Keepers, kid: &str, nonce: &Nonce) -> Result<Attestation, OAuthError> {
    match keepers.attest(kid, nonce).await {
        Ok(json) => read(&json),
        // An operator may mistype it, which is no fault.
        Err(KeeperError::UnknownKey(_)) => Err(OAuthError::InvalidRequest("kid: no device has a key of this name")),
        Err(error) => Err(error.into()),
    }
}

fn read(json: &[u8]) -> Result<Attestation, OAuthError> {
    Attestation::parse(json).map_err(|flaw| {
        tracing::error!(%flaw, "the keeper made evidence that cannot be read");
        OAuthError::ServerError
    })
}
