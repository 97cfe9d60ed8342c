//! What is to be done about the keys now: a pure function of the records, of what the devices hold, and of the time.
//!
//! Every node that shares the store makes such plans, and each step of one is a compare-and-swap. So whoever comes
//! first does it, and the others find it done.

mod created;

use std::collections::BTreeSet;
use std::time::Duration;

use crate::clock::Timestamp;
use crate::hardware::{DeviceKeys, Role};
use crate::keyring::schedule::{RoleSchedule, Schedule};
use crate::store::{KeyRecord, KeyState, Life};

/// Within this every node that can read the store knows what another one wrote.
const LEARNED_WITHIN: Duration = Duration::from_secs(5);

/// What a mint knows when it makes a plan.
pub(super) struct View<'a> {
    /// All keys, as the store has them.
    pub(super) records: &'a [KeyRecord],
    /// The devices of this mint, by their names in the configuration.
    pub(super) names: Vec<String>,
    /// Those that answer, with the keys in them.
    pub(super) devices: Vec<(String, DeviceKeys)>,
    /// Where an operator asked for the next key.
    pub(super) wanted: &'a BTreeSet<(String, Role)>,
    /// See [`Schedule`].
    pub(super) schedule: &'a Schedule,
    /// How far the clocks of the nodes may be apart.
    pub(super) tolerance: Duration,
    /// The time.
    pub(super) now: Timestamp,
}

/// One step of a plan.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Action {
    /// Note a key that was found in a device.
    Add(KeyRecord),
    /// Move a key on in its life.
    Move(Move),
    /// Have a device generate a key.
    Generate { device: String, role: Role },
    /// Have a device look for a key that another node put there.
    LookAgain { device: String },
    /// Have a device destroy a key that a front-end had made, and does not want any more.
    Destroy { device: String, kid: String, role: Role },
}

/// A step in the life of a key.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Move {
    pub(super) kid: String,
    pub(super) from: Life,
    pub(super) to: Life,
    pub(super) needed_until: Timestamp,
}

