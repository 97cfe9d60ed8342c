//! The one session of a TPM: its keys, and those of them that are loaded.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use arc_swap::ArcSwap;
use tss_esapi::handles::KeyHandle;
use tss_esapi::structures::{Auth, Name};
use tss_esapi::utils::TpmsContext;

use super::connection::{Connection, OpenKey};
use super::folder::{self, Kept, delegated_files, files, refused};
use super::handle_file::HandleFile;
use super::key_file::KeyFile;
use super::persistent::{self, Reserved};
use super::places::Places;
use super::{TpmSettings, attest, generate, keys, operations};
use crate::clock::Timestamp;
use crate::entropy::Entropy;
use crate::hardware::attestation::{Attestation, Nonce};
use crate::hardware::{
    DelegatedKey, DeviceKeys, Error, MOST_CREATED_KEYS, MOST_KEYS, Role, Sealed, SealingKey, Session,
};
use crate::jose::ecdh_es::SharedSecret;
use crate::jose::jwe::NONCE_BYTES;
use crate::jose::jwk::P256PublicKey;
use crate::jose::jws::Signature;

/// What was loaded is flushed when it is dropped.
pub(super) struct OpenSession {
    connection: Connection,
    settings: TpmSettings,
    authorization: Auth,
    entropy: Arc<dyn Entropy>,
    signing: Vec<Arc<TpmKey>>,
    sealing: Vec<Arc<TpmKey>>,
    delegated: Vec<Arc<TpmKey>>,
    places: Places,
    told: Arc<ArcSwap<DeviceKeys>>,
}

/// A key that was checked and tried.
struct TpmKey {
    role: Role,
    kid: String,
    public: P256PublicKey,
    path: PathBuf,
    place: Place,
}

/// Where a key is when it is used.
enum Place {
    /// Among [`Places`], loaded from what was saved of it.
    Loaded { file: KeyFile, saved: TpmsContext },
    /// Where it always is.
    Persistent { file: HandleFile, name: Name },
}

impl TpmKey {
    /// Whether this is the key that `kept`, at `path`, is of.
    fn is(&self, path: &Path, kept: &Kept) -> bool {
        let is_same = match (&self.place, kept) {
            (Place::Loaded { file, .. }, Kept::Wrapped(kept)) => file == kept,
            (Place::Persistent { file, .. }, Kept::Persistent(kept)) => file == kept,
            (Place::Loaded { .. } | Place::Persistent { .. }, _) => false,
        };
        is_same && self.path == path
    }
}

impl OpenSession {
    /// Loads all keys, checks and tries them. `told` is what is found.
    pub(super) fn open(
        connection: Connection,
        settings: &TpmSettings,
        authorization: Auth,
        entropy: Arc<dyn Entropy>,
        told: Arc<ArcSwap<DeviceKeys>>,
    ) -> Result<Self, Error> {
        let mut session = Self {
            connection,
            settings: settings.clone(),
            authorization,
            entropy,
            signing: Vec::new(),
            sealing: Vec::new(),
            delegated: Vec::new(),
            places: Places::default(),
            told,
        };
        persistent::tidy(&mut session.connection, &session.settings)?;
        session.look_again()?;
        Ok(session)
    }

    /// All keys that sign, or all that seal.
    fn that_sign(&self, do_sign: bool) -> impl Iterator<Item = &Arc<TpmKey>> {
        let signers = self.signing.iter().chain(&self.delegated).filter(move |_| do_sign);
        signers.chain(self.sealing.iter().filter(move |_| !do_sign))
    }

    /// Has `act` use the key `kid`, one that signs, or one that seals.
    fn with_key<Value>(
        &mut self,
        does_sign: bool,
        kid: &str,
        mut act: impl FnMut(&mut Connection, KeyHandle) -> Result<Value, Error>,
    ) -> Result<Value, Error> {
        let key = self.that_sign(does_sign).find(|key| key.kid == kid).cloned();
        let key = key.ok_or_else(|| Error::UnknownKey(kid.to_owned()))?;
        let Self { connection, places, authorization, .. } = self;
        match &key.place {
            Place::Loaded { saved, .. } => {
                let handle = places.handle(connection, kid, saved, authorization)?;
                act(connection, handle)
            }
            Place::Persistent { file, name } => places.in_passing(connection, |connection| {
                persistent::with_key(connection, (file, name), authorization, &mut act)
            }),
        }
    }

