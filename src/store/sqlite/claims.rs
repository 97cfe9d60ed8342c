//! The statements of claims, and of secrets that are shared.

use rusqlite::{Connection, OptionalExtension as _, Row, params};

use crate::clock::Timestamp;
use crate::store::{ClaimId, Claimed, OnceClaim, SharedSecret};

pub(super) fn insert_claim(connection: &Connection, claim: OnceClaim) -> rusqlite::Result<Claimed> {
    let mut statement =
        connection.prepare_cached("INSERT INTO claimed (id, expires_at) VALUES (?1, ?2) ON CONFLICT DO NOTHING")?;
    let inserted = statement.execute(params![claim.id.0, claim.expires_at.unix_seconds()])?;
    Ok(if inserted == 1 { Claimed::First } else { Claimed::Replayed })
}

pub(super) fn count_claims(connection: &Connection, limit: u32) -> rusqlite::Result<u32> {
    let mut statement = connection.prepare_cached("SELECT count(*) FROM (SELECT 1 FROM claimed LIMIT ?1)")?;
    statement.query_row([limit], |row| row.get(0))
}

pub(super) fn select_claims(
    connection: &Connection,
    after: Option<ClaimId>,
    limit: u32,
) -> rusqlite::Result<Vec<OnceClaim>> {
    let mut statement = connection
        .prepare_cached("SELECT id, expires_at FROM claimed WHERE ?1 IS NULL OR id > ?1 ORDER BY id LIMIT ?2")?;
    let claim = |row: &Row<'_>| {
        Ok(OnceClaim { id: ClaimId(row.get(0)?), expires_at: Timestamp::from_unix_seconds(row.get(1)?) })
    };
    statement.query_map(params![after.map(|id| id.0), limit], claim)?.collect()
}

pub(super) fn select_secret(connection: &Connection, name: &str) -> rusqlite::Result<Option<[u8; 32]>> {
    let mut statement = connection.prepare_cached("SELECT value FROM shared_secret WHERE name = ?1")?;
    statement.query_row([name], |row| row.get(0)).optional()
}

pub(super) fn insert_secret(connection: &Connection, name: &str, value: [u8; 32]) -> rusqlite::Result<()> {
    let mut statement =
        connection.prepare_cached("INSERT INTO shared_secret (name, value) VALUES (?1, ?2) ON CONFLICT DO NOTHING")?;
    statement.execute(params![name, value]).map(drop)
}

pub(super) fn select_secrets(
    connection: &Connection,
    after: Option<String>,
    limit: u32,
) -> rusqlite::Result<Vec<SharedSecret>> {
    let mut statement = connection
        .prepare_cached("SELECT name, value FROM shared_secret WHERE ?1 IS NULL OR name > ?1 ORDER BY name LIMIT ?2")?;
    let secret = |row: &Row<'_>| Ok(SharedSecret { name: row.get(0)?, value: row.get(1)? });
    statement.query_map(params![after, limit], secret)?.collect()
}
