//! One request carried out: judged by the policy, done by the hardware, verified, answered.

use std::mem::take;
use std::sync::Arc;

use arc_swap::ArcSwap;
use aws_lc_rs::digest::{SHA256, digest};

use super::policy::Policy;
use super::wire::{PublicKeys, Refusal, Reply, Request};
use crate::clock::Clock;
use crate::entropy::Entropy;
use crate::hardware::attestation::Nonce;
use crate::hardware::{Device, DeviceKeys, Error, Fault, PinnedPublicKey, Sealed, Session};
use crate::jose::jwe::KeyManagement;

const TRIAL: &[u8] = b"mintkeep health";

/// What every session thread of a keeper shares.
pub struct Worker {
    policy: Policy,
    known: ArcSwap<Known>,
    verify_signatures: bool,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
}

/// The keys of the device, as they were last told, and the public halves that verify what they sign.
struct Known {
    public_keys: PublicKeys,
    pinned: Vec<PinnedPublicKey>,
}

impl Known {
    fn new(device: String, keys: DeviceKeys, policy: &Policy) -> Result<Self, Error> {
        let pinned = keys.signing.iter().map(|key| PinnedPublicKey::new(*key)).collect::<Result<_, _>>();
        let pinned = pinned
            .map_err(|error| Error::Call { call: "pinning the public key".to_owned(), reason: error.to_string() })?;
        let public_keys = PublicKeys { device, keys, profiles: policy.profiles().to_vec() };
        Ok(Self { public_keys, pinned })
    }
}

/// An answer, and what it tells of the device.
pub struct Answer {
    /// What the mint is told.
    pub reply: Reply,
    /// What it says of the device.
    pub verdict: Verdict,
}

/// What an answer says of the device.
#[derive(Debug)]
pub enum Verdict {
    /// Nothing: it was not asked, or the input was at fault.
    None,
    /// It did what it was asked.
    Works(Operation),
    /// It did not, and no input can be the reason.
    Fault(Operation, Error),
}

/// What a device is asked to do.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Operation {
    /// Sign.
    Sign,
    /// Encrypt a refresh token.
    Seal,
    /// Decrypt one.
    Open,
}

impl Operation {
    /// The operation behind `request`, where there is one.
    fn of(request: &Request<'_>) -> Option<Self> {
        match request {
            Request::Sign { .. } | Request::Health => Some(Self::Sign),
            Request::Seal { .. } => Some(Self::Seal),
            Request::Open { .. } => Some(Self::Open),
            Request::PublicKeys
            | Request::LookAgain
            | Request::Generate { .. }
            | Request::Attest { .. }
            | Request::Cancel => None,
        }
    }
}

impl Answer {
    /// A refusal that is no fault of the device.
    pub(super) fn refused(refusal: Refusal) -> Self {
        Self { reply: Reply::Refused(refusal), verdict: Verdict::None }
    }
}

impl Worker {
    /// A worker for the keys of `device`, which checked them when it was opened.
    ///
    /// # Errors
    /// [`Error::Call`] where the device's public key is not on the curve.
    pub fn new(
        device: &dyn Device,
        policy: Policy,
        verify_signatures: bool,
        clock: Arc<dyn Clock>,
        entropy: Arc<dyn Entropy>,
    ) -> Result<Self, Error> {
        let known = Known::new(device.description().to_owned(), device.keys(), &policy)?;
        Ok(Self { policy, known: ArcSwap::from_pointee(known), verify_signatures, clock, entropy })
    }

