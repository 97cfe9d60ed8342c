//! Issuing: permission in, tokens out, once.
//!
//! The order is check → sign and seal at the same time → commit → answer: a failed signature costs the
//! client nothing, and no answer leaves before its commit is durable.

mod login;

use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use utoipa::ToSchema;

use super::OAuthError;
use super::authorized::{Authorized, AuthorizedWorkload, Renewal};
use super::client::Client;
use super::error::INVALID_REFRESH_TOKEN;
use super::refresh_cookie::RefreshCookie;
use super::refresh_token;
use super::shared_tokens::{SharedToken, SharedTokens, Slot};
use super::token_type::TokenType;
use crate::clock::{Clock, Timestamp};
use crate::entropy::Entropy;
use crate::jose::base64url;
use crate::jose::claims::{ACCESS_TOKEN_TYPE, AccessTokenClaims};
use crate::jose::jws::PresentedJws;
use crate::keeper::policy::ACCESS_TOKEN_PROFILE;
use crate::keeper::{KeeperError, Keepers, Work};
use crate::keyring::{CurrentKeyring, Signer};
use crate::sealing::{Content, FamilySecret, Sealer};
use crate::store::{Family, FamilyId, Redeemed, Redemption, Store, TokenId};

pub use self::login::IssuedLogin;
use self::login::Signed;

/// Makes tokens.
pub struct Issuer {
    identifier: String,
    signer: Signer,
    sealer: Sealer,
    keyring: CurrentKeyring,
    shared: SharedTokens,
    store: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
}

/// A successful answer of the token endpoint (RFC 6749 §5.1).
#[derive(Debug, Serialize, ToSchema)]
pub struct TokenResponse {
    /// The access token.
    pub access_token: String,
    /// How it is presented.
    pub token_type: TokenType,
    /// Seconds until the access token ends.
    pub expires_in: u64,
    /// The scope of the access token.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub scope: String,
    /// The refresh token to use from now on, where there is a new one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refresh_token: Option<String>,
    /// Who logged in, where the scope has `openid` (OpenID Connect Core 1.0 §3.1.3.3).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id_token: Option<String>,
    /// When the refresh token ends, used or not: not for the answer.
    #[serde(skip)]
    pub refresh_expires_at: Option<Timestamp>,
    /// The cookie that has the refresh token in its place.
    #[serde(skip)]
    #[schema(ignore)]
    pub refresh_cookie: Option<RefreshCookie>,
    /// What a token exchange gave (RFC 8693 §2.2.1).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub issued_token_type: Option<&'static str>,
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

impl TokenResponse {
    fn new(access_token: String, lifetime: Duration, authorized: &Authorized) -> Self {
        Self {
            access_token,
            token_type: TokenType::of(authorized.confirmation),
            expires_in: lifetime.as_secs(),
            scope: authorized.scope.as_str().to_owned(),
            refresh_token: None,
            id_token: None,
            refresh_expires_at: None,
            refresh_cookie: None,
            issued_token_type: None,
        }
    }
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
        let signer = Signer::new(keepers, keyring.clone());
        Self { identifier, signer, sealer, keyring, shared: SharedTokens::new(), store, clock, entropy }
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
    pub async fn issue(&self, mut authorized: Authorized) -> Result<TokenResponse, OAuthError> {
        if let Some(renewal) = authorized.renewal.take() {
            return self.issue_renewed(&authorized, renewal).await;
        }
        if let Some(beginning) = authorized.beginning.take() {
            return Ok(self.issue_begun(&authorized, *beginning).await?.tokens);
        }
        // Only what a client has for itself is the same for all who ask.
        match authorized.client.share_tokens_for {
            Some(age) if authorized.subject == authorized.client.id => self.issue_shared(&authorized, age).await,
            Some(_) | None => {
                let (now, lifetime) = (self.clock.now(), authorized.lifetime);
                let (access_token, _) = self.sign(&authorized, now, lifetime, None).await?;
                Ok(TokenResponse::new(access_token, lifetime, &authorized))
            }
        }
    }

    /// Makes an access token, and where it is due the next refresh token with it.
    async fn issue_renewed(&self, authorized: &Authorized, renewal: Renewal) -> Result<TokenResponse, OAuthError> {
        let now = self.clock.now();
        // An access token never outlives the family that it came from.
        let lifetime = authorized.lifetime.min(renewal.family.expires_at.since(now));
        if lifetime.is_zero() {
            // The family ended between the grant and now.
            return Err(INVALID_REFRESH_TOKEN);
        }
        let (signed, refresh_token) = tokio::try_join!(
            // A token that is refreshed is no answer to a request (OpenID Connect Core 1.0 §12.2): no nonce.
            self.sign_login(authorized, now, lifetime, renewal.family.fid, None),
            self.renew(&authorized.client, &renewal),
        )?;
        let refresh_expires_at = Some(renewal.family.expires_at);
        self.commit(&authorized.client, renewal).await?;
        let Signed { access_token, id_token, .. } = signed;
        let tokens = TokenResponse::new(access_token, lifetime, authorized);
        Ok(TokenResponse { refresh_token, refresh_expires_at, id_token, ..tokens })
    }

