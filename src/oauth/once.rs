//! What may be presented once: the `jti` of client assertions (RFC 7523 §3) and of DPoP proofs (RFC 9449 §11.1).
//!
//! Each is remembered in the store, for all nodes, until it is worth nothing any more. None is forgotten before that:
//! where a node has claimed as many as it may, it refuses what comes next.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use aws_lc_rs::digest::{Context, SHA256};

use crate::clock::{Clock, Timestamp};
use crate::store::{self, ClaimId, Claimed, OnceClaim, Store};

/// Claims of this node that live at a time, at the most: some 100 bytes each in the store.
const MOST: usize = 2_000_000;

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
    /// Remembers in `store`.
    pub fn new(store: Arc<dyn Store>, clock: Arc<dyn Clock>) -> Self {
        Self { store, clock, alive: Mutex::default(), most: MOST }
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
