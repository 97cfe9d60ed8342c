//! The connection to a TPM: its storage key, its session, its answers sorted into our errors.

use std::str::FromStr as _;
use std::time::Duration;

use secrecy::zeroize::Zeroizing;
use tss_esapi::attributes::SessionAttributesBuilder;
use tss_esapi::constants::response_code::{Tss2ResponseCode, Tss2ResponseCodeKind};
use tss_esapi::constants::tss::{TPM2_LOADED_SESSION_FIRST, TPM2_RH_NULL, TPM2_ST_HASHCHECK, TPM2_TRANSIENT_FIRST};
use tss_esapi::constants::{CapabilityType, PropertyTag, SessionType};
use tss_esapi::handles::{KeyHandle, ObjectHandle, SessionHandle, TpmHandle};
use tss_esapi::interface_types::algorithm::HashingAlgorithm;
use tss_esapi::interface_types::resource_handles::Hierarchy;
use tss_esapi::interface_types::session_handles::AuthSession;
use tss_esapi::structures::{Auth, CapabilityData, EccParameter, HashcheckTicket, Name, SymmetricDefinition};
use tss_esapi::tss2_esys::TPMT_TK_HASHCHECK;
use tss_esapi::utils::TpmsContext;
use tss_esapi::{Context, Error as TssError, TctiNameConf};

use super::handle_file::PersistentHandle;
use super::keys::storage_key_template;
use super::{Protection, TpmSettings};
use crate::hardware::{Error, Fault};

/// How often a TPM that is busy with itself is asked again, and after which pause: two seconds in all.
const ATTEMPTS: u32 = 40;
const PAUSE: Duration = Duration::from_millis(50);

/// A TPM in our hands alone, or a resource manager's share of one.
pub(super) struct Connection {
    context: Context,
    session: AuthSession,
    primary: Option<KeyHandle>,
    /// The persistent keys that stay open, at the most one at a handle.
    pub(super) open_keys: Vec<OpenKey>,
    tcti: String,
    /// Where the authorization value comes from, for messages.
    origin: String,
}

/// A persistent key that libtss2 knows, and what it may do.
pub(super) struct OpenKey {
    pub(super) handle: PersistentHandle,
    pub(super) name: Name,
    pub(super) key: KeyHandle,
}

impl Connection {
    /// Reaches the TPM and makes its storage key, which all of our keys are wrapped by.
    pub(super) fn open(settings: &TpmSettings, protection: Protection) -> Result<Self, Error> {
        let unreachable = |error: TssError| Error::Unreachable {
            tcti: settings.tcti.clone(),
            name: settings.name.clone(),
            reason: told(error),
        };
        let tcti = TctiNameConf::from_str(&settings.tcti).map_err(unreachable)?;
        let context = Context::new(tcti).map_err(unreachable)?;
        let mut connection = Self {
            context,
            session: AuthSession::Password,
            primary: None,
            open_keys: Vec::new(),
            tcti: settings.tcti.clone(),
            origin: settings.authorization.to_string(),
        };
        connection.flush_leftovers()?;
        connection.make_primary()?;
        let primary = connection.primary();
        if protection == Protection::Encrypted {
            connection.session = connection.salted_session(primary)?;
        }
        Ok(connection)
    }

    /// The storage key, made before and not flushed since.
    pub(super) fn primary(&self) -> KeyHandle {
        self.primary.expect("whoever asks for it has had it made")
    }

    /// Makes the storage key, where it is not there.
    pub(super) fn make_primary(&mut self) -> Result<(), Error> {
        if self.primary.is_none() {
            self.primary = Some(self.create_primary()?);
        }
        Ok(())
    }

    /// Frees the storage key's place: there are three, and loaded keys do not need it.
    pub(super) fn flush_primary(&mut self) -> Result<(), Error> {
        match self.primary.take() {
            Some(primary) => self.call_without_session("TPM2_FlushContext", |c| c.flush_context(primary.into())),
            None => Ok(()),
        }
    }

    /// Frees the place of a key.
    pub(super) fn flush(&mut self, key: KeyHandle) -> Result<(), Error> {
        self.call_without_session("TPM2_FlushContext", |context| context.flush_context(key.into()))
    }

    /// From now on the authorization value of `key` is `authorization`, for our side of the connection.
    pub(super) fn authorize(&mut self, key: KeyHandle, authorization: &Auth) -> Result<(), Error> {
        let handle = ObjectHandle::from(key);
        self.call_without_session("Esys_TR_SetAuth", |context| context.tr_set_auth(handle, authorization.clone()))
    }

