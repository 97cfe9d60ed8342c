//! The embedded store: one SQLite file, its statements here, its threads in [`threads`].
//!
//! Writes go through one thread that commits many steps at once; reads have a thread of their own.

mod copy;
mod queue;
mod group_commit;
mod threads;

/// What synchronises the queue; `tests/loom.rs` puts loom's in the place of these.
mod sync {
    pub(super) use std::sync::{Arc, Condvar, Mutex, MutexGuard};
}

use std::fs::{File, Metadata, OpenOptions, TryLockError};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::types::Value;
use rusqlite::{Connection, OpenFlags, OptionalExtension as _, Row, named_params, params, params_from_iter};

pub use self::copy::back_up;
use self::threads::{Reader, Writer};
use super::{Error, Family, FamilyId, Page, Redeemed, Redemption, RevokedToken, Selection, Step, Store, TokenId};
use crate::clock::Timestamp;

/// How often, and how far apart, the lock for a migration is tried.
const LOCK_ATTEMPTS: u32 = 100;
const LOCK_PAUSE: Duration = Duration::from_millis(50);

/// How long a step waits for another process that is writing.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

mod schema {
    refinery::embed_migrations!("src/store/sqlite/migrations");
}

/// A store in one file.
pub struct SqliteStore {
    writer: Writer,
    reader: Reader,
    /// Held by who must be alone.
    _lock: Option<File>,
}

impl SqliteStore {
    /// Opens the store at `path`, and makes it, readable by its owner only, where there is none.
    ///
    /// # Errors
    /// [`Error::Open`] names the path and what to do.
    pub fn open(path: &Path) -> Result<Self, Error> {
        let failed = |reason: String| Error::Open { path: path.display().to_string(), reason };
        refuse_to_make_for_another(path).map_err(&failed)?;
        // Let go when it is open.
        let _lock = lock_for_migration(path).map_err(|error| {
            failed(format!("{error}; the folder must exist and be writable by the user that runs the mint"))
        })?;
        Self::open_locked(path)
    }

    /// Opens the store at `path`, which must be there, and keeps everybody else out for as long as it is open.
    ///
    /// # Errors
    /// [`Error::Open`], also where another process has it open.
    pub fn open_alone(path: &Path) -> Result<Self, Error> {
        let failed = |reason: String| Error::Open { path: path.display().to_string(), reason };
        if !path.exists() {
            return Err(failed("there is none".to_owned()));
        }
        // Without the lock nobody opens the store, so after the trial nobody has it.
        let lock = lock_for_migration(path).map_err(|error| failed(error.to_string()))?;
        refuse_company(path).map_err(|error| failed(format!("{error}; end the mint that uses it")))?;
        Ok(Self { _lock: Some(lock), ..Self::open_locked(path)? })
    }

    fn open_locked(path: &Path) -> Result<Self, Error> {
        let failed = |reason: String| Error::Open { path: path.display().to_string(), reason };
        let mut connection = connect(path).map_err(|error| failed(error.to_string()))?;
        schema::migrations::runner().run(&mut connection).map_err(|error| failed(error.to_string()))?;
        let reading = connect(path).map_err(|error| failed(error.to_string()))?;
        reading.pragma_update(None, "query_only", true).map_err(|error| failed(error.to_string()))?;
        Ok(Self {
            writer: Writer::start(connection).map_err(|error| failed(error.to_string()))?,
            reader: Reader::start(reading).map_err(|error| failed(error.to_string()))?,
            _lock: None,
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

    fn redeem(&self, read: Family, redemption: Redemption) -> Step<'_, Option<Redeemed>> {
        self.writer.step(move |connection| {
            // Within the transaction, where a read costs next to nothing.
            let Some(before) = select_family(connection, read.fid)? else {
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

    fn families(&self, selection: Selection, page: Page) -> Step<'_, Vec<Family>> {
        self.reader.step(move |connection| {
            let mut query = Query::of(&selection);
            if let Some(after) = page.after {
                query.and("fid > ", after.0.to_vec());
            }
            let Query { conditions, mut values } = query;
            values.push(page.limit.into());
            let text = format!("SELECT {FAMILY_COLUMNS} FROM family WHERE {conditions} ORDER BY fid LIMIT ?");
            connection.prepare_cached(&text)?.query_map(params_from_iter(values), family_of)?.collect()
        })
    }

    fn revoke_families(&self, selection: Selection, now: Timestamp) -> Step<'_, usize> {
        self.writer.step(move |connection| {
            let Query { conditions, mut values } = Query::of(&selection);
            values.insert(0, now.unix_seconds().into());
            let text = format!("UPDATE family SET revoked_at = ? WHERE {conditions} AND revoked_at IS NULL");
            connection.prepare_cached(&text)?.execute(params_from_iter(values))
        })
    }

    fn revoke_token(&self, token: RevokedToken) -> Step<'_, ()> {
        self.writer.step(move |connection| insert_token(connection, token))
    }

    fn is_revoked(&self, jti: TokenId, sid: Option<FamilyId>) -> Step<'_, bool> {
        self.reader.step(move |connection| {
            let mut statement = connection.prepare_cached(
                "SELECT EXISTS (SELECT 1 FROM revoked_token WHERE jti = ?1)
                     OR ?2 IS NOT NULL AND NOT EXISTS (SELECT 1 FROM family WHERE fid = ?2 AND revoked_at IS NULL)",
            )?;
            statement.query_row(params![jti.0, sid.map(|sid| sid.0)], |row| row.get(0))
        })
    }

    fn prune(&self, now: Timestamp, limit: u32) -> Step<'_, usize> {
        self.writer.step(move |connection| {
            let ended = params![now.unix_seconds(), limit];
            let mut families = connection.prepare_cached(
                "DELETE FROM family WHERE fid IN (SELECT fid FROM family WHERE expires_at <= ?1 ORDER BY expires_at LIMIT ?2)",
            )?;
            let mut tokens = connection.prepare_cached(
                "DELETE FROM revoked_token WHERE jti IN (SELECT jti FROM revoked_token WHERE expires_at <= ?1 ORDER BY expires_at LIMIT ?2)",
            )?;
            Ok(families.execute(ended)? + tokens.execute(ended)?)
        })
    }

    fn probe(&self) -> Step<'_, ()> {
        self.writer.step(|connection| {
            connection.prepare_cached("UPDATE probe SET count = count + 1 WHERE id = 1")?.execute([]).map(drop)
        })
    }

