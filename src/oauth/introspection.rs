//! The introspection endpoint (RFC 7662): what an access token is worth, for the resource server that it was
//! presented to; signed where that asks for it (RFC 9701).

use std::sync::Arc;

use serde::{Serialize, Serializer};
use utoipa::openapi::{RefOr, Schema};
use utoipa::{PartialSchema, ToSchema};

use super::OAuthError;
use super::access_token::{AccessTokenVerifier, VerifiedAccessToken};
use super::authentication::Authenticator;
use super::request::PresentedRequest;
use super::resource_server::ResourceServer;
use super::token_type::TokenType;
use crate::clock::{Clock, Timestamp};
use crate::jose::claims::{INTROSPECTION_TYPE, ReadAccessTokenClaims};
use crate::keeper::Work;
use crate::keeper::policy::INTROSPECTION_PROFILE;
use crate::keyring::Signer;
use crate::store::Store;

/// Answers introspection requests.
///
/// A plain answer needs no hardware: the signature is verified in software, and the store is asked each time
/// whether the token was revoked. A refresh token is `inactive` to everybody, because no resource server has a use
/// for one.
pub struct IntrospectionEndpoint {
    authenticator: Arc<Authenticator>,
    signer: Signer,
    access_tokens: Arc<AccessTokenVerifier>,
    store: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
}

/// How the answer is to be written, as the request's `Accept` says.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum AnswerForm {
    /// JSON (RFC 7662 §2.2).
    Json,
    /// A signed JWT (RFC 9701 §4).
    SignedJwt,
}

/// The answer.
pub enum Answer {
    /// To be written as JSON.
    Json(Introspection),
    /// A compact JWS.
    SignedJwt(String),
}

/// What a token is worth (RFC 7662 §2.2): the token where it is active.
#[derive(Debug)]
pub struct Introspection(Option<Arc<VerifiedAccessToken>>);

/// An [`Introspection`] as it is written.
#[derive(Serialize, ToSchema)]
#[schema(description = "What a token is worth (RFC 7662 §2.2): its claims are there where it is active.")]
struct Members<'a> {
    active: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    token_type: Option<&'static str>,
    #[serde(flatten)]
    claims: Option<&'a ReadAccessTokenClaims>,
}

/// The claims of a signed answer (RFC 9701 §5).
#[derive(Serialize)]
struct SignedClaims<'a> {
    iss: &'a str,
    aud: &'a str,
    iat: Timestamp,
    token_introspection: &'a Introspection,
}

impl Serialize for Introspection {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let claims = self.0.as_ref().map(|token| &token.claims);
        let token_type = claims.map(|claims| TokenType::of(claims.cnf).as_str());
        Members { active: claims.is_some(), token_type, claims }.serialize(serializer)
    }
}

impl PartialSchema for Introspection {
    fn schema() -> RefOr<Schema> {
        Members::schema()
    }
}

impl ToSchema for Introspection {
    fn schemas(schemas: &mut Vec<(String, RefOr<Schema>)>) {
        Members::schemas(schemas);
    }
}

impl IntrospectionEndpoint {
    /// An endpoint for the tokens that `access_tokens` verifies.
    pub fn new(
        authenticator: Arc<Authenticator>,
        signer: Signer,
        access_tokens: Arc<AccessTokenVerifier>,
        store: Arc<dyn Store>,
        clock: Arc<dyn Clock>,
    ) -> Self {
        Self { authenticator, signer, access_tokens, store, clock }
    }

    /// One introspection request.
    ///
    /// # Errors
    /// [`OAuthError`]: of authentication, or what the store or the keeper failed by.
    pub async fn introspect(&self, request: &PresentedRequest<'_>, form: AnswerForm) -> Result<Answer, OAuthError> {
        let server = self.authenticator.resource_server(request).await?;
        let token = request.parameters.find("token").ok_or(OAuthError::InvalidRequest("token is required"))?;
        let introspection = Introspection(self.active(&server, token).await?);
        match form {
            AnswerForm::Json => Ok(Answer::Json(introspection)),
            AnswerForm::SignedJwt => self.signed(&server, &introspection).await.map(Answer::SignedJwt),
        }
    }

    /// The token, where it is one, meant for `server`, and not revoked. Which of these it is not, is not
    /// told (RFC 7662 §2.2).
    async fn active(
        &self,
        server: &ResourceServer,
        token: &str,
    ) -> Result<Option<Arc<VerifiedAccessToken>>, OAuthError> {
        let verified = self.access_tokens.verify(token, self.clock.now());
        let Some(token) = verified.filter(|token| server.is_meant(&token.claims.aud)) else {
            return Ok(None);
        };
        let is_good = !self.store.is_revoked(token.jti, token.sid).await?
            // RFC 7592 §2.3: what a client has ends with it.
            && !self.authenticator.has_ended(&token.claims.client_id).await?;
        Ok(is_good.then_some(token))
    }

    async fn signed(&self, server: &ResourceServer, introspection: &Introspection) -> Result<String, OAuthError> {
        let claims = SignedClaims {
            iss: self.access_tokens.issuer(),
            aud: &server.id,
            iat: self.clock.now(),
            token_introspection: introspection,
        };
        Ok(self.signer.sign(&server.id, Work::New, INTROSPECTION_PROFILE, INTROSPECTION_TYPE, &claims).await?)
    }
}
