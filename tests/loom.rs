//! The group commit, tried by loom in the orders that its threads can run in. The source is that of the mint;
//! loom's locks are in the place of the standard library's.

#![expect(clippy::unwrap_used, reason = "in a test, what must not be is a failure of the test")]

#[path = "../src/store/sqlite/group_commit.rs"]
mod group_commit;
#[path = "../src/store/sqlite/queue.rs"]
mod queue;

mod sync {
    pub(super) use loom::sync::{Arc, Condvar, Mutex, MutexGuard};
}

use std::collections::BTreeSet;

use loom::model::Builder;
use loom::thread;

use self::group_commit::{Transactions, commit_until_closed};
use self::queue::{Queue, Refused, Taker, bounded};
use self::sync::{Arc, Condvar, Mutex};

/// What a step's task is told.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Told {
    /// It is durable.
    Committed,
    /// Its batch was not committed.
    NotCommitted,
    /// Nobody will ever carry it out.
    Gone,
}

/// Where a task waits for its step.
#[derive(Default)]
struct Answer {
    told: Mutex<Option<Told>>,
    changed: Condvar,
}

impl Answer {
    fn tell(&self, told: Told) {
        let before = self.told.lock().unwrap().replace(told);
        assert_eq!(before, None, "a step is acknowledged once");
        self.changed.notify_one();
    }

    fn wait(&self) -> Told {
        let mut told = self.told.lock().unwrap();
        loop {
            match *told {
                Some(told) => return told,
                None => told = self.changed.wait(told).unwrap(),
            }
        }
    }
}

/// A step of the model; like a `oneshot` sender, it tells its task also when it is dropped.
struct Step {
    number: u8,
    answer: Option<Arc<Answer>>,
}

impl Drop for Step {
    fn drop(&mut self) {
        if let Some(answer) = self.answer.take() {
            answer.tell(Told::Gone);
        }
    }
}

/// A disk: what was carried out in the open transaction, and what was committed.
#[derive(Default)]
struct Disk {
    open: BTreeSet<u8>,
    durable: BTreeSet<u8>,
    /// Every step that was ever carried out.
    carried_out: BTreeSet<u8>,
    /// Commits that fail before one passes.
    failing_commits: usize,
}

/// The disk, which others than the writer look at. Its lock is none of loom's: nobody is interrupted who holds
/// it, and the queue must not be helped by it.
#[derive(Clone, Default)]
struct SharedDisk(std::sync::Arc<std::sync::Mutex<Disk>>);

impl Transactions for SharedDisk {
    type Step = Step;
    type Fault = ();

    fn begin(&self) -> Result<(), ()> {
        assert!(self.0.lock().unwrap().open.is_empty(), "one transaction at a time");
        Ok(())
    }

    fn carry_out(&self, step: &mut Step) {
        let mut disk = self.0.lock().unwrap();
        assert!(disk.carried_out.insert(step.number), "a step is carried out once");
        disk.open.insert(step.number);
    }

    fn commit(&self) -> Result<(), ()> {
        let mut disk = self.0.lock().unwrap();
        let open = std::mem::take(&mut disk.open);
        if disk.failing_commits > 0 {
            disk.failing_commits -= 1;
            return Err(());
        }
        disk.durable.extend(open);
        Ok(())
    }

    fn acknowledge(mut step: Step, committed: Result<(), ()>) {
        let answer = step.answer.take().expect("a step is acknowledged once");
        answer.tell(if committed.is_ok() { Told::Committed } else { Told::NotCommitted });
    }
}

impl SharedDisk {
    fn failing_once() -> Self {
        Self(std::sync::Arc::new(Disk { failing_commits: 1, ..Disk::default() }.into()))
    }

    fn holds(&self, number: u8) -> bool {
        self.0.lock().unwrap().durable.contains(&number)
    }
}

/// A queue, the thread that empties it, and the disk that this commits to.
struct Model {
    queue: Arc<Queue<Step>>,
    writer: thread::JoinHandle<()>,
    disk: SharedDisk,
}

impl Model {
    fn start(capacity: usize, limit: usize, disk: SharedDisk) -> Self {
        let (queue, steps) = bounded(capacity);
        let transactions = disk.clone();
        let writer = thread::spawn(move || commit_until_closed(steps, &transactions, limit));
        Self { queue: Arc::new(queue), writer, disk }
    }

