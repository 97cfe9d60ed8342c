//! The limits that clients are registered with: how many requests of theirs are served a second, and at a time.
//!
//! Only a request that was granted counts, so that nobody who has nothing of a client's can use up what is the client's.

use std::num::NonZeroU32;
use std::sync::Arc;

use super::OAuthError;
use super::registrations::Registrations;
use super::request_limits::{LimitedCallers, Reached};
use crate::budget::Budget;
use crate::clock::Clock;
use crate::keeper::counters::Counter;

pub use super::request_limits::Place;

/// How far the clients that have limits are.
pub struct ClientLimits {
    clients: LimitedCallers,
    refused: Counter,
    /// A flood must not flood the log.
    reports: Budget,
}

impl ClientLimits {
    /// Those of all who are `registered`; nothing is used up yet.
    pub fn new(registered: &Registrations, clock: Arc<dyn Clock>) -> Self {
        let reports = Budget::per_minute(NonZeroU32::MIN, &clock);
        let limits = Self { clients: LimitedCallers::new(clock), refused: Counter::default(), reports };
        limits.follow(registered);
        limits
    }

    /// Goes by what is `registered` from now on. Requests that are served go on and count; a rate that stays the same
    /// stays used up as it is, and another one begins whole. One call at a time.
    pub fn follow(&self, registered: &Registrations) {
        self.clients.follow(registered.clients.iter().map(|client| (client.id.as_str(), client.limits)));
    }

    /// Has a request of the client `id`, which was granted, be served.
    ///
    /// # Errors
    /// [`OAuthError::OverLimit`].
    pub fn admit(&self, id: &str) -> Result<Place, OAuthError> {
        self.clients.admit(id).map_err(|reached| self.refuse(id, &reached))
    }

    /// Requests that were refused since the start.
    pub fn refused(&self) -> u64 {
        self.refused.value()
    }

    fn refuse(&self, client: &str, Reached(limit): &Reached) -> OAuthError {
        self.refused.increment();
        if self.reports.take() {
            let refused_until_now = self.refused.value();
            tracing::warn!(client, limit, refused_until_now, "a client is over a limit of its own");
        }
        OAuthError::OverLimit
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::clock::{FrozenClock, Timestamp};
    use crate::oauth::client::tests::client;
    use crate::oauth::client::{Client, RequestLimits};

    /// A client that has these limits, and one that has none.
    fn registered(per_second: u32, concurrent: u32) -> Registrations {
        let limits = RequestLimits { per_second: NonZeroU32::new(per_second), concurrent: NonZeroU32::new(concurrent) };
        let robot = Client { limits, ..client("robot") };
        Registrations { clients: [robot, client("other")].into_iter().collect(), ..Registrations::default() }
    }

    fn limits(per_second: u32, concurrent: u32) -> (ClientLimits, Arc<FrozenClock>) {
        let clock = FrozenClock::at(Timestamp::from_unix_seconds(0));
        (ClientLimits::new(&registered(per_second, concurrent), Arc::clone(&clock) as _), clock)
    }

    /// How many of ten that are over at once are served.
    fn served(limits: &ClientLimits) -> usize {
        (0..10).filter(|_| limits.admit("robot").is_ok()).count()
    }

    #[test]
    fn so_many_are_served_at_once_and_so_many_a_second() {
        let (limits, clock) = limits(4, 0);
        assert_eq!(served(&limits), 4);
        clock.advance(Duration::from_millis(500));
        assert_eq!(served(&limits), 2);
        clock.advance(Duration::from_secs(60));
        assert_eq!(served(&limits), 4);
        assert_eq!(limits.refused(), 6 + 8 + 6);
        assert!(matches!(limits.admit("robot"), Err(OAuthError::OverLimit)));
    }

    #[test]
    fn so_many_are_served_at_a_time() {
        let (limits, _) = limits(0, 2);
        let first = limits.admit("robot").unwrap();
        let second = limits.admit("robot").unwrap();
        assert!(matches!(limits.admit("robot"), Err(OAuthError::OverLimit)));
        drop(first);
        let third = limits.admit("robot").unwrap();
        assert!(limits.admit("robot").is_err());
        drop((second, third));
        assert_eq!(served(&limits), 10, "one after the other");
        assert_eq!(limits.refused(), 2);
    }

    #[test]
    fn a_request_without_a_place_costs_nothing_and_one_over_the_rate_takes_none() {
        let (limits, clock) = limits(2, 1);
        let place = limits.admit("robot").unwrap();
        assert_eq!(served(&limits), 0);
        drop(place);
        assert_eq!(served(&limits), 1, "what is left of the rate");
        clock.advance(Duration::from_secs(1));
        assert!(limits.admit("robot").is_ok());
    }

    #[test]
    fn who_has_no_limits_is_always_served() {
        let (limits, _) = limits(1, 1);
        let places: Vec<_> = (0..10).map(|_| limits.admit("other")).collect();
        assert!(places.iter().all(Result::is_ok));
        // In flight when it was removed.
        assert!(limits.admit("nobody").is_ok());
        assert_eq!(served(&limits), 1);
    }

    #[test]
    fn other_numbers_count_what_is_served_and_the_same_rate_stays_used_up() {
        let (limits, _) = limits(4, 2);
        let places = [limits.admit("robot").unwrap(), limits.admit("robot").unwrap()];
        limits.follow(&registered(4, 3));
        let third = limits.admit("robot").unwrap();
        assert!(limits.admit("robot").is_err(), "those from before count");
        limits.follow(&registered(4, 1));
        drop(third);
        assert!(limits.admit("robot").is_err(), "two are more than one");
        drop(places);
        assert_eq!(served(&limits), 1, "three of four were used up");
        limits.follow(&registered(5, 1));
        assert_eq!(served(&limits), 5);
        limits.follow(&registered(0, 0));
        assert_eq!(served(&limits), 10);
    }
}
