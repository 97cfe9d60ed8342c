//! The keys' statements.

use deadpool_postgres::Object;
use tokio_postgres::types::{FromSql, ToSql, Type};
use tokio_postgres::{Error, Row};

use crate::clock::Timestamp;
use crate::hardware::Role;
use crate::jose::jwk::P256PublicKey;
use crate::store::{KeyRecord, Life};

const INSERT: &str =
    "INSERT INTO mint_key (kid, role, device, public_key, found_at, published_at, activated_at, retired_at,
                          removed_at, is_revoked, needed_until, uses)
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12) ON CONFLICT (kid) DO NOTHING";

const MOVE: &str = "UPDATE mint_key
    SET published_at = $2, activated_at = $3, retired_at = $4, removed_at = $5, is_revoked = $6,
        needed_until = greatest(needed_until, $7)
    WHERE kid = $1 AND published_at IS NOT DISTINCT FROM $8 AND activated_at IS NOT DISTINCT FROM $9
      AND retired_at IS NOT DISTINCT FROM $10 AND removed_at IS NOT DISTINCT FROM $11";

pub(super) async fn select_keys(connection: &Object) -> Result<Vec<KeyRecord>, Error> {
    let text = "SELECT kid, role, device, public_key, found_at, published_at, activated_at, retired_at, removed_at,
                    is_revoked, needed_until, uses
                FROM mint_key";
    let rows = connection.query(text, &[]).await?;
    let mut keys = rows.iter().map(key_of).collect::<Result<Vec<_>, _>>()?;
    // Not by the database, whose order depends on its locale.
    keys.sort_by(|one, other| one.kid.cmp(&other.kid));
    Ok(keys)
}

pub(super) async fn insert_key(connection: &Object, key: &KeyRecord) -> Result<(), Error> {
    let public_key = key.public_key.as_ref().map(|key| key.as_uncompressed().as_slice());
    let [published_at, activated_at, retired_at, removed_at] = times(key.life);
    let values: [&(dyn ToSql + Sync); 12] = [
        &key.kid,
        &key.role.to_string(),
        &key.device,
        &public_key,
        &key.found_at.unix_seconds(),
        &published_at,
        &activated_at,
        &retired_at,
        &removed_at,
        &key.life.is_revoked,
        &key.needed_until.unix_seconds(),
        &i64::try_from(key.uses).unwrap_or(i64::MAX),
    ];
    connection.execute(INSERT, &values).await.map(drop)
}

pub(super) async fn move_key(
    connection: &Object,
    kid: &str,
    from: Life,
    to: Life,
    needed_until: Timestamp,
) -> Result<bool, Error> {
    let ([published_at, activated_at, retired_at, removed_at], before) = (times(to), times(from));
    let values: [&(dyn ToSql + Sync); 11] = [
        &kid,
        &published_at,
        &activated_at,
        &retired_at,
        &removed_at,
        &to.is_revoked,
        &needed_until.unix_seconds(),
        &before[0],
        &before[1],
        &before[2],
        &before[3],
    ];
    Ok(connection.execute(MOVE, &values).await? == 1)
}

pub(super) async fn note_use(connection: &Object, kid: &str, uses: u64, needed_until: Timestamp) -> Result<(), Error> {
    let text = "UPDATE mint_key SET uses = uses + $2, needed_until = greatest(needed_until, $3) WHERE kid = $1";
    let uses = i64::try_from(uses).unwrap_or(i64::MAX);
    connection.execute(text, &[&kid, &uses, &needed_until.unix_seconds()]).await.map(drop)
}

fn times(life: Life) -> [Option<i64>; 4] {
    [life.published_at, life.activated_at, life.retired_at, life.removed_at]
        .map(|time| time.map(Timestamp::unix_seconds))
}

/// A role as a column has it. A key of a role that nobody knows is an error, and never one of another role.
struct RoleText(Role);

impl<'a> FromSql<'a> for RoleText {
    fn from_sql(kind: &Type, raw: &'a [u8]) -> Result<Self, Box<dyn std::error::Error + Sync + Send>> {
        let text = <&str>::from_sql(kind, raw)?;
        Role::named(text).map(Self).ok_or_else(|| format!("{text:?} is no role of a key").into())
    }

    fn accepts(kind: &Type) -> bool {
        <&str as FromSql<'_>>::accepts(kind)
    }
}

fn key_of(row: &Row) -> Result<KeyRecord, Error> {
    let time = |index| row.try_get(index).map(Timestamp::from_unix_seconds);
    let time_or_none = |index| row.try_get::<_, Option<i64>>(index).map(|time| time.map(Timestamp::from_unix_seconds));
    let RoleText(role) = row.try_get(1)?;
    let public_key: Option<Vec<u8>> = row.try_get(3)?;
    Ok(KeyRecord {
        kid: row.try_get(0)?,
        role,
        device: row.try_get(2)?,
        public_key: public_key.and_then(|point| P256PublicKey::try_from(point).ok()),
        found_at: time(4)?,
        life: Life {
            published_at: time_or_none(5)?,
            activated_at: time_or_none(6)?,
            retired_at: time_or_none(7)?,
            removed_at: time_or_none(8)?,
            is_revoked: row.try_get(9)?,
        },
        needed_until: time(10)?,
        uses: row.try_get::<_, i64>(11)?.try_into().unwrap_or_default(),
    })
}
