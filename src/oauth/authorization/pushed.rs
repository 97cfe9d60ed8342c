//! Pushed authorization requests: the client sends what it asks for itself, and the browser carries its name only
//! (RFC 9126).

use std::time::Duration;

use serde::Serialize;
use utoipa::ToSchema;

use super::checks::Way;
use super::endpoint::AuthorizationEndpoint;
use super::request::AuthorizationRequest;
use crate::jose::thumbprint::Thumbprint;
use crate::oauth::OAuthError;
use crate::oauth::client::{Client, ClientAuthentication};
use crate::oauth::error::UNAVAILABLE;
use crate::oauth::handle::Handle;
use crate::oauth::request::PresentedRequest;
use crate::oauth::source::Source;
use crate::store::PushedRequest;

/// What comes before the handle in a `request_uri` of ours (RFC 9126 §2.2).
pub const REQUEST_URI_PREFIX: &str = "urn:ietf:params:oauth:request_uri:";

/// How long a browser may take to bring the name of a request.
const LIFETIME: Duration = Duration::from_secs(90);

/// How many wait at a time, at the most.
const MOST: u32 = 50_000;

const INVALID: OAuthError =
    OAuthError::InvalidRequestUri("the request_uri is not one that this client was given, or was used, or has ended");

/// What a client is told of a request that it pushed (RFC 9126 §2.2). Who has it can begin the login, so there is no `Debug`.
#[derive(Serialize, ToSchema)]
#[schema(description = "Where a pushed authorization request is (RFC 9126 §2.2).")]
pub struct PushedAnswer {
    /// Its name, for one authorization request of this client.
    request_uri: String,
    /// The seconds until it ends.
    expires_in: u64,
}

impl AuthorizationEndpoint {
    /// Judges a request that its client pushes from `source`, and keeps it. Where the client proves itself, nothing is
    /// counted: that is not anybody, and all of its people come from one source.
    ///
    /// # Errors
    /// [`OAuthError`]: what the request would be refused by if a browser brought it, or who does not prove to be the
    /// client; [`OAuthError::TooManyBegun`].
    pub async fn push(
        &self,
        request: &PresentedRequest<'_>,
        source: Option<Source>,
    ) -> Result<PushedAnswer, OAuthError> {
        let client = self.authenticator.client(request).await?;
        let (registered, client) = (client.registered(), client.into_client());
        // RFC 9126 §2.1.
        if request.parameters.find("request_uri").is_some() {
            return Err(OAuthError::InvalidRequest("request_uri: expected none in a request that is pushed"));
        }
        let key = request.dpop.map(|proof| self.proofs.verify(proof, &self.pushed_url)).transpose()?;
        let checked = self.checked(&registered, &client, &request.parameters, Way::Pushed).await;
        let mut checked = checked.map_err(super::AuthorizationError::into_error)?;
        if matches!(client.authentication, ClientAuthentication::None) {
            self.beginnings.admit(source)?;
        }
        if let Some(key) = key {
            checked.dpop_jkt = Some(bound(checked.dpop_jkt, key.thumbprint)?);
            self.proofs.use_up(key).await?;
        }
        let handle = Handle::new(&*self.entropy);
        let pushed = PushedRequest {
            id: handle.id(),
            client_id: checked.client_id.clone(),
            request: checked.stored()?,
            expires_at: self.clock.now().plus(LIFETIME),
        };
        if !self.store.push_request(pushed, MOST).await? {
            tracing::warn!("as many pushed requests wait as may wait: answering 503");
            return Err(UNAVAILABLE);
        }
        Ok(PushedAnswer {
            request_uri: format!("{REQUEST_URI_PREFIX}{}", handle.text()),
            expires_in: LIFETIME.as_secs(),
        })
    }

    /// The request that `client` pushed under the name `request_uri`, and that `source` begins; uses it up.
    ///
    /// # Errors
    /// [`OAuthError::InvalidRequestUri`], also where it is another client's, which keeps it then;
    /// [`OAuthError::TooManyBegun`], where it is kept too.
    pub(super) async fn taken(
        &self,
        client: &Client,
        request_uri: &str,
        source: Option<Source>,
    ) -> Result<AuthorizationRequest, OAuthError> {
        let handle = request_uri.strip_prefix(REQUEST_URI_PREFIX).and_then(Handle::parse).ok_or(INVALID)?;
        let id = handle.id();
        // Looked at first: who is not the client must not use it up either.
        let found = self.store.pushed_request(id).await?;
        if found.is_none_or(|found| found.client_id != client.id) {
            return Err(INVALID);
        }
        self.beginnings.admit(source)?;
        let taken = self.store.take_pushed_request(id, self.clock.now()).await?.ok_or(INVALID)?;
        let request: AuthorizationRequest = serde_json::from_str(&taken.request).map_err(|error| {
            tracing::error!(%error, "a pushed request in the store cannot be read");
            OAuthError::ServerError
        })?;
        // It may be registered otherwise since.
        if !client.is_redirected_to(&request.redirect_uri) {
            return Err(INVALID);
        }
        Ok(request)
    }
}

/// The key that the code is bound to: the one that was proven, which `dpop_jkt` may name too (RFC 9449 §10.1).
fn bound(named: Option<Thumbprint>, proven: Thumbprint) -> Result<Thumbprint, OAuthError> {
    match named {
        Some(named) if named != proven => {
            Err(OAuthError::InvalidRequest("dpop_jkt: expected the key of the DPoP proof"))
        }
        _ => Ok(proven),
    }
}
