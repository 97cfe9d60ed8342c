//! A TPM 2.0 as a [`Device`]. Its keys are kept outside of it, wrapped by it, in files that only it can use, and are
//! loaded where they are used; or they stay in it at persistent handles, which files name. tss-esapi is named here and
//! below, and nowhere else.

mod attest;
mod connection;
mod folder;
mod generate;
mod handle_file;
mod key_file;
mod keys;
mod operations;
mod persistent;
mod places;
mod session;

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;
use tss_esapi::structures::Auth;

use self::connection::Connection;
use self::folder::Kept;
pub use self::handle_file::HandleRange;
use self::session::{OpenSession, needed_files};
use super::{Device, DeviceKeys, Error, Generated, ProfileKeys, Provenance, Role, Session};
use crate::entropy::Entropy;
use crate::secret_source::SecretSource;

/// The most that an authorization value may have: the digest of the keys' name algorithm, SHA-256
/// (TPM 2.0 Part 1 §17.6.4.2).
const MAX_AUTHORIZATION_BYTES: usize = 32;

/// How to reach a TPM, and which keys of it are mintkeep's.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct TpmSettings {
    /// The device's name in the configuration, for messages.
    pub name: String,
    /// How libtss2 reaches it, such as `device:/dev/tpmrm0`.
    pub tcti: String,
    /// The folder of the key files.
    pub keys: PathBuf,
    /// Where the authorization value of the keys is.
    pub authorization: SecretSource,
    /// How the authorization value is proven.
    pub protection: Protection,
    /// Where new keys are made persistent; without it they are kept in files.
    pub persistent_handles: Option<HandleRange>,
    /// The name of the signing key's file, without `.pem` or `.handle`.
    pub signing_label: String,
    /// The name of the sealing key's file, without `.pem` or `.handle`.
    pub sealing_label: String,
    /// What the names of the files of keys for front-ends begin with; `:NAME.KID.pem` or `:NAME.KID.handle` follows.
    pub delegated_label: String,
    /// The signing profiles whose keys are used.
    pub profiles: Vec<ProfileKeys>,
    /// Which past of a key is accepted.
    pub provenance: Provenance,
}

/// What somebody who listens on the TPM's bus learns.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Protection {
    /// All of it, the authorization value too: for a TPM inside the processor.
    Plain,
    /// Nothing secret: a salted session proves the authorization value and encrypts the first parameter
    /// (TPM 2.0 Part 1 §19.6, §21). For a chip of its own.
    Encrypted,
}

impl TpmSettings {
    /// What the name of each file of a key of `role` begins with.
    pub fn label(&self, role: Role) -> String {
        match role {
            Role::Signing => self.signing_label.clone(),
            Role::Sealing => self.sealing_label.clone(),
            // No name of a key has a colon.
            Role::Delegated(name) => format!("{}:{}", self.delegated_label, name.as_str().replace('/', ":")),
        }
    }

    /// The file of the first key of `role`, which `keys init` makes.
    fn first_path(&self, role: Role, kid: &str) -> PathBuf {
        match role {
            Role::Signing | Role::Sealing => self.only_path(role),
            Role::Delegated(_) => self.further_path(role, kid),
        }
    }

    /// The file of a key of `role`, one that is not for front-ends, while there is one.
    fn only_path(&self, role: Role) -> PathBuf {
        self.keys.join(format!("{}{}", self.label(role), self.ending()))
    }

    /// The file of a later key of `role`.
    fn further_path(&self, role: Role, kid: &str) -> PathBuf {
        self.keys.join(format!("{}.{kid}{}", self.label(role), self.ending()))
    }

    /// How the files of new keys end.
    fn ending(&self) -> &'static str {
        if self.persistent_handles.is_some() { folder::PERSISTENT } else { folder::WRAPPED }
    }

    fn read_authorization(&self) -> Result<Auth, Error> {
        let unavailable =
            |reason: String| Error::AuthorizationUnavailable { origin: self.authorization.to_string(), reason };
        let secret = self.authorization.read().map_err(|error| unavailable(error.to_string()))?;
        let bytes = secrecy::ExposeSecret::expose_secret(&secret).as_bytes();
        if bytes.len() > MAX_AUTHORIZATION_BYTES {
            let length = bytes.len();
            return Err(unavailable(format!("it has {length} bytes, expected at the most {MAX_AUTHORIZATION_BYTES}")));
        }
        Auth::try_from(bytes).map_err(|error| unavailable(error.to_string()))
    }
}

