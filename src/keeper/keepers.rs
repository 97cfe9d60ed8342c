//! All the keepers of a mint, one a device.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use secrecy::zeroize::Zeroizing;
use serde::Deserialize;
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};

use super::admission::Work;
use super::error::KeeperError;
use super::handle::{Errand, Keeper};
use super::launch::Settings;
use super::link::Patience;
use super::route::{Fitness, Route, fittest};
use super::signable::Signable;
use super::supervisor::{self, Kept};
use super::wire::StartFailure;
use crate::clock::Clock;
use crate::hardware::Sealed;
use crate::hardware::attestation::Nonce;
use crate::jose::jwe::PresentedJwe;
use crate::jose::jws::Signature;

/// Devices that a mint can have.
pub const MOST_DEVICES: usize = 64;

/// When a device is asked.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq)]
#[serde(rename_all = "lowercase")]
pub enum Standing {
    /// Always, as long as it is well: work is spread over these.
    #[default]
    Primary,
    /// Where no primary that has a key for it is well.
    Standby,
}

/// Finds for each key the device that has it. Clones share all connections.
#[derive(Clone)]
pub struct Keepers {
    members: Arc<[Member]>,
    changes: watch::Receiver<()>,
    turns: Arc<Turns>,
    /// For one request.
    limit: Duration,
    clock: Arc<dyn Clock>,
}

/// Moves on with each choice, so that equals take turns: among keys, and among the devices that have one key.
#[derive(Default)]
struct Turns {
    keys: AtomicUsize,
    devices: AtomicUsize,
}

/// A device and the way to it.
pub struct Member {
    /// The device's name in the configuration.
    pub name: String,
    /// When it is asked.
    pub standing: Standing,
    /// The way to it.
    pub keeper: Keeper,
}

/// What was signed, and by which key.
pub struct SignedBy<'a, Input> {
    /// The key.
    pub kid: &'a str,
    /// What it signed.
    pub input: Input,
    /// The signature.
    pub signature: Signature,
}

impl Keepers {
    /// Starts or finds the keeper of each device, and keeps them. Devices that do not open now are tried on in the
    /// background, as long as one did. The tasks end after `shutdown` said true, and after the keepers.
    ///
    /// # Errors
    /// [`StartFailure`] where a device must not be tried again (one wrong PIN more may lock its token), or none
    /// of these devices, which are at least one, opens. The tasks are waited for then.
    pub async fn start(
        devices: Vec<(Standing, Settings)>,
        clock: Arc<dyn Clock>,
        stop: &watch::Sender<bool>,
    ) -> Result<(Self, Vec<JoinHandle<()>>), StartFailure> {
        let (changed, changes) = watch::channel(());
        let limit = devices.iter().map(|(_, settings)| settings.request_limit).max().unwrap_or_default();
        let mut starts = JoinSet::new();
        for (position, (standing, settings)) in devices.into_iter().enumerate() {
            let (changed, clock, stopped) = (changed.clone(), Arc::clone(&clock), stop.subscribe());
            starts.spawn(async move {
                let name = settings.device.clone();
                (position, name, standing, supervisor::start(settings, changed, clock, stopped).await)
            });
        }
        let mut started = starts.join_all().await;
        started.sort_by_key(|(position, ..)| *position);
        let (mut members, mut tasks, mut failures) = (Vec::new(), Vec::new(), Vec::new());
        for (_, name, standing, Kept { keeper, first_start, task }) in started {
            failures.extend(first_start.err().map(|failure| (name.clone(), failure)));
            members.push(Member { name, standing, keeper });
            tasks.push(task);
        }
        let is_none_up = failures.len() == members.len();
        if let Some(worst) = failures.iter().position(|(_, failure)| failure.is_final).or(is_none_up.then_some(0)) {
            stop.send_replace(true);
            for task in tasks {
                let _ = task.await;
            }
            let (name, StartFailure { message, is_final }) = failures.swap_remove(worst);
            let message = if members.len() == 1 { message } else { format!("hardware.{name}: {message}") };
            return Err(StartFailure { message, is_final });
        }
        for (device, failure) in &failures {
            tracing::warn!(device, error = %failure, "the keeper did not start; going on without this device");
        }
        Ok((Self { members: members.into(), changes, turns: Arc::default(), limit, clock }, tasks))
    }

