//! What a mint knows of its keeper's keys, and insists on.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;

use super::wire::PublicKeys;

/// The keys that a keeper told, and those of them that one which comes back must have.
///
/// A `kid` is a thumbprint of the public half, so a key that was found under the same name again is the same key,
/// whatever the device was put through in between.
pub(super) struct KnownKeys {
    told: ArcSwap<PublicKeys>,
    needed: Mutex<BTreeSet<String>>,
}

impl KnownKeys {
    /// Of the first keeper: all of its keys are needed, until [`Self::need`] says otherwise.
    pub(super) fn new(first: PublicKeys) -> Self {
        let needed = first.keys.kids().collect();
        Self { told: ArcSwap::from_pointee(first), needed: Mutex::new(needed) }
    }

    pub(super) fn told(&self) -> Arc<PublicKeys> {
        self.told.load_full()
    }

    /// From now on exactly `kids` are needed.
    pub(super) fn need(&self, kids: BTreeSet<String>) {
        *self.needed.lock().unwrap_or_else(PoisonError::into_inner) = kids;
    }

    /// Takes over what the same keeper tells now.
    pub(super) fn update(&self, now: PublicKeys) {
        self.told.store(Arc::new(now));
    }

    /// Takes over what a keeper tells that came back; says no where it lacks a key that is needed, or follows
    /// another signing policy. The device may be another one, where keys were copied from one to the next inside
    /// the hardware.
    pub(super) fn accept(&self, back: PublicKeys) -> bool {
        let has: BTreeSet<String> = back.keys.kids().collect();
        let needed = self.needed.lock().unwrap_or_else(PoisonError::into_inner);
        let is_as_before = needed.is_subset(&has) && back.profiles == self.told.load().profiles;
        if is_as_before {
            self.told.store(Arc::new(back));
        }
        is_as_before
    }
}
