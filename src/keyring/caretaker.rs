//! Looks after the keys: reads what became of them, carries out what is due, and tells everybody what to use.

mod created;
mod orders;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use tokio::sync::Mutex;

use super::plan::{Action, Move, View};
use super::schedule::Schedule;
use super::{CurrentKeyring, KeyError, Keyring};
use crate::clock::Clock;
use crate::hardware::Role;
use crate::keeper::{Keepers, Member};
use crate::store::{KeyRecord, KeyState, Store};

pub(super) use self::created::CreationError;
pub use self::orders::Revocation;

/// How often the store is read: within this, and the time that reading takes, a node knows what another one did.
const READ_EVERY: Duration = Duration::from_secs(2);
/// At the soonest after the last reading where somebody met an unknown key: anybody can make such keys up.
const READ_AT_THE_SOONEST: Duration = Duration::from_millis(200);
/// Between two attempts to have a device generate a key, or look for one.
const ASK_DEVICE_EVERY: Duration = Duration::from_secs(10);
/// Between two notes of what the keys made.
const NOTE_EVERY: Duration = Duration::from_secs(5);
/// A note says that the last token ends this much later than it does, so that the next one may be late.
const NOTE_AHEAD: Duration = Duration::from_secs(10);
/// Plans that may follow from one another in one go.
const MOST_ROUNDS: usize = 16;

/// Looks after the keys of one mint, together with those of all other nodes that share its store.
pub struct Caretaker {
    keepers: Keepers,
    store: Arc<dyn Store>,
    schedule: ArcSwap<Schedule>,
    clock: Arc<dyn Clock>,
    keyring: CurrentKeyring,
    /// One thing at a time.
    turn: Mutex<Turn>,
}

/// What is remembered from one reading to the next.
#[derive(Default)]
struct Turn {
    records: Vec<KeyRecord>,
    /// Where an operator asks for the next key.
    wanted: BTreeSet<(String, Role)>,
    read_at: Option<Instant>,
    /// When a device was last asked for a key of a role, or to look for keys.
    asked_at: BTreeMap<(String, Option<Role>), Instant>,
    noted_at: Option<Instant>,
}

impl Caretaker {
    /// A caretaker that has not looked at anything yet.
    pub fn new(keepers: Keepers, store: Arc<dyn Store>, schedule: Schedule, clock: Arc<dyn Clock>) -> Self {
        let schedule = ArcSwap::from_pointee(schedule);
        Self { keepers, store, schedule, clock, keyring: CurrentKeyring::default(), turn: Mutex::default() }
    }

    /// Where the keyring is found.
    pub fn keyring(&self) -> &CurrentKeyring {
        &self.keyring
    }

    /// When it replaces keys.
    pub fn schedule(&self) -> Arc<Schedule> {
        self.schedule.load_full()
    }

    /// Keeps keys for as long as `schedule` says too, where that is longer: tokens may live longer from now on.
    pub fn keep_for(&self, schedule: &Schedule) {
        // What was made until now may live as long as it could when it was made.
        self.schedule.rcu(|before| before.needed_as_long_as(schedule));
    }

    /// The store that it reads.
    pub fn store(&self) -> &Arc<dyn Store> {
        &self.store
    }

    /// Reads the store, does what is due, and has everybody use the keyring that this comes to.
    ///
    /// # Errors
    /// [`KeyError::Missing`] where a key that is in use is in no device; and of the store.
    pub async fn begin(&self) -> Result<(), KeyError> {
        let mut turn = self.turn.lock().await;
        self.settle(&mut turn).await?;
        let schedule = self.schedule();
        let missing = self.view(&turn, &schedule).missing().next().cloned();
        match missing {
            Some(KeyRecord { kid, role, device, life, .. }) => {
                Err(KeyError::Missing { kid, role: role.into(), device, state: life.state().name() })
            }
            None => Ok(()),
        }
    }

    /// Notes what the keys made, before the mint ends.
    pub async fn end(&self) {
        let mut turn = self.turn.lock().await;
        turn.noted_at = None;
        if let Err(error) = self.note_uses(&mut turn).await {
            tracing::warn!(%error, "cannot note what the keys made last");
        }
    }

