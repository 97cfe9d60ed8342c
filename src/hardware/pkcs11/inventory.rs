//! The keys of a token as they are known now, which all of its sessions share.

use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::{ArcSwap, Guard};
use cryptoki::context::Pkcs11;
use cryptoki::session::Session as Pkcs11Session;
use cryptoki::slot::Slot;

use super::calls::Calls;
use super::choice::{Key, Preference, SealingKey, SigningKey, Trial};
use super::generate::generate;
use super::keys::{Candidate, candidate, candidates, check_sealing, check_signing, labelled};
use super::{Pkcs11Settings, failed};
use crate::clock::Clock;
use crate::entropy::Entropy;
use crate::hardware::{self, DeviceKeys, Error, MOST_KEYS, Role};

/// How the token is called, and its keys.
pub(super) struct Inventory {
    pub(super) context: Pkcs11,
    pub(super) slot: Slot,
    pub(super) calls: Calls,
    pub(super) settings: Pkcs11Settings,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) entropy: Arc<dyn Entropy>,
    /// Replaced as a whole, so that who uses a key waits for nobody.
    keys: ArcSwap<Keys>,
    /// Held by who adds keys.
    adding: Mutex<()>,
}

/// The keys of a token, in the order of their `kid`.
#[derive(Clone, Default)]
pub(super) struct Keys {
    pub(super) signing: Vec<Arc<SigningKey>>,
    pub(super) sealing: Vec<Arc<SealingKey>>,
}

impl Keys {
    pub(super) fn told(&self) -> DeviceKeys {
        DeviceKeys {
            signing: self.signing.iter().map(|key| *key.kind.public_key()).collect(),
            sealing: self.sealing.iter().map(|key| hardware::SealingKey::Direct(key.kid.clone())).collect(),
        }
    }
}

impl Inventory {
    /// Without any keys yet.
    pub(super) fn new(
        (context, slot): (Pkcs11, Slot),
        calls: Calls,
        settings: Pkcs11Settings,
        clock: Arc<dyn Clock>,
        entropy: Arc<dyn Entropy>,
    ) -> Self {
        let keys = ArcSwap::default();
        Self { context, slot, calls, settings, clock, entropy, keys, adding: Mutex::new(()) }
    }

    pub(super) fn keys(&self) -> Guard<Arc<Keys>> {
        self.keys.load()
    }

    /// Finds all keys of the token, checks and tries those that are new, and forgets those that are gone. Where
    /// one is refused, all stays as it was.
    pub(super) fn look(&self, session: &Pkcs11Session) -> Result<(), Error> {
        let _alone = self.adding.lock().unwrap_or_else(PoisonError::into_inner);
        let known = self.keys.load_full();
        let signing = self.refreshed(session, Role::Signing, &known.signing, Self::signing_key)?;
        let sealing = self.refreshed(session, Role::Sealing, &known.sealing, Self::sealing_key)?;
        self.keys.store(Arc::new(Keys { signing, sealing }));
        Ok(())
    }

    /// Generates one more key of `role`. It is destroyed again where it is not what was asked for.
    pub(super) fn generate(&self, role: Role) -> Result<(), Error> {
        let _alone = self.adding.lock().unwrap_or_else(PoisonError::into_inner);
        let session = self.context.open_rw_session(self.slot).map_err(failed)?;
        // Counted in the token, because others may add keys too.
        if labelled(&session, role, self.settings.label(role))?.len() >= MOST_KEYS {
            return Err(Error::KeysFull { role: role.name(), most: MOST_KEYS });
        }
        let made = generate(&session, role, &self.settings, self.entropy.as_ref())?;
        let added = candidate(&session, role, made.handle).and_then(|object| self.add(&session, role, object));
        if added.is_err() {
            made.destroy(&session);
        }
        added
    }

    fn add(&self, session: &Pkcs11Session, role: Role, object: Candidate) -> Result<(), Error> {
        let mut keys = Keys::clone(&self.keys.load());
        match role {
            Role::Signing => {
                keys.signing.push(self.signing_key(session, object, preference(&keys.signing))?);
                keys.signing = in_order(keys.signing, role)?;
            }
            Role::Sealing => {
                keys.sealing.push(self.sealing_key(session, object, preference(&keys.sealing))?);
                keys.sealing = in_order(keys.sealing, role)?;
            }
        }
        self.keys.store(Arc::new(keys));
        Ok(())
    }

    fn refreshed<Kind>(
        &self,
        session: &Pkcs11Session,
        role: Role,
        known: &[Arc<Key<Kind>>],
        usable: impl Fn(&Self, &Pkcs11Session, Candidate, Preference) -> Result<Arc<Key<Kind>>, Error>,
    ) -> Result<Vec<Arc<Key<Kind>>>, Error> {
        let mut keys = Vec::new();
        for object in candidates(session, role, &self.settings)? {
            keys.push(match known.iter().find(|key| key.is(&object)) {
                Some(key) => Arc::clone(key),
                None => usable(self, session, object, preference(if keys.is_empty() { known } else { &keys }))?,
            });
        }
        in_order(keys, role)
    }

    fn signing_key(
        &self,
        session: &Pkcs11Session,
        object: Candidate,
        preference: Preference,
    ) -> Result<Arc<SigningKey>, Error> {
        let public = check_signing(session, &object, self.settings.provenance)?;
        self.trial(session).signing_key(object, public, preference).map(Arc::new)
    }

    fn sealing_key(
        &self,
        session: &Pkcs11Session,
        object: Candidate,
        preference: Preference,
    ) -> Result<Arc<SealingKey>, Error> {
        let kid = check_sealing(session, &object, self.settings.provenance)?;
        self.trial(session).sealing_key(object, kid, preference).map(Arc::new)
    }

    fn trial<'a>(&'a self, session: &'a Pkcs11Session) -> Trial<'a> {
        Trial { session, calls: &self.calls, clock: self.clock.as_ref(), entropy: self.entropy.as_ref() }
    }
}

/// What the first of the keys was found to prefer: measuring each would make a slow device slow to open.
fn preference<Kind>(keys: &[Arc<Key<Kind>>]) -> Preference {
    keys.first().map_or(Preference::Unknown, |key| key.preference())
}

/// By `kid`, so that nothing depends on the token's order. Two of one name are refused.
fn in_order<Kind>(mut keys: Vec<Arc<Key<Kind>>>, role: Role) -> Result<Vec<Arc<Key<Kind>>>, Error> {
    keys.sort_by(|one, other| one.kid.cmp(&other.kid));
    match keys.windows(2).find(|pair| pair[0].kid == pair[1].kid) {
        Some(pair) => {
            let what = format!("{} keys that are {}", role.name(), pair[0].kid);
            Err(Error::KeyAmbiguous { what, count: keys.iter().filter(|key| key.kid == pair[0].kid).count() })
        }
        None => Ok(keys),
    }
}