    /// The keys whose files are there now. Those that are new are checked and tried.
    fn refreshed(&mut self, files: Vec<(Role, PathBuf)>) -> Result<Vec<Arc<TpmKey>>, Error> {
        let mut keys = Vec::new();
        for (role, path) in files {
            let kept = Kept::read(&path)?;
            let known = self.that_sign(role.signs()).find(|key| key.is(&path, &kept)).cloned();
            keys.push(match (known, kept) {
                (Some(key), _) => self.still_there(key)?,
                (None, Kept::Wrapped(file)) => self.loaded(role, path, file)?,
                (None, Kept::Persistent(file)) => self.found(role, path, file)?,
            });
        }
        in_order(keys)
    }

    fn refresh(&mut self) -> Result<(), Error> {
        let needed =
            |role| Ok::<_, Error>(needed_files(&self.settings, role)?.into_iter().map(|path| (role, path)).collect());
        let (signing, sealing) = (needed(Role::Signing)?, needed(Role::Sealing)?);
        let delegated = delegated_files(&self.settings)?.into_iter();
        let delegated =
            delegated.filter(|(name, _)| self.settings.profiles.iter().any(|profile| profile.include(name)));
        let delegated = delegated.map(|(name, path)| (Role::Delegated(name), path)).collect();
        let (signing, sealing) = (self.refreshed(signing)?, self.refreshed(sealing)?);
        let delegated = self.refreshed(delegated)?;
        in_order([&signing[..], &delegated].concat())?;
        (self.signing, self.sealing, self.delegated) = (signing, sealing, delegated);
        self.tell()
    }

    /// A key that is known, whose file has not changed.
    fn still_there(&mut self, key: Arc<TpmKey>) -> Result<Arc<TpmKey>, Error> {
        let Self { connection, places, authorization, .. } = self;
        if let Place::Persistent { file, name } = &key.place {
            places
                .in_passing(connection, |connection| persistent::look_again(connection, (file, name), authorization))?;
        }
        Ok(key)
    }

    /// Finds a persistent key, checks and tries it.
    fn found(&mut self, role: Role, path: PathBuf, file: HandleFile) -> Result<Arc<TpmKey>, Error> {
        let Self { connection, settings, authorization, entropy, places, .. } = self;
        let found = places.in_passing(connection, |connection| {
            persistent::look_up(connection, role, (&path, &file), settings.provenance)
        })?;
        let (public, name) = (found.public, found.name);
        places.in_passing(connection, |connection| {
            persistent::with_key(connection, (&file, &name), authorization, |connection, key| {
                operations::try_out(connection, role, key, &public, entropy.as_ref())
            })
        })?;
        Ok(Arc::new(TpmKey { role, kid: public.kid(), public, path, place: Place::Persistent { file, name } }))
    }

    /// Loads a key, checks and tries it. The storage key, which that needs, is left for the next one.
    fn loaded(&mut self, role: Role, path: PathBuf, file: KeyFile) -> Result<Arc<TpmKey>, Error> {
        let Self { connection, settings, authorization, entropy, places, .. } = self;
        places.keep(connection, 1)?;
        connection.make_primary()?;
        let loaded = places.take(connection, |connection| {
            keys::load(connection, role, (&path, &file), settings.provenance, authorization)
        })?;
        let kid = loaded.public.kid();
        places.put(kid.clone(), loaded.handle);
        let tried = operations::try_out(connection, role, loaded.handle, &loaded.public, entropy.as_ref());
        match tried.and_then(|()| connection.save(loaded.handle)) {
            Ok(saved) => {
                let place = Place::Loaded { file, saved };
                Ok(Arc::new(TpmKey { role, kid, public: loaded.public, path, place }))
            }
            Err(error) => {
                // Where it cannot be flushed either, the first error is the one to tell.
                let _ = places.retain(connection, |placed| placed != kid);
                Err(error)
            }
        }
    }

