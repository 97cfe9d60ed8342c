//! Signing what front-ends bring, by keys of their own.

use std::sync::Arc;

use super::caretaker::{Caretaker, CreationError};
pub use super::ring::VersionedKey;
use super::{KeyError, Keyring};
use crate::clock::{Clock, Timestamp};
use crate::hardware::{KeyName, Role};
use crate::jose::jws::Signature;
use crate::keeper::{KeeperError, Keepers, PresentedDigest, Signable, SignedBy, Work};

/// Has the hardware sign what front-ends bring. Clones share everything.
///
/// The keeper has the last word on what is signed, by its own copy of the profiles.
#[derive(Clone)]
pub struct DelegatedSigner {
    keepers: Keepers,
    caretaker: Arc<Caretaker>,
    clock: Arc<dyn Clock>,
}

/// What was signed, and by which key.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct DelegatedSignature {
    /// The key's version.
    pub version: u32,
    /// The key.
    pub kid: String,
    /// What it signed, or the digest.
    pub input: Vec<u8>,
    /// The signature.
    pub signature: Signature,
}

/// Why nothing was signed, or no key made or destroyed.
#[derive(Debug, thiserror::Error)]
pub enum DelegatedError {
    /// There is no key of that name and version.
    #[error("there is no such key")]
    UnknownKey,
    /// The signing policy forbids it; the rule's text.
    #[error("refused: {0}")]
    Refused(String),
    /// There is a key of that name already.
    #[error("there is a key of that name already")]
    Exists,
    /// The device did not.
    #[error(transparent)]
    Keeper(KeeperError),
    /// The keys cannot be read, or moved on.
    #[error(transparent)]
    Store(KeyError),
}

impl From<KeeperError> for DelegatedError {
    fn from(error: KeeperError) -> Self {
        match error {
            KeeperError::Policy(rule) => Self::Refused(rule),
            error => Self::Keeper(error),
        }
    }
}

impl From<CreationError> for DelegatedError {
    fn from(error: CreationError) -> Self {
        match error {
            CreationError::NotCreated => {
                Self::Refused("keys: no signing profile has keys of that name that front-ends make".to_owned())
            }
            CreationError::Exists => Self::Exists,
            CreationError::Unknown => Self::UnknownKey,
            CreationError::Keeper(error) => error.into(),
            CreationError::Keys(error) => Self::Store(error),
        }
    }
}

impl DelegatedSigner {
    /// Signs through `keepers`, by the keys that `caretaker` looks after.
    pub fn new(keepers: Keepers, caretaker: Arc<Caretaker>, clock: Arc<dyn Clock>) -> Self {
        Self { keepers, caretaker, clock }
    }

    /// The names of all keys that others verify by, in order.
    pub fn names(&self) -> Vec<KeyName> {
        let keyring = self.keyring();
        keyring.rings.iter().filter(|ring| !ring.keys.is_empty()).map(|ring| ring.name).collect()
    }

    /// The keys called `name` that others verify by: published, active and retired ones, the oldest first. From memory.
    pub fn keys(&self, name: &KeyName) -> Vec<VersionedKey> {
        self.keyring().ring(name).map(|ring| ring.keys.clone()).unwrap_or_default()
    }

    /// Reads the store once more: another node may just have had a key made that this one does not know yet.
    pub async fn look_again(&self) {
        self.caretaker.keyring().newer().await;
    }

    /// When a key was added to [`Self::keys`], or taken from them, for the last time; the epoch where there never was
    /// one.
    pub fn changed_at(&self, name: &KeyName) -> Timestamp {
        self.keyring().ring(name).map_or(Timestamp::from_unix_seconds(0), |ring| ring.changed_at)
    }

    /// Signs for `caller`, under the signing profile `profile`, by the version `version` of the key `name`, or by its
    /// newest that is active, where several devices have one by that of the fittest. What is signed is made by
    /// `input` from the `kid`, and may be made more than once.
    ///
    /// A version signs while it is published or active, and for five minutes after it was retired: a caller that names
    /// it may just have read that it signs.
    ///
    /// # Errors
    /// [`DelegatedError`]; nothing is signed then.
    pub async fn sign(
        &self,
        caller: &str,
        profile: &str,
        name: &KeyName,
        version: Option<u32>,
        input: impl Fn(&str) -> Vec<u8>,
    ) -> Result<DelegatedSignature, DelegatedError> {
        self.sign_any(caller, profile, name, version, input, |input| input).await
    }

