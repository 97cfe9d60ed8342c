//! Keys that stay in the TPM, at a persistent handle: making them so, finding them again, ending them.
//!
//! A file names the key before the TPM keeps it, and until the TPM has dropped it. So what is cut short in between
//! leaves a file called `….handle.unfinished`, whose key nobody has used or will use, and the next who makes, destroys
//! or opens keys ends both.

use std::collections::BTreeSet;
use std::path::Path;

use tss_esapi::constants::CapabilityType;
use tss_esapi::handles::{KeyHandle, ObjectHandle, PersistentTpmHandle, TpmHandle};
use tss_esapi::interface_types::dynamic_handles::Persistent;
use tss_esapi::interface_types::resource_handles::Provision;
use tss_esapi::structures::{Auth, CapabilityData, Name, Public};

use super::TpmSettings;
use super::connection::{Connection, OpenKey, Refused, has_no_memory, is_absent};
use super::folder::{self, Lock, refused};
use super::handle_file::{HandleFile, HandleRange, PersistentHandle};
use super::keys::{check, kid_of};
use crate::hardware::{Error, Fault, Provenance, Role};
use crate::jose::jwk::P256PublicKey;

const EVICT: &str = "TPM2_EvictControl";
const READ_PUBLIC: &str = "TPM2_ReadPublic";

/// How many handles are asked for at once.
const HANDLES_AT_ONCE: u32 = 64;

/// A key that was found at its handle, and what the TPM says of it.
pub(super) struct FoundKey {
    pub(super) public: P256PublicKey,
    /// The digest of its public area (TPM 2.0 Part 1 §16).
    pub(super) name: Name,
}

/// The key that `file` names, unless [`check`] refuses it, or another key or none is there.
pub(super) fn look_up(
    connection: &mut Connection,
    role: Role,
    (path, file): (&Path, &HandleFile),
    provenance: Provenance,
) -> Result<FoundKey, Error> {
    let found = at(connection, file.handle, |connection, key| {
        let (public, name) = public_of(connection, key)?;
        is_the_one(&public, file).map_err(|reason| refused(path, reason))?;
        let public = check(&public, role, &path.display().to_string(), provenance)?;
        Ok(FoundKey { public, name })
    });
    found?.ok_or_else(|| {
        let handle = file.handle;
        refused(path, format!("the TPM has no key at {handle}; it was evicted, or the TPM cleared since: remove the file and run `mintkeep keys init` for a new one"))
    })
}

/// Has `act` use the key that [`look_up`] has found, which takes one of the TPM's places only while a command runs.
///
/// Another key may have been put at the handle. Where the session binds names, the TPM refuses that one itself, so the
/// handle is looked up once, and again where a command failed, to say whether it is that. Elsewhere it is looked up
/// each time.
///
/// # Errors
/// [`Fault::KeyGone`] where the key is not there any more.
pub(super) fn with_key<Value>(
    connection: &mut Connection,
    (file, name): (&HandleFile, &Name),
    authorization: &Auth,
    act: impl FnOnce(&mut Connection, KeyHandle) -> Result<Value, Error>,
) -> Result<Value, Error> {
    let open = connection.open_keys.iter().find(|open| (open.handle, &open.name) == (file.handle, name));
    let key = match open.map(|open| open.key) {
        Some(key) => key,
        None => open_anew(connection, (file, name), authorization)?,
    };
    let outcome = act(connection, key);
    if !connection.binds_names() {
        close_all(connection, |open| open.handle == file.handle)?;
        return outcome;
    }
    match outcome {
        Err(error) if error.fault() != Some(Fault::DeviceGone) => {
            open_anew(connection, (file, name), authorization)?;
            Err(error)
        }
        outcome => outcome,
    }
}

/// Looks a key up again that [`look_up`] has found.
///
/// # Errors
/// As [`with_key`].
pub(super) fn look_again(
    connection: &mut Connection,
    (file, name): (&HandleFile, &Name),
    authorization: &Auth,
) -> Result<(), Error> {
    close_all(connection, |open| open.handle == file.handle)?;
    with_key(connection, (file, name), authorization, |_, _| Ok(()))
}

/// Opens the key of this name, which is then among those that stay open.
fn open_anew(
    connection: &mut Connection,
    (file, name): (&HandleFile, &Name),
    authorization: &Auth,
) -> Result<KeyHandle, Error> {
    let handle = file.handle;
    let gone = |what| Error::Lost {
        fault: Fault::KeyGone,
        call: READ_PUBLIC.to_owned(),
        reason: format!("the TPM has {what} at {handle}"),
    };
    let key = find(connection, handle)?.ok_or_else(|| gone("no key"))?;
    let found = connection.call_without_session("Esys_TR_GetName", |context| context.tr_get_name(key.into()));
    let is_same = found.and_then(|found| if found == *name { Ok(()) } else { Err(gone("another key")) });
    if let Err(error) = is_same.and_then(|()| connection.authorize(key, authorization)) {
        close(connection, key)?;
        return Err(error);
    }
    connection.open_keys.push(OpenKey { handle, name: name.clone(), key });
    Ok(key)
}

