//! What the token of a trusted issuer is worth here: the JWT bearer grant (RFC 7523 §2.1), and token exchange (RFC 8693).
//!
//! Who presents it needs no credentials of ours where the client of the trust policy is a public one: the token is what
//! proves the workload. A client that is registered to prove itself has to, here too.

use std::sync::Arc;

use super::OAuthError;
use super::authentication::AuthenticatedClient;
use super::authorized::{Asked, Authorized};
use super::client::{Client, GrantType};
use super::dpop::ProvenKey;
use super::registrations::Registrations;
use super::request::PresentedRequest;
use super::trust::TrustPolicy;
use super::trusted_token::{ACCESS_TOKEN_KIND, TokenKind, TrustedTokens, Untrusted, VerifiedToken};
use super::workload;
use crate::jose::claims::Actor;

/// Said of every assertion that is not taken, so that it tells nothing about why.
const NOT_TRUSTED: OAuthError = OAuthError::InvalidGrant("the assertion is not one that is trusted here");

/// The same of what is to be exchanged, by the code of RFC 8693 §2.2.2.
const NOT_EXCHANGED: OAuthError = OAuthError::InvalidRequest("the token is not one that is trusted here");

/// A request by one of the two grants.
pub struct Presentation<'a> {
    /// The request.
    pub request: &'a PresentedRequest<'a>,
    /// Those who are registered.
    pub registered: &'a Registrations,
    /// Who presents it, where that was proven.
    pub client: Option<AuthenticatedClient>,
    /// The key that was proven with it.
    pub key: Option<&'a ProvenKey>,
}

/// What was found to be good, and for whom.
pub struct Trusted<'a> {
    /// The client that the token is for.
    pub client: Arc<Client>,
    policy: &'a TrustPolicy,
    subject: String,
    actor: Option<Actor>,
}

