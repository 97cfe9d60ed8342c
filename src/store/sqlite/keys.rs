//! The keys' statements.

use rusqlite::types::Type;
use rusqlite::{Connection, Error, Row, named_params};

use crate::clock::Timestamp;
use crate::hardware::Role;
use crate::jose::jwk::P256PublicKey;
use crate::store::{KeyRecord, Life};

pub(super) fn select_keys(connection: &Connection) -> rusqlite::Result<Vec<KeyRecord>> {
    let mut statement = connection.prepare_cached(
        "SELECT kid, role, device, public_key, found_at, published_at, activated_at, retired_at, removed_at, is_revoked,
                needed_until, uses
           FROM mint_key ORDER BY kid",
    )?;
    statement.query_map([], key_of)?.collect()
}

pub(super) fn insert_key(connection: &Connection, key: &KeyRecord) -> rusqlite::Result<()> {
    let mut statement = connection.prepare_cached(
        "INSERT INTO mint_key (kid, role, device, public_key, found_at, published_at, activated_at, retired_at, removed_at,
                               is_revoked, needed_until, uses)
         VALUES (:kid, :role, :device, :public_key, :found_at, :published_at, :activated_at, :retired_at, :removed_at,
                 :is_revoked, :needed_until, :uses)
         ON CONFLICT DO NOTHING",
    )?;
    statement.execute(named_params! {
        ":kid": key.kid,
        ":role": key.role.to_string(),
        ":device": key.device,
        ":public_key": key.public_key.as_ref().map(|key| key.as_uncompressed().as_slice()),
        ":found_at": key.found_at.unix_seconds(),
        ":published_at": key.life.published_at.map(Timestamp::unix_seconds),
        ":activated_at": key.life.activated_at.map(Timestamp::unix_seconds),
        ":retired_at": key.life.retired_at.map(Timestamp::unix_seconds),
        ":removed_at": key.life.removed_at.map(Timestamp::unix_seconds),
        ":is_revoked": key.life.is_revoked,
        ":needed_until": key.needed_until.unix_seconds(),
        ":uses": i64::try_from(key.uses).unwrap_or(i64::MAX),
    })?;
    Ok(())
}

pub(super) fn move_key(
    connection: &Connection,
    kid: &str,
    from: Life,
    to: Life,
    needed_until: Timestamp,
) -> rusqlite::Result<bool> {
    let mut statement = connection.prepare_cached(
        "UPDATE mint_key
            SET published_at = :published_at, activated_at = :activated_at, retired_at = :retired_at,
                removed_at = :removed_at, is_revoked = :is_revoked, needed_until = max(needed_until, :needed_until)
          WHERE kid = :kid AND published_at IS :was_published_at AND activated_at IS :was_activated_at
            AND retired_at IS :was_retired_at AND removed_at IS :was_removed_at",
    )?;
    let moved = statement.execute(named_params! {
        ":kid": kid,
        ":published_at": to.published_at.map(Timestamp::unix_seconds),
        ":activated_at": to.activated_at.map(Timestamp::unix_seconds),
        ":retired_at": to.retired_at.map(Timestamp::unix_seconds),
        ":removed_at": to.removed_at.map(Timestamp::unix_seconds),
        ":is_revoked": to.is_revoked,
        ":needed_until": needed_until.unix_seconds(),
        ":was_published_at": from.published_at.map(Timestamp::unix_seconds),
        ":was_activated_at": from.activated_at.map(Timestamp::unix_seconds),
        ":was_retired_at": from.retired_at.map(Timestamp::unix_seconds),
        ":was_removed_at": from.removed_at.map(Timestamp::unix_seconds),
    })?;
    Ok(moved == 1)
}

pub(super) fn note_use(connection: &Connection, kid: &str, uses: u64, needed_until: Timestamp) -> rusqlite::Result<()> {
    let mut statement = connection.prepare_cached(
        "UPDATE mint_key SET uses = uses + :uses, needed_until = max(needed_until, :needed_until) WHERE kid = :kid",
    )?;
    statement.execute(named_params! {
        ":kid": kid,
        ":uses": i64::try_from(uses).unwrap_or(i64::MAX),
        ":needed_until": needed_until.unix_seconds(),
    })?;
    Ok(())
}

fn key_of(row: &Row<'_>) -> rusqlite::Result<KeyRecord> {
    let time = |index| row.get(index).map(Timestamp::from_unix_seconds);
    let time_or_none = |index| row.get::<_, Option<i64>>(index).map(|time| time.map(Timestamp::from_unix_seconds));
    let role: String = row.get(1)?;
    let role = Role::named(&role).ok_or_else(|| Error::InvalidColumnType(1, role, Type::Text))?;
    let public_key: Option<Vec<u8>> = row.get(3)?;
    let public_key = public_key.map(P256PublicKey::try_from).transpose();
    let public_key = public_key.map_err(|error| Error::FromSqlConversionFailure(3, Type::Blob, error.into()))?;
    Ok(KeyRecord {
        kid: row.get(0)?,
        role,
        device: row.get(2)?,
        public_key,
        found_at: time(4)?,
        life: Life {
            published_at: time_or_none(5)?,
            activated_at: time_or_none(6)?,
            retired_at: time_or_none(7)?,
            removed_at: time_or_none(8)?,
            is_revoked: row.get(9)?,
        },
        needed_until: time(10)?,
        uses: row.get::<_, i64>(11)?.try_into().unwrap_or_default(),
    })
}