/// Closes the keys that are to stay open no longer.
pub(super) fn close_all(connection: &mut Connection, do_close: impl Fn(&OpenKey) -> bool) -> Result<(), Error> {
    while let Some(index) = connection.open_keys.iter().position(&do_close) {
        let open = connection.open_keys.remove(index);
        close(connection, open.key)?;
    }
    Ok(())
}

/// A handle that is free, and nobody else's for as long as this is there.
pub(super) struct Reserved {
    _lock: Lock,
    handle: PersistentHandle,
}

impl Reserved {
    /// The first handle of `range` that neither the TPM nor a file has.
    pub(super) fn take(
        connection: &mut Connection,
        settings: &TpmSettings,
        range: HandleRange,
        role: Role,
    ) -> Result<Self, Error> {
        let lock = Lock::take(settings)?;
        finish_all(connection, settings)?;
        let taken = &taken(connection)? | &folder::named_handles(settings)?;
        let handle = range.handles().find(|handle| !taken.contains(handle));
        let handle = handle.ok_or_else(|| full(role, format!("no handle of {range} is free; destroy keys that are retired, evict those that no file names (`tpm2_getcap handles-persistent`), or widen hardware.{}.persistent_handles", settings.name)))?;
        Ok(Self { _lock: lock, handle })
    }

    /// Has the TPM keep `key`, which is loaded, and writes the file `path`.
    pub(super) fn keep(
        self,
        connection: &mut Connection,
        role: Role,
        key: KeyHandle,
        kid: String,
        path: &Path,
    ) -> Result<HandleFile, Error> {
        let file = HandleFile { handle: self.handle, kid: Some(kid) };
        let unfinished = folder::unfinished(path);
        file.write(&unfinished)?;
        let kept = keep_at(connection, role, key, self.handle).and_then(|()| folder::rename(&unfinished, path));
        if let Err(error) = kept {
            // What cannot be ended now is ended by the next.
            let _ = finish(connection, &unfinished);
            return Err(error);
        }
        Ok(file)
    }
}

/// Ends the key that the file `path` names, and the file. It is no key any more from the first step on.
pub(super) fn destroy(connection: &mut Connection, settings: &TpmSettings, path: &Path) -> Result<(), Error> {
    let _lock = Lock::take(settings)?;
    finish_all(connection, settings)?;
    let unfinished = folder::unfinished(path);
    folder::rename(path, &unfinished)?;
    finish(connection, &unfinished)
}

/// Ends what was cut short, and warns of keys that no file names.
pub(super) fn tidy(connection: &mut Connection, settings: &TpmSettings) -> Result<(), Error> {
    if !folder::unfinished_files(settings)?.is_empty() {
        let _lock = Lock::take(settings)?;
        finish_all(connection, settings)?;
    }
    let Some(range) = settings.persistent_handles else { return Ok(()) };
    let (taken, named) = (taken(connection)?, folder::named_handles(settings)?);
    let unnamed = taken.difference(&named).filter(|handle| range.contains(**handle));
    let unnamed: Vec<String> = unnamed.map(ToString::to_string).collect();
    if !unnamed.is_empty() {
        tracing::warn!(
            handles = unnamed.join(" "),
            "the TPM has keys at handles of persistent_handles that no file in the folder `keys` names; evict those that are nobody's with `tpm2_evictcontrol -C o -c HANDLE`"
        );
    }
    Ok(())
}

/// Ends all that was cut short. Whoever does so holds the lock. What cannot be ended is in nobody's way.
fn finish_all(connection: &mut Connection, settings: &TpmSettings) -> Result<(), Error> {
    for path in folder::unfinished_files(settings)? {
        if let Err(error) = finish(connection, &path) {
            tracing::warn!(%error, "a persistent key that was half-way made or destroyed is still there");
        }
    }
    Ok(())
}

/// Has the TPM drop the key that an unfinished file names, where that is what is there, and removes the file.
fn finish(connection: &mut Connection, unfinished: &Path) -> Result<(), Error> {
    let file = HandleFile::read(unfinished)?;
    if let Some(key) = find(connection, file.handle)? {
        match public_of(connection, key).map(|(public, _)| is_the_one(&public, &file)) {
            Ok(Ok(())) => {
                let evicted = evict(connection, key, file.handle);
                // Some releases of libtss2 have closed it by now, others have not.
                let _ = close(connection, key);
                evicted?;
            }
            Ok(Err(reason)) => {
                tracing::warn!(path = %unfinished.display(), reason, "leaving a persistent key alone");
                close(connection, key)?;
            }
            Err(error) => {
                close(connection, key)?;
                return Err(error);
            }
        }
    }
    folder::remove(unfinished)
}

