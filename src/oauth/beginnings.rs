//! What anybody may begin, a login or a logout, counted by where it comes from.
//!
//! Each waits for minutes in one of the places that all have together, so that one source without a limit could take
//! them all. Only what is good, and takes a place, is counted.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use super::OAuthError;
use super::source::Source;
use super::source_budgets::SourceBudgets;
use crate::budget::Budget;
use crate::clock::Clock;
use crate::keeper::counters::Counter;

/// What sources have begun, at all endpoints together.
pub struct Beginnings {
    sources: SourceBudgets,
    retry_after: Duration,
    /// A flood must not flood the log.
    reports: Budget,
    refused: Counter,
}

impl Beginnings {
    /// Each source may begin `per_source` at once, and as many a minute; none did yet.
    pub fn new(per_source: NonZeroU32, clock: &Arc<dyn Clock>) -> Self {
        Self {
            sources: SourceBudgets::per_minute(per_source, clock),
            // By then there is one more.
            retry_after: Duration::from_secs(u64::from(60u32.div_ceil(per_source.get()))),
            reports: Budget::per_minute(NonZeroU32::MIN, clock),
            refused: Counter::default(),
        }
    }

    /// Has `source` begin one more. Where it is not known, which it is on the public listener, it has no limit.
    ///
    /// # Errors
    /// [`OAuthError::TooManyBegun`].
    pub fn admit(&self, source: Option<Source>) -> Result<(), OAuthError> {
        let Some(source) = source else { return Ok(()) };
        if self.sources.take(source) {
            return Ok(());
        }
        self.refused.increment();
        if self.reports.take() {
            let refused_until_now = self.refused.value();
            tracing::warn!(%source, refused_until_now, "a source begins more logins than it may: answering 429");
        }
        Err(OAuthError::TooManyBegun { retry_after: self.retry_after })
    }

    /// Forgets the sources whose budgets are whole again.
    pub fn prune(&self) {
        self.sources.prune();
    }

    /// How many were not begun since the start.
    pub fn refused(&self) -> u64 {
        self.refused.value()
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;
    use crate::clock::{FrozenClock, Timestamp};

    #[test]
    fn who_comes_again_when_told_to_may_begin_one_more() {
        for (per_source, seconds) in [(1, 60), (7, 9), (59, 2), (60, 1), (600, 1)] {
            let clock = FrozenClock::at(Timestamp::from_unix_seconds(0));
            let number = NonZeroU32::new(per_source).unwrap();
            let beginnings = Beginnings::new(number, &(Arc::clone(&clock) as Arc<dyn Clock>));
            let admit = |last| beginnings.admit(Some(Source::V4(Ipv4Addr::new(192, 0, 2, last))));
            assert!((0..per_source).all(|_| admit(1).is_ok()));
            let retry_after = Duration::from_secs(seconds);
            assert_eq!(admit(1), Err(OAuthError::TooManyBegun { retry_after }));
            assert_eq!(admit(2), Ok(()));
            clock.advance(retry_after);
            assert_eq!(admit(1), Ok(()), "{per_source}");
            assert_eq!(beginnings.refused(), 1);
        }
    }
}