    /// A key as it is now, to be loaded again without the storage key, until the TPM is reset.
    pub(super) fn save(&mut self, key: KeyHandle) -> Result<TpmsContext, Error> {
        self.call_without_session("TPM2_ContextSave", |context| context.context_save(key.into()))
    }

    /// Loads what was saved.
    pub(super) fn load_saved(&mut self, saved: &TpmsContext) -> Result<KeyHandle, Error> {
        let call = "TPM2_ContextLoad";
        let mut refusal = None;
        let loaded = self.call_without_session(call, |context| {
            let loaded = context.context_load(saved.clone());
            refusal = loaded.as_ref().err().copied();
            loaded
        });
        match refusal {
            // It was reset, which ends what was saved.
            Some(error) if is_foreign(error) => {
                Err(Error::Lost { fault: Fault::KeyGone, call: call.to_owned(), reason: told(error) })
            }
            _ => loaded.map(KeyHandle::from),
        }
    }

    /// Has `act` use a session that encrypts, also where the others do not.
    pub(super) fn encrypted<Value>(
        &mut self,
        act: impl FnOnce(&mut Self) -> Result<Value, Error>,
    ) -> Result<Value, Error> {
        if self.session != AuthSession::Password {
            return act(self);
        }
        self.session = self.salted_session(self.primary())?;
        let value = act(self);
        let session = SessionHandle::from(std::mem::replace(&mut self.session, AuthSession::Password));
        self.call_without_session("TPM2_FlushContext", |context| context.flush_context(session.into()))?;
        value
    }

    /// Whether a command with a key is refused where another one is at its handle: the session's HMAC covers the names
    /// that libtss2 knows (TPM 2.0 Part 1 §16, §19.6). A password is as good for another key.
    pub(super) fn binds_names(&self) -> bool {
        self.session != AuthSession::Password
    }

    /// A command that proves the authorization value, or the storage key's empty one.
    pub(super) fn call<Value>(
        &mut self,
        call: &str,
        mut operation: impl FnMut(&mut Context) -> Result<Value, TssError>,
    ) -> Result<Value, Error> {
        let (context, session) = (&mut self.context, self.session);
        let answer = patiently(|| context.execute_with_session(Some(session), &mut operation));
        answer.map_err(|error| self.failed(call, error))
    }

    /// A command that needs no authorization.
    pub(super) fn call_without_session<Value>(
        &mut self,
        call: &str,
        mut operation: impl FnMut(&mut Context) -> Result<Value, TssError>,
    ) -> Result<Value, Error> {
        let context = &mut self.context;
        let answer = patiently(|| context.execute_without_session(&mut operation));
        answer.map_err(|error| self.failed(call, error))
    }

    /// A command that proves the authorization value of one of our keys, and the empty one of another object.
    pub(super) fn call_with_another<Value>(
        &mut self,
        call: &str,
        mut operation: impl FnMut(&mut Context) -> Result<Value, TssError>,
    ) -> Result<Value, Error> {
        let sessions = (Some(self.session), Some(AuthSession::Password), None);
        let context = &mut self.context;
        let answer = patiently(|| context.execute_with_sessions(sessions, &mut operation));
        answer.map_err(|error| self.failed(call, error))
    }

    /// A command that proves an empty authorization value, and none of ours. The inner error says that there is
    /// another one.
    pub(super) fn call_with_empty<Value>(
        &mut self,
        call: &str,
        mut operation: impl FnMut(&mut Context) -> Result<Value, TssError>,
    ) -> Result<Result<Value, Refused>, Error> {
        let context = &mut self.context;
        let answer = patiently(|| context.execute_with_session(Some(AuthSession::Password), &mut operation));
        match answer {
            Ok(value) => Ok(Ok(value)),
            Err(error) if is_refused(error) => Ok(Err(Refused)),
            Err(error) => Err(self.failed(call, error)),
        }
    }

    /// What the TPM calls itself.
    pub(super) fn description(&mut self) -> String {
        const NAMES: [PropertyTag; 5] = [
            PropertyTag::Manufacturer,
            PropertyTag::VendorString1,
            PropertyTag::VendorString2,
            PropertyTag::VendorString3,
            PropertyTag::VendorString4,
        ];
        let mut text = String::new();
        for (index, name) in NAMES.into_iter().enumerate() {
            let letters = self.context.get_tpm_property(name).ok().flatten().unwrap_or_default().to_be_bytes();
            text.extend(letters.into_iter().filter(|letter| matches!(letter, 0x20..0x7f)).map(char::from));
            if index == 0 {
                text.push(' ');
            }
        }
        let words: Vec<&str> = text.split_whitespace().collect();
        format!("TPM 2.0 {} at {}", words.join(" "), self.tcti)
    }

