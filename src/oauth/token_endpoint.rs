//! The token endpoint (RFC 6749 §3.2): a form in, tokens or an error out.

use std::sync::Arc;

use super::OAuthError;
use super::authentication::{AuthenticatedClient, Authenticator};
use super::authorized::{Asked, Authorized};
use super::client::GrantType;
use super::issuer::{IssuedGrant, Issuer, TokenResponse};
use super::parameters::PresentedParameters;
use super::registrations::CurrentRegistrations;
use super::request::PresentedRequest;
use super::target::Target;
use super::{client_credentials, refresh_token, workload};

/// Answers token requests.
pub struct TokenEndpoint {
    registrations: CurrentRegistrations,
    authenticator: Arc<Authenticator>,
    issuer: Issuer,
}

impl TokenEndpoint {
    /// An endpoint for those that are registered at the time of each request.
    pub fn new(registrations: CurrentRegistrations, authenticator: Arc<Authenticator>, issuer: Issuer) -> Self {
        Self { registrations, authenticator, issuer }
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
        let asked = self.asked(&client, parameters)?;
        let authorized = match grant {
            GrantType::ClientCredentials => client_credentials::authorize(client, asked)?,
            GrantType::RefreshToken => self.refresh(client, parameters, asked).await?,
        };
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

    fn asked<'a>(
        &self,
        client: &AuthenticatedClient,
        parameters: &'a PresentedParameters<'_>,
    ) -> Result<Asked<'a>, OAuthError> {
        let target = Target::of(client.client(), parameters, &self.registrations.load().resources)?;
        Ok(Asked { scope: parameters.find("scope"), target, confirmation: None })
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
