//! What the operator allows clients that register themselves, and what comes of a registration by that.

use std::time::Duration;

use subtle::Choice;

use super::document::Registration;
use super::metadata::{AuthenticationMethod, ClientMetadata, Proof};
use crate::clock::Timestamp;
use crate::fetch::HttpsSettings;
use crate::jose::claims::Audience;
use crate::oauth::client::{Client, ClientAuthentication, GrantType, RefreshRules, RequestLimits};
use crate::oauth::scope::Scope;
use crate::oauth::secret::SecretHash;

/// The operator's rules. They hold for clients that registered under others too: each time that one is used.
#[derive(Clone, Debug, PartialEq)]
pub struct RegistrationRules {
    /// The initial access tokens that are good now (RFC 7591 §3); two while one replaces the other.
    pub initial_access_tokens: Vec<SecretHash>,
    /// The grants that may be registered.
    pub grants: Vec<GrantType>,
    /// The ways of proving oneself that may be.
    pub methods: Vec<AuthenticationMethod>,
    /// The most scope.
    pub scope: Scope,
    /// Who their access tokens are for.
    pub audience: Audience,
    /// Who else they may be for (RFC 8707).
    pub resources: Vec<String>,
    /// How long their access tokens live.
    pub access_token_lifetime: Duration,
    /// How many there may be.
    pub max_clients: u32,
    /// How long a registration holds; for ever without.
    pub lifetime: Option<Duration>,
    /// For their refresh tokens, which none of them has so far.
    pub refresh: RefreshRules,
}

/// Why a client that registered itself is none by the rules of the moment: for the log.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Refused {
    /// It registered too long ago.
    #[error("its registration has expired")]
    Expired,
    /// It proves itself in a way that is not allowed.
    #[error("it may not prove itself in this way")]
    Method,
    /// All of its grants are gone.
    #[error("none of its grants is allowed")]
    Grants,
    /// All of its scope is gone.
    #[error("none of its scope is allowed")]
    Scope,
    /// Its metadata are not good, or it has no secret.
    #[error("its metadata do not prove anybody")]
    Metadata,
}

impl RegistrationRules {
    /// Whether some may prove themselves by keys.
    pub fn takes_keys(&self) -> bool {
        self.methods.contains(&AuthenticationMethod::PrivateKeyJwt)
    }

    /// Whether `token` is an initial access token, in a time that does not depend on the answer.
    pub(super) fn is_initial_access_token(&self, token: &str) -> bool {
        let presented = SecretHash::of(token);
        let matches =
            self.initial_access_tokens.iter().fold(Choice::from(0), |any, hash| any | hash.matches(&presented));
        matches.into()
    }

    /// When a registration of `created_at` expires, where it does.
    pub fn expires_at(&self, created_at: Timestamp) -> Option<Timestamp> {
        self.lifetime.map(|lifetime| created_at.plus(lifetime))
    }

    /// Whether a registration of `created_at` has expired at `now`.
    pub fn has_expired(&self, created_at: Timestamp, now: Timestamp) -> bool {
        self.expires_at(created_at).is_some_and(|expires_at| expires_at <= now)
    }

    /// `metadata`, cut down to what is allowed now.
    pub(super) fn cut_down(&self, metadata: ClientMetadata) -> ClientMetadata {
        let is_allowed = |name: &String| GrantType::parse(name).is_some_and(|grant| self.grants.contains(&grant));
        ClientMetadata {
            grant_types: metadata.grant_types.into_iter().filter(is_allowed).collect(),
            // What cannot be read is no scope.
            scope: Scope::parse(&metadata.scope)
                .map(|scope| scope.intersection(&self.scope).as_str().to_owned())
                .unwrap_or_default(),
            ..metadata
        }
    }

    /// The client of `registration`, at `now`.
    ///
    /// # Errors
    /// [`Refused`].
    pub fn client(&self, registration: Registration, now: Timestamp) -> Result<Client, Refused> {
        let Registration { client_id, created_at, metadata, secret, .. } = registration;
        if self.has_expired(created_at, now) {
            return Err(Refused::Expired);
        }
        if !self.methods.contains(&metadata.token_endpoint_auth_method) {
            return Err(Refused::Method);
        }
        let metadata = self.cut_down(metadata);
        let grants: Vec<GrantType> = metadata.grant_types.iter().filter_map(|name| GrantType::parse(name)).collect();
        if grants.is_empty() {
            return Err(Refused::Grants);
        }
        let scope = Scope::parse(&metadata.scope).map_err(|_| Refused::Scope)?;
        if scope.as_str().is_empty() {
            return Err(Refused::Scope);
        }
        let authentication = match metadata.proof().map_err(|_| Refused::Metadata)? {
            Proof::Registered(authentication) => authentication,
            Proof::Secret(transport) => {
                ClientAuthentication::Secret { transport, hashes: vec![secret.ok_or(Refused::Metadata)?] }
            }
        };
        // No access token outlives the registration that it came from.
        let rest = self.expires_at(created_at).map_or(Duration::MAX, |expires_at| expires_at.since(now));
        Ok(Client {
            limits: RequestLimits::default(),
            id: client_id,
            authentication,
            grants,
            scope,
            audience: self.audience.clone(),
            resources: self.resources.clone(),
            several_audiences: self.audience.values().len() > 1,
            dpop_bound_access_tokens: metadata.dpop_bound_access_tokens,
            certificate_bound_access_tokens: metadata.tls_client_certificate_bound_access_tokens,
            access_token_lifetime: self.access_token_lifetime.min(rest),
            share_tokens_for: None,
            refresh: self.refresh,
            // Nobody logs in for a client that registered itself.
            redirect_uris: Vec::new(),
            post_logout_redirect_uris: Vec::new(),
            backchannel_logout_uri: None,
            backchannel_logout_settings: HttpsSettings::default(),
            require_pushed_authorization_requests: false,
            require_signed_request_object: false,
            request_object_keys: None,
            refresh_token_cookie: false,
        })
    }
}
