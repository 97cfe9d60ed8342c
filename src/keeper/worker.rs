//! One request carried out: judged by the policy, done by the hardware, verified, answered.

use std::mem::take;
use std::sync::Arc;

use aws_lc_rs::digest::{SHA256, digest};

use super::policy::Policy;
use super::wire::{PublicKeys, Refusal, Reply, Request};
use crate::clock::Clock;
use crate::entropy::Entropy;
use crate::hardware::{Device, Error, PinnedPublicKey, Session};
use crate::jose::jwe::KeyManagement;

const TRIAL: &[u8] = b"mintkeep health";

/// What every session thread of a keeper shares: nothing in it changes.
pub struct Worker {
    policy: Policy,
    public_keys: PublicKeys,
    pinned: PinnedPublicKey,
    verify_signatures: bool,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
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
            Request::PublicKeys | Request::Cancel => None,
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
        let keys = device.keys();
        let pinned = PinnedPublicKey::new(keys.signing)
            .map_err(|error| Error::Call { call: "pinning the public key".to_owned(), reason: error.to_string() })?;
        let public_keys = PublicKeys {
            device: device.description().to_owned(),
            signing: keys.signing,
            sealing: keys.sealing.clone(),
            profiles: policy.profiles().to_vec(),
        };
        Ok(Self { policy, public_keys, pinned, verify_signatures, clock, entropy })
    }

    /// Carries out `request` on `session`.
    pub fn answer(&self, session: &mut dyn Session, request: &Request<'_>) -> Answer {
        let outcome = match request {
            Request::Sign { client, profile, signing_input } => self.sign(session, client, profile, signing_input),
            Request::Seal { kid, aad, plaintext, .. } => {
                let nonce = self.entropy.bytes();
                let sealed = session.encrypt(kid, &nonce, aad, plaintext);
                sealed.map(|ciphertext_and_tag| Reply::Sealed { nonce, ciphertext_and_tag })
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
            Request::PublicKeys => Ok(Reply::PublicKeys(self.public_keys.clone())),
            Request::Health => self.make_signature(session, TRIAL, true).map(|_| Reply::Healthy),
            Request::Cancel => Ok(Reply::Refused(Refusal::Malformed)),
        };
        let operation = Operation::of(request);
        match (outcome, operation) {
            // The policy's refusal: the device was not asked.
            (Ok(reply @ Reply::Refused(_)), _) | (Ok(reply), None) => Answer { reply, verdict: Verdict::None },
            (Ok(reply), Some(operation)) => Answer { reply, verdict: Verdict::Works(operation) },
            (Err(Error::NotAuthentic), _) => Answer::refused(Refusal::NotAuthentic),
            (Err(Error::UnknownKey(_)), _) => Answer::refused(Refusal::UnknownKey),
            (Err(error), operation) => {
                tracing::error!(%error, "the hardware failed");
                let reply = Reply::Refused(Refusal::Hardware(error.to_string()));
                let verdict = operation.map_or(Verdict::None, |operation| Verdict::Fault(operation, error));
                Answer { reply, verdict }
            }
        }
    }

    fn sign(
        &self,
        session: &mut dyn Session,
        client: &str,
        profile: &str,
        signing_input: &[u8],
    ) -> Result<Reply, Error> {
        let now = self.clock.now();
        if let Err(rule) = self.policy.check(profile, self.pinned.kid(), client, signing_input, now) {
            tracing::warn!(client, profile, %rule, "refused to sign");
            return Ok(Reply::Refused(Refusal::Policy(rule.to_string())));
        }
        self.make_signature(session, signing_input, self.verify_signatures).map(Reply::Signature)
    }

    fn make_signature(&self, session: &mut dyn Session, message: &[u8], verify: bool) -> Result<[u8; 64], Error> {
        let hash = digest(&SHA256, message);
        let hash = hash.as_ref().try_into().expect("SHA-256 gives 32 bytes");
        let signature = session.sign(self.pinned.kid(), hash)?;
        if verify && !self.pinned.verifies(message, &signature) {
            return Err(Error::WrongSignature);
        }
        Ok(signature)
    }
}
