//! The hardware that holds the keys: what mintkeep asks of any device, and why a device may refuse.
//!
//! A [`Device`] is opened once and gives out [`Session`]s. Calls into hardware block, so each
//! session belongs to one operating-system thread ([`sessions`]).

mod error;
mod key_name;
mod role;
pub mod attestation;
mod trial;
pub mod pkcs11;
mod pin_memory;
pub mod pinned;
pub mod sessions;
#[cfg(feature = "tpm")]
pub mod tpm;

use serde::{Deserialize, Serialize};

use self::attestation::{Attestation, Nonce};
use crate::clock::Timestamp;
use crate::jose::ecdh_es::SharedSecret;
use crate::jose::jwe::NONCE_BYTES;
use crate::jose::jwk::P256PublicKey;
use crate::jose::jws::Signature;

pub use error::{Error, Fault};
pub use key_name::{DelegatedKeys, InvalidKeyName, KeyName, ProfileKeys};
pub use pinned::PinnedPublicKey;
pub use role::Role;

/// The most keys of a role that are generated in a device: a mint that was taken over must not be able to fill it.
pub const MOST_KEYS: usize = 32;

/// The most keys that front-ends may have made in a device.
pub const MOST_CREATED_KEYS: usize = 256;

/// A device that was found, logged in to, and whose keys were checked.
///
/// `open_session` may be called from any thread; the sessions it gives work at the same time.
pub trait Device: Send + Sync {
    /// What the device calls itself, for the operator: model, serial number, label.
    fn description(&self) -> &str;

    /// The keys that the device offers now, all of them checked.
    fn keys(&self) -> DeviceKeys;

    /// A new session, ready to use every one of [`Device::keys`].
    ///
    /// # Errors
    /// [`Error`] where the device has no session left, or is gone.
    fn open_session(&self) -> Result<Box<dyn Session>, Error>;

    /// Logs out and lets go of the device. Every session has to be dropped before.
    fn close(self: Box<Self>);
}

/// One conversation with a device. It is owned by one thread; every call blocks until the device
/// answers. A call is never repeated here: retrying is the caller's decision.
pub trait Session: Send {
    /// The ECDSA signature of `digest` (SHA-256) by the P-256 key `kid`, as `r || s`. With
    /// PKCS#11 this takes exactly two calls, `C_SignInit` and `C_Sign`.
    ///
    /// # Errors
    /// [`Error::UnknownKey`], or what the device answered.
    fn sign(&mut self, kid: &str, digest: &[u8; 32]) -> Result<Signature, Error>;

    /// AES-256-GCM encryption by the key `kid`. The nonce is `nonce`, or one that the device made where it
    /// insists on that.
    ///
    /// # Errors
    /// [`Error::UnknownKey`], or what the device answered.
    fn encrypt(&mut self, kid: &str, nonce: &[u8; NONCE_BYTES], aad: &[u8], plaintext: &[u8]) -> Result<Sealed, Error>;

    /// AES-256-GCM decryption by the key `kid`: the plaintext.
    ///
    /// # Errors
    /// [`Error::NotAuthentic`] where the input is at fault and the device is not;
    /// [`Error::UnknownKey`], or what the device answered.
    fn decrypt(
        &mut self,
        kid: &str,
        nonce: &[u8; NONCE_BYTES],
        aad: &[u8],
        ciphertext_and_tag: &[u8],
    ) -> Result<Vec<u8>, Error>;

    /// The ECDH agreement of the P-256 key `kid` with `epk`, which a stranger chose. A point that is not on
    /// the curve never reaches the device.
    ///
    /// # Errors
    /// [`Error::NotAuthentic`] where `epk` is not on the curve; [`Error::UnknownKey`], or what the device
    /// answered.
    fn agree(&mut self, kid: &str, epk: &P256PublicKey) -> Result<SharedSecret, Error>;

    /// Generates one more key of `role`, such that it can never leave, and checks and tries it like those that
    /// were found when the device was opened. From then on it is one of [`Session::keys`], in every session.
    ///
    /// # Errors
    /// What the device answered; no key is left behind then, as far as the device can still be asked.
    fn generate(&mut self, role: Role) -> Result<(), Error>;

    /// Destroys the key `kid`, one that a front-end had made, for good. No other role's key is ever destroyed here.
    ///
    /// # Errors
    /// [`Error::UnknownKey`] where there is no such key; or what the device answered.
    fn destroy(&mut self, kid: &str) -> Result<(), Error>;

