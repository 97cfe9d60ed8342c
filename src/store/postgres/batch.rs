//! Steps that wait are carried out together: one round trip to the database for many. While a batch is under way
//! the next one gathers, so nothing waits for a timer, and the busier the mint, the larger the batches.

use std::sync::Arc;

use deadpool_postgres::Object;
use tokio::sync::{Mutex, mpsc, oneshot};

use super::pool::{Pool, Work};
use crate::store::{Error, Step};

/// Steps that may wait; one more is answered [`Error::Busy`].
const QUEUE_CAPACITY: usize = 4096;
/// The most steps that share a round trip.
const BATCH_LIMIT: usize = 256;
/// Batches under way at a time, of one kind: while the database works on one, the next is on its way.
const LANES: usize = 2;

/// A kind of step that can be carried out for many at once.
pub(super) trait Batched: Send + Sync + 'static {
    /// What one step needs.
    type Input: Send + Sync + 'static;
    /// What one step gives.
    type Output: Send + 'static;

    /// Carries out all of `inputs`; the outputs are in their order. It may be done more than once.
    fn carry_out(connection: &Object, inputs: Arc<[Self::Input]>) -> Work<'_, Vec<Self::Output>>;
}

type Waiting<Kind> = (<Kind as Batched>::Input, oneshot::Sender<Result<<Kind as Batched>::Output, Error>>);

/// The queue of one kind of step.
pub(super) struct Batches<Kind: Batched> {
    queue: mpsc::Sender<Waiting<Kind>>,
}

impl<Kind: Batched> Batches<Kind> {
    /// Starts the tasks that carry out what waits; they end with the value, after what was queued.
    pub(super) fn start(pool: &Pool) -> Self {
        let (queue, waiting) = mpsc::channel(QUEUE_CAPACITY);
        let waiting = Arc::new(Mutex::new(waiting));
        for _ in 0..LANES {
            tokio::spawn(lane::<Kind>(pool.clone(), Arc::clone(&waiting)));
        }
        Self { queue }
    }

    /// Queues a step at once; the future waits for its outcome.
    pub(super) fn step(&self, input: Kind::Input) -> Step<'static, Kind::Output> {
        let (sender, answer) = oneshot::channel();
        let queued = self.queue.try_send((input, sender)).map_err(|_| Error::Busy);
        Box::pin(async move {
            queued?;
            answer.await.map_err(|_| Error::Failed("the step was dropped".to_owned()))?
        })
    }
}

async fn lane<Kind: Batched>(pool: Pool, waiting: Arc<Mutex<mpsc::Receiver<Waiting<Kind>>>>) {
    let mut batch = Vec::with_capacity(BATCH_LIMIT);
    while waiting.lock().await.recv_many(&mut batch, BATCH_LIMIT).await != 0 {
        let (inputs, answers): (Vec<_>, Vec<_>) = batch.drain(..).unzip();
        let inputs: Arc<[_]> = inputs.into();
        match pool.step(|connection| Kind::carry_out(connection, Arc::clone(&inputs))).await {
            // Nobody waits where the task was dropped; the step holds all the same.
            Ok(outputs) => answers.into_iter().zip(outputs).for_each(|(answer, output)| drop(answer.send(Ok(output)))),
            Err(error) => answers.into_iter().for_each(|answer| drop(answer.send(Err(error.clone())))),
        }
    }
}
