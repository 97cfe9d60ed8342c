//! A copy of a store, made while others use it.

use std::fs::OpenOptions;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use rusqlite::backup::{Backup, StepResult};
use rusqlite::{Connection, OpenFlags};

use super::open::BUSY_TIMEOUT;
use crate::store::Error;

/// Copies the store at `from`, as it is at one moment, into a new file at `to`, which only its owner can
/// read. The file appears when it is complete.
///
/// # Errors
/// [`Error::Open`] where `from` is no store, or `to` is there already or cannot be written.
pub fn back_up(from: &Path, to: &Path) -> Result<(), Error> {
    let failed = |path: &Path, reason: String| Error::Open { path: path.display().to_string(), reason };
    if to.exists() {
        return Err(failed(to, "it is there already; name a new file".to_owned()));
    }
    let mut draft = to.as_os_str().to_owned();
    draft.push(".part");
    let draft = Path::new(&draft);
    let copied = copy(from, draft).map_err(|reason| failed(from, reason));
    let moved = copied.and_then(|()| std::fs::rename(draft, to).map_err(|error| failed(to, error.to_string())));
    if moved.is_err() {
        let _ = std::fs::remove_file(draft);
    }
    moved
}

fn copy(from: &Path, draft: &Path) -> Result<(), String> {
    let _ = std::fs::remove_file(draft);
    OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(draft)
        .map_err(|error| format!("cannot write {}: {error}", draft.display()))?;
    let told = |error: rusqlite::Error| error.to_string();
    let source = Connection::open_with_flags(from, OpenFlags::SQLITE_OPEN_READ_WRITE).map_err(told)?;
    source.busy_timeout(BUSY_TIMEOUT).map_err(told)?;
    source.query_row("SELECT count(*) FROM probe", [], |_| Ok(())).map_err(told)?;
    let mut target = Connection::open(draft).map_err(told)?;
    let backup = Backup::new(&source, &mut target).map_err(told)?;
    // All at once: a copy in steps would begin anew whenever somebody wrote in between. In WAL mode a reader
    // holds no writer up.
    let outcome = backup.step(-1).map_err(told)?;
    drop(backup);
    if outcome != StepResult::Done {
        return Err("another process has locked it".to_owned());
    }
    target.close().map_err(|(_, error)| told(error))?;
    // What was copied is on the disk before its name says that it is complete.
    std::fs::File::open(draft).and_then(|file| file.sync_all()).map_err(|error| error.to_string())
}