    /// Tells what the keys are now, and flushes or closes those that are none any more.
    fn tell(&mut self) -> Result<(), Error> {
        let delegated = self.delegated.iter().filter_map(|key| match key.role {
            Role::Delegated(name) => Some(DelegatedKey { name, public_key: key.public }),
            Role::Signing | Role::Sealing => None,
        });
        self.told.store(Arc::new(DeviceKeys {
            signing: self.signing.iter().map(|key| key.public).collect(),
            sealing: self.sealing.iter().map(|key| SealingKey::EcdhEs(key.public)).collect(),
            delegated: delegated.collect(),
        }));
        let all = [&self.signing[..], &self.sealing[..], &self.delegated[..]].concat();
        self.places.retain(&mut self.connection, |kid| all.iter().any(|key| key.kid == kid))?;
        let is_open =
            |open: &OpenKey, key: &TpmKey| matches!(&key.place, Place::Persistent { name, .. } if *name == open.name);
        persistent::close_all(&mut self.connection, |open| !all.iter().any(|key| is_open(open, key)))
    }

    /// Generates a key, and has its file written when it is known to be good.
    fn generate_key(&mut self, role: Role) -> Result<(), Error> {
        let Self { connection, settings, .. } = self;
        let range = settings.persistent_handles;
        let reserved = range.map(|range| Reserved::take(connection, settings, range, role)).transpose()?;
        // The storage key and the new one need two of three.
        self.places.keep(&mut self.connection, 1)?;
        self.connection.make_primary()?;
        let authorization = &self.authorization;
        let file = self.connection.encrypted(|connection| generate::create(connection, role, authorization))?;
        let kid = keys::claimed_kid(&file).ok_or_else(generate::not_p256)?;
        let path = self.settings.further_path(role, &kid);
        let key = match reserved {
            None => {
                let key = self.loaded(role, path.clone(), file.clone())?;
                file.write(&path)?;
                key
            }
            Some(reserved) => self.kept(reserved, role, path, file)?,
        };
        let keys = match role {
            Role::Signing => &mut self.signing,
            Role::Sealing => &mut self.sealing,
            Role::Delegated(_) => &mut self.delegated,
        };
        *keys = in_order([&keys[..], &[key]].concat())?;
        self.tell()
    }

    /// Has the TPM keep a key that was generated, when it is known to be good.
    fn kept(&mut self, reserved: Reserved, role: Role, path: PathBuf, file: KeyFile) -> Result<Arc<TpmKey>, Error> {
        let key = self.loaded(role, path.clone(), file)?;
        self.connection.flush_primary()?;
        let kept = self
            .places
            .loaded(&key.kid)
            .ok_or_else(|| Error::UnknownKey(key.kid.clone()))
            .and_then(|handle| reserved.keep(&mut self.connection, role, handle, key.kid.clone(), &path));
        self.places.retain(&mut self.connection, |placed| placed != key.kid)?;
        self.found(role, path, kept?)
    }

    /// Refuses another key of `role` where there are as many as there may be. They are counted in the folder, because
    /// others may add keys too.
    fn refuse_more(&self, role: Role) -> Result<(), Error> {
        let is_full =
            |count, most| if count >= most { Err(Error::KeysFull { role: role.name(), most }) } else { Ok(()) };
        let Role::Delegated(name) = role else { return is_full(files(&self.settings, role)?.len(), MOST_KEYS) };
        let delegated = delegated_files(&self.settings)?;
        let of_name = delegated.iter().filter(|(known, _)| *known == name).count();
        if name.created_name().is_none() {
            return is_full(of_name, MOST_KEYS);
        }
        if of_name > 0 {
            return Err(Error::KeyTaken(name.as_str().into()));
        }
        is_full(delegated.iter().filter(|(known, _)| known.created_name().is_some()).count(), MOST_CREATED_KEYS)
    }
}

