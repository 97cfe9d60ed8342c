//! Opening a store: its file made, locked, migrated, and its connections.

use std::fs::{File, Metadata, OpenOptions, TryLockError};
use std::io::ErrorKind;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::{Connection, OpenFlags};

use super::fault;
use crate::store::Error;

/// How often, and how far apart, the lock for a migration is tried.
const LOCK_ATTEMPTS: u32 = 100;
const LOCK_PAUSE: Duration = Duration::from_millis(50);

/// How long a step waits for another process that is writing.
pub(super) const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

mod schema {
    refinery::embed_migrations!("src/store/sqlite/migrations");
}

/// The connections of an open store.
pub(super) struct Connections {
    pub(super) writing: Connection,
    pub(super) reading: Connection,
}

/// Opens the store at `path`, which is made, readable by its owner only, where there is none.
pub(super) fn open(path: &Path) -> Result<Connections, Error> {
    let failed = |reason: String| Error::Open { path: path.display().to_string(), reason };
    refuse_to_make_for_another(path).map_err(&failed)?;
    // Let go when it is open.
    let _lock = lock_for_migration(path).map_err(|error| failed(format!("{error}; {}", after_io_error(&error))))?;
    connections(path)
}

/// Opens the store at `path`, which must be there, as the only one: nobody else has it open, nor can open it as long as
/// the lock is held.
pub(super) fn open_alone(path: &Path) -> Result<(Connections, File), Error> {
    let failed = |reason: String| Error::Open { path: path.display().to_string(), reason };
    if !path.exists() {
        return Err(failed("there is none".to_owned()));
    }
    // Without the lock nobody opens the store, so after the trial nobody has it.
    let lock = lock_for_migration(path).map_err(|error| failed(format!("{error}; {}", after_io_error(&error))))?;
    refuse_company(path).map_err(|error| failed(format!("{error}; end the mint that uses it")))?;
    Ok((connections(path)?, lock))
}

fn connections(path: &Path) -> Result<Connections, Error> {
    let failed = |reason: String| Error::Open { path: path.display().to_string(), reason };
    let told = |error: rusqlite::Error| failed(fault::told(&error));
    let mut writing = connect(path).map_err(told)?;
    schema::migrations::runner().run(&mut writing).map_err(|error| failed(fault::told(&error)))?;
    let reading = connect(path).map_err(told)?;
    reading.pragma_update(None, "query_only", true).map_err(told)?;
    Ok(Connections { writing, reading })
}

/// A store that somebody else's process made would be closed to the mint that it is for.
fn refuse_to_make_for_another(path: &Path) -> Result<(), String> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let is_ours = |metadata: Metadata| metadata.uid() == nix::unistd::geteuid().as_raw();
    match std::fs::metadata(folder).map(is_ours) {
        Ok(false) if !path.exists() => {
            Err("there is none yet, and its folder belongs to another user; start the mint as that user first"
                .to_owned())
        }
        // What is wrong with the folder itself shows in the next step.
        Ok(_) | Err(_) => Ok(()),
    }
}

/// What to do where the file cannot be made or opened.
fn after_io_error(error: &std::io::Error) -> &'static str {
    match error.kind() {
        ErrorKind::ReadOnlyFilesystem => {
            "mount its disk for writing; where the kernel made it read-only by itself, have it checked first"
        }
        ErrorKind::StorageFull => "make room on its disk",
        _ => "the folder must exist and be writable by the user that runs the mint",
    }
}

/// Two processes that open a new store at once must not both migrate it.
fn lock_for_migration(path: &Path) -> std::io::Result<File> {
    let mut lock_path = path.as_os_str().to_owned();
    lock_path.push(".lock");
    let lock = private(&PathBuf::from(lock_path))?;
    for attempt in 0.. {
        match lock.try_lock() {
            Ok(()) => break,
            Err(TryLockError::Error(error)) => return Err(error),
            Err(TryLockError::WouldBlock) if attempt < LOCK_ATTEMPTS => std::thread::sleep(LOCK_PAUSE),
            Err(TryLockError::WouldBlock) => {
                let message = "another process holds its .lock file and does not let go";
                return Err(std::io::Error::new(ErrorKind::TimedOut, message));
            }
        }
    }
    // SQLite gives its journal the permissions of the database, so those are set first.
    private(path)?;
    Ok(lock)
}

/// Fails where another connection has the store at `path` open: in WAL mode each of them holds a lock on it.
fn refuse_company(path: &Path) -> rusqlite::Result<()> {
    let connection = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
    connection.busy_timeout(Duration::ZERO)?;
    connection.pragma_update(None, "locking_mode", "EXCLUSIVE")?;
    connection.execute_batch("BEGIN EXCLUSIVE; ROLLBACK")
}

fn private(path: &Path) -> std::io::Result<File> {
    OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(path)
}

fn connect(path: &Path) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    // With WAL, FULL is what makes a commit survive a loss of power (sqlite.org/pragma.html).
    connection.pragma_update(None, "synchronous", "FULL")?;
    Ok(connection)
}
