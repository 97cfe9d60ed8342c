//! One connection to a keeper, as the mint uses it: requests of all tasks leave in one write, and
//! the answers of one read wake them all.

mod driver;

use std::collections::HashMap;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::io::AsyncWriteExt as _;
use tokio::net::UnixStream;
use tokio::sync::{Notify, oneshot};

pub(super) use self::driver::Driver;
use self::driver::Incoming;
use super::admission::Admission;
use super::counters::Counters;
use super::health::Health;
use super::wire::{
    Frame, GREETING_ID, Greeting, PREAMBLE, Reply, Request, StartFailure, WireError, append_frame, decode,
};
use crate::clock::Clock;

/// Requests that wait to be written take no more than this, whoever gave up on them.
const MOST_QUEUED_BYTES: usize = 1024 * 1024;

/// A keeper that is asked and says nothing for this long is taken for one that hangs, as long as it has not been
/// slower before: what can be done elsewhere is done elsewhere. It comes long before it is replaced.
const SILENCE: Duration = Duration::from_millis(500);

/// A device whose answers were this many times further apart is slow, and not silent.
const SLOWER_THAN_BEFORE: u32 = 4;

/// The shared half of a connection; [`Driver`] does the reading and writing.
pub(super) struct Link {
    state: Mutex<State>,
    /// Wakes the writer.
    queued: Notify,
    device: LinkedDevice,
    limits: LinkLimits,
    clock: Arc<dyn Clock>,
}

/// What all connections to one device have in common with its handle.
#[derive(Clone)]
pub(super) struct LinkedDevice {
    /// Its name in the configuration.
    pub(super) name: String,
    pub(super) health: Arc<Health>,
    pub(super) counters: Arc<Counters>,
    pub(super) admission: Arc<Admission>,
}

/// What a connection allows both sides.
#[derive(Clone, Copy, Debug)]
pub(super) struct LinkLimits {
    /// Requests under way at a time.
    pub(super) max_in_flight: usize,
    /// A keeper that is asked and says nothing for this long is replaced.
    pub(super) silence: Duration,
}

/// How a request is asked.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asked {
    /// Until when its answer is of use.
    pub(super) deadline: Instant,
    /// What becomes of it where the keeper says nothing.
    pub(super) patience: Patience,
}

/// What becomes of a request whose keeper says nothing.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Patience {
    /// It is put to another device.
    Moves,
    /// It waits: nobody else can do it.
    Stays,
    /// It waits, and it is what the others wait for: making a key takes a device as long as it takes.
    TakesLong,
}

/// Who waits for an answer.
struct Waiter {
    answer: oneshot::Sender<Result<Reply, LinkFault>>,
    patience: Patience,
}

struct State {
    buffer: Vec<u8>,
    waiting: HashMap<u64, Waiter>,
    next_id: u64,
    closed: bool,
    /// When the keeper was last asked after it had answered all; also where nobody waits for it any more.
    unanswered_since: Option<Instant>,
    /// The longest that answers were apart, of late: it shrinks with each one that comes sooner.
    slowest: Duration,
}

/// Why a request got no answer over this connection.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum LinkFault {
    /// The connection ended; whether the request was carried out is not known.
    Lost,
    /// Too many requests wait already.
    Busy,
    /// The time allowed has passed.
    TimedOut,
    /// The keeper says nothing, and somebody else may do it.
    Silent,
    /// The request does not fit a frame.
    TooLarge,
}

impl Link {
    /// Speaks the keeper protocol over `stream` until the keeper is ready, or says why it will not be.
    /// `logging_in` is set while the keeper tries the PIN.
    pub(super) async fn establish(
        stream: UnixStream,
        limits: LinkLimits,
        logging_in: &AtomicBool,
        device: LinkedDevice,
        clock: Arc<dyn Clock>,
    ) -> io::Result<(Result<Arc<Self>, StartFailure>, Driver)> {
        let (reader, mut writer) = stream.into_split();
        writer.write_all(&PREAMBLE).await?;
        let mut incoming = Incoming::new(reader);
        let ready = loop {
            match incoming.greeting().await? {
                Greeting::LoggingIn => logging_in.store(true, Ordering::Relaxed),
                Greeting::LoggedIn => logging_in.store(false, Ordering::Relaxed),
                Greeting::Ready => break Ok(()),
                Greeting::Failed(failure) => break Err(failure),
            }
        };
        let link = Arc::new(Self {
            state: Mutex::new(State {
                buffer: Vec::new(),
                waiting: HashMap::new(),
                next_id: GREETING_ID + 1,
                closed: false,
                unanswered_since: None,
                slowest: Duration::ZERO,
            }),
            queued: Notify::new(),
            device,
            limits,
            clock,
        });
        Ok((ready.map(|()| Arc::clone(&link)), Driver { link, incoming, writer }))
    }

