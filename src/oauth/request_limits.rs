//! How many requests of each caller are served: so many at once and a second, and so many at a time.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use arc_swap::ArcSwap;

use super::client::RequestLimits;
use crate::budget::Budget;
use crate::clock::Clock;

/// How far the callers that have limits are.
pub(super) struct LimitedCallers {
    limited: ArcSwap<HashMap<String, Limited>>,
    clock: Arc<dyn Clock>,
}

/// A caller that has limits.
struct Limited {
    limits: RequestLimits,
    rate: Option<Arc<Budget>>,
    /// Requests that are served now.
    served: Arc<AtomicU32>,
}

/// The place of a request among those of its caller that are served. It is given back with its value.
#[must_use]
#[derive(Debug)]
pub struct Place(Option<Arc<AtomicU32>>);

impl Drop for Place {
    fn drop(&mut self) {
        if let Some(served) = &self.0 {
            served.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

/// The setting whose number is reached.
pub(super) struct Reached(pub(super) &'static str);

impl LimitedCallers {
    /// None so far.
    pub(super) fn new(clock: Arc<dyn Clock>) -> Self {
        Self { limited: ArcSwap::default(), clock }
    }

    /// Goes by the limits of these `callers` from now on. Requests that are served go on and count; a rate that stays
    /// the same stays used up as it is, and another one begins whole. One call at a time.
    pub(super) fn follow<'a>(&self, callers: impl Iterator<Item = (&'a str, RequestLimits)>) {
        let before = self.limited.load();
        let with_limits = callers.filter(|(_, limits)| *limits != RequestLimits::default());
        let limited = with_limits.map(|(name, limits)| {
            let known = before.get(name);
            let same_rate = known.filter(|known| known.limits.per_second == limits.per_second);
            let rate = match same_rate {
                Some(known) => known.rate.clone(),
                None => limits.per_second.map(|number| Arc::new(Budget::per_second(number, &self.clock))),
            };
            let served = known.map(|known| Arc::clone(&known.served)).unwrap_or_default();
            (name.to_owned(), Limited { limits, rate, served })
        });
        self.limited.store(Arc::new(limited.collect()));
    }

    /// Has a request of the caller `name` be served.
    pub(super) fn admit(&self, name: &str) -> Result<Place, Reached> {
        let limited = self.limited.load();
        let Some(caller) = limited.get(name) else { return Ok(Place(None)) };
        // The place first: without one, the rate is not used up.
        let place = caller.place().ok_or(Reached("concurrent_requests"))?;
        match &caller.rate {
            Some(rate) if !rate.take() => Err(Reached("requests_per_second")),
            Some(_) | None => Ok(place),
        }
    }
}

impl Limited {
    /// A place, where there is one.
    fn place(&self) -> Option<Place> {
        let Some(most) = self.limits.concurrent else { return Some(Place(None)) };
        let one_more = |served: u32| (served < most.get()).then_some(served + 1);
        // Nothing else is read because of this number.
        self.served.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_more).ok()?;
        Some(Place(Some(Arc::clone(&self.served))))
    }
}
