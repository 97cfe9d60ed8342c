//! A PKCS#11 token as a [`Device`]: the module is loaded, the token found, logged in to once, and
//! its keys checked. cryptoki is named here and below, and nowhere else.

mod token;
mod calls;
mod operations;
mod gcm;
mod agreement;
mod keys;
mod choice;
mod generate;
mod destroy;
mod inventory;
mod session;
mod attest;

use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use cryptoki::error::{Error as Pkcs11Error, RvError};
use cryptoki::session::Session as Pkcs11Session;

use self::calls::Failed;
use self::inventory::Inventory;
use self::session::OpenSession;
use self::token::{Access, OpenToken};
use super::{
    Device, DeviceKeys, Error, Fault, Generated, KeyName, LoginStep, PinTrust, ProfileKeys, Provenance, Role, Session,
};
use crate::clock::Clock;
use crate::entropy::Entropy;
use crate::secret_source::SecretSource;

/// What tells one token from the others in the module's slots.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum TokenName {
    /// `CK_TOKEN_INFO.label`, at most 32 bytes.
    Label(String),
    /// `CK_TOKEN_INFO.serialNumber`, at most 16 bytes.
    Serial(String),
}

impl fmt::Display for TokenName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Label(label) => write!(f, "labelled {label:?}"),
            Self::Serial(serial) => write!(f, "with serial number {serial:?}"),
        }
    }
}

/// How to reach a token, and which keys in it are mintkeep's.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Pkcs11Settings {
    /// The device's name in the configuration, for messages.
    pub name: String,
    /// The vendor's shared library.
    pub module: PathBuf,
    /// Which token.
    pub token: TokenName,
    /// Where its user PIN is.
    pub pin: SecretSource,
    /// The folder that remembers a PIN that did not work.
    pub state: PathBuf,
    /// `CKA_LABEL` of the signing keys.
    pub signing_label: String,
    /// `CKA_LABEL` of the sealing keys.
    pub sealing_label: String,
    /// What `CKA_LABEL` of the keys for front-ends begins with; a colon and the key's name follow.
    pub delegated_label: String,
    /// The signing profiles whose keys are used.
    pub profiles: Vec<ProfileKeys>,
    /// Which past of a key is accepted.
    pub provenance: Provenance,
}

impl Pkcs11Settings {
    /// `CKA_LABEL` of the keys of `role`.
    pub fn label(&self, role: Role) -> String {
        match role {
            Role::Signing => self.signing_label.clone(),
            Role::Sealing => self.sealing_label.clone(),
            Role::Delegated(name) => format!("{}:{name}", self.delegated_label),
        }
    }

    /// The name of the key for front-ends that is labelled so, where that is one.
    fn name_in(&self, label: &[u8]) -> Option<KeyName> {
        let name = std::str::from_utf8(label).ok()?.strip_prefix(&self.delegated_label)?.strip_prefix(':')?;
        KeyName::parse(name).ok()
    }
}

/// An open token. Its anchor session keeps the login: closing the last session of an application
/// logs it out (PKCS#11 3.1 §5.6.8).
pub struct Pkcs11Device {
    inventory: Arc<Inventory>,
    description: String,
    anchor: Mutex<Pkcs11Session>,
}

impl Pkcs11Device {
    /// Loads the module, finds the token, logs in (once: a wrong PIN is never tried again), checks
    /// the keys, and has each make one operation, the signature being verified.
    ///
    /// # Errors
    /// [`Error`] names what is missing or refused.
    pub fn open(
        settings: &Pkcs11Settings,
        trust: PinTrust,
        progress: &mut dyn FnMut(LoginStep),
        clock: &Arc<dyn Clock>,
        entropy: &Arc<dyn Entropy>,
    ) -> Result<Self, Error> {
        let token = OpenToken::log_in(settings, Access::ReadOnly, trust, progress, entropy.as_ref())?;
        let inventory = Inventory::of(&token, settings, clock, entropy)?;
        Self::with_keys(token, inventory)
    }

