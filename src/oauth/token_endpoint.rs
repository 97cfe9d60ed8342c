//! The token endpoint (RFC 6749 §3.2): a form in, tokens or an error out.

use std::sync::Arc;

use url::Url;

use super::OAuthError;
use super::authentication::{AuthenticatedClient, Authenticator};
use super::authorized::{Asked, Authorized};
use super::certificate::PresentedCertificate;
use super::client::{Client, GrantType};
use super::client_limits::ClientLimits;
use super::dpop::{Proofs, ProvenKey};
use super::issuer::{IssuedGrant, Issuer, TokenResponse};
use super::parameters::PresentedParameters;
use super::registrations::CurrentRegistrations;
use super::request::PresentedRequest;
use super::target::Target;
use super::{client_credentials, refresh_token, workload};
use crate::jose::claims::Confirmation;

/// Answers token requests.
pub struct TokenEndpoint {
    registrations: CurrentRegistrations,
    authenticator: Arc<Authenticator>,
    proofs: Arc<Proofs>,
    limits: Arc<ClientLimits>,
    issuer: Issuer,
    /// Its own URL, as clients know it.
    url: Url,
}

impl TokenEndpoint {
    /// An endpoint for those that are registered at the time of each request.
    pub fn new(
        registrations: CurrentRegistrations,
        authenticator: Arc<Authenticator>,
        proofs: Arc<Proofs>,
        limits: Arc<ClientLimits>,
        issuer: Issuer,
        url: Url,
    ) -> Self {
        Self { registrations, authenticator, proofs, limits, issuer, url }
    }

    /// The nonce that the next DPoP proof has to carry (RFC 9449 §8).
    pub fn dpop_nonce(&self) -> String {
        self.proofs.nonce()
    }

    /// One token request.
    ///
    /// # Errors
    /// [`OAuthError`], as RFC 6749 §5.2 has it.
    pub async fn exchange(&self, request: &PresentedRequest<'_>) -> Result<TokenResponse, OAuthError> {
        let parameters = &request.parameters;
        let grant = parameters.find("grant_type").ok_or(OAuthError::InvalidRequest("grant_type is required"))?;
        let client = self.authenticator.client(request).await?;
        let grant = GrantType::parse(grant)
            .ok_or(OAuthError::UnsupportedGrantType("expected client_credentials or refresh_token"))?;
        let key = request.dpop.map(|proof| self.proofs.verify(proof, &self.url)).transpose()?;
        let target = Target::of(client.client(), parameters, &client.registrations().resources)?;
        let confirmation = confirmation(client.client(), key.as_ref(), request.certificate.as_deref())?;
        let asked = Asked { scope: parameters.find("scope"), target, confirmation };
        let authorized = match grant {
            GrantType::ClientCredentials => client_credentials::authorize(client, asked)?,
            GrantType::RefreshToken => self.refresh(client, parameters, asked).await?,
        };
        // Only who is granted something has proofs remembered: nobody else fills the store.
        if let Some(key) = key {
            self.proofs.use_up(key).await?;
        }
        // Who has no valid grant never came here, and uses up nothing of the client's.
        let _place = self.limits.admit(&authorized.client.id)?;
        self.issuer.issue(authorized).await
    }

    /// An operator's grant of a first refresh token.
    ///
    /// # Errors
    /// As [`workload::authorize`] and [`Issuer::begin_family`].
    pub async fn begin_family(
        &self,
        client_id: &str,
        subject: &str,
        scope: Option<&str>,
    ) -> Result<IssuedGrant, OAuthError> {
        let registered = self.registrations.load();
        self.issuer.begin_family(workload::authorize(&registered.clients, client_id, subject, scope)?).await
    }

    async fn refresh(
        &self,
        client: AuthenticatedClient,
        parameters: &PresentedParameters<'_>,
        asked: Asked<'_>,
    ) -> Result<Authorized, OAuthError> {
        let token = parameters.find("refresh_token").ok_or(OAuthError::InvalidRequest("refresh_token is required"))?;
        let issuer = &self.issuer;
        refresh_token::authorize(client, token, asked, issuer.store(), issuer.sealer(), issuer.now()).await
    }
}

/// What the access token of `client` is bound to.
fn confirmation(
    client: &Client,
    key: Option<&ProvenKey>,
    certificate: Option<&PresentedCertificate>,
) -> Result<Option<Confirmation>, OAuthError> {
    match (key, client.certificate_bound_access_tokens) {
        (Some(_), true) => Err(OAuthError::InvalidRequest(
            "the tokens of this client are bound to its certificate; leave the DPoP proof out",
        )),
        (Some(key), false) => Ok(Some(Confirmation::Key(key.thumbprint))),
        // RFC 8705 §3.4.
        (None, true) => match certificate {
            Some(certificate) => Ok(Some(Confirmation::Certificate(certificate.thumbprint))),
            None => Err(OAuthError::InvalidRequest("this client is registered to present a certificate")),
        },
        // RFC 9449 §5.2.
        (None, false) if client.dpop_bound_access_tokens => {
            Err(OAuthError::InvalidRequest("this client is registered to present a DPoP proof"))
        }
        (None, false) => Ok(None),
    }
}
