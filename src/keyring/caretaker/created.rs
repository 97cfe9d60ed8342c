//! The keys that front-ends have made, and have destroyed.

use super::{Caretaker, Turn};
use crate::hardware::{KeyName, Role};
use crate::keeper::{KeeperError, Member, Standing};
use crate::keyring::KeyError;
use crate::store::{KeyRecord, KeyState};

/// Why a key is not made or destroyed.
#[derive(Debug)]
pub(in crate::keyring) enum CreationError {
    /// No profile has keys of that name.
    NotCreated,
    /// There is one of that name.
    Exists,
    /// There is none of that name.
    Unknown,
    /// The device did not.
    Keeper(KeeperError),
    /// The keys cannot be read, or moved on.
    Keys(KeyError),
}

impl From<KeyError> for CreationError {
    fn from(error: KeyError) -> Self {
        match error {
            KeyError::Device { error, .. } => Self::Keeper(error),
            error => Self::Keys(error),
        }
    }
}

impl Caretaker {
    /// Has the fittest device make a key called `name`, which signs from now on.
    pub(in crate::keyring) async fn create(&self, name: KeyName) -> Result<(), CreationError> {
        let role = Role::Delegated(name);
        if !self.schedule().is_created(role) {
            return Err(CreationError::NotCreated);
        }
        let mut turn = self.turn.lock().await;
        self.read(&mut turn).await?;
        if living(&turn, role).next().is_some() {
            return Err(CreationError::Exists);
        }
        let member = self.fittest().ok_or(CreationError::Keeper(KeeperError::NoKey))?;
        tracing::info!(%role, device = member.name, "a front-end has a key made");
        member.keeper.generate(role).await.map_err(CreationError::Keeper)?;
        self.settle(&mut turn).await?;
        let mut active = living(&turn, role).filter(|record| record.state() == KeyState::Active);
        // Another node may have been quicker, with another device.
        match active.next() {
            Some(record) if member.keeper.has(&record.kid) => Ok(()),
            _ => Err(CreationError::Exists),
        }
    }

    /// Has the key called `name` sign nothing any more, and its device destroy it: now, or when it is there again.
    pub(in crate::keyring) async fn destroy(&self, name: KeyName) -> Result<(), CreationError> {
        let role = Role::Delegated(name);
        if !self.schedule().is_created(role) {
            return Err(CreationError::NotCreated);
        }
        let mut turn = self.turn.lock().await;
        self.read(&mut turn).await?;
        let schedule = self.schedule();
        let view = self.view(&turn, &schedule);
        let steps: Vec<_> = living(&turn, role).map(|record| view.remove(record, false)).collect();
        if steps.is_empty() {
            return Err(CreationError::Unknown);
        }
        for step in steps {
            self.carry_out_move(step).await?;
        }
        turn.asked_at.clear();
        self.settle(&mut turn).await?;
        Ok(())
    }

    /// Has `device` destroy a key that is out of use; says whether it did.
    pub(super) async fn have_destroyed(&self, device: &str, kid: &str, role: Role, turn: &mut Turn) -> bool {
        let Some(member) = self.may_ask(turn, device, Some(role)) else { return false };
        tracing::info!(%role, kid, device, "destroying a key that a front-end had made");
        let destroyed = member.keeper.destroy(kid).await;
        if let Err(error) = &destroyed {
            tracing::warn!(%error, kid, device, "the device did not destroy a key; it is asked again");
        }
        destroyed.is_ok()
    }

    /// The device that has the least to do, of those that are asked first.
    fn fittest(&self) -> Option<&Member> {
        let known = self.keepers.members().iter().filter(|member| member.keeper.public_keys().is_some());
        known.min_by_key(|member| {
            let is_standby = member.standing == Standing::Standby;
            (!member.keeper.is_well(), is_standby, member.keeper.requests())
        })
    }
}

fn living(turn: &Turn, role: Role) -> impl Iterator<Item = &KeyRecord> {
    turn.records.iter().filter(move |record| record.role == role && record.state() != KeyState::Removed)
}
