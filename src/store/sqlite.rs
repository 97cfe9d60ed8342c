//! The embedded store: one SQLite file, its statements here, its threads in [`threads`].
//!
//! Writes go through one thread that commits many steps at once; reads have a thread of their own.

mod threads;

use std::fs::{File, OpenOptions};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::{Connection, OpenFlags, OptionalExtension as _, Row, named_params, params};

use self::threads::{Reader, Writer};
use super::{Error, Family, FamilyId, Redeemed, Redemption, Step, Store};
use crate::clock::Timestamp;

/// How long a step waits for another process that is writing.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

mod schema {
    refinery::embed_migrations!("src/store/sqlite/migrations");
}

/// A store in one file.
pub struct SqliteStore {
    writer: Writer,
    reader: Reader,
}

impl SqliteStore {
    /// Opens the store at `path`, and makes it, readable by its owner only, where there is none.
    ///
    /// # Errors
    /// [`Error::Open`] names the path and what to do.
    pub fn open(path: &Path) -> Result<Self, Error> {
        let failed = |reason: String| Error::Open { path: path.display().to_string(), reason };
        let _lock = lock_for_migration(path).map_err(|error| {
            failed(format!("{error}; the folder must exist and be writable by the user that runs the mint"))
        })?;
        let mut connection = connect(path).map_err(|error| failed(error.to_string()))?;
        schema::migrations::runner().run(&mut connection).map_err(|error| failed(error.to_string()))?;
        let reading = connect(path).map_err(|error| failed(error.to_string()))?;
        reading.pragma_update(None, "query_only", true).map_err(|error| failed(error.to_string()))?;
        Ok(Self {
            writer: Writer::start(connection).map_err(|error| failed(error.to_string()))?,
            reader: Reader::start(reading).map_err(|error| failed(error.to_string()))?,
        })
    }
}

impl Store for SqliteStore {
    fn begin_family(&self, family: Family) -> Step<'_, ()> {
        self.writer.step(move |connection| insert_family(connection, &family))
    }

    fn family(&self, fid: FamilyId) -> Step<'_, Option<Family>> {
        self.reader.step(move |connection| select_family(connection, fid))
    }

    fn redeem(&self, fid: FamilyId, redemption: Redemption) -> Step<'_, Option<Redeemed>> {
        self.writer.step(move |connection| {
            let Some(before) = select_family(connection, fid)? else {
                return Ok(None);
            };
            let mut family = before.clone();
            let redeemed = family.redeem(&redemption);
            if family != before {
                update_family(connection, &family)?;
            }
            Ok(Some(redeemed))
        })
    }

    fn prune(&self, now: Timestamp, limit: u32) -> Step<'_, usize> {
        self.writer.step(move |connection| {
            let mut statement = connection.prepare_cached(
                "DELETE FROM family WHERE fid IN (SELECT fid FROM family WHERE expires_at <= ?1 ORDER BY expires_at LIMIT ?2)",
            )?;
            statement.execute(params![now.unix_seconds(), limit])
        })
    }

    fn probe(&self) -> Step<'_, ()> {
        self.writer.step(|connection| {
            connection.prepare_cached("UPDATE probe SET count = count + 1 WHERE id = 1")?.execute([]).map(drop)
        })
    }
}

/// Two processes that open a new store at once must not both migrate it.
fn lock_for_migration(path: &Path) -> std::io::Result<File> {
    let mut lock_path = path.as_os_str().to_owned();
    lock_path.push(".lock");
    let lock = private(&PathBuf::from(lock_path))?;
    lock.lock()?;
    // SQLite gives its journal the permissions of the database, so those are set first.
    private(path)?;
    Ok(lock)
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

fn insert_family(connection: &Connection, family: &Family) -> rusqlite::Result<()> {
    let mut statement = connection.prepare_cached(
        "INSERT INTO family (fid, client_id, subject, scope, generation, current_used, superseded_at,
                             created_at, last_used_at, expires_at, revoked_at)
         VALUES (:fid, :client_id, :subject, :scope, :generation, :current_used, :superseded_at,
                 :created_at, :last_used_at, :expires_at, :revoked_at)",
    )?;
    statement.execute(named_params! {
        ":fid": family.fid.0,
        ":client_id": family.client_id,
        ":subject": family.subject,
        ":scope": family.scope,
        ":generation": family.generation,
        ":current_used": family.current_used,
        ":superseded_at": family.superseded_at.map(Timestamp::unix_seconds),
        ":created_at": family.created_at.unix_seconds(),
        ":last_used_at": family.last_used_at.unix_seconds(),
        ":expires_at": family.expires_at.unix_seconds(),
        ":revoked_at": family.revoked_at.map(Timestamp::unix_seconds),
    })?;
    Ok(())
}

/// Writes what a redemption may change.
fn update_family(connection: &Connection, family: &Family) -> rusqlite::Result<()> {
    let mut statement = connection.prepare_cached(
        "UPDATE family
            SET generation = :generation, current_used = :current_used, superseded_at = :superseded_at,
                last_used_at = :last_used_at, revoked_at = :revoked_at
          WHERE fid = :fid",
    )?;
    statement.execute(named_params! {
        ":fid": family.fid.0,
        ":generation": family.generation,
        ":current_used": family.current_used,
        ":superseded_at": family.superseded_at.map(Timestamp::unix_seconds),
        ":last_used_at": family.last_used_at.unix_seconds(),
        ":revoked_at": family.revoked_at.map(Timestamp::unix_seconds),
    })?;
    Ok(())
}

fn select_family(connection: &Connection, fid: FamilyId) -> rusqlite::Result<Option<Family>> {
    let mut statement = connection.prepare_cached(
        "SELECT client_id, subject, scope, generation, current_used, superseded_at,
                created_at, last_used_at, expires_at, revoked_at
           FROM family WHERE fid = ?1",
    )?;
    statement.query_row([fid.0], |row| family_of(fid, row)).optional()
}

fn family_of(fid: FamilyId, row: &Row<'_>) -> rusqlite::Result<Family> {
    let time = |index| row.get(index).map(Timestamp::from_unix_seconds);
    let time_or_none = |index| row.get::<_, Option<i64>>(index).map(|time| time.map(Timestamp::from_unix_seconds));
    Ok(Family {
        fid,
        client_id: row.get(0)?,
        subject: row.get(1)?,
        scope: row.get(2)?,
        generation: row.get(3)?,
        current_used: row.get(4)?,
        superseded_at: time_or_none(5)?,
        created_at: time(6)?,
        last_used_at: time(7)?,
        expires_at: time(8)?,
        revoked_at: time_or_none(9)?,
    })
}
