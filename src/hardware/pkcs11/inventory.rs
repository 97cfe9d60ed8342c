//! The keys of a token as they are known now, which all of its sessions share.

use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::{ArcSwap, Guard};
use cryptoki::context::Pkcs11;
use cryptoki::error::{Error as Pkcs11Error, RvError};
use cryptoki::mechanism::MechanismType;
use cryptoki::session::Session as Pkcs11Session;
use cryptoki::slot::Slot;

use super::calls::Calls;
use super::choice::{Key, Preference, Sealing, SealingKey, SigningKey, Trial};
use super::destroy::destroy_pair;
use super::generate::generate;
use super::keys::{
    Candidate, Form, all_delegated, candidate, candidates, check_any, check_pair, check_secret, delegated_candidates,
    labelled,
};
use super::token::OpenToken;
use super::{Pkcs11Settings, failed, module_error};
use crate::clock::Clock;
use crate::entropy::Entropy;
use crate::hardware::{
    self, DelegatedKey, DelegatedKeys, DeviceKeys, Error, Generated, MOST_CREATED_KEYS, MOST_KEYS, Role,
};

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
    /// Of all names.
    pub(super) delegated: Vec<Arc<SigningKey>>,
}

impl Keys {
    pub(super) fn told(&self) -> DeviceKeys {
        DeviceKeys {
            signing: self.signing.iter().map(|key| *key.kind.public_key()).collect(),
            sealing: self.sealing.iter().map(|key| told(key)).collect(),
            delegated: self.delegated.iter().filter_map(|key| told_delegated(key)).collect(),
        }
    }

    /// All keys that sign.
    pub(super) fn signers(&self) -> impl Iterator<Item = &Arc<SigningKey>> {
        self.signing.iter().chain(&self.delegated)
    }
}

fn told(key: &SealingKey) -> hardware::SealingKey {
    match &key.kind {
        Sealing::Gcm(_) => hardware::SealingKey::Direct(key.kid.clone()),
        Sealing::Agreement(agreement) => hardware::SealingKey::EcdhEs(agreement.public),
    }
}

fn told_delegated(key: &SigningKey) -> Option<DelegatedKey> {
    match key.object.role {
        Role::Delegated(name) => Some(DelegatedKey { name, public_key: *key.kind.public_key() }),
        Role::Signing | Role::Sealing => None,
    }
}

impl Inventory {
    /// Of a token that was logged in to; without any keys yet.
    pub(super) fn of(
        token: &OpenToken,
        settings: &Pkcs11Settings,
        clock: &Arc<dyn Clock>,
        entropy: &Arc<dyn Entropy>,
    ) -> Result<Self, Error> {
        Ok(Self {
            context: token.context.clone(),
            slot: token.slot,
            calls: Calls::of_module(&settings.module).map_err(|reason| module_error(settings, reason))?,
            settings: settings.clone(),
            clock: Arc::clone(clock),
            entropy: Arc::clone(entropy),
            keys: ArcSwap::default(),
            adding: Mutex::new(()),
        })
    }

    pub(super) fn keys(&self) -> Guard<Arc<Keys>> {
        self.keys.load()
    }

    /// Finds all keys of the token, checks and tries those that are new, and forgets those that are gone. Where
    /// one is refused, all stays as it was.
    pub(super) fn look(&self, session: &Pkcs11Session) -> Result<(), Error> {
        let _alone = self.adding.lock().unwrap_or_else(PoisonError::into_inner);
        let known = self.keys.load_full();
        let found = |role| candidates(session, role, &self.settings);
        let signing = self.refreshed(session, found(Role::Signing)?, &known.signing, Self::signing_key)?;
        let sealing = self.refreshed(session, found(Role::Sealing)?, &known.sealing, Self::sealing_key)?;
        // Those that are there sign as the others do, so that one is tried for all.
        let signers = [&known.delegated[..], &signing].concat();
        let found = delegated_candidates(session, &self.settings)?;
        let delegated = self.refreshed(session, found, &signers, Self::signing_key)?;
        in_order([&signing[..], &delegated].concat(), "signing and delegated")?;
        self.keys.store(Arc::new(Keys { signing, sealing, delegated }));
        Ok(())
    }

