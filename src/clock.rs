//! Time as a value that is passed in. Nothing else in mintkeep reads a clock.

use std::fmt;
#[cfg(test)]
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// A `NumericDate`: whole seconds since 1970-01-01T00:00:00Z (RFC 7519 §2).
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize, Deserialize, ToSchema)]
#[serde(transparent)]
pub struct Timestamp(i64);

impl Timestamp {
    /// The timestamp `seconds` after the epoch (before it, where negative).
    pub const fn from_unix_seconds(seconds: i64) -> Self {
        Self(seconds)
    }

    /// Seconds since the epoch.
    pub const fn unix_seconds(self) -> i64 {
        self.0
    }

    /// The time that `text` writes as RFC 3339 in UTC, such as `2026-11-23T22:00:00Z`; parts of a second are
    /// left out.
    pub fn parse(text: &str) -> Option<Self> {
        let since_epoch = humantime::parse_rfc3339(text).ok()?.duration_since(UNIX_EPOCH).ok()?;
        Some(Self(whole_seconds(since_epoch)))
    }

    /// This time, later by the whole seconds of `duration`; saturates at the end of time.
    pub fn plus(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(whole_seconds(duration)))
    }

    /// This time, earlier by the whole seconds of `duration`; saturates at the start of time.
    pub fn minus(self, duration: Duration) -> Self {
        Self(self.0.saturating_sub(whole_seconds(duration)))
    }

    /// How long after `earlier` this is; zero where it is before it.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_secs(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }
}

/// 9999-12-31T23:59:59Z, behind which RFC 3339 has no years.
const LAST_WRITTEN: u64 = 253_402_300_799;

impl fmt::Display for Timestamp {
    /// RFC 3339 in UTC, as operators read it; a time that cannot be written so as the one nearest to it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = u64::try_from(self.0).unwrap_or(0).min(LAST_WRITTEN);
        let time = UNIX_EPOCH + Duration::from_secs(seconds);
        humantime::format_rfc3339_seconds(time).fmt(f)
    }
}

fn whole_seconds(duration: Duration) -> i64 {
    i64::try_from(duration.as_secs()).unwrap_or(i64::MAX)
}

/// Where the time comes from: the system, or a test's frozen clock.
pub trait Clock: Send + Sync {
    /// The time of day, for claims and records.
    fn now(&self) -> Timestamp;

    /// A reading that never goes back, for deadlines and measurements.
    fn instant(&self) -> Instant;
}

/// The operating system's clocks.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "the one place that reads the time of day")]
    fn now(&self) -> Timestamp {
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Timestamp(whole_seconds(since_epoch))
    }

    #[expect(clippy::disallowed_methods, reason = "the one place that reads the monotonic clock")]
    fn instant(&self) -> Instant {
        Instant::now()
    }
}

/// A clock that a test moves.
#[cfg(test)]
pub(crate) struct FrozenClock {
    start: (Timestamp, Instant),
    elapsed: Mutex<Duration>,
}

#[cfg(test)]
impl FrozenClock {
    /// One at `now`, until it is moved.
    pub(crate) fn at(now: Timestamp) -> Arc<Self> {
        Arc::new(Self { start: (now, SystemClock.instant()), elapsed: Mutex::default() })
    }

    /// Moves it by `time`.
    pub(crate) fn advance(&self, time: Duration) {
        *self.elapsed.lock().unwrap() += time;
    }
}

#[cfg(test)]
impl Clock for FrozenClock {
    fn now(&self) -> Timestamp {
        self.start.0.plus(*self.elapsed.lock().unwrap())
    }

    fn instant(&self) -> Instant {
        self.start.1 + *self.elapsed.lock().unwrap()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arithmetic_saturates_and_never_goes_negative_where_a_duration_is_meant() {
        let early = Timestamp::from_unix_seconds(100);
        let late = early.plus(Duration::from_secs(20));
        assert_eq!(late.since(early), Duration::from_secs(20));
        assert_eq!(early.since(late), Duration::ZERO);
        assert_eq!(early.plus(Duration::MAX), Timestamp::from_unix_seconds(i64::MAX));
    }

    #[test]
    fn displays_as_rfc_3339() {
        let time = Timestamp::from_unix_seconds(1_700_000_000);
        assert_eq!(time.to_string(), "2023-11-14T22:13:20Z");
        assert_eq!(Timestamp::parse("2023-11-14T22:13:20Z"), Some(time));
        assert_eq!(Timestamp::parse("2023-11-14"), None);
        for (seconds, written) in [(i64::MIN, "1970-01-01T00:00:00Z"), (i64::MAX, "9999-12-31T23:59:59Z")] {
            assert_eq!(Timestamp::from_unix_seconds(seconds).to_string(), written);
        }
    }
}
