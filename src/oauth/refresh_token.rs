//! The refresh token grant (RFC 6749 §6).

use super::OAuthError;
use super::authentication::AuthenticatedClient;
use super::authorized::{Asked, Authorized, Renewal};
use super::client::{Client, GrantType};
use super::error::INVALID_REFRESH_TOKEN as INVALID;
use super::login_record::LoginRecord;
use super::scope::Scope;
use crate::clock::Timestamp;
use crate::jose::claims::Confirmation;
use crate::sealing::{PresentedRefreshToken, Sealer};
use crate::store::{Family, FamilyId, Redeemed, Redemption, Store};

/// What the presented refresh token allows `client`.
///
/// The family is looked up before the hardware is asked to open anything: a made-up token, or one of a
/// family that ended or is another client's, costs no hardware operation.
///
/// # Errors
/// [`OAuthError::InvalidGrant`] for every token that is not good, [`OAuthError::InvalidScope`],
/// [`OAuthError::UnauthorizedClient`], and what the store or the keeper failed by.
pub async fn authorize(
    client: AuthenticatedClient,
    token: &str,
    asked: Asked<'_>,
    store: &dyn Store,
    sealer: &Sealer,
    now: Timestamp,
) -> Result<Authorized, OAuthError> {
    let registered = client.registered();
    let client = client.into_client();
    if !client.may_use(GrantType::RefreshToken) {
        return Err(OAuthError::UnauthorizedClient("the client may not use this grant"));
    }
    let presented = PresentedRefreshToken::parse(token).map_err(|_| INVALID)?;
    // The record may have been written by a clock that is behind: a token is not late as long as it may not be.
    let presented_at = now.minus(store.clock_tolerance());
    let fid = presented.fid();
    let family = store.family(fid).await?.filter(|family| is_live(family, &client, presented_at)).ok_or(INVALID)?;
    let jkt = match asked.confirmation {
        Some(Confirmation::Key(jkt)) => Some(jkt),
        Some(Confirmation::Certificate(_)) | None => None,
    };
    if family.jkt.is_some() && family.jkt != jkt {
        tracing::warn!(client = client.id, %fid, "a refresh token was presented without the key that it is bound to");
        return Err(INVALID);
    }
    let content = sealer.open(&client.id, &presented).await?;
    if content.client_id != client.id {
        return Err(INVALID);
    }
    let redemption = Redemption {
        presented: content.generation,
        rotation: client.rotation(),
        retry_window: client.refresh.retry_window,
        on_replay: client.on_replay(),
        idle_lifetime: client.refresh.idle_lifetime,
        presented_at,
        committed_at: now,
        jkt,
        // Where the client authenticates, that is what its refresh tokens are bound to (RFC 9449 §5).
        binds: client.authentication.is_none(),
    };
    let Redeemed::Granted { generation, renewed } = family.clone().redeem(&redemption) else {
        return Err(refuse(store, family, redemption).await?);
    };
    let login = login_of(&family)?;
    let target = match login.as_ref().and_then(|login| login.audience.as_ref()) {
        Some(granted) => asked.target.within(granted, &client, &registered.resources)?,
        None => asked.target,
    };
    // What is still granted: the family's scope, as far as the client may still have it.
    let granted = Scope::parse(&family.scope).map_err(|_| OAuthError::ServerError)?;
    if !granted.is_within(&client.scope) {
        tracing::warn!(client = client.id, %fid, "the family's scope is wider than the client's is now");
        return Err(INVALID);
    }
    let scope = granted.intersection(&target.scope).narrowed(asked.scope)?;
    let subject = family.subject.clone();
    let renewal = Renewal { family, redemption, generation, renewed, secret: content.secret };
    let asked = Asked { target, ..asked };
    Ok(Authorized { renewal: Some(renewal), login, ..Authorized::new(client, subject, scope, asked) })
}

/// The login that `family` came from, where somebody logged in for it.
fn login_of(family: &Family) -> Result<Option<Box<LoginRecord>>, OAuthError> {
    let read = |login: &String| serde_json::from_str(login).map(Box::new);
    family.login.as_ref().map(read).transpose().map_err(|error| {
        tracing::error!(%error, fid = %family.fid, "a stored login cannot be read");
        OAuthError::ServerError
    })
}

fn is_live(family: &Family, client: &Client, now: Timestamp) -> bool {
    family.client_id == client.id
        && family.revoked_at.is_none()
        && !family.is_expired(client.refresh.idle_lifetime, now)
}

/// Commits a redemption that grants nothing, which revokes the family where the rules say so, and
/// reports it.
pub(super) async fn refuse(
    store: &dyn Store,
    family: Family,
    redemption: Redemption,
) -> Result<OAuthError, OAuthError> {
    let (fid, client_id) = (family.fid, family.client_id.clone());
    let redeemed = store.redeem(family, redemption).await?;
    report(redeemed, fid, &client_id, redemption.presented);
    Ok(INVALID)
}

/// Tells the operator what became of a token that was refused.
pub(super) fn report(redeemed: Option<Redeemed>, fid: FamilyId, client_id: &str, presented: u32) {
    match redeemed {
        Some(Redeemed::Replayed { family_revoked }) => {
            tracing::warn!(client = client_id, %fid, presented, family_revoked, "a refresh token was replayed");
        }
        Some(Redeemed::NeverIssued) => {
            tracing::warn!(client = client_id, %fid, presented, "a refresh token is ahead of the store: was it restored?");
        }
        Some(Redeemed::WrongKey) => {
            tracing::warn!(client = client_id, %fid, presented, "a refresh token was presented without its key");
        }
        Some(Redeemed::Granted { .. } | Redeemed::Revoked | Redeemed::Expired) | None => {}
    }
}
