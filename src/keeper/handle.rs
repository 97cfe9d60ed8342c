//! The mint's handle to one keeper.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use secrecy::zeroize::Zeroizing;
use tokio::sync::watch;

use super::admission::{Admission, NotAdmitted, Work};
use super::counters::Counters;
use super::error::KeeperError;
use super::health::{Condition, Health};
use super::known_keys::KnownKeys;
use super::launch::Settings;
use super::link::{Asked, Link, LinkFault, LinkedDevice, Patience};
use super::signable::Signable;
use super::supervisor::Presence;
use super::wire::{PublicKeys, Refusal, Reply, Request};
use crate::clock::Clock;
use crate::hardware::attestation::Nonce;
use crate::hardware::{Role, Sealed};
use crate::jose::jwe::PresentedJwe;
use crate::jose::jws::Signature;

/// Asks the keeper. Clones share one connection.
///
/// Every request is safe to repeat (a signature that nobody received harms nobody), so one that a
/// dying keeper took with it is put once more to the next. All of it, the wait for the next keeper
/// included, ends by the request limit of [`super::launch::Settings`].
#[derive(Clone)]
pub struct Keeper {
    presence: watch::Receiver<Presence>,
    health: Arc<Health>,
    known_keys: Arc<KnownKeys>,
    counters: Arc<Counters>,
    /// Told when the keys change.
    changed: watch::Sender<()>,
    admission: Arc<Admission>,
    sessions: usize,
    request_limit: Duration,
    clock: Arc<dyn Clock>,
}

/// For whom a device is asked, and until when.
#[derive(Clone, Copy, Debug)]
pub(super) struct Errand<'a> {
    /// The client.
    pub(super) client: &'a str,
    /// Until when the answer is of use.
    pub(super) deadline: Instant,
    /// Whether another device may be asked instead: then nothing is waited for that would only come back here.
    pub(super) patience: Patience,
    /// What it is for the request that it is part of.
    pub(super) work: Work,
}

/// How long a request waits for a keeper that is being replaced. Most are back within it, so that the loss of one costs
/// clients nothing; after it, the device is down, and that is said at once.
const GRACE: Duration = Duration::from_secs(1);

/// What clients are told to wait where nothing better is known, and at the least.
const RETRY_AFTER: Duration = Duration::from_secs(1);
const LONGEST_RETRY_AFTER: Duration = Duration::from_secs(30);

