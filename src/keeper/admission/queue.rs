//! Who waits for a device, and whose turn it is.

use std::collections::{HashMap, VecDeque};
use std::time::Instant;

use tokio::sync::oneshot;

use super::{NotAdmitted, Permit, Work};

/// A request that waits.
pub(super) struct Ticket {
    /// Until when it is of use.
    pub(super) deadline: Instant,
    /// Where it is let in, or told why not.
    pub(super) answer: oneshot::Sender<Result<Permit, NotAdmitted>>,
}

/// All requests that wait for one device.
#[derive(Default)]
pub(super) struct Queue {
    continued: VecDeque<Ticket>,
    new: Turns,
    openings: Turns,
    /// New work and openings take turns too: a flood of forged tokens is no reason to sign nothing.
    openings_turn: bool,
}

/// One kind of work, of each client in the order that it came, the clients in turns.
#[derive(Default)]
struct Turns {
    by_client: HashMap<Box<str>, VecDeque<Ticket>>,
    turns: VecDeque<Box<str>>,
    length: usize,
}

impl Queue {
    /// How many wait.
    pub(super) fn len(&self) -> usize {
        self.continued.len() + self.new.length + self.openings.length
    }

    /// How many of those that wait come before the next request of `client`, at the most.
    pub(super) fn before(&self, client: &str, work: Work) -> usize {
        let (own, other) = match work {
            Work::Continued => return self.continued.len(),
            Work::New => (&self.new, &self.openings),
            Work::Opening => (&self.openings, &self.new),
        };
        let before = own.before(client);
        self.continued.len() + before + other.length.min(before + 1)
    }

    pub(super) fn push(&mut self, client: &str, work: Work, ticket: Ticket) {
        match work {
            Work::Continued => self.continued.push_back(ticket),
            Work::New => self.new.push(client, ticket),
            Work::Opening => self.openings.push(client, ticket),
        }
    }

    /// What is to be let in next, where that is possible.
    pub(super) fn next(&self, may_open: bool) -> Option<Work> {
        let opening = (may_open && self.openings.length != 0).then_some(Work::Opening);
        let new = (self.new.length != 0).then_some(Work::New);
        let by_turn = if self.openings_turn { opening.or(new) } else { new.or(opening) };
        if self.continued.is_empty() { by_turn } else { Some(Work::Continued) }
    }

    /// The ticket of `work` whose turn it is.
    pub(super) fn pop(&mut self, work: Work) -> Option<Ticket> {
        match work {
            Work::Continued => self.continued.pop_front(),
            Work::New => {
                self.openings_turn = true;
                self.new.pop()
            }
            Work::Opening => {
                self.openings_turn = false;
                self.openings.pop()
            }
        }
    }
}

impl Turns {
    fn before(&self, client: &str) -> usize {
        let own = self.by_client.get(client).map_or(0, VecDeque::len);
        self.length.min((own + 1) * self.by_client.len())
    }

    fn push(&mut self, client: &str, ticket: Ticket) {
        self.length += 1;
        if let Some(tickets) = self.by_client.get_mut(client) {
            tickets.push_back(ticket);
        } else {
            self.turns.push_back(client.into());
            self.by_client.insert(client.into(), VecDeque::from([ticket]));
        }
    }

    fn pop(&mut self) -> Option<Ticket> {
        let client = self.turns.pop_front()?;
        let tickets = self.by_client.get_mut(&client)?;
        let ticket = tickets.pop_front();
        if tickets.is_empty() {
            self.by_client.remove(&client);
        } else {
            self.turns.push_back(client);
        }
        self.length -= usize::from(ticket.is_some());
        ticket
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The clients of `queue` in the order in which they are let in, told by what they are pushed with.
    fn order(pushed: &[(&'static str, Work)], may_open: bool) -> Vec<&'static str> {
        let mut queue = Queue::default();
        let mut places = Vec::new();
        for (client, work) in pushed {
            let (answer, place) = oneshot::channel();
            #[expect(clippy::disallowed_methods, reason = "the time is not looked at")]
            queue.push(client, *work, Ticket { deadline: Instant::now(), answer });
            places.push((*client, place));
        }
        let mut order = Vec::new();
        while let Some(work) = queue.next(may_open) {
            drop(queue.pop(work).unwrap());
            let gone = places
                .iter_mut()
                .position(|(_, place)| matches!(place.try_recv(), Err(oneshot::error::TryRecvError::Closed)));
            order.push(places.remove(gone.unwrap()).0);
        }
        assert!(!may_open || queue.len() == 0);
        order
    }

    #[test]
    fn clients_take_turns_however_much_each_asks_for() {
        let pushed = [
            ("a", Work::New),
            ("a", Work::New),
            ("a", Work::New),
            ("b", Work::New),
            ("c", Work::New),
            ("b", Work::New),
        ];
        assert_eq!(order(&pushed, true), ["a", "b", "c", "a", "b", "a"]);
    }

    #[test]
    fn what_was_begun_goes_first_and_openings_take_turns_with_new_work() {
        let pushed = [
            ("o", Work::Opening),
            ("o", Work::Opening),
            ("o", Work::Opening),
            ("n", Work::New),
            ("n", Work::New),
            ("c", Work::Continued),
        ];
        assert_eq!(order(&pushed, true), ["c", "n", "o", "n", "o", "o"]);
        assert_eq!(order(&pushed, false), ["c", "n", "n"]);
    }

    #[test]
    fn a_client_with_little_waits_for_its_share_and_not_for_all() {
        let mut queue = Queue::default();
        let push = |queue: &mut Queue, client: &str| {
            #[expect(clippy::disallowed_methods, reason = "the time is not looked at")]
            queue.push(client, Work::New, Ticket { deadline: Instant::now(), answer: oneshot::channel().0 });
        };
        for _ in 0..100 {
            push(&mut queue, "greedy");
        }
        assert_eq!(queue.before("modest", Work::New), 1);
        assert_eq!(queue.before("greedy", Work::New), 100);
        assert_eq!(queue.before("modest", Work::Opening), 1);
        assert_eq!(queue.before("modest", Work::Continued), 0);
    }
}
