//! The keys of one name that sign what front-ends bring, as they are at one moment.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::clock::Timestamp;
use crate::hardware::{KeyName, Role};
use crate::jose::jwk::P256PublicKey;
use crate::store::{KeyRecord, KeyState};

/// How long a key that was retired signs for a caller that names it: it has just read that it signs.
pub(super) const GRACE: Duration = Duration::from_secs(5 * 60);

/// A key that others verify by, and its number among all that there ever were of its name.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct VersionedKey {
    /// From 1 on. A key that a front-end had made is always 1.
    pub version: u32,
    /// Its `kid`.
    pub kid: String,
    /// Its public half.
    pub public_key: P256PublicKey,
    /// When it was made.
    pub created_at: Timestamp,
    /// Whether it is among those that sign where nobody says which.
    pub is_active: bool,
}

/// The keys of one name.
#[derive(Clone, Debug)]
pub(super) struct Ring {
    pub(super) name: KeyName,
    /// Published, active and retired ones, the oldest first.
    pub(super) keys: Vec<VersionedKey>,
    /// When keys were added to that list or taken from it for the last time.
    pub(super) changed_at: Timestamp,
    /// The `kid` of each that signs where nobody says which: the newest of each device.
    pub(super) active: Vec<String>,
    /// Those that do not sign any more, and since when.
    retired: Vec<(String, Timestamp)>,
}

impl Ring {
    /// Those that `records` come to.
    pub(super) fn all(records: &[KeyRecord]) -> Vec<Self> {
        let mut named: BTreeMap<KeyName, Vec<&KeyRecord>> = BTreeMap::new();
        for record in records {
            if let (Role::Delegated(name), Some(_)) = (record.role, record.life.published_at) {
                named.entry(name).or_default().push(record);
            }
        }
        named.into_iter().map(|(name, records)| Self::new(name, records)).collect()
    }

    /// Of records that were all published.
    fn new(name: KeyName, mut records: Vec<&KeyRecord>) -> Self {
        records.sort_by_key(|record| (record.life.published_at, &record.kid));
        let times = records.iter().flat_map(|record| [record.life.published_at, record.life.removed_at]);
        let changed_at = times.flatten().max().unwrap_or(Timestamp::from_unix_seconds(0));
        let mut active: BTreeMap<&str, &KeyRecord> = BTreeMap::new();
        for record in records.iter().filter(|record| record.state() == KeyState::Active) {
            let newest = active.entry(&record.device).or_insert(record);
            if (newest.life.activated_at, &newest.kid) < (record.life.activated_at, &record.kid) {
                *newest = record;
            }
        }
        let active: Vec<String> = active.values().map(|record| record.kid.clone()).collect();
        let is_created = name.created_name().is_some();
        let numbered = records.iter().zip(1..).map(|(record, number)| (record, if is_created { 1 } else { number }));
        let living = numbered.filter(|(record, _)| record.state() != KeyState::Removed);
        let keys = living.filter_map(|(record, version)| {
            let is_active = active.contains(&record.kid);
            let (kid, public_key, created_at) = (record.kid.clone(), record.public_key?, record.found_at);
            Some(VersionedKey { version, kid, public_key, created_at, is_active })
        });
        let retired = records.iter().filter_map(|record| Some((record.kid.clone(), record.life.retired_at?)));
        Self { name, keys: keys.collect(), changed_at, retired: retired.collect(), active }
    }

    /// The same, but that nothing signs.
    pub(super) fn silent(&self) -> Self {
        let mut ring = self.clone();
        ring.active.clear();
        for key in &mut ring.keys {
            key.is_active = false;
        }
        ring
    }

