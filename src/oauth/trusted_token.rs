//! Tokens of other issuers, and of this one, that are presented for a token of ours: verified, and matched by a trust
//! policy.

use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize as _;
use serde_json::{Map, Value};

use super::OAuthError;
use super::access_token::AccessTokenVerifier;
use super::dpop::ProvenKey;
use super::error::UNAVAILABLE;
use super::registrations::Registrations;
use super::remote_keys::RemoteKeysError;
use super::request::PresentedRequest;
use super::trust::mismatch::Mismatch;
use super::trust::{IssuerKeys, TrustPolicies, TrustPolicy};
use crate::clock::Clock;
use crate::jose::Malformed;
use crate::jose::claims::{ACCESS_TOKEN_TYPE, Actor, Confirmation};
use crate::jose::foreign::{ForeignClaims, NotVerified, PresentedForeignJws, Untimely};
use crate::store::Store;

/// How far the clock of an issuer may be off ours.
const LEEWAY: Duration = Duration::from_secs(30);

/// Mismatches that a refusal tells the operator of.
const MOST_TOLD: usize = 3;

/// What a token is presented as.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum TokenKind {
    /// A JWT of whatever purpose (RFC 8693 §3, RFC 7523 §2.1).
    Jwt,
    /// An OpenID Connect ID Token.
    IdToken,
    /// An access token.
    AccessToken,
}

/// A token that its issuer signed, and that is good now. Whether anybody trusts what it says is for the policies.
#[derive(Clone, Debug)]
pub(super) struct VerifiedToken {
    pub(super) issuer: String,
    pub(super) subject: String,
    pub(super) audience: Vec<String>,
    pub(super) claims: Map<String, Value>,
    /// Who acts for the subject, as the token says.
    pub(super) actor: Option<Actor>,
}

