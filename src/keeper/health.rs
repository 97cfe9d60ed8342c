//! Whether a device can be asked now, as every request reads it.

use std::sync::atomic::{AtomicU8, Ordering};

/// What the mint knows of a device's keeper. It is read by every request, so it is one number.
#[derive(Debug)]
pub(super) struct Health(AtomicU8);

/// Nobody answers.
const GONE: u8 = 0;
/// It is asked, and says nothing.
const SILENT: u8 = 1;
/// It answers.
const WELL: u8 = 2;

impl Default for Health {
    fn default() -> Self {
        Self(AtomicU8::new(GONE))
    }
}

impl Health {
    /// Whether requests are answered.
    pub(super) fn is_well(&self) -> bool {
        self.0.load(Ordering::Relaxed) == WELL
    }

    /// A keeper came up, or is gone.
    pub(super) fn present(&self, is_up: bool) {
        self.0.store(if is_up { WELL } else { GONE }, Ordering::Relaxed);
    }

    /// The keeper was asked, and has said nothing for too long; says whether that is new.
    pub(super) fn silent(&self) -> bool {
        self.exchange(WELL, SILENT)
    }

    /// The keeper said something; says whether it was silent before.
    pub(super) fn heard(&self) -> bool {
        self.0.load(Ordering::Relaxed) == SILENT && self.exchange(SILENT, WELL)
    }

    /// One that is gone is neither silent nor heard.
    fn exchange(&self, from: u8, to: u8) -> bool {
        self.0.compare_exchange(from, to, Ordering::Relaxed, Ordering::Relaxed).is_ok()
    }
}
