//! The mint's handle to one keeper.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use secrecy::zeroize::Zeroizing;
use tokio::sync::{Semaphore, watch};

use super::counters::Counters;
use super::health::Health;
use super::known_keys::KnownKeys;
use super::launch::Settings;
use super::link::{Asked, Link, LinkFault};
use super::supervisor::Presence;
use super::wire::{PublicKeys, Refusal, Reply, Request};
use crate::clock::Clock;
use crate::hardware::attestation::Nonce;
use crate::hardware::{Role, Sealed};
use crate::jose::jwe::PresentedJwe;
use crate::jose::jws::{Signature, SigningInput};

/// Asks the keeper. Clones share one connection.
///
/// Every request is safe to repeat (a signature that nobody received harms nobody), so one that a
/// dying keeper took with it is put once more to the next. All of it, the wait for the next keeper
/// included, ends by the request limit of [`super::supervisor::Settings`].
#[derive(Clone)]
pub struct Keeper {
    presence: watch::Receiver<Presence>,
    health: Arc<Health>,
    known_keys: Arc<KnownKeys>,
    counters: Arc<Counters>,
    /// Told when the keys change.
    changed: watch::Sender<()>,
    openings: Arc<Semaphore>,
    in_flight: Arc<AtomicUsize>,
    sessions: usize,
    request_limit: Duration,
    clock: Arc<dyn Clock>,
}

/// Of the requests that may wait for the keeper, one in this many may be an opening. Anybody can ask for those, by
/// a forged token; further ones wait here, and leave room for signatures and seals, which only good requests need.
const ONE_OPENING_IN: usize = 4;

/// For whom a device is asked, and until when.
#[derive(Clone, Copy, Debug)]
pub(super) struct Errand<'a> {
    /// The client.
    pub(super) client: &'a str,
    /// Until when the answer is of use.
    pub(super) deadline: Instant,
    /// Whether another device may be asked instead: then nothing is waited for that would only come back here.
    pub(super) may_move: bool,
}

/// Why the keeper did not do what it was asked.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum KeeperError {
    /// No keeper answered in time; another one is being started, or the device is slow.
    #[error("the keeper did not answer in time")]
    TimedOut,
    /// Keepers died while they had the request.
    #[error("the keeper was lost during the request")]
    Lost,
    /// The keeper says nothing, and was not waited for any longer.
    #[error("the keeper says nothing")]
    Silent,
    /// Nobody has answered for this device since the mint started.
    #[error("the keeper was not there yet")]
    Absent,
    /// More requests wait than may wait.
    #[error("the keeper is busy")]
    Busy,
    /// The keeper cannot be started until an operator acts.
    #[error("there is no keeper: {0}")]
    Refused(String),
    /// The signing policy forbids it.
    #[error("the signing policy refused: {0}")]
    Policy(String),
    /// What was to be opened was not sealed by this keeper's key, or was changed since.
    #[error("what was to be opened is not authentic")]
    NotAuthentic,
    /// No key may be used now: none is active, or nobody knows whether it still is.
    #[error("no key is active")]
    NoKey,
    /// No device that has answered has this key.
    #[error("no device has the key {0}")]
    UnknownKey(String),
    /// The hardware failed.
    #[error("the hardware failed: {0}")]
    Hardware(String),
    /// Mint and keeper do not understand each other.
    #[error("unexpected answer from the keeper")]
    Protocol,
}

impl KeeperError {
    /// Whether another device may do what this one did not: neither the request nor the mint is at fault.
    pub fn is_device_fault(&self) -> bool {
        match self {
            Self::TimedOut
            | Self::Lost
            | Self::Silent
            | Self::Absent
            | Self::Busy
            | Self::Refused(_)
            | Self::UnknownKey(_)
            | Self::Hardware(_) => true,
            Self::NoKey | Self::Policy(_) | Self::NotAuthentic | Self::Protocol => false,
        }
    }
}

impl Keeper {
    pub(super) fn new(
        presence: watch::Receiver<Presence>,
        health: Arc<Health>,
        known_keys: Arc<KnownKeys>,
        counters: Arc<Counters>,
        changed: watch::Sender<()>,
        settings: &Settings,
        clock: Arc<dyn Clock>,
    ) -> Self {
        Self {
            presence,
            health,
            known_keys,
            counters,
            changed,
            openings: Arc::new(Semaphore::new((settings.max_in_flight / ONE_OPENING_IN).max(1))),
            in_flight: Arc::default(),
            sessions: settings.sessions.max(1),
            request_limit: settings.request_limit,
            clock,
        }
    }