    /// A task in a thread of its own that has one step carried out.
    fn task(&self, number: u8) -> thread::JoinHandle<Result<Told, Refused>> {
        let (queue, disk) = (Arc::clone(&self.queue), self.disk.clone());
        thread::spawn(move || {
            let told = push(&queue, number).map(|answer| answer.wait());
            drop(queue);
            // Whoever is told looks at once: what is acknowledged is durable, and nothing else is.
            assert_eq!(disk.holds(number), told == Ok(Told::Committed), "{told:?}");
            told
        })
    }

    /// Closes the queue, and waits for the writer.
    fn end(self) -> SharedDisk {
        drop(self.queue);
        self.writer.join().unwrap();
        self.disk
    }
}

fn push(queue: &Queue<Step>, number: u8) -> Result<Arc<Answer>, Refused> {
    let answer = Arc::new(Answer::default());
    let pushed = queue.push(Step { number, answer: Some(Arc::clone(&answer)) });
    pushed.map(|()| answer)
}

/// Runs `model` in every order in which no thread is interrupted more often than this. Most faults of
/// synchronisation need one or two interruptions.
fn try_all(preemptions: usize, model: impl Fn() + Send + Sync + 'static) {
    let mut builder = Builder::new();
    builder.preemption_bound = Some(preemptions);
    builder.check(model);
}

#[test]
fn a_step_is_carried_out_in_one_batch_and_acknowledged_after_its_commit() {
    try_all(3, || {
        let model = Model::start(2, 2, SharedDisk::default());
        let tasks = [model.task(1), model.task(2)];
        let told = tasks.map(|task| task.join().unwrap());
        assert_eq!(told, [Ok(Told::Committed); 2]);
        let disk = model.end();
        assert!(disk.holds(1) && disk.holds(2));
    });
}

#[test]
fn a_commit_that_fails_is_told_to_its_whole_batch_and_to_no_other() {
    try_all(2, || {
        let model = Model::start(2, 2, SharedDisk::failing_once());
        let tasks = [model.task(1), model.task(2)];
        let told = tasks.map(|task| task.join().unwrap().expect("there is room for both"));
        let failed = told.iter().filter(|told| **told == Told::NotCommitted).count();
        let durable = model.end().0.lock().unwrap().durable.len();
        // Both in the batch that failed, or one in the batch after it.
        assert!(failed >= 1 && failed + durable == 2, "{told:?}");
    });
}

#[test]
fn a_full_queue_refuses_and_loses_nothing() {
    try_all(2, || {
        let model = Model::start(1, 1, SharedDisk::default());
        let tasks = [model.task(1), model.task(2)];
        // A third one comes from this thread: each thread more multiplies the orders.
        let third = push(&model.queue, 3).map(|answer| answer.wait());
        let [first, second] = tasks.map(|task| task.join().unwrap());
        let told = [first, second, third];
        let committed = told.iter().filter(|told| **told == Ok(Told::Committed)).count();
        let refused = told.iter().filter(|told| **told == Err(Refused::Full)).count();
        assert!(committed >= 1 && committed + refused == 3, "{told:?}");
        assert_eq!(model.end().0.lock().unwrap().carried_out.len(), committed);
    });
}

#[test]
fn closing_loses_nothing_that_was_taken_in() {
    try_all(3, || {
        let model = Model::start(3, 2, SharedDisk::default());
        let answers: Vec<_> = (1..=3).map(|number| push(&model.queue, number).expect("there is room")).collect();
        let disk = model.end();
        assert!(answers.iter().all(|answer| answer.wait() == Told::Committed));
        assert_eq!(disk.0.lock().unwrap().durable.len(), 3);
    });
}

#[test]
fn a_writer_that_ends_leaves_nobody_waiting() {
    try_all(3, || {
        let (queue, steps): (Queue<Step>, Taker<Step>) = bounded(2);
        let queue = Arc::new(queue);
        let tasks = [1, 2].map(|number| {
            let queue = Arc::clone(&queue);
            thread::spawn(move || push(&queue, number).map(|answer| answer.wait()))
        });
        drop(steps);
        for task in tasks {
            let told = task.join().unwrap();
            assert!(matches!(told, Ok(Told::Gone) | Err(Refused::Closed)), "{told:?}");
        }
    });
}