    /// Generates the keys that are missing. A run that fails half-way is taken up by the next one.
    pub(super) fn generate_missing(&self, session: &Pkcs11Session) -> Result<Generated, Error> {
        let profiles = self.settings.profiles.iter().filter(|one| one.keys == DelegatedKeys::One);
        let roles = [Role::Signing, Role::Sealing].into_iter().chain(profiles.map(|one| Role::Delegated(one.profile)));
        let is_missing = |role| Ok::<_, Error>(labelled(session, role, &self.settings.label(role))?.is_empty());
        let (mut missing, mut there) = (Vec::new(), Vec::new());
        for role in roles {
            if is_missing(role)? { missing.push(role) } else { there.push(role) }
        }
        // What is there has to be good before anything is added beside it.
        for role in there {
            for key in candidates(session, role, &self.settings)? {
                check_any(session, &key, self.settings.provenance)?;
            }
        }
        for role in &missing {
            self.generate(*role)?;
        }
        Ok(Generated(missing))
    }

    /// Generates one more key of `role`. It is destroyed again where it is not what was asked for.
    pub(super) fn generate(&self, role: Role) -> Result<(), Error> {
        let _alone = self.adding.lock().unwrap_or_else(PoisonError::into_inner);
        let session = self.context.open_rw_session(self.slot).map_err(failed)?;
        self.refuse_more(&session, role)?;
        let mut refusal = None;
        for form in self.forms(role)? {
            match self.generate_form(&session, role, form) {
                Ok(()) => return Ok(()),
                // No other form would fare better.
                Err(error @ Error::Lost { .. }) => return Err(error),
                Err(error) => refusal = Some(error),
            }
        }
        Err(refusal.expect("there is a form"))
    }

    /// Refuses another key of `role` where there are as many as there may be. They are counted in the token, because
    /// others may add keys too.
    fn refuse_more(&self, session: &Pkcs11Session, role: Role) -> Result<(), Error> {
        let is_full =
            |count, most| if count >= most { Err(Error::KeysFull { role: role.name(), most }) } else { Ok(()) };
        match role {
            Role::Delegated(name) if name.created_name().is_some() => {
                let mut created = all_delegated(session, &self.settings)?;
                created.retain(|(known, ..)| known.created_name().is_some());
                if created.iter().any(|(known, ..)| *known == name) {
                    return Err(Error::KeyTaken(name.as_str().into()));
                }
                is_full(created.len(), MOST_CREATED_KEYS)
            }
            role => is_full(labelled(session, role, &self.settings.label(role))?.len(), MOST_KEYS),
        }
    }

    /// Destroys the key `kid`, which a front-end had made.
    pub(super) fn destroy_created(&self, kid: &str) -> Result<(), Error> {
        let _alone = self.adding.lock().unwrap_or_else(PoisonError::into_inner);
        let mut keys = Keys::clone(&self.keys.load());
        let is_created =
            |key: &SigningKey| matches!(key.object.role, Role::Delegated(name) if name.created_name().is_some());
        let position = keys.delegated.iter().position(|key| key.kid == kid && is_created(key));
        let key = keys.delegated.remove(position.ok_or_else(|| Error::UnknownKey(kid.to_owned()))?);
        let session = self.context.open_rw_session(self.slot).map_err(failed)?;
        destroy_pair(&session, &key.object)?;
        self.keys.store(Arc::new(keys));
        Ok(())
    }

    /// The forms of key that may be generated, the better one first.
    fn forms(&self, role: Role) -> Result<Vec<Form>, Error> {
        let mut forms = Form::of(role).to_vec();
        if role == Role::Sealing && !(self.has(MechanismType::AES_GCM)? && self.has(MechanismType::AES_KEY_GEN)?) {
            forms.retain(|form| *form != Form::Aes);
        }
        if self.keys.load().sealing.iter().any(|key| key.object.form == Form::Aes) {
            // It works here, so that it does not now is a fault that passes.
            forms.retain(|form| *form != Form::Ecdh);
        }
        Ok(forms)
    }

