//! The registered clients' statements.

use rusqlite::{Connection, OptionalExtension as _, Row, named_params, params};

use crate::clock::Timestamp;
use crate::store::{AddedClient, RegisteredClient};

const COLUMNS: &str = "client_id, document, token_hash, created_at, last_used_at";

pub(super) fn add(connection: &Connection, client: &RegisteredClient, most: u32) -> rusqlite::Result<AddedClient> {
    if let Some(found) = select(connection, &client.client_id)? {
        return Ok(if found == *client { AddedClient::Added } else { AddedClient::Exists });
    }
    let mut count = connection.prepare_cached("SELECT count(*) FROM (SELECT 1 FROM registered_client LIMIT ?1)")?;
    if count.query_row([most], |row| row.get::<_, u32>(0))? >= most {
        return Ok(AddedClient::Full);
    }
    insert(connection, client)?;
    Ok(AddedClient::Added)
}

pub(super) fn select(connection: &Connection, client_id: &str) -> rusqlite::Result<Option<RegisteredClient>> {
    let text = format!("SELECT {COLUMNS} FROM registered_client WHERE client_id = ?1");
    connection.prepare_cached(&text)?.query_row([client_id], client_of).optional()
}

pub(super) fn list(
    connection: &Connection,
    after: Option<String>,
    limit: u32,
) -> rusqlite::Result<Vec<RegisteredClient>> {
    let mut statement = connection.prepare_cached(&format!(
        "SELECT {COLUMNS} FROM registered_client WHERE ?1 IS NULL OR client_id > ?1 ORDER BY client_id LIMIT ?2"
    ))?;
    statement.query_map(params![after, limit], client_of)?.collect()
}

/// Writes `client` where there is none of its name.
pub(super) fn insert(connection: &Connection, client: &RegisteredClient) -> rusqlite::Result<()> {
    let mut statement = connection.prepare_cached(&format!(
        "INSERT INTO registered_client ({COLUMNS})
         VALUES (:client_id, :document, :token_hash, :created_at, :last_used_at) ON CONFLICT DO NOTHING"
    ))?;
    statement.execute(named_params! {
        ":client_id": client.client_id,
        ":document": client.document,
        ":token_hash": client.token_hash,
        ":created_at": client.created_at.unix_seconds(),
        ":last_used_at": client.last_used_at.map(Timestamp::unix_seconds),
    })?;
    Ok(())
}

pub(super) fn replace(
    connection: &Connection,
    expected_token_hash: [u8; 32],
    client: &RegisteredClient,
) -> rusqlite::Result<bool> {
    let mut statement = connection.prepare_cached(
        "UPDATE registered_client SET document = :document, token_hash = :token_hash
          WHERE client_id = :client_id
            AND (token_hash = :expected OR token_hash = :token_hash AND document = :document)",
    )?;
    let replaced = statement.execute(named_params! {
        ":client_id": client.client_id,
        ":document": client.document,
        ":token_hash": client.token_hash,
        ":expected": expected_token_hash,
    })?;
    Ok(replaced == 1)
}

pub(super) fn note_use(connection: &Connection, client_id: &str, used_at: Timestamp) -> rusqlite::Result<()> {
    let mut statement = connection.prepare_cached(
        "UPDATE registered_client SET last_used_at = max(coalesce(last_used_at, ?2), ?2) WHERE client_id = ?1",
    )?;
    statement.execute(params![client_id, used_at.unix_seconds()]).map(drop)
}

pub(super) fn remove(
    connection: &Connection,
    client_id: &str,
    expected_token_hash: [u8; 32],
    now: Timestamp,
) -> rusqlite::Result<bool> {
    if select(connection, client_id)?.is_none_or(|client| client.token_hash != expected_token_hash) {
        return Ok(false);
    }
    // First: where the second fails, nobody has tokens of a client that is not there.
    connection
        .prepare_cached("UPDATE family SET revoked_at = ?2 WHERE client_id = ?1 AND revoked_at IS NULL")?
        .execute(params![client_id, now.unix_seconds()])?;
    connection.prepare_cached("DELETE FROM registered_client WHERE client_id = ?1")?.execute([client_id])?;
    Ok(true)
}

fn client_of(row: &Row<'_>) -> rusqlite::Result<RegisteredClient> {
    Ok(RegisteredClient {
        client_id: row.get(0)?,
        document: row.get(1)?,
        token_hash: row.get(2)?,
        created_at: Timestamp::from_unix_seconds(row.get(3)?),
        last_used_at: row.get::<_, Option<i64>>(4)?.map(Timestamp::from_unix_seconds),
    })
}
