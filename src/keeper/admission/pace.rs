//! How fast a device is, as its answers show.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// So much work is with a device beyond what its sessions are at: it never waits for the mint, and what waits in its
/// queue waits no longer than this.
const AHEAD: Duration = Duration::from_millis(20);

/// Answers that come within so much time count as one, by their mean: those of a quick device come in bursts, and its pace
/// is not that of the moment after one.
const TOGETHER: Duration = Duration::from_millis(10);

/// How much that changes the picture: one part in so many. Before it was seen so often the quickest counts: an early
/// answer may have waited for much that is not the device's.
const WEIGHT: u64 = 16;

/// What is expected to take so long may take a quarter longer.
const MARGIN: (u64, u64) = (5, 4);

/// The pace of one device. Threads that answer at the same time may lose one of their measurements to each other, which
/// does no harm.
pub(super) struct Pace {
    sessions: u64,
    most: usize,
    since: Instant,
    /// When the last answer came, in nanoseconds after `since`.
    last_answer: AtomicU64,
    /// Nanoseconds from one answer to the next where the device has enough to do; zero before the first.
    gap: AtomicU64,
    /// How often that was seen, as far as it matters.
    seen: AtomicU64,
    /// Gaps that are not in it yet, in nanoseconds, and how many they are.
    lately: (AtomicU64, AtomicU64),
}

impl Pace {
    pub(super) fn new(sessions: usize, most: usize, now: Instant) -> Self {
        let sessions = u64::try_from(sessions.max(1)).unwrap_or(u64::MAX);
        Self {
            sessions,
            most: most.max(1),
            since: now,
            last_answer: AtomicU64::new(0),
            gap: AtomicU64::new(0),
            seen: AtomicU64::new(0),
            lately: Default::default(),
        }
    }

    /// How many requests are to be with the device: two for each session, and what it does meanwhile.
    pub(super) fn places(&self) -> usize {
        let gap = self.gap.load(Ordering::Relaxed);
        let ahead = nanoseconds(AHEAD).checked_div(gap).unwrap_or(0);
        usize::try_from(self.sessions * 2 + ahead).unwrap_or(usize::MAX).min(self.most)
    }

    /// How long the device takes for so many requests; nothing before it was seen to work.
    pub(super) fn time_of(&self, requests: usize) -> Duration {
        let requests = u64::try_from(requests).unwrap_or(u64::MAX);
        let each = self.gap.load(Ordering::Relaxed) * MARGIN.0 / MARGIN.1;
        Duration::from_nanos(each.saturating_mul(requests))
    }

    /// A request that was put at `begun`, as one of `company`, was answered at `now`, while `in_flight` were with the
    /// device, itself included.
    pub(super) fn answered(&self, begun: Instant, now: Instant, company: usize, in_flight: usize) {
        let (begun, now) = (nanoseconds(begun - self.since), nanoseconds(now - self.since));
        let last = self.last_answer.swap(now, Ordering::Relaxed);
        let sessions = usize::try_from(self.sessions).unwrap_or(usize::MAX);
        let sample = if in_flight >= sessions && begun <= last {
            // There was something to do for every session since the last answer.
            now.saturating_sub(last)
        } else if company <= sessions {
            (now - begun) / self.sessions
        } else {
            return;
        };
        let sum = self.lately.0.fetch_add(sample, Ordering::Relaxed) + sample;
        let count = self.lately.1.fetch_add(1, Ordering::Relaxed) + 1;
        if sum < nanoseconds(TOGETHER) && self.gap.load(Ordering::Relaxed) != 0 {
            return;
        }
        self.lately.0.store(0, Ordering::Relaxed);
        self.lately.1.store(0, Ordering::Relaxed);
        self.learn(sum / count);
    }

    fn learn(&self, sample: u64) {
        let before = self.gap.load(Ordering::Relaxed);
        let seen = self.seen.load(Ordering::Relaxed);
        let after = match seen {
            0 => sample,
            1..WEIGHT => before.min(sample),
            _ => before - before / WEIGHT + sample / WEIGHT,
        };
        if seen < WEIGHT {
            self.seen.store(seen + 1, Ordering::Relaxed);
        }
        self.gap.store(after.max(1), Ordering::Relaxed);
    }
}

fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::{Clock as _, SystemClock};

    /// A device that answers `answers` requests, one every `gap`, with `in_flight` with it all the time.
    fn seen(sessions: usize, gap: Duration, in_flight: usize, answers: u32) -> Pace {
        let start = SystemClock.instant();
        let pace = Pace::new(sessions, 256, start);
        for answer in 1..=answers {
            let now = start + gap * answer;
            let begun = now - (gap * u32::try_from(in_flight).unwrap()).min(gap * answer);
            pace.answered(begun, now, in_flight, in_flight);
        }
        pace
    }

    #[test]
    fn a_slow_device_has_two_requests_for_each_session_and_a_fast_one_what_it_does_meanwhile() {
        assert_eq!(seen(1, Duration::from_millis(200), 2, 40).places(), 2);
        assert_eq!(seen(3, Duration::from_micros(100), 100, 400).places(), 206);
        assert_eq!(seen(30, Duration::from_micros(50), 100, 400).places(), 256);
        assert_eq!(Pace::new(2, 256, SystemClock.instant()).places(), 4);
        assert_eq!(Pace::new(10, 4, SystemClock.instant()).places(), 4);
    }

    #[test]
    fn the_time_of_a_queue_is_that_of_its_answers_and_a_quarter() {
        let pace = seen(1, Duration::from_millis(200), 2, 40);
        assert_eq!(pace.time_of(4).as_millis(), 1000);
        assert_eq!(Pace::new(1, 256, SystemClock.instant()).time_of(1000), Duration::ZERO);
    }

    #[test]
    fn answers_that_come_in_bursts_show_the_pace_between_them() {
        let start = SystemClock.instant();
        let pace = Pace::new(2, 256, start);
        // Forty answers at once, every two milliseconds.
        for burst in 1..=100 {
            let now = start + Duration::from_millis(2) * burst;
            for _ in 0..40 {
                pace.answered(now - Duration::from_millis(2), now, 80, 80);
            }
        }
        let of_a_thousand = pace.time_of(1000).as_micros();
        assert!((60_000..65_000).contains(&of_a_thousand), "{of_a_thousand}");
    }

    #[test]
    fn a_device_that_is_not_busy_shows_its_pace_by_how_long_it_takes() {
        let start = SystemClock.instant();
        let pace = Pace::new(4, 256, start);
        // One at a time, seconds apart.
        for second in 1..40 {
            let begun = start + Duration::from_secs(second);
            pace.answered(begun, begun + Duration::from_millis(40), 1, 1);
        }
        assert_eq!(pace.time_of(100).as_millis(), 1250);
    }
}