    fn clock_tolerance(&self) -> Duration {
        Duration::ZERO
    }

    fn revoked_tokens(&self, after: Option<TokenId>, limit: u32) -> Step<'_, Vec<RevokedToken>> {
        self.reader.step(move |connection| {
            let mut statement = connection.prepare_cached(
                "SELECT jti, expires_at FROM revoked_token WHERE ?1 IS NULL OR jti > ?1 ORDER BY jti LIMIT ?2",
            )?;
            let token = |row: &Row<'_>| {
                Ok(RevokedToken { jti: TokenId(row.get(0)?), expires_at: Timestamp::from_unix_seconds(row.get(1)?) })
            };
            statement.query_map(params![after.map(|jti| jti.0), limit], token)?.collect()
        })
    }

    fn restore(&self, families: Vec<Family>, tokens: Vec<RevokedToken>) -> Step<'_, ()> {
        self.writer.step(move |connection| {
            for family in &families {
                if select_family(connection, family.fid)?.is_none() {
                    insert_family(connection, family)?;
                }
            }
            tokens.iter().try_for_each(|token| insert_token(connection, *token))
        })
    }
}

const FAMILY_COLUMNS: &str = "fid, client_id, subject, scope, generation, current_used, superseded_at,
    created_at, last_used_at, expires_at, revoked_at";

/// A [`Selection`] in SQL: only the conditions that it has, so that each finds its index.
struct Query {
    conditions: String,
    values: Vec<Value>,
}

impl Query {
    fn of(selection: &Selection) -> Self {
        let Selection { fid, client_id, subject, issued_before } = selection;
        let mut query = Self { conditions: "true".to_owned(), values: Vec::new() };
        if let Some(fid) = fid {
            query.and("fid = ", fid.0.to_vec());
        }
        if let Some(client_id) = client_id {
            query.and("client_id = ", client_id.clone());
        }
        if let Some(subject) = subject {
            query.and("subject = ", subject.clone());
        }
        if let Some(time) = issued_before {
            query.and("created_at < ", time.unix_seconds());
        }
        query
    }

    fn and(&mut self, condition: &'static str, value: impl Into<Value>) {
        self.conditions += " AND ";
        self.conditions += condition;
        self.conditions += "?";
        self.values.push(value.into());
    }
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
                return Err(std::io::Error::new(std::io::ErrorKind::TimedOut, message));
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

fn insert_token(connection: &Connection, token: RevokedToken) -> rusqlite::Result<()> {
    connection
        .prepare_cached("INSERT INTO revoked_token (jti, expires_at) VALUES (?1, ?2) ON CONFLICT DO NOTHING")?
        .execute(params![token.jti.0, token.expires_at.unix_seconds()])
        .map(drop)
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
    connection
        .prepare_cached(&format!("SELECT {FAMILY_COLUMNS} FROM family WHERE fid = ?1"))?
        .query_row([fid.0], family_of)
        .optional()
}

/// A family from a row of [`FAMILY_COLUMNS`].
fn family_of(row: &Row<'_>) -> rusqlite::Result<Family> {
    let time = |index| row.get(index).map(Timestamp::from_unix_seconds);
    let time_or_none = |index| row.get::<_, Option<i64>>(index).map(|time| time.map(Timestamp::from_unix_seconds));
    Ok(Family {
        fid: FamilyId(row.get(0)?),
        client_id: row.get(1)?,
        subject: row.get(2)?,
        scope: row.get(3)?,
        generation: row.get(4)?,
        current_used: row.get(5)?,
        superseded_at: time_or_none(6)?,
        created_at: time(7)?,
        last_used_at: time(8)?,
        expires_at: time(9)?,
        revoked_at: time_or_none(10)?,
    })
}
