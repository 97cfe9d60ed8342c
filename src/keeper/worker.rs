//! One request carried out, in two steps: judged by the policy and done by the hardware; then verified and answered.

use std::mem::take;
use std::sync::Arc;

use arc_swap::ArcSwap;
use aws_lc_rs::digest::{SHA256, digest};

use super::policy::{Policy, Rule, SigningRequest};
use super::wire::{PublicKeys, Refusal, Reply, Request};
use crate::clock::Clock;
use crate::entropy::Entropy;
use crate::hardware::attestation::Nonce;
use crate::hardware::{Device, DeviceKeys, Error, Fault, PinnedPublicKey, Role, Sealed, Session};
use crate::jose::jwe::KeyManagement;
use crate::jose::jwk::NotOnCurve;
use crate::jose::jws::Signature;

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
    /// Those that sign, and what for.
    signers: Vec<(Role, Arc<PinnedPublicKey>)>,
}

impl Known {
    fn new(device: String, keys: DeviceKeys, policy: &Policy) -> Result<Self, Error> {
        let signers = keys.all().filter(|(_, role, _)| role.signs());
        let pinned =
            signers.filter_map(|(_, role, key)| key.map(|key| Ok((role, Arc::new(PinnedPublicKey::new(key)?)))));
        let signers = pinned.collect::<Result<_, NotOnCurve>>();
        let signers = signers
            .map_err(|error| Error::Call { call: "pinning the public key".to_owned(), reason: error.to_string() })?;
        let profiles = policy.profiles().to_vec();
        let delegated_profiles = policy.delegated_profiles().cloned().collect();
        Ok(Self { public_keys: PublicKeys { device, keys, profiles, delegated_profiles }, signers })
    }

    fn signer(&self, kid: &str) -> Result<&(Role, Arc<PinnedPublicKey>), Error> {
        self.signers.iter().find(|(_, key)| key.kid() == kid).ok_or_else(|| Error::UnknownKey(kid.to_owned()))
    }
}

/// What a request came to in the device. Nothing of it leaves before it is [`Self::released`].
pub struct Made {
    outcome: Result<Product, Error>,
    operation: Option<Operation>,
}

/// What came of a request.
enum Product {
    /// What may leave as it is.
    Ready(Reply),
    /// A signature that has to be `key`'s over what has the SHA-256 `digest`.
    Unverified { signature: Signature, key: Arc<PinnedPublicKey>, digest: [u8; 32] },
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
            Request::Sign { .. } | Request::SignDigest { .. } | Request::Health => Some(Self::Sign),
            Request::Seal { .. } => Some(Self::Seal),
            Request::Open { .. } => Some(Self::Open),
            Request::PublicKeys
            | Request::LookAgain
            | Request::Generate { .. }
            | Request::Destroy { .. }
            | Request::Attest { .. }
            | Request::Cancel => None,
        }
    }
}

impl Made {
    /// What the device was not asked for.
    pub(super) fn refused(refusal: Refusal) -> Self {
        Self { outcome: Ok(Product::Ready(Reply::Refused(refusal))), operation: None }
    }

