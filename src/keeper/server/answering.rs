//! What a session thread does with its jobs: carry out, answer, and notice when its device is no good any
//! more.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam_channel::Sender;
use secrecy::zeroize::Zeroize as _;

use super::Event;
use super::outbox::Outbox;
use crate::clock::Clock;
use crate::hardware::sessions::Work;
use crate::hardware::{Error, Session};
use crate::keeper::wire::{Refusal, Reply, append_frame, decode};
use crate::keeper::worker::{Answer, Verdict, Worker};

/// A job that takes longer is answered at once. After a quick one the next is expected to be quick too;
/// where it is not, the answers that were put off leave after it.
const QUICK: Duration = Duration::from_micros(250);

/// How many answers of one session thread may wait for each other.
const ANSWERS_TOGETHER: usize = 8;

/// A session whose calls fail this often in a row is given up, and the device with it, whatever the code
/// says. No input can bring this about: what is not authentic is no fault of the device.
const FAULTS_IN_A_ROW: u32 = 5;

/// A request that waits for a session.
pub(super) struct Job {
    pub(super) outbox: Arc<Outbox>,
    pub(super) id: u64,
    pub(super) deadline: Instant,
    pub(super) message: Vec<u8>,
}

impl Job {
    /// What the job comes to; nothing where its connection is gone. One that was taken back is refused, and
    /// not passed over in silence: a keeper that is asked and does not answer is taken for one that hangs.
    fn outcome(&self, worker: &Worker, session: &mut dyn Session, now: Instant) -> Option<Answer> {
        if self.outbox.is_closed() {
            return None;
        }
        if now >= self.deadline || self.outbox.is_cancelled(self.id) {
            return Some(Answer::refused(Refusal::TooLate));
        }
        Some(match decode(&self.message) {
            Ok(request) => worker.answer(session, &request),
            Err(_) => Answer::refused(Refusal::Malformed),
        })
    }

    /// Queues `reply` on its connection.
    pub(super) fn queue(&self, reply: &Reply) -> std::io::Result<()> {
        self.outbox.queue(|buffer| append_frame(buffer, self.id, 0, reply))
    }
}

/// Answers that may leave together, and the connection that they wait on.
struct PutOff {
    outbox: Arc<Outbox>,
    answers: usize,
}

/// One thread's share of the work.
///
/// Under load the answers of quick jobs leave in one write, which wakes the mint once for all of them: on
/// SoftHSM2 waking each other is what costs the two processes most after the signatures themselves.
pub(super) struct Answering {
    worker: Arc<Worker>,
    clock: Arc<dyn Clock>,
    events: Sender<Event>,
    put_off: Option<PutOff>,
    /// The answers that were put off must not wait any longer.
    must_flush: bool,
    /// By operation.
    faults_in_a_row: [u32; 3],
}

impl Answering {
    pub(super) fn new(worker: Arc<Worker>, clock: Arc<dyn Clock>, events: Sender<Event>) -> Self {
        Self { worker, clock, events, put_off: None, must_flush: false, faults_in_a_row: [0; 3] }
    }

    fn put_off(&mut self, outbox: Arc<Outbox>, is_quick: bool) {
        let answers = match &self.put_off {
            Some(waiting) if Arc::ptr_eq(&waiting.outbox, &outbox) => waiting.answers + 1,
            Some(_) | None => {
                self.rest();
                1
            }
        };
        self.put_off = Some(PutOff { outbox, answers });
        self.must_flush |= !is_quick || answers >= ANSWERS_TOGETHER;
    }

    /// Counts the faults of this session, for each operation by itself, and reports when there is no point
    /// in another try.
    fn judge(&mut self, verdict: Verdict) {
        match verdict {
            Verdict::None => {}
            Verdict::Works(operation) => self.faults_in_a_row[operation as usize] = 0,
            Verdict::Fault(operation, error) => {
                let faults = &mut self.faults_in_a_row[operation as usize];
                *faults += 1;
                if matches!(error, Error::Lost { .. }) || *faults >= FAULTS_IN_A_ROW {
                    self.rest();
                    let _ = self.events.send(Event::Lost(error));
                }
            }
        }
    }
}

impl Work<Job> for Answering {
    fn run(&mut self, session: &mut dyn Session, job: Job, begun: Instant) {
        let Some(Answer { mut reply, verdict }) = job.outcome(&self.worker, session, begun) else {
            return;
        };
        // A failed write means that the mint is gone; its reader notices.
        let _ = job.queue(&reply);
        if let Reply::Opened(plaintext) = &mut reply {
            plaintext.zeroize();
        }
        let is_quick = self.clock.instant() - begun < QUICK;
        self.put_off(job.outbox, is_quick);
        self.judge(verdict);
    }

    fn answer(&mut self) {
        if std::mem::take(&mut self.must_flush) {
            self.rest();
        }
    }

    fn rest(&mut self) {
        if let Some(PutOff { outbox, .. }) = self.put_off.take() {
            let _ = outbox.flush();
        }
    }
}
