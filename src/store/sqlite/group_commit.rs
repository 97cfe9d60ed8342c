//! Group commit: all steps that wait share a transaction, so that one sync of the disk pays for all of them,
//! and no answer leaves before that sync.
//!
//! Like [`queue`](super::queue), this file is compiled once more by `tests/loom.rs`.

use super::queue::Taker;

/// Where batches of steps are committed.
pub(super) trait Transactions {
    /// A step that waits, and whatever it keeps until it is answered.
    type Step;
    /// Why a batch was not committed.
    type Fault: Clone;

    /// Opens a transaction.
    fn begin(&self) -> Result<(), Self::Fault>;

    /// Carries `step` out in the open transaction.
    fn carry_out(&self, step: &mut Self::Step);

    /// Makes durable all that was carried out since [`Self::begin`], or undoes it.
    fn commit(&self) -> Result<(), Self::Fault>;

    /// Tells who waits for `step` how it ended. It is used up: nobody is told twice.
    fn acknowledge(step: Self::Step, committed: Result<(), Self::Fault>);
}

/// Commits what comes out of the queue, at most `limit` steps at a time so that the first of them does not
/// wait for ever, until the queue is closed and empty.
///
/// A step that was taken in is in exactly one batch, and is acknowledged once, after the commit of that batch.
/// Where the batch is not committed, each of its steps learns the fault.
pub(super) fn commit_until_closed<Place: Transactions>(
    mut steps: Taker<Place::Step>,
    transactions: &Place,
    limit: usize,
) {
    let mut batch = Vec::with_capacity(limit);
    while steps.take(&mut batch, limit) {
        let committed = transactions.begin().and_then(|()| {
            batch.iter_mut().for_each(|step| transactions.carry_out(step));
            transactions.commit()
        });
        batch.drain(..).for_each(|step| Place::acknowledge(step, committed.clone()));
    }
}
