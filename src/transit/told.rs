//! Which version of a key a caller was told, so that what it signs next is signed by that one.
//!
//! Dex reads a key, computes a `kid` of the version that it is told is the latest, and then has a digest signed without
//! naming a version. A key that takes over between the two must not sign under the other's name. So the version that a
//! caller was told stays its own for a while. A caller that does many things at a time may have read the old version and
//! be about to sign when it reads again: that reading waits until the one before it has had its time.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::hardware::KeyName;

/// How long the version that a caller was told signs for it.
const GRACE: Duration = Duration::from_secs(300);

/// What lies between a caller's reading and its signing at the most, where another reading may come between.
const SETTLING: Duration = Duration::from_secs(2);

/// Callers and keys that are remembered at a time. Callers are registered and keys are made by them within bounds, so
/// there are never as many.
const MOST: usize = 16_384;

/// What was told, by caller and key.
#[derive(Default)]
pub(super) struct ToldVersions(Mutex<HashMap<(String, KeyName), Told>>);

#[derive(Clone, Copy)]
struct Told {
    version: u32,
    at: Instant,
}

/// How a reading goes on.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Reading {
    /// This version is the latest.
    Tell(u32),
    /// Not yet: what the caller was told before may be about to sign.
    Wait(Duration),
}

impl ToldVersions {
    /// What the caller `caller`, who reads `key`, is to be told, where `latest` is the version that signs now.
    /// `may_sign` says whether an older version still could.
    pub(super) fn read(
        &self,
        caller: &str,
        key: KeyName,
        latest: u32,
        may_sign: impl Fn(u32) -> bool,
        now: Instant,
    ) -> Reading {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let name = (caller.to_owned(), key);
        if let Some(told) = all.get(&name).filter(|told| told.version != latest && may_sign(told.version)) {
            let left = SETTLING.saturating_sub(now.saturating_duration_since(told.at));
            if !left.is_zero() {
                return Reading::Wait(left);
            }
        }
        if all.len() >= MOST && !all.contains_key(&name) {
            make_room(&mut all, now);
        }
        all.insert(name, Told { version: latest, at: now });
        Reading::Tell(latest)
    }

    /// The version that `caller` was told of `key`, and means where it names none.
    pub(super) fn of(&self, caller: &str, key: KeyName, now: Instant) -> Option<u32> {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let told = all.get(&(caller.to_owned(), key))?;
        (now.saturating_duration_since(told.at) <= GRACE).then_some(told.version)
    }
}

/// Forgets what has had its time, or else what was told the longest ago.
fn make_room(all: &mut HashMap<(String, KeyName), Told>, now: Instant) {
    all.retain(|_, told| now.saturating_duration_since(told.at) <= GRACE);
    if all.len() >= MOST
        && let Some(oldest) = all.iter().min_by_key(|(_, told)| told.at).map(|(name, _)| name.clone())
    {
        all.remove(&oldest);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::{Clock as _, SystemClock};

    fn key(name: &str) -> KeyName {
        KeyName::parse(name).unwrap()
    }

    #[test]
    fn what_a_caller_was_told_stays_its_own_for_a_while() {
        let (told, start) = (ToldVersions::default(), SystemClock.instant());
        let at = |seconds| start + Duration::from_secs(seconds);
        assert_eq!(told.of("dex", key("dex"), start), None);
        assert_eq!(told.read("dex", key("dex"), 1, |_| true, start), Reading::Tell(1));
        for (caller, name) in [("other", "dex"), ("dex", "other")] {
            assert_eq!(told.of(caller, key(name), start), None);
        }
        assert_eq!(told.of("dex", key("dex"), at(300)), Some(1));
        assert_eq!(told.of("dex", key("dex"), at(301)), None);
        // Each reading begins it anew.
        assert_eq!(told.read("dex", key("dex"), 1, |_| true, at(200)), Reading::Tell(1));
        assert_eq!(told.of("dex", key("dex"), at(500)), Some(1));
    }

    #[test]
    fn a_reading_after_a_rotation_waits_for_signatures_that_may_be_on_their_way() {
        let (told, start) = (ToldVersions::default(), SystemClock.instant());
        let at = |milliseconds| start + Duration::from_millis(milliseconds);
        told.read("dex", key("dex"), 1, |_| true, start);
        assert_eq!(told.read("dex", key("dex"), 2, |_| true, at(500)), Reading::Wait(Duration::from_millis(1500)));
        // To wait moves nothing: the next one waits as long as is left.
        assert_eq!(told.read("dex", key("dex"), 2, |_| true, at(1900)), Reading::Wait(Duration::from_millis(100)));
        assert_eq!(told.of("dex", key("dex"), at(1999)), Some(1));
        assert_eq!(told.read("dex", key("dex"), 2, |_| true, at(2000)), Reading::Tell(2));
        assert_eq!(told.of("dex", key("dex"), at(2000)), Some(2));
        // Nobody else waits for it, and nobody waits for a version that is revoked.
        assert_eq!(told.read("other", key("dex"), 2, |_| true, at(500)), Reading::Tell(2));
        assert_eq!(told.read("dex", key("dex"), 3, |_| false, at(2001)), Reading::Tell(3));
    }

    #[test]
    fn memory_is_bounded() {
        let (told, start) = (ToldVersions::default(), SystemClock.instant());
        for number in 0..MOST as u64 + 10 {
            let now = start + Duration::from_micros(number);
            told.read(&number.to_string(), key("dex"), 1, |_| true, now);
        }
        assert_eq!(told.0.lock().unwrap().len(), MOST);
        let now = start + Duration::from_secs(1);
        assert_eq!((told.of("9", key("dex"), now), told.of("10", key("dex"), now)), (None, Some(1)));
    }
}