    /// The keys, as the keeper last told them; nothing where none has told any since the mint started.
    pub fn public_keys(&self) -> Option<Arc<PublicKeys>> {
        self.known_keys.told()
    }

    /// Whether the device has the key `kid`, as far as it told.
    pub fn has(&self, kid: &str) -> bool {
        self.known_keys.has(kid)
    }

    /// Whether requests are answered now.
    pub fn is_well(&self) -> bool {
        self.health.is_well()
    }

    /// Requests that are with the device now.
    pub fn in_flight(&self) -> usize {
        self.in_flight.load(Ordering::Relaxed)
    }

    /// Requests that are with the device now, and how many it can work on at a time.
    pub(super) fn load(&self) -> (usize, usize) {
        (self.in_flight(), self.sessions)
    }

    /// Says which keys of this device a keeper that comes back must have; one that lacks any is refused. Before this
    /// is called for the first time, all that it had at first.
    pub fn need(&self, kids: BTreeSet<String>) {
        self.known_keys.need(kids);
    }

    /// Has the keeper look for keys that others added to its device.
    ///
    /// # Errors
    /// [`KeeperError`].
    pub async fn look_again(&self) -> Result<Arc<PublicKeys>, KeeperError> {
        self.learn(&Request::LookAgain).await
    }

    /// Has the device generate one more key; it is among the keys that are returned.
    ///
    /// # Errors
    /// [`KeeperError`].
    pub async fn generate(&self, role: Role) -> Result<Arc<PublicKeys>, KeeperError> {
        self.learn(&Request::Generate { role }).await
    }

    async fn learn(&self, request: &Request<'_>) -> Result<Arc<PublicKeys>, KeeperError> {
        match self.ask(request).await? {
            Reply::PublicKeys(keys) => {
                self.known_keys.update(keys);
                self.changed.send_replace(());
                self.public_keys().ok_or(KeeperError::Protocol)
            }
            _ => Err(KeeperError::Protocol),
        }
    }

    /// What was asked of the keeper since the start.
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// The keeper's process id, where the mint started it.
    pub fn process_id(&self) -> Option<u32> {
        match &*self.presence.borrow() {
            Presence::Up(_, process_id) => *process_id,
            Presence::Down | Presence::Refused(_) => None,
        }
    }

    /// Why there is no keeper and will be none, where that is so.
    pub fn refusal(&self) -> Option<String> {
        match &*self.presence.borrow() {
            Presence::Refused(failure) => Some(failure.message.clone()),
            Presence::Up(..) | Presence::Down => None,
        }
    }

