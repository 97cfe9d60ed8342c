//! Budgets by our clock: so many at once, and so many in a time.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Instant;

use governor::clock::Clock as GovernorClock;
use governor::middleware::NoOpMiddleware;
use governor::state::{InMemoryState, NotKeyed};
use governor::{Quota, RateLimiter};

use crate::clock::Clock;

/// One budget.
pub(crate) struct Budget(RateLimiter<NotKeyed, InMemoryState, Ticks, NoOpMiddleware<Instant>>);

/// Our clock, as governor reads one.
#[derive(Clone)]
pub(crate) struct Ticks(pub(super) Arc<dyn Clock>);

impl GovernorClock for Ticks {
    type Instant = Instant;

    fn now(&self) -> Instant {
        self.0.instant()
    }
}

impl Budget {
    /// `number` at once, and as many a second.
    pub(crate) fn per_second(number: NonZeroU32, clock: &Arc<dyn Clock>) -> Self {
        Self::new(Quota::per_second(number), clock)
    }

    /// `number` at once, and as many a minute.
    pub(crate) fn per_minute(number: NonZeroU32, clock: &Arc<dyn Clock>) -> Self {
        Self::new(Quota::per_minute(number), clock)
    }

    fn new(quota: Quota, clock: &Arc<dyn Clock>) -> Self {
        Self(RateLimiter::direct_with_clock(quota, Ticks(Arc::clone(clock))))
    }

    /// Uses one up, where there is one; whether there was.
    pub(crate) fn take(&self) -> bool {
        self.0.check().is_ok()
    }
}
