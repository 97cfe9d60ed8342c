//! What is to be done about the keys that front-ends have made: one a name, in one device, and never another in its
//! place.

use std::collections::BTreeSet;

use super::{Action, View};
use crate::hardware::Role;
use crate::store::{KeyRecord, KeyState};

impl View<'_> {
    /// Plans for each of them.
    pub(super) fn plan_created(&self, actions: &mut Vec<Action>) {
        let roles = self.records.iter().map(|record| record.role).filter(|role| self.schedule.is_created(*role));
        for role in roles.collect::<BTreeSet<Role>>() {
            self.plan_name(role, actions);
        }
    }

    fn plan_name(&self, role: Role, actions: &mut Vec<Action>) {
        let records = || self.records.iter().filter(|record| record.role == role);
        let age = |record: &&KeyRecord| (record.life.activated_at, record.found_at, record.kid.clone());
        let in_use = || records().filter(|record| matches!(record.state(), KeyState::Published | KeyState::Active));
        let pending = || records().filter(|record| record.state() == KeyState::Pending && self.is_present(&record.kid));
        // Two nodes may have had one made at the same moment, each in a device of its own.
        let kept = in_use().min_by_key(age).or_else(|| pending().min_by_key(age));
        let is_kept = |record: &KeyRecord| kept.is_some_and(|kept| kept.kid == record.kid);
        if let Some(kept) = kept.filter(|kept| kept.state() != KeyState::Active) {
            actions.push(Action::Move(self.activate(kept)));
        }
        for other in in_use().filter(|record| !is_kept(record)) {
            actions.push(Action::Move(self.retire(other)));
        }
        for other in pending().filter(|record| !is_kept(record)) {
            actions.push(Action::Move(self.remove(other, false)));
        }
        for removed in records().filter(|record| record.state() == KeyState::Removed) {
            let devices = self.holders(&removed.kid).map(str::to_owned);
            actions.extend(devices.map(|device| Action::Destroy { device, kid: removed.kid.clone(), role }));
        }
    }
}