    /// Looks after the keys for as long as this is polled.
    pub async fn run(&self) {
        let mut keepers = self.keepers.clone();
        loop {
            tokio::select! {
                () = tokio::time::sleep(READ_EVERY) => {}
                // A device that came up may have keys that are needed.
                () = keepers.changed() => {}
                () = self.keyring.doubted() => tokio::time::sleep(READ_AT_THE_SOONEST).await,
            }
            let mut turn = self.turn.lock().await;
            if let Err(error) = self.settle(&mut turn).await {
                tracing::warn!(%error, "cannot look after the keys now");
                self.doubt(&turn);
            }
        }
    }

    /// Carries out plans until there is nothing left to do now.
    async fn settle(&self, turn: &mut Turn) -> Result<(), KeyError> {
        // What cannot be noted now is noted later. A disk that takes no writes can still be read.
        if let Err(error) = self.note_uses(turn).await {
            tracing::warn!(%error, "cannot note what the keys made");
        }
        for _round in 0..MOST_ROUNDS {
            self.read(turn).await?;
            let plan = self.view(turn, &self.schedule()).plan();
            let mut has_changed = false;
            for action in plan {
                has_changed |= self.carry_out(action, turn).await?;
            }
            if !has_changed {
                break;
            }
        }
        self.keyring.was_read();
        Ok(())
    }

    /// Reads the store, and has everybody use what it says.
    async fn read(&self, turn: &mut Turn) -> Result<(), KeyError> {
        turn.records = self.store.keys().await?;
        turn.read_at = Some(self.clock.instant());
        // Of a profile that is none any more, nothing is used or told.
        let schedule = self.schedule();
        let known: Vec<_> = turn.records.iter().filter(|record| schedule.of(record.role).is_some()).cloned().collect();
        self.keyring.replace(Keyring::new(&known, &self.keyring.load())?);
        self.need(&turn.records);
        Ok(())
    }

    /// Carries out one step; says whether that changed anything.
    async fn carry_out(&self, action: Action, turn: &mut Turn) -> Result<bool, KeyError> {
        match action {
            Action::Add(record) => {
                tracing::info!(kid = record.kid, role = %record.role, device = record.device, "found a key");
                self.store.add_keys(vec![record]).await?;
                Ok(true)
            }
            Action::Move(step) => match self.carry_out_move(step).await {
                Ok(()) => Ok(true),
                // It is read anew in any case.
                Err(KeyError::Raced(_)) => Ok(true),
                Err(error) => Err(error),
            },
            Action::Generate { device, role } => self.generate(device, role, turn).await,
            Action::LookAgain { device } => Ok(self.look_again(&device, turn).await),
            Action::Destroy { device, kid, role } => Ok(self.have_destroyed(&device, &kid, role, turn).await),
        }
    }

    async fn generate(&self, device: String, role: Role, turn: &mut Turn) -> Result<bool, KeyError> {
        let Some(member) = self.may_ask(turn, &device, Some(role)) else { return Ok(false) };
        tracing::info!(device, %role, "generating the next key");
        match member.keeper.generate(role).await {
            Ok(()) => Ok(true),
            Err(error) if turn.wanted.contains(&(device.clone(), role)) => Err(KeyError::Device { device, error }),
            Err(error) => {
                tracing::error!(%error, device, %role, "the device did not generate the next key");
                Ok(false)
            }
        }
    }

    async fn look_again(&self, device: &str, turn: &mut Turn) -> bool {
        let Some(member) = self.may_ask(turn, device, None) else { return false };
        let looked = member.keeper.look_again().await;
        if let Err(error) = &looked {
            tracing::warn!(%error, device, "cannot look for a key that another node uses");
        }
        looked.is_ok()
    }

    async fn carry_out_move(&self, Move { kid, from, to, needed_until }: Move) -> Result<(), KeyError> {
        if !self.store.move_key(kid.clone(), from, to, needed_until).await? {
            return Err(KeyError::Raced(kid));
        }
        tracing::info!(kid, from = from.state().name(), to = to.state().name(), "moved a key on");
        Ok(())
    }

