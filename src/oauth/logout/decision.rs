//! What a front-end reads of a logout that waits, and its word that the person is logged out.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::LogoutRequest;
use crate::clock::{Clock, Timestamp};
use crate::entropy::Entropy;
use crate::oauth::OAuthError;
use crate::oauth::acceptance::{read, session_name};
use crate::oauth::frontend::{CallingFrontend, Frontend};
use crate::oauth::handle::Handle;
use crate::oauth::login::{LoginError, decided};
use crate::oauth::session_end::SessionEnds;
use crate::store::{Decision, Family, FamilyId, LoginKind, PendingLogin, Store};

/// The logouts of front-ends.
pub struct Logouts {
    store: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
    ends: Arc<SessionEnds>,
}

/// A logout that waits, as its front-end sees it.
#[derive(Debug, Serialize, ToSchema)]
pub struct WaitingLogout {
    /// The client that asks for it.
    client_id: String,
    /// Where the browser goes afterwards.
    #[serde(skip_serializing_if = "Option::is_none")]
    post_logout_redirect_uri: Option<String>,
    /// Whom the client showed an ID token of.
    #[serde(skip_serializing_if = "Option::is_none")]
    subject: Option<String>,
    /// The front-end's session that this token is of.
    #[serde(skip_serializing_if = "Option::is_none")]
    session: Option<String>,
    /// Whom the client means.
    #[serde(skip_serializing_if = "Option::is_none")]
    logout_hint: Option<String>,
    /// Language tags, separated by spaces.
    #[serde(skip_serializing_if = "Option::is_none")]
    ui_locales: Option<String>,
    /// Until when it waits, in seconds since the epoch.
    expires_at: Timestamp,
}

/// Where the browser goes.
#[derive(Debug, Serialize, ToSchema)]
pub struct AfterLogout {
    /// There; without it, it stays at the front-end.
    #[serde(skip_serializing_if = "Option::is_none")]
    redirect_to: Option<String>,
}

/// A front-end's word.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct LogoutAcceptance {
    /// The session of the browser that logged out, by the front-end's own name; that of the ID token where it is left out.
    #[serde(default)]
    session: Option<String>,
}

/// A logout that the caller may decide.
struct Mine {
    logout: PendingLogin,
    request: LogoutRequest,
    /// The family of the ID token, where it is one of the caller's.
    family: Option<Family>,
}

impl Logouts {
    /// Those in `store`, whose sessions are ended by `ends`.
    pub fn new(
        store: Arc<dyn Store>,
        clock: Arc<dyn Clock>,
        entropy: Arc<dyn Entropy>,
        ends: Arc<SessionEnds>,
    ) -> Self {
        Self { store, clock, entropy, ends }
    }

    /// What is asked for by the logout of `handle`.
    ///
    /// # Errors
    /// [`LoginError`].
    pub async fn read(&self, caller: &CallingFrontend, handle: &str) -> Result<WaitingLogout, LoginError> {
        let Mine { logout, request, family } = self.find(caller, handle).await?;
        Ok(WaitingLogout {
            client_id: request.client_id,
            post_logout_redirect_uri: request.post_logout_redirect_uri,
            subject: request.subject,
            session: family.and_then(|family| session_of(&family, caller)),
            logout_hint: request.logout_hint,
            ui_locales: request.ui_locales,
            expires_at: logout.expires_at,
        })
    }

    /// Takes the word of `caller` that the person is logged out: the session ends, and the browser goes back.
    ///
    /// # Errors
    /// [`LoginError`]; nothing is decided then, though the session may have ended.
    pub async fn accept(&self, caller: &CallingFrontend, handle: &str, json: &[u8]) -> Result<AfterLogout, LoginError> {
        let Mine { logout, request, family } = self.find(caller, handle).await?;
        let LogoutAcceptance { session } = LogoutAcceptance::parse(json)?;
        // First, so that nobody is told of a logout that did not take place. It may be done twice.
        let known = family.as_ref().and_then(|family| session_of(family, caller));
        if let Some(session) = &session {
            self.ends.end(caller.frontend(), session).await?;
        }
        // The client logs out what it showed the token of, whatever else there is in that browser.
        match (known, family) {
            (Some(known), _) if session.as_ref() != Some(&known) => {
                self.ends.end(caller.frontend(), &known).await?;
            }
            (None, Some(family)) => {
                self.ends.end_family(family.fid).await?;
            }
            (Some(_) | None, _) => {}
        }
        let decision = Decision::Accepted {
            code: Handle::new(self.entropy.as_ref()).id(),
            grant: "{}".to_owned(),
            expires_at: logout.expires_at,
        };
        decided(self.store.decide_login(logout.handle, decision, self.clock.now()).await?)?;
        Ok(AfterLogout { redirect_to: request.done() })
    }

    /// The logout of `handle`, where `caller` may decide it.
    async fn find(&self, caller: &CallingFrontend, handle: &str) -> Result<Mine, LoginError> {
        let handle = Handle::parse(handle).ok_or(LoginError::Unknown)?;
        let logout = self.store.login(handle.id()).await?.ok_or(LoginError::Unknown)?;
        let now = self.clock.now();
        if logout.kind != LoginKind::Logout || now >= logout.expires_at {
            return Err(LoginError::Unknown);
        }
        if let Err(error) = caller.check_client(&logout.client_id) {
            tracing::warn!(frontend = caller.name, client = logout.client_id, "a front-end has another one's logout");
            return Err(OAuthError::from(error).into());
        }
        if !logout.is_open(now) {
            return Err(LoginError::Decided);
        }
        let request: LogoutRequest = serde_json::from_str(&logout.request).map_err(|error| {
            tracing::error!(%error, "a stored request cannot be read");
            OAuthError::ServerError
        })?;
        let fid = request.sid.as_deref().and_then(FamilyId::parse);
        let family = match fid {
            Some(fid) => self.store.family(fid).await?.filter(|family| caller.check_client(&family.client_id).is_ok()),
            None => None,
        };
        Ok(Mine { logout, request, family })
    }
}

/// What `family` belongs to, by the name that `frontend` has for it.
fn session_of(family: &Family, frontend: &Frontend) -> Option<String> {
    let whole = family.session.as_deref()?;
    whole.strip_prefix(&session_name(frontend, "")).map(str::to_owned)
}

impl LogoutAcceptance {
    /// Reads one; nothing says nothing.
    fn parse(json: &[u8]) -> Result<Self, OAuthError> {
        if json.is_empty() {
            return Ok(Self::default());
        }
        read(json).ok_or(OAuthError::InvalidRequest("expected JSON with, optionally, session"))
    }
}