    /// Carries out `request` on `session`.
    pub fn answer(&self, session: &mut dyn Session, request: &Request<'_>) -> Answer {
        let outcome = match request {
            Request::Sign { client, kid, profile, signing_input } => {
                self.sign(session, client, kid, profile, signing_input)
            }
            Request::Seal { kid, aad, plaintext, .. } => {
                let nonce = self.entropy.bytes();
                let sealed = session.encrypt(kid, &nonce, aad, plaintext);
                sealed.map(|Sealed { nonce, ciphertext_and_tag }| Reply::Sealed { nonce, ciphertext_and_tag })
            }
            Request::Open { kid, key_management: KeyManagement::Direct, nonce, aad, ciphertext_and_tag, .. } => {
                session.decrypt(kid, nonce, aad, ciphertext_and_tag).map(Reply::Opened)
            }
            Request::Open {
                kid,
                key_management: KeyManagement::EcdhEs { epk },
                nonce,
                aad,
                ciphertext_and_tag,
                ..
            } => {
                let agreed = session.agree(kid, epk);
                let opened = agreed.map(|secret| secret.content_key().decrypt(nonce, aad, ciphertext_and_tag));
                opened.and_then(|text| text.ok_or(Error::NotAuthentic)).map(|mut text| Reply::Opened(take(&mut *text)))
            }
            Request::PublicKeys => Ok(self.tell_keys()),
            Request::LookAgain => session.look_again().and_then(|()| self.learn_keys(session)),
            Request::Generate { role } => session.generate(*role).and_then(|()| self.learn_keys(session)),
            Request::Attest { kid, nonce } => self.attest(session, kid, nonce),
            Request::Health => self.try_out(session).map(|()| Reply::Healthy),
            Request::Cancel => Ok(Reply::Refused(Refusal::Malformed)),
        };
        let operation = Operation::of(request);
        match (outcome, operation) {
            // The policy's refusal: the device was not asked.
            (Ok(reply @ Reply::Refused(_)), _) | (Ok(reply), None) => Answer { reply, verdict: Verdict::None },
            (Ok(reply), Some(operation)) => Answer { reply, verdict: Verdict::Works(operation) },
            (Err(Error::NotAuthentic), _) => Answer::refused(Refusal::NotAuthentic),
            (Err(Error::UnknownKey(kid)), _) => Answer::refused(Refusal::UnknownKey(kid)),
            (Err(error), operation) => {
                let fault = error.fault().unwrap_or(Fault::Fatal);
                tracing::error!(%error, fault = fault.name(), "the hardware failed");
                let reply = Reply::Refused(Refusal::Hardware(fault, error.to_string()));
                let verdict = operation.map_or(Verdict::None, |operation| Verdict::Fault(operation, error));
                Answer { reply, verdict }
            }
        }
    }

    fn sign(
        &self,
        session: &mut dyn Session,
        client: &str,
        kid: &str,
        profile: &str,
        signing_input: &[u8],
    ) -> Result<Reply, Error> {
        let known = self.known.load();
        let key = known.pinned.iter().find(|key| key.kid() == kid).ok_or_else(|| Error::UnknownKey(kid.to_owned()))?;
        if let Err(rule) = self.policy.check(profile, kid, client, signing_input, self.clock.now()) {
            tracing::warn!(client, profile, %rule, "refused to sign");
            return Ok(Reply::Refused(Refusal::Policy(rule.to_string())));
        }
        make_signature(session, key, signing_input, self.verify_signatures).map(Reply::Signature)
    }

    /// What a device signs for this is no token, however the nonce is chosen.
    fn attest(&self, session: &mut dyn Session, kid: &str, nonce: &[u8]) -> Result<Reply, Error> {
        let Ok(nonce) = Nonce::new(nonce) else { return Ok(Reply::Refused(Refusal::Malformed)) };
        tracing::info!(kid, "making evidence of a key");
        session.attest(kid, &nonce, self.clock.now()).map(|document| Reply::Attestation(document.to_json()))
    }

    /// Has every signing key make a signature that nobody can use.
    fn try_out(&self, session: &mut dyn Session) -> Result<(), Error> {
        self.known.load().pinned.iter().try_for_each(|key| make_signature(session, key, TRIAL, true).map(drop))
    }

    fn tell_keys(&self) -> Reply {
        Reply::PublicKeys(self.known.load().public_keys.clone())
    }

    fn learn_keys(&self, session: &dyn Session) -> Result<Reply, Error> {
        let device = self.known.load().public_keys.device.clone();
        self.known.store(Arc::new(Known::new(device, session.keys(), &self.policy)?));
        Ok(self.tell_keys())
    }
}

fn make_signature(
    session: &mut dyn Session,
    key: &PinnedPublicKey,
    message: &[u8],
    verify: bool,
) -> Result<[u8; 64], Error> {
    let hash = digest(&SHA256, message);
    let hash = hash.as_ref().try_into().expect("SHA-256 gives 32 bytes");
    let signature = session.sign(key.kid(), hash)?;
    if verify && !key.verifies(message, &signature) {
        return Err(Error::WrongSignature);
    }
    Ok(signature)
}
