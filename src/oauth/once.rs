//! What may be presented once: the `jti` of client assertions (RFC 7523 §3) and of DPoP proofs (RFC 9449 §11.1).
//!
//! Each is remembered in the store, for all nodes, until it is worth nothing any more. None is forgotten before that:
//! where a node has claimed as many as it may, it refuses what comes next.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use aws_lc_rs::digest::{Context, SHA256};

use crate::clock::{Clock, Timestamp};
use crate::store::{self, ClaimId, Claimed, OnceClaim, Store};

/// Claims of this node that live at a time, at the most: some 100 bytes each in the store.
const MOST: usize = 2_000_000;

/// The longest that anything has to be remembered.
pub const LONGEST: Duration = Duration::from_secs(60 * 60);

/// Why something cannot be used.
#[derive(Clone, Debug, thiserror::Error)]
pub enum OnceError {
    /// It was used before.
    #[error("it was used before")]
    Replayed,
    /// Too many are remembered.
    #[error("too many that may be used once are remembered; they end by themselves")]
    Full,
    /// The store failed.
    #[error(transparent)]
    Store(#[from] store::Error),
}

/// Remembers what was used.
pub struct UsedOnce {
    store: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
    alive: Mutex<Alive>,
    most: usize,
}

/// How many claims of this node live, by the second in which they end.
#[derive(Default)]
struct Alive {
    total: usize,
    ends: BTreeMap<Timestamp, usize>,
}

impl UsedOnce {
    /// Remembers in `store`, where others, and this node before, may have claimed some already. How long those live is
    /// not asked: as long as any may.
    ///
    /// # Errors
    /// What the store failed by.
    pub async fn new(store: Arc<dyn Store>, clock: Arc<dyn Clock>) -> Result<Self, store::Error> {
        let total = store.count_claims(u32::try_from(MOST).unwrap_or(u32::MAX)).await?;
        let total = usize::try_from(total).unwrap_or(MOST);
        let ends = BTreeMap::from([(clock.now().plus(LONGEST), total)]);
        Ok(Self { store, clock, alive: Mutex::new(Alive { total, ends }), most: MOST })
    }

    /// Uses `jti` of `owner` for `purpose` up. It is worth nothing from `expires_at` on.
    ///
    /// # Errors
    /// [`OnceError`]; what the store does not answer for counts as used.
    pub async fn claim(
        &self,
        purpose: &'static str,
        owner: &[u8],
        jti: &str,
        expires_at: Timestamp,
    ) -> Result<(), OnceError> {
        self.reserve(expires_at)?;
        let id = id(purpose, owner, jti);
        match self.store.claim(OnceClaim { id, expires_at }).await {
            Ok(Claimed::First) => Ok(()),
            Ok(Claimed::Replayed) => {
                self.release(expires_at);
                Err(OnceError::Replayed)
            }
            // It may be there all the same, so its place is not free.
            Err(error) => Err(error.into()),
        }
    }

    fn reserve(&self, expires_at: Timestamp) -> Result<(), OnceError> {
        let mut alive = self.alive.lock().unwrap_or_else(PoisonError::into_inner);
        if alive.total >= self.most {
            alive.forget_until(self.clock.now());
        }
        if alive.total >= self.most {
            return Err(OnceError::Full);
        }
        alive.total += 1;
        *alive.ends.entry(expires_at).or_default() += 1;
        Ok(())
    }

    fn release(&self, expires_at: Timestamp) {
        let mut alive = self.alive.lock().unwrap_or_else(PoisonError::into_inner);
        // It may have ended, and been forgotten, in between.
        if let Some(number) = alive.ends.get_mut(&expires_at).filter(|number| **number > 0) {
            *number -= 1;
            alive.total -= 1;
        }
    }
}

impl Alive {
    fn forget_until(&mut self, now: Timestamp) {
        let alive = self.ends.split_off(&Timestamp::from_unix_seconds(now.unix_seconds().saturating_add(1)));
        let ended = std::mem::replace(&mut self.ends, alive);
        self.total -= ended.values().sum::<usize>();
    }
}

fn id(purpose: &str, owner: &[u8], jti: &str) -> ClaimId {
    let mut hash = Context::new(&SHA256);
    for part in [purpose.as_bytes(), owner, jti.as_bytes()] {
        // The length, so that no two ways to cut a text are one.
        hash.update(&(part.len() as u64).to_be_bytes());
        hash.update(part);
    }
    ClaimId(hash.finish().as_ref().try_into().expect("SHA-256 gives 32 bytes"))
}

#[cfg(test)]
mod tests {

    use super::*;
    use crate::clock::FrozenClock;
    use crate::store::sqlite::SqliteStore;

    const START: Timestamp = Timestamp::from_unix_seconds(1_800_000_000);

    fn later(seconds: u64) -> Timestamp {
        START.plus(Duration::from_secs(seconds))
    }

    #[tokio::test]
    async fn what_is_full_refuses_and_forgets_nothing_that_lives() {
        let folder = tempfile::tempdir().unwrap();
        let store = || Arc::new(SqliteStore::open(&folder.path().join("store.db")).unwrap());
        let clock = FrozenClock::at(START);
        let open = async |most| UsedOnce { most, ..UsedOnce::new(store(), clock.clone()).await.unwrap() };
        let used = open(2).await;
        let claim = async |used: &UsedOnce, owner: &str, jti: &str, end| match used
            .claim("proof", owner.as_bytes(), jti, later(end))
            .await
        {
            Ok(()) => "used",
            Err(OnceError::Replayed) => "replayed",
            Err(OnceError::Full) => "full",
            Err(OnceError::Store(error)) => panic!("{error}"),
        };
        assert_eq!(claim(&used, "a", "1", 10).await, "used");
        // A replay takes no place.
        assert_eq!(claim(&used, "a", "1", 10).await, "replayed");
        assert_eq!(claim(&used, "b", "1", 20).await, "used");
        assert_eq!(claim(&used, "c", "1", 10).await, "full");
        clock.advance(Duration::from_secs(10));
        assert_eq!(claim(&used, "b", "1", 20).await, "replayed", "it lives");
        assert_eq!(claim(&used, "c", "1", 30).await, "used");
        assert_eq!(claim(&used, "d", "1", 30).await, "full");
        // One that is started anew knows that others are there.
        assert_eq!(claim(&open(3).await, "d", "1", 30).await, "full");
        assert_eq!(claim(&open(4).await, "d", "1", 30).await, "used");
    }

    #[test]
    fn two_ways_to_cut_a_text_are_two_names() {
        let names = [id("ab", b"c", "d"), id("a", b"bc", "d"), id("a", b"b", "cd"), id("", b"abcd", "")];
        for (place, name) in names.iter().enumerate() {
            assert!(!names[place + 1..].contains(name));
        }
    }
}
