//! Which device does a request: the fittest of those that have its key, and after a fault the next.

use std::time::{Duration, Instant};

use super::error::KeeperError;
use super::handle::{Errand, Keeper};
use super::keepers::{Member, Standing};

/// A device that is this many times slower than another is asked only where the other has as much more to do. Devices
/// that are closer are told apart by how many of their sessions are taken.
const MUCH_SLOWER: u32 = 4;

/// One choice in so many does not look at the pace of devices, so that one that was slow once is seen again.
const UNPREJUDICED: usize = 16;

/// How fit a device is for one more request.
#[derive(Clone, Copy)]
pub(super) struct Fitness {
    /// Well primaries before well standbys before those that are not well.
    class: u8,
    /// How long one more request would take.
    time: Duration,
    /// Requests that it would have, against how many it works on at a time.
    load: (usize, usize),
}

impl Fitness {
    /// Of `member`, for the choice that is the `turn`th.
    pub(super) fn of(member: &Member, turn: usize) -> Self {
        let keeper = &member.keeper;
        let class = match (keeper.is_well(), member.standing) {
            (true, Standing::Primary) => 0,
            (true, Standing::Standby) => 1,
            (false, Standing::Primary) => 2,
            (false, Standing::Standby) => 3,
        };
        let time = if turn.is_multiple_of(UNPREJUDICED) { Duration::ZERO } else { keeper.expected_time() };
        Self { class, time, load: (keeper.requests() + 1, keeper.sessions()) }
    }

    fn is_better_than(self, other: Self) -> bool {
        if self.class != other.class {
            return self.class < other.class;
        }
        let is_much_faster = |one: Self, other: Self| one.time * MUCH_SLOWER < other.time;
        if is_much_faster(self, other) || is_much_faster(other, self) {
            return self.time < other.time;
        }
        let ((load, sessions), (others_load, others_sessions)) = (self.load, other.load);
        load * others_sessions < others_load * sessions
    }
}

/// Of `offers`, the one whose device is fittest; of several that are as fit, the first.
pub(super) fn fittest<Offer>(offers: impl Iterator<Item = (Offer, Fitness)>) -> Option<Offer> {
    let better =
        |best: (Offer, Fitness), next: (Offer, Fitness)| if next.1.is_better_than(best.1) { next } else { best };
    offers.reduce(better).map(|(offer, _)| offer)
}

/// The way of one request through the devices that have its key.
pub(super) struct Route<'a> {
    members: &'a [Member],
    kid: &'a str,
    /// Of equals, the one that this points at is the first.
    turn: usize,
    /// Those that were asked, by position.
    asked: u64,
    failed: Option<KeeperError>,
}

impl<'a> Route<'a> {
    pub(super) fn new(members: &'a [Member], kid: &'a str, turn: usize) -> Self {
        Self { members, kid, turn, asked: 0, failed: None }
    }

    /// How many devices have the key.
    pub(super) fn width(&self) -> usize {
        self.members.iter().filter(|member| member.keeper.has(self.kid)).count()
    }

    /// The device to ask next.
    ///
    /// # Errors
    /// What the last one failed by, where all were asked.
    pub(super) fn next(&mut self) -> Result<&'a Keeper, KeeperError> {
        let count = self.members.len();
        let in_turn = (0..count).map(|offset| (self.turn + offset) % count);
        let left = in_turn.filter(|position| self.asked & (1 << position) == 0);
        let offers = left.map(|position| (position, &self.members[position]));
        let able = offers.filter(|(_, member)| member.keeper.has(self.kid));
        let Some(position) = fittest(able.map(|(position, member)| (position, Fitness::of(member, self.turn)))) else {
            return Err(self.failed.take().unwrap_or_else(|| self.nobody()));
        };
        self.asked |= 1 << position;
        Ok(&self.members[position].keeper)
    }

    /// Takes over what the device failed by that was asked last.
    ///
    /// # Errors
    /// That, where no other device can do better, or none could in time.
    pub(super) fn failed(&mut self, error: KeeperError, errand: Errand<'_>, now: Instant) -> Result<(), KeeperError> {
        if !error.is_device_fault() || now >= errand.deadline {
            return Err(error);
        }
        self.failed = Some(error);
        Ok(())
    }

    /// Why no device has the key: one that has not answered yet may have it.
    fn nobody(&self) -> KeeperError {
        if self.members.iter().any(|member| member.keeper.public_keys().is_none()) {
            KeeperError::not_there_yet()
        } else {
            KeeperError::UnknownKey(self.kid.to_owned())
        }
    }
}
