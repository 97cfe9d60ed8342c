//! The families' statements, but for what a request waits for: that goes in batches.

use deadpool_postgres::Object;
use tokio_postgres::Error as PostgresError;
use uuid::Uuid;

use super::pool::{LONG_LIMIT, Pool};
use super::read::select_families;
use super::rows::{Columns, FAMILY_COLUMNS, families_of};
use super::selection::Conditions;
use crate::clock::Timestamp;
use crate::store::{Error, Family, Page, Selection};

const INSERT_FAMILIES: &str =
    "INSERT INTO family (fid, client_id, subject, scope, generation, current_used, superseded_at,
                        created_at, last_used_at, expires_at, revoked_at, jkt, login, session)
    SELECT * FROM unnest($1::uuid[], $2::text[], $3::text[], $4::text[], $5::bigint[], $6::boolean[], $7::bigint[],
                         $8::bigint[], $9::bigint[], $10::bigint[], $11::bigint[], $12::bytea[], $13::text[], $14::text[])
    ON CONFLICT (fid) DO NOTHING";

/// Begins `family`.
pub(super) async fn begin(pool: &Pool, family: Family) -> Result<(), Error> {
    let step = pool.step(|connection| {
        let family = family.clone();
        Box::pin(async move {
            let began = insert_families(connection, std::slice::from_ref(&family)).await? == 1;
            // It is this one where the answer to a first attempt was lost.
            let found = select_families(connection, std::iter::once(family.fid)).await?;
            Ok(!began && found.first() != Some(&family))
        })
    });
    let was_there = step.await?;
    if was_there { Err(Error::Failed("a family of this handle is there already".to_owned())) } else { Ok(()) }
}

/// The families that `selection` matches, in the order of their handles.
pub(super) async fn list(pool: &Pool, selection: &Selection, page: Page) -> Result<Vec<Family>, Error> {
    let step = pool.within(LONG_LIMIT, |connection| {
        let mut conditions = Conditions::of(selection);
        if let Some(after) = page.after {
            conditions.and("fid >", Uuid::from_bytes(after.0));
        }
        let limit = conditions.value(i64::from(page.limit));
        let text =
            format!("SELECT {FAMILY_COLUMNS} FROM family WHERE {} ORDER BY fid LIMIT {limit}", conditions.text());
        Box::pin(async move { families_of(&connection.query(&text, &conditions.values()).await?) })
    });
    step.await
}

/// Revokes the families that `selection` matches; says how many.
pub(super) async fn revoke(pool: &Pool, selection: &Selection, now: Timestamp) -> Result<usize, Error> {
    let step = pool.within(LONG_LIMIT, |connection| {
        let mut conditions = Conditions::of(selection);
        let now = conditions.value(now.unix_seconds());
        // In the order of the handles, as redemptions lock them.
        let text = format!(
            "UPDATE family SET revoked_at = {now} WHERE fid IN
                 (SELECT fid FROM family WHERE {} AND revoked_at IS NULL ORDER BY fid FOR UPDATE)",
            conditions.text()
        );
        Box::pin(async move { connection.execute(&text, &conditions.values()).await })
    });
    Ok(usize::try_from(step.await?).unwrap_or(usize::MAX))
}

/// Revokes the families of `session` that were not revoked; gives them.
pub(super) async fn revoke_session(pool: &Pool, session: String, now: Timestamp) -> Result<Vec<Family>, Error> {
    let text = format!(
        "UPDATE family SET revoked_at = $2 WHERE fid IN
             (SELECT fid FROM family WHERE session = $1 AND revoked_at IS NULL ORDER BY fid FOR UPDATE)
         RETURNING {FAMILY_COLUMNS}"
    );
    let step = pool.within(LONG_LIMIT, |connection| {
        let (text, session) = (text.clone(), session.clone());
        Box::pin(async move { families_of(&connection.query(&text, &[&session, &now.unix_seconds()]).await?) })
    });
    step.await
}

/// Writes those of `families` that are not there; says how many.
pub(super) async fn insert_families(connection: &Object, families: &[Family]) -> Result<u64, PostgresError> {
    let columns: Columns = families.iter().collect();
    let statement = connection.prepare_cached(INSERT_FAMILIES).await?;
    connection
        .execute(
            &statement,
            &[
                &columns.fid,
                &columns.client_id,
                &columns.subject,
                &columns.scope,
                &columns.generation,
                &columns.current_used,
                &columns.superseded_at,
                &columns.created_at,
                &columns.last_used_at,
                &columns.expires_at,
                &columns.revoked_at,
                &columns.jkt,
                &columns.login,
                &columns.session,
            ],
        )
        .await
}
