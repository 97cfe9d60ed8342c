//! A JWK Set of somebody else's (RFC 7517 §5).

use serde_json::Value;

use super::json::{self, Bounds};
use super::{JwkError, NotVerified, PresentedForeignJws, SignatureAlgorithm, VerificationKey};

/// Keys of a set that are used.
pub const MAX_KEYS: usize = 64;
/// The longest set that is read, in bytes.
pub const MAX_KEY_SET_LENGTH: usize = 256 * 1024;
/// Keys that are tried for one signature: each costs a verification.
const MAX_TRIALS: usize = 4;

/// Certificates (`x5c`) make for length and not for members.
const BOUNDS: Bounds = Bounds { depth: 8, members: 16_384 };

/// Why a document is no JWK Set.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum KeySetError {
    /// It is too long.
    #[error("expected a JWK Set of at most {MAX_KEY_SET_LENGTH} bytes")]
    TooLong,
    /// It is no object with an array `keys`, or names a member twice.
    #[error("expected a JWK Set: a JSON object with an array `keys`, and no member twice")]
    Malformed,
    /// It has more keys than are used.
    #[error("expected a JWK Set of at most {MAX_KEYS} keys for verifying signatures")]
    TooManyKeys,
}

/// The keys of one issuer or client, parsed once. Several may have one `kid`.
#[derive(Debug, Default)]
pub struct ForeignKeySet {
    keys: Vec<VerificationKey>,
    skipped: Vec<JwkError>,
}

impl ForeignKeySet {
    /// The set that `json` is. Keys that cannot be used are skipped, as RFC 7517 §5 asks: a set may have keys for
    /// encryption in it, or of a kind that is newer than mintkeep.
    ///
    /// # Errors
    /// [`KeySetError`].
    pub fn parse(json: &[u8]) -> Result<Self, KeySetError> {
        if json.len() > MAX_KEY_SET_LENGTH {
            return Err(KeySetError::TooLong);
        }
        let set = json::object(json, BOUNDS).map_err(|_| KeySetError::Malformed)?;
        let Some(Value::Array(jwks)) = set.get("keys") else { return Err(KeySetError::Malformed) };
        let (mut keys, mut skipped) = (Vec::new(), Vec::new());
        for jwk in jwks {
            match VerificationKey::from_jwk(jwk) {
                Ok(_) if keys.len() == MAX_KEYS => return Err(KeySetError::TooManyKeys),
                Ok(key) => keys.push(key),
                Err(error) => skipped.push(error),
            }
        }
        Ok(Self { keys, skipped })
    }

    /// The keys that are used, in the order of the document.
    pub fn keys(&self) -> &[VerificationKey] {
        &self.keys
    }

    /// Why the others were skipped. A configuration that has a private key in it wants to hear of it.
    pub fn skipped(&self) -> &[JwkError] {
        &self.skipped
    }

    /// The keys that can have made a signature of `algorithm`: with a `kid` those that have it, else all.
    pub fn candidates(
        &self,
        kid: Option<&str>,
        algorithm: SignatureAlgorithm,
    ) -> impl Iterator<Item = &VerificationKey> {
        let has_kid = move |key: &&VerificationKey| kid.is_none_or(|kid| key.kid() == Some(kid));
        self.keys.iter().filter(has_kid).filter(move |key| key.accepts(algorithm))
    }

    /// Verifies that one of the keys signed `jws`, and says which.
    ///
    /// # Errors
    /// [`NotVerified`].
    pub fn verify(&self, jws: &PresentedForeignJws<'_>) -> Result<&VerificationKey, NotVerified> {
        let candidates: Vec<_> = self.candidates(jws.kid(), jws.algorithm()).collect();
        match candidates.len() {
            0 if jws.kid().is_some_and(|kid| self.keys.iter().any(|key| key.kid() == Some(kid))) => {
                Err(NotVerified::Algorithm)
            }
            0 => Err(NotVerified::UnknownKey),
            1..=MAX_TRIALS => {
                let signer = candidates.into_iter().find(|key| key.verify(jws).is_ok());
                signer.ok_or(NotVerified::Signature)
            }
            _ => Err(NotVerified::Ambiguous),
        }
    }
}
