//! The writing side of a connection, shared by the session threads: whoever finds nobody writing
//! writes all that is queued, so that answers made at the same time leave in one write.

use std::collections::VecDeque;
use std::io::{self, Write as _};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::keeper::wire::{Reply, WireError, append_frame};

/// A mint that takes no answers for this long is treated as gone.
const WRITE_TIMEOUT: Duration = Duration::from_secs(5);

/// A mint that asks faster than it reads the answers is let go.
const MOST_QUEUED_BYTES: usize = 4 * 1024 * 1024;

/// How many cancellations are remembered; more than can be waiting at a time is never useful.
const CANCELLED_CAPACITY: usize = 1024;

/// Answers on their way to one mint.
pub(super) struct Outbox {
    stream: UnixStream,
    queued: Mutex<Queued>,
    is_closed: AtomicBool,
    any_cancelled: AtomicBool,
    cancelled: Mutex<VecDeque<u64>>,
}

/// Where the answer to one request goes.
pub(super) struct Asker {
    pub(super) outbox: Arc<Outbox>,
    pub(super) id: u64,
}

impl Asker {
    /// Queues `reply`; it leaves with the next [`Outbox::flush`].
    pub(super) fn queue(&self, reply: &Reply) -> io::Result<()> {
        self.outbox.queue(|buffer| append_frame(buffer, self.id, 0, reply))
    }
}

#[derive(Default)]
struct Queued {
    buffer: Vec<u8>,
    spare: Vec<u8>,
    being_written: bool,
    closed: bool,
}

impl Outbox {
    pub(super) fn new(stream: UnixStream) -> io::Result<Self> {
        stream.set_write_timeout(Some(WRITE_TIMEOUT))?;
        Ok(Self {
            stream,
            queued: Mutex::default(),
            is_closed: AtomicBool::new(false),
            any_cancelled: AtomicBool::new(false),
            cancelled: Mutex::default(),
        })
    }

    /// Queues what `append` adds; it leaves with the next [`Self::flush`].
    pub(super) fn queue(&self, append: impl FnOnce(&mut Vec<u8>) -> Result<(), WireError>) -> io::Result<()> {
        let mut queued = lock(&self.queued);
        if queued.closed {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        if queued.buffer.len() > MOST_QUEUED_BYTES {
            queued.closed = true;
            let _ = self.stream.shutdown(Shutdown::Both);
            return Err(io::ErrorKind::OutOfMemory.into());
        }
        append(&mut queued.buffer).map_err(io::Error::other)
    }

    /// Writes all that is queued, unless another thread is about to.
    pub(super) fn flush(&self) -> io::Result<()> {
        let mut queued = lock(&self.queued);
        if queued.being_written {
            return Ok(());
        }
        queued.being_written = true;
        while !queued.buffer.is_empty() {
            let spare = std::mem::take(&mut queued.spare);
            let mut writing = std::mem::replace(&mut queued.buffer, spare);
            drop(queued);
            let written = (&self.stream).write_all(&writing);
            writing.clear();
            queued = lock(&self.queued);
            queued.spare = writing;
            if let Err(error) = written {
                queued.closed = true;
                // Wakes the reader, which ends the connection.
                let _ = self.stream.shutdown(Shutdown::Both);
                return Err(error);
            }
        }
        queued.being_written = false;
        Ok(())
    }

    pub(super) fn close(&self) {
        lock(&self.queued).closed = true;
        self.is_closed.store(true, Ordering::Release);
    }

    /// Remembers that the answer to `id` is not wanted any more.
    pub(super) fn cancel(&self, id: u64) {
        let mut cancelled = lock(&self.cancelled);
        if cancelled.len() == CANCELLED_CAPACITY {
            cancelled.pop_front();
        }
        cancelled.push_back(id);
        self.any_cancelled.store(true, Ordering::Release);
    }

    /// Whether the connection is gone, and with it all that it asked for.
    pub(super) fn is_closed(&self) -> bool {
        self.is_closed.load(Ordering::Acquire)
    }

    /// Whether the request `id` was taken back.
    pub(super) fn is_cancelled(&self, id: u64) -> bool {
        // Cancelling is rare: the common request pays for one load.
        if !self.any_cancelled.load(Ordering::Acquire) {
            return false;
        }
        let mut cancelled = lock(&self.cancelled);
        // Ids only grow, so what was cancelled long ago is not waiting any more.
        let oldest_waiting = id.saturating_sub(CANCELLED_CAPACITY as u64);
        cancelled.retain(|cancelled| *cancelled >= oldest_waiting);
        self.any_cancelled.store(!cancelled.is_empty(), Ordering::Release);
        cancelled.contains(&id)
    }
}

/// A thread that panicked while it held the lock has left whole frames only.
fn lock<Value>(mutex: &Mutex<Value>) -> MutexGuard<'_, Value> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