    /// Evidence of where the key `kid` lives and what it may do, made for `nonce` at `now`. It was checked as
    /// whoever asks will check it.
    ///
    /// # Errors
    /// [`Error::UnknownKey`], or what the device answered.
    fn attest(&mut self, kid: &str, nonce: &Nonce, now: Timestamp) -> Result<Attestation, Error>;

    /// Finds the keys that others added to the device since it was opened.
    ///
    /// # Errors
    /// As for opening the device; the keys that were known before stay usable.
    fn look_again(&mut self) -> Result<(), Error>;

    /// The keys of the device as they are known now.
    fn keys(&self) -> DeviceKeys;
}

/// A ciphertext, and the nonce that it needs to be opened.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Sealed {
    /// The nonce.
    pub nonce: [u8; NONCE_BYTES],
    /// The ciphertext, its 16-byte tag at the end.
    pub ciphertext_and_tag: Vec<u8>,
}

/// The keys of a device that mintkeep may use. Which of them signs or seals now, the mint knows.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct DeviceKeys {
    /// Keys that sign.
    pub signing: Vec<P256PublicKey>,
    /// Keys that seal.
    pub sealing: Vec<SealingKey>,
    /// Keys that sign what front-ends bring.
    pub delegated: Vec<DelegatedKey>,
}

/// A key that signs what front-ends bring. Several of one name follow one another.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct DelegatedKey {
    /// Its name, which says what profile it belongs to.
    pub name: KeyName,
    /// Its public half.
    pub public_key: P256PublicKey,
}

impl DeviceKeys {
    /// Each key: its `kid`, what it is for, and its public half where it has one.
    pub fn all(&self) -> impl Iterator<Item = (String, Role, Option<P256PublicKey>)> {
        let signing = self.signing.iter().map(|key| (key.kid(), Role::Signing, Some(*key)));
        let sealing = self.sealing.iter().map(|key| (key.kid(), Role::Sealing, key.public_key()));
        let delegated = self.delegated.iter();
        let delegated = delegated.map(|key| (key.public_key.kid(), Role::Delegated(key.name), Some(key.public_key)));
        signing.chain(sealing).chain(delegated)
    }

    /// The `kid` of each.
    pub fn kids(&self) -> impl Iterator<Item = String> {
        let delegated = self.delegated.iter().map(|key| key.public_key.kid());
        self.signing.iter().map(P256PublicKey::kid).chain(self.sealing.iter().map(SealingKey::kid)).chain(delegated)
    }
}

/// The key that seals refresh tokens, and how it does.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub enum SealingKey {
    /// An AES-256 key, by its `kid`: the device encrypts and decrypts.
    Direct(String),
    /// A P-256 key: everybody can seal to it, and the device alone can open.
    EcdhEs(P256PublicKey),
}

impl SealingKey {
    /// Its `kid`.
    pub fn kid(&self) -> String {
        match self {
            Self::Direct(kid) => kid.clone(),
            Self::EcdhEs(public_key) => public_key.kid(),
        }
    }

    /// Its public half; an AES key has none.
    pub fn public_key(&self) -> Option<P256PublicKey> {
        match self {
            Self::Direct(_) => None,
            Self::EcdhEs(public_key) => Some(*public_key),
        }
    }

    /// The JOSE algorithm that it is used with.
    pub fn algorithm(&self) -> &'static str {
        match self {
            Self::Direct(_) => "A256GCM",
            Self::EcdhEs(_) => "ECDH-ES",
        }
    }
}

/// What is known of a PIN before it is tried.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum PinTrust {
    /// Nothing: it is not tried on a token that remembers a wrong one.
    Unproven,
    /// It worked when the mint started, which brings back its keeper now.
    WorkedBefore,
    /// An operator says that it was corrected.
    Vouched,
}

/// The steps of a login, told as they happen: a process that ends between the two may have cost the token
/// one of its tries.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum LoginStep {
    /// The PIN is about to be tried.
    Begins,
    /// The token answered, and the PIN is right.
    Done,
}

/// The origin of a key, as the device's attributes tell it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Provenance {
    /// Only a key that was generated in the device, and was never outside, is accepted.
    GeneratedInDevice,
    /// A key that was imported is accepted too, as long as it cannot leave now.
    ImportedAllowed,
}

/// Of which roles `keys init` generated a key; the others were there.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Generated(pub Vec<Role>);

impl Generated {
    /// Whether a key of `role` was generated.
    pub fn includes(&self, role: Role) -> bool {
        self.0.contains(&role)
    }
}
