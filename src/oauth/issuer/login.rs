//! Issuing to who logged in: a refresh family begins, which is the session, and an ID token says who it is.

use std::time::Duration;

use serde::Serialize;
use utoipa::ToSchema;

use super::{Issuer, TokenResponse, content};
use crate::clock::Timestamp;
use crate::jose::claims::Confirmation;
use crate::jose::id_token::{ID_TOKEN_TYPE, IdTokenClaims, at_hash};
use crate::jose::thumbprint::Thumbprint;
use crate::keeper::policy::ID_TOKEN_PROFILE;
use crate::keeper::{KeeperError, Work};
use crate::oauth::authorized::{Authorized, Beginning};
use crate::oauth::client::{Client, GrantType};
use crate::oauth::{OAuthError, code};
use crate::store::{CodeRedeemed, CodeUse, Family, FamilyId, TokenId};

/// What a front-end gets that asks for tokens by itself.
#[derive(Debug, Serialize, ToSchema)]
pub struct IssuedLogin {
    /// The tokens.
    #[serde(flatten)]
    pub tokens: TokenResponse,
    /// The handle of their family.
    pub family: String,
    /// When the family ends, used or not, in seconds since the epoch.
    pub expires_at: Timestamp,
}

/// The tokens of a login that are signed.
pub(super) struct Signed {
    pub(super) access_token: String,
    pub(super) jti: TokenId,
    pub(super) id_token: Option<String>,
}

impl Issuer {
    /// Begins the family of a login, and gives its first tokens.
    ///
    /// # Errors
    /// What the keeper or the store failed by, with nothing committed and no code used up; [`OAuthError::InvalidGrant`]
    /// where the code was used in the meantime.
    pub(in crate::oauth) async fn issue_begun(
        &self,
        authorized: &Authorized,
        beginning: Beginning,
    ) -> Result<IssuedLogin, OAuthError> {
        let client = &authorized.client;
        let now = self.clock.now();
        let (fid, secret) = self.sealer.new_family();
        let login = authorized.login.as_deref().map(serde_json::to_string).transpose();
        let family = Family {
            scope: beginning.granted.as_str().to_owned(),
            jkt: refresh_key(client, authorized.confirmation),
            login: login.map_err(|_| OAuthError::ServerError)?,
            session: beginning.session,
            ..Self::new_family(client, authorized.subject.clone(), fid, now)
        };
        let expires_at = family.expires_at;
        // An access token never outlives the family that it came from.
        let lifetime = authorized.lifetime.min(expires_at.since(now));
        let refresh_token = async {
            if !client.may_use(GrantType::RefreshToken) {
                return Ok(None);
            }
            self.sealer.seal(fid, &content(client, family.generation, Some(secret))).await.map(Some)
        };
        let tokens = self.sign_login(authorized, now, lifetime, fid, beginning.nonce.as_deref());
        let (signed, refresh_token) = tokio::try_join!(tokens, refresh_token)?;
        let Signed { access_token, jti, id_token } = signed;
        match beginning.code {
            Some(code) => {
                let using = CodeUse { family, jti, token_expires_at: now.plus(lifetime) };
                match self.store.redeem_code(code, using, self.clock.now()).await? {
                    CodeRedeemed::Granted => {}
                    CodeRedeemed::Replayed => {
                        code::report(client, None);
                        return Err(code::INVALID);
                    }
                    CodeRedeemed::Unknown => return Err(code::INVALID),
                }
            }
            None => self.store.begin_family(family).await?,
        }
        let refresh_expires_at = Some(expires_at);
        let tokens = TokenResponse::new(access_token, lifetime, authorized);
        let tokens = TokenResponse { refresh_token, refresh_expires_at, id_token, ..tokens };
        Ok(IssuedLogin { tokens, family: fid.to_string(), expires_at })
    }

    /// An access token of the family `fid`, and the ID token that goes with it where the scope asks who logged in. The
    /// second names the hash of the first, so it is made after it.
    pub(super) async fn sign_login(
        &self,
        authorized: &Authorized,
        now: Timestamp,
        lifetime: Duration,
        fid: FamilyId,
        nonce: Option<&str>,
    ) -> Result<Signed, KeeperError> {
        let (access_token, jti) = self.sign(authorized, now, lifetime, Some(fid)).await?;
        let id_token = match authorized.login.as_deref() {
            Some(login) if authorized.scope.is_openid() => {
                let (sid, at_hash) = (fid.to_string(), at_hash(&access_token));
                let client_id = &authorized.client.id;
                let claims = IdTokenClaims {
                    iss: &self.identifier,
                    sub: &authorized.subject,
                    aud: client_id,
                    iat: now,
                    exp: now.plus(lifetime),
                    nonce,
                    auth_time: login.auth_time,
                    acr: login.acr.as_deref(),
                    amr: &login.amr,
                    sid: &sid,
                    at_hash: &at_hash,
                    extra: &login.claims_for(&authorized.scope),
                };
                Some(self.signer.sign(client_id, Work::Continued, ID_TOKEN_PROFILE, ID_TOKEN_TYPE, &claims).await?)
            }
            Some(_) | None => None,
        };
        Ok(Signed { access_token, jti, id_token })
    }
}

/// The key that the refresh tokens of a new family are bound to. Where the client authenticates, that is what they are
/// bound to (RFC 9449 §5).
fn refresh_key(client: &Client, confirmation: Option<Confirmation>) -> Option<Thumbprint> {
    match confirmation {
        Some(Confirmation::Key(key)) if client.authentication.is_none() => Some(key),
        Some(Confirmation::Key(_) | Confirmation::Certificate(_)) | None => None,
    }
}
