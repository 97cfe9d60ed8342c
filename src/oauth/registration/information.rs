//! What a client is told of its registration (RFC 7591 §3.2.1, RFC 7592 §3).

use secrecy::{ExposeSecret as _, SecretString};
use serde::{Serialize, Serializer};
use utoipa::ToSchema;

use super::metadata::ClientMetadata;
use crate::clock::Timestamp;

/// What a client is told. Secrets are in it, so there is no `Debug`.
#[derive(Serialize, ToSchema)]
#[schema(description = "What is registered of a client (RFC 7591 §3.2.1, RFC 7592 §3).")]
pub struct ClientInformation {
    /// Its id.
    pub client_id: String,
    /// Its secret, where it has a new one; it is not told again.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "exposed_if_any")]
    #[schema(value_type = Option<String>)]
    pub client_secret: Option<SecretString>,
    /// When it registered.
    pub client_id_issued_at: Timestamp,
    /// When its registration expires, and its secret with it; 0 for never. There where it proves itself by a secret.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_secret_expires_at: Option<Timestamp>,
    /// By this it looks after its registration.
    #[serde(serialize_with = "exposed")]
    #[schema(value_type = String)]
    pub registration_access_token: SecretString,
    /// There it does so.
    pub registration_client_uri: String,
    /// What it registered.
    #[serde(flatten)]
    pub metadata: ClientMetadata,
}

fn exposed<S: Serializer>(secret: &SecretString, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(secret.expose_secret())
}

fn exposed_if_any<S: Serializer>(secret: &Option<SecretString>, serializer: S) -> Result<S::Ok, S::Error> {
    secret.as_ref().map(|secret| secret.expose_secret()).serialize(serializer)
}
