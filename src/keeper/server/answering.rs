//! What a session thread does with its jobs: carry out, answer, and notice when its device is no good any
//! more.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam_channel::Sender;

use super::Event;
use super::outbox::Outbox;
use super::release::{Done, FaultsInARow, Release, ReleaseThreads};
use crate::clock::Clock;
use crate::hardware::Session;
use crate::hardware::sessions::Work;
use crate::keeper::wire::{Refusal, Reply, append_frame, decode};
use crate::keeper::worker::{Made, Worker};

/// A job that keeps the device for longer is answered at once. After a quick one the next is expected to be quick too;
/// where it is not, the answers that were put off leave after it.
const QUICK: Duration = Duration::from_micros(250);

/// After so many jobs in a row that were not quick the device is a slow one, and has better to do than to wait for what
/// becomes of them.
const SLOW_IN_A_ROW: u32 = 3;

/// A request that waits for a session.
pub(super) struct Job {
    pub(super) outbox: Arc<Outbox>,
    pub(super) id: u64,
    pub(super) deadline: Instant,
    pub(super) message: Vec<u8>,
}

impl Job {
    /// What the device makes of the job; nothing where its connection is gone. One that was taken back is refused, and
    /// not passed over in silence: a keeper that is asked and does not answer is taken for one that hangs.
    fn done(&self, worker: &Worker, session: &mut dyn Session, now: Instant) -> Option<Made> {
        if self.outbox.is_closed() {
            return None;
        }
        if now >= self.deadline || self.outbox.is_cancelled(self.id) {
            return Some(Made::refused(Refusal::TooLate));
        }
        Some(match decode(&self.message) {
            Ok(request) => worker.ask(session, &request),
            Err(_) => Made::refused(Refusal::Malformed),
        })
    }

    /// Queues `reply` on its connection.
    pub(super) fn queue(&self, reply: &Reply) -> std::io::Result<()> {
        self.outbox.queue(|buffer| append_frame(buffer, self.id, 0, reply))
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
        let done = Done { outbox: job.outbox, id: job.id, made, faults: Arc::clone(&self.faults) };
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
