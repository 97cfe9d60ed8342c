//! One session of a token, and the objects of the keys in it.

use std::sync::Arc;

use arc_swap::Guard;
use cryptoki::object::ObjectHandle;
use cryptoki::session::Session as Pkcs11Session;

use super::attest;
use super::choice::{Key, Sealing};
use super::failed;
use super::gcm::At;
use super::inventory::{Inventory, Keys};
use super::operations::sign;
use crate::clock::Timestamp;
use crate::hardware::attestation::{Attestation, Nonce};
use crate::hardware::{DeviceKeys, Error, PinnedPublicKey, Role, Sealed, Session};
use crate::jose::ecdh_es::SharedSecret;
use crate::jose::jwe::NONCE_BYTES;
use crate::jose::jwk::P256PublicKey;
use crate::jose::jws::Signature;

/// One session, and what it uses of each key.
pub(super) struct OpenSession {
    session: Pkcs11Session,
    inventory: Arc<Inventory>,
    /// The keys that this session knows of.
    keys: Arc<Keys>,
    signing: Objects<PinnedPublicKey>,
    sealing: Objects<Sealing>,
}

impl OpenSession {
    /// A new session of the token, in which every key of the mint's own is ready. Front-ends may have many keys, of
    /// which a session copies those that it uses.
    pub(super) fn open(inventory: &Arc<Inventory>) -> Result<Self, Error> {
        let session = inventory.context.open_ro_session(inventory.slot).map_err(failed)?;
        let keys = Guard::into_inner(inventory.keys());
        let (mut signing, mut sealing) = (Objects::default(), Objects::default());
        for key in &keys.signing {
            signing.of(&session, key)?;
        }
        for key in &keys.sealing {
            sealing.of(&session, key)?;
        }
        Ok(Self { session, inventory: Arc::clone(inventory), keys, signing, sealing })
    }

    /// The key `kid`, and where it is in this session.
    fn sealing_key(&mut self, kid: &str) -> Result<(&Sealing, At<'_>), Error> {
        self.catch_up();
        let key = named(self.keys.sealing.iter(), kid)?;
        let object = self.sealing.of(&self.session, key)?;
        Ok((&key.kind, At { session: &self.session, calls: &self.inventory.calls, key: object }))
    }

    /// Takes over what other sessions found out about the keys.
    fn catch_up(&mut self) {
        let now = self.inventory.keys();
        if !Arc::ptr_eq(&now, &self.keys) {
            self.keys = Guard::into_inner(now);
            self.signing.keep(&self.session, || self.keys.signers());
            self.sealing.keep(&self.session, || self.keys.sealing.iter());
        }
    }
}

/// The objects that a session uses of the keys of one role.
struct Objects<Kind>(Vec<(Arc<Key<Kind>>, ObjectHandle)>);

impl<Kind> Default for Objects<Kind> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<Kind> Objects<Kind> {
    /// The object of `key`, made at its first use.
    fn of(&mut self, session: &Pkcs11Session, key: &Arc<Key<Kind>>) -> Result<ObjectHandle, Error> {
        if let Some((_, object)) = self.0.iter().find(|(known, _)| Arc::ptr_eq(known, key)) {
            return Ok(*object);
        }
        let object = key.object_for(session)?;
        self.0.push((Arc::clone(key), object));
        Ok(object)
    }

    /// Destroys the copies of keys that are not among `keys` any more.
    fn keep<'a, Keys>(&mut self, session: &Pkcs11Session, keys: impl Fn() -> Keys)
    where
        Kind: 'a,
        Keys: Iterator<Item = &'a Arc<Key<Kind>>>,
    {
        self.0.retain(|(known, object)| {
            let is_there = keys().any(|key| Arc::ptr_eq(key, known));
            if !is_there && *object != known.object.handle {
                // It cannot be used any more in any case.
                let _ = session.destroy_object(*object);
            }
            is_there
        });
    }
}

fn named<'a, Kind>(mut keys: impl Iterator<Item = &'a Arc<Key<Kind>>>, kid: &str) -> Result<&'a Arc<Key<Kind>>, Error> {
    keys.find(|key| key.kid == kid).ok_or_else(|| Error::UnknownKey(kid.to_owned()))
}

impl Session for OpenSession {
    fn sign(&mut self, kid: &str, digest: &[u8; 32]) -> Result<Signature, Error> {
        self.catch_up();
        let key = self.signing.of(&self.session, named(self.keys.signers(), kid)?)?;
        sign(&self.session, &self.inventory.calls, key, digest)
    }

    fn encrypt(&mut self, kid: &str, nonce: &[u8; NONCE_BYTES], aad: &[u8], plaintext: &[u8]) -> Result<Sealed, Error> {
        match self.sealing_key(kid)? {
            (Sealing::Gcm(gcm), at) => gcm.seal(at, nonce, aad, plaintext),
            // Whoever seals needs only the public half.
            (Sealing::Agreement(_), _) => Err(Error::UnknownKey(kid.to_owned())),
        }
    }

    fn decrypt(
        &mut self,
        kid: &str,
        nonce: &[u8; NONCE_BYTES],
        aad: &[u8],
        ciphertext_and_tag: &[u8],
    ) -> Result<Vec<u8>, Error> {
        match self.sealing_key(kid)? {
            (Sealing::Gcm(gcm), at) => gcm.open(at, nonce, aad, ciphertext_and_tag),
            (Sealing::Agreement(_), _) => Err(Error::UnknownKey(kid.to_owned())),
        }
    }

    fn agree(&mut self, kid: &str, epk: &P256PublicKey) -> Result<SharedSecret, Error> {
        // Not left to the module: one that agrees with a point off the curve gives its key away bit by bit.
        if !epk.is_on_curve() {
            return Err(Error::NotAuthentic);
        }
        match self.sealing_key(kid)? {
            (Sealing::Gcm(_), _) => Err(Error::UnknownKey(kid.to_owned())),
            (Sealing::Agreement(agreement), at) => agreement.agree(at.session, at.key, epk),
        }
    }

    fn generate(&mut self, role: Role) -> Result<(), Error> {
        self.inventory.generate(role)
    }

    fn destroy(&mut self, kid: &str) -> Result<(), Error> {
        self.inventory.destroy_created(kid)
    }

    fn attest(&mut self, kid: &str, nonce: &Nonce, now: Timestamp) -> Result<Attestation, Error> {
        let Inventory { context, calls, .. } = self.inventory.as_ref();
        attest::attest(context, &self.session, calls, &self.inventory.keys().told(), kid, (nonce, now))
    }

    fn look_again(&mut self) -> Result<(), Error> {
        self.inventory.look(&self.session)
    }

    fn keys(&self) -> DeviceKeys {
        self.inventory.keys().told()
    }
}
