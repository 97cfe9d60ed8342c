//! The stage in front of a device: as many requests are with it as it can work on, the others wait here, and what would
//! come too late is refused before it touches the device.
//!
//! Whoever waits is served in turns, one request of each client after the other, so that one client that asks for much
//! waits for itself. What goes on with a request that the device has worked for already goes first: to give that up
//! would waste what was done.

mod pace;
mod queue;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use self::pace::Pace;
use self::queue::{Queue, Ticket};
use crate::clock::Clock;

/// Of the requests that are with a device, one in this many may be an opening. Anybody can ask for those, by a forged
/// token; further ones wait here, and leave room for signatures and seals, which only good requests need.
const ONE_OPENING_IN: usize = 4;

/// What the device is to do.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Work {
    /// The first thing for a request.
    New,
    /// To open what a stranger sent.
    Opening,
    /// The rest of a request that it has worked for.
    Continued,
}

/// Why a request was not put to the device.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum NotAdmitted {
    /// It would come too late; what is before it takes this long.
    Congested(Duration),
    /// The device is not asked any more.
    TurnedAway,
}

/// The stage in front of one device.
pub(super) struct Admission {
    pace: Pace,
    in_flight: AtomicUsize,
    openings_in_flight: AtomicUsize,
    /// How many tickets are in the queue; zero is all that most requests look at.
    waiting: AtomicUsize,
    queue: Mutex<Queue>,
    clock: Arc<dyn Clock>,
}

/// A place with the device, given back when dropped.
pub(super) struct Permit {
    /// Nothing where the place was given back already.
    admission: Option<Arc<Admission>>,
    work: Work,
    begun: Instant,
    /// How many were with the device when this one was admitted, itself included.
    company: usize,
}

impl Admission {
    /// In front of a device that does `sessions` operations at a time, and whose keeper takes `most` requests.
    pub(super) fn new(sessions: usize, most: usize, clock: Arc<dyn Clock>) -> Arc<Self> {
        Arc::new(Self {
            pace: Pace::new(sessions, most, clock.instant()),
            in_flight: AtomicUsize::new(0),
            openings_in_flight: AtomicUsize::new(0),
            waiting: AtomicUsize::new(0),
            queue: Mutex::default(),
            clock,
        })
    }

    /// A place with the device for `work` on behalf of `client`; waits for one as long as that can be of use.
    pub(super) async fn admit(
        self: &Arc<Self>,
        client: &str,
        work: Work,
        deadline: Instant,
    ) -> Result<Permit, NotAdmitted> {
        let now = self.clock.instant();
        if self.waiting.load(Ordering::SeqCst) == 0
            && self.in_time(self.in_flight(), now, deadline).is_ok()
            && let Some(permit) = self.enter(work, now)
        {
            return Ok(permit);
        }
        let place = self.queue_up(client, work, now, deadline)?;
        match tokio::time::timeout_at(deadline.into(), place).await {
            Ok(Ok(outcome)) => outcome,
            Ok(Err(_)) => Err(NotAdmitted::TurnedAway),
            Err(_) => Err(NotAdmitted::Congested(self.pace.time_of(self.ahead()))),
        }
    }

    /// Refuses all that wait: the device is not asked any more.
    pub(super) fn turn_away(&self) {
        let mut queue = self.lock();
        *queue = Queue::default();
        self.waiting.store(0, Ordering::SeqCst);
    }

    /// Requests that are with the device.
    pub(super) fn in_flight(&self) -> usize {
        self.in_flight.load(Ordering::SeqCst)
    }

    /// Requests that are with the device or wait for it.
    pub(super) fn ahead(&self) -> usize {
        self.in_flight() + self.waiting.load(Ordering::SeqCst)
    }

    /// How long the device takes for so many requests, as far as it was seen to work.
    pub(super) fn time_of(&self, requests: usize) -> Duration {
        self.pace.time_of(requests)
    }

