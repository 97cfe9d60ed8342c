//! How fast a device is.

use std::sync::{Condvar, Mutex};
use std::time::{Duration, Instant};

use cryptoki_sys::CK_RV;

/// How many calls are made at a time.
pub struct Places {
    free: Mutex<usize>,
    given_back: Condvar,
}

impl Places {
    pub fn new(places: usize) -> Self {
        Self { free: Mutex::new(places), given_back: Condvar::new() }
    }

    /// Makes `call` when there is a place, and has it take this long at the least.
    pub fn make_within(&self, least: Duration, call: impl FnOnce() -> CK_RV) -> CK_RV {
        self.take();
        let _place = GivenBack(self);
        let begun = Instant::now();
        let code = call();
        std::thread::sleep(least.saturating_sub(begun.elapsed()));
        code
    }

    fn take(&self) {
        let free = self.free.lock().expect("no panic while it is held");
        let mut free = self.given_back.wait_while(free, |free| *free == 0).expect("no panic while it is held");
        *free -= 1;
    }

    fn give_back(&self) {
        *self.free.lock().expect("no panic while it is held") += 1;
        self.given_back.notify_one();
    }
}

struct GivenBack<'a>(&'a Places);

impl Drop for GivenBack<'_> {
    fn drop(&mut self) {
        self.0.give_back();
    }
}
