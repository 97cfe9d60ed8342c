//! The hardware that holds the keys: what mintkeep asks of any device, and why a device may refuse.
//!
//! A [`Device`] is opened once and gives out [`Session`]s. Calls into hardware block, so each
//! session belongs to one operating-system thread ([`sessions`]).

pub mod pkcs11;
mod pin_memory;
pub mod pinned;
pub mod sessions;

use crate::jose::jwe::NONCE_BYTES;
use crate::jose::jwk::P256PublicKey;
use crate::jose::jws::Signature;

pub use pinned::PinnedPublicKey;

/// A device that was found, logged in to, and whose keys were checked.
///
/// `open_session` may be called from any thread; the sessions it gives work at the same time.
pub trait Device: Send + Sync {
    /// What the device calls itself, for the operator: model, serial number, label.
    fn description(&self) -> &str;

    /// The keys that the device offers, checked when it was opened.
    fn keys(&self) -> &DeviceKeys;

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

    /// AES-256-GCM encryption by the key `kid`: the ciphertext with its 16-byte tag.
    ///
    /// # Errors
    /// [`Error::UnknownKey`], or what the device answered.
    fn encrypt(&mut self, kid: &str, nonce: &[u8; NONCE_BYTES], aad: &[u8], plaintext: &[u8])
    -> Result<Vec<u8>, Error>;

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
}

