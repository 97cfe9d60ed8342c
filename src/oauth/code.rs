//! The authorization code grant (RFC 6749 §4.1.3, RFC 7636 §4.5, OpenID Connect Core 1.0 §3.1.3).

use std::sync::Arc;

use serde::de::DeserializeOwned;
use subtle::ConstantTimeEq as _;

use super::OAuthError;
use super::authentication::AuthenticatedClient;
use super::authorization::AuthorizationRequest;
use super::authorized::{Asked, Authorized, Beginning};
use super::client::{Client, GrantType};
use super::handle::Handle;
use super::login_record::LoginGrant;
use super::parameters::PresentedParameters;
use super::registrations::Registrations;
use super::scope::Scope;
use crate::clock::Timestamp;
use crate::jose::claims::Confirmation;
use crate::jose::thumbprint::Thumbprint;
use crate::store::{LoginId, RevokedToken, Selection, Store, UsedCode};

/// Said of every code that is not good for who presents it, so that it tells nothing about why.
pub(super) const INVALID: OAuthError =
    OAuthError::InvalidGrant("the code is invalid, expired, used, or not for this request");

/// What the presented code allows `client`. The code is not used up by it: that is committed with what it gives.
///
/// # Errors
/// [`OAuthError::InvalidGrant`] for every code that is not good, [`OAuthError::InvalidRequest`] for a request that lacks
/// something, [`OAuthError::UnauthorizedClient`], and what the store failed by.
pub async fn authorize(
    client: AuthenticatedClient,
    parameters: &PresentedParameters<'_>,
    asked: Asked<'_>,
    store: &dyn Store,
    now: Timestamp,
) -> Result<Authorized, OAuthError> {
    let registered = client.registered();
    let client = client.into_client();
    if !client.may_use(GrantType::AuthorizationCode) {
        return Err(OAuthError::UnauthorizedClient("the client may not use this grant"));
    }
    let presented = PresentedCode::of(parameters)?;
    let code = Handle::parse(presented.code).ok_or(INVALID)?.id();
    let waiting = store.code(code).await?.ok_or(INVALID)?;
    if waiting.client_id != client.id {
        tracing::warn!(client = client.id, owner = waiting.client_id, "a code was presented by another client");
        return Err(INVALID);
    }
    let request: AuthorizationRequest = stored(&waiting.request)?;
    if !presented.is_of(&request, asked.confirmation) {
        tracing::warn!(client = client.id, "a code was presented without what it is bound to");
        return Err(INVALID);
    }
    // Only who has all that the code is bound to can have used it, or have it used by a thief.
    if let Some(used) = waiting.used {
        revoke(store, &client, used, now).await?;
        return Err(INVALID);
    }
    // The store looks too, when it is used up; until then a late one would cost the hardware something.
    if now >= waiting.expires_at {
        return Err(INVALID);
    }
    granted(client, asked, &registered, stored(&waiting.grant)?, code, request.nonce)
}

/// What `grant`, which a front-end gave for `code`, allows `client` still.
///
/// # Errors
/// [`OAuthError`] for a target outside of it.
pub(super) fn granted(
    client: Arc<Client>,
    asked: Asked<'_>,
    registered: &Registrations,
    grant: LoginGrant,
    code: LoginId,
    nonce: Option<String>,
) -> Result<Authorized, OAuthError> {
    let LoginGrant { subject, scope, session, record } = grant;
    let target = match &record.audience {
        Some(granted) => asked.target.within(granted, &client, &registered.resources)?,
        None => asked.target,
    };
    // As far as the client may still have it.
    let granted = Scope::parse(&scope).map_err(|_| OAuthError::ServerError)?.intersection(&client.scope);
    let scope = granted.intersection(&target.scope);
    let beginning = Beginning { code: Some(code), nonce, session, granted };
    Ok(Authorized {
        login: Some(Box::new(record)),
        beginning: Some(Box::new(beginning)),
        ..Authorized::new(client, subject, scope, Asked { target, ..asked })
    })
}

/// What a token request presents with a code.
struct PresentedCode<'a> {
    code: &'a str,
    redirect_uri: &'a str,
    verifier: &'a str,
}

impl<'a> PresentedCode<'a> {
    fn of(parameters: &'a PresentedParameters<'_>) -> Result<Self, OAuthError> {
        let required = |name, missing| parameters.find(name).ok_or(OAuthError::InvalidRequest(missing));
        let presented = Self {
            code: required("code", "code is required")?,
            redirect_uri: required("redirect_uri", "redirect_uri is required")?,
            verifier: required("code_verifier", "code_verifier is required")?,
        };
        // RFC 7636 §4.1.
        let is_unreserved = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
        let is_verifier =
            (43..=128).contains(&presented.verifier.len()) && presented.verifier.bytes().all(is_unreserved);
        if !is_verifier {
            return Err(OAuthError::InvalidRequest(
                "expected code_verifier to be 43 to 128 letters, digits, and characters of -._~",
            ));
        }
        Ok(presented)
    }

    /// Whether it has all that a code for `request` is bound to, with a proof of what the token is to be bound to.
    fn is_of(&self, request: &AuthorizationRequest, confirmation: Option<Confirmation>) -> bool {
        let challenge = Thumbprint::of(self.verifier.as_bytes());
        let is_verified = challenge.0.ct_eq(&request.code_challenge.0).into();
        // RFC 9449 §10.
        let has_key = request.dpop_jkt.is_none_or(|jkt| confirmation == Some(Confirmation::Key(jkt)));
        is_verified && has_key && self.redirect_uri == request.redirect_uri
    }
}

/// What the store was given as JSON.
///
/// # Errors
/// [`OAuthError::ServerError`] where another release wrote it otherwise.
pub(super) fn stored<Value: DeserializeOwned>(text: &str) -> Result<Value, OAuthError> {
    serde_json::from_str(text).map_err(|error| {
        tracing::error!(%error, "a stored grant cannot be read");
        OAuthError::ServerError
    })
}

/// Takes back what a code gave that is presented again (RFC 6749 §4.1.2).
pub(super) async fn revoke(
    store: &dyn Store,
    client: &Client,
    used: UsedCode,
    now: Timestamp,
) -> Result<(), OAuthError> {
    report(client, Some(used));
    store.revoke_families(Selection::of_family(used.fid), now).await?;
    store.revoke_token(RevokedToken { jti: used.jti, expires_at: used.token_expires_at }).await?;
    Ok(())
}

/// Tells the operator of a code that was used twice.
pub(super) fn report(client: &Client, used: Option<UsedCode>) {
    let family = used.map(|used| used.fid.to_string());
    tracing::warn!(client = client.id, family, "a code was used twice: what it gave is revoked");
}
