//! When keys are replaced.

use std::time::Duration;

use crate::hardware::{DelegatedKeys, ProfileKeys, Role};

/// When keys are replaced.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Schedule {
    /// The keys that sign access tokens.
    pub signing: RoleSchedule,
    /// The keys that seal refresh tokens.
    pub sealing: RoleSchedule,
    /// The keys that sign what front-ends bring, by their profiles.
    pub delegated: Vec<DelegatedSchedule>,
}

/// When keys of one role are replaced.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct RoleSchedule {
    /// How long a key is active; without this, until an operator asks for the next one.
    pub rotate_every: Option<Duration>,
    /// How many tokens an AES key makes at the most: its nonces are random (NIST SP 800-38D §8.3).
    pub rotate_after: u64,
    /// How long everybody knows a key before it is used.
    pub publish_ahead: Duration,
    /// How long the tokens that it makes live at the most.
    pub needed_for: Duration,
}

/// When keys of one signing profile for front-ends are replaced.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct DelegatedSchedule {
    /// The profile, and which keys are its own.
    pub keys: ProfileKeys,
    /// Keys that front-ends have made are not replaced, whatever this says.
    pub times: RoleSchedule,
}

impl Schedule {
    /// That of `role`; nothing where no profile has such keys.
    pub fn of(&self, role: Role) -> Option<&RoleSchedule> {
        match role {
            Role::Signing => Some(&self.signing),
            Role::Sealing => Some(&self.sealing),
            Role::Delegated(name) => {
                self.delegated.iter().find(|profile| profile.keys.include(&name)).map(|profile| &profile.times)
            }
        }
    }

    /// The roles whose keys follow one another.
    pub fn chains(&self) -> impl Iterator<Item = Role> {
        let profiles = self.delegated.iter().filter(|profile| profile.keys.keys == DelegatedKeys::One);
        let delegated = profiles.map(|profile| Role::Delegated(profile.keys.profile));
        [Role::Signing, Role::Sealing].into_iter().chain(delegated)
    }

    /// Whether front-ends have keys of `role` made.
    pub fn is_created(&self, role: Role) -> bool {
        matches!(role, Role::Delegated(name) if name.created_name().is_some()) && self.of(role).is_some()
    }

    /// The part of it that is for the mint's own keys.
    #[must_use]
    pub fn without_delegated(&self) -> Self {
        Self { delegated: Vec::new(), ..*self }
    }

    /// The same, but that keys are needed at least as long as by `other`.
    #[must_use]
    pub fn needed_as_long_as(&self, other: &Self) -> Self {
        let longer = |own: &RoleSchedule, other: &RoleSchedule| RoleSchedule {
            needed_for: own.needed_for.max(other.needed_for),
            ..*own
        };
        let delegated = self.delegated.iter().map(|own| {
            let other = other.delegated.iter().find(|other| other.keys == own.keys);
            DelegatedSchedule { times: other.map_or(own.times, |other| longer(&own.times, &other.times)), ..*own }
        });
        Self {
            signing: longer(&self.signing, &other.signing),
            sealing: longer(&self.sealing, &other.sealing),
            delegated: delegated.collect(),
        }
    }

    /// Whether it replaces keys as `other` does, for however long they are needed.
    pub fn replaces_as(&self, other: &Self) -> bool {
        self.needed_as_long_as(other) == other.needed_as_long_as(self)
    }
}
