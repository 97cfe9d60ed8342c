//! The keys of an issuer or a client that are kept elsewhere: fetched by one for all, and kept while they can be.
//!
//! How late a change is seen: a new key by a minute, where its `kid` shows that it is there; the end of an old one by
//! [`LATE`], and by [`KEPT`] where the issuer cannot be asked.

mod source;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::watch;

pub use source::KeySource;

use crate::clock::Clock;
use crate::fetch::DocumentSource;
use crate::jose::foreign::{ForeignKeySet, NotVerified, PresentedForeignJws, VerificationKey};
use source::{Read, ReadError, Reading};

/// How long keys are used before they are fetched again.
pub const FRESH: Duration = Duration::from_secs(10 * 60);
/// How long they are used while others are fetched. What is older, because nobody needed it for a while, is used only
/// where the issuer was asked just now and did not answer.
pub const LATE: Duration = Duration::from_secs(15 * 60);
/// How long they are used where they cannot be fetched again: an issuer may be down for a night.
pub const KEPT: Duration = Duration::from_secs(24 * 60 * 60);
/// Between two attempts while there are keys to go on with, and between two that an unknown `kid` asks for.
const PAUSE: Duration = Duration::from_secs(60);
/// Between two attempts while there are none.
const IMPATIENT_PAUSE: Duration = Duration::from_secs(5);
/// Between two looks at a file: it costs little, and operators expect a change to be seen.
const FILE_PAUSE: Duration = Duration::from_secs(1);

/// Why a JWS was not verified.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum RemoteKeysError {
    /// There are no keys, and an attempt to get some failed or is not due yet: the reason is in the log. It may be
    /// otherwise in a few seconds.
    #[error("the keys that would verify it are not available at present")]
    Unavailable,
    /// There are keys, and they do not vouch for it.
    #[error(transparent)]
    NotVerified(#[from] NotVerified),
}

/// The keys of one source. Whatever the load, one attempt to get them is under way at a time, in a task of its own:
/// no request that goes away ends it. Callers wait for it only where there is nothing to go on with.
#[derive(Clone)]
pub struct RemoteKeys(Arc<Shared>);

struct Shared {
    source: KeySource,
    documents: Arc<dyn DocumentSource>,
    clock: Arc<dyn Clock>,
    state: Mutex<State>,
    /// Tells those who wait that an attempt has ended.
    ended: watch::Sender<()>,
}

#[derive(Default)]
struct State {
    /// What was read last, and when that was confirmed last.
    good: Option<(Read, Instant)>,
    last_attempt: Option<Instant>,
    is_under_way: bool,
    /// Why the last attempt failed, where it did.
    failure: Option<String>,
}

impl RemoteKeys {
    /// The keys of `source`, of which none is read yet.
    pub fn new(source: KeySource, documents: Arc<dyn DocumentSource>, clock: Arc<dyn Clock>) -> Self {
        Self(Arc::new(Shared { source, documents, clock, state: Mutex::default(), ended: watch::Sender::new(()) }))
    }

    /// The source.
    pub fn source(&self) -> &KeySource {
        &self.0.source
    }

    /// The keys, as fresh as they are to be had without waiting; the first time with waiting.
    ///
    /// # Errors
    /// [`RemoteKeysError::Unavailable`].
    pub async fn key_set(&self) -> Result<Arc<ForeignKeySet>, RemoteKeysError> {
        if let KeySource::Inline(keys) = &self.0.source {
            return Ok(Arc::clone(keys));
        }
        let ended = {
            let mut state = self.0.state();
            let now = self.0.clock.instant();
            let age = state.age(now);
            let pause = match age {
                Some(age) if age < self.0.fresh() => return state.keys(),
                _ if self.0.is_file() => FILE_PAUSE,
                Some(age) if age < KEPT => PAUSE,
                _ => IMPATIENT_PAUSE,
            };
            let is_down = state.is_down(now);
            let ended = self.0.attempt(&mut state, now, pause);
            // A file is read before anybody would notice.
            if age.is_some_and(|age| age < LATE || is_down && age < KEPT) && !self.0.is_file() {
                return state.keys();
            }
            ended
        };
        self.0.wait(ended).await;
        let state = self.0.state();
        match state.age(self.0.clock.instant()) {
            Some(age) if age < KEPT => state.keys(),
            _ => Err(RemoteKeysError::Unavailable),
        }
    }

