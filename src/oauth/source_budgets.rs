//! Budgets of sources: one each, and one that those share who come when there are too many to remember.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Instant;

use governor::middleware::NoOpMiddleware;
use governor::state::keyed::HashMapStateStore;
use governor::{Quota, RateLimiter};

use super::source::Source;
use crate::budget::{Budget, Ticks};
use crate::clock::Clock;

/// Sources that have a budget of their own at a time: some megabytes.
const MOST: usize = 65_536;

/// The budgets of all sources.
pub(super) struct SourceBudgets {
    sources: RateLimiter<Source, HashMapStateStore<Source>, Ticks, NoOpMiddleware<Instant>>,
    /// What all share while there are [`MOST`].
    further: Budget,
    /// Looking through all sources takes about a millisecond, which a flood must not have for each of its requests.
    clearings: Budget,
}

impl SourceBudgets {
    /// For each source `number` at once, and as many a minute.
    pub(super) fn per_minute(number: NonZeroU32, clock: &Arc<dyn Clock>) -> Self {
        Self {
            sources: RateLimiter::hashmap_with_clock(Quota::per_minute(number), Ticks(Arc::clone(clock))),
            further: Budget::per_minute(number, clock),
            clearings: Budget::per_second(NonZeroU32::MIN, clock),
        }
    }

    /// Uses up one of what `source` has, where there is one; whether there was.
    pub(super) fn take(&self, source: Source) -> bool {
        if self.sources.len() >= MOST && self.clearings.take() {
            self.sources.retain_recent();
        }
        if self.sources.len() >= MOST { self.further.take() } else { self.sources.check_key(&source).is_ok() }
    }

    /// Forgets the sources whose budgets are whole again.
    pub(super) fn prune(&self) {
        self.sources.retain_recent();
        self.sources.shrink_to_fit();
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;
    use std::time::Duration;

    use super::*;
    use crate::clock::{FrozenClock, Timestamp};

    #[test]
    fn sources_take_bounded_room_and_those_beyond_share_one_budget() {
        let clock = FrozenClock::at(Timestamp::from_unix_seconds(0));
        let pass = |time| clock.advance(time);
        let budgets = SourceBudgets::per_minute(NonZeroU32::MIN, &(Arc::clone(&clock) as Arc<dyn Clock>));
        let take = |number| budgets.take(Source::V4(Ipv4Addr::from_bits(number)));
        let most = u32::try_from(MOST).unwrap();
        assert!((0..most).all(take));
        assert!(take(most));
        assert!(!take(most + 1));
        assert_eq!(budgets.sources.len(), MOST);
        // By itself there is room again when their budgets are whole.
        pass(Duration::from_secs(600));
        assert!(take(most));
        assert_eq!(budgets.sources.len(), 1);
        pass(Duration::from_secs(600));
        budgets.prune();
        assert!(budgets.sources.is_empty());
    }
}
