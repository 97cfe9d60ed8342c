//! Which object of a key is used: the one in the token, or a copy in each session, whichever works
//! faster. And whether either works at all: a key whose trial fails is not used.

use cryptoki::object::{Attribute, ObjectHandle};
use cryptoki::session::Session as Pkcs11Session;

use super::calls::Calls;
use super::failed;
use super::keys::{self, SealingKey, SigningKey};
use super::operations::{CANARY, encrypt, sign};
use crate::clock::Clock;
use crate::entropy::Entropy;
use crate::hardware::{Error, PinnedPublicKey};

/// Signatures of each kind that decide whether a session copy of a key is the faster one.
const TRIALS: usize = 12;

/// A key and which of its objects to use: the one in the token, or a copy in each session.
pub(super) struct ChosenKey<Name> {
    pub(super) handle: ObjectHandle,
    pub(super) name: Name,
    pub(super) use_session_copy: bool,
}

/// Has the signing key sign, verifies it, and finds out whether a session copy signs faster.
pub(super) fn choose_signing(
    session: &Pkcs11Session,
    calls: &Calls,
    key: SigningKey,
    clock: &dyn Clock,
) -> Result<ChosenKey<PinnedPublicKey>, Error> {
    let message = b"mintkeep trial signature";
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, message);
    let digest: [u8; 32] = digest.as_ref().try_into().expect("SHA-256 gives 32 bytes");
    let trial = |handle| {
        let signature = sign(session, calls, handle, &digest)?;
        key.public.verifies(message, &signature).then_some(()).ok_or(Error::WrongSignature)
    };
    trial(key.handle)?;
    let use_session_copy =
        copy_is_faster(session, key.handle, clock, |handle| sign(session, calls, handle, &digest).map(drop), trial)?;
    Ok(ChosenKey { handle: key.handle, name: key.public, use_session_copy })
}

pub(super) fn choose_sealing(
    session: &Pkcs11Session,
    calls: &Calls,
    key: SealingKey,
    clock: &dyn Clock,
    entropy: &dyn Entropy,
) -> Result<ChosenKey<String>, Error> {
    let operation = |handle| encrypt(session, calls, handle, &entropy.bytes(), CANARY, CANARY).map(drop);
    operation(key.handle)?;
    let use_session_copy = copy_is_faster(session, key.handle, clock, operation, operation)?;
    Ok(ChosenKey { handle: key.handle, name: key.kid, use_session_copy })
}

/// Whether the device allows a session copy of `key`, the copy works, and is the faster of the two:
/// on SoftHSM2 a token object is locked and checked against its file at every use.
fn copy_is_faster(
    session: &Pkcs11Session,
    key: ObjectHandle,
    clock: &dyn Clock,
    operation: impl Fn(ObjectHandle) -> Result<(), Error>,
    trial: impl Fn(ObjectHandle) -> Result<(), Error>,
) -> Result<bool, Error> {
    let Some(copy) = copy_into_session(session, key)? else {
        return Ok(false);
    };
    let measure = |handle| {
        let start = clock.instant();
        operation(handle).map(|()| clock.instant() - start)
    };
    let compare = || {
        trial(copy)?;
        // In turn, so that a slow moment of the machine falls on both; the fastest of each counts.
        let mut pairs = Vec::with_capacity(TRIALS);
        for _ in 0..TRIALS {
            pairs.push((measure(key)?, measure(copy)?));
        }
        Ok::<_, Error>(pairs.iter().map(|pair| pair.1).min() < pairs.iter().map(|pair| pair.0).min())
    };
    let faster = compare().unwrap_or(false);
    session.destroy_object(copy).map_err(failed)?;
    Ok(faster)
}

/// A copy of `key` that lives as long as `session` and cannot leave either; `None` where the
/// device refuses to make one, or makes one that could.
pub(super) fn copy_into_session(session: &Pkcs11Session, key: ObjectHandle) -> Result<Option<ObjectHandle>, Error> {
    let Ok(copy) = session.copy_object(key, &[Attribute::Token(false)]) else {
        return Ok(None);
    };
    if keys::cannot_leave(session, copy)? {
        return Ok(Some(copy));
    }
    session.destroy_object(copy).map_err(failed)?;
    Ok(None)
}
