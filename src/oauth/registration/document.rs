//! A registration, as the store keeps it: metadata, and the hash of the secret where there is one.

use serde::{Deserialize, Serialize};

use super::metadata::ClientMetadata;
use crate::clock::Timestamp;
use crate::oauth::secret::SecretHash;
use crate::store::RegisteredClient;

/// What a client registered, and when.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Registration {
    /// Its `client_id`.
    pub client_id: String,
    /// When it registered.
    pub created_at: Timestamp,
    /// When it was last noted that it was used.
    pub last_used_at: Option<Timestamp>,
    /// What it registered.
    pub metadata: ClientMetadata,
    /// The hash of its secret, where it proves itself by one.
    pub(super) secret: Option<SecretHash>,
    /// The hash of its registration access token.
    pub(super) token: SecretHash,
}

/// The store has a document that this release did not write.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("the registration in the store cannot be read; a later release may have written it")]
pub struct Unreadable;

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Document {
    metadata: ClientMetadata,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    secret_sha256: Option<String>,
}

impl Registration {
    /// The one that `record` is of.
    ///
    /// # Errors
    /// [`Unreadable`].
    pub fn of(record: RegisteredClient) -> Result<Self, Unreadable> {
        let document: Document = serde_json::from_str(&record.document).map_err(|_| Unreadable)?;
        let hash = |text: String| SecretHash::from_hexadecimal(&text).ok_or(Unreadable);
        Ok(Self {
            client_id: record.client_id,
            created_at: record.created_at,
            last_used_at: record.last_used_at,
            metadata: document.metadata,
            secret: document.secret_sha256.map(hash).transpose()?,
            token: SecretHash(record.token_hash),
        })
    }

    /// As the store keeps it.
    pub(super) fn into_record(self) -> RegisteredClient {
        let document = Document { metadata: self.metadata, secret_sha256: self.secret.map(|hash| hash.hexadecimal()) };
        RegisteredClient {
            client_id: self.client_id,
            document: serde_json::to_string(&document).expect("metadata are JSON"),
            token_hash: self.token.0,
            created_at: self.created_at,
            last_used_at: self.last_used_at,
        }
    }
}
