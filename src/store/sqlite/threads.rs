//! The threads that own the SQLite connections. The writer drains its queue into one transaction
//! (group commit): one sync of the disk pays for every step that was waiting, and no answer leaves
//! before that sync.

use rusqlite::Connection;
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{mpsc, oneshot};

use crate::store::{Error, Step};

/// Steps that may wait; one more is answered [`Error::Busy`].
const QUEUE_CAPACITY: usize = 4096;

/// The most steps that share a transaction, so that the first of them does not wait for ever.
const BATCH_LIMIT: usize = 256;

/// A step in the queue of the writer: done inside a transaction, answered after its commit. Without a
/// connection it is not done, and the acknowledgement carries the fault.
type Write = Box<dyn FnOnce(Option<&Connection>) -> Acknowledge + Send>;

/// Tells the waiting task how the step and its commit ended.
type Acknowledge = Box<dyn FnOnce(Result<(), Error>) + Send>;

/// The one thread that writes.
pub(super) struct Writer {
    queue: mpsc::Sender<Write>,
}

impl Writer {
    pub(super) fn start(connection: Connection) -> std::io::Result<Self> {
        let (queue, mut steps) = mpsc::channel::<Write>(QUEUE_CAPACITY);
        std::thread::Builder::new().name("store-writer".to_owned()).spawn(move || {
            let mut batch = Vec::with_capacity(BATCH_LIMIT);
            while steps.blocking_recv_many(&mut batch, BATCH_LIMIT) != 0 {
                commit(&connection, &mut batch);
            }
        })?;
        Ok(Self { queue })
    }

    /// Queues `step` at once; the future waits until it is durable.
    pub(super) fn step<Value: Send + 'static>(
        &self,
        step: impl FnOnce(&Connection) -> rusqlite::Result<Value> + Send + 'static,
    ) -> Step<'static, Value> {
        let (sender, answer) = oneshot::channel();
        let write: Write = Box::new(move |connection| {
            let outcome = connection.map(|connection| step(connection).map_err(|error| failed(&error)));
            Box::new(move |committed| {
                let not_done = || Err(Error::Failed("no transaction".to_owned()));
                // Nobody waits where the task was dropped; the step holds all the same.
                let _ = sender.send(committed.and(outcome.unwrap_or_else(not_done)));
            })
        });
        let queued = self.queue.try_send(write).map_err(not_queued);
        Box::pin(async move {
            queued?;
            answer.await.map_err(|_| Error::Failed("its writing thread ended".to_owned()))?
        })
    }
}

/// Carries out `batch` in one transaction and acknowledges each step of it.
fn commit(connection: &Connection, batch: &mut Vec<Write>) {
    // IMMEDIATE: waiting for another process happens here, before anything was read.
    if let Err(error) = connection.execute_batch("BEGIN IMMEDIATE") {
        let error = failed(&error);
        tracing::error!(%error, "cannot begin a transaction");
        batch.drain(..).for_each(|write| write(None)(Err(error.clone())));
        return;
    }
    // A full disk makes SQLite roll back by itself; what would follow must not be committed one by one.
    let in_transaction = || (!connection.is_autocommit()).then_some(connection);
    let acknowledgements: Vec<Acknowledge> = batch.drain(..).map(|write| write(in_transaction())).collect();
    let committed = connection.execute_batch("COMMIT").map_err(|error| {
        let error = failed(&error);
        tracing::error!(%error, "cannot commit");
        // Already rolled back where the fault was the disk's; a second time does no harm.
        let _ = connection.execute_batch("ROLLBACK");
        error
    });
    for acknowledge in acknowledgements {
        acknowledge(committed.clone());
    }
}

/// A step in the queue of the reader; it answers by itself.
type Read = Box<dyn FnOnce(&Connection) + Send>;

/// The one thread that reads what was committed.
pub(super) struct Reader {
    queue: mpsc::Sender<Read>,
}

impl Reader {
    pub(super) fn start(connection: Connection) -> std::io::Result<Self> {
        let (queue, mut steps) = mpsc::channel::<Read>(QUEUE_CAPACITY);
        std::thread::Builder::new().name("store-reader".to_owned()).spawn(move || {
            while let Some(step) = steps.blocking_recv() {
                step(&connection);
            }
        })?;
        Ok(Self { queue })
    }

    pub(super) fn step<Value: Send + 'static>(
        &self,
        step: impl FnOnce(&Connection) -> rusqlite::Result<Value> + Send + 'static,
    ) -> Step<'static, Value> {
        let (sender, answer) = oneshot::channel();
        let queued = self.queue.try_send(Box::new(move |connection| {
            let _ = sender.send(step(connection).map_err(|error| failed(&error)));
        }));
        let queued = queued.map_err(not_queued);
        Box::pin(async move {
            queued?;
            answer.await.map_err(|_| Error::Failed("its reading thread ended".to_owned()))?
        })
    }
}

fn not_queued<Queued>(error: TrySendError<Queued>) -> Error {
    match error {
        TrySendError::Full(_) => Error::Busy,
        TrySendError::Closed(_) => Error::Failed("its thread ended".to_owned()),
    }
}

fn failed(error: &rusqlite::Error) -> Error {
    Error::Failed(error.to_string())
}