    fn with_keys(token: OpenToken, inventory: Inventory) -> Result<Self, Error> {
        inventory.look(&token.session)?;
        Ok(Self { inventory: Arc::new(inventory), description: token.description, anchor: Mutex::new(token.session) })
    }

    /// Generates the keys of `settings` that the token lacks, and opens it as [`Self::open`] does.
    ///
    /// # Errors
    /// As [`Self::open`]; a key that is there and unacceptable is refused and not replaced.
    pub fn open_with_new_keys(
        settings: &Pkcs11Settings,
        clock: &Arc<dyn Clock>,
        entropy: &Arc<dyn Entropy>,
    ) -> Result<(Self, Generated), Error> {
        let token = OpenToken::log_in(settings, Access::ReadWrite, PinTrust::Unproven, &mut |_| {}, entropy.as_ref())?;
        let inventory = Inventory::of(&token, settings, clock, entropy)?;
        let generated = inventory.generate_missing(&token.session)?;
        Ok((Self::with_keys(token, inventory)?, generated))
    }

    /// Destroys the key `kid`. Keepers that use it go on until they look again, or the token stops them.
    ///
    /// # Errors
    /// [`Error::UnknownKey`] where there is none; or what the token answered.
    pub fn destroy_key(settings: &Pkcs11Settings, kid: &str, entropy: &dyn Entropy) -> Result<(), Error> {
        let token = OpenToken::log_in(settings, Access::ReadWrite, PinTrust::Unproven, &mut |_| {}, entropy)?;
        destroy::destroy(&token.session, settings, kid)?;
        token.session.close().map_err(failed)?;
        token.context.finalize().map_err(failed)
    }
}

impl Device for Pkcs11Device {
    fn description(&self) -> &str {
        &self.description
    }

    fn keys(&self) -> DeviceKeys {
        self.inventory.keys().told()
    }

    fn open_session(&self) -> Result<Box<dyn Session>, Error> {
        Ok(Box::new(OpenSession::open(&self.inventory)?))
    }

    fn close(self: Box<Self>) {
        let Self { inventory, anchor, .. } = *self;
        // The last session of an application: closing it logs out.
        drop(anchor);
        if let Err(error) = inventory.context.clone().finalize() {
            tracing::warn!(error = %failed(error), "the module did not end in order");
        }
    }
}

fn module_error(settings: &Pkcs11Settings, reason: String) -> Error {
    Error::Module { path: settings.module.display().to_string(), name: settings.name.clone(), reason }
}

fn failed(error: Pkcs11Error) -> Error {
    match error {
        Pkcs11Error::Pkcs11(code, function) => call_error(format!("C_{function:?}"), code),
        other => Error::Call { call: "a PKCS#11 call".to_owned(), reason: other.to_string() },
    }
}

fn failed_call((call, code): Failed) -> Error {
    call_error(call.to_owned(), code)
}

/// Sorts the codes (PKCS#11 3.1 §5.1): those after which no further call of this session can succeed, those that say
/// that the device cannot do it, and the others, which may not come again.
fn call_error(call: String, code: RvError) -> Error {
    let reason = format!("{code:?}");
    let fault = match code {
        // An operation that was begun and cannot be ended stays in the session.
        RvError::SessionHandleInvalid | RvError::SessionClosed | RvError::OperationActive => Fault::SessionLost,
        RvError::UserNotLoggedIn => Fault::LoginLost,
        RvError::CryptokiNotInitialized | RvError::DeviceRemoved | RvError::DeviceError | RvError::TokenNotPresent => {
            Fault::DeviceGone
        }
        RvError::KeyHandleInvalid | RvError::ObjectHandleInvalid => Fault::KeyGone,
        RvError::FunctionNotSupported
        | RvError::MechanismInvalid
        | RvError::MechanismParamInvalid
        | RvError::KeyFunctionNotPermitted
        | RvError::KeyTypeInconsistent
        | RvError::KeySizeRange => return Error::Unable { call, reason },
        _ => return Error::Call { call, reason },
    };
    Error::Lost { fault, call, reason }
}