impl<'a> Presentation<'a> {
    /// The JWT bearer grant: an `assertion` (RFC 7523 §2.1).
    ///
    /// # Errors
    /// [`OAuthError::InvalidGrant`] for one that is not trusted; [`OAuthError::UnauthorizedClient`],
    /// [`OAuthError::InvalidClient`]; what the keys of its issuer failed by.
    pub async fn assertion(&self, tokens: &TrustedTokens) -> Result<Trusted<'a>, OAuthError> {
        let text =
            self.request.parameters.find("assertion").ok_or(OAuthError::InvalidRequest("assertion is required"))?;
        let token = self.verified(tokens, text, TokenKind::Jwt).await.map_err(|error| error.tell(NOT_TRUSTED))?;
        let policy = self.policy(&token).map_err(|error| error.tell(NOT_TRUSTED))?;
        if !policy.actors.is_empty() {
            return Err(
                Untrusted::NoPolicy(format!("{} is for token exchange with an actor", policy.name)).tell(NOT_TRUSTED)
            );
        }
        self.trusted(GrantType::JwtBearer, policy, token, None)
    }

    /// Token exchange: a `subject_token`, for itself or with an `actor_token` that acts for it (RFC 8693 §2.1).
    ///
    /// # Errors
    /// [`OAuthError::InvalidRequest`] for tokens that are not trusted, or are of an unknown kind;
    /// [`OAuthError::UnauthorizedClient`], [`OAuthError::InvalidClient`]; what the keys of an issuer failed by.
    pub async fn exchange(&self, tokens: &TrustedTokens) -> Result<Trusted<'a>, OAuthError> {
        let parameters = &self.request.parameters;
        let text = parameters.find("subject_token").ok_or(OAuthError::InvalidRequest("subject_token is required"))?;
        let kind = parameters.find("subject_token_type").and_then(TokenKind::parse).ok_or(
            OAuthError::InvalidRequest("expected subject_token_type to be the URN of jwt, id_token or access_token"),
        )?;
        if parameters.find("requested_token_type").is_some_and(|wanted| wanted != ACCESS_TOKEN_KIND) {
            return Err(OAuthError::InvalidRequest("expected requested_token_type to be the URN of access_token"));
        }
        let actor = match (parameters.find("actor_token"), parameters.find("actor_token_type")) {
            (None, None) => None,
            (Some(text), kind) => Some((
                text,
                kind.and_then(TokenKind::parse).ok_or(OAuthError::InvalidRequest(
                    "expected actor_token_type to be the URN of jwt, id_token or access_token",
                ))?,
            )),
            (None, Some(_)) => {
                return Err(OAuthError::InvalidRequest("actor_token_type is there without an actor_token"));
            }
        };
        let refused = |error: Untrusted| error.tell(NOT_EXCHANGED);
        let token = self.verified(tokens, text, kind).await.map_err(refused)?;
        let policy = self.policy(&token).map_err(refused)?;
        let actor = match (actor, policy.actors.is_empty()) {
            (None, true) => token.actor.clone(),
            (Some((text, kind)), false) => {
                let actor = self.verified(tokens, text, kind).await.map_err(refused)?;
                Some(self.acting(policy, &token, &actor).map_err(refused)?)
            }
            (None, false) => {
                return Err(OAuthError::InvalidRequest("an actor_token is required for this subject_token"));
            }
            (Some(_), true) => return Err(OAuthError::InvalidRequest("nobody may act for this subject_token")),
        };
        if actor.as_ref().is_some_and(|actor| actor.depth() > Actor::MOST) {
            return Err(OAuthError::InvalidRequest("too many have acted for this subject already"));
        }
        self.trusted(GrantType::TokenExchange, policy, token, actor)
    }

    async fn verified(&self, tokens: &TrustedTokens, text: &str, kind: TokenKind) -> Result<VerifiedToken, Untrusted> {
        tokens.verify(text, kind, self.registered, self.request, self.key).await
    }

    fn policy(&self, token: &VerifiedToken) -> Result<&'a TrustPolicy, Untrusted> {
        token.policy(&self.registered.trust, self.client.as_ref().map(|client| client.client().id.as_str()))
    }

    /// `act` of a token by `policy`, where `actor` may act for the subject of `token`: by the policy, and by the token
    /// where that says who may (RFC 8693 §4.4).
    fn acting(&self, policy: &TrustPolicy, token: &VerifiedToken, actor: &VerifiedToken) -> Result<Actor, Untrusted> {
        let VerifiedToken { issuer, subject, claims, audience, .. } = actor;
        if self.registered.trust.find_actor(policy, issuer, claims, audience).is_none() {
            return Err(Untrusted::NoPolicy(format!("the actor is none of those that {} names", policy.name)));
        }
        if let Some(may_act) = token.claims.get("may_act") {
            let is_named = |name: &str, value: &str| may_act.get(name).and_then(|named| named.as_str()) == Some(value);
            let issuer_is_right = may_act.get("iss").is_none() || is_named("iss", issuer);
            if !is_named("sub", subject) || !issuer_is_right {
                return Err(Untrusted::NoPolicy("may_act names another actor".to_owned()));
            }
        }
        // Whoever acted before is behind the one who acts now (§4.1).
        let before = token.actor.clone().map(Box::new);
        Ok(Actor { sub: subject.clone(), iss: Some(issuer.clone()), act: before })
    }

    fn trusted(
        &self,
        grant: GrantType,
        policy: &'a TrustPolicy,
        token: VerifiedToken,
        actor: Option<Actor>,
    ) -> Result<Trusted<'a>, OAuthError> {
        let client = match &self.client {
            Some(client) => client.clone().into_client(),
            None => {
                // A policy names a client that is registered, or was not read.
                let client = self.registered.clients.find(&policy.client).ok_or(OAuthError::ServerError)?;
                if !client.authentication.is_none() {
                    return Err(OAuthError::InvalidClient("the client of this token has to authenticate"));
                }
                Arc::clone(client)
            }
        };
        if !client.may_use(grant) {
            return Err(OAuthError::UnauthorizedClient("the client may not use this grant"));
        }
        let subject = policy.subject.clone().unwrap_or(token.subject);
        workload::check_subject(&self.registered.clients, &client, &subject)?;
        tracing::info!(policy = policy.name, client = client.id, issuer = token.issuer, subject, "a token is trusted");
        Ok(Trusted { client, policy, subject, actor })
    }
}

impl Trusted<'_> {
    /// What it allows of what is `asked`.
    ///
    /// # Errors
    /// [`OAuthError::InvalidScope`].
    pub fn authorize(self, asked: Asked<'_>) -> Result<Authorized, OAuthError> {
        let Self { client, policy, subject, actor } = self;
        let scope = policy.scope.intersection(&asked.target.scope).narrowed(asked.scope)?;
        let lifetime = policy.lifetime;
        Ok(Authorized { lifetime, actor, ..Authorized::new(client, subject, scope, asked) })
    }
}