/// The keys of a device that mintkeep may use.
#[derive(Clone, Debug)]
pub struct DeviceKeys {
    /// The key that signs now.
    pub signing: P256PublicKey,
    /// The `kid` of the key that seals now.
    pub sealing: String,
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

/// Why a device, or a key in it, could not be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The PKCS#11 module could not be loaded.
    #[error(
        "cannot load the PKCS#11 module {path}: {reason}; set hardware.{name}.module to the vendor's shared library"
    )]
    Module {
        /// The configured path.
        path: String,
        /// The device's name in the configuration.
        name: String,
        /// What the loader said.
        reason: String,
    },
    /// The module was loaded and refused to start.
    #[error(
        "the PKCS#11 module {path} does not start: {reason}; check its own configuration, and the variables for it in hardware.{name}.environment"
    )]
    Initialize {
        /// The configured path.
        path: String,
        /// The device's name in the configuration.
        name: String,
        /// The return code's name.
        reason: String,
    },
    /// No token matches the configured label or serial number.
    #[error("no token {wanted} in any slot (found: {found}); check hardware.{name}.token, or initialize the token")]
    TokenAbsent {
        /// What was looked for.
        wanted: String,
        /// The labels of the tokens that are there.
        found: String,
        /// The device's name in the configuration.
        name: String,
    },
    /// Several tokens match the configured label.
    #[error("{count} tokens match {wanted}; name one of them by its serial number in hardware.{name}.token")]
    TokenAmbiguous {
        /// What was looked for.
        wanted: String,
        /// How many were found.
        count: usize,
        /// The device's name in the configuration.
        name: String,
    },
    /// The PIN could not be read from where the configuration says it is.
    #[error("cannot read the PIN from {origin}: {reason}")]
    PinUnavailable {
        /// The file, variable or credential.
        origin: String,
        /// What went wrong, and what to do.
        reason: String,
    },
    /// The device says that the PIN is wrong. Never tried again: the token would lock.
    #[error(
        "the token says that the PIN is wrong; it was tried once and will not be tried again; correct it in {origin}"
    )]
    PinIncorrect {
        /// The file, variable or credential.
        origin: String,
    },
    /// The token remembers a wrong PIN, and nobody says that it was corrected since.
    #[error(
        "refusing to log in: the token says that a wrong PIN was entered since the last login, and one more may lock it; make sure that {origin} is right, then run `mintkeep keys list --pin-corrected` once"
    )]
    PinUnproven {
        /// The file, variable or credential.
        origin: String,
    },
    /// This very PIN was tried on this token before, and nobody knows that it is right.
    #[error(
        "refusing to log in: this PIN was tried on this token before, and was refused or never answered; correct it in {origin}, or, where it is right, run `mintkeep keys list --pin-corrected` once"
    )]
    PinRemembered {
        /// The file, variable or credential.
        origin: String,
    },
    /// What was tried cannot be remembered, so nothing is tried.
    #[error(
        "cannot remember in {folder} that the PIN is tried: {reason}; set keeper.state to a folder that this user can write"
    )]
    PinMemory {
        /// The configured folder.
        folder: String,
        /// What went wrong.
        reason: String,
    },
    /// The token refused the login by a code that may mean a wrong PIN. Never tried again.
    #[error("the token refused the login: {reason}; it was tried once and will not be tried again; check {origin}")]
    LoginRefused {
        /// The return code's name.
        reason: String,
        /// The file, variable or credential.
        origin: String,
    },
    /// The token's flags say that a login would fail or be the last one.
    #[error("refusing to log in: the token says {state}; have the security officer reset the user PIN")]
    PinUnusable {
        /// The flag's meaning.
        state: &'static str,
    },
    /// There is no key of this role.
    #[error("the token has no {role} key labelled {label}; run `mintkeep keys init` to generate it")]
    KeyMissing {
        /// `signing` or `sealing`.
        role: &'static str,
        /// The `CKA_LABEL` looked for.
        label: String,
    },
    /// There are several keys where exactly one is wanted.
    #[error("the token has {count} {what} where exactly one is expected; remove the others")]
    KeyAmbiguous {
        /// What was counted, with its label or `CKA_ID`.
        what: String,
        /// How many there are.
        count: usize,
    },
    /// A key that could leave the device, or that is not what its role needs.
    #[error(
        "refusing the {role} key {kid}: {attribute} is {found}, expected {expected}; generate a key in the device with `mintkeep keys init`{remedy}"
    )]
    KeyUnacceptable {
        /// `signing` or `sealing`.
        role: &'static str,
        /// The key's id.
        kid: String,
        /// The PKCS#11 attribute.
        attribute: &'static str,
        /// Its value.
        found: String,
        /// The value that it must have.
        expected: String,
        /// A further way out, where there is one.
        remedy: &'static str,
    },
    /// A request named a key that the device does not have.
    #[error("no key {0} in this device")]
    UnknownKey(String),
    /// What was to be opened was not sealed by this key, or was changed since.
    #[error("the ciphertext is not authentic")]
    NotAuthentic,
    /// A signature by the device does not verify under the pinned public key.
    #[error("the device made a signature that its own public key does not verify; it was not released")]
    WrongSignature,
    /// The session, the login or the device itself is gone: the device has to be opened anew.
    #[error("{call} failed: {reason}: the session or the device is gone")]
    Lost {
        /// The PKCS#11 function.
        call: String,
        /// The return code's name.
        reason: String,
    },
    /// Any other failure of a call into the device.
    #[error("{call} failed: {reason}")]
    Call {
        /// The PKCS#11 function.
        call: String,
        /// The return code's name.
        reason: String,
    },
}

impl Error {
    /// Whether opening the device again could do harm or cannot succeed until somebody changes
    /// something: above all a wrong PIN, which locks the token when it is tried again.
    pub fn is_final(&self) -> bool {
        match self {
            Self::PinIncorrect { .. }
            | Self::PinUnproven { .. }
            | Self::PinRemembered { .. }
            | Self::LoginRefused { .. }
            | Self::PinUnusable { .. }
            | Self::PinUnavailable { .. }
            | Self::KeyMissing { .. }
            | Self::KeyAmbiguous { .. }
            | Self::KeyUnacceptable { .. }
            | Self::TokenAmbiguous { .. } => true,
            Self::Module { .. }
            | Self::Initialize { .. }
            | Self::TokenAbsent { .. }
            | Self::PinMemory { .. }
            | Self::UnknownKey(_)
            | Self::NotAuthentic
            | Self::WrongSignature
            | Self::Lost { .. }
            | Self::Call { .. } => false,
        }
    }
}