    /// Signs the SHA-256 `digest` as [`Self::sign`] does, where the profile allows that.
    ///
    /// # Errors
    /// As [`Self::sign`].
    pub async fn sign_digest(
        &self,
        caller: &str,
        profile: &str,
        name: &KeyName,
        version: Option<u32>,
        digest: [u8; 32],
    ) -> Result<DelegatedSignature, DelegatedError> {
        let input = |_: &str| PresentedDigest(digest);
        self.sign_any(caller, profile, name, version, input, |PresentedDigest(digest)| digest.to_vec()).await
    }

    async fn sign_any<Input: Signable>(
        &self,
        caller: &str,
        profile: &str,
        name: &KeyName,
        version: Option<u32>,
        input: impl Fn(&str) -> Input,
        told: impl Fn(Input) -> Vec<u8>,
    ) -> Result<DelegatedSignature, DelegatedError> {
        let mut keyring = self.keyring();
        let mut was_renewed = false;
        loop {
            let signed = match self.choose(&keyring, name, version) {
                Ok(kids) => self
                    .keepers
                    .sign_by_any(&kids, caller, Work::New, profile, &input)
                    .await
                    .map(|SignedBy { kid, input, signature }| (kid.to_owned(), told(input), signature))
                    .map_err(DelegatedError::from),
                Err(error) => Err(error),
            };
            match signed {
                Ok((kid, input, signature)) => {
                    keyring.count_use(&kid);
                    let known = keyring.ring(name).and_then(|ring| ring.keys.iter().find(|key| key.kid == kid));
                    let version = known.ok_or(DelegatedError::UnknownKey)?.version;
                    return Ok(DelegatedSignature { version, kid, input, signature });
                }
                // Another node had it made, or put it into use, and no device of this one was asked for it yet.
                Err(DelegatedError::UnknownKey | DelegatedError::Keeper(KeeperError::UnknownKey(_)))
                    if !was_renewed =>
                {
                    was_renewed = true;
                }
                Err(error) => return Err(error),
            }
            keyring = self.caretaker.keyring().newer().await;
        }
    }

    /// The `kid` of each key that may do it.
    fn choose(&self, keyring: &Keyring, name: &KeyName, version: Option<u32>) -> Result<Vec<String>, DelegatedError> {
        let ring = keyring.ring(name).filter(|ring| !ring.keys.is_empty()).ok_or(DelegatedError::UnknownKey)?;
        let Some(version) = version else {
            // Without any, the keepers say so.
            return Ok(ring.active.clone());
        };
        let key = ring.keys.iter().find(|key| key.version == version).ok_or(DelegatedError::UnknownKey)?;
        match ring.may_sign(key, self.clock.now()) {
            true => Ok(vec![key.kid.clone()]),
            false if ring.active.is_empty() => Err(DelegatedError::Keeper(KeeperError::NoKey)),
            false => Err(DelegatedError::Refused("version: it was retired and signs no longer".to_owned())),
        }
    }

    /// Whether keys called `name` are such that front-ends have made, and never replaced.
    pub fn is_created(&self, name: &KeyName) -> bool {
        self.caretaker.schedule().is_created(Role::Delegated(*name))
    }

    /// Has a key called `name` made, in one device, which signs from now on.
    ///
    /// # Errors
    /// [`DelegatedError::Exists`]; [`DelegatedError::Refused`] where no profile has such keys, or too many.
    pub async fn create(&self, name: KeyName) -> Result<VersionedKey, DelegatedError> {
        self.caretaker.create(name).await?;
        self.keys(&name).pop().ok_or(DelegatedError::UnknownKey)
    }

    /// Has the key called `name`, which was made so, sign nothing any more, and be destroyed: when its device is there
    /// again, where it is not now.
    ///
    /// # Errors
    /// [`DelegatedError`].
    pub async fn destroy(&self, name: &KeyName) -> Result<(), DelegatedError> {
        Ok(self.caretaker.destroy(*name).await?)
    }

    fn keyring(&self) -> Arc<Keyring> {
        self.caretaker.keyring().load()
    }
}
