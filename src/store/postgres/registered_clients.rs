//! The registered clients' statements.
//!
//! Each is one statement, so what it changes together is changed together. The row that counts the clients makes those
//! that add or remove one wait for each other.

use std::collections::HashMap;
use std::sync::Arc;

use deadpool_postgres::Object;
use tokio_postgres::error::SqlState;
use tokio_postgres::{Error as PostgresError, Row};

use super::batch::Batched;
use super::pool::{LONG_LIMIT, Pool, Work};
use super::rows::Bytes32;
use crate::clock::Timestamp;
use crate::store::{AddedClient, Error, RegisteredClient};

const COLUMNS: &str = "client_id, document, token_hash, created_at, last_used_at";

/// The count is looked at again where it was waited for, so the last place goes to one. Where another node adds the same
/// name meanwhile, all of this fails, the count included.
const ADD: &str = "WITH place AS (
        UPDATE registered_client_count SET count = count + 1 WHERE id = 1 AND count < $6 RETURNING id
    )
    INSERT INTO registered_client (client_id, document, token_hash, created_at, last_used_at)
    SELECT $1::text, $2::text, $3::bytea, $4::bigint, $5::bigint FROM place";

const RESTORE: &str = "WITH added AS (
        INSERT INTO registered_client (client_id, document, token_hash, created_at, last_used_at)
        VALUES ($1, $2, $3, $4, $5) ON CONFLICT (client_id) DO NOTHING RETURNING client_id
    )
    UPDATE registered_client_count SET count = count + 1 WHERE id = 1 AND EXISTS (SELECT 1 FROM added)";

/// The second condition is for one whose answer was lost with its connection.
const REPLACE: &str = "UPDATE registered_client SET document = $2, token_hash = $3
    WHERE client_id = $1 AND (token_hash = $4 OR token_hash = $3 AND document = $2)";

/// Families are locked in the order of their handles, as redemptions lock them.
const REMOVE: &str = "WITH gone AS (
        DELETE FROM registered_client WHERE client_id = $1 AND token_hash = $2 RETURNING client_id
    ), held AS (
        SELECT fid FROM family
         WHERE client_id = $1 AND revoked_at IS NULL AND EXISTS (SELECT 1 FROM gone) ORDER BY fid FOR UPDATE
    ), revoked AS (
        UPDATE family SET revoked_at = $3 WHERE fid IN (SELECT fid FROM held) RETURNING fid
    )
    UPDATE registered_client_count SET count = count - 1 WHERE id = 1 AND EXISTS (SELECT 1 FROM gone)";

/// Finds clients, many in one round trip.
pub(super) struct FindClient;

impl Batched for FindClient {
    type Input = String;
    type Output = Option<RegisteredClient>;

    fn carry_out(connection: &Object, names: Arc<[String]>) -> Work<'_, Vec<Self::Output>> {
        Box::pin(async move {
            let found = select(connection, &names).await?;
            let found: HashMap<&str, &RegisteredClient> =
                found.iter().map(|client| (client.client_id.as_str(), client)).collect();
            Ok(names.iter().map(|name| found.get(name.as_str()).map(|&client| client.clone())).collect())
        })
    }
}

/// Adds `client` where fewer than `most` are there.
pub(super) async fn add(pool: &Pool, client: RegisteredClient, most: u32) -> Result<AddedClient, Error> {
    let (client, most) = (Arc::new(client), i64::from(most));
    let step = pool.step(|connection| {
        let client = Arc::clone(&client);
        Box::pin(async move {
            let refused = match insert(connection, &client, most).await {
                Ok(true) => return Ok(AddedClient::Added),
                Ok(false) => AddedClient::Full,
                Err(error) if error.code() == Some(&SqlState::UNIQUE_VIOLATION) => AddedClient::Exists,
                Err(error) => return Err(error),
            };
            // It is this one where the answer to a first attempt was lost.
            let found = select(connection, std::slice::from_ref(&client.client_id)).await?;
            Ok(match found.first() {
                Some(found) if *found == *client => AddedClient::Added,
                Some(_) => AddedClient::Exists,
                None => refused,
            })
        })
    });
    step.await
}

