//! Reads, many in one round trip.

use std::collections::HashMap;
use std::sync::Arc;

use deadpool_postgres::Object;
use tokio_postgres::Error as PostgresError;
use uuid::Uuid;

use super::batch::Batched;
use super::pool::Work;
use super::rows::{FAMILY_COLUMNS, families_of, uuid_of, uuid_of_token};
use crate::store::{Family, FamilyId, TokenId};

/// Finds families.
pub(super) struct FindFamily;

impl Batched for FindFamily {
    type Input = FamilyId;
    type Output = Option<Family>;

    fn carry_out(connection: &Object, fids: Arc<[FamilyId]>) -> Work<'_, Vec<Option<Family>>> {
        Box::pin(async move {
            let found = select_families(connection, fids.iter().copied()).await?;
            let found: HashMap<FamilyId, Family> = found.into_iter().map(|family| (family.fid, family)).collect();
            Ok(fids.iter().map(|fid| found.get(fid).cloned()).collect())
        })
    }
}

/// The families of `fids` that there are, in no order.
pub(super) async fn select_families(
    connection: &Object,
    fids: impl Iterator<Item = FamilyId>,
) -> Result<Vec<Family>, PostgresError> {
    let fids: Vec<Uuid> = fids.map(uuid_of).collect();
    let text = format!("SELECT {FAMILY_COLUMNS} FROM family WHERE fid = ANY ($1::uuid[])");
    let statement = connection.prepare_cached(&text).await?;
    families_of(&connection.query(&statement, &[&fids]).await?)
}

/// Tells whether access tokens were revoked.
pub(super) struct FindRevoked;

const FIND_REVOKED: &str = "SELECT n.number, r.jti IS NOT NULL OR (n.sid IS NOT NULL AND f.fid IS NULL)
      FROM unnest($1::uuid[], $2::uuid[]) WITH ORDINALITY AS n(jti, sid, number)
      LEFT JOIN revoked_token AS r ON r.jti = n.jti
      LEFT JOIN family AS f ON f.fid = n.sid AND f.revoked_at IS NULL";

impl Batched for FindRevoked {
    type Input = (TokenId, Option<FamilyId>);
    type Output = bool;

    fn carry_out(connection: &Object, tokens: Arc<[Self::Input]>) -> Work<'_, Vec<bool>> {
        Box::pin(async move {
            let jtis: Vec<Uuid> = tokens.iter().map(|(jti, _)| uuid_of_token(*jti)).collect();
            let sids: Vec<Option<Uuid>> = tokens.iter().map(|(_, sid)| sid.map(uuid_of)).collect();
            let statement = connection.prepare_cached(FIND_REVOKED).await?;
            // What the database did not answer for counts as revoked.
            let mut is_revoked = vec![true; tokens.len()];
            for row in connection.query(&statement, &[&jtis, &sids]).await? {
                let number = usize::try_from(row.try_get::<_, i64>(0)? - 1).unwrap_or(usize::MAX);
                if let Some(place) = is_revoked.get_mut(number) {
                    *place = row.try_get(1)?;
                }
            }
            Ok(is_revoked)
        })
    }
}
