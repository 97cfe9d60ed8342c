//! Redemptions, many in one round trip: each family as its caller read it, the rules applied to it here, and one
//! statement that swaps in what they come to where the record is still as it was read.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use deadpool_postgres::Object;
use tokio_postgres::Error as PostgresError;
use uuid::Uuid;

use super::batch::Batched;
use super::pool::Work;
use super::read::select_families;
use super::rows::uuid_of;
use crate::clock::Timestamp;
use crate::store::{Family, FamilyId, Redeemed, Redemption};

/// The compare-and-swap. What the rules go by and may change is compared: the generation, whether it was used, the key
/// that it is bound to, and that nobody revoked it. Rows are locked in the order of their handles, so that two batches never wait for each
/// other in a circle.
const SWAP: &str = "WITH held AS (
        SELECT fid FROM family WHERE fid = ANY ($1::uuid[]) ORDER BY fid FOR UPDATE
    )
    UPDATE family AS f
       SET generation = n.generation, current_used = n.current_used, superseded_at = n.superseded_at,
           last_used_at = GREATEST(f.last_used_at, n.last_used_at), revoked_at = n.revoked_at, jkt = n.jkt
      FROM held, unnest($1::uuid[], $2::bigint[], $3::boolean[], $4::bigint[], $5::boolean[], $6::bigint[],
                        $7::bigint[], $8::bigint[], $9::bytea[], $10::bytea[])
           AS n(fid, read_generation, read_used, generation, current_used, superseded_at, last_used_at, revoked_at,
                read_jkt, jkt)
     WHERE held.fid = f.fid AND f.fid = n.fid
       AND f.generation = n.read_generation AND f.current_used = n.read_used AND f.revoked_at IS NULL
       AND f.jkt IS NOT DISTINCT FROM n.read_jkt
 RETURNING f.fid";

/// The kind of step.
pub(super) struct Redeem;

/// A family that changes, and what that means for whom.
struct Change {
    before: Family,
    after: Family,
    outcomes: Vec<(usize, Redeemed)>,
}

impl Batched for Redeem {
    /// The family as it was read, and what was presented.
    type Input = (Family, Redemption);
    type Output = Option<Redeemed>;

    fn carry_out(connection: &Object, inputs: Arc<[Self::Input]>) -> Work<'_, Vec<Self::Output>> {
        Box::pin(async move {
            let mut outputs = vec![None; inputs.len()];
            let mut open: BTreeMap<FamilyId, Vec<usize>> = BTreeMap::new();
            for (number, (family, _)) in inputs.iter().enumerate() {
                open.entry(family.fid).or_default().push(number);
            }
            let mut known: HashMap<FamilyId, Family> =
                inputs.iter().map(|(family, _)| (family.fid, family.clone())).collect();
            let mut is_fresh = false;
            // Each round in which a swap fails is one in which somebody else's did not.
            while !open.is_empty() {
                let mut changes = Vec::new();
                open.retain(|fid, numbers| match known.remove(fid).map(|family| change(family, numbers, &inputs)) {
                    // It is not there.
                    None => false,
                    Some(change) if change.before != change.after => {
                        changes.push(change);
                        true
                    }
                    // What changes nothing holds only of a record that was read since it was asked for.
                    Some(change) => {
                        if is_fresh {
                            settle(&mut outputs, change.outcomes);
                        }
                        !is_fresh
                    }
                });
                let swapped = swap(connection, &changes).await?;
                for change in changes.into_iter().filter(|change| swapped.contains(&uuid_of(change.before.fid))) {
                    open.remove(&change.before.fid);
                    settle(&mut outputs, change.outcomes);
                }
                if !open.is_empty() {
                    let families = select_families(connection, open.keys().copied()).await?;
                    known = families.into_iter().map(|family| (family.fid, family)).collect();
                    is_fresh = true;
                }
            }
            Ok(outputs)
        })
    }
}

/// What all that presented a token of `family` come to, one after the other.
fn change(family: Family, numbers: &[usize], inputs: &[(Family, Redemption)]) -> Change {
    let mut after = family.clone();
    let outcomes = numbers.iter().map(|&number| (number, after.redeem(&inputs[number].1))).collect();
    Change { before: family, after, outcomes }
}

fn settle(outputs: &mut [Option<Redeemed>], outcomes: Vec<(usize, Redeemed)>) {
    for (number, redeemed) in outcomes {
        outputs[number] = Some(redeemed);
    }
}

/// Writes `changes`, and says which of them were.
async fn swap(connection: &Object, changes: &[Change]) -> Result<HashSet<Uuid>, PostgresError> {
    if changes.is_empty() {
        return Ok(HashSet::new());
    }
    let seconds = |time: Option<Timestamp>| time.map(Timestamp::unix_seconds);
    let fids: Vec<Uuid> = changes.iter().map(|change| uuid_of(change.before.fid)).collect();
    let read_generations: Vec<i64> = changes.iter().map(|change| change.before.generation.into()).collect();
    let read_used: Vec<bool> = changes.iter().map(|change| change.before.current_used).collect();
    let generations: Vec<i64> = changes.iter().map(|change| change.after.generation.into()).collect();
    let used: Vec<bool> = changes.iter().map(|change| change.after.current_used).collect();
    let superseded_at: Vec<Option<i64>> = changes.iter().map(|change| seconds(change.after.superseded_at)).collect();
    let last_used_at: Vec<i64> = changes.iter().map(|change| change.after.last_used_at.unix_seconds()).collect();
    let revoked_at: Vec<Option<i64>> = changes.iter().map(|change| seconds(change.after.revoked_at)).collect();
    let read_jkts: Vec<Option<&[u8]>> = changes.iter().map(|change| bytes(&change.before)).collect();
    let jkts: Vec<Option<&[u8]>> = changes.iter().map(|change| bytes(&change.after)).collect();
    let statement = connection.prepare_cached(SWAP).await?;
    let rows = connection
        .query(
            &statement,
            &[
                &fids,
                &read_generations,
                &read_used,
                &generations,
                &used,
                &superseded_at,
                &last_used_at,
                &revoked_at,
                &read_jkts,
                &jkts,
            ],
        )
        .await?;
    rows.iter().map(|row| row.try_get(0)).collect()
}

/// The key that `family` is bound to.
fn bytes(family: &Family) -> Option<&[u8]> {
    family.jkt.as_ref().map(|jkt| jkt.0.as_slice())
}
