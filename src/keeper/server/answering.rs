//! What a session thread does with its jobs: has the device do them, and releases what was made, or hands it over where
//! the device is a slow one.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam_channel::Sender;

use super::Event;
use super::outbox::Asker;
use super::release::{Done, FaultsInARow, Release, ReleaseThreads};
use crate::clock::Clock;
use crate::hardware::Session;
use crate::hardware::sessions::Work;
use crate::keeper::wire::{Refusal, decode};
use crate::keeper::worker::{Made, Worker};

/// A job that keeps the device for longer is answered at once. After a quick one the next is expected to be quick too;
/// where it is not, the answers that were put off leave after it.
const QUICK: Duration = Duration::from_micros(250);

/// After so many jobs in a row that were not quick the device is a slow one, and has better to do than to wait for what
/// becomes of them.
const SLOW_IN_A_ROW: u32 = 3;

/// A request that waits for a session.
pub(super) struct Job {
    pub(super) asker: Asker,
    pub(super) deadline: Instant,
    pub(super) message: Vec<u8>,
}

impl Job {
    /// What the device makes of the job; nothing where its connection is gone. One that was taken back is refused, and
    /// not passed over in silence: a keeper that is asked and does not answer is taken for one that hangs.
    fn done(&self, worker: &Worker, session: &mut dyn Session, now: Instant) -> Option<Made> {
        let Asker { outbox, id } = &self.asker;
        if outbox.is_closed() {
            return None;
        }
        if now >= self.deadline || outbox.is_cancelled(*id) {
            return Some(Made::refused(Refusal::TooLate));
        }
        Some(match decode(&self.message) {
            Ok(request) => worker.ask(session, &request),
            Err(_) => Made::refused(Refusal::Malformed),
        })
    }
}

/// One session thread's share of the work.
pub(super) struct Answering {
    worker: Arc<Worker>,
    clock: Arc<dyn Clock>,
    release: Release,
    threads: Arc<ReleaseThreads>,
    /// Which of the sessions this is.
    number: usize,
    faults: Arc<FaultsInARow>,
    slow_in_a_row: u32,
    /// The answers that were put off must not wait any longer.
    must_flush: bool,
}

impl Answering {
    pub(super) fn new(
        worker: Arc<Worker>,
        clock: Arc<dyn Clock>,
        events: Sender<Event>,
        threads: Arc<ReleaseThreads>,
        number: usize,
    ) -> Self {
        let (release, faults) = (Release::new(events), Arc::default());
        Self { worker, clock, release, threads, number, faults, slow_in_a_row: 0, must_flush: false }
    }
}

impl Work<Job> for Answering {
    fn run(&mut self, session: &mut dyn Session, job: Job, begun: Instant) {
        let Some(made) = job.done(&self.worker, session, begun) else { return };
        let is_quick = self.clock.instant() - begun < QUICK;
        self.slow_in_a_row = if is_quick { 0 } else { self.slow_in_a_row.saturating_add(1) };
        let done = Done { asker: job.asker, made, faults: Arc::clone(&self.faults) };
        if self.slow_in_a_row >= SLOW_IN_A_ROW {
            self.threads.hand_over(self.number, done);
        } else {
            self.must_flush |= self.release.put(done) || !is_quick;
        }
    }

    fn answer(&mut self) {
        if std::mem::take(&mut self.must_flush) {
            self.release.flush();
        }
    }

    fn rest(&mut self) {
        self.release.flush();
    }
}
