//! The token endpoint (RFC 6749 §3.2): a form in, tokens or an error out.

use std::sync::Arc;

use super::OAuthError;
use super::authentication::{AuthenticatedClient, PresentedBasic, authenticate};
use super::client::{ClientRegistry, GrantType};
use super::issuer::{IssuedGrant, Issuer, TokenResponse};
use super::parameters::PresentedParameters;
use super::{client_credentials, refresh_token, workload};

/// Answers token requests.
pub struct TokenEndpoint {
    clients: Arc<ClientRegistry>,
    issuer: Issuer,
}

impl TokenEndpoint {
    /// An endpoint for `clients`.
    pub fn new(clients: Arc<ClientRegistry>, issuer: Issuer) -> Self {
        Self { clients, issuer }
    }

    /// One token request.
    ///
    /// # Errors
    /// [`OAuthError`], as RFC 6749 §5.2 has it.
    pub async fn exchange(
        &self,
        basic: Option<&PresentedBasic>,
        parameters: &PresentedParameters<'_>,
    ) -> Result<TokenResponse, OAuthError> {
        let grant = parameters.find("grant_type").ok_or(OAuthError::InvalidRequest("grant_type is required"))?;
        let client = authenticate(&self.clients, basic, parameters)?;
        let grant = GrantType::parse(grant)
            .ok_or(OAuthError::UnsupportedGrantType("expected client_credentials or refresh_token"))?;
        let scope = parameters.find("scope");
        let authorized = match grant {
            GrantType::ClientCredentials => client_credentials::authorize(client, scope)?,
            GrantType::RefreshToken => self.refresh(client, parameters, scope).await?,
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
        self.issuer.begin_family(workload::authorize(&self.clients, client_id, subject, scope)?).await
    }

    async fn refresh<'a>(
        &self,
        client: AuthenticatedClient<'a>,
        parameters: &PresentedParameters<'_>,
        scope: Option<&str>,
    ) -> Result<super::authorized::Authorized<'a>, OAuthError> {
        let token = parameters.find("refresh_token").ok_or(OAuthError::InvalidRequest("refresh_token is required"))?;
        let issuer = &self.issuer;
        refresh_token::authorize(client, token, scope, issuer.store(), issuer.sealer(), issuer.now()).await
    }
}
