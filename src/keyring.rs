//! Which key signs now, which seals, and which are published: the JWK Set.

use aws_lc_rs::digest::{SHA256, digest};

use crate::jose::base64url;
use crate::jose::jwk::JwkSet;
use crate::keeper::wire::PublicKeys;

/// The keys in use. The private ones are in the keeper's hardware; this knows their names.
#[derive(Clone, Debug)]
pub struct Keyring {
    signing_kid: String,
    sealing_kid: String,
    jwks: Document,
}

/// A document that is served as it stands, with the entity tag of its content (RFC 9110 §8.8.3).
#[derive(Clone, Debug)]
pub struct Document {
    /// The JSON text.
    pub json: String,
    /// A strong entity tag, quotation marks included.
    pub etag: String,
}

impl Document {
    /// The document of `value`.
    ///
    /// # Panics
    /// Where `value` cannot be written as JSON, which no document of this crate does.
    pub fn of(value: &impl serde::Serialize) -> Self {
        let json = serde_json::to_string(value).expect("documents are JSON");
        let hash = digest(&SHA256, json.as_bytes());
        Self { etag: format!("\"{}\"", base64url::encode(&hash.as_ref()[..12])), json }
    }
}

impl Keyring {
    /// The keyring of a keeper's keys.
    pub fn new(keys: &PublicKeys) -> Self {
        Self {
            signing_kid: keys.signing.kid(),
            sealing_kid: keys.sealing.clone(),
            jwks: Document::of(&JwkSet::of_signing_keys([&keys.signing])),
        }
    }

    /// The `kid` of the key that signs now.
    pub fn signing_kid(&self) -> &str {
        &self.signing_kid
    }

    /// The `kid` of the key that seals now.
    pub fn sealing_kid(&self) -> &str {
        &self.sealing_kid
    }

    /// The published keys.
    pub fn jwks(&self) -> &Document {
        &self.jwks
    }
}
