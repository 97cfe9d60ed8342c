//! What operators ask of the caretaker.

use std::collections::BTreeSet;

use super::{Caretaker, Turn};
use crate::hardware::Role;
use crate::keyring::KeyError;
use crate::keyring::plan::{Move, View};
use crate::store::{KeyRecord, KeyState};

/// What revoking a key came to.
#[derive(Clone, Debug)]
pub struct Revocation {
    /// The key.
    pub revoked: KeyRecord,
    /// The key that took its place, where it was in use.
    pub successor: Option<KeyRecord>,
}

impl Caretaker {
    /// All keys that are in use, were, or are to be.
    ///
    /// # Errors
    /// Of the store.
    pub async fn keys(&self) -> Result<Vec<KeyRecord>, KeyError> {
        Ok(self.store.keys().await?)
    }

    /// Has the next key take the place of the active one, of `role` in `device` or of all: it is published now, and
    /// used when everybody knows it. Tells the keys that are published.
    ///
    /// # Errors
    /// [`KeyError`].
    pub async fn rotate(&self, device: Option<&str>, role: Option<Role>) -> Result<Vec<KeyRecord>, KeyError> {
        let names = self.keepers.members().iter().map(|member| &member.name);
        let devices = names.filter(|name| device.is_none_or(|device| device == *name));
        let schedule = self.schedule();
        let roles = || schedule.chains().filter(|one| role.is_none_or(|role| role == *one));
        if let Some(role) = role.filter(|_| roles().next().is_none()) {
            return Err(KeyError::NotReplaced(role.into()));
        }
        let wanted: BTreeSet<_> = devices.flat_map(|name| roles().map(|role| (name.clone(), role))).collect();
        if let Some(unknown) = device.filter(|_| wanted.is_empty()) {
            return Err(KeyError::UnknownDevice(unknown.to_owned()));
        }
        let mut turn = self.turn.lock().await;
        // Asked for by hand: a device that was just asked is asked again.
        turn.asked_at.clear();
        turn.wanted = wanted;
        let settled = self.settle(&mut turn).await;
        let wanted = std::mem::take(&mut turn.wanted);
        settled?;
        let view = self.view(&turn, &schedule);
        let is_wanted =
            |record: &KeyRecord| view.home(record).is_some_and(|home| wanted.contains(&(home.to_owned(), record.role)));
        let next = turn.records.iter().filter(|record| record.state() == KeyState::Published && is_wanted(record));
        Ok(next.cloned().collect())
    }

    /// Takes a key out of use; what it made stays good for as long as that lives.
    ///
    /// # Errors
    /// [`KeyError::NotNow`] where nothing would be in its place.
    pub async fn retire(&self, kid: &str) -> Result<KeyRecord, KeyError> {
        let mut turn = self.turn.lock().await;
        let record = self.find(&mut turn, kid).await?;
        let has_another = turn
            .records
            .iter()
            .any(|other| other.role == record.role && other.kid != kid && other.state() == KeyState::Active);
        let refuse = |expected: &str| {
            let (kid, found) = (kid.to_owned(), record.state().name());
            Err(KeyError::NotNow { kid, found, expected: expected.to_owned() })
        };
        let schedule = self.schedule();
        let view = self.view(&turn, &schedule);
        let step = match record.state() {
            KeyState::Active if !has_another => {
                return refuse(
                    "no other key is active in its place; run `mintkeep keys rotate`, which retires it in time",
                );
            }
            KeyState::Active => view.retire(&record),
            // Nothing was ever made by it.
            KeyState::Pending | KeyState::Published => view.remove(&record, false),
            KeyState::Retired | KeyState::Removed => return refuse("it is out of use already"),
        };
        self.carry_out_move(step).await?;
        self.settle(&mut turn).await?;
        self.find(&mut turn, kid).await
    }

    /// Removes a key whose last token ended, or that was never used.
    ///
    /// # Errors
    /// [`KeyError::NotNow`] where something that it made is good still.
    pub async fn remove(&self, kid: &str) -> Result<KeyRecord, KeyError> {
        let mut turn = self.turn.lock().await;
        let record = self.find(&mut turn, kid).await?;
        let refuse = |expected: String| {
            let (kid, found) = (kid.to_owned(), record.state().name());
            Err(KeyError::NotNow { kid, found, expected })
        };
        match record.state() {
            KeyState::Pending | KeyState::Published => {}
            KeyState::Retired if self.clock.now() >= record.needed_until => {}
            KeyState::Retired => {
                let until = record.needed_until;
                return refuse(format!(
                    "it is removed by itself when its last token has ended, at {until}; `mintkeep keys revoke` removes it now, and makes those tokens worthless"
                ));
            }
            KeyState::Active => return refuse("run `mintkeep keys rotate` first".to_owned()),
            KeyState::Removed => return Ok(record),
        }
        self.move_now(&mut turn, kid, |view, record| view.remove(record, false)).await
    }

    /// Takes a key out at once, in an emergency: everything that it made is worthless from now on. Where it was
    /// active, another one takes its place without waiting until everybody knows it.
    ///
    /// # Errors
    /// [`KeyError`]; where no successor can be had, the key is revoked all the same, and the error says so.
    pub async fn revoke(&self, kid: &str) -> Result<Revocation, KeyError> {
        let mut turn = self.turn.lock().await;
        let record = self.find(&mut turn, kid).await?;
        if record.state() == KeyState::Removed {
            let expected = "nothing that it made is good any more".to_owned();
            return Err(KeyError::NotNow { kid: kid.to_owned(), found: record.state().name(), expected });
        }
        let was_active = record.state() == KeyState::Active;
        let revoked = self.move_now(&mut turn, kid, |view, record| view.remove(record, true)).await?;
        if !was_active {
            return Ok(Revocation { revoked, successor: None });
        }
        // A successor that waits its time is used now; otherwise a new one is made.
        turn.asked_at.clear();
        self.settle(&mut turn).await?;
        let successor = turn.records.iter().filter(|other| other.role == record.role && other.device == record.device);
        let successor = successor.filter(|other| other.state() <= KeyState::Active).max_by_key(|other| other.state());
        let successor = match successor.cloned() {
            Some(waiting) if waiting.state() != KeyState::Active => {
                Some(self.move_now(&mut turn, &waiting.kid, |view, record| view.activate(record)).await?)
            }
            active => active,
        };
        Ok(Revocation { revoked, successor })
    }

    async fn move_now(
        &self,
        turn: &mut Turn,
        kid: &str,
        step: impl Fn(&View<'_>, &KeyRecord) -> Move,
    ) -> Result<KeyRecord, KeyError> {
        let record = self.find(turn, kid).await?;
        self.carry_out_move(step(&self.view(turn, &self.schedule()), &record)).await?;
        self.read(turn).await?;
        self.find(turn, kid).await
    }

    async fn find(&self, turn: &mut Turn, kid: &str) -> Result<KeyRecord, KeyError> {
        turn.records = self.store.keys().await?;
        let found = turn.records.iter().find(|record| record.kid == kid);
        found.cloned().ok_or_else(|| KeyError::Unknown(kid.to_owned()))
    }
}