    /// All of them, in the order of their names.
    pub fn members(&self) -> &[Member] {
        &self.members
    }

    /// Returns when the keys or the presence of any device changed since this, or what it was cloned from, last
    /// returned.
    pub async fn changed(&mut self) {
        // The senders live as long as the supervisors; after them nothing changes any more.
        if self.changes.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    /// Of `kids`, the key to use for the next request, those that are `passed_over` excepted: that of the primary with
    /// the most free capacity among those that are well, of a standby where none is, and of a device that is not well
    /// where there is nothing else. Nothing where all are passed over.
    pub fn choose<'a>(&self, kids: &'a [String], passed_over: &[&str]) -> Option<&'a str> {
        let turn = self.turns.keys.fetch_add(1, Ordering::Relaxed);
        let in_turn = (0..kids.len()).map(|offset| kids[(turn + offset) % kids.len()].as_str());
        let mut left = in_turn.filter(|kid| !passed_over.contains(kid));
        if let [_] = &*self.members {
            return left.next();
        }
        let able = left.clone().flat_map(|kid| {
            let has = move |member: &&Member| member.keeper.has(kid);
            self.members.iter().filter(has).map(move |member| (kid, Fitness::of(member, turn)))
        });
        // A key that no device told leads to the error that says so.
        fittest(able).or_else(|| left.next())
    }

    /// Signs by the key `kid`, on behalf of `client`, under the signing profile `profile`, in the fittest of the
    /// devices that have it, and after a fault of that one in the next.
    ///
    /// # Errors
    /// [`KeeperError`]; [`KeeperError::Policy`] names the rule.
    pub async fn sign(
        &self,
        kid: &str,
        client: &str,
        profile: &str,
        input: &impl Signable,
    ) -> Result<Signature, KeeperError> {
        self.sign_for(self.errand(client), kid, profile, input).await
    }

    /// Signs by any of `kids`: what is signed is made by `input` from the `kid` that is used. What is
    /// [`Work::Continued`] goes before what is new.
    ///
    /// # Errors
    /// As [`Self::sign`], after all that can do it were tried, as far as there was time.
    pub async fn sign_by_any<'a, Input: Signable>(
        &self,
        kids: &'a [String],
        client: &str,
        work: Work,
        profile: &str,
        input: impl Fn(&str) -> Input,
    ) -> Result<SignedBy<'a, Input>, KeeperError> {
        let errand = Errand { work, ..self.errand(client) };
        let mut failed = KeeperError::NoKey;
        let mut passed_over = Vec::new();
        while let Some(kid) = self.choose(kids, &passed_over) {
            let input = input(kid);
            match self.sign_for(errand, kid, profile, &input).await {
                Ok(signature) => return Ok(SignedBy { kid, input, signature }),
                Err(error) if !error.is_device_fault() || self.now() >= errand.deadline => return Err(error),
                Err(error) => {
                    failed = error;
                    passed_over.push(kid);
                }
            }
        }
        Err(failed)
    }

    async fn sign_for(
        &self,
        errand: Errand<'_>,
        kid: &str,
        profile: &str,
        input: &impl Signable,
    ) -> Result<Signature, KeeperError> {
        let mut route = self.route(kid);
        loop {
            match route.next()?.sign(kid, errand, profile, input).await {
                Ok(signature) => return Ok(signature),
                Err(error) => route.failed(error, errand, self.now())?,
            }
        }
    }

    /// Seals `plaintext` by the key `kid` on behalf of `client`, as [`Self::sign`] signs, and before all that is new: it
    /// renews what was opened, or an operator waits for it.
    ///
    /// # Errors
    /// [`KeeperError`].
    pub async fn seal(&self, kid: &str, client: &str, aad: &[u8], plaintext: &[u8]) -> Result<Sealed, KeeperError> {
        let errand = Errand { work: Work::Continued, ..self.errand(client) };
        let mut route = self.route(kid);
        loop {
            match route.next()?.seal(kid, errand, aad, plaintext).await {
                Ok(sealed) => return Ok(sealed),
                Err(error) => route.failed(error, errand, self.now())?,
            }
        }
    }

    /// Opens `presented` on behalf of `client`, in any of the devices that have its key.
    ///
    /// # Errors
    /// [`KeeperError`]; [`KeeperError::NotAuthentic`] for anything that its key did not seal.
    pub async fn open(&self, client: &str, presented: &PresentedJwe) -> Result<Zeroizing<Vec<u8>>, KeeperError> {
        let mut route = self.route(&presented.kid);
        // No other key opens it: where one device has it, that one is waited for.
        let patience = if route.width() > 1 { Patience::Moves } else { Patience::Stays };
        let errand = Errand { patience, ..self.errand(client) };
        loop {
            match route.next()?.open(errand, presented).await {
                Ok(plaintext) => return Ok(plaintext),
                Err(error) => route.failed(error, errand, self.now())?,
            }
        }
    }

    /// Evidence of where the key `kid` lives, made for `nonce` by any of the devices that have it: a document in JSON.
    ///
    /// # Errors
    /// [`KeeperError`].
    pub async fn attest(&self, kid: &str, nonce: &Nonce) -> Result<Vec<u8>, KeeperError> {
        let errand = self.errand("");
        let mut route = self.route(kid);
        loop {
            match route.next()?.attest(kid, errand, nonce).await {
                Ok(document) => return Ok(document),
                Err(error) => route.failed(error, errand, self.now())?,
            }
        }
    }

    /// Evidence of all keys, made for `nonce` by each of the devices: documents in JSON.
    ///
    /// # Errors
    /// The first [`KeeperError`].
    pub async fn attest_all(&self, nonce: &Nonce) -> Result<Vec<Vec<u8>>, KeeperError> {
        let mut documents = Vec::new();
        for Member { keeper, .. } in self.members.iter() {
            let told = keeper.public_keys().ok_or_else(KeeperError::not_there_yet)?;
            for kid in told.keys.kids() {
                documents.push(keeper.attest(&kid, self.errand(""), nonce).await?);
            }
        }
        Ok(documents)
    }

    /// Has each device make a signature and verifies it; says for each what came of it.
    pub async fn probe(&self) -> Vec<(&str, Result<(), KeeperError>)> {
        let mut probes = JoinSet::new();
        for (position, member) in self.members.iter().enumerate() {
            let keeper = member.keeper.clone();
            probes.spawn(async move { (position, keeper.probe().await) });
        }
        let mut probed = probes.join_all().await;
        probed.sort_by_key(|(position, _)| *position);
        probed.into_iter().map(|(position, outcome)| (self.members[position].name.as_str(), outcome)).collect()
    }

    /// On behalf of `client`, from now on. With several devices, what is signed or sealed may be by another key too.
    fn errand<'a>(&self, client: &'a str) -> Errand<'a> {
        let patience = if self.members.len() > 1 { Patience::Moves } else { Patience::Stays };
        Errand { client, deadline: self.now() + self.limit, patience, work: Work::New }
    }

    fn route<'a>(&'a self, kid: &'a str) -> Route<'a> {
        Route::new(&self.members, kid, self.turns.devices.fetch_add(1, Ordering::Relaxed))
    }

    fn now(&self) -> Instant {
        self.clock.instant()
    }
}
