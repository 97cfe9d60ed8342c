//! The client credentials grant (RFC 6749 §4.4).

use super::OAuthError;
use super::authentication::AuthenticatedClient;
use super::authorized::Authorized;
use super::client::{ClientAuthentication, GrantType};

/// What `client` may have for itself. Its access tokens speak for the client (RFC 9068 §2.2: `sub`), and
/// there is no refresh token (RFC 6749 §4.4.3).
///
/// # Errors
/// [`OAuthError::UnauthorizedClient`], also for a public client, which proved nothing;
/// [`OAuthError::InvalidScope`].
pub fn authorize<'a>(client: AuthenticatedClient<'a>, scope: Option<&str>) -> Result<Authorized<'a>, OAuthError> {
    let client = client.client();
    if !client.may_use(GrantType::ClientCredentials) || client.authentication == ClientAuthentication::None {
        return Err(OAuthError::UnauthorizedClient("the client may not use this grant"));
    }
    let scope = client.scope.narrowed(scope)?;
    Ok(Authorized { client, subject: client.id.clone(), scope, renewal: None })
}