/// Has the TPM keep `key` at `handle`, where nothing is.
fn keep_at(connection: &mut Connection, role: Role, key: KeyHandle, handle: PersistentHandle) -> Result<(), Error> {
    // Somebody else may have evicted one of ours.
    close_all(connection, |open| open.handle == handle)?;
    let kept = evict(connection, key, handle)?;
    let kept = kept.ok_or_else(|| full(role, "the TPM has no memory left for another persistent key (TPM_RC_NV_SPACE); destroy keys that are retired, or leave persistent_handles out for keys in files".to_owned()))?;
    close(connection, kept.into())
}

/// `TPM2_EvictControl`: a loaded key is kept at `handle`, the key that is at `handle` is dropped. `None` where the TPM
/// has no memory left.
fn evict(connection: &mut Connection, key: KeyHandle, handle: PersistentHandle) -> Result<Option<ObjectHandle>, Error> {
    let mut is_without_memory = false;
    let kept = connection.call_with_empty(EVICT, |context| {
        let kept = context.evict_control(Provision::Owner, key.into(), Persistent::Persistent(of_tpm(handle)));
        is_without_memory = kept.as_ref().is_err_and(|error| has_no_memory(*error));
        kept
    });
    if is_without_memory {
        return Ok(None);
    }
    kept?.map(Some).map_err(|Refused| Error::OwnerRefused)
}

fn full(role: Role, reason: String) -> Error {
    Error::HandlesFull { role: role.name(), reason }
}

/// Has `act` use what is at `handle`. `None` where nothing is there.
fn at<Value>(
    connection: &mut Connection,
    handle: PersistentHandle,
    act: impl FnOnce(&mut Connection, KeyHandle) -> Result<Value, Error>,
) -> Result<Option<Value>, Error> {
    let Some(key) = find(connection, handle)? else { return Ok(None) };
    let outcome = act(connection, key);
    close(connection, key)?;
    outcome.map(Some)
}

/// Asks the TPM what is at `handle`, which is no longer open by then.
fn find(connection: &mut Connection, handle: PersistentHandle) -> Result<Option<KeyHandle>, Error> {
    close_all(connection, |open| open.handle == handle)?;
    let mut is_nothing = false;
    let found = connection.call_without_session(READ_PUBLIC, |context| {
        let found = context.tr_from_tpm_public(TpmHandle::Persistent(of_tpm(handle)));
        is_nothing = found.as_ref().is_err_and(|error| is_absent(*error));
        found
    });
    if is_nothing { Ok(None) } else { found.map(|found| Some(found.into())) }
}

/// Ends what [`find`] found, on our side of the connection: libtss2 refuses another key at a handle that it knows.
fn close(connection: &mut Connection, key: KeyHandle) -> Result<(), Error> {
    connection.call_without_session("Esys_TR_Close", |context| context.tr_close(&mut key.into()))
}

fn public_of(connection: &mut Connection, key: KeyHandle) -> Result<(Public, Name), Error> {
    let read = connection.call_without_session(READ_PUBLIC, |context| context.read_public(key))?;
    Ok((read.0, read.1))
}

/// Whether `public` is of the key that `file` names; what to say where it is not.
fn is_the_one(public: &Public, file: &HandleFile) -> Result<(), String> {
    let handle = file.handle;
    match (&file.kid, kid_of(public)) {
        (Some(expected), Some(found)) if *expected == found => Ok(()),
        (_, None) => Err(format!("what the TPM has at {handle} is no P-256 key")),
        (Some(expected), Some(found)) => Err(format!(
            "the TPM has the key {found} at {handle}, expected {expected}; the one that was there is gone, and another one is not used in its place"
        )),
        (None, Some(found)) => Err(format!(
            "its second line is missing, expected the kid of the key at {handle}; the TPM has {found} there: write that, if it is the key that you put there"
        )),
    }
}

/// The owner's persistent handles at which the TPM has something.
fn taken(connection: &mut Connection) -> Result<BTreeSet<PersistentHandle>, Error> {
    let mut handles = BTreeSet::new();
    let mut from = PersistentHandle::FIRST.number();
    loop {
        let (found, has_more) = connection.call_without_session("TPM2_GetCapability", |context| {
            context.get_capability(CapabilityType::Handles, from, HANDLES_AT_ONCE)
        })?;
        let CapabilityData::Handles(found) = found else { return Ok(handles) };
        let numbers: Vec<u32> = found.into_inner().into_iter().map(u32::from).collect();
        handles.extend(numbers.iter().filter_map(|number| PersistentHandle::new(*number)));
        match numbers.last() {
            Some(last) if has_more => from = last.saturating_add(1),
            _ => return Ok(handles),
        }
    }
}

fn of_tpm(handle: PersistentHandle) -> PersistentTpmHandle {
    PersistentTpmHandle::new(handle.number()).expect("a persistent handle of the owner is a persistent one")
}