    /// A place, where there is one.
    fn enter(self: &Arc<Self>, work: Work, now: Instant) -> Option<Permit> {
        let places = self.pace.places();
        if work == Work::Opening {
            take(&self.openings_in_flight, (places / ONE_OPENING_IN).max(1))?;
        }
        match take(&self.in_flight, places) {
            Some(company) => Some(Permit { admission: Some(Arc::clone(self)), work, begun: now, company }),
            None => {
                if work == Work::Opening {
                    self.openings_in_flight.fetch_sub(1, Ordering::SeqCst);
                }
                None
            }
        }
    }

    /// Whether something behind `ahead` others is done by `deadline`.
    fn in_time(&self, ahead: usize, now: Instant, deadline: Instant) -> Result<(), NotAdmitted> {
        let expected = self.pace.time_of(ahead + 1);
        if now + expected < deadline { Ok(()) } else { Err(NotAdmitted::Congested(expected)) }
    }

    fn queue_up(
        self: &Arc<Self>,
        client: &str,
        work: Work,
        now: Instant,
        deadline: Instant,
    ) -> Result<oneshot::Receiver<Result<Permit, NotAdmitted>>, NotAdmitted> {
        let mut queue = self.lock();
        self.in_time(self.in_flight() + queue.before(client, work), now, deadline)?;
        let (answer, place) = oneshot::channel();
        queue.push(client, work, Ticket { deadline, answer });
        self.waiting.store(queue.len(), Ordering::SeqCst);
        // A place that was given back since may have found nobody waiting.
        self.let_in(&mut queue);
        Ok(place)
    }

    /// Gives the free places to those whose turn it is.
    fn let_in(self: &Arc<Self>, queue: &mut Queue) {
        let now = self.clock.instant();
        while let Some(work) = queue.next(self.may_open())
            && let Some(permit) = self.enter(work, now)
        {
            let undelivered = queue.pop(work).and_then(|ticket| {
                let outcome = match self.in_time(permit.company - 1, now, ticket.deadline) {
                    Ok(()) => Ok(permit),
                    Err(late) => {
                        permit.give_back();
                        Err(late)
                    }
                };
                ticket.answer.send(outcome).err()
            });
            // Nobody waits any more, and the place is for the next.
            if let Some(Ok(permit)) = undelivered {
                permit.give_back();
            }
        }
        self.waiting.store(queue.len(), Ordering::SeqCst);
    }

    fn may_open(&self) -> bool {
        self.openings_in_flight.load(Ordering::SeqCst) < (self.pace.places() / ONE_OPENING_IN).max(1)
    }

    fn leave(&self, work: Work) {
        if work == Work::Opening {
            self.openings_in_flight.fetch_sub(1, Ordering::SeqCst);
        }
        self.in_flight.fetch_sub(1, Ordering::SeqCst);
    }

    /// A panic while the lock was held cannot have left half a ticket.
    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Permit {
    /// The device answered: how long it took says how fast it is.
    pub(super) fn answered(&self) {
        if let Some(admission) = &self.admission {
            admission.pace.answered(self.begun, admission.clock.instant(), self.company, admission.in_flight());
        }
    }

    /// Gives the place back while the queue is locked, so that nobody is let in for it here.
    fn give_back(mut self) {
        if let Some(admission) = self.admission.take() {
            admission.leave(self.work);
        }
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let Some(admission) = self.admission.take() else { return };
        admission.leave(self.work);
        if admission.waiting.load(Ordering::SeqCst) != 0 {
            let mut queue = admission.lock();
            admission.let_in(&mut queue);
        }
    }
}

/// Takes one of `most`; how many are taken then.
fn take(taken: &AtomicUsize, most: usize) -> Option<usize> {
    let one_more = |now: usize| (now < most).then_some(now + 1);
    taken.fetch_update(Ordering::SeqCst, Ordering::SeqCst, one_more).ok().map(|before| before + 1)
}
