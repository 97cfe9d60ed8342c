//! Issuing: permission in, tokens out, once.
//!
//! The order is check → sign and seal at the same time → commit → answer: a failed signature costs the
//! client nothing, and no answer leaves before its commit is durable.

use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;

use super::OAuthError;
use super::authorized::{Authorized, AuthorizedWorkload, Renewal};
use super::client::Client;
use super::error::INVALID_REFRESH_TOKEN;
use super::refresh_token;
use crate::clock::{Clock, Timestamp};
use crate::entropy::Entropy;
use crate::jose::base64url;
use crate::jose::claims::{ACCESS_TOKEN_TYPE, AccessTokenClaims};
use crate::keeper::policy::ACCESS_TOKEN_PROFILE;
use crate::keeper::{KeeperError, Keepers};
use crate::keyring::{CurrentKeyring, Signer};
use crate::sealing::{Content, FamilySecret, Sealer};
use crate::store::{Family, Redeemed, Redemption, Store};

/// Makes tokens.
pub struct Issuer {
    identifier: String,
    signer: Signer,
    sealer: Sealer,
    store: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
}

/// A successful answer of the token endpoint (RFC 6749 §5.1).
#[derive(Debug, Serialize)]
pub struct TokenResponse {
    /// The access token.
    pub access_token: String,
    /// Always `Bearer` (RFC 6750).
    pub token_type: &'static str,
    /// Seconds until the access token ends.
    pub expires_in: u64,
    /// The scope of the access token.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub scope: String,
    /// The refresh token to use from now on, where there is a new one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refresh_token: Option<String>,
}

/// The first refresh token of a workload.
#[derive(Debug, Serialize)]
pub struct IssuedGrant {
    /// The refresh token.
    pub refresh_token: String,
    /// The handle of its family.
    pub family: String,
    /// The scope that it grants.
    pub scope: String,
    /// When it ends, used or not, in seconds since the epoch.
    pub expires_at: Timestamp,
}

impl Issuer {
    /// An issuer under the issuer identifier `identifier` (RFC 8414 §2).
    pub fn new(
        identifier: String,
        keepers: Keepers,
        keyring: CurrentKeyring,
        store: Arc<dyn Store>,
        clock: Arc<dyn Clock>,
        entropy: Arc<dyn Entropy>,
    ) -> Self {
        let sealer = Sealer::new(keepers.clone(), keyring.clone(), Arc::clone(&entropy));
        Self { identifier, signer: Signer::new(keepers, keyring), sealer, store, clock, entropy }
    }

    /// The sealer of its refresh tokens.
    pub fn sealer(&self) -> &Sealer {
        &self.sealer
    }

    /// Where its families are.
    pub fn store(&self) -> &dyn Store {
        self.store.as_ref()
    }

    /// The time by which it issues.
    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// Uses `authorized` up.
    ///
    /// # Errors
    /// What the keeper or the store failed by, with nothing committed; [`OAuthError::InvalidGrant`] where
    /// the family ended, or was replayed, in the meantime.
    pub async fn issue(&self, authorized: Authorized<'_>) -> Result<TokenResponse, OAuthError> {
        let Authorized { client, subject, scope, renewal } = authorized;
        let now = self.clock.now();
        let lifetime = lifetime(client, renewal.as_ref(), now);
        if lifetime.is_zero() {
            // The family ended between the grant and now.
            return Err(INVALID_REFRESH_TOKEN);
        }
        let jti = base64url::encode(self.entropy.bytes::<16>());
        let sid = renewal.as_ref().map(|renewal| renewal.family.fid.to_string());
        let claims = AccessTokenClaims {
            iss: &self.identifier,
            sub: &subject,
            aud: &client.audience,
            client_id: &client.id,
            scope: scope.as_str(),
            iat: now,
            exp: now.plus(lifetime),
            jti: &jti,
            sid: sid.as_deref(),
        };
        let (access_token, refresh_token) = tokio::try_join!(
            self.signer.sign(&client.id, ACCESS_TOKEN_PROFILE, ACCESS_TOKEN_TYPE, &claims),
            self.renew(client, renewal.as_ref()),
        )?;
        if let Some(renewal) = renewal {
            self.commit(client, renewal).await?;
        }
        Ok(TokenResponse {
            access_token,
            token_type: "Bearer",
            expires_in: lifetime.as_secs(),
            scope: scope.as_str().to_owned(),
            refresh_token,
        })
    }

    /// Begins the family that an operator granted.
    ///
    /// # Errors
    /// What the keeper or the store failed by, with nothing committed.
    pub async fn begin_family(&self, authorized: AuthorizedWorkload<'_>) -> Result<IssuedGrant, OAuthError> {
        let AuthorizedWorkload { client, subject, scope } = authorized;
        let now = self.clock.now();
        let (fid, secret) = self.sealer.new_family();
        let family = Family {
            fid,
            client_id: client.id.clone(),
            subject,
            scope: scope.as_str().to_owned(),
            generation: 0,
            current_used: false,
            superseded_at: None,
            created_at: now,
            last_used_at: now,
            expires_at: now.plus(client.refresh.lifetime),
            revoked_at: None,
        };
        let refresh_token = self.sealer.seal(family.fid, &content(client, family.generation, Some(secret))).await?;
        let issued = IssuedGrant {
            refresh_token,
            family: family.fid.to_string(),
            scope: family.scope.clone(),
            expires_at: family.expires_at,
        };
        self.store.begin_family(family).await?;
        Ok(issued)
    }

    async fn renew(&self, client: &Client, renewal: Option<&Renewal>) -> Result<Option<String>, KeeperError> {
        match renewal {
            Some(renewal) if renewal.renewed => {
                let content = content(client, renewal.generation, renewal.secret.clone());
                self.sealer.seal(renewal.family.fid, &content).await.map(Some)
            }
            Some(_) | None => Ok(None),
        }
    }

    /// Makes the renewal durable. Others may have used the family since it was read: what was sealed
    /// is released only where the family still comes to that generation.
    async fn commit(&self, client: &Client, renewal: Renewal) -> Result<(), OAuthError> {
        let Renewal { family, redemption, generation: sealed, .. } = renewal;
        let (fid, redemption) = (family.fid, Redemption { committed_at: self.clock.now(), ..redemption });
        match self.store.redeem(family, redemption).await? {
            Some(Redeemed::Granted { generation, .. }) if generation == sealed => Ok(()),
            other => {
                refresh_token::report(other, fid, &client.id, redemption.presented);
                Err(INVALID_REFRESH_TOKEN)
            }
        }
    }
}

fn content(client: &Client, generation: u32, secret: Option<FamilySecret>) -> Content {
    Content { generation, client_id: client.id.clone(), secret }
}

/// An access token never outlives the family that it came from.
fn lifetime(client: &Client, renewal: Option<&Renewal>, now: Timestamp) -> Duration {
    let left = renewal.map_or(Duration::MAX, |renewal| renewal.family.expires_at.since(now));
    client.access_token_lifetime.min(left)
}
