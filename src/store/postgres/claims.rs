//! Claims, many in one round trip: one statement writes those that nobody made before, and says which.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use deadpool_postgres::Object;
use tokio_postgres::{Error as PostgresError, Row};

use super::batch::Batched;
use super::pool::{LONG_LIMIT, Pool, Work};
use super::rows::Bytes32;
use crate::clock::Timestamp;
use crate::store::{ClaimId, Claimed, Error, OnceClaim};

/// In the order of their names, so that two batches never wait for each other in a circle.
const INSERT: &str = "INSERT INTO claimed (id, expires_at)
    SELECT id, expires_at FROM unnest($1::bytea[], $2::bigint[]) AS n(id, expires_at) ORDER BY id
    ON CONFLICT (id) DO NOTHING RETURNING id";

/// The kind of step. One whose answer was lost with its connection is told that it was replayed: refusing what was
/// good costs a client one more assertion, and letting it in twice would be the flaw.
pub(super) struct Claim;

impl Batched for Claim {
    type Input = OnceClaim;
    type Output = Claimed;

    fn carry_out(connection: &Object, claims: Arc<[OnceClaim]>) -> Work<'_, Vec<Claimed>> {
        Box::pin(async move {
            let mut inserted = insert_claims(connection, &claims).await?;
            // Of several that claim the same in one batch, the first one takes the name out.
            let outcome = |claim: &OnceClaim| match inserted.remove(&claim.id) {
                true => Claimed::First,
                false => Claimed::Replayed,
            };
            Ok(claims.iter().map(outcome).collect())
        })
    }
}

/// Writes those of `claims` that are not there; says which.
pub(super) async fn insert_claims(
    connection: &Object,
    claims: &[OnceClaim],
) -> Result<HashSet<ClaimId>, PostgresError> {
    let mut ends: BTreeMap<ClaimId, i64> = BTreeMap::new();
    for claim in claims {
        ends.entry(claim.id).or_insert(claim.expires_at.unix_seconds());
    }
    let ids: Vec<&[u8]> = ends.keys().map(|id| id.0.as_slice()).collect();
    let ends: Vec<i64> = ends.values().copied().collect();
    let statement = connection.prepare_cached(INSERT).await?;
    let rows = connection.query(&statement, &[&ids, &ends]).await?;
    rows.iter().map(id_of).collect()
}

/// How many claims there are, counted up to `limit`.
pub(super) async fn count(pool: &Pool, limit: u32) -> Result<u32, Error> {
    let step = pool.within(LONG_LIMIT, |connection| {
        Box::pin(async move {
            let text = "SELECT count(*) FROM (SELECT 1 FROM claimed LIMIT $1) AS counted";
            connection.query_one(text, &[&i64::from(limit)]).await?.try_get::<_, i64>(0)
        })
    });
    Ok(u32::try_from(step.await?).unwrap_or(limit))
}

/// At the most `limit` claims behind `after`.
pub(super) async fn list(pool: &Pool, after: Option<ClaimId>, limit: u32) -> Result<Vec<OnceClaim>, Error> {
    let step = pool.within(LONG_LIMIT, |connection| {
        Box::pin(async move {
            let text = "SELECT id, expires_at FROM claimed WHERE $1::bytea IS NULL OR id > $1 ORDER BY id LIMIT $2";
            let after = after.as_ref().map(|id| id.0.as_slice());
            let rows = connection.query(text, &[&after, &i64::from(limit)]).await?;
            rows.iter().map(claim_of).collect()
        })
    });
    step.await
}

fn id_of(row: &Row) -> Result<ClaimId, PostgresError> {
    let Bytes32(id) = row.try_get(0)?;
    Ok(ClaimId(id))
}

fn claim_of(row: &Row) -> Result<OnceClaim, PostgresError> {
    Ok(OnceClaim { id: id_of(row)?, expires_at: Timestamp::from_unix_seconds(row.try_get(1)?) })
}
