//! The circuit breaker of a device: whether it is asked at all. It opens where the device fails again and again or says
//! nothing, and closes by itself. Only what no request can bring about opens it.

use std::sync::atomic::{AtomicU8, AtomicU32, Ordering};

use tokio::sync::Notify;

/// Faults of a device in a row after which it is not asked any more. A success of any kind ends the row.
const FAULTS_IN_A_ROW: u32 = 5;

/// What the mint knows of a device. It is read by every request, so it is one number.
#[derive(Debug, Default)]
pub(super) struct Health {
    state: AtomicU8,
    faults: AtomicU32,
    /// Wakes who tries out whether it works again.
    failing: Notify,
}

/// Whether a device can be asked.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Condition {
    /// Nobody answers.
    Gone,
    /// It is asked, and says nothing.
    Silent,
    /// It answers, and what it answers are faults.
    Failing,
    /// It does what it is asked.
    Well,
}

impl Condition {
    const ALL: [Self; 4] = [Self::Gone, Self::Silent, Self::Failing, Self::Well];
}

impl std::fmt::Display for Condition {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Gone => "it is gone",
            Self::Silent => "it was asked, and says nothing",
            Self::Failing => "it fails again and again",
            Self::Well => "it is well",
        })
    }
}

impl Health {
    /// Whether requests may be put.
    pub(super) fn condition(&self) -> Condition {
        Condition::ALL[usize::from(self.state.load(Ordering::Relaxed))]
    }

    /// A keeper came up, having proven that it can sign, or is gone.
    pub(super) fn present(&self, is_up: bool) {
        self.faults.store(0, Ordering::Relaxed);
        let now = if is_up { Condition::Well } else { Condition::Gone };
        self.state.store(now as u8, Ordering::Relaxed);
    }

    /// The keeper was asked, and has said nothing for too long; says whether that is new.
    pub(super) fn silent(&self) -> bool {
        self.exchange(Condition::Well, Condition::Silent)
    }

    /// The keeper said something; says whether it was silent before.
    pub(super) fn heard(&self) -> bool {
        self.condition() == Condition::Silent && self.exchange(Condition::Silent, Condition::Well)
    }

    /// The device did what it was asked.
    pub(super) fn worked(&self) {
        // Faults are rare: the common request pays for one load.
        if self.faults.load(Ordering::Relaxed) != 0 {
            self.faults.store(0, Ordering::Relaxed);
        }
    }

    /// The device failed, and the request was not at fault; says whether it is not asked any more from now on.
    pub(super) fn failed(&self) -> bool {
        let in_a_row = self.faults.fetch_add(1, Ordering::Relaxed) + 1;
        let opens = in_a_row >= FAULTS_IN_A_ROW && self.exchange(Condition::Well, Condition::Failing);
        if opens {
            self.failing.notify_one();
        }
        opens
    }

    /// Returns when the device began to fail.
    pub(super) async fn failing(&self) {
        while self.condition() != Condition::Failing {
            self.failing.notified().await;
        }
    }

    /// A device that failed was tried out, and works.
    pub(super) fn proven(&self) {
        self.faults.store(0, Ordering::Relaxed);
        self.exchange(Condition::Failing, Condition::Well);
    }

    /// One that is gone is neither silent nor heard.
    fn exchange(&self, from: Condition, to: Condition) -> bool {
        self.state.compare_exchange(from as u8, to as u8, Ordering::Relaxed, Ordering::Relaxed).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_faults_in_a_row_open_it_and_only_a_proof_closes_it() {
        let health = Health::default();
        health.present(true);
        for _ in 0..100 {
            for _ in 1..FAULTS_IN_A_ROW {
                assert!(!health.failed());
            }
            health.worked();
        }
        for fault in 1..=FAULTS_IN_A_ROW {
            assert_eq!(health.failed(), fault == FAULTS_IN_A_ROW);
        }
        assert_eq!(health.condition(), Condition::Failing);
        health.worked();
        assert!(!health.heard() && !health.silent() && !health.failed());
        assert_eq!(health.condition(), Condition::Failing);
        health.proven();
        assert_eq!(health.condition(), Condition::Well);
        assert!(!health.failed(), "the row began anew");
    }

    #[test]
    fn one_that_is_silent_is_well_when_it_is_heard_and_one_that_is_gone_when_it_is_there() {
        let health = Health::default();
        assert_eq!(health.condition(), Condition::Gone);
        assert!(!health.silent() && !health.heard());
        health.present(true);
        assert!(health.silent() && !health.silent());
        assert_eq!(health.condition(), Condition::Silent);
        assert!(health.heard() && !health.heard());
        assert_eq!(health.condition(), Condition::Well);
        health.present(false);
        health.proven();
        assert_eq!(health.condition(), Condition::Gone);
    }
}