    /// What may leave of it: a signature only where it is verified, or where that is not asked for.
    pub fn released(self) -> Answer {
        let outcome = self.outcome.and_then(|product| match product {
            Product::Ready(reply) => Ok(reply),
            Product::Unverified { signature, key, digest } if key.verifies_digest(&digest, &signature) => {
                Ok(Reply::Signature(signature))
            }
            Product::Unverified { .. } => Err(Error::WrongSignature),
        });
        match (outcome, self.operation) {
            // The policy's refusal: the device was not asked.
            (Ok(reply @ Reply::Refused(_)), _) | (Ok(reply), None) => Answer { reply, verdict: Verdict::None },
            (Ok(reply), Some(operation)) => Answer { reply, verdict: Verdict::Works(operation) },
            (Err(Error::NotAuthentic), _) => Answer::refused(Refusal::NotAuthentic),
            // Whoever asks for one too many is at fault, and not the device.
            (Err(error @ (Error::KeysFull { .. } | Error::HandlesFull { .. } | Error::KeyTaken(_))), _) => {
                Answer::refused(Refusal::Policy(error.to_string()))
            }
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
}

impl Answer {
    /// A refusal that is no fault of the device.
    fn refused(refusal: Refusal) -> Self {
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

    /// Has `session` do what `request` asks for. The device is not needed for what becomes of it.
    pub fn ask(&self, session: &mut dyn Session, request: &Request<'_>) -> Made {
        let outcome = match request {
            Request::Sign { client, kid, profile, signing_input } => {
                self.sign(session, client, kid, profile, signing_input)
            }
            Request::SignDigest { client, kid, profile, digest } => {
                self.sign_digest(session, client, kid, profile, digest)
            }
            _ => self.reply(session, request).map(Product::Ready),
        };
        Made { outcome, operation: Operation::of(request) }
    }

    /// What all but signatures come to.
    fn reply(&self, session: &mut dyn Session, request: &Request<'_>) -> Result<Reply, Error> {
        match request {
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
            Request::Generate { role } => self.generate(session, *role),
            Request::Destroy { kid } => self.destroy(session, kid),
            Request::Attest { kid, nonce } => self.attest(session, kid, nonce),
            Request::Health => self.try_out(session).map(|()| Reply::Healthy),
            Request::Sign { .. } | Request::SignDigest { .. } | Request::Cancel => {
                Ok(Reply::Refused(Refusal::Malformed))
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
    ) -> Result<Product, Error> {
        let known = self.known.load();
        let (role, key) = known.signer(kid)?;
        let request = SigningRequest { client, profile, kid, role: *role };
        if let Err(rule) = self.policy.check(&request, signing_input, self.clock.now()) {
            return Ok(Product::Ready(refused(client, profile, &rule)));
        }
        self.make_signature(session, key, sha256(signing_input))
    }

    fn sign_digest(
        &self,
        session: &mut dyn Session,
        client: &str,
        kid: &str,
        profile: &str,
        digest: &[u8; 32],
    ) -> Result<Product, Error> {
        let known = self.known.load();
        let (role, key) = known.signer(kid)?;
        let request = SigningRequest { client, profile, kid, role: *role };
        if let Err(rule) = self.policy.check_digest(&request) {
            return Ok(Product::Ready(refused(client, profile, &rule)));
        }
        // Each of them: the log is the only place where such signatures can be told from others.
        tracing::warn!(client, profile, kid, prehashed = true, "signing a digest, whatever it is of");
        self.make_signature(session, key, *digest)
    }

    fn make_signature(
        &self,
        session: &mut dyn Session,
        key: &Arc<PinnedPublicKey>,
        digest: [u8; 32],
    ) -> Result<Product, Error> {
        let signature = session.sign(key.kid(), &digest)?;
        Ok(match self.verify_signatures {
            true => Product::Unverified { signature, key: Arc::clone(key), digest },
            false => Product::Ready(Reply::Signature(signature)),
        })
    }

    fn generate(&self, session: &mut dyn Session, role: Role) -> Result<Reply, Error> {
        if let Err(rule) = self.policy.check_generate(role) {
            tracing::warn!(%role, %rule, "refused to generate a key");
            return Ok(Reply::Refused(Refusal::Policy(rule.to_string())));
        }
        session.generate(role)?;
        self.learn_keys(session)
    }

    fn destroy(&self, session: &mut dyn Session, kid: &str) -> Result<Reply, Error> {
        let known = self.known.load();
        let role = known.public_keys.keys.all().find(|(known, ..)| known == kid).map(|(_, role, _)| role);
        let role = role.ok_or_else(|| Error::UnknownKey(kid.to_owned()))?;
        if let Err(rule) = self.policy.check_destroy(role) {
            tracing::warn!(%role, kid, %rule, "refused to destroy a key");
            return Ok(Reply::Refused(Refusal::Policy(rule.to_string())));
        }
        tracing::warn!(%role, kid, "destroying a key that a front-end had made");
        session.destroy(kid)?;
        self.learn_keys(session)
    }

    /// What a device signs for this is no token, however the nonce is chosen.
    fn attest(&self, session: &mut dyn Session, kid: &str, nonce: &[u8]) -> Result<Reply, Error> {
        let Ok(nonce) = Nonce::new(nonce) else { return Ok(Reply::Refused(Refusal::Malformed)) };
        tracing::info!(kid, "making evidence of a key");
        session.attest(kid, &nonce, self.clock.now()).map(|document| Reply::Attestation(document.to_json()))
    }

    /// Has every signing key of the mint's own make a signature that nobody can use. Front-ends may have many.
    fn try_out(&self, session: &mut dyn Session) -> Result<(), Error> {
        let known = self.known.load();
        let mut own = known.signers.iter().filter(|(role, _)| *role == Role::Signing);
        let digest = sha256(TRIAL);
        own.try_for_each(|(_, key)| {
            let signature = session.sign(key.kid(), &digest)?;
            key.verifies_digest(&digest, &signature).then_some(()).ok_or(Error::WrongSignature)
        })
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

fn refused(client: &str, profile: &str, rule: &Rule) -> Reply {
    tracing::warn!(client, profile, %rule, "refused to sign");
    Reply::Refused(Refusal::Policy(rule.to_string()))
}

fn sha256(message: &[u8]) -> [u8; 32] {
    digest(&SHA256, message).as_ref().try_into().expect("SHA-256 gives 32 bytes")
}
