//! How often the keeper was asked for what: the proof that a flood of made-up tokens costs no
//! hardware operation is that these do not move.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::hardware::Fault;

/// What the mint asked of the keeper since it started.
#[derive(Debug, Default)]
pub struct Counters {
    /// Signatures asked for.
    pub sign: Counter,
    /// Seals asked for.
    pub seal: Counter,
    /// Openings asked for.
    pub open: Counter,
    /// Requests that the signing policy refused.
    pub refused: Counter,
    /// Times that a keeper was connected to.
    pub connected: Counter,
    /// Times that requests began to be refused because the device failed or said nothing.
    pub breaker_opened: Counter,
    faults: [Counter; Fault::ALL.len()],
}

impl Counters {
    /// How often the device failed by `fault`.
    pub fn faults(&self, fault: Fault) -> &Counter {
        &self.faults[fault as usize]
    }
}

/// A number that only grows.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Adds one.
    pub fn increment(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    /// The number now.
    pub fn value(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}
