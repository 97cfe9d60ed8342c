//! The first refresh token of a workload, granted by an operator: what takes the place of its API key.

use std::sync::Arc;

use super::OAuthError;
use super::authorized::AuthorizedWorkload;
use super::client::{Client, ClientRegistry, GrantType};
use super::registration::is_client_id;

/// The length that OpenID Connect allows a subject (Core 1.0 §2), in bytes.
const LONGEST_SUBJECT: usize = 255;

/// Whether `text` can be the `sub` of an access token.
pub(crate) fn is_subject(text: &str) -> bool {
    (1..=LONGEST_SUBJECT).contains(&text.len()) && !text.chars().any(char::is_control)
}

/// What the operator may grant to the client `client_id`, to speak for `subject`.
///
/// # Errors
/// [`OAuthError`]: an unknown client, one that may not use refresh tokens, a scope beyond its own, an empty
/// subject.
pub fn authorize(
    clients: &ClientRegistry,
    client_id: &str,
    subject: &str,
    scope: Option<&str>,
) -> Result<AuthorizedWorkload, OAuthError> {
    let client = clients.find(client_id).ok_or(OAuthError::InvalidClient("no client of that id is registered"))?;
    if !client.may_use(GrantType::RefreshToken) {
        return Err(OAuthError::UnauthorizedClient("the client is not registered for the refresh_token grant"));
    }
    check_subject(clients, client, subject)?;
    let scope = client.scope.narrowed(scope)?;
    Ok(AuthorizedWorkload { client: Arc::clone(client), subject: subject.to_owned(), scope })
}

/// Whether tokens of `client` may speak for `subject`.
pub(super) fn check_subject(clients: &ClientRegistry, client: &Client, subject: &str) -> Result<(), OAuthError> {
    if !is_subject(subject) {
        return Err(OAuthError::InvalidRequest("expected a subject of 1 to 255 bytes without control characters"));
    }
    // RFC 9068 §5: a subject must not pass for a client that got the token for itself.
    if subject != client.id && (clients.find(subject).is_some() || is_client_id(subject)) {
        return Err(OAuthError::InvalidRequest("the subject is the id of another client"));
    }
    Ok(())
}
