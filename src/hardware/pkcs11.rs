//! A PKCS#11 token as a [`Device`]: the module is loaded, the token found, logged in to once, and
//! its keys checked. cryptoki is named here and below, and nowhere else.

mod token;
mod calls;
mod operations;
mod keys;
mod choice;
mod generate;
mod attest;

use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use cryptoki::context::Pkcs11;
use cryptoki::error::{Error as Pkcs11Error, RvError};
use cryptoki::object::ObjectHandle;
use cryptoki::session::Session as Pkcs11Session;
use cryptoki::slot::Slot;

use self::calls::{Calls, DECRYPT, Failed};
use self::choice::{ChosenKey, choose_sealing, choose_signing, copy_into_session};
use self::operations::{Canary, decrypt, encrypt, sign};
use self::token::{Access, OpenToken};
use super::attestation::{Attestation, Nonce};
use super::{
    Device, DeviceKeys, Error, Generated, LoginStep, PinTrust, PinnedPublicKey, Provenance, Role, Sealed, SealingKey,
    Session,
};
use crate::clock::{Clock, Timestamp};
use crate::entropy::Entropy;
use crate::jose::ecdh_es::SharedSecret;
use crate::jose::jwe::NONCE_BYTES;
use crate::jose::jwk::P256PublicKey;
use crate::jose::jws::Signature;
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
#[derive(Clone, Debug)]
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
    /// `CKA_LABEL` of the signing key.
    pub signing_label: String,
    /// `CKA_LABEL` of the sealing key.
    pub sealing_label: String,
    /// Which past of a key is accepted.
    pub provenance: Provenance,
}

/// An open token. Its anchor session keeps the login: closing the last session of an application
/// logs it out (PKCS#11 3.1 §5.6.8).
pub struct Pkcs11Device {
    context: Pkcs11,
    calls: Arc<Calls>,
    slot: Slot,
    description: String,
    signing: ChosenKey<PinnedPublicKey>,
    sealing: ChosenKey<String>,
    keys: DeviceKeys,
    canary: Arc<Canary>,
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
        clock: &dyn Clock,
        entropy: &dyn Entropy,
    ) -> Result<Self, Error> {
        let token = OpenToken::log_in(settings, Access::ReadOnly, trust, progress, entropy)?;
        let calls = Calls::of_module(&settings.module).map_err(|reason| module_error(settings, reason))?;
        let signing = keys::find_signing(&token.session, settings)?;
        let sealing = keys::find_sealing(&token.session, settings)?;
        let signing = choose_signing(&token.session, &calls, signing, clock)?;
        let sealing = choose_sealing(&token.session, &calls, sealing, clock, entropy)?;
        let canary = Canary::seal(&token.session, &calls, sealing.handle, entropy)?;
        let keys = DeviceKeys {
            signing: vec![*signing.name.public_key()],
            sealing: vec![SealingKey::Direct(sealing.name.clone())],
        };
        Ok(Self {
            context: token.context,
            calls: Arc::new(calls),
            slot: token.slot,
            description: token.description,
            signing,
            sealing,
            keys,
            canary: Arc::new(canary),
            anchor: Mutex::new(token.session),
        })
    }

    /// Generates the keys of `settings` that the token lacks, and then opens it as [`Self::open`].
    ///
    /// # Errors
    /// As [`Self::open`]; a key that is there and unacceptable is refused and not replaced.
    pub fn open_with_new_keys(
        settings: &Pkcs11Settings,
        clock: &dyn Clock,
        entropy: &dyn Entropy,
    ) -> Result<(Self, Generated), Error> {
        let token = OpenToken::log_in(settings, Access::ReadWrite, PinTrust::Unproven, &mut |_| {}, entropy)?;
        let generated = generate::generate_missing(&token.session, settings, entropy)?;
        // One context per process: it is finalized here and initialized anew by `open`.
        token.session.close().map_err(failed)?;
        token.context.finalize().map_err(failed)?;
        Ok((Self::open(settings, PinTrust::Vouched, &mut |_| {}, clock, entropy)?, generated))
    }
}

impl Device for Pkcs11Device {
    fn description(&self) -> &str {
        &self.description
    }

    fn keys(&self) -> DeviceKeys {
        self.keys.clone()
    }