    /// The device, where it may be asked: not again and again for what it does not do.
    fn may_ask(&self, turn: &mut Turn, device: &str, role: Option<Role>) -> Option<&Member> {
        let (now, question) = (self.clock.instant(), (device.to_owned(), role));
        let asked_at = turn.asked_at.get(&question);
        let member = self.keepers.members().iter().find(|member| member.name == device)?;
        if asked_at.is_some_and(|asked_at| now - *asked_at < ASK_DEVICE_EVERY) {
            return None;
        }
        turn.asked_at.insert(question, now);
        Some(member)
    }

    /// Notes what the keys were used for since the last note.
    async fn note_uses(&self, turn: &mut Turn) -> Result<(), KeyError> {
        let now = self.clock.instant();
        if turn.noted_at.is_some_and(|noted_at| now - noted_at < NOTE_EVERY) {
            return Ok(());
        }
        turn.noted_at = Some(now);
        let (keyring, schedule) = (self.keyring.load(), self.schedule());
        for counted in &keyring.uses {
            let Some(record) = turn.records.iter().find(|record| record.kid == counted.kid) else { continue };
            let Some(schedule) = schedule.of(record.role) else { continue };
            let count = counted.count.swap(0, Ordering::Relaxed);
            if count == 0 {
                continue;
            }
            // For as long, a node goes on without the store.
            let ahead = schedule.publish_ahead.max(NOTE_AHEAD);
            let until = self.clock.now().plus(schedule.needed_for).plus(ahead);
            if let Err(error) = self.store.note_key_use(counted.kid.clone(), count, until).await {
                counted.count.fetch_add(count, Ordering::Relaxed);
                return Err(error.into());
            }
        }
        Ok(())
    }

    /// Says to each keeper which keys the next one must have in its place.
    fn need(&self, records: &[KeyRecord]) {
        let schedule = self.schedule();
        let is_needed = |kid: &String| {
            let record = records.iter().find(|record| record.kid == *kid);
            // One that a front-end had made stands alone.
            let record = record.filter(|record| schedule.chains().any(|role| role == record.role));
            record.is_some_and(|record| match record.state() {
                KeyState::Published | KeyState::Active => true,
                KeyState::Retired => record.role == Role::Sealing,
                KeyState::Pending | KeyState::Removed => false,
            })
        };
        for member in self.keepers.members() {
            if let Some(told) = member.keeper.public_keys() {
                member.keeper.need(told.keys.kids().filter(is_needed).collect());
            }
        }
    }

    /// A node that cannot read the store does not go on signing for ever: the keys may have been retired, and removed,
    /// by others. What they keep is good for as long as a key is published ahead.
    fn doubt(&self, turn: &Turn) {
        let schedule = self.schedule();
        let named = self.keyring.load().rings.iter().map(|ring| Role::Delegated(ring.name)).collect::<Vec<_>>();
        for role in [Role::Signing, Role::Sealing].into_iter().chain(named) {
            let Some(limit) = schedule.of(role).map(|times| times.publish_ahead) else { continue };
            let is_stale = turn.read_at.is_none_or(|read_at| self.clock.instant() - read_at > limit);
            let keyring = self.keyring.load();
            if is_stale && !keyring.active(role).is_empty() {
                tracing::error!(
                    %role,
                    seconds = limit.as_secs(),
                    "the store could not be read for too long; its keys are not used any more until it can"
                );
                self.keyring.replace(keyring.without_active(role));
            }
        }
    }

    /// What is known now.
    fn view<'a>(&'a self, turn: &'a Turn, schedule: &'a Schedule) -> View<'a> {
        let members = self.keepers.members().iter();
        let told = |member: &Member| Some((member.name.clone(), member.keeper.public_keys()?.keys.clone()));
        View {
            records: &turn.records,
            names: members.clone().map(|member| member.name.clone()).collect(),
            devices: members.filter_map(told).collect(),
            wanted: &turn.wanted,
            schedule,
            tolerance: self.store.clock_tolerance(),
            now: self.clock.now(),
        }
    }
}
