//! The folder of the keys: which files in it are keys of what, and how files come into it and leave it.

use std::collections::BTreeSet;
use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use nix::fcntl::{Flock, FlockArg};

use super::TpmSettings;
use super::handle_file::{HandleFile, PersistentHandle};
use super::key_file::KeyFile;
use super::keys;
use crate::hardware::{Error, KeyName, Role};
use crate::jose::base64url;

/// How the files of keys end: one that only the TPM can use, and the name of one that stays in it.
pub(super) const WRAPPED: &str = ".pem";
pub(super) const PERSISTENT: &str = ".handle";

/// What follows while a persistent key is half-way made or half-way destroyed.
const UNFINISHED: &str = ".unfinished";

/// Where a key is.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Kept {
    /// In the file, wrapped by the TPM.
    Wrapped(KeyFile),
    /// In the TPM, at a handle that the file names.
    Persistent(HandleFile),
}

impl Kept {
    pub(super) fn read(path: &Path) -> Result<Self, Error> {
        match is_persistent(path) {
            true => HandleFile::read(path).map(Self::Persistent),
            false => KeyFile::read(path).map(Self::Wrapped),
        }
    }

    /// The `kid` that the file says it is of; the TPM was not asked.
    pub(super) fn claimed_kid(&self) -> Option<String> {
        match self {
            Self::Wrapped(file) => keys::claimed_kid(file),
            Self::Persistent(file) => file.kid.clone(),
        }
    }
}

fn is_persistent(path: &Path) -> bool {
    path.as_os_str().as_encoded_bytes().ends_with(PERSISTENT.as_bytes())
}

/// The files of the keys of `role`: `LABEL.pem` and `LABEL.KID.pem`, or `.handle`. None where there are none.
pub(super) fn files(settings: &TpmSettings, role: Role) -> Result<Vec<PathBuf>, Error> {
    let label = settings.label(role);
    let names = names(settings)?.into_iter().filter(|name| is_key_of(name, &label));
    Ok(names.map(|name| settings.keys.join(name)).collect())
}

/// The files of all keys for front-ends: `LABEL:PROFILE.KID.pem` and `LABEL:PROFILE:NAME.KID.pem`, or `.handle`.
pub(super) fn delegated_files(settings: &TpmSettings) -> Result<Vec<(KeyName, PathBuf)>, Error> {
    let names = names(settings)?.into_iter();
    let delegated = names.filter_map(|file| Some((name_in(&file, &settings.delegated_label)?, file)));
    Ok(delegated.map(|(name, file)| (name, settings.keys.join(file))).collect())
}

/// The files of persistent keys that are half-way made or half-way destroyed. No key is used by such a name.
pub(super) fn unfinished_files(settings: &TpmSettings) -> Result<Vec<PathBuf>, Error> {
    let names = names(settings)?.into_iter();
    let unfinished = names.filter(|name| name.strip_suffix(UNFINISHED).is_some_and(|name| name.ends_with(PERSISTENT)));
    Ok(unfinished.map(|name| settings.keys.join(name)).collect())
}

/// The handles that any file in the folder names, whatever key it is of.
pub(super) fn named_handles(settings: &TpmSettings) -> Result<BTreeSet<PersistentHandle>, Error> {
    let names = names(settings)?.into_iter();
    let files = names.filter(|name| name.strip_suffix(UNFINISHED).unwrap_or(name).ends_with(PERSISTENT));
    // What names no handle has none.
    Ok(files.filter_map(|name| Some(HandleFile::read(&settings.keys.join(name)).ok()?.handle)).collect())
}

/// What the file `path` is called while its key is half-way made or half-way destroyed.
pub(super) fn unfinished(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(UNFINISHED);
    name.into()
}

/// Gives the file `from` the name `to`, which no file has. Whoever does so holds the lock.
pub(super) fn rename(from: &Path, to: &Path) -> Result<(), Error> {
    if to.try_exists().unwrap_or(true) {
        return Err(refused(to, "it is there already"));
    }
    fs::rename(from, to).and_then(|()| sync_folder(to)).map_err(|error| refused(from, error))
}

/// Of the folder, held while a persistent key is made or destroyed.
pub(super) struct Lock {
    _lock: Flock<File>,
}

impl Lock {
    /// Waits for others. Whoever has it waits for no TPM, because the TPM was reached before.
    pub(super) fn take(settings: &TpmSettings) -> Result<Self, Error> {
        let folder = &settings.keys;
        let file = File::open(folder).map_err(|error| refused(folder, error))?;
        let lock = Flock::lock(file, FlockArg::LockExclusive).map_err(|(_, errno)| refused(folder, errno))?;
        Ok(Self { _lock: lock })
    }
}

