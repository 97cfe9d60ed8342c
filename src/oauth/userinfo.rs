//! The userinfo endpoint (OpenID Connect Core 1.0 §5.3): what a front-end said of who logged in, for whoever holds an
//! access token of that login.

use std::sync::Arc;

use serde::Serialize;
use url::Url;
use utoipa::ToSchema;

use super::OAuthError;
use super::access_token::{AccessTokenVerifier, VerifiedAccessToken};
use super::authentication::Authenticator;
use super::certificate::PresentedCertificate;
use super::dpop::Proofs;
use super::login_record::LoginRecord;
use super::scope::Scope;
use super::token_type::TokenType;
use crate::clock::Clock;
use crate::jose::claims::Confirmation;
use crate::jose::id_token::ExtraClaims;
use crate::store::Store;

/// Answers who asks who logged in.
pub struct UserinfoEndpoint {
    access_tokens: Arc<AccessTokenVerifier>,
    authenticator: Arc<Authenticator>,
    proofs: Arc<Proofs>,
    store: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
    /// Its own URL, as clients know it.
    url: Url,
}

/// An access token as a request presents it, with what proves that it may (RFC 6750 §2.1, RFC 9449 §7.1).
#[derive(Debug)]
pub struct PresentedAccessToken<'a> {
    /// The scheme that it is presented by.
    pub scheme: TokenType,
    /// The token.
    pub token: &'a str,
    /// The DPoP proof.
    pub proof: Option<&'a str>,
    /// The certificate of the connection.
    pub certificate: Option<&'a PresentedCertificate>,
    /// The method of the request.
    pub method: &'a str,
}

/// Who logged in.
#[derive(Debug, Serialize, ToSchema)]
#[schema(
    description = "Who logged in: sub, and the claims that the token's scope asks for (OpenID Connect Core 1.0 §5.3.2)."
)]
pub struct Userinfo {
    sub: String,
    #[serde(flatten)]
    #[schema(value_type = Object)]
    claims: ExtraClaims,
}

/// Why nothing is told.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum UserinfoError {
    /// The token is good, and not for this: HTTP 403, `insufficient_scope` (RFC 6750 §3.1).
    #[error("insufficient_scope")]
    InsufficientScope,
    /// The token or its proof is not good, or that cannot be known.
    #[error("{0}")]
    Refused(#[from] OAuthError),
}

const NOT_GOOD: OAuthError = OAuthError::InvalidToken("the access token is invalid, expired or revoked");
const NOT_PROVEN: OAuthError = OAuthError::InvalidToken(
    "the access token is bound to a key or a certificate; present it with that, as it is bound",
);

impl UserinfoEndpoint {
    /// An endpoint for the tokens that `access_tokens` verifies, at `url`.
    pub fn new(
        access_tokens: Arc<AccessTokenVerifier>,
        authenticator: Arc<Authenticator>,
        proofs: Arc<Proofs>,
        store: Arc<dyn Store>,
        clock: Arc<dyn Clock>,
        url: Url,
    ) -> Self {
        Self { access_tokens, authenticator, proofs, store, clock, url }
    }

    /// The nonce that the next DPoP proof has to carry (RFC 9449 §9).
    pub fn dpop_nonce(&self) -> String {
        self.proofs.nonce()
    }

    /// Who logged in for what is presented.
    ///
    /// # Errors
    /// [`UserinfoError`].
    pub async fn answer(&self, presented: PresentedAccessToken<'_>) -> Result<Userinfo, UserinfoError> {
        let token = self.access_tokens.verify(presented.token, self.clock.now()).ok_or(NOT_GOOD)?;
        self.check_possession(&presented, &token).await?;
        let scope = Scope::parse(&token.claims.scope).map_err(|_| OAuthError::ServerError)?;
        if !scope.is_openid() {
            return Err(UserinfoError::InsufficientScope);
        }
        // A token that a client has for itself is about nobody who logged in.
        let sid = token.sid.ok_or(UserinfoError::InsufficientScope)?;
        let (is_revoked, family) =
            tokio::try_join!(self.store.is_revoked(token.jti, Some(sid)), self.store.family(sid))
                .map_err(OAuthError::from)?;
        let family = family.filter(|_| !is_revoked).ok_or(NOT_GOOD)?;
        if self.authenticator.has_ended(&token.claims.client_id).await? {
            return Err(NOT_GOOD.into());
        }
        let login = family.login.ok_or(UserinfoError::InsufficientScope)?;
        let login: LoginRecord = serde_json::from_str(&login).map_err(|error| {
            tracing::error!(%error, fid = %family.fid, "a stored login cannot be read");
            OAuthError::ServerError
        })?;
        Ok(Userinfo { sub: family.subject, claims: login.claims_for(&scope) })
    }

    /// Fails where the token is bound to something that is not proven (RFC 9449 §7.1, RFC 8705 §3), or is presented as
    /// if it were.
    async fn check_possession(
        &self,
        presented: &PresentedAccessToken<'_>,
        token: &VerifiedAccessToken,
    ) -> Result<(), OAuthError> {
        let key = match (token.claims.cnf, presented.scheme) {
            (None, TokenType::Bearer) => return Ok(()),
            (Some(Confirmation::Certificate(thumbprint)), TokenType::Bearer) => {
                let is_held = presented.certificate.is_some_and(|certificate| certificate.thumbprint == thumbprint);
                return if is_held { Ok(()) } else { Err(NOT_PROVEN) };
            }
            (Some(Confirmation::Key(key)), TokenType::Dpop) => key,
            (Some(Confirmation::Key(_)), TokenType::Bearer)
            | (None | Some(Confirmation::Certificate(_)), TokenType::Dpop) => return Err(NOT_PROVEN),
        };
        let proof = presented.proof.ok_or(OAuthError::InvalidDpopProof("expected a proof in the DPoP header"))?;
        let proven = self.proofs.verify_for(proof, presented.method, &self.url)?;
        if proven.thumbprint != key {
            return Err(NOT_PROVEN);
        }
        if !proven.is_for(presented.token) {
            return Err(OAuthError::InvalidDpopProof("expected ath to be the hash of the access token"));
        }
        self.proofs.use_up(proven).await
    }
}