async fn insert(connection: &Object, client: &RegisteredClient, most: i64) -> Result<bool, PostgresError> {
    let (created_at, last_used_at) = times(client);
    let token_hash = client.token_hash.as_slice();
    let inserted = connection
        .execute(ADD, &[&client.client_id, &client.document, &token_hash, &created_at, &last_used_at, &most])
        .await?;
    Ok(inserted == 1)
}

/// Writes `client` where there is none of its name.
pub(super) async fn restore(connection: &Object, client: &RegisteredClient) -> Result<(), PostgresError> {
    let (created_at, last_used_at) = times(client);
    let token_hash = client.token_hash.as_slice();
    let statement = connection.prepare_cached(RESTORE).await?;
    connection
        .execute(&statement, &[&client.client_id, &client.document, &token_hash, &created_at, &last_used_at])
        .await
        .map(drop)
}

/// Replaces document and token, where the token is still the expected one; says whether it was.
pub(super) async fn replace(
    pool: &Pool,
    expected_token_hash: [u8; 32],
    client: RegisteredClient,
) -> Result<bool, Error> {
    let client = Arc::new(client);
    let step = pool.step(|connection| {
        let client = Arc::clone(&client);
        Box::pin(async move {
            let (token_hash, expected) = (client.token_hash.as_slice(), expected_token_hash.as_slice());
            connection.execute(REPLACE, &[&client.client_id, &client.document, &token_hash, &expected]).await
        })
    });
    Ok(step.await? == 1)
}

/// Notes that the client was used.
pub(super) async fn note_use(pool: &Pool, client_id: String, used_at: Timestamp) -> Result<(), Error> {
    let step = pool.step(|connection| {
        let client_id = client_id.clone();
        Box::pin(async move {
            let text = "UPDATE registered_client SET last_used_at = greatest(last_used_at, $2) WHERE client_id = $1";
            connection.execute(text, &[&client_id, &used_at.unix_seconds()]).await.map(drop)
        })
    });
    step.await
}

/// Removes the client, where its token is still the expected one, and revokes its families; says whether it was.
pub(super) async fn remove(
    pool: &Pool,
    client_id: String,
    expected_token_hash: [u8; 32],
    now: Timestamp,
) -> Result<bool, Error> {
    let step = pool.within(LONG_LIMIT, |connection| {
        let client_id = client_id.clone();
        Box::pin(async move {
            let expected = expected_token_hash.as_slice();
            connection.execute(REMOVE, &[&client_id, &expected, &now.unix_seconds()]).await
        })
    });
    Ok(step.await? == 1)
}

/// At the most `limit` clients behind `after`.
pub(super) async fn list(pool: &Pool, after: Option<String>, limit: u32) -> Result<Vec<RegisteredClient>, Error> {
    let step = pool.step(|connection| {
        let after = after.clone();
        Box::pin(async move {
            let text = format!(
                "SELECT {COLUMNS} FROM registered_client WHERE $1::text IS NULL OR client_id > $1
                 ORDER BY client_id LIMIT $2"
            );
            clients_of(&connection.query(&text, &[&after, &i64::from(limit)]).await?)
        })
    });
    step.await
}

/// The clients of `names` that there are, in no order.
async fn select(connection: &Object, names: &[String]) -> Result<Vec<RegisteredClient>, PostgresError> {
    let text = format!("SELECT {COLUMNS} FROM registered_client WHERE client_id = ANY ($1::text[])");
    let statement = connection.prepare_cached(&text).await?;
    clients_of(&connection.query(&statement, &[&names]).await?)
}

fn times(client: &RegisteredClient) -> (i64, Option<i64>) {
    (client.created_at.unix_seconds(), client.last_used_at.map(Timestamp::unix_seconds))
}

fn clients_of(rows: &[Row]) -> Result<Vec<RegisteredClient>, PostgresError> {
    rows.iter().map(client_of).collect()
}

fn client_of(row: &Row) -> Result<RegisteredClient, PostgresError> {
    let Bytes32(token_hash) = row.try_get(2)?;
    Ok(RegisteredClient {
        client_id: row.try_get(0)?,
        document: row.try_get(1)?,
        token_hash,
        created_at: Timestamp::from_unix_seconds(row.try_get(3)?),
        last_used_at: row.try_get::<_, Option<i64>>(4)?.map(Timestamp::from_unix_seconds),
    })
}
