//! The device code grant (RFC 8628 §3.4, §3.5).

use crate::clock::Timestamp;
use crate::oauth::OAuthError;
use crate::oauth::authentication::AuthenticatedClient;
use crate::oauth::authorized::{Asked, Authorized};
use crate::oauth::client::GrantType;
use crate::oauth::code;
use crate::oauth::handle::Handle;
use crate::oauth::parameters::PresentedParameters;
use crate::store::{Polled, Store};

/// Said of every device code that is not this client's, so that it tells nothing about whose it is.
const INVALID: OAuthError = OAuthError::InvalidGrant("the device code is invalid, or not this client's");

/// What the presented device code allows `client`. It is not used up by it: that is committed with what it gives.
///
/// # Errors
/// [`OAuthError::AuthorizationPending`] and [`OAuthError::SlowDown`] while nobody decided, [`OAuthError::AccessDenied`],
/// [`OAuthError::ExpiredToken`]; [`OAuthError::InvalidGrant`] for a code that is not good, also for one that was used, which
/// revokes what it gave; and what the store failed by.
pub(in crate::oauth) async fn authorize(
    client: AuthenticatedClient,
    parameters: &PresentedParameters<'_>,
    asked: Asked<'_>,
    store: &dyn Store,
    now: Timestamp,
) -> Result<Authorized, OAuthError> {
    let registered = client.registered();
    let client = client.into_client();
    if !client.may_use(GrantType::DeviceCode) {
        return Err(OAuthError::UnauthorizedClient("the client may not use this grant"));
    }
    let presented = parameters.find("device_code").ok_or(OAuthError::InvalidRequest("device_code is required"))?;
    let device_code = Handle::parse(presented).ok_or(INVALID)?.id();
    let waiting = match store.poll_device(device_code, client.id.clone(), now).await? {
        Polled::Pending => return Err(OAuthError::AuthorizationPending),
        Polled::SlowDown => return Err(OAuthError::SlowDown),
        Polled::Refused(_) => return Err(OAuthError::AccessDenied("the person, or the front-end, refused")),
        Polled::Expired => return Err(OAuthError::ExpiredToken),
        Polled::Unknown => return Err(INVALID),
        Polled::Accepted(waiting) => waiting,
    };
    if let Some(used) = waiting.used {
        code::revoke(store, &client, used, now).await?;
        return Err(INVALID);
    }
    // RFC 8628 §3.1: the scope was asked for, and is not asked for again.
    code::granted(client, asked, &registered, code::stored(&waiting.grant)?, waiting.code, None)
}
