//! A device that is nothing but as fast as it is: without the script and the log, which cost more than a quick device
//! takes.

use std::sync::{Arc, LazyLock};
use std::time::Duration;

use cryptoki_sys::CK_RV;

use super::latency::Places;
use super::script::{Effect, parse_effect};

/// What `FAULTY_MODULE_PLAYS` says: a function and its latency, such as `C_Sign latency 1500us 30`.
pub struct Played {
    function: String,
    least: Duration,
    places: Arc<Places>,
}

static PLAYED: LazyLock<Option<Played>> = LazyLock::new(|| {
    let words = std::env::var("FAULTY_MODULE_PLAYS").ok()?;
    let words: Vec<&str> = words.split_whitespace().collect();
    let [function, effect @ ..] = words.as_slice() else { panic!("FAULTY_MODULE_PLAYS names no function") };
    let Some(Effect::Latency(least, places)) = parse_effect(effect) else { panic!("FAULTY_MODULE_PLAYS: no latency") };
    Some(Played { function: (*function).to_owned(), least, places })
});

/// The device that is played, where there is nothing to it but its speed.
pub fn played() -> Option<&'static Played> {
    PLAYED.as_ref()
}

impl Played {
    /// Makes the call `function`.
    pub fn make(&self, function: &str, call: impl FnOnce() -> CK_RV) -> CK_RV {
        if function == self.function { self.places.make_within(self.least, call) } else { call() }
    }
}
