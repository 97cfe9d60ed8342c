//! What a mint knows of its keeper's keys, and insists on.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwapOption;

use super::wire::PublicKeys;

/// The keys that a keeper told, and those of them that one which comes back must have.
///
/// A `kid` is a thumbprint of the public half, so a key that was found under the same name again is the same key,
/// whatever the device was put through in between.
#[derive(Default)]
pub(super) struct KnownKeys {
    told: ArcSwapOption<Told>,
    /// Nothing before a keeper told its keys, or somebody said what is needed.
    needed: Mutex<Option<BTreeSet<String>>>,
}

/// What a keeper told.
struct Told {
    keys: Arc<PublicKeys>,
    /// Of all keys: to hash them anew for each request would cost more than the rest of the way.
    kids: Vec<String>,
}

impl KnownKeys {
    /// Nothing where no keeper ever told any.
    pub(super) fn told(&self) -> Option<Arc<PublicKeys>> {
        self.told.load().as_ref().map(|told| Arc::clone(&told.keys))
    }

    /// Whether the device has the key `kid`.
    pub(super) fn has(&self, kid: &str) -> bool {
        self.told.load().as_ref().is_some_and(|told| told.kids.iter().any(|known| known == kid))
    }

    /// From now on exactly `kids` are needed.
    pub(super) fn need(&self, kids: BTreeSet<String>) {
        *self.needed.lock().unwrap_or_else(PoisonError::into_inner) = Some(kids);
    }

    /// Takes over what the same keeper tells now.
    pub(super) fn update(&self, now: PublicKeys) {
        let kids = now.keys.kids().collect();
        self.told.store(Some(Arc::new(Told { keys: Arc::new(now), kids })));
    }

    /// Takes over what a keeper tells that came up; says no where it lacks a key that is needed, or follows
    /// another signing policy than the one before. The device may be another one, where keys were copied from one
    /// to the next inside the hardware. Of the first keeper all keys are needed, until [`Self::need`] says otherwise.
    pub(super) fn accept(&self, back: PublicKeys) -> bool {
        let has: BTreeSet<String> = back.keys.kids().collect();
        let mut needed = self.needed.lock().unwrap_or_else(PoisonError::into_inner);
        let has_needed = needed.get_or_insert_with(|| has.clone()).is_subset(&has);
        let is_as_before = has_needed
            && self.told().is_none_or(|before| {
                (&before.profiles, &before.delegated_profiles) == (&back.profiles, &back.delegated_profiles)
            });
        if is_as_before {
            self.update(back);
        }
        is_as_before
    }
}
