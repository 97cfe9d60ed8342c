//! Generating the keys in the TPM, and the authorization value that all of them need.

use std::fs::{self, DirBuilder};
use std::os::unix::fs::DirBuilderExt as _;

use secrecy::zeroize::Zeroizing;
use tss_esapi::structures::Auth;
use tss_esapi::traits::Marshall as _;

use super::connection::Connection;
use super::key_file::{KeyFile, files, refused, write_private};
use super::keys;
use super::places::no_place;
use super::{Protection, TpmSettings};
use crate::entropy::Entropy;
use crate::hardware::{Error, Generated, Role};
use crate::jose::base64url;
use crate::secret_source::SecretSource;

/// Generates the keys whose files are missing. A run that fails half-way is taken up by the next one.
pub(super) fn generate_missing(settings: &TpmSettings, entropy: &dyn Entropy) -> Result<Generated, Error> {
    let there = [(Role::Signing, files(settings, Role::Signing)?), (Role::Sealing, files(settings, Role::Sealing)?)];
    let [has_signing, has_sealing] = [!there[0].1.is_empty(), !there[1].1.is_empty()];
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(&settings.keys)
        .map_err(|error| refused(&settings.keys, error))?;
    if !has_signing && !has_sealing {
        // Where there is a key, a new value would not fit it.
        make_authorization(settings, entropy)?;
    }
    let authorization = settings.read_authorization()?;
    // Always encrypted: this once the authorization value goes to the TPM as it is.
    let mut connection = Connection::open(settings, Protection::Encrypted)?;
    // What is there has to be good before anything is added beside it.
    for (role, path) in there.iter().flat_map(|(role, paths)| paths.iter().map(move |path| (*role, path))) {
        let file = KeyFile::read(path)?;
        let key = keys::load(&mut connection, role, (path, &file), settings.provenance, &authorization)?;
        connection.flush(key.ok_or_else(no_place)?.handle)?;
    }
    for (role, _) in there.iter().filter(|(_, paths)| paths.is_empty()) {
        create(&mut connection, *role, &authorization)?.write(&settings.first_path(*role))?;
    }
    Ok(Generated { signing: !has_signing, sealing: !has_sealing })
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
    write_private(path, text.as_bytes()).map_err(|error| refused(path, error))
}

/// `TPM2B_…`: the bytes after their number.
fn with_length(bytes: &[u8]) -> Vec<u8> {
    let length = u16::try_from(bytes.len()).expect("a key has some hundred bytes");
    [&length.to_be_bytes(), bytes].concat()
}
