//! Which key signs now, which seals, and which are published: the JWK Set.

use aws_lc_rs::digest::{SHA256, digest};

use crate::hardware::{PinnedPublicKey, SealingKey};
use crate::jose::base64url;
use crate::jose::jwk::{JwkSet, NotOnCurve};
use crate::jose::jws::{ES256, PresentedJws};
use crate::keeper::wire::PublicKeys;

/// The keys in use. The private ones are in the keeper's hardware; this knows their names.
#[derive(Clone, Debug)]
pub struct Keyring {
    signing_kid: String,
    sealing: SealingKey,
    sealing_kid: String,
    verifier: PinnedPublicKey,
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
    ///
    /// # Errors
    /// [`NotOnCurve`], which the keeper would have refused before.
    pub fn new(keys: &PublicKeys) -> Result<Self, NotOnCurve> {
        let (signing, sealing) = (keys.keys.signing[0], keys.keys.sealing[0].clone());
        let verifier = PinnedPublicKey::new(signing)?;
        Ok(Self {
            signing_kid: signing.kid(),
            sealing_kid: sealing.kid(),
            sealing,
            verifier,
            jwks: Document::of(&JwkSet::of_signing_keys([&signing])),
        })
    }

    /// Whether `jws` was signed by one of the published keys. This needs no hardware.
    pub fn verifies(&self, jws: &PresentedJws<'_>) -> bool {
        let is_ours = jws.header().is_ok_and(|header| header.alg == ES256 && header.kid == self.verifier.kid());
        is_ours && self.verifier.verifies(jws.signing_input(), jws.signature())
    }

    /// The `kid` of the key that signs now.
    pub fn signing_kid(&self) -> &str {
        &self.signing_kid
    }

    /// The key that seals now.
    pub fn sealing(&self) -> &SealingKey {
        &self.sealing
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