    /// Without a resource manager, what a process that was killed had loaded is still there, and takes up the
    /// three places for keys and the three for sessions that there are. Who is connected now has the TPM alone,
    /// so it is nobody's. With one (`device:/dev/tpmrm0`), nobody else's objects are seen.
    fn flush_leftovers(&mut self) -> Result<(), Error> {
        for first in [TPM2_TRANSIENT_FIRST, TPM2_LOADED_SESSION_FIRST] {
            let (loaded, _) = self.call_without_session("TPM2_GetCapability", |context| {
                context.get_capability(CapabilityType::Handles, first, 16)
            })?;
            let CapabilityData::Handles(handles) = loaded else { continue };
            for handle in handles.into_inner() {
                if let TpmHandle::Transient(_) | TpmHandle::HmacSession(_) | TpmHandle::PolicySession(_) = handle {
                    self.call_without_session("TPM2_FlushContext", |context| {
                        let left = context.tr_from_tpm_public(handle)?;
                        context.flush_context(left)
                    })?;
                }
            }
        }
        Ok(())
    }

    fn create_primary(&mut self) -> Result<KeyHandle, Error> {
        let made = self.call_with_empty("TPM2_CreatePrimary", |context| {
            context.create_primary(Hierarchy::Owner, storage_key_template()?, None, None, None, None)
        })?;
        made.map(|made| made.key_handle).map_err(|Refused| Error::OwnerRefused)
    }

    /// A session that is salted by the storage key, so that a listener cannot compute its keys.
    fn salted_session(&mut self, primary: KeyHandle) -> Result<AuthSession, Error> {
        let call = "TPM2_StartAuthSession";
        let session = self.call_without_session(call, |context| {
            context.start_auth_session(
                Some(primary),
                None,
                None,
                SessionType::Hmac,
                SymmetricDefinition::AES_128_CFB,
                HashingAlgorithm::Sha256,
            )
        })?;
        let session = session.ok_or_else(|| Error::Call { call: call.to_owned(), reason: "no session".to_owned() })?;
        let (attributes, mask) =
            SessionAttributesBuilder::new().with_continue_session(true).with_decrypt(true).with_encrypt(true).build();
        self.call_without_session(call, |context| context.tr_sess_set_attributes(session, attributes, mask))?;
        Ok(session)
    }

    fn failed(&self, call: &str, error: TssError) -> Error {
        let (call, reason) = (call.to_owned(), told(error));
        match kind_of_refusal(error) {
            _ if is_refused(error) => Error::AuthorizationRefused { origin: self.origin.clone() },
            Some(Tss2ResponseCodeKind::Handle) => Error::Lost { fault: Fault::KeyGone, call, reason },
            _ if is_lost(error) => Error::Lost { fault: Fault::DeviceGone, call, reason },
            // TPM_RC_OBJECT_MEMORY.
            _ if is(error, 0x902) => Error::PlacesFull { call },
            _ => Error::Call { call, reason },
        }
    }
}

/// The TPM says that the authorization value is another one.
pub(super) struct Refused;

/// A number of the TPM's, which drops leading zeroes or keeps them as it likes, in 32 bytes.
pub(super) fn padded(number: &EccParameter, call: &str) -> Result<Zeroizing<[u8; 32]>, Error> {
    let mut bytes = Zeroizing::new([0; 32]);
    let start = bytes.len().checked_sub(number.len()).ok_or_else(|| Error::Call {
        call: call.to_owned(),
        reason: format!("a number of {} bytes, expected at the most 32", number.len()),
    })?;
    bytes[start..].copy_from_slice(number);
    Ok(bytes)
}

/// What stands for "this digest was not made in the TPM".
pub(super) fn no_ticket() -> Result<HashcheckTicket, TssError> {
    TPMT_TK_HASHCHECK { tag: TPM2_ST_HASHCHECK, hierarchy: TPM2_RH_NULL, digest: Default::default() }.try_into()
}

/// What an error says; the crate has no words for those of the connection.
fn told(error: TssError) -> String {
    match error {
        TssError::Tss2Error(code) if code.kind().is_none() => "there is no connection".to_owned(),
        other => other.to_string(),
    }
}

/// Whether the TPM says that a file was not wrapped by its storage key.
pub(super) fn is_foreign(error: TssError) -> bool {
    matches!(kind_of_refusal(error), Some(Tss2ResponseCodeKind::Integrity))
}

/// Whether the TPM says that there is nothing at a handle.
pub(super) fn is_absent(error: TssError) -> bool {
    matches!(kind_of_refusal(error), Some(Tss2ResponseCodeKind::Handle))
}

