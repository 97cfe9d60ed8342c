//! The queue in front of a thread that owns a connection: any number of tasks fill it, one thread empties
//! it, many steps at a time.
//!
//! `tests/loom.rs` compiles this file once more, with loom's locks in the place of the standard library's,
//! and tries the orders that threads can run in. So all that synchronises comes from `super::sync`.

use std::collections::VecDeque;
use std::sync::PoisonError;

use super::sync::{Arc, Condvar, Mutex, MutexGuard};

/// The end that is filled. Dropping it closes the queue: what was taken in is still taken out.
pub(super) struct Queue<Step>(Arc<Shared<Step>>);

/// The end that is emptied. Dropping it, as a panic of its thread does, closes the queue and drops what waits.
pub(super) struct Taker<Step>(Arc<Shared<Step>>);

/// Why a step was not taken in.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Refused {
    /// As many wait as may wait.
    Full,
    /// One of the ends is gone.
    Closed,
}

struct Shared<Step> {
    state: Mutex<State<Step>>,
    /// Notified when the taker waits and has reason not to.
    changed: Condvar,
}

struct State<Step> {
    waiting: VecDeque<Step>,
    capacity: usize,
    is_closed: bool,
    /// Whether the taker waits and was not notified yet: a system call is made for nobody else.
    taker_waits: bool,
}

/// A queue in which `capacity` steps may wait.
pub(super) fn bounded<Step>(capacity: usize) -> (Queue<Step>, Taker<Step>) {
    let state = State { waiting: VecDeque::with_capacity(capacity), capacity, is_closed: false, taker_waits: false };
    let shared = Arc::new(Shared { state: Mutex::new(state), changed: Condvar::new() });
    (Queue(Arc::clone(&shared)), Taker(shared))
}

impl<Step> Queue<Step> {
    /// Takes `step` in, or drops it; waits for nothing but the lock, which nobody holds for long.
    pub(super) fn push(&self, step: Step) -> Result<(), Refused> {
        let mut state = self.0.lock();
        if state.is_closed {
            return Err(Refused::Closed);
        }
        if state.waiting.len() == state.capacity {
            return Err(Refused::Full);
        }
        state.waiting.push_back(step);
        self.0.release(state);
        Ok(())
    }
}

impl<Step> Drop for Queue<Step> {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        state.is_closed = true;
        self.0.release(state);
    }
}

impl<Step> Taker<Step> {
    /// Moves up to `limit` steps, the oldest first, into `batch`, and waits while there are none. `false`
    /// where none will ever come.
    pub(super) fn take(&mut self, batch: &mut Vec<Step>, limit: usize) -> bool {
        let mut state = self.0.lock();
        while state.waiting.is_empty() {
            if state.is_closed {
                return false;
            }
            state.taker_waits = true;
            state = self.0.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        // It may have been woken by nobody.
        state.taker_waits = false;
        let count = limit.min(state.waiting.len());
        batch.extend(state.waiting.drain(..count));
        true
    }
}

impl<Step> Drop for Taker<Step> {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        state.is_closed = true;
        let waiting = std::mem::take(&mut state.waiting);
        drop(state);
        // Outside the lock: dropping a step tells the task that waits for it.
        drop(waiting);
    }
}

impl<Step> Shared<Step> {
    /// A panic while the lock was held cannot have left half a change: a step is in the queue or is not.
    fn lock(&self) -> MutexGuard<'_, State<Step>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets go of the lock, and wakes the taker where it waits.
    fn release(&self, mut state: MutexGuard<'_, State<Step>>) {
        let taker_waits = std::mem::take(&mut state.taker_waits);
        drop(state);
        if taker_waits {
            self.changed.notify_one();
        }
    }
}