impl Keeper {
    pub(super) fn new(
        presence: watch::Receiver<Presence>,
        device: LinkedDevice,
        known_keys: Arc<KnownKeys>,
        changed: watch::Sender<()>,
        settings: &Settings,
        clock: Arc<dyn Clock>,
    ) -> Self {
        let LinkedDevice { health, counters, admission, .. } = device;
        Self {
            presence,
            health,
            known_keys,
            counters,
            changed,
            admission,
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
        self.condition() == Condition::Well
    }

    /// Whether requests are answered now, and why not.
    pub fn condition(&self) -> Condition {
        self.health.condition()
    }

    /// Requests that are with the device now, or wait for it.
    pub fn requests(&self) -> usize {
        self.admission.ahead()
    }

    /// How many operations the device does at a time.
    pub(super) fn sessions(&self) -> usize {
        self.sessions
    }

    /// How long one more request would take, as far as the device was seen to work.
    pub(super) fn expected_time(&self) -> Duration {
        self.admission.time_of(self.admission.ahead() + 1)
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
    pub async fn look_again(&self) -> Result<(), KeeperError> {
        self.learn(&Request::LookAgain, Patience::Stays).await
    }

    /// Has the device generate one more key; it is among [`Self::public_keys`] then.
    ///
    /// # Errors
    /// [`KeeperError`].
    pub async fn generate(&self, role: Role) -> Result<(), KeeperError> {
        self.learn(&Request::Generate { role }, Patience::TakesLong).await
    }

    /// Has the device destroy the key `kid`, which a front-end had made.
    ///
    /// # Errors
    /// [`KeeperError`].
    pub async fn destroy(&self, kid: &str) -> Result<(), KeeperError> {
        self.learn(&Request::Destroy { kid }, Patience::TakesLong).await
    }

    async fn learn(&self, request: &Request<'_>, patience: Patience) -> Result<(), KeeperError> {
        let errand = Errand { client: "", deadline: self.deadline(), patience, work: Work::New };
        match self.ask_for(errand, request).await? {
            Reply::PublicKeys(keys) => {
                self.known_keys.update(keys);
                self.changed.send_replace(());
                Ok(())
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
            Presence::Down { .. } | Presence::Refused(_) => None,
        }
    }

    /// Why there is no keeper and will be none, where that is so.
    pub fn refusal(&self) -> Option<String> {
        match &*self.presence.borrow() {
            Presence::Refused(failure) => Some(failure.message.clone()),
            Presence::Up(..) | Presence::Down { .. } => None,
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
        input: &impl Signable,
    ) -> Result<Signature, KeeperError> {
        self.counters.sign.increment();
        let request = input.request(errand.client, kid, profile);
        match self.ask_admitted(errand, errand.work, &request).await? {
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
        let request = Request::Seal { client: errand.client, kid, aad, plaintext };
        match self.ask_admitted(errand, errand.work, &request).await? {
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
        self.counters.open.increment();
        let request = Request::Open {
            client: errand.client,
            kid: &presented.kid,
            key_management: presented.key_management,
            nonce: presented.nonce,
            aad: presented.protected_header.as_bytes(),
            ciphertext_and_tag: &presented.ciphertext_and_tag,
        };
        match self.ask_admitted(errand, Work::Opening, &request).await? {
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
        let errand = Errand { client: "", deadline: self.deadline(), patience: Patience::Stays, work: Work::New };
        match self.ask_for(errand, &Request::Health).await? {
            Reply::Healthy => Ok(()),
            _ => Err(KeeperError::Protocol),
        }
    }

    fn deadline(&self) -> Instant {
        self.clock.instant() + self.request_limit
    }

    /// Asks when it is its turn.
    async fn ask_admitted(&self, errand: Errand<'_>, work: Work, request: &Request<'_>) -> Result<Reply, KeeperError> {
        self.refuse_unwell()?;
        let admitted = self.admission.admit(errand.client, work, errand.deadline).await;
        let permit = admitted.map_err(|refused| self.not_admitted(refused))?;
        let outcome = self.ask_for(errand, request).await;
        if matches!(outcome, Ok(_) | Err(KeeperError::NotAuthentic)) {
            permit.answered();
        }
        outcome
    }

    fn not_admitted(&self, refused: NotAdmitted) -> KeeperError {
        match refused {
            NotAdmitted::Congested(expected) => {
                KeeperError::Congested { retry_after: expected.clamp(RETRY_AFTER, LONGEST_RETRY_AFTER) }
            }
            NotAdmitted::TurnedAway => {
                KeeperError::Unavailable { condition: self.condition(), retry_after: RETRY_AFTER }
            }
        }
    }

    async fn ask_for(&self, errand: Errand<'_>, request: &Request<'_>) -> Result<Reply, KeeperError> {
        let Errand { deadline, patience, .. } = errand;
        for _attempt in 0..2 {
            self.refuse_unwell()?;
            let link = self.link(deadline, patience).await?;
            match link.exchange(request, Asked { deadline, patience }).await {
                Ok(Reply::Refused(refusal)) => return Err(self.refused(refusal)),
                Ok(reply) => {
                    self.health.worked();
                    return Ok(reply);
                }
                Err(LinkFault::Lost) if patience == Patience::Moves => break,
                Err(LinkFault::Lost) => {}
                Err(LinkFault::Silent) => {
                    return Err(KeeperError::Unavailable { condition: Condition::Silent, retry_after: RETRY_AFTER });
                }
                Err(LinkFault::Busy) => return Err(KeeperError::Busy),
                Err(LinkFault::TimedOut) => return Err(KeeperError::TimedOut),
                Err(LinkFault::TooLarge) => return Err(KeeperError::Protocol),
            }
        }
        Err(KeeperError::Lost)
    }

    /// Answers at once while the breaker is open. A device that is gone is waited for a little.
    fn refuse_unwell(&self) -> Result<(), KeeperError> {
        match self.condition() {
            Condition::Well | Condition::Gone => Ok(()),
            condition @ (Condition::Silent | Condition::Failing) => {
                Err(KeeperError::Unavailable { condition, retry_after: RETRY_AFTER })
            }
        }
    }

    /// The connection of the present keeper; waits a little for one that is being started, where nobody else can do it.
    async fn link(&self, deadline: Instant, patience: Patience) -> Result<Arc<Link>, KeeperError> {
        let lost_at = match &*self.presence.borrow() {
            Presence::Up(link, _) if link.is_open() => return Ok(Arc::clone(link)),
            // Its end is about to be told.
            Presence::Up(..) => self.clock.instant(),
            Presence::Down { since, .. } => *since,
            Presence::Refused(failure) => return Err(KeeperError::Refused(failure.message.clone())),
        };
        if patience == Patience::Moves {
            return Err(self.gone());
        }
        let mut presence = self.presence.clone();
        let settled = presence.wait_for(|presence| match presence {
            Presence::Up(link, _) => link.is_open(),
            Presence::Down { .. } => false,
            Presence::Refused(_) => true,
        });
        let settled = tokio::time::timeout_at(deadline.min(lost_at + GRACE).into(), settled).await;
        match settled.ok().and_then(Result::ok).as_deref() {
            Some(Presence::Up(link, _)) => Ok(Arc::clone(link)),
            Some(Presence::Refused(failure)) => Err(KeeperError::Refused(failure.message.clone())),
            Some(Presence::Down { .. }) | None => Err(self.gone()),
        }
    }

    /// That there is no keeper, and when one may be there.
    fn gone(&self) -> KeeperError {
        let next_try = match &*self.presence.borrow() {
            Presence::Down { next_try, .. } => next_try.saturating_duration_since(self.clock.instant()),
            Presence::Up(..) | Presence::Refused(_) => Duration::ZERO,
        };
        KeeperError::Unavailable { condition: Condition::Gone, retry_after: RETRY_AFTER.max(next_try) }
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
            Refusal::Hardware(fault, reason) => {
                self.counters.faults(fault).increment();
                if self.health.failed() {
                    self.counters.breaker_opened.increment();
                    self.admission.turn_away();
                }
                KeeperError::Hardware(fault, reason)
            }
            Refusal::Malformed => KeeperError::Protocol,
        }
    }
}