/// Whether the TPM says that it has no memory left for what it is to keep (`TPM_RC_NV_SPACE`).
pub(super) fn has_no_memory(error: TssError) -> bool {
    is(error, 0x14b)
}

/// Asks again where the TPM says that it is busy, and did nothing (TPM 2.0 Part 2 §6.6.3).
fn patiently<Value>(mut ask: impl FnMut() -> Result<Value, TssError>) -> Result<Value, TssError> {
    for _ in 1..ATTEMPTS {
        match ask() {
            Err(error) if is_busy(error) => std::thread::sleep(PAUSE),
            answer => return answer,
        }
    }
    ask()
}

fn is_busy(error: TssError) -> bool {
    // TPM_RC_RETRY, TPM_RC_YIELDED, TPM_RC_TESTING.
    [0x922, 0x908, 0x90a].into_iter().any(|code| is(error, code))
}

/// The kind of a refusal that the TPM itself made of a command, a handle or a session in it ("format one").
fn kind_of_refusal(error: TssError) -> Option<Tss2ResponseCodeKind> {
    match error {
        // No other layer has codes of this format.
        TssError::Tss2Error(code @ Tss2ResponseCode::FormatOne(_)) => code.kind(),
        TssError::Tss2Error(_) | TssError::WrapperError(_) => None,
    }
}

fn is_refused(error: TssError) -> bool {
    matches!(kind_of_refusal(error), Some(Tss2ResponseCodeKind::BadAuth | Tss2ResponseCodeKind::AuthFail))
}

/// Whether everything has to be opened anew: the TPM was reset, lost what was loaded, or failed; or the error
/// is not the TPM's but one of the layers before it, above all that of a connection that is gone.
fn is_lost(error: TssError) -> bool {
    // TPM_RC_INITIALIZE, TPM_RC_FAILURE, TPM_RC_REFERENCE_H0 to S6.
    const LOST: [std::ops::RangeInclusive<u32>; 2] = [0x100..=0x101, 0x910..=0x91e];
    match error {
        TssError::Tss2Error(Tss2ResponseCode::FormatZero(_)) => {
            let is_the_tpms = (0x100..0x180).chain(0x900..0x980).any(|code| is(error, code));
            !is_the_tpms || LOST.into_iter().flatten().any(|code| is(error, code))
        }
        TssError::Tss2Error(_) | TssError::WrapperError(_) => false,
    }
}

/// Whether `error` is the TPM's `code`, said by itself or by a resource manager in its name.
fn is(error: TssError, code: u32) -> bool {
    [0, 11 << 16, 12 << 16].into_iter().any(|layer| error == TssError::Tss2Error(Tss2ResponseCode::from(layer | code)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(code: u32) -> TssError {
        TssError::Tss2Error(Tss2ResponseCode::from(code))
    }

    #[test]
    fn a_busy_tpm_is_asked_again_and_not_for_ever() {
        let mut answers = vec![Ok(7), Err(error(0x922)), Err(error(0x908)), Err(error(0x90a))];
        assert_eq!(patiently(|| answers.pop().unwrap()), Ok(7));
        let mut asked = 0;
        let refused: Result<(), _> = patiently(|| {
            asked += 1;
            // Every other refusal is final at once.
            Err(error(0x98e))
        });
        assert_eq!((asked, refused), (1, Err(error(0x98e))));
    }

    #[test]
    fn a_tpm_that_was_reset_and_a_connection_that_is_gone_are_lost_and_a_refused_command_is_not() {
        // TPM_RC_INITIALIZE, TPM_RC_REFERENCE_H0 by the kernel's resource manager, TSS2_TCTI_RC_IO_ERROR.
        for code in [0x100, 0x910, (11 << 16) | 0x910, 0x000a_000a] {
            assert!(is_lost(error(code)), "{code:x}");
        }
        // TPM_RC_OBJECT_MEMORY, TPM_RC_LOCKOUT, TPM_RC_BAD_AUTH of the first session.
        for code in [0x902, 0x921, 0x9a2] {
            assert!(!is_lost(error(code)), "{code:x}");
        }
    }

    #[test]
    fn a_short_number_is_padded_on_the_left_and_a_long_one_refused() {
        let padded = |bytes: &[u8]| padded(&EccParameter::try_from(bytes).unwrap(), "TPM2_Sign");
        let mut expected = [0; 32];
        expected[31] = 9;
        assert_eq!(*padded(&[9]).unwrap(), expected);
        assert_eq!(*padded(&[9; 32]).unwrap(), [9; 32]);
        assert!(padded(&[9; 33]).is_err());
    }
}
