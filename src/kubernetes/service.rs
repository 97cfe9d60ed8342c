//! The calls.

use std::num::NonZeroU32;
use std::sync::Arc;

use prost_types::Timestamp;
use tonic::{Request, Response, Status};

use super::api::external_jwt_signer_server::ExternalJwtSigner;
use super::api::{
    FetchKeysRequest, FetchKeysResponse, Key, MetadataRequest, MetadataResponse, SignJwtRequest, SignJwtResponse,
};
use super::claims::PresentedClaims;
use super::error::CallError;
use super::{KubernetesSettings, Parts, deadline};
use crate::budget::Budget;
use crate::http::listener::Peer;
use crate::jose::{base64url, public_key_info};
use crate::keyring::delegated::{DelegatedError, DelegatedSigner};
use crate::oauth::frontend::{CallingFrontend, FrontendAuthenticator, PresentedCaller};

/// How often what is refused is logged: a flood must not flood the log.
const REPORTS_A_MINUTE: NonZeroU32 = NonZeroU32::new(60).expect("it is not zero");

/// Answers calls.
pub(super) struct Service {
    settings: KubernetesSettings,
    signer: DelegatedSigner,
    frontends: Arc<FrontendAuthenticator>,
    reports: Budget,
}

impl Service {
    pub(super) fn new(settings: KubernetesSettings, parts: Parts) -> Self {
        let Parts { signer, frontends, registrations: _, clock } = parts;
        Self { settings, signer, frontends, reports: Budget::per_minute(REPORTS_A_MINUTE, &clock) }
    }

    /// The front-end at the other end, which may use the profile.
    fn caller<Message>(&self, request: &Request<Message>) -> Result<CallingFrontend, CallError> {
        let uid = uid(request);
        let presented = PresentedCaller { uid, certificate: None, token: None };
        let caller = self.frontends.authenticate(&presented)?;
        caller.signing.check_profile(self.settings.profile.as_str())?;
        Ok(caller)
    }

    async fn signed(&self, request: Request<SignJwtRequest>) -> Result<SignJwtResponse, CallError> {
        let caller = self.caller(&request)?;
        let limit = deadline::of(request.metadata())?;
        let claims = PresentedClaims::parse(request.into_inner().claims)?;
        caller.signing.check_claims(claims.object())?;
        let key = &self.settings.profile;
        let input = |kid: &str| claims.signing_input(kid);
        let signing = self.signer.sign(&caller.name, key.as_str(), key, None, input);
        let signed = match limit {
            // What is dropped is taken back from the keeper.
            Some(limit) => tokio::time::timeout(limit, signing).await.map_err(|_| CallError::TooLate)??,
            None => signing.await?,
        };
        let header = signed.input.split(|byte| *byte == b'.').next().unwrap_or_default();
        let header = String::from_utf8(header.to_vec()).expect("base64url is ASCII");
        Ok(SignJwtResponse { header, signature: base64url::encode(signed.signature) })
    }

    fn keys(&self) -> Result<FetchKeysResponse, CallError> {
        let name = &self.settings.profile;
        // Read first: where the keys change in between, the next answer says so.
        let changed_at = self.signer.changed_at(name);
        let keys: Vec<Key> = self
            .signer
            .keys(name)
            .into_iter()
            .map(|key| Key {
                key: public_key_info::encode(&key.public_key).to_vec(),
                key_id: key.kid,
                // Each of them signs, or signed tokens that are still good.
                exclude_from_oidc_discovery: false,
            })
            .collect();
        if keys.is_empty() {
            return Err(CallError::NoKey);
        }
        let data_timestamp = Some(Timestamp { seconds: changed_at.unix_seconds(), nanos: 0 });
        Ok(FetchKeysResponse { keys, data_timestamp, refresh_hint_seconds: seconds(self.settings.refresh_hint) })
    }

    /// Logs why a call was not answered, and says as much of it as its caller is told.
    fn refuse(&self, call: &'static str, uid: Option<u32>, error: &CallError) -> Status {
        if self.reports.take() {
            let profile = self.settings.profile.as_str();
            // The rule that was broken.
            let rule = match error {
                CallError::Signing(DelegatedError::Refused(rule)) => Some(rule.as_str()),
                _ => None,
            };
            tracing::warn!(%error, rule, call, uid, profile, "did not answer a call of Kubernetes");
        }
        error.into()
    }
}

#[tonic::async_trait]
impl ExternalJwtSigner for Service {
    async fn sign(&self, request: Request<SignJwtRequest>) -> Result<Response<SignJwtResponse>, Status> {
        let uid = uid(&request);
        self.signed(request).await.map(Response::new).map_err(|error| self.refuse("Sign", uid, &error))
    }

    async fn fetch_keys(&self, request: Request<FetchKeysRequest>) -> Result<Response<FetchKeysResponse>, Status> {
        let answer = self.caller(&request).and_then(|_caller| self.keys());
        answer.map(Response::new).map_err(|error| self.refuse("FetchKeys", uid(&request), &error))
    }

    async fn metadata(&self, request: Request<MetadataRequest>) -> Result<Response<MetadataResponse>, Status> {
        let caller = self.caller(&request).map_err(|error| self.refuse("Metadata", uid(&request), &error))?;
        let of_profile = self.settings.max_lifetime;
        let most = caller.signing.max_lifetime.map_or(of_profile, |most| most.min(of_profile));
        Ok(Response::new(MetadataResponse { max_token_expiration_seconds: seconds(most) }))
    }
}

/// The user at the other end, as the kernel says.
fn uid<Message>(request: &Request<Message>) -> Option<u32> {
    request.extensions().get::<Peer>().and_then(|peer| peer.uid)
}

fn seconds(duration: std::time::Duration) -> i64 {
    duration.as_secs().try_into().unwrap_or(i64::MAX)
}