impl View<'_> {
    /// The plan. Where it says that keys have to be noted, the rest is planned when they are.
    pub(super) fn plan(&self) -> Vec<Action> {
        let found = self.found();
        if !found.is_empty() {
            return found;
        }
        let mut actions = Vec::new();
        for role in self.schedule.chains() {
            for name in &self.names {
                self.plan_chain(name, role, &mut actions);
            }
            actions.extend(self.ended(|of| of == role));
        }
        self.plan_created(&mut actions);
        actions.extend(self.ended(|of| self.schedule.chains().all(|role| role != of)));
        actions.extend(self.hidden());
        actions
    }

    /// Active keys, and keys whose tokens are about, that no device has though it should.
    pub(super) fn missing(&self) -> impl Iterator<Item = &KeyRecord> {
        self.records.iter().filter(|record| {
            let is_needed = match record.state() {
                KeyState::Active => true,
                KeyState::Retired => record.role == Role::Sealing && self.now < record.needed_until,
                KeyState::Pending | KeyState::Published | KeyState::Removed => false,
            };
            // What front-ends have made stands alone: where it is lost, nothing else is.
            let is_own = self.schedule.chains().any(|role| role == record.role);
            is_needed
                && is_own
                && !self.is_present(&record.kid)
                && self.home(record).is_none_or(|home| self.is_up(home))
        })
    }

    /// The device that `record` belongs to: where its successor is made. A device that was given another name in the
    /// configuration is known by its key.
    pub(super) fn home<'a>(&'a self, record: &'a KeyRecord) -> Option<&'a str> {
        let named = self.names.iter().find(|name| **name == record.device).map(String::as_str);
        named.or_else(|| self.holders(&record.kid).next())
    }

    /// The next retirement of `record`: what it made stays good for as long as that lives, and nodes that cannot
    /// read the store may go on using it for a while.
    pub(super) fn retire(&self, record: &KeyRecord) -> Move {
        // Of a profile that is none any more, what was noted has to do.
        let until = |times: &RoleSchedule| self.now.plus(times.needed_for).plus(times.publish_ahead);
        Move {
            kid: record.kid.clone(),
            from: record.life,
            to: Life { retired_at: Some(self.now), ..record.life },
            needed_until: self.schedule.of(record.role).map_or(record.needed_until, until),
        }
    }

    pub(super) fn publish(&self, record: &KeyRecord) -> Move {
        self.move_to(record, Life { published_at: Some(self.published_now(record.role)), ..record.life })
    }

    pub(super) fn activate(&self, record: &KeyRecord) -> Move {
        let published_at = record.life.published_at.or_else(|| Some(self.published_now(record.role)));
        self.move_to(record, Life { published_at, activated_at: Some(self.now), ..record.life })
    }

    pub(super) fn remove(&self, record: &KeyRecord, is_revoked: bool) -> Move {
        self.move_to(record, Life { removed_at: Some(self.now), is_revoked, ..record.life })
    }

    /// When a key is published that is published now. Those of one name are numbered by this, so none comes before
    /// another that was there already, whatever the clocks of the nodes say.
    fn published_now(&self, role: Role) -> Timestamp {
        match role {
            Role::Signing | Role::Sealing => self.now,
            Role::Delegated(_) => {
                let before = self.records.iter().filter(|record| record.role == role);
                let last = before.filter_map(|record| record.life.published_at).max();
                last.map_or(self.now, |last| self.now.max(last.plus(Duration::from_secs(1))))
            }
        }
    }

    fn move_to(&self, record: &KeyRecord, to: Life) -> Move {
        Move { kid: record.kid.clone(), from: record.life, to, needed_until: record.needed_until }
    }

    /// Keys of the devices that nobody noted yet.
    fn found(&self) -> Vec<Action> {
        let mut found: Vec<KeyRecord> = Vec::new();
        for (device, keys) in &self.devices {
            for (kid, role, public_key) in keys.all().filter(|(_, role, _)| self.schedule.of(*role).is_some()) {
                if self.records.iter().chain(&found).all(|record| record.kid != kid) {
                    let (device, life) = (device.clone(), Life::default());
                    let now = self.now;
                    found.push(KeyRecord {
                        kid,
                        role,
                        device,
                        public_key,
                        found_at: now,
                        life,
                        needed_until: now,
                        uses: 0,
                    });
                }
            }
        }
        found.into_iter().map(Action::Add).collect()
    }

    /// What is to be done about the keys of one role in one device, one of which follows the other.
    fn plan_chain(&self, name: &str, role: Role, actions: &mut Vec<Action>) {
        let of_state = |state| {
            let chain = self.records.iter().filter(move |record| record.role == role && record.state() == state);
            chain.filter(|record| self.home(record) == Some(name))
        };
        let newest = of_state(KeyState::Active).max_by_key(|record| (record.life.activated_at, &record.kid));
        let older = of_state(KeyState::Active).filter(|record| Some(*record) != newest);
        actions.extend(older.map(|record| Action::Move(self.retire(record))));
        let next = of_state(KeyState::Published).min_by_key(|record| (record.life.published_at, &record.kid));
        if let Some(next) = next {
            if self.may_take_over(next, newest) {
                actions.push(Action::Move(self.activate(next)));
            }
            return;
        }
        let is_due = match newest {
            Some(active) => self.is_due(active),
            None => !self.is_copy(name, role),
        };
        if !is_due && !self.wanted.contains(&(name.to_owned(), role)) {
            return;
        }
        let waiting = of_state(KeyState::Pending).filter(|record| self.is_present(&record.kid));
        match waiting.min_by_key(|record| (record.found_at, &record.kid)) {
            // Nobody waits for a first key to become known: there is nothing else that could be used.
            Some(first) if self.nothing_serves(role) => actions.push(Action::Move(self.activate(first))),
            Some(first) => actions.push(Action::Move(self.publish(first))),
            None if self.is_up(name) => actions.push(Action::Generate { device: name.to_owned(), role }),
            None => {}
        }
    }

    /// Whether the device does with the keys of another one, which it is a copy of.
    fn is_copy(&self, name: &str, role: Role) -> bool {
        let usable = self.records.iter().filter(|record| record.role == role && record.state() <= KeyState::Active);
        let mut of_others = usable.filter(|record| self.home(record) != Some(name));
        of_others.any(|record| self.holders(&record.kid).any(|holder| holder == name))
    }

    fn is_due(&self, active: &KeyRecord) -> bool {
        let Some(schedule) = self.schedule.of(active.role) else { return false };
        let activated_at = active.life.activated_at.unwrap_or(active.found_at);
        let by_age = schedule
            .rotate_every
            .is_some_and(|age| self.now >= activated_at.plus(age.saturating_sub(schedule.publish_ahead)));
        by_age || (active.public_key.is_none() && active.uses >= schedule.rotate_after)
    }

    /// Whether `next` was known for long enough, and is wherever its predecessor is: the copies of a device come to
    /// a new key later.
    fn may_take_over(&self, next: &KeyRecord, active: Option<&KeyRecord>) -> bool {
        let Some(schedule) = self.schedule.of(next.role) else { return false };
        let known_since = next.life.published_at.unwrap_or(self.now);
        let is_known = self.now >= known_since.plus(schedule.publish_ahead).plus(LEARNED_WITHIN).plus(self.tolerance);
        let is_there = match active {
            Some(active) => {
                self.holders(&active.kid).all(|device| self.holders(&next.kid).any(|other| other == device))
            }
            None => true,
        };
        self.is_present(&next.kid) && is_there && (is_known || self.nothing_serves(next.role))
    }

    /// Whether no key of `role` is active that this mint could ever use.
    fn nothing_serves(&self, role: Role) -> bool {
        let mut active = self.records.iter().filter(|record| record.role == role && record.state() == KeyState::Active);
        active.all(|record| self.home(record).is_none())
    }

    /// Retired keys whose last token ended.
    fn ended(&self, is_of: impl Fn(Role) -> bool) -> impl Iterator<Item = Action> {
        let retired = self.records.iter();
        let retired = retired.filter(move |record| record.state() == KeyState::Retired && is_of(record.role));
        let ended = retired.filter(|record| self.now >= record.needed_until.plus(self.tolerance));
        ended.map(|record| Action::Move(self.remove(record, false)))
    }

    /// Devices in which another node should have put a key.
    fn hidden(&self) -> impl Iterator<Item = Action> {
        let awaited = self.records.iter().filter(|record| {
            let is_awaited = matches!(record.state(), KeyState::Published | KeyState::Active);
            is_awaited && self.schedule.of(record.role).is_some() && !self.is_present(&record.kid)
        });
        let homes: BTreeSet<&str> = awaited.filter_map(|record| self.home(record)).collect();
        let up = homes.into_iter().filter(|home| self.is_up(home));
        up.map(|home| Action::LookAgain { device: home.to_owned() })
    }

    fn holders<'a>(&'a self, kid: &'a str) -> impl Iterator<Item = &'a str> {
        let has = move |keys: &DeviceKeys| keys.kids().any(|known| known == kid);
        self.devices.iter().filter(move |(_, keys)| has(keys)).map(|(name, _)| name.as_str())
    }

    fn is_present(&self, kid: &str) -> bool {
        self.holders(kid).next().is_some()
    }

    fn is_up(&self, name: &str) -> bool {
        self.devices.iter().any(|(device, _)| device == name)
    }
}

#[cfg(test)]
mod tests;