    /// Verifies that one of the keys signed `jws`, and says which. A key that is not known may be a new one, so the
    /// keys are fetched again for it, once a minute at the most.
    ///
    /// # Errors
    /// [`RemoteKeysError`].
    pub async fn verify(&self, jws: &PresentedForeignJws<'_>) -> Result<Arc<VerificationKey>, RemoteKeysError> {
        let keys = self.key_set().await?;
        let error = match keys.verify(jws) {
            Ok(key) => return Ok(Arc::clone(key)),
            Err(error) => error,
        };
        let may_be_new = match error {
            NotVerified::UnknownKey => true,
            // Without a kid a new key looks like a wrong signature.
            NotVerified::Signature => jws.kid().is_none(),
            NotVerified::Ambiguous | NotVerified::Algorithm => false,
        };
        if !may_be_new || matches!(self.0.source, KeySource::Inline(_)) {
            return Err(error.into());
        }
        let ended = {
            let mut state = self.0.state();
            let pause = if self.0.is_file() { FILE_PAUSE } else { PAUSE };
            let now = self.0.clock.instant();
            self.0.attempt(&mut state, now, pause)
        };
        self.0.wait(ended).await;
        match self.0.state().keys() {
            Ok(newer) if !Arc::ptr_eq(&newer, &keys) => Ok(Arc::clone(newer.verify(jws)?)),
            _ => Err(error.into()),
        }
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing that panics is done while it is held.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_file(&self) -> bool {
        matches!(self.source, KeySource::File(_))
    }

    fn fresh(&self) -> Duration {
        if self.is_file() { FILE_PAUSE } else { FRESH }
    }

    /// Starts an attempt unless one is under way, or the last one was started less than `pause` ago. Where one is
    /// under way now: what tells when it has ended.
    fn attempt(self: &Arc<Self>, state: &mut State, now: Instant, pause: Duration) -> Option<watch::Receiver<()>> {
        let is_due = state.last_attempt.is_none_or(|last| now.saturating_duration_since(last) >= pause);
        if !state.is_under_way && is_due {
            state.is_under_way = true;
            state.last_attempt = Some(now);
            let known = state.good.as_ref().map(|(read, _)| read.clone());
            let attempt = Attempt(Arc::clone(self));
            tokio::spawn(async move { attempt.run(known).await });
        }
        state.is_under_way.then(|| self.ended.subscribe())
    }

    async fn wait(&self, ended: Option<watch::Receiver<()>>) {
        if let Some(mut ended) = ended {
            ended.changed().await.expect("the sender is ours");
        }
    }

    fn succeeded(&self, read: Read) {
        let mut state = self.state();
        let keys = read.keys.keys().len();
        if state.failure.take().is_some() || state.good.is_none() {
            tracing::info!(keys_of = %self.source, keys, "keys were read");
        }
        state.good = Some((read, self.clock.instant()));
    }

    fn failed(&self, error: &ReadError) {
        let mut state = self.state();
        let error = error.to_string();
        // Not each time: what does not change is known.
        if state.failure.as_ref() != Some(&error) {
            let has_others = state.age(self.clock.instant()).is_some_and(|age| age < KEPT);
            tracing::warn!(keys_of = %self.source, error, has_others, "keys could not be read");
        }
        state.failure = Some(error);
    }
}

impl State {
    fn age(&self, now: Instant) -> Option<Duration> {
        self.good.as_ref().map(|(_, at)| now.saturating_duration_since(*at))
    }

    /// Whether the source was asked a moment ago, and had no answer.
    fn is_down(&self, now: Instant) -> bool {
        let is_recent = |last| now.saturating_duration_since(last) < LATE;
        self.failure.is_some() && self.last_attempt.is_some_and(is_recent)
    }

    fn keys(&self) -> Result<Arc<ForeignKeySet>, RemoteKeysError> {
        let (read, _) = self.good.as_ref().ok_or(RemoteKeysError::Unavailable)?;
        Ok(Arc::clone(&read.keys))
    }
}

/// An attempt under way. However it ends, nobody waits for it any longer.
struct Attempt(Arc<Shared>);

impl Attempt {
    async fn run(self, known: Option<Read>) {
        let shared = &self.0;
        let reading = Reading { source: &shared.source, documents: shared.documents.as_ref(), known };
        match reading.read().await {
            Ok(read) => shared.succeeded(read),
            Err(error) => shared.failed(&error),
        }
    }
}

impl Drop for Attempt {
    fn drop(&mut self) {
        self.0.state().is_under_way = false;
        self.0.ended.send_replace(());
    }
}

#[cfg(test)]
mod tests;
