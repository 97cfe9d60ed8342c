//! The threads that call into the hardware: each owns one [`Session`], all take jobs from one
//! bounded queue. A full queue is an answer, never a wait.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};

use super::{Device, Error, Session};
use crate::clock::Clock;

/// What one session thread does with its jobs; each thread has a value of its own.
pub trait Work<Job>: Send + 'static {
    /// Does one job, begun at `begun`, with the device.
    fn run(&mut self, session: &mut dyn Session, job: Job, begun: Instant);

    /// Tells what came of the job that was run last; the device is not needed for that.
    fn answer(&mut self);

    /// Does what was put off: no job is waiting, and this thread is about to.
    fn rest(&mut self);
}

/// A fixed set of session threads with their queue.
pub struct Sessions<Job> {
    queue: Sender<Order<Job>>,
    threads: Vec<Arc<Activity>>,
    /// Set when what is queued is not to be done any more.
    ending: Arc<AtomicBool>,
    /// Disconnected when the last thread has ended.
    running: Receiver<Infallible>,
    clock: Arc<dyn Clock>,
    started: Instant,
}

enum Order<Job> {
    Do(Job),
    /// Close the session and end the thread.
    End,
}

/// What a session thread is doing: zero while it waits, else the milliseconds after `started`, plus
/// one, at which its present job began.
#[derive(Default)]
struct Activity {
    busy_since: AtomicU64,
}

impl<Job: Send + 'static> Sessions<Job> {
    /// Opens `count` sessions of `device` and starts their threads, each with a `work` of its own.
    ///
    /// # Errors
    /// The device's, where it does not give that many sessions.
    pub fn start<W: Work<Job>>(
        device: &dyn Device,
        count: usize,
        queue_capacity: usize,
        clock: Arc<dyn Clock>,
        work: impl Fn() -> W,
    ) -> Result<Self, Error> {
        let (queue, jobs) = bounded(queue_capacity);
        let (runs, running) = bounded(0);
        let ending = Arc::new(AtomicBool::new(false));
        let started = clock.instant();
        let mut threads = Vec::with_capacity(count);
        for number in 0..count {
            let session = device.open_session()?;
            let activity = Arc::new(Activity::default());
            let runner = Runner {
                jobs: jobs.clone(),
                ending: Arc::clone(&ending),
                activity: Arc::clone(&activity),
                clock: Arc::clone(&clock),
                started,
                work: work(),
                _runs: runs.clone(),
            };
            std::thread::Builder::new().name(format!("session-{number}")).spawn(move || runner.run(session)).map_err(
                |error| Error::Call { call: "starting a session thread".to_owned(), reason: error.to_string() },
            )?;
            threads.push(activity);
        }
        Ok(Self { queue, threads, ending, running, clock, started })
    }

    /// Queues `job`.
    ///
    /// # Errors
    /// The job itself, where the queue is full.
    pub fn submit(&self, job: Job) -> Result<(), Job> {
        self.queue.try_send(Order::Do(job)).map_err(|error| match error.into_inner() {
            Order::Do(job) => job,
            Order::End => unreachable!("a job was sent"),
        })
    }

    /// Has every thread finish its job, close its session and end; jobs that are queued are dropped. Says
    /// whether all did within `limit`; one that is inside the device for longer cannot be ended.
    pub fn end(&self, limit: Duration) -> bool {
        self.ending.store(true, Ordering::Relaxed);
        let deadline = self.clock.instant() + limit;
        let all_told = self.threads.iter().all(|_| self.queue.send_deadline(Order::End, deadline).is_ok());
        all_told && self.running.recv_deadline(deadline) == Err(RecvTimeoutError::Disconnected)
    }

    /// How long the longest running job has been inside the device.
    pub fn longest_running(&self) -> Duration {
        let now = milliseconds(self.clock.instant() - self.started);
        let busy = self.threads.iter().map(|thread| thread.busy_since.load(Ordering::Relaxed));
        let oldest = busy.filter(|since| *since != 0).map(|since| since - 1).min();
        Duration::from_millis(oldest.map_or(0, |since| now.saturating_sub(since)))
    }
}

struct Runner<Job, W> {
    jobs: Receiver<Order<Job>>,
    ending: Arc<AtomicBool>,
    activity: Arc<Activity>,
    clock: Arc<dyn Clock>,
    started: Instant,
    work: W,
    /// Dropped last, which tells that the thread ended.
    _runs: Sender<Infallible>,
}

impl<Job, W: Work<Job>> Runner<Job, W> {
    fn run(mut self, mut session: Box<dyn Session>) {
        while let Some(job) = self.next_job() {
            let begun = self.clock.instant();
            self.activity.busy_since.store(milliseconds(begun - self.started) + 1, Ordering::Relaxed);
            self.work.run(session.as_mut(), job, begun);
            self.activity.busy_since.store(0, Ordering::Relaxed);
            self.work.answer();
        }
    }

    /// The next job; `None` when there will be none any more.
    fn next_job(&mut self) -> Option<Job> {
        loop {
            let order = self.jobs.try_recv().or_else(|_| {
                self.work.rest();
                self.jobs.recv()
            });
            match order {
                Ok(Order::Do(_)) if self.ending.load(Ordering::Relaxed) => {}
                Ok(Order::Do(job)) => return Some(job),
                Ok(Order::End) | Err(_) => {
                    self.work.rest();
                    return None;
                }
            }
        }
    }
}

fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