    fn has(&self, mechanism: MechanismType) -> Result<bool, Error> {
        match self.context.get_mechanism_info(self.slot, mechanism) {
            Ok(_) => Ok(true),
            Err(Pkcs11Error::Pkcs11(RvError::MechanismInvalid, _)) => Ok(false),
            Err(error) => Err(failed(error)),
        }
    }

    fn generate_form(&self, session: &Pkcs11Session, role: Role, form: Form) -> Result<(), Error> {
        let made = generate(session, form, &self.settings.label(role), self.entropy.as_ref())?;
        let added = candidate(session, role, form, made.handle).and_then(|object| self.add(session, role, object));
        if added.is_err() {
            made.destroy(session);
        }
        added
    }

    fn add(&self, session: &Pkcs11Session, role: Role, object: Candidate) -> Result<(), Error> {
        let mut keys = Keys::clone(&self.keys.load());
        match role {
            Role::Signing => {
                keys.signing.push(self.signing_key(session, object, preference(&keys.signing))?);
                keys.signing = in_order(keys.signing, role.name())?;
            }
            Role::Sealing => {
                keys.sealing.push(self.sealing_key(session, object, preference(&keys.sealing))?);
                keys.sealing = in_order(keys.sealing, role.name())?;
            }
            Role::Delegated(_) => {
                keys.delegated.push(self.signing_key(session, object, preference(&keys.signing))?);
                keys.delegated = in_order(keys.delegated, role.name())?;
            }
        }
        self.keys.store(Arc::new(keys));
        Ok(())
    }

    fn refreshed<Kind>(
        &self,
        session: &Pkcs11Session,
        found: Vec<Candidate>,
        known: &[Arc<Key<Kind>>],
        usable: impl Fn(&Self, &Pkcs11Session, Candidate, Preference) -> Result<Arc<Key<Kind>>, Error>,
    ) -> Result<Vec<Arc<Key<Kind>>>, Error> {
        let mut keys = Vec::new();
        let kind = found.first().map_or("", |object| object.role.name());
        for object in found {
            keys.push(match known.iter().find(|key| key.is(&object)) {
                Some(key) => Arc::clone(key),
                None => usable(self, session, object, preference(if keys.is_empty() { known } else { &keys }))?,
            });
        }
        in_order(keys, kind)
    }

    fn signing_key(
        &self,
        session: &Pkcs11Session,
        object: Candidate,
        preference: Preference,
    ) -> Result<Arc<SigningKey>, Error> {
        let public = check_pair(session, &object, self.settings.provenance)?;
        self.trial(session).signing_key(object, public, preference).map(Arc::new)
    }

    fn sealing_key(
        &self,
        session: &Pkcs11Session,
        object: Candidate,
        preference: Preference,
    ) -> Result<Arc<SealingKey>, Error> {
        let (trial, provenance) = (self.trial(session), self.settings.provenance);
        let key = match object.form {
            Form::Aes => {
                let kid = check_secret(session, &object, provenance)?;
                trial.secret_key(object, kid, preference)
            }
            Form::Ecdsa | Form::Ecdh => {
                let public = check_pair(session, &object, provenance)?;
                trial.agreement_key(object, &public, preference)
            }
        };
        key.map(Arc::new)
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
fn in_order<Kind>(mut keys: Vec<Arc<Key<Kind>>>, kind: &str) -> Result<Vec<Arc<Key<Kind>>>, Error> {
    keys.sort_by(|one, other| one.kid.cmp(&other.kid));
    match keys.windows(2).find(|pair| pair[0].kid == pair[1].kid) {
        Some(pair) => {
            let what = format!("{kind} keys that are {}", pair[0].kid);
            Err(Error::KeyAmbiguous { what, count: keys.iter().filter(|key| key.kid == pair[0].kid).count() })
        }
        None => Ok(keys),
    }
}
