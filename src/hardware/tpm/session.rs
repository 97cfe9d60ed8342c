//! The one session of a TPM: its keys, and those of them that are loaded.

use std::path::PathBuf;
use std::sync::Arc;

use arc_swap::ArcSwap;
use tss_esapi::handles::KeyHandle;
use tss_esapi::structures::Auth;
use tss_esapi::utils::TpmsContext;

use super::connection::Connection;
use super::key_file::{self, KeyFile, delegated_files, files, refused};
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
    file: KeyFile,
    saved: TpmsContext,
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
        session.look_again()?;
        Ok(session)
    }

    /// All keys that sign, or all that seal.
    fn that_sign(&self, do_sign: bool) -> impl Iterator<Item = &Arc<TpmKey>> {
        let signers = self.signing.iter().chain(&self.delegated).filter(move |_| do_sign);
        signers.chain(self.sealing.iter().filter(move |_| !do_sign))
    }

    /// The handle of the key `kid`, one that signs, or one that seals.
    fn handle(&mut self, does_sign: bool, kid: &str) -> Result<KeyHandle, Error> {
        let key = self.that_sign(does_sign).find(|key| key.kid == kid).cloned();
        let key = key.ok_or_else(|| Error::UnknownKey(kid.to_owned()))?;
        self.places.handle(&mut self.connection, kid, &key.saved, &self.authorization)
    }

    /// The keys whose files are there now. Those that are new are checked and tried.
    fn refreshed(&mut self, files: Vec<(Role, PathBuf)>) -> Result<Vec<Arc<TpmKey>>, Error> {
        let mut keys = Vec::new();
        for (role, path) in files {
            let file = KeyFile::read(&path)?;
            let known = self.that_sign(role.signs()).find(|key| key.path == path && key.file == file).cloned();
            keys.push(match known {
                Some(key) => key,
                None => self.usable(role, path, file)?,
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

    /// Loads a key, checks and tries it. The storage key, which that needs, is left for the next one.
    fn usable(&mut self, role: Role, path: PathBuf, file: KeyFile) -> Result<Arc<TpmKey>, Error> {
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
            Ok(saved) => Ok(Arc::new(TpmKey { role, kid, public: loaded.public, path, file, saved })),
            Err(error) => {
                // Where it cannot be flushed either, the first error is the one to tell.
                let _ = places.retain(connection, |placed| placed != kid);
                Err(error)
            }
        }
    }

    /// Tells what the keys are now, and flushes those that are none any more.
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
        self.places.retain(&mut self.connection, |kid| all.iter().any(|key| key.kid == kid))
    }

    /// Generates a key, and has its file written when it is known to be good.
    fn generate_key(&mut self, role: Role) -> Result<(), Error> {
        // The storage key and the new one need two of three.
        self.places.keep(&mut self.connection, 1)?;
        self.connection.make_primary()?;
        let authorization = &self.authorization;
        let file = self.connection.encrypted(|connection| generate::create(connection, role, authorization))?;
        let kid = keys::claimed_kid(&file).ok_or_else(generate::not_p256)?;
        let path = self.settings.further_path(role, &kid);
        let key = self.usable(role, path, file)?;
        key.file.write(&key.path)?;
        let keys = match role {
            Role::Signing => &mut self.signing,
            Role::Sealing => &mut self.sealing,
            Role::Delegated(_) => &mut self.delegated,
        };
        *keys = in_order([&keys[..], &[key]].concat())?;
        self.tell()
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
        let key = self.handle(true, kid)?;
        operations::sign(&mut self.connection, key, digest)
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
        let key = self.handle(false, kid)?;
        operations::agree(&mut self.connection, key, epk)
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
        key_file::remove(&self.delegated[position].path)?;
        self.delegated.remove(position);
        self.tell()
    }

    fn attest(&mut self, kid: &str, nonce: &Nonce, now: Timestamp) -> Result<Attestation, Error> {
        let role = self.that_sign(true).chain(self.that_sign(false)).find(|key| key.kid == kid).map(|key| key.role);
        let role = role.ok_or_else(|| Error::UnknownKey(kid.to_owned()))?;
        let key = self.handle(role.signs(), kid)?;
        // The attestation key takes a place too.
        self.places.keep(&mut self.connection, 1)?;
        attest::attest(&mut self.connection, role, key, nonce, now)
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
