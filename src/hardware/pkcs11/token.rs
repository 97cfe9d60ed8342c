//! Finding a token and logging in to it, once.

use cryptoki::context::{CInitializeArgs, CInitializeFlags, Pkcs11};
use cryptoki::error::{Error as Pkcs11Error, RvError};
use cryptoki::session::{Session as Pkcs11Session, SessionState, UserType};
use cryptoki::slot::{Slot, TokenInfo};

use super::{Pkcs11Settings, TokenName, failed, module_error};
use crate::entropy::Entropy;
use crate::hardware::pin_memory::{Outcome, PinTrial};
use crate::hardware::{Error, LoginStep, PinTrust};

/// A token that was found and logged in to.
pub(super) struct OpenToken {
    pub(super) context: Pkcs11,
    pub(super) slot: Slot,
    pub(super) description: String,
    pub(super) session: Pkcs11Session,
}

#[derive(Clone, Copy)]
pub(super) enum Access {
    ReadOnly,
    ReadWrite,
}

impl OpenToken {
    pub(super) fn log_in(
        settings: &Pkcs11Settings,
        access: Access,
        trust: PinTrust,
        progress: &mut dyn FnMut(LoginStep),
        entropy: &dyn Entropy,
    ) -> Result<Self, Error> {
        let context = Pkcs11::new(&settings.module).map_err(|error| module_error(settings, error.to_string()))?;
        context.initialize(CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK)).map_err(|error| {
            Error::Initialize {
                path: settings.module.display().to_string(),
                name: settings.name.clone(),
                reason: failed(error).to_string(),
            }
        })?;
        let (slot, token) = find_token(&context, settings)?;
        refuse_unusable_pin(&token)?;
        if token.user_pin_count_low() && trust == PinTrust::Unproven {
            return Err(Error::PinUnproven { origin: settings.pin.to_string() });
        }
        let session = match access {
            Access::ReadOnly => context.open_ro_session(slot),
            Access::ReadWrite => context.open_rw_session(slot),
        }
        .map_err(failed)?;
        // Read right before the login, and wiped right after.
        let pin = settings.pin.read().map_err(|unavailable| Error::PinUnavailable {
            origin: settings.pin.to_string(),
            reason: unavailable.to_string(),
        })?;
        let begun = PinTrial::begin(&settings.state, token.serial_number(), &pin, trust, entropy);
        let trial = begun.map_err(|refused| refused.into_error(&settings.pin.to_string(), &settings.state))?;
        progress(LoginStep::Begins);
        let (outcome, answer) = judge(session.login(UserType::User, Some(&pin)), &session, settings);
        drop(pin);
        // A trial that cannot be forgotten only refuses too much, and one that is not noted as refused was
        // noted as tried.
        if let Err(error) = trial.end(outcome) {
            tracing::warn!(%error, "cannot write to keeper.state what came of the PIN");
        }
        answer?;
        progress(LoginStep::Done);
        let description = format!(
            "{} {}, serial number {}, label {}",
            token.manufacturer_id(),
            token.model(),
            token.serial_number(),
            token.label()
        );
        Ok(Self { context, slot, description, session })
    }
}

/// What the answer to a login says of the PIN, and of the login.
fn judge(
    answer: Result<(), Pkcs11Error>,
    session: &Pkcs11Session,
    settings: &Pkcs11Settings,
) -> (Outcome, Result<(), Error>) {
    let origin = settings.pin.to_string();
    let Err(error) = answer else { return (Outcome::Right, Ok(())) };
    match &error {
        Pkcs11Error::Pkcs11(RvError::UserAlreadyLoggedIn, _) => (Outcome::NotTried, refuse_logged_out(session)),
        Pkcs11Error::Pkcs11(RvError::PinIncorrect | RvError::PinInvalid | RvError::PinLenRange, _) => {
            (Outcome::Refused, Err(Error::PinIncorrect { origin }))
        }
        Pkcs11Error::Pkcs11(RvError::PinLocked, _) => {
            (Outcome::NotTried, Err(Error::PinUnusable { state: "its PIN is locked" }))
        }
        // Nothing was tried: the device was gone, or out of memory.
        Pkcs11Error::Pkcs11(
            RvError::DeviceRemoved
            | RvError::TokenNotPresent
            | RvError::TokenNotRecognized
            | RvError::SessionClosed
            | RvError::SessionHandleInvalid
            | RvError::CryptokiNotInitialized
            | RvError::HostMemory
            | RvError::DeviceMemory,
            _,
        ) => (Outcome::NotTried, Err(failed(error))),
        // Anything else, vendors' own codes above all, may be a wrong PIN by another name.
        _ => (Outcome::Refused, Err(Error::LoginRefused { reason: failed(error).to_string(), origin })),
    }
}

/// A module may say that somebody is logged in already where nobody is. Without a login there would be no private
/// key, and that would be taken for a token without keys: for good.
fn refuse_logged_out(session: &Pkcs11Session) -> Result<(), Error> {
    match session.get_session_info().map_err(failed)?.session_state() {
        SessionState::RoUser | SessionState::RwUser => Ok(()),
        state => Err(Error::Call {
            call: "C_Login".to_owned(),
            reason: format!("CKR_USER_ALREADY_LOGGED_IN, and the session is not logged in ({state:?})"),
        }),
    }
}

fn find_token(context: &Pkcs11, settings: &Pkcs11Settings) -> Result<(Slot, TokenInfo), Error> {
    let mut matching = Vec::new();
    let mut found = Vec::new();
    for slot in context.get_slots_with_token().map_err(failed)? {
        // Somebody else's card that does not answer is no reason not to use ours.
        let Ok(token) = context.get_token_info(slot) else {
            found.push("one that does not answer".to_owned());
            continue;
        };
        if !token.token_initialized() {
            continue;
        }
        found.push(format!("{:?}", token.label()));
        let matches = match &settings.token {
            TokenName::Label(label) => token.label() == label,
            TokenName::Serial(serial) => token.serial_number() == serial,
        };
        if matches {
            matching.push((slot, token));
        }
    }
    let (wanted, name) = (settings.token.to_string(), settings.name.clone());
    match matching.len() {
        1 => Ok(matching.remove(0)),
        0 => {
            let found = if found.is_empty() { "none".to_owned() } else { found.join(", ") };
            Err(Error::TokenAbsent { wanted, found, name })
        }
        count => Err(Error::TokenAmbiguous { wanted, count, name }),
    }
}

/// Refuses where a login could lock the token for good (PKCS#11 3.1 §3.2, `CK_TOKEN_INFO.flags`).
fn refuse_unusable_pin(token: &TokenInfo) -> Result<(), Error> {
    let state = if token.user_pin_locked() {
        "its PIN is locked (CKF_USER_PIN_LOCKED)"
    } else if token.user_pin_final_try() {
        "one more wrong PIN locks it (CKF_USER_PIN_FINAL_TRY)"
    } else if token.user_pin_to_be_changed() {
        "its PIN must be changed first (CKF_USER_PIN_TO_BE_CHANGED)"
    } else if !token.user_pin_initialized() {
        "no user PIN is set (CKF_USER_PIN_INITIALIZED is off)"
    } else {
        return Ok(());
    };
    Err(Error::PinUnusable { state })
}
