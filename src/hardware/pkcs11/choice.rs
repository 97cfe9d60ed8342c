//! Which object of a key is used: the one in the token, or a copy in each session, whichever works
//! faster. And whether either works at all: a key whose trial fails is not used.

use cryptoki::object::{Attribute, ObjectHandle};
use cryptoki::session::Session as Pkcs11Session;

use super::agreement::Agreement;
use super::calls::Calls;
use super::failed;
use super::gcm::{At, Gcm};
use super::keys::{self, Candidate};
use super::operations::sign;
use crate::clock::Clock;
use crate::entropy::Entropy;
use crate::hardware::{Error, PinnedPublicKey};

/// Signatures of each kind that decide whether a session copy of a key is the faster one.
const TRIALS: usize = 12;

/// A key that may be used, and which of its objects is.
pub(super) struct Key<Kind> {
    pub(super) kid: String,
    pub(super) kind: Kind,
    /// What it is in the token.
    pub(super) object: Candidate,
    use_session_copy: bool,
}

/// A key that signs.
pub(super) type SigningKey = Key<PinnedPublicKey>;

/// A key that seals.
pub(super) type SealingKey = Key<Sealing>;

/// How refresh tokens are sealed to a key.
pub(super) enum Sealing {
    /// By the device.
    Gcm(Gcm),
    /// By everybody who knows its public half.
    Agreement(Agreement),
}

impl<Kind> Key<Kind> {
    /// Whether it is this very object, and for the same as before.
    pub(super) fn is(&self, object: &Candidate) -> bool {
        (self.object.role, self.object.handle, &self.object.id) == (object.role, object.handle, &object.id)
    }

    /// The object that `session` uses: the one in the token, or a new copy.
    pub(super) fn object_for(&self, session: &Pkcs11Session) -> Result<ObjectHandle, Error> {
        let copy = if self.use_session_copy { copy_into_session(session, self.object.handle)? } else { None };
        Ok(copy.unwrap_or(self.object.handle))
    }

    /// What trying keys of its role on this token came to, for the others.
    pub(super) fn preference(&self) -> Preference {
        match self.use_session_copy {
            true => Preference::Copy,
            false => Preference::Original,
        }
    }
}

/// Which object of a key is the faster one on this token.
#[derive(Clone, Copy, Eq, PartialEq)]
pub(super) enum Preference {
    /// It has to be found out.
    Unknown,
    Original,
    Copy,
}

/// How keys are tried.
pub(super) struct Trial<'a> {
    pub(super) session: &'a Pkcs11Session,
    pub(super) calls: &'a Calls,
    pub(super) clock: &'a dyn Clock,
    pub(super) entropy: &'a dyn Entropy,
}

impl Trial<'_> {
    /// Has the signing key sign, verifies it, and finds out whether a session copy signs faster.
    pub(super) fn signing_key(
        &self,
        object: Candidate,
        public: PinnedPublicKey,
        preference: Preference,
    ) -> Result<SigningKey, Error> {
        let message = b"mintkeep trial signature";
        let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, message);
        let digest: [u8; 32] = digest.as_ref().try_into().expect("SHA-256 gives 32 bytes");
        let trial = |handle| {
            let signature = sign(self.session, self.calls, handle, &digest)?;
            public.verifies(message, &signature).then_some(()).ok_or(Error::WrongSignature)
        };
        trial(object.handle)?;
        let operation = |handle| sign(self.session, self.calls, handle, &digest).map(drop);
        let use_session_copy = self.copy_is_faster(object.handle, preference, operation, trial)?;
        Ok(Key { kid: public.kid().to_owned(), kind: public, object, use_session_copy })
    }

    /// Finds a way in which the AES key seals and opens, and whether a session copy is faster.
    pub(super) fn secret_key(
        &self,
        object: Candidate,
        kid: String,
        preference: Preference,
    ) -> Result<SealingKey, Error> {
        let at = |key| At { session: self.session, calls: self.calls, key };
        let gcm = Gcm::probe(at(object.handle), self.entropy)?;
        tracing::info!(kid, mechanism = gcm.name(), "the sealing key works");
        let operation = |handle| gcm.try_out(at(handle), self.entropy);
        let use_session_copy = self.copy_is_faster(object.handle, preference, operation, operation)?;
        Ok(Key { kid, kind: Sealing::Gcm(gcm), object, use_session_copy })
    }

    /// Has the P-256 key open what is sealed to it, and finds out whether a session copy is faster.
    pub(super) fn agreement_key(
        &self,
        object: Candidate,
        public: &PinnedPublicKey,
        preference: Preference,
    ) -> Result<SealingKey, Error> {
        let agreement = Agreement::probe(self.session, object.handle, *public.public_key(), self.entropy)?;
        let kid = public.kid().to_owned();
        tracing::info!(kid, mechanism = "CKM_ECDH1_DERIVE", "the sealing key works");
        let operation = |handle| agreement.try_out(self.session, handle, self.entropy);
        let use_session_copy = self.copy_is_faster(object.handle, preference, operation, operation)?;
        Ok(Key { kid, kind: Sealing::Agreement(agreement), object, use_session_copy })
    }

    /// Whether the device allows a session copy of `key`, the copy works, and is the faster of the two:
    /// on SoftHSM2 a token object is locked and checked against its file at every use.
    fn copy_is_faster(
        &self,
        key: ObjectHandle,
        preference: Preference,
        operation: impl Fn(ObjectHandle) -> Result<(), Error>,
        trial: impl Fn(ObjectHandle) -> Result<(), Error>,
    ) -> Result<bool, Error> {
        if preference == Preference::Original {
            return Ok(false);
        }
        let Some(copy) = copy_into_session(self.session, key)? else {
            return Ok(false);
        };
        let measure = |handle| {
            let start = self.clock.instant();
            operation(handle).map(|()| self.clock.instant() - start)
        };
        let compare = || {
            trial(copy)?;
            if preference == Preference::Copy {
                return Ok(true);
            }
            // In turn, so that a slow moment of the machine falls on both; the fastest of each counts.
            let mut pairs = Vec::with_capacity(TRIALS);
            for _ in 0..TRIALS {
                pairs.push((measure(key)?, measure(copy)?));
            }
            Ok::<_, Error>(pairs.iter().map(|pair| pair.1).min() < pairs.iter().map(|pair| pair.0).min())
        };
        let faster = compare().unwrap_or(false);
        self.session.destroy_object(copy).map_err(failed)?;
        Ok(faster)
    }
}

/// A copy of `key` that lives as long as `session` and cannot leave either; `None` where the
/// device refuses to make one, or makes one that could.
fn copy_into_session(session: &Pkcs11Session, key: ObjectHandle) -> Result<Option<ObjectHandle>, Error> {
    let Ok(copy) = session.copy_object(key, &[Attribute::Token(false)]) else {
        return Ok(None);
    };
    if keys::cannot_leave(session, copy)? {
        return Ok(Some(copy));
    }
    session.destroy_object(copy).map_err(failed)?;
    Ok(None)
}