    /// Gives out the token that was made for the same before, as long as it is younger than `age` and good; or makes
    /// the next one, while others who want the same wait for it.
    async fn issue_shared(&self, authorized: &Authorized, age: Duration) -> Result<TokenResponse, OAuthError> {
        let (slot, asked_at) = (self.shared.slot(authorized), self.clock.instant());
        let mut slot = slot.lock().await;
        let now = self.clock.now();
        match &*slot {
            Slot::Token(token) if token.is_young(age, now) && self.is_good(token).await => {
                return Ok(TokenResponse::new(token.access_token.clone(), token.expires_at.since(now), authorized));
            }
            Slot::Failed(error, failed_at) if *failed_at > asked_at => return Err(error.clone()),
            Slot::Token(_) | Slot::Failed(..) | Slot::Empty => {}
        }
        let lifetime = authorized.lifetime;
        match self.sign(authorized, now, lifetime, None).await {
            Ok((access_token, jti)) => {
                let answer = TokenResponse::new(access_token.clone(), lifetime, authorized);
                let kid =
                    PresentedJws::parse(&access_token).and_then(|jws| jws.header().map(|header| header.kid.to_owned()));
                *slot = match kid {
                    Ok(kid) => Slot::Token(SharedToken {
                        access_token,
                        kid,
                        jti,
                        issued_at: now,
                        expires_at: now.plus(lifetime),
                    }),
                    Err(_) => Slot::Empty,
                };
                Ok(answer)
            }
            Err(error) => {
                let error = OAuthError::from(error);
                *slot = Slot::Failed(error.clone(), self.clock.instant());
                Err(error)
            }
        }
    }

    /// Whether others still take `token`: its key is published, and nobody revoked it. What cannot be known is no.
    async fn is_good(&self, token: &SharedToken) -> bool {
        self.keyring.load().publishes(&token.kid) && matches!(self.store.is_revoked(token.jti, None).await, Ok(false))
    }

    /// An access token, and its name.
    async fn sign(
        &self,
        authorized: &Authorized,
        now: Timestamp,
        lifetime: Duration,
        family: Option<FamilyId>,
    ) -> Result<(String, TokenId), KeeperError> {
        let jti = TokenId(self.entropy.bytes());
        let sid = family.map(|fid| fid.to_string());
        let client_id = &authorized.client.id;
        let login = authorized.login.as_deref();
        let claims = AccessTokenClaims {
            iss: &self.identifier,
            sub: &authorized.subject,
            aud: &authorized.audience,
            client_id,
            scope: authorized.scope.as_str(),
            iat: now,
            exp: now.plus(lifetime),
            jti: &base64url::encode(jti.0),
            sid: sid.as_deref(),
            cnf: authorized.confirmation,
            act: authorized.actor.as_ref(),
            auth_time: login.and_then(|login| login.auth_time),
            acr: login.and_then(|login| login.acr.as_deref()),
            amr: login.map_or(&[], |login| &login.amr),
        };
        // A refresh token was opened for it.
        let work = if family.is_some() { Work::Continued } else { Work::New };
        let token = self.signer.sign(client_id, work, ACCESS_TOKEN_PROFILE, ACCESS_TOKEN_TYPE, &claims).await?;
        Ok((token, jti))
    }

    /// Begins the family that an operator granted.
    ///
    /// # Errors
    /// What the keeper or the store failed by, with nothing committed.
    pub async fn begin_family(&self, authorized: AuthorizedWorkload) -> Result<IssuedGrant, OAuthError> {
        let AuthorizedWorkload { client, subject, scope } = authorized;
        let now = self.clock.now();
        let (fid, secret) = self.sealer.new_family();
        let family = Family { scope: scope.as_str().to_owned(), ..Self::new_family(&client, subject, fid, now) };
        let refresh_token = self.sealer.seal(family.fid, &content(&client, family.generation, Some(secret))).await?;
        let issued = IssuedGrant {
            refresh_token,
            family: family.fid.to_string(),
            scope: family.scope.clone(),
            expires_at: family.expires_at,
        };
        self.store.begin_family(family).await?;
        Ok(issued)
    }

    /// A family that begins at `now`, with no scope.
    fn new_family(client: &Client, subject: String, fid: FamilyId, now: Timestamp) -> Family {
        Family {
            fid,
            client_id: client.id.clone(),
            subject,
            scope: String::new(),
            generation: 0,
            current_used: false,
            superseded_at: None,
            created_at: now,
            last_used_at: now,
            expires_at: now.plus(client.refresh.lifetime),
            revoked_at: None,
            jkt: None,
            login: None,
            session: None,
        }
    }

    async fn renew(&self, client: &Client, renewal: &Renewal) -> Result<Option<String>, KeeperError> {
        if !renewal.renewed {
            return Ok(None);
        }
        let content = content(client, renewal.generation, renewal.secret.clone());
        self.sealer.seal(renewal.family.fid, &content).await.map(Some)
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