    /// Asks and waits for the answer, at the longest until the deadline. Dropping the future takes the
    /// request back.
    pub(super) async fn exchange(&self, request: &Request<'_>, asked: Asked) -> Result<Reply, LinkFault> {
        let Asked { deadline, patience } = asked;
        let allowed = deadline.saturating_duration_since(self.clock.instant());
        let (id, answer) = self.enqueue(request, allowed, patience)?;
        let mut waiting = Waiting { link: self, id, answered: false };
        match tokio::time::timeout_at(deadline.into(), answer).await {
            Ok(Ok(Ok(reply))) => {
                waiting.answered = true;
                Ok(reply)
            }
            Ok(Ok(Err(fault))) => Err(fault),
            Ok(Err(_)) => {
                waiting.answered = true;
                Err(LinkFault::Lost)
            }
            // Not a word of a keeper that hangs: what was asked a moment before its deadline says nothing about it.
            Err(_) => Err(LinkFault::TimedOut),
        }
    }

    fn enqueue(&self, request: &Request<'_>, allowed: Duration, patience: Patience) -> Result<Enqueued, LinkFault> {
        let milliseconds = u32::try_from(allowed.as_millis()).unwrap_or(u32::MAX);
        let mut state = self.lock();
        if state.closed {
            return Err(LinkFault::Lost);
        }
        if state.waiting.len() >= self.limits.max_in_flight || state.buffer.len() >= MOST_QUEUED_BYTES {
            return Err(LinkFault::Busy);
        }
        let id = state.next_id;
        state.next_id += 1;
        append_frame(&mut state.buffer, id, milliseconds, request).map_err(|_| LinkFault::TooLarge)?;
        let (answer, receiver) = oneshot::channel();
        state.waiting.insert(id, Waiter { answer, patience });
        if state.unanswered_since.is_none() {
            state.unanswered_since = Some(self.clock.instant());
        }
        drop(state);
        self.queued.notify_one();
        Ok((id, receiver))
    }

    fn take_back(&self, id: u64) {
        let mut state = self.lock();
        let is_room = state.buffer.len() < MOST_QUEUED_BYTES;
        state.waiting.remove(&id);
        if !state.closed && is_room {
            // Fits always: a cancellation is one byte.
            let _ = append_frame(&mut state.buffer, id, 0, &Request::Cancel);
            drop(state);
            self.queued.notify_one();
        }
    }

    fn deliver(&self, frame: &Frame<'_>) -> Result<(), WireError> {
        let reply = decode(frame.message)?;
        let mut state = self.lock();
        let waiting = state.waiting.remove(&frame.id);
        drop(state);
        if let Some(waiting) = waiting {
            // Nobody waits where the asking task ended at this very moment.
            let _ = waiting.answer.send(Ok(reply));
        }
        Ok(())
    }

    fn received(&self) {
        let now = self.clock.instant();
        let mut state = self.lock();
        if let Some(since) = state.unanswered_since {
            state.slowest = (now - since).max(state.slowest - state.slowest / 8);
        }
        // What is still open is waited for from now on: it may be behind what was just answered.
        state.unanswered_since = (!state.waiting.is_empty()).then_some(now);
        drop(state);
        if self.device.health.heard() {
            tracing::info!(device = self.device.name, "the keeper answers again");
        }
    }

    /// Whether the keeper was asked, and has said nothing since for longer than it may. For shorter than that, yet for
    /// longer than it ever took, sends those who wait elsewhere who can go. A hanging call cannot be called off from
    /// here, so a silent keeper is replaced; a slow one still answers somebody.
    fn is_silent(&self) -> bool {
        let now = self.clock.instant();
        let mut state = self.lock();
        let Some(silent_for) = state.unanswered_since.map(|since| now - since) else {
            return false;
        };
        let is_expected = || state.waiting.values().any(|waiter| waiter.patience == Patience::TakesLong);
        if silent_for > SILENCE.max(state.slowest * SLOWER_THAN_BEFORE) && !is_expected() {
            if self.device.health.silent() {
                self.device.counters.breaker_opened.increment();
                self.device.admission.turn_away();
                tracing::warn!(device = self.device.name, "the keeper was asked and says nothing");
            }
            for (_, waiter) in state.waiting.extract_if(|_, waiter| waiter.patience == Patience::Moves) {
                // Nobody waits where the asking task ended at this very moment.
                let _ = waiter.answer.send(Err(LinkFault::Silent));
            }
        }
        silent_for > self.limits.silence
    }

    /// Whether requests can still be put.
    pub(super) fn is_open(&self) -> bool {
        !self.lock().closed
    }

    /// Ends the waiting of every request.
    pub(super) fn close(&self) {
        let mut state = self.lock();
        state.closed = true;
        state.buffer.clear();
        // Dropping the senders tells every waiting task that the connection is lost.
        state.waiting.clear();
    }

    /// A panic while the lock was held cannot have left half a frame: frames are appended whole.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The id of a request, and where its answer will come.
type Enqueued = (u64, oneshot::Receiver<Result<Reply, LinkFault>>);

/// A request whose answer is still to come; takes itself back when the asking task is dropped.
struct Waiting<'a> {
    link: &'a Link,
    id: u64,
    answered: bool,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        if !self.answered {
            self.link.take_back(self.id);
        }
    }
}
