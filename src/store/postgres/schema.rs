//! The schema, and how it moves: by `mintkeep store migrate` and by nothing else, because nodes of different
//! releases may share one database.

use refinery::Runner;
use tokio_postgres::error::SqlState;

use super::pool::{Pool, told};
use super::url::PostgresUrl;
use crate::store::Error;

mod embedded {
    refinery::embed_migrations!("src/store/postgres/migrations");
}

/// What was done to the schema, when. Not refinery's usual name: another program may have its tables there.
const HISTORY: &str = "mintkeep_schema_history";

/// The lock is a row that a transaction holds, because not every one of these databases has advisory locks.
const MAKE_LOCK: &str = "CREATE TABLE IF NOT EXISTS mintkeep_migration_lock (id integer NOT NULL PRIMARY KEY)";
const FILL_LOCK: &str = "INSERT INTO mintkeep_migration_lock (id) VALUES (1) ON CONFLICT DO NOTHING";
const TAKE_LOCK: &str = "SELECT id FROM mintkeep_migration_lock WHERE id = 1 FOR UPDATE";

/// How often two that make the lock at the same moment may disturb each other.
const LOCK_ATTEMPTS: u32 = 5;

fn runner() -> Runner {
    let mut runner = embedded::migrations::runner();
    runner.set_migration_table_name(HISTORY);
    runner
}

/// The version that this program works with.
pub(super) fn needed() -> i32 {
    let versions = runner().get_migrations().iter().map(|migration| migration.version()).max();
    versions.unwrap_or_default()
}

/// Moves the schema to [`needed`]; says how many steps that took.
pub(super) async fn migrate(url: &PostgresUrl, pool: &Pool) -> Result<usize, Error> {
    let failed = |reason: String| Error::Open { path: url.to_string(), reason };
    if let Some(found) = version(pool).await?
        && found > needed()
    {
        return Err(failed(newer(found)));
    }
    let mut holder = pool.connection().await?;
    for attempt in 1.. {
        // Two at once may both find no table, and one of them then fails to make it.
        match holder.batch_execute(&format!("{MAKE_LOCK}; {FILL_LOCK}")).await {
            Ok(()) => break,
            Err(_) if attempt < LOCK_ATTEMPTS => {}
            Err(error) => return Err(failed(told(&error))),
        }
    }
    let lock = holder.transaction().await.map_err(|error| failed(told(&error)))?;
    lock.query(TAKE_LOCK, &[]).await.map_err(|error| failed(told(&error)))?;
    let mut connection = pool.connection().await?;
    let report = runner().run_async(&mut **connection).await.map_err(|error| failed(error.to_string()))?;
    lock.commit().await.map_err(|error| failed(told(&error)))?;
    Ok(report.applied_migrations().len())
}

/// Refuses a schema of another release.
pub(super) async fn check(url: &PostgresUrl, pool: &Pool) -> Result<(), Error> {
    let needed = needed();
    let reason = match version(pool).await? {
        Some(found) if found == needed => return Ok(()),
        Some(found) if found > needed => newer(found),
        Some(found) => {
            format!("its schema has version {found}, and version {needed} is needed; run `mintkeep store migrate`")
        }
        None => "it has no schema yet; run `mintkeep store migrate`".to_owned(),
    };
    Err(Error::Open { path: url.to_string(), reason })
}

fn newer(found: i32) -> String {
    format!("its schema has version {found}, of a newer mintkeep; this one knows version {}; update it", needed())
}

/// `None` where there is no schema.
async fn version(pool: &Pool) -> Result<Option<i32>, Error> {
    let connection = pool.connection().await?;
    match connection.query_one(&format!("SELECT max(version) FROM {HISTORY}"), &[]).await {
        Ok(row) => row.try_get(0).map_err(|error| Error::Failed(told(&error))),
        Err(error) if error.code() == Some(&SqlState::UNDEFINED_TABLE) => Ok(None),
        Err(error) => Err(Error::Failed(told(&error))),
    }
}
