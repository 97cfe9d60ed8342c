//! The client credentials grant (RFC 6749 §4.4).

use super::OAuthError;
use super::authentication::AuthenticatedClient;
use super::authorized::{Asked, Authorized};
use super::client::GrantType;

/// What `client` may have for itself. Its access tokens speak for the client (RFC 9068 §2.2: `sub`), and
/// there is no refresh token (RFC 6749 §4.4.3).
///
/// # Errors
/// [`OAuthError::UnauthorizedClient`], also for a public client, which proved nothing;
/// [`OAuthError::InvalidScope`].
pub fn authorize(client: AuthenticatedClient, asked: Asked<'_>) -> Result<Authorized, OAuthError> {
    let client = client.into_client();
    if !client.may_use(GrantType::ClientCredentials) || client.authentication.is_none() {
        return Err(OAuthError::UnauthorizedClient("the client may not use this grant"));
    }
    let scope = asked.target.scope.narrowed(asked.scope)?;
    Ok(Authorized::new(client.clone(), client.id.clone(), scope, asked))
}