/// Why a token is not taken: for the log.
#[derive(Debug, thiserror::Error)]
pub(super) enum Untrusted {
    #[error("{0}")]
    Malformed(#[from] Malformed),
    #[error("typ: not that of a token of the kind that it is presented as")]
    Type,
    #[error("iss or sub: required, and absent")]
    Nameless,
    #[error("iss: no trusted issuer")]
    Issuer,
    #[error("exp, nbf, iat: {0}")]
    Untimely(#[from] Untimely),
    #[error("{0}")]
    NotVerified(#[from] NotVerified),
    #[error("it is no access token of this issuer, or none any more")]
    NotOurs,
    #[error("cnf: it is bound to a key or a certificate, and that was not proven")]
    NotBound,
    #[error("act: expected who acts, by sub")]
    Actor,
    #[error("no trust policy matches: {0}")]
    NoPolicy(String),
    #[error("the keys of its issuer are not available")]
    Unavailable,
    #[error("{0}")]
    Store(#[from] crate::store::Error),
}

/// Verifies tokens that are presented for a token of ours.
pub struct TrustedTokens {
    own: Arc<AccessTokenVerifier>,
    store: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
}

impl TokenKind {
    /// The kinds that can be exchanged, by their names (RFC 8693 §3).
    pub const NAMES: [(&'static str, Self); 3] = [
        ("urn:ietf:params:oauth:token-type:jwt", Self::Jwt),
        ("urn:ietf:params:oauth:token-type:id_token", Self::IdToken),
        (ACCESS_TOKEN_KIND, Self::AccessToken),
    ];

    /// The kind that `text` names.
    pub fn parse(text: &str) -> Option<Self> {
        Self::NAMES.into_iter().find(|(name, _)| *name == text).map(|(_, kind)| kind)
    }

    /// Whether `jws` may be one. A token of a kind of its own, such as a logout token or a proof, is none of these, for
    /// all that its issuer signed it (RFC 8725 §3.11).
    fn is_of(self, jws: &PresentedForeignJws<'_>) -> bool {
        match jws.typ() {
            None => true,
            Some(_) if jws.is_of_type("jwt") => true,
            Some(_) => self == Self::AccessToken && jws.is_of_type(ACCESS_TOKEN_TYPE),
        }
    }
}

/// The name of access tokens among token types (RFC 8693 §3).
pub const ACCESS_TOKEN_KIND: &str = "urn:ietf:params:oauth:token-type:access_token";

impl TrustedTokens {
    /// Verifies by the keys of issuers; what this mint issued itself by `own`, and by `store` whether it was revoked.
    pub fn new(own: Arc<AccessTokenVerifier>, store: Arc<dyn Store>, clock: Arc<dyn Clock>) -> Self {
        Self { own, store, clock }
    }

    /// Verifies `text`, which is presented as a `kind` with `request` and a proof of `key`.
    pub(super) async fn verify(
        &self,
        text: &str,
        kind: TokenKind,
        registered: &Registrations,
        request: &PresentedRequest<'_>,
        key: Option<&ProvenKey>,
    ) -> Result<VerifiedToken, Untrusted> {
        let jws = PresentedForeignJws::parse(text)?;
        let ForeignClaims { iss, sub, aud, all, .. } = self.checked(&jws, kind)?;
        let (Some(issuer), Some(subject)) = (iss, sub) else { return Err(Untrusted::Nameless) };
        match registered.issuers.get(&issuer).ok_or(Untrusted::Issuer)? {
            IssuerKeys::Own => self.verify_own(text).await?,
            IssuerKeys::At(place) => match registered.key_sets.verify(place, &jws).await {
                Ok(_) => {}
                Err(RemoteKeysError::Unavailable) => return Err(Untrusted::Unavailable),
                Err(RemoteKeysError::NotVerified(error)) => return Err(error.into()),
            },
        }
        if !is_held(&all, text, request, key) {
            return Err(Untrusted::NotBound);
        }
        let actor = all.get("act").map(Actor::deserialize).transpose().map_err(|_| Untrusted::Actor)?;
        Ok(VerifiedToken { issuer, subject, audience: aud, claims: all, actor })
    }

    fn checked(&self, jws: &PresentedForeignJws<'_>, kind: TokenKind) -> Result<ForeignClaims, Untrusted> {
        if !kind.is_of(jws) {
            return Err(Untrusted::Type);
        }
        let claims = jws.claims()?;
        claims.check_times(self.clock.now(), LEEWAY)?;
        Ok(claims)
    }

    async fn verify_own(&self, text: &str) -> Result<(), Untrusted> {
        let token = self.own.verify(text, self.clock.now()).ok_or(Untrusted::NotOurs)?;
        if self.store.is_revoked(token.jti, token.sid).await? { Err(Untrusted::NotOurs) } else { Ok(()) }
    }
}

/// Whether the presenter holds what the token is bound to (RFC 7800 §3.1), where it is bound.
fn is_held(claims: &Map<String, Value>, text: &str, request: &PresentedRequest<'_>, key: Option<&ProvenKey>) -> bool {
    let Some(cnf) = claims.get("cnf") else { return true };
    match Confirmation::deserialize(cnf) {
        Ok(Confirmation::Key(thumbprint)) => key.is_some_and(|key| key.thumbprint == thumbprint && key.goes_with(text)),
        Ok(Confirmation::Certificate(thumbprint)) => {
            request.certificate.as_ref().is_some_and(|certificate| certificate.thumbprint == thumbprint)
        }
        // Bound in a way that nobody here can check.
        Err(_) => false,
    }
}

impl VerifiedToken {
    /// The policy by which it is good for `client`, or for whom the policy says where nobody asks.
    pub(super) fn policy<'a>(
        &self,
        policies: &'a TrustPolicies,
        client: Option<&str>,
    ) -> Result<&'a TrustPolicy, Untrusted> {
        let Self { issuer, claims, audience, .. } = self;
        policies.find(issuer, claims, audience, client).ok_or_else(|| {
            let explained = policies.explain(issuer, claims, audience, client);
            let of_issuer = explained.iter().filter_map(|explanation| match &explanation.outcome {
                Ok(()) | Err(Mismatch::Issuer { .. }) => None,
                Err(mismatch) => Some(format!("{}: {mismatch}", explanation.policy)),
            });
            let told: Vec<String> = of_issuer.take(MOST_TOLD).collect();
            Untrusted::NoPolicy(if told.is_empty() { "none is for its issuer".to_owned() } else { told.join("; ") })
        })
    }
}

impl Untrusted {
    /// What the presenter learns, where `refused` is said of everything that is its own doing.
    pub(super) fn tell(self, refused: OAuthError) -> OAuthError {
        match self {
            Self::Unavailable => {
                tracing::warn!(reason = %self, "answering 503");
                UNAVAILABLE
            }
            Self::Store(error) => error.into(),
            reason => {
                tracing::info!(%reason, "a presented token is not trusted");
                refused
            }
        }
    }
}
