//! The mint's handle to the keeper.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use secrecy::zeroize::Zeroizing;
use tokio::sync::{Semaphore, watch};

use super::counters::Counters;
use super::known_keys::KnownKeys;
use super::link::{Link, LinkFault};
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
    known_keys: Arc<KnownKeys>,
    counters: Arc<Counters>,
    openings: Arc<Semaphore>,
    request_limit: Duration,
    clock: Arc<dyn Clock>,
}

/// Of the requests that may wait for the keeper, one in this many may be an opening. Anybody can ask for those, by
/// a forged token; further ones wait here, and leave room for signatures and seals, which only good requests need.
const ONE_OPENING_IN: usize = 4;

/// What a mint allows its requests to the keeper.
#[derive(Clone, Copy, Debug)]
pub(super) struct KeeperLimits {
    /// For one request, the wait for a new keeper included.
    pub(super) request_limit: Duration,
    /// Requests that may wait for the keeper at a time.
    pub(super) max_in_flight: usize,
}

/// Why the keeper did not do what it was asked.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum KeeperError {
    /// No keeper answered in time; another one is being started, or the device is slow.
    #[error("the keeper did not answer in time")]
    TimedOut,
    /// Keepers died while they had the request.
    #[error("the keeper was lost twice during one request")]
    Lost,
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
    /// No device has this key.
    #[error("no device has the key {0}")]
    UnknownKey(String),
    /// The hardware failed.
    #[error("the hardware failed: {0}")]
    Hardware(String),
    /// Mint and keeper do not understand each other.
    #[error("unexpected answer from the keeper")]
    Protocol,
}

impl Keeper {
    pub(super) fn new(
        presence: watch::Receiver<Presence>,
        known_keys: Arc<KnownKeys>,
        counters: Arc<Counters>,
        limits: KeeperLimits,
        clock: Arc<dyn Clock>,
    ) -> Self {
        let KeeperLimits { request_limit, max_in_flight } = limits;
        let openings = Arc::new(Semaphore::new((max_in_flight / ONE_OPENING_IN).max(1)));
        Self { presence, known_keys, counters, openings, request_limit, clock }
    }

    /// The keys, as the keeper last told them.
    pub fn public_keys(&self) -> Arc<PublicKeys> {
        self.known_keys.told()
    }

    /// Says which keys a keeper that comes back must have; one that lacks any is refused. Before this is called
    /// for the first time, all that it had at first.
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
                Ok(self.public_keys())
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

    /// Returns when a keeper was connected, lost or refused.
    pub async fn changed(&mut self) {
        // The sender lives as long as the supervisor; after it nothing changes any more.
        if self.presence.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    /// Signs by the key `kid`, on behalf of `client`, under the signing profile `profile`.
    ///
    /// # Errors
    /// [`KeeperError`]; [`KeeperError::Policy`] names the rule.
    pub async fn sign(
        &self,
        kid: &str,
        client: &str,
        profile: &str,
        signing_input: &SigningInput,
    ) -> Result<Signature, KeeperError> {
        self.counters.sign.increment();
        match self.ask(&Request::Sign { client, kid, profile, signing_input: signing_input.as_bytes() }).await? {
            Reply::Signature(signature) => Ok(signature),
            _ => Err(KeeperError::Protocol),
        }
    }

    /// Seals `plaintext` by the key `kid` on behalf of `client`.
    ///
    /// # Errors
    /// [`KeeperError`].
    pub async fn seal(&self, kid: &str, client: &str, aad: &[u8], plaintext: &[u8]) -> Result<Sealed, KeeperError> {
        self.counters.seal.increment();
        match self.ask(&Request::Seal { client, kid, aad, plaintext }).await? {
            Reply::Sealed { nonce, ciphertext_and_tag } => Ok(Sealed { nonce, ciphertext_and_tag }),
            _ => Err(KeeperError::Protocol),
        }
    }

    /// Opens `presented` on behalf of `client`.
    ///
    /// # Errors
    /// [`KeeperError`]; [`KeeperError::NotAuthentic`] for anything that this key did not seal.
    pub async fn open(&self, client: &str, presented: &PresentedJwe) -> Result<Zeroizing<Vec<u8>>, KeeperError> {
        let deadline = self.deadline();
        let place = tokio::time::timeout_at(deadline.into(), self.openings.acquire());
        let _place = place.await.map_err(|_| KeeperError::TimedOut)?;
        self.counters.open.increment();
        let request = Request::Open {
            client,
            kid: &presented.kid,
            key_management: presented.key_management,
            nonce: presented.nonce,
            aad: presented.protected_header.as_bytes(),
            ciphertext_and_tag: &presented.ciphertext_and_tag,
        };
        match self.ask_by(deadline, &request).await? {
            Reply::Opened(plaintext) => Ok(Zeroizing::new(plaintext)),
            _ => Err(KeeperError::Protocol),
        }
    }

    /// Evidence of where the key `kid` lives, made for `nonce`: a document in JSON.
    ///
    /// # Errors
    /// [`KeeperError`].
    pub async fn attest(&self, kid: &str, nonce: &Nonce) -> Result<Vec<u8>, KeeperError> {
        match self.ask(&Request::Attest { kid, nonce: nonce.as_bytes() }).await? {
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
        self.ask_by(self.deadline(), request).await
    }

    async fn ask_by(&self, deadline: Instant, request: &Request<'_>) -> Result<Reply, KeeperError> {
        for _attempt in 0..2 {
            let link = self.link(deadline).await?;
            match link.exchange(request, deadline).await {
                Ok(Reply::Refused(refusal)) => return Err(self.refused(refusal)),
                Ok(reply) => return Ok(reply),
                Err(LinkFault::Lost) => {}
                Err(LinkFault::Busy) => return Err(KeeperError::Busy),
                Err(LinkFault::TimedOut) => return Err(KeeperError::TimedOut),
                Err(LinkFault::TooLarge) => return Err(KeeperError::Protocol),
            }
        }
        Err(KeeperError::Lost)
    }

    /// The connection of the present keeper; waits for one that is being started.
    async fn link(&self, deadline: Instant) -> Result<Arc<Link>, KeeperError> {
        if let Presence::Up(link, _) = &*self.presence.borrow()
            && link.is_open()
        {
            return Ok(Arc::clone(link));
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
