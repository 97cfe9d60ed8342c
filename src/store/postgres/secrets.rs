//! The statements of secrets that are shared.

use deadpool_postgres::Object;
use tokio_postgres::{Error as PostgresError, Row};

use super::pool::Pool;
use super::rows::Bytes32;
use crate::store::{Error, SharedSecret};

const INSERT: &str = "INSERT INTO shared_secret (name, value) VALUES ($1, $2) ON CONFLICT (name) DO NOTHING";

/// The value of that name: `candidate` where there was none.
pub(super) async fn find_or_insert(pool: &Pool, name: &str, candidate: [u8; 32]) -> Result<[u8; 32], Error> {
    let step = pool.step(|connection| {
        let secret = SharedSecret { name: name.to_owned(), value: candidate };
        Box::pin(async move {
            // What is there is found also where nothing can be written.
            if let Some(value) = select_secret(connection, &secret.name).await? {
                return Ok(Some(value));
            }
            insert_secret(connection, &secret).await?;
            select_secret(connection, &secret.name).await
        })
    });
    step.await?.ok_or_else(|| Error::Failed("a shared secret was removed".to_owned()))
}

async fn select_secret(connection: &Object, name: &str) -> Result<Option<[u8; 32]>, PostgresError> {
    let row = connection.query_opt("SELECT value FROM shared_secret WHERE name = $1", &[&name]).await?;
    row.map(|row| row.try_get(0).map(|Bytes32(value)| value)).transpose()
}

/// Writes `secret` where there is none of its name.
pub(super) async fn insert_secret(connection: &Object, secret: &SharedSecret) -> Result<(), PostgresError> {
    connection.execute(INSERT, &[&secret.name, &secret.value.as_slice()]).await.map(drop)
}

/// At the most `limit` secrets behind `after`.
pub(super) async fn list(pool: &Pool, after: Option<String>, limit: u32) -> Result<Vec<SharedSecret>, Error> {
    let step = pool.step(|connection| {
        let after = after.clone();
        Box::pin(async move {
            let text = "SELECT name, value FROM shared_secret WHERE $1::text IS NULL OR name > $1
                 ORDER BY name LIMIT $2";
            let rows = connection.query(text, &[&after, &i64::from(limit)]).await?;
            rows.iter().map(secret_of).collect()
        })
    });
    step.await
}

fn secret_of(row: &Row) -> Result<SharedSecret, PostgresError> {
    let Bytes32(value) = row.try_get(1)?;
    Ok(SharedSecret { name: row.try_get(0)?, value })
}
