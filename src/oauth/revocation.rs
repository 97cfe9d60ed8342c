//! The revocation endpoint (RFC 7009): a client gives back a token of its own.

use std::sync::Arc;

use url::Url;

use super::OAuthError;
use super::access_token::AccessTokenVerifier;
use super::authentication::{AuthenticatedClient, Authenticator};
use super::refresh_cookie::{RefreshCookie, RefreshCookies};
use super::request::PresentedRequest;
use crate::clock::Clock;
use crate::keeper::KeeperError;
use crate::sealing::{PresentedRefreshToken, Sealer};
use crate::store::{RevokedToken, Selection, Store};

/// Said where the token is somebody else's, which RFC 6749 §5.2 has under `invalid_grant`.
const NOT_YOURS: OAuthError = OAuthError::InvalidGrant("the token was issued to another client");

/// Answers revocation requests.
pub struct RevocationEndpoint {
    authenticator: Arc<Authenticator>,
    sealer: Sealer,
    access_tokens: Arc<AccessTokenVerifier>,
    store: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
    /// Where browsers keep refresh tokens.
    cookies: RefreshCookies,
}

impl RevocationEndpoint {
    /// An endpoint for the refresh tokens that `sealer` opens, and the access tokens that `access_tokens`
    /// verifies, and for those that browsers keep for the token endpoint at `token_url`.
    pub fn new(
        authenticator: Arc<Authenticator>,
        sealer: Sealer,
        access_tokens: Arc<AccessTokenVerifier>,
        store: Arc<dyn Store>,
        clock: Arc<dyn Clock>,
        token_url: &Url,
    ) -> Self {
        Self { authenticator, sealer, access_tokens, store, clock, cookies: RefreshCookies::new(token_url) }
    }

    /// One revocation request. A token that is none, or none any more, is a success (RFC 7009 §2.2): what
    /// the client wanted is so. The kind of a token is seen from its form, so `token_type_hint` is not needed.
    ///
    /// Without `token` it is the one in the cookie, of a client that has one. The cookie that removes it then.
    ///
    /// # Errors
    /// [`OAuthError`]: of client authentication; another client's token; a page that is not the client's, or no cookie;
    /// what the store or the keeper failed by, with nothing revoked.
    pub async fn revoke(&self, request: &PresentedRequest<'_>) -> Result<Option<RefreshCookie>, OAuthError> {
        let client = self.authenticator.client(request).await?;
        if let Some(token) = request.parameters.find("token") {
            self.revoke_token(client, token).await?;
            return Ok(None);
        }
        let registered = client.client();
        if !registered.refresh_token_cookie {
            return Err(OAuthError::InvalidRequest("token is required"));
        }
        // A browser adds the cookie by itself, whoever has it ask.
        self.cookies.check_origin(registered, &request.browser)?;
        let token = self.cookies.find(registered, &request.browser)?;
        let removal = self.cookies.removal(registered);
        self.revoke_token(client, token).await?;
        Ok(Some(removal))
    }

    async fn revoke_token(&self, client: AuthenticatedClient, token: &str) -> Result<(), OAuthError> {
        if let Ok(presented) = PresentedRefreshToken::parse(token) {
            return self.revoke_family(client, &presented).await;
        }
        let Some(token) = self.access_tokens.verify(token, self.clock.now()) else {
            return Ok(());
        };
        if token.claims.client_id != client.client().id {
            return Err(NOT_YOURS);
        }
        self.store.revoke_token(RevokedToken { jti: token.jti, expires_at: token.claims.exp }).await?;
        tracing::info!(client = client.client().id, jti = token.claims.jti, "an access token was revoked");
        Ok(())
    }

    /// Ends the family of a refresh token, whichever generation it is, and with it every access token that
    /// came from it (RFC 7009 §2.1).
    ///
    /// The handle of a family is in its access tokens too, for every resource server to read: only who
    /// holds a refresh token that opens may end it.
    async fn revoke_family(
        &self,
        client: AuthenticatedClient,
        presented: &PresentedRefreshToken,
    ) -> Result<(), OAuthError> {
        let (client, fid) = (client.client(), presented.fid());
        let Some(family) = self.store.family(fid).await?.filter(|family| family.revoked_at.is_none()) else {
            return Ok(());
        };
        if family.client_id != client.id {
            return Err(NOT_YOURS);
        }
        match self.sealer.open(&client.id, presented).await {
            Ok(_) => {}
            Err(KeeperError::NotAuthentic) => return Ok(()),
            Err(error) => return Err(error.into()),
        }
        self.store.revoke_families(Selection::of_family(fid), self.clock.now()).await?;
        tracing::info!(client = client.id, %fid, "a family was revoked by its client");
        Ok(())
    }
}