/// The files of the keys of `role`, of which there must be one.
pub(super) fn needed_files(settings: &TpmSettings, role: Role) -> Result<Vec<PathBuf>, Error> {
    let paths = files(settings, role)?;
    if paths.is_empty() {
        let reason = format!("the {} key is not there; run `mintkeep keys init` to generate it", role.name());
        return Err(refused(&settings.only_path(role), reason));
    }
    Ok(paths)
}

/// By `kid`. Two files of one key are refused.
fn in_order(mut keys: Vec<Arc<TpmKey>>) -> Result<Vec<Arc<TpmKey>>, Error> {
    keys.sort_by(|one, other| one.kid.cmp(&other.kid));
    match keys.windows(2).find(|pair| pair[0].kid == pair[1].kid) {
        Some(pair) => {
            let what = format!("files of the {} key {}", pair[0].role.name(), pair[0].kid);
            Err(Error::KeyAmbiguous { what, count: keys.iter().filter(|key| key.kid == pair[0].kid).count() })
        }
        None => Ok(keys),
    }
}

impl Session for OpenSession {
    fn sign(&mut self, kid: &str, digest: &[u8; 32]) -> Result<Signature, Error> {
        self.with_key(true, kid, |connection, key| operations::sign(connection, key, digest))
    }

    fn encrypt(&mut self, kid: &str, _: &[u8; NONCE_BYTES], _: &[u8], _: &[u8]) -> Result<Sealed, Error> {
        // A TPM has no AEAD: whoever seals needs only the public key.
        Err(Error::UnknownKey(kid.to_owned()))
    }

    fn decrypt(&mut self, kid: &str, _: &[u8; NONCE_BYTES], _: &[u8], _: &[u8]) -> Result<Vec<u8>, Error> {
        Err(Error::UnknownKey(kid.to_owned()))
    }

    fn agree(&mut self, kid: &str, epk: &P256PublicKey) -> Result<SharedSecret, Error> {
        // Not left to the TPM: one that agrees with a point off the curve gives its key away bit by bit.
        if !epk.is_on_curve() {
            return Err(Error::NotAuthentic);
        }
        self.with_key(false, kid, |connection, key| operations::agree(connection, key, epk))
    }

    fn generate(&mut self, role: Role) -> Result<(), Error> {
        self.refuse_more(role)?;
        let generated = self.generate_key(role);
        self.connection.flush_primary()?;
        generated
    }

    fn destroy(&mut self, kid: &str) -> Result<(), Error> {
        let is_created = |key: &TpmKey| matches!(key.role, Role::Delegated(name) if name.created_name().is_some());
        let position = self.delegated.iter().position(|key| key.kid == kid && is_created(key));
        let position = position.ok_or_else(|| Error::UnknownKey(kid.to_owned()))?;
        let key = Arc::clone(&self.delegated[position]);
        match &key.place {
            Place::Loaded { .. } => folder::remove(&key.path)?,
            Place::Persistent { .. } => {
                let Self { connection, settings, places, .. } = self;
                places.keep(connection, 1)?;
                persistent::destroy(connection, settings, &key.path)?;
            }
        }
        self.delegated.remove(position);
        self.tell()
    }

    fn attest(&mut self, kid: &str, nonce: &Nonce, now: Timestamp) -> Result<Attestation, Error> {
        let role = self.that_sign(true).chain(self.that_sign(false)).find(|key| key.kid == kid).map(|key| key.role);
        let role = role.ok_or_else(|| Error::UnknownKey(kid.to_owned()))?;
        // The attestation key takes a place too.
        self.places.retain(&mut self.connection, |placed| placed == kid)?;
        self.with_key(role.signs(), kid, |connection, key| attest::attest(connection, role, key, nonce, now))
    }

    fn look_again(&mut self) -> Result<(), Error> {
        let refreshed = self.refresh();
        self.connection.flush_primary()?;
        refreshed
    }

    fn keys(&self) -> DeviceKeys {
        DeviceKeys::clone(&self.told.load())
    }
}