/// An open TPM. It does one thing at a time, so there is one session.
pub struct TpmDevice {
    description: String,
    keys: Arc<ArcSwap<DeviceKeys>>,
    session: Mutex<Option<Box<OpenSession>>>,
}

impl TpmDevice {
    /// Reaches the TPM, loads the keys, checks them, and has each make one operation, the signature being
    /// verified. A refused authorization value is not tried again.
    ///
    /// # Errors
    /// [`Error`] names what is missing or refused.
    pub fn open(settings: &TpmSettings, entropy: &Arc<dyn Entropy>) -> Result<Self, Error> {
        for role in [Role::Signing, Role::Sealing] {
            needed_files(settings, role)?;
        }
        let authorization = settings.read_authorization()?;
        let mut connection = Connection::open(settings, settings.protection)?;
        let description = connection.description();
        let keys = Arc::new(ArcSwap::default());
        let session = OpenSession::open(connection, settings, authorization, Arc::clone(entropy), Arc::clone(&keys))?;
        Ok(Self { description, keys, session: Mutex::new(Some(Box::new(session))) })
    }

    /// Generates the keys of `settings` whose files are not there, and then opens it as [`Self::open`].
    ///
    /// # Errors
    /// As [`Self::open`]; a key that is there and unacceptable is refused and not replaced.
    pub fn open_with_new_keys(settings: &TpmSettings, entropy: &Arc<dyn Entropy>) -> Result<(Self, Generated), Error> {
        let generated = generate::generate_missing(settings, entropy.as_ref())?;
        Ok((Self::open(settings, entropy)?, generated))
    }

    /// Destroys the key `kid`, by removing the file without which the TPM does not have it; keepers that use it go
    /// on until they look again. A persistent key is evicted from the TPM, which ends its use at once.
    ///
    /// # Errors
    /// [`Error::UnknownKey`] where there is none; or what the disk or the TPM answered.
    pub fn destroy_key(settings: &TpmSettings, kid: &str) -> Result<(), Error> {
        let mut found = Vec::new();
        for role in [Role::Signing, Role::Sealing] {
            found.extend(folder::files(settings, role)?);
        }
        found.extend(folder::delegated_files(settings)?.into_iter().map(|(_, path)| path));
        // A file that is no key has no name to be called by.
        let read = found.into_iter().filter_map(|path| Kept::read(&path).ok().map(|kept| (path, kept)));
        let found: Vec<_> = read.filter(|(_, kept)| kept.claimed_kid().is_some_and(|claimed| claimed == kid)).collect();
        if found.is_empty() {
            return Err(Error::UnknownKey(kid.to_owned()));
        }
        found.iter().try_for_each(|(path, kept)| match kept {
            Kept::Wrapped(_) => folder::remove(path),
            Kept::Persistent(_) => {
                persistent::destroy(&mut Connection::open(settings, settings.protection)?, settings, path)
            }
        })
    }
}

impl Device for TpmDevice {
    fn description(&self) -> &str {
        &self.description
    }

    fn keys(&self) -> DeviceKeys {
        DeviceKeys::clone(&self.keys.load())
    }

    fn open_session(&self) -> Result<Box<dyn Session>, Error> {
        let session = self.session.lock().unwrap_or_else(PoisonError::into_inner).take();
        let taken = || Error::Call {
            call: "opening a session".to_owned(),
            reason: "a TPM has one, and it is taken".to_owned(),
        };
        session.map(|session| session as Box<dyn Session>).ok_or_else(taken)
    }

    fn close(self: Box<Self>) {
        // The session, wherever it is, flushes what it loaded when it is dropped.
    }
}
