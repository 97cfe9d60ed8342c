//! Families as rows.

use tokio_postgres::types::{FromSql, Type, accepts};
use tokio_postgres::{Error as PostgresError, Row};
use uuid::Uuid;

use crate::clock::Timestamp;
use crate::jose::thumbprint::Thumbprint;
use crate::store::{Family, FamilyId, TokenId};

/// The columns of a family, in the order that [`family_of`] reads them.
pub(super) const FAMILY_COLUMNS: &str = "fid, client_id, subject, scope, generation, current_used, superseded_at,
    created_at, last_used_at, expires_at, revoked_at, jkt, login, session";

/// A family from a row of [`FAMILY_COLUMNS`].
pub(super) fn family_of(row: &Row) -> Result<Family, PostgresError> {
    let time = |index| row.try_get(index).map(Timestamp::from_unix_seconds);
    let time_or_none = |index| row.try_get::<_, Option<i64>>(index).map(|time| time.map(Timestamp::from_unix_seconds));
    Ok(Family {
        fid: FamilyId(row.try_get::<_, Uuid>(0)?.into_bytes()),
        client_id: row.try_get(1)?,
        subject: row.try_get(2)?,
        scope: row.try_get(3)?,
        // The column's own check keeps it within.
        generation: row.try_get::<_, i64>(4)?.try_into().unwrap_or(u32::MAX),
        current_used: row.try_get(5)?,
        superseded_at: time_or_none(6)?,
        created_at: time(7)?,
        last_used_at: time(8)?,
        expires_at: time(9)?,
        revoked_at: time_or_none(10)?,
        jkt: row.try_get::<_, Option<Bytes32>>(11)?.map(|Bytes32(jkt)| Thumbprint(jkt)),
        login: row.try_get(12)?,
        session: row.try_get(13)?,
    })
}

pub(super) fn families_of(rows: &[Row]) -> Result<Vec<Family>, PostgresError> {
    rows.iter().map(family_of).collect()
}

/// Handles are kept as the type of 128 bits that every one of these databases has.
pub(super) fn uuid_of(fid: FamilyId) -> Uuid {
    Uuid::from_bytes(fid.0)
}

pub(super) fn uuid_of_token(jti: TokenId) -> Uuid {
    Uuid::from_bytes(jti.0)
}

/// The 32 bytes of a column that has as many.
pub(super) struct Bytes32(pub(super) [u8; 32]);

impl<'a> FromSql<'a> for Bytes32 {
    accepts!(BYTEA);

    fn from_sql(_: &Type, bytes: &'a [u8]) -> Result<Self, Box<dyn std::error::Error + Sync + Send>> {
        Ok(Self(bytes.try_into()?))
    }
}

/// Families as columns, for one statement that writes many.
#[derive(Default)]
pub(super) struct Columns {
    pub(super) fid: Vec<Uuid>,
    pub(super) client_id: Vec<String>,
    pub(super) subject: Vec<String>,
    pub(super) scope: Vec<String>,
    pub(super) generation: Vec<i64>,
    pub(super) current_used: Vec<bool>,
    pub(super) superseded_at: Vec<Option<i64>>,
    pub(super) created_at: Vec<i64>,
    pub(super) last_used_at: Vec<i64>,
    pub(super) expires_at: Vec<i64>,
    pub(super) revoked_at: Vec<Option<i64>>,
    pub(super) jkt: Vec<Option<Vec<u8>>>,
    pub(super) login: Vec<Option<String>>,
    pub(super) session: Vec<Option<String>>,
}

impl<'a> FromIterator<&'a Family> for Columns {
    fn from_iter<Families: IntoIterator<Item = &'a Family>>(families: Families) -> Self {
        let mut columns = Self::default();
        for family in families {
            columns.fid.push(uuid_of(family.fid));
            columns.client_id.push(family.client_id.clone());
            columns.subject.push(family.subject.clone());
            columns.scope.push(family.scope.clone());
            columns.generation.push(family.generation.into());
            columns.current_used.push(family.current_used);
            columns.superseded_at.push(family.superseded_at.map(Timestamp::unix_seconds));
            columns.created_at.push(family.created_at.unix_seconds());
            columns.last_used_at.push(family.last_used_at.unix_seconds());
            columns.expires_at.push(family.expires_at.unix_seconds());
            columns.revoked_at.push(family.revoked_at.map(Timestamp::unix_seconds));
            columns.jkt.push(family.jkt.map(|jkt| jkt.0.to_vec()));
            columns.login.push(family.login.clone());
            columns.session.push(family.session.clone());
        }
        columns
    }
}