/// All names in the folder, in order: that of a folder is none.
fn names(settings: &TpmSettings) -> Result<Vec<String>, Error> {
    let folder = &settings.keys;
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(refused(folder, error)),
    };
    let mut names = Vec::new();
    for entry in entries {
        // What is not text is none of ours.
        names.extend(entry.map_err(|error| refused(folder, error))?.file_name().into_string());
    }
    names.sort();
    Ok(names)
}

fn is_key_of(name: &str, label: &str) -> bool {
    let Some(between) = stem(name).and_then(|stem| stem.strip_prefix(label)) else { return false };
    // A label may have dots of its own; no other label ends like a thumbprint.
    between.is_empty() || between.strip_prefix('.').is_some_and(is_kid)
}

/// The name of the key for front-ends that is kept in the file `file`, where that is one. Such a file is always called
/// by its `kid` too, because a name may end like one.
fn name_in(file: &str, label: &str) -> Option<KeyName> {
    let (name, kid) = stem(file)?.strip_prefix(label)?.strip_prefix(':')?.rsplit_once('.')?;
    if !is_kid(kid) {
        return None;
    }
    match name.split_once(':') {
        Some((profile, created)) => KeyName::created(profile, created).ok(),
        None => KeyName::parse(name).ok().filter(|name| name.created_name().is_none()),
    }
}

/// The name of a file of a key without what it ends by.
fn stem(name: &str) -> Option<&str> {
    [WRAPPED, PERSISTENT].into_iter().find_map(|ending| name.strip_suffix(ending))
}

pub(super) fn is_kid(text: &str) -> bool {
    base64url::decode_array::<32>(text).is_ok()
}

/// Writes `content` to `path`, where nothing must be yet, readable by its owner only.
pub(super) fn write(path: &Path, content: &[u8]) -> Result<(), Error> {
    write_private(path, content).map_err(|error| refused(path, error))
}

/// Writes a new file that only its owner can read. It has its name only when it is complete.
pub(super) fn write_private(path: &Path, content: &[u8]) -> std::io::Result<()> {
    let mut draft = path.as_os_str().to_owned();
    draft.push(".new");
    let _ = fs::remove_file(&draft);
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&draft)?;
    file.write_all(content)?;
    file.sync_all()?;
    // Unlike a rename this fails where somebody else was quicker.
    let linked = fs::hard_link(&draft, path);
    fs::remove_file(&draft)?;
    linked?;
    sync_folder(path)
}

/// Removes a key for good.
pub(super) fn remove(path: &Path) -> Result<(), Error> {
    fs::remove_file(path).and_then(|()| sync_folder(path)).map_err(|error| refused(path, error))
}

/// Without this a name, or that it is gone, may not outlive a power cut.
fn sync_folder(path: &Path) -> std::io::Result<()> {
    path.parent().map_or(Ok(()), |folder| File::open(folder)?.sync_all())
}

/// What is wrong with the file at `path`.
pub(super) fn refused(path: &Path, reason: impl std::fmt::Display) -> Error {
    Error::KeyFile { path: path.display().to_string(), reason: reason.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_files_of_a_label_are_its_own() {
        let kid = base64url::encode([7; 32]);
        for (name, is_one) in [
            ("a.b.pem".to_owned(), true),
            (format!("a.b.{kid}.pem"), true),
            (format!("a.{kid}.pem"), false),
            ("a.pem".to_owned(), false),
            ("a.b.c.pem".to_owned(), false),
            ("a.b.pem.new".to_owned(), false),
            ("a.b.handle".to_owned(), true),
            (format!("a.b.{kid}.handle"), true),
            ("a.b.handle.unfinished".to_owned(), false),
            (format!("a.b{kid}.pem"), false),
        ] {
            assert_eq!(is_key_of(&name, "a.b"), is_one, "{name}");
        }
    }

    #[test]
    fn the_name_of_a_key_for_front_ends_is_in_its_file() {
        let kid = base64url::encode([7; 32]);
        for (file, name) in [
            (format!("d:dex.{kid}.pem"), Some("dex")),
            (format!("d:spire:a.b.{kid}.pem"), Some("spire/a.b")),
            // A name that ends like a thumbprint is told apart by the one after it.
            (format!("d:dex.{kid}.{kid}.pem"), Some(&*format!("dex.{kid}"))),
            (format!("d:spire:a.b.{kid}.handle"), Some("spire/a.b")),
            (format!("d:dex.{kid}.handle.unfinished"), None),
            ("d:dex.pem".to_owned(), None),
            (format!("d:dex:a:b.{kid}.pem"), None),
            (format!("d:dex/a.{kid}.pem"), None),
            (format!("d:.{kid}.pem"), None),
            (format!("e:dex.{kid}.pem"), None),
        ] {
            assert_eq!(name_in(&file, "d").map(|name| name.to_string()).as_deref(), name, "{file}");
        }
    }
}
