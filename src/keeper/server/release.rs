//! What becomes of a job that the device has done: it is verified, answered, and says what the device is worth.
//!
//! A slow device has that done by threads of their own, so that its next job does not wait for it. With a quick one the
//! same thread does both: there a wake-up costs more than it saves.

use std::num::NonZero;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread::JoinHandle;

use crossbeam_channel::{Receiver, Sender, bounded};
use secrecy::zeroize::Zeroize as _;

use super::Event;
use super::outbox::{Asker, Outbox};
use crate::hardware::Error;
use crate::keeper::wire::Reply;
use crate::keeper::worker::{Answer, Made, Verdict};

/// How many answers of one thread may wait for each other.
const ANSWERS_TOGETHER: usize = 8;

/// A session whose calls fail this often in a row is given up, and the device with it, whatever the code
/// says. No input can bring this about: what is not authentic is no fault of the device.
const FAULTS_IN_A_ROW: u32 = 5;

/// How many jobs that are done may wait for one thread; the device waits then.
const MOST_DONE: usize = 64;

/// A job that the device has done.
pub(super) struct Done {
    pub(super) asker: Asker,
    pub(super) made: Made,
    /// Of the session that did it.
    pub(super) faults: Arc<FaultsInARow>,
}

/// The faults of one session since its last success, by operation.
#[derive(Default)]
pub(super) struct FaultsInARow([AtomicU32; 3]);

impl FaultsInARow {
    /// Counts a `verdict`; the fault after which there is no point in another try.
    fn count(&self, verdict: Verdict) -> Option<Error> {
        match verdict {
            Verdict::None => None,
            Verdict::Works(operation) => {
                self.0[operation as usize].store(0, Ordering::Relaxed);
                None
            }
            Verdict::Fault(operation, error) => {
                let faults = self.0[operation as usize].fetch_add(1, Ordering::Relaxed) + 1;
                (matches!(error, Error::Lost { .. }) || faults >= FAULTS_IN_A_ROW).then_some(error)
            }
        }
    }
}

/// Answers that may leave together, and the connection that they wait on.
struct PutOff {
    outbox: Arc<Outbox>,
    answers: usize,
}

/// Releases what was made, on one thread.
///
/// Under load the answers of quick jobs leave in one write, which wakes the mint once for all of them: on
/// SoftHSM2 waking each other is what costs the two processes most after the signatures themselves.
pub(super) struct Release {
    events: Sender<Event>,
    put_off: Option<PutOff>,
}

impl Release {
    pub(super) fn new(events: Sender<Event>) -> Self {
        Self { events, put_off: None }
    }

    /// Verifies what was made and puts its answer with those that are about to leave; says whether these should wait no
    /// longer.
    pub(super) fn put(&mut self, done: Done) -> bool {
        let Answer { mut reply, verdict } = done.made.released();
        // A failed write means that the mint is gone; its reader notices.
        let _ = done.asker.queue(&reply);
        if let Reply::Opened(plaintext) = &mut reply {
            plaintext.zeroize();
        }
        let answers = match &self.put_off {
            Some(waiting) if Arc::ptr_eq(&waiting.outbox, &done.asker.outbox) => waiting.answers + 1,
            Some(_) | None => {
                self.flush();
                1
            }
        };
        self.put_off = Some(PutOff { outbox: done.asker.outbox, answers });
        if let Some(error) = done.faults.count(verdict) {
            self.flush();
            let _ = self.events.send(Event::Lost(error));
        }
        answers >= ANSWERS_TOGETHER
    }

    /// Lets the answers leave that wait.
    pub(super) fn flush(&mut self) {
        if let Some(PutOff { outbox, .. }) = self.put_off.take() {
            let _ = outbox.flush();
        }
    }
}

/// The threads that release what slow devices make. Dropping this waits until all of it has left.
pub(super) struct ReleaseThreads {
    queues: Vec<Sender<Done>>,
    threads: Vec<JoinHandle<()>>,
}

impl ReleaseThreads {
    /// As many as are of use to so many `sessions`.
    pub(super) fn start(sessions: usize, events: &Sender<Event>) -> std::io::Result<Self> {
        let count = std::thread::available_parallelism().map_or(1, NonZero::get).min(sessions.max(1));
        let mut started = Self { queues: Vec::new(), threads: Vec::new() };
        for number in 0..count {
            let (queue, done) = bounded(MOST_DONE);
            let release = Release::new(events.clone());
            let thread = std::thread::Builder::new().name(format!("release-{number}"));
            started.threads.push(thread.spawn(move || run(release, &done))?);
            started.queues.push(queue);
        }
        Ok(started)
    }

    /// Hands over what the session `number` has done. All of one session is released in order.
    pub(super) fn hand_over(&self, number: usize, done: Done) {
        // The receivers live until the queues are dropped.
        let _ = self.queues[number % self.queues.len()].send(done);
    }
}

impl Drop for ReleaseThreads {
    fn drop(&mut self) {
        self.queues.clear();
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

fn run(mut release: Release, queue: &Receiver<Done>) {
    loop {
        let done = queue.try_recv().or_else(|_| {
            release.flush();
            queue.recv()
        });
        let Ok(done) = done else { return };
        if release.put(done) {
            release.flush();
        }
    }
}