    fn open_session(&self) -> Result<Box<dyn Session>, Error> {
        let session = self.context.open_ro_session(self.slot).map_err(failed)?;
        let copied = |handle, use_session_copy| match use_session_copy {
            true => copy_into_session(&session, handle).map(|copy| copy.unwrap_or(handle)),
            false => Ok(handle),
        };
        let signing = copied(self.signing.handle, self.signing.use_session_copy)?;
        let sealing = copied(self.sealing.handle, self.sealing.use_session_copy)?;
        Ok(Box::new(OpenSession {
            context: self.context.clone(),
            session,
            calls: Arc::clone(&self.calls),
            signing: (self.signing.name.kid().to_owned(), signing),
            sealing: (self.sealing.name.clone(), sealing),
            canary: Arc::clone(&self.canary),
            keys: self.keys.clone(),
        }))
    }

    fn close(self: Box<Self>) {
        let Self { context, anchor, .. } = *self;
        // The last session of an application: closing it logs out.
        drop(anchor);
        if let Err(error) = context.finalize() {
            tracing::warn!(error = %failed(error), "the module did not end in order");
        }
    }
}

/// One session and the handles of the keys in it.
struct OpenSession {
    context: Pkcs11,
    session: Pkcs11Session,
    calls: Arc<Calls>,
    signing: (String, ObjectHandle),
    sealing: (String, ObjectHandle),
    canary: Arc<Canary>,
    keys: DeviceKeys,
}

impl OpenSession {
    fn sealing_key(&self, kid: &str) -> Result<ObjectHandle, Error> {
        key_named(&self.sealing, kid)
    }
}

fn key_named((kid, handle): &(String, ObjectHandle), wanted: &str) -> Result<ObjectHandle, Error> {
    (kid == wanted).then_some(*handle).ok_or_else(|| Error::UnknownKey(wanted.to_owned()))
}

impl Session for OpenSession {
    fn sign(&mut self, kid: &str, digest: &[u8; 32]) -> Result<Signature, Error> {
        sign(&self.session, &self.calls, key_named(&self.signing, kid)?, digest)
    }

    fn encrypt(&mut self, kid: &str, nonce: &[u8; NONCE_BYTES], aad: &[u8], plaintext: &[u8]) -> Result<Sealed, Error> {
        let ciphertext_and_tag = encrypt(&self.session, &self.calls, self.sealing_key(kid)?, nonce, aad, plaintext)?;
        Ok(Sealed { nonce: *nonce, ciphertext_and_tag })
    }

    fn decrypt(
        &mut self,
        kid: &str,
        nonce: &[u8; NONCE_BYTES],
        aad: &[u8],
        ciphertext_and_tag: &[u8],
    ) -> Result<Vec<u8>, Error> {
        let key = self.sealing_key(kid)?;
        let open = || decrypt(&self.session, &self.calls, key, nonce, aad, ciphertext_and_tag);
        open().or_else(|failure| {
            // No code is believed by itself. The canary tells a bad ciphertext from a bad device, so that an
            // attacker cannot feign a fault; the second try tells it from a device that has recovered, so
            // that a fault does not pass for an invalid token.
            if !self.canary.opens(&self.session, &self.calls, key) {
                return Err(failed_call(failure));
            }
            open().map_err(|again| match again.0 {
                DECRYPT => Error::NotAuthentic,
                // The ciphertext was not looked at.
                _ => failed_call(again),
            })
        })
    }

    fn agree(&mut self, kid: &str, _epk: &P256PublicKey) -> Result<SharedSecret, Error> {
        // The sealing key is an AES key here.
        Err(Error::UnknownKey(kid.to_owned()))
    }

    fn generate(&mut self, role: Role) -> Result<(), Error> {
        Err(Error::Call { call: format!("generating a {} key", role.name()), reason: "not supported".to_owned() })
    }

    fn attest(&mut self, kid: &str, nonce: &Nonce, now: Timestamp) -> Result<Attestation, Error> {
        attest::attest(&self.context, &self.session, &self.calls, &self.keys, kid, (nonce, now))
    }

    fn look_again(&mut self) -> Result<(), Error> {
        Ok(())
    }

    fn keys(&self) -> DeviceKeys {
        self.keys.clone()
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

/// Sorts out the codes after which no further call of this session can succeed.
fn call_error(call: String, code: RvError) -> Error {
    let reason = format!("{code:?}");
    match code {
        RvError::SessionHandleInvalid
        | RvError::SessionClosed
        | RvError::UserNotLoggedIn
        | RvError::CryptokiNotInitialized
        | RvError::DeviceRemoved
        | RvError::DeviceError
        | RvError::TokenNotPresent
        | RvError::OperationActive
        | RvError::KeyHandleInvalid
        | RvError::ObjectHandleInvalid => Error::Lost { call, reason },
        _ => Error::Call { call, reason },
    }
}
