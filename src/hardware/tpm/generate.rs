//! Generating the keys in the TPM, and the authorization value that all of them need.

use std::fs::{self, DirBuilder};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::PathBuf;

use secrecy::zeroize::Zeroizing;
use tss_esapi::structures::Auth;
use tss_esapi::traits::Marshall as _;

use super::connection::Connection;
use super::folder::{Kept, delegated_files, files, refused, write};
use super::key_file::KeyFile;
use super::persistent::{self, Reserved};
use super::{Protection, TpmSettings, keys, operations};
use crate::entropy::Entropy;
use crate::hardware::{DelegatedKeys, Error, Generated, KeyName, Role};
use crate::jose::base64url;
use crate::secret_source::SecretSource;

/// Generates the keys whose files are missing. A run that fails half-way is taken up by the next one.
pub(super) fn generate_missing(settings: &TpmSettings, entropy: &dyn Entropy) -> Result<Generated, Error> {
    let (mut there, mut missing) = (Vec::new(), Vec::new());
    let delegated = delegated_files(settings)?;
    for role in own_roles(settings) {
        let paths = match role {
            Role::Signing | Role::Sealing => files(settings, role)?,
            Role::Delegated(name) => of_name(&delegated, name),
        };
        if paths.is_empty() {
            missing.push(role);
        }
        there.extend(paths.into_iter().map(|path| (role, path)));
    }
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(&settings.keys)
        .map_err(|error| refused(&settings.keys, error))?;
    if there.is_empty() {
        // Where there is a key, a new value would not fit it.
        make_authorization(settings, entropy)?;
    }
    let authorization = settings.read_authorization()?;
    // Always encrypted: this once the authorization value goes to the TPM as it is.
    let mut connection = Connection::open(settings, Protection::Encrypted)?;
    // What is there has to be good before anything is added beside it.
    for (role, path) in &there {
        match &Kept::read(path)? {
            Kept::Wrapped(file) => {
                let key = keys::load(&mut connection, *role, (path, file), settings.provenance, &authorization)?;
                connection.flush(key.handle)?;
            }
            Kept::Persistent(file) => {
                persistent::look_up(&mut connection, *role, (path, file), settings.provenance)?;
            }
        }
    }
    for role in &missing {
        generate_first(&mut connection, settings, *role, &authorization, entropy)?;
    }
    Ok(Generated(missing))
}

/// Generates the first key of `role`.
fn generate_first(
    connection: &mut Connection,
    settings: &TpmSettings,
    role: Role,
    authorization: &Auth,
    entropy: &dyn Entropy,
) -> Result<(), Error> {
    let Some(range) = settings.persistent_handles else {
        let file = create(connection, role, authorization)?;
        let kid = keys::claimed_kid(&file).ok_or_else(not_p256)?;
        return file.write(&settings.first_path(role, &kid));
    };
    let reserved = Reserved::take(connection, settings, range, role)?;
    let file = create(connection, role, authorization)?;
    let kid = keys::claimed_kid(&file).ok_or_else(not_p256)?;
    let path = settings.first_path(role, &kid);
    let loaded = keys::load(connection, role, (&path, &file), settings.provenance, authorization)?;
    // What the TPM keeps is known to be good.
    let tried = operations::try_out(connection, role, loaded.handle, &loaded.public, entropy);
    let kept = tried.and_then(|()| reserved.keep(connection, role, loaded.handle, kid, &path));
    connection.flush(loaded.handle)?;
    kept.map(drop)
}

/// The roles that have keys without anybody asking for one.
fn own_roles(settings: &TpmSettings) -> impl Iterator<Item = Role> {
    let profiles = settings.profiles.iter().filter(|one| one.keys == DelegatedKeys::One);
    [Role::Signing, Role::Sealing].into_iter().chain(profiles.map(|one| Role::Delegated(one.profile)))
}

/// Of the `files` of keys for front-ends, those of one key.
fn of_name(files: &[(KeyName, PathBuf)], name: KeyName) -> Vec<PathBuf> {
    files.iter().filter(|(known, _)| *known == name).map(|(_, path)| path.clone()).collect()
}

/// Of a TPM that makes what it was not asked for.
pub(super) fn not_p256() -> Error {
    Error::Call { call: "TPM2_Create".to_owned(), reason: "not a P-256 key".to_owned() }
}

/// A new key of `role`, which nobody has checked yet. The authorization value goes to the TPM as it is, so the
/// session has to be one that encrypts.
pub(super) fn create(connection: &mut Connection, role: Role, authorization: &Auth) -> Result<KeyFile, Error> {
    let primary = connection.primary();
    connection.call("TPM2_Create", |context| {
        let made = context.create(primary, role.template()?, Some(authorization.clone()), None, None, None)?;
        Ok(KeyFile { public: with_length(&made.out_public.marshall()?), private: with_length(&made.out_private) })
    })
}

/// 192 random bits in 32 characters, as many as a TPM takes, where the place for them is a file that is not
/// there yet. In another place the operator has put them.
fn make_authorization(settings: &TpmSettings, entropy: &dyn Entropy) -> Result<(), Error> {
    let SecretSource::File(path) = &settings.authorization else { return Ok(()) };
    if fs::exists(path).unwrap_or(true) {
        return Ok(());
    }
    let text = Zeroizing::new(base64url::encode(Zeroizing::new(entropy.bytes::<24>()).as_slice()));
    write(path, text.as_bytes())
}

/// `TPM2B_…`: the bytes after their number.
fn with_length(bytes: &[u8]) -> Vec<u8> {
    let length = u16::try_from(bytes.len()).expect("a key has some hundred bytes");
    [&length.to_be_bytes(), bytes].concat()
}
