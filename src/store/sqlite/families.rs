//! The families' statements.

use rusqlite::types::Value;
use rusqlite::{Connection, OptionalExtension as _, Row, named_params};

use crate::clock::Timestamp;
use crate::jose::thumbprint::Thumbprint;
use crate::store::{Family, FamilyId, Selection};

pub(super) const FAMILY_COLUMNS: &str = "fid, client_id, subject, scope, generation, current_used, superseded_at,
    created_at, last_used_at, expires_at, revoked_at, jkt, login, session";

/// A [`Selection`] in SQL: only the conditions that it has, so that each finds its index.
pub(super) struct Query {
    pub(super) conditions: String,
    pub(super) values: Vec<Value>,
}

impl Query {
    pub(super) fn of(selection: &Selection) -> Self {
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

    pub(super) fn and(&mut self, condition: &'static str, value: impl Into<Value>) {
        self.conditions += " AND ";
        self.conditions += condition;
        self.conditions += "?";
        self.values.push(value.into());
    }
}

pub(super) fn insert_family(connection: &Connection, family: &Family) -> rusqlite::Result<()> {
    let mut statement = connection.prepare_cached(
        "INSERT INTO family (fid, client_id, subject, scope, generation, current_used, superseded_at,
                             created_at, last_used_at, expires_at, revoked_at, jkt, login, session)
         VALUES (:fid, :client_id, :subject, :scope, :generation, :current_used, :superseded_at,
                 :created_at, :last_used_at, :expires_at, :revoked_at, :jkt, :login, :session)",
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
        ":jkt": family.jkt.map(|jkt| jkt.0),
        ":login": family.login,
        ":session": family.session,
    })?;
    Ok(())
}

/// Writes what a redemption may change.
pub(super) fn update_family(connection: &Connection, family: &Family) -> rusqlite::Result<()> {
    let mut statement = connection.prepare_cached(
        "UPDATE family
            SET generation = :generation, current_used = :current_used, superseded_at = :superseded_at,
                last_used_at = :last_used_at, revoked_at = :revoked_at, jkt = :jkt
          WHERE fid = :fid",
    )?;
    statement.execute(named_params! {
        ":fid": family.fid.0,
        ":generation": family.generation,
        ":current_used": family.current_used,
        ":superseded_at": family.superseded_at.map(Timestamp::unix_seconds),
        ":last_used_at": family.last_used_at.unix_seconds(),
        ":revoked_at": family.revoked_at.map(Timestamp::unix_seconds),
        ":jkt": family.jkt.map(|jkt| jkt.0),
    })?;
    Ok(())
}

pub(super) fn select_family(connection: &Connection, fid: FamilyId) -> rusqlite::Result<Option<Family>> {
    connection
        .prepare_cached(&format!("SELECT {FAMILY_COLUMNS} FROM family WHERE fid = ?1"))?
        .query_row([fid.0], family_of)
        .optional()
}

/// A family from a row of [`FAMILY_COLUMNS`].
pub(super) fn family_of(row: &Row<'_>) -> rusqlite::Result<Family> {
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
        jkt: row.get::<_, Option<_>>(11)?.map(Thumbprint),
        login: row.get(12)?,
        session: row.get(13)?,
    })
}