    /// Whether `key`, one of these, signs at `now` for who names it.
    pub(super) fn may_sign(&self, key: &VersionedKey, now: Timestamp) -> bool {
        // Where none is active, nobody knows whether any may sign.
        let mut retired = self.retired.iter();
        let retired_at = retired.find(|(kid, _)| *kid == key.kid).map(|(_, retired_at)| *retired_at);
        !self.active.is_empty() && retired_at.is_none_or(|retired_at| now < retired_at.plus(GRACE))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Life;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_unix_seconds(seconds)
    }

    /// Made, published, activated, retired and removed, as far as it came.
    fn record(name: &str, number: u8, times: &[i64]) -> KeyRecord {
        let mut point = [number; 65];
        point[0] = 4;
        let public_key = P256PublicKey::from_uncompressed(&point).unwrap();
        let time = |index: usize| times.get(index).map(|seconds| at(*seconds));
        KeyRecord {
            kid: format!("{number}"),
            role: Role::named(name).unwrap(),
            device: "hsm".to_owned(),
            public_key: Some(public_key),
            found_at: at(times[0]),
            life: Life {
                published_at: time(1),
                activated_at: time(2),
                retired_at: time(3),
                removed_at: time(4),
                is_revoked: false,
            },
            needed_until: at(0),
            uses: 0,
        }
    }

    fn only(records: &[KeyRecord]) -> Ring {
        let mut rings = Ring::all(records);
        assert_eq!(rings.len(), 1);
        rings.remove(0)
    }

    #[test]
    fn versions_count_what_there_was_and_stay_as_they_are() {
        let records = [
            record("delegated:dex", 9, &[1, 2, 3, 4, 50]),
            record("delegated:dex", 7, &[5, 6, 7, 40]),
            record("delegated:dex", 8, &[30, 31, 40]),
            record("delegated:dex", 1, &[45, 46]),
            record("delegated:dex", 2, &[47]),
            record("signing", 3, &[1, 2, 3]),
        ];
        let ring = only(&records);
        let told: Vec<_> = ring.keys.iter().map(|key| (key.version, key.kid.as_str(), key.is_active)).collect();
        assert_eq!(told, [(2, "7", false), (3, "8", true), (4, "1", false)]);
        assert_eq!((ring.active.as_slice(), ring.changed_at), (["8".to_owned()].as_slice(), at(50)));
    }

    #[test]
    fn activation_changes_no_list() {
        let before = only(&[record("delegated:dex", 7, &[5, 6, 7]), record("delegated:dex", 8, &[30, 31])]);
        let after = only(&[record("delegated:dex", 7, &[5, 6, 7, 90]), record("delegated:dex", 8, &[30, 31, 90])]);
        assert_eq!((before.changed_at, after.changed_at), (at(31), at(31)));
    }

    #[test]
    fn a_retired_key_signs_for_a_while_for_who_names_it() {
        let ring = only(&[record("delegated:dex", 7, &[5, 6, 7, 100]), record("delegated:dex", 8, &[30, 31, 100])]);
        let signs = |index: usize, now| ring.may_sign(&ring.keys[index], at(now));
        assert_eq!([signs(0, 100), signs(0, 399), signs(0, 400), signs(1, 10_000)], [true, true, false, true]);
        let silent = ring.silent();
        assert!(!silent.may_sign(&silent.keys[1], at(100)), "nobody knows whether it may");
    }

    #[test]
    fn a_key_that_was_made_under_a_name_is_always_the_first() {
        let records = [record("delegated:spire/a", 7, &[5, 6, 7, 8, 9]), record("delegated:spire/a", 8, &[30, 31, 32])];
        assert_eq!(only(&records).keys.iter().map(|key| key.version).collect::<Vec<_>>(), [1]);
    }

    #[test]
    fn each_device_has_one_that_signs() {
        let mut records = vec![record("delegated:dex", 7, &[5, 6, 7]), record("delegated:dex", 8, &[8, 9, 10])];
        assert_eq!(only(&records).active, ["8"], "the one before is about to be retired");
        records[0].device = "other".to_owned();
        assert_eq!(only(&records).active, ["8", "7"]);
    }
}
