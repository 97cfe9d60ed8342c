//! The threads that own the SQLite connections: one writes, one reads what was committed.

use rusqlite::Connection;
use tokio::sync::oneshot;

use super::fault;
use super::group_commit::{Transactions, commit_until_closed};
use super::queue::{Queue, Refused, bounded};
use crate::store::{Error, Step};

/// Steps that may wait; one more is answered [`Error::Busy`].
const QUEUE_CAPACITY: usize = 4096;

/// The most steps that share a transaction.
const BATCH_LIMIT: usize = 256;

/// The one thread that writes.
pub(super) struct Writer {
    queue: Queue<Box<dyn Write>>,
}

impl Writer {
    pub(super) fn start(connection: Connection) -> std::io::Result<Self> {
        let (queue, steps) = bounded(QUEUE_CAPACITY);
        std::thread::Builder::new()
            .name("store-writer".to_owned())
            .spawn(move || commit_until_closed(steps, &Writes(connection), BATCH_LIMIT))?;
        Ok(Self { queue })
    }

    /// Queues `step` at once; the future waits until it is durable.
    pub(super) fn step<Value: Send + 'static>(
        &self,
        step: impl FnOnce(&Connection) -> rusqlite::Result<Value> + Send + 'static,
    ) -> Step<'static, Value> {
        let (sender, answer) = oneshot::channel();
        let queued = self.queue.push(Box::new(Waiting { step: Some(step), outcome: None, sender }));
        Box::pin(async move {
            queued?;
            answer.await.map_err(|_| Error::Failed("its writing thread ended".to_owned()))?
        })
    }
}

/// A step in the queue of the writer.
trait Write: Send {
    fn carry_out(&mut self, connection: &Connection);
    fn acknowledge(self: Box<Self>, committed: Result<(), Error>);
}

/// A step that a task waits for.
struct Waiting<Work, Value> {
    /// Until it is carried out.
    step: Option<Work>,
    /// From then on.
    outcome: Option<Result<Value, Error>>,
    sender: oneshot::Sender<Result<Value, Error>>,
}

impl<Work, Value: Send> Write for Waiting<Work, Value>
where
    Work: FnOnce(&Connection) -> rusqlite::Result<Value> + Send,
{
    fn carry_out(&mut self, connection: &Connection) {
        self.outcome = self.step.take().map(|step| step(connection).map_err(|error| failed(&error)));
    }

    fn acknowledge(self: Box<Self>, committed: Result<(), Error>) {
        let not_done = || Err(Error::Failed("no transaction".to_owned()));
        // Nobody waits where the task was dropped; the step holds all the same.
        let _ = self.sender.send(committed.and(self.outcome.unwrap_or_else(not_done)));
    }
}

/// The transactions of the writer's connection.
struct Writes(Connection);

impl Transactions for Writes {
    type Step = Box<dyn Write>;
    type Fault = Error;

    fn begin(&self) -> Result<(), Error> {
        // IMMEDIATE: waiting for another process happens here, before anything was read.
        self.0.execute_batch("BEGIN IMMEDIATE").map_err(|error| {
            let error = failed(&error);
            tracing::error!(%error, "cannot begin a transaction");
            error
        })
    }

    fn carry_out(&self, step: &mut Box<dyn Write>) {
        // A full disk makes SQLite roll back by itself; what would follow must not be committed one by one.
        if !self.0.is_autocommit() {
            step.carry_out(&self.0);
        }
    }

    fn commit(&self) -> Result<(), Error> {
        self.0.execute_batch("COMMIT").map_err(|error| {
            let error = failed(&error);
            tracing::error!(%error, "cannot commit");
            // Already rolled back where the fault was the disk's; a second time does no harm.
            let _ = self.0.execute_batch("ROLLBACK");
            error
        })
    }

    fn acknowledge(step: Box<dyn Write>, committed: Result<(), Error>) {
        step.acknowledge(committed);
    }
}

/// A step in the queue of the reader; it answers by itself.
type Read = Box<dyn FnOnce(&Connection) + Send>;

/// The one thread that reads what was committed.
pub(super) struct Reader {
    queue: Queue<Read>,
}

impl Reader {
    pub(super) fn start(connection: Connection) -> std::io::Result<Self> {
        let (queue, mut steps) = bounded::<Read>(QUEUE_CAPACITY);
        std::thread::Builder::new().name("store-reader".to_owned()).spawn(move || {
            let mut batch = Vec::with_capacity(BATCH_LIMIT);
            while steps.take(&mut batch, BATCH_LIMIT) {
                batch.drain(..).for_each(|step| step(&connection));
            }
        })?;
        Ok(Self { queue })
    }

    pub(super) fn step<Value: Send + 'static>(
        &self,
        step: impl FnOnce(&Connection) -> rusqlite::Result<Value> + Send + 'static,
    ) -> Step<'static, Value> {
        let (sender, answer) = oneshot::channel();
        let queued = self.queue.push(Box::new(move |connection| {
            let _ = sender.send(step(connection).map_err(|error| failed(&error)));
        }));
        Box::pin(async move {
            queued?;
            answer.await.map_err(|_| Error::Failed("its reading thread ended".to_owned()))?
        })
    }
}

impl From<Refused> for Error {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::Full => Self::Busy,
            Refused::Closed => Self::Failed("its thread ended".to_owned()),
        }
    }
}

fn failed(error: &rusqlite::Error) -> Error {
    Error::Failed(fault::told(error))
}
