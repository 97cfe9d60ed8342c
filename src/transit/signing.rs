//! Signing, and verifying what was signed.

use serde::Serialize;

use super::input::{Input, Jwt};
use super::parameters::{Item, Items, Manner};
use super::signature::{self, PresentedSignature};
use super::{FoundKey, SigningParameters, Transit, TransitError};
use crate::oauth::frontend::{Frontend, SigningRights};

/// The most things that one request brings: it counts as one request of its caller.
const MOST_ITEMS: usize = 32;

/// What was signed.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub enum Signed {
    /// The one input.
    One(Signature),
    /// Each of a batch.
    Batch {
        /// In the order of the request.
        batch_results: Vec<Outcome<Signature>>,
    },
}

/// What was verified.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub enum Verified {
    /// The one signature.
    One(Validity),
    /// Each of a batch.
    Batch {
        /// In the order of the request.
        batch_results: Vec<Outcome<Validity>>,
    },
}

/// A signature.
#[derive(Debug, Serialize)]
pub struct Signature {
    /// `vault:v1:…`.
    signature: String,
    /// The version that made it.
    key_version: u32,
}

/// Whether a signature is good.
#[derive(Debug, Serialize)]
pub struct Validity {
    valid: bool,
}

/// What became of one of several.
#[derive(Debug, Serialize)]
pub struct Outcome<Value> {
    #[serde(flatten)]
    value: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
    /// The caller's own name for it.
    #[serde(skip_serializing_if = "Option::is_none")]
    reference: Option<String>,
}

impl<Value> Outcome<Value> {
    fn of(outcome: Result<Value, TransitError>, reference: Option<String>) -> Self {
        match outcome {
            Ok(value) => Self { value: Some(value), error: None, reference },
            Err(error) => Self { value: None, error: Some(error.to_string()), reference },
        }
    }
}

impl Transit {
    /// Signs for `caller` by the key `name`. `path_algorithm` is the hash algorithm in the path, where there is one.
    ///
    /// # Errors
    /// [`TransitError`]; of a batch, each element has its own.
    pub async fn sign(
        &self,
        caller: &Frontend,
        name: &str,
        path_algorithm: Option<&str>,
        parameters: SigningParameters,
    ) -> Result<Signed, TransitError> {
        let manner = parameters.manner(path_algorithm)?;
        let key = self.find(caller, name).await.ok_or_else(|| TransitError::invalid("signing key not found"))?;
        let version = parameters.version();
        match parameters.into_items(MOST_ITEMS)? {
            Items::One(item) => self.sign_one(caller, &key, version, manner, &item).await.map(Signed::One),
            Items::Batch(items) => {
                let mut batch_results = Vec::with_capacity(items.len());
                for item in items {
                    let outcome = self.sign_one(caller, &key, version, manner, &item).await;
                    batch_results.push(Outcome::of(outcome, item.reference));
                }
                Ok(Signed::Batch { batch_results })
            }
        }
    }

    async fn sign_one(
        &self,
        caller: &Frontend,
        key: &FoundKey,
        version: Option<u32>,
        manner: Manner,
        item: &Item,
    ) -> Result<Signature, TransitError> {
        let input = Input::of(item, manner.prehashed)?;
        let told = self.told.of(&caller.name, key.name, self.clock.instant()).filter(|version| key.has(*version));
        let version = match version {
            Some(version) => Some(key.signing_version(version, told)?),
            None => told,
        };
        let (name, profile) = (&key.name, key.name.profile());
        let made = match input {
            Input::Message(message) => {
                let version = version.or_else(|| key.version_named_in(&message));
                check_claims(&caller.signing, &message)?;
                self.signer.sign(&caller.name, profile, name, version, |_| message.clone()).await?
            }
            Input::Digest(digest) => {
                caller.signing.check_prehashed()?;
                self.signer.sign_digest(&caller.name, profile, name, version, digest).await?
            }
        };
        let signature = signature::write(made.version, &made.signature, manner.marshaling)?;
        Ok(Signature { signature, key_version: made.version })
    }

    /// Whether the key `name` made what is brought. Nobody needs a right of its own for what the public key tells.
    ///
    /// # Errors
    /// [`TransitError`]; of a batch, each element has its own.
    pub async fn verify(
        &self,
        caller: &Frontend,
        name: &str,
        path_algorithm: Option<&str>,
        parameters: SigningParameters,
    ) -> Result<Verified, TransitError> {
        let manner = parameters.manner(path_algorithm)?;
        let key = self
            .find(caller, name)
            .await
            .ok_or_else(|| TransitError::invalid("signature verification key not found"))?;
        match parameters.into_items(MOST_ITEMS)? {
            Items::One(item) => key.verify_one(manner, &item).map(Verified::One),
            Items::Batch(items) => {
                let outcome = |item: Item| Outcome::of(key.verify_one(manner, &item), item.reference);
                Ok(Verified::Batch { batch_results: items.into_iter().map(outcome).collect() })
            }
        }
    }
}

impl FoundKey {
    /// `version`, where it signs, or is the one that the caller was `told`. An older one does not sign just because
    /// somebody names it: what it makes would outlive it.
    fn signing_version(&self, version: u32, told: Option<u32>) -> Result<u32, TransitError> {
        let is_active = self.versions.iter().any(|key| key.version == version && key.is_active);
        if is_active || told == Some(version) {
            return Ok(version);
        }
        Err(TransitError::invalid(if version > self.latest_version() {
            "requested version for signing is higher than the latest key version"
        } else {
            "requested version for signing is less than the minimum encryption key version"
        }))
    }

    /// The version that `message` names itself, where it is the signing input of a JWS: several may sign at a time, and
    /// another one must not sign under that one's name.
    fn version_named_in(&self, message: &[u8]) -> Option<u32> {
        let kid = Jwt::read(message)?.header.remove("kid")?;
        self.versions.iter().find(|key| key.is_active && kid == key.kid.as_str()).map(|key| key.version)
    }

    fn verify_one(&self, manner: Manner, item: &Item) -> Result<Validity, TransitError> {
        let input = Input::of(item, manner.prehashed)?;
        let signature = item
            .signature
            .as_deref()
            .ok_or_else(|| TransitError::invalid("neither a 'signature' nor an 'hmac' were given to verify"))?;
        let signature = PresentedSignature::parse(signature, manner.marshaling)?;
        match self.versions.iter().find(|key| key.version == signature.version) {
            Some(key) => Ok(Validity { valid: signature.is_by(&key.public_key, &input) }),
            None if signature.version > self.latest_version() => {
                Err(TransitError::invalid("invalid signature: version is too new"))
            }
            None => Err(TransitError::invalid("ciphertext or signature version is disallowed by policy (too old)")),
        }
    }
}

/// Fails where `rights` are narrower than the profile, and `message` is not the signing input of a JWS that keeps to them.
/// All else is the profile's, which the keeper enforces.
fn check_claims(rights: &SigningRights, message: &[u8]) -> Result<(), TransitError> {
    if rights.issuers.is_none() && rights.audiences.is_none() && rights.max_lifetime.is_none() {
        return Ok(());
    }
    const NO_CLAIMS: TransitError = TransitError::Forbidden("the front-end may sign the claims of a JWT only");
    let claims = Jwt::read(message).ok_or(NO_CLAIMS)?.claims;
    rights.check_claims(&claims).map_err(TransitError::from)
}