    /// Returns when a keeper was connected, lost or refused.
    pub async fn changed(&mut self) {
        // The sender lives as long as the supervisor; after it nothing changes any more.
        if self.presence.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    /// Signs by the key `kid` under the signing profile `profile`.
    pub(super) async fn sign(
        &self,
        kid: &str,
        errand: Errand<'_>,
        profile: &str,
        signing_input: &SigningInput,
    ) -> Result<Signature, KeeperError> {
        self.counters.sign.increment();
        let request = Request::Sign { client: errand.client, kid, profile, signing_input: signing_input.as_bytes() };
        match self.ask_for(errand, &request).await? {
            Reply::Signature(signature) => Ok(signature),
            _ => Err(KeeperError::Protocol),
        }
    }

    /// Seals `plaintext` by the key `kid`.
    pub(super) async fn seal(
        &self,
        kid: &str,
        errand: Errand<'_>,
        aad: &[u8],
        plaintext: &[u8],
    ) -> Result<Sealed, KeeperError> {
        self.counters.seal.increment();
        match self.ask_for(errand, &Request::Seal { client: errand.client, kid, aad, plaintext }).await? {
            Reply::Sealed { nonce, ciphertext_and_tag } => Ok(Sealed { nonce, ciphertext_and_tag }),
            _ => Err(KeeperError::Protocol),
        }
    }

    /// Opens `presented`.
    pub(super) async fn open(
        &self,
        errand: Errand<'_>,
        presented: &PresentedJwe,
    ) -> Result<Zeroizing<Vec<u8>>, KeeperError> {
        let place = tokio::time::timeout_at(errand.deadline.into(), self.openings.acquire());
        let _place = place.await.map_err(|_| KeeperError::TimedOut)?;
        self.counters.open.increment();
        let request = Request::Open {
            client: errand.client,
            kid: &presented.kid,
            key_management: presented.key_management,
            nonce: presented.nonce,
            aad: presented.protected_header.as_bytes(),
            ciphertext_and_tag: &presented.ciphertext_and_tag,
        };
        match self.ask_for(errand, &request).await? {
            Reply::Opened(plaintext) => Ok(Zeroizing::new(plaintext)),
            _ => Err(KeeperError::Protocol),
        }
    }

    /// Evidence of where the key `kid` lives, made for `nonce`: a document in JSON.
    ///
    /// # Errors
    /// [`KeeperError`].
    pub(super) async fn attest(&self, kid: &str, errand: Errand<'_>, nonce: &Nonce) -> Result<Vec<u8>, KeeperError> {
        match self.ask_for(errand, &Request::Attest { kid, nonce: nonce.as_bytes() }).await? {
            Reply::Attestation(document) => Ok(document),
            _ => Err(KeeperError::Protocol),
        }
    }

    /// Has the hardware make a signature and verifies it: what readiness means.
    ///
    /// # Errors
    /// [`KeeperError`].
    pub async fn probe(&self) -> Result<(), KeeperError> {
        match self.ask(&Request::Health).await? {
            Reply::Healthy => Ok(()),
            _ => Err(KeeperError::Protocol),
        }
    }

    fn deadline(&self) -> Instant {
        self.clock.instant() + self.request_limit
    }

    async fn ask(&self, request: &Request<'_>) -> Result<Reply, KeeperError> {
        self.ask_for(Errand { client: "", deadline: self.deadline(), may_move: false }, request).await
    }

    async fn ask_for(&self, errand: Errand<'_>, request: &Request<'_>) -> Result<Reply, KeeperError> {
        let Errand { deadline, may_move, .. } = errand;
        let _under_way = UnderWay::begin(&self.in_flight);
        for _attempt in 0..2 {
            let link = if may_move { self.present_link()? } else { self.link(deadline).await? };
            match link.exchange(request, Asked { deadline, may_move }).await {
                Ok(Reply::Refused(refusal)) => return Err(self.refused(refusal)),
                Ok(reply) => return Ok(reply),
                Err(LinkFault::Lost) if may_move => break,
                Err(LinkFault::Lost) => {}
                Err(LinkFault::Silent) => return Err(KeeperError::Silent),
                Err(LinkFault::Busy) => return Err(KeeperError::Busy),
                Err(LinkFault::TimedOut) => return Err(KeeperError::TimedOut),
                Err(LinkFault::TooLarge) => return Err(KeeperError::Protocol),
            }
        }
        Err(KeeperError::Lost)
    }

    /// The connection of the present keeper, where there is one.
    fn present_link(&self) -> Result<Arc<Link>, KeeperError> {
        match &*self.presence.borrow() {
            Presence::Up(link, _) if link.is_open() => Ok(Arc::clone(link)),
            Presence::Up(..) | Presence::Down => Err(KeeperError::Lost),
            Presence::Refused(failure) => Err(KeeperError::Refused(failure.message.clone())),
        }
    }

    /// The connection of the present keeper; waits for one that is being started.
    async fn link(&self, deadline: Instant) -> Result<Arc<Link>, KeeperError> {
        if let Ok(link) = self.present_link() {
            return Ok(link);
        }
        let mut presence = self.presence.clone();
        let settled = presence.wait_for(|presence| match presence {
            Presence::Up(link, _) => link.is_open(),
            Presence::Down => false,
            Presence::Refused(_) => true,
        });
        match tokio::time::timeout_at(deadline.into(), settled).await {
            Ok(Ok(presence)) => match &*presence {
                Presence::Up(link, _) => Ok(Arc::clone(link)),
                Presence::Refused(failure) => Err(KeeperError::Refused(failure.message.clone())),
                Presence::Down => Err(KeeperError::TimedOut),
            },
            Ok(Err(_)) | Err(_) => Err(KeeperError::TimedOut),
        }
    }

    fn refused(&self, refusal: Refusal) -> KeeperError {
        match refusal {
            Refusal::Policy(rule) => {
                self.counters.refused.increment();
                KeeperError::Policy(rule)
            }
            Refusal::Busy => KeeperError::Busy,
            Refusal::TooLate => KeeperError::TimedOut,
            Refusal::NotAuthentic => KeeperError::NotAuthentic,
            Refusal::UnknownKey(kid) => KeeperError::UnknownKey(kid),
            Refusal::Hardware(reason) => KeeperError::Hardware(reason),
            Refusal::Malformed => KeeperError::Protocol,
        }
    }
}

/// A request that counts for the load of its device, as long as this lives.
struct UnderWay<'a>(&'a AtomicUsize);

impl<'a> UnderWay<'a> {
    fn begin(in_flight: &'a AtomicUsize) -> Self {
        in_flight.fetch_add(1, Ordering::Relaxed);
        Self(in_flight)
    }
}

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
