//! Why a device may refuse, and whether another try could help.

use serde::{Deserialize, Serialize};

/// What a fault of a device means for what comes next.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, PartialEq, Serialize)]
pub enum Fault {
    /// The next call may succeed.
    Transient,
    /// The session is no good any more; the device may be.
    SessionLost,
    /// The device wants the PIN again.
    LoginLost,
    /// The device does not answer, was taken out, or was reset.
    DeviceGone,
    /// The handle does not mean the key any more.
    KeyGone,
    /// The device cannot do it, or did it wrongly; no other try can help.
    Fatal,
}

impl Fault {
    /// All of them.
    pub const ALL: [Self; 6] =
        [Self::Transient, Self::SessionLost, Self::LoginLost, Self::DeviceGone, Self::KeyGone, Self::Fatal];

    /// Its name, for metrics.
    pub fn name(self) -> &'static str {
        match self {
            Self::Transient => "transient",
            Self::SessionLost => "session_lost",
            Self::LoginLost => "login_lost",
            Self::DeviceGone => "device_gone",
            Self::KeyGone => "key_gone",
            Self::Fatal => "fatal",
        }
    }
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
        /// `signing`, `sealing` or `delegated`.
        role: &'static str,
        /// The `CKA_LABEL` looked for.
        label: String,
    },
    /// There are as many keys of this role as there may be.
    #[error(
        "the device has {most} {role} keys, which is the most that mintkeep generates; destroy those that are retired"
    )]
    KeysFull {
        /// `signing`, `sealing` or `delegated`.
        role: &'static str,
        /// How many there may be.
        most: usize,
    },
    /// A front-end asks for a key by a name that one has.
    #[error("there is a key called {0} already, and none is ever made in the place of another one")]
    KeyTaken(Box<str>),
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
        /// `signing`, `sealing` or `delegated`.
        role: &'static str,
        /// The key's id.
        kid: String,
        /// The attribute.
        attribute: &'static str,
        /// Its value.
        found: String,
        /// The value that it must have.
        expected: String,
        /// A further way out, where there is one.
        remedy: &'static str,
    },
    /// The TPM does not answer, or there is none.
    #[error("cannot reach the TPM at {tcti}: {reason}; check hardware.{name}.tcti, and that this user may use the TPM")]
    Unreachable {
        /// The configured TCTI.
        tcti: String,
        /// The device's name in the configuration.
        name: String,
        /// What libtss2 said.
        reason: String,
    },
    /// The owner hierarchy, which the storage key is made in, has an authorization value of its own.
    #[error(
        "the TPM's owner hierarchy has an authorization value, and mintkeep makes its storage key there without one; remove it with `tpm2_changeauth -c owner`"
    )]
    OwnerRefused,
    /// The authorization value of the TPM's keys could not be read.
    #[error("cannot read the authorization value of the keys from {origin}: {reason}")]
    AuthorizationUnavailable {
        /// The file, variable or credential.
        origin: String,
        /// What went wrong, and what to do.
        reason: String,
    },
    /// The TPM says that the authorization value is wrong.
    #[error("the TPM refused the authorization value of a key; it will not be tried again; correct it in {origin}")]
    AuthorizationRefused {
        /// The file, variable or credential.
        origin: String,
    },
    /// A file that a key is kept in cannot be used.
    #[error("cannot use the key file {path}: {reason}")]
    KeyFile {
        /// The file.
        path: String,
        /// What is wrong with it, and what to do.
        reason: String,
    },
    /// A TPM has no room for another persistent key.
    #[error("cannot keep a new {role} key in the TPM: {reason}")]
    HandlesFull {
        /// `signing`, `sealing` or `delegated`.
        role: &'static str,
        /// What there is too little of, and what to do.
        reason: String,
    },
    /// Others have taken up all places that a TPM has for keys in use.
    #[error(
        "{call} failed: the TPM has no place left for a key (TPM_RC_OBJECT_MEMORY); another program has keys loaded"
    )]
    PlacesFull {
        /// The TPM command.
        call: String,
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
        /// Which of them.
        fault: Fault,
        /// The PKCS#11 function or TPM command.
        call: String,
        /// The return code's name.
        reason: String,
    },
    /// The device does not do what it was asked to do, and would not the next time.
    #[error("{call} failed: {reason}: the device cannot do this")]
    Unable {
        /// The PKCS#11 function or TPM command.
        call: String,
        /// The return code's name.
        reason: String,
    },
    /// Any other failure of a call into the device.
    #[error("{call} failed: {reason}")]
    Call {
        /// The PKCS#11 function or TPM command.
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
            | Self::KeysFull { .. }
            | Self::KeyTaken(_)
            | Self::KeyAmbiguous { .. }
            | Self::KeyUnacceptable { .. }
            | Self::OwnerRefused
            | Self::AuthorizationUnavailable { .. }
            | Self::AuthorizationRefused { .. }
            | Self::KeyFile { .. }
            | Self::HandlesFull { .. }
            | Self::TokenAmbiguous { .. } => true,
            Self::Module { .. }
            | Self::Initialize { .. }
            | Self::TokenAbsent { .. }
            | Self::PinMemory { .. }
            | Self::Unreachable { .. }
            | Self::PlacesFull { .. }
            | Self::UnknownKey(_)
            | Self::NotAuthentic
            | Self::WrongSignature
            | Self::Lost { .. }
            | Self::Unable { .. }
            | Self::Call { .. } => false,
        }
    }

    /// What it means for what comes next. What a request was at fault for is no fault of the device, and has none.
    pub fn fault(&self) -> Option<Fault> {
        match self {
            Self::NotAuthentic => None,
            Self::Call { .. } | Self::PlacesFull { .. } | Self::PinMemory { .. } => Some(Fault::Transient),
            Self::Lost { fault, .. } => Some(*fault),
            Self::UnknownKey(_) => Some(Fault::KeyGone),
            Self::Module { .. } | Self::Initialize { .. } | Self::TokenAbsent { .. } | Self::Unreachable { .. } => {
                Some(Fault::DeviceGone)
            }
            _ => Some(Fault::Fatal),
        }
    }
}
