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
use super::frontend::CallingFrontend;
use super::frontend_grant::FrontendGrantRequest;
use super::issuer::{IssuedGrant, IssuedLogin, Issuer, TokenResponse};
use super::refresh_cookie::RefreshCookies;
use super::registrations::{CurrentRegistrations, Registrations};
use super::request::PresentedRequest;
use super::target::Target;
use super::trusted_grant::Presentation;
use super::trusted_token::{ACCESS_TOKEN_KIND, TrustedTokens};
use super::{client_credentials, code, device, refresh_token, workload};
use crate::jose::claims::Confirmation;

/// Answers token requests.
pub struct TokenEndpoint {
    registrations: CurrentRegistrations,
    authenticator: Arc<Authenticator>,
    proofs: Arc<Proofs>,
    trusted_tokens: TrustedTokens,
    limits: Arc<ClientLimits>,
    issuer: Issuer,
    /// Where browsers keep refresh tokens.
    cookies: RefreshCookies,
    /// Its own URL, as clients know it.
    url: Url,
}

impl TokenEndpoint {
    /// An endpoint for those that are registered at the time of each request.
    pub fn new(
        registrations: CurrentRegistrations,
        authenticator: Arc<Authenticator>,
        proofs: Arc<Proofs>,
        trusted_tokens: TrustedTokens,
        limits: Arc<ClientLimits>,
        issuer: Issuer,
        url: Url,
    ) -> Self {
        let cookies = RefreshCookies::new(&url);
        Self { registrations, authenticator, proofs, trusted_tokens, limits, issuer, cookies, url }
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
        let grant = request.parameters.find("grant_type");
        let grant = GrantType::parse(grant.ok_or(OAuthError::InvalidRequest("grant_type is required"))?);
        // Who it is, is judged before what is wrong with the rest; a trusted token may say it too.
        let client = match grant {
            Some(GrantType::JwtBearer | GrantType::TokenExchange) if !request.has_credentials() => None,
            _ => Some(self.authenticator.client(request).await?),
        };
        let grant = grant.ok_or(OAuthError::UnsupportedGrantType("expected one of grant_types_supported"))?;
        if let Some(client) = client.as_ref().map(AuthenticatedClient::client)
            && client.refresh_token_cookie
        {
            self.cookies.check_origin(client, &request.browser)?;
        }
        let key = request.dpop.map(|proof| self.proofs.verify(proof, &self.url)).transpose()?;
        // What was registered when it came, to its end: no request meets halves of two configurations.
        let registered = client.as_ref().map_or_else(|| self.registrations.load(), AuthenticatedClient::registered);
        let wish = Wish { grant, request, registered: &registered, key: key.as_ref() };
        let authorized = self.authorize(wish, client).await?;
        // Only who is granted something has proofs remembered: nobody else fills the store.
        if let Some(key) = key {
            self.proofs.use_up(key).await?;
        }
        // Who has no valid grant never came here, and uses up nothing of the client's.
        let _place = self.limits.admit(&authorized.client.id)?;
        let client = Arc::clone(&authorized.client);
        let response = self.in_its_place(&client, self.issuer.issue(authorized).await?);
        Ok(match grant {
            GrantType::TokenExchange => TokenResponse { issued_token_type: Some(ACCESS_TOKEN_KIND), ..response },
            GrantType::ClientCredentials
            | GrantType::RefreshToken
            | GrantType::JwtBearer
            | GrantType::AuthorizationCode
            | GrantType::DeviceCode => response,
        })
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

    /// The first tokens of somebody who logged in at the front-end `caller`, as that asks.
    ///
    /// # Errors
    /// [`OAuthError`]: what the front-end or its client may not, or what the keeper or the store failed by.
    pub async fn grant_to(
        &self,
        caller: &CallingFrontend,
        request: FrontendGrantRequest,
    ) -> Result<IssuedLogin, OAuthError> {
        // Nobody is there who could prove to hold something.
        let bound = |client: &Client| confirmation(client, None, None);
        let mut authorized = request.authorize(caller, bound, self.issuer.now())?;
        let _place = self.limits.admit(&authorized.client.id)?;
        let beginning = authorized.beginning.take().ok_or(OAuthError::ServerError)?;
        self.issuer.issue_begun(&authorized, *beginning).await
    }

    async fn authorize(&self, wish: Wish<'_>, client: Option<AuthenticatedClient>) -> Result<Authorized, OAuthError> {
        let Wish { grant, request, registered, key } = wish;
        let presentation = |client| Presentation { request, registered, client, key };
        match (grant, client) {
            (GrantType::ClientCredentials, Some(client)) => {
                let asked = wish.asked(client.client())?;
                client_credentials::authorize(client, asked)
            }
            (GrantType::RefreshToken, Some(client)) => {
                let asked = wish.asked(client.client())?;
                self.refresh(client, request, asked).await
            }
            (GrantType::JwtBearer, client) => {
                let trusted = presentation(client).assertion(&self.trusted_tokens).await?;
                let asked = wish.asked(&trusted.client)?;
                trusted.authorize(asked)
            }
            (GrantType::TokenExchange, client) => {
                let trusted = presentation(client).exchange(&self.trusted_tokens).await?;
                let asked = wish.asked(&trusted.client)?;
                trusted.authorize(asked)
            }
            (GrantType::AuthorizationCode, Some(client)) => {
                let asked = wish.asked(client.client())?;
                let (store, now) = (self.issuer.store(), self.issuer.now());
                code::authorize(client, &request.parameters, asked, store, now).await
            }
            (GrantType::DeviceCode, Some(client)) => {
                let asked = wish.asked(client.client())?;
                let (store, now) = (self.issuer.store(), self.issuer.now());
                device::grant::authorize(client, &request.parameters, asked, store, now).await
            }
            // Those are asked of an authenticated client only.
            (
                GrantType::ClientCredentials
                | GrantType::RefreshToken
                | GrantType::AuthorizationCode
                | GrantType::DeviceCode,
                None,
            ) => Err(OAuthError::ServerError),
        }
    }

    /// `response`, with the refresh token of `client` where it belongs.
    fn in_its_place(&self, client: &Client, response: TokenResponse) -> TokenResponse {
        let TokenResponse { refresh_token: Some(token), refresh_expires_at, .. } = &response else { return response };
        if !client.refresh_token_cookie {
            return response;
        }
        let lives_for = refresh_expires_at.map_or(client.refresh.lifetime, |end| end.since(self.issuer.now()));
        let refresh_cookie = Some(self.cookies.set(client, token, lives_for));
        TokenResponse { refresh_token: None, refresh_cookie, ..response }
    }

    async fn refresh(
        &self,
        client: AuthenticatedClient,
        request: &PresentedRequest<'_>,
        asked: Asked<'_>,
    ) -> Result<Authorized, OAuthError> {
        let token = match (request.parameters.find("refresh_token"), client.client().refresh_token_cookie) {
            (None, true) => self.cookies.find(client.client(), &request.browser)?,
            (Some(token), false) => token,
            (None, false) => return Err(OAuthError::InvalidRequest("refresh_token is required")),
            (Some(_), true) => {
                return Err(OAuthError::InvalidRequest(
                    "the refresh token of this client is in its cookie; leave refresh_token out",
                ));
            }
        };
        let issuer = &self.issuer;
        refresh_token::authorize(client, token, asked, issuer.store(), issuer.sealer(), issuer.now()).await
    }
}

/// One request, once it is known by which grant it goes.
#[derive(Clone, Copy)]
struct Wish<'a> {
    grant: GrantType,
    request: &'a PresentedRequest<'a>,
    registered: &'a Registrations,
    key: Option<&'a ProvenKey>,
}

impl<'a> Wish<'a> {
    /// What it asks for in the name of `client`.
    fn asked(self, client: &Client) -> Result<Asked<'a>, OAuthError> {
        let Self { grant, request, registered, key } = self;
        let target = match grant {
            GrantType::TokenExchange => Target::of_exchange(client, &request.parameters, &registered.resources)?,
            GrantType::ClientCredentials
            | GrantType::RefreshToken
            | GrantType::JwtBearer
            | GrantType::AuthorizationCode
            | GrantType::DeviceCode => Target::of(client, &request.parameters, &registered.resources)?,
        };
        let confirmation = confirmation(client, key, request.certificate.as_deref())?;
        Ok(Asked { scope: request.parameters.find("scope"), target, confirmation })
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
