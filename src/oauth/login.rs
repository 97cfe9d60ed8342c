//! Logins under way: what a front-end reads of one, and its decision, which sends the browser back to the client.

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::OAuthError;
use super::acceptance::{Acceptance, LoginTerms, read};
use super::authorization::{AuthorizationRequest, Prompt};
use super::client::{Client, GrantType};
use super::frontend::CallingFrontend;
use super::handle::Handle;
use super::scope::Scope;
use crate::clock::{Clock, Timestamp};
use crate::entropy::Entropy;
use crate::jose::claims::Audience;
use crate::store::{self, Decided, Decision, LoginKind, PendingLogin, Store};

/// How long a code is good (RFC 6749 §4.1.2: as short as can be).
const CODE_LIFETIME: Duration = Duration::from_secs(60);

/// What a front-end may answer a client that it does not log somebody in for (RFC 6749 §4.1.2.1, OpenID Connect Core 1.0
/// §3.1.2.6, OpenID Connect Core Error Code unmet_authentication_requirements 1.0).
const REFUSALS: [&str; 9] = [
    "access_denied",
    "login_required",
    "interaction_required",
    "account_selection_required",
    "consent_required",
    "unmet_authentication_requirements",
    "invalid_scope",
    "temporarily_unavailable",
    "server_error",
];

/// Characters of an `error_description`.
const LONGEST_DESCRIPTION: usize = 255;

/// The logins of the front-ends of one issuer.
pub struct Logins {
    issuer: String,
    store: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
}

/// A login that waits, as its front-end sees it.
#[derive(Debug, Serialize, ToSchema)]
pub struct WaitingLogin {
    client_id: String,
    redirect_uri: String,
    scope: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    resource: Vec<String>,
    #[serde(skip_serializing_if = "String::is_empty")]
    prompt: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_age: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    login_hint: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    acr_values: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ui_locales: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    subject: Option<String>,
    expires_at: Timestamp,
}

/// Where the browser goes.
#[derive(Debug, Serialize, ToSchema)]
pub struct Redirect {
    redirect_to: String,
}

/// A front-end's refusal.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Refusal {
    pub(super) error: String,
    #[serde(default)]
    error_description: Option<String>,
}

/// Why a front-end cannot decide.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum LoginError {
    /// There is no such login, or none any more: HTTP 404.
    #[error("no login of that handle waits")]
    Unknown,
    /// It was decided before: HTTP 409.
    #[error("the login was decided before")]
    Decided,
    /// What is wrong with the decision, or with who makes it.
    #[error("{0}")]
    Refused(#[from] OAuthError),
}

impl From<store::Error> for LoginError {
    fn from(error: store::Error) -> Self {
        Self::Refused(error.into())
    }
}

/// A login that the caller may decide.
struct Mine {
    login: PendingLogin,
    request: AuthorizationRequest,
    client: Arc<Client>,
}

/// What a decision came to, for whoever made it.
pub(super) fn decided(outcome: Decided) -> Result<(), LoginError> {
    match outcome {
        Decided::Done => Ok(()),
        Decided::AlreadyDecided => Err(LoginError::Decided),
        Decided::Unknown => Err(LoginError::Unknown),
    }
}

impl Logins {
    /// Those of the issuer `issuer`.
    pub fn new(issuer: String, store: Arc<dyn Store>, clock: Arc<dyn Clock>, entropy: Arc<dyn Entropy>) -> Self {
        Self { issuer, store, clock, entropy }
    }

    /// What is asked for by the login of `handle`.
    ///
    /// # Errors
    /// [`LoginError`].
    pub async fn read(&self, caller: &CallingFrontend, handle: &str) -> Result<WaitingLogin, LoginError> {
        let Mine { login, request, .. } = self.find(caller, handle).await?;
        let prompt = request.prompt.iter().map(|prompt| prompt.as_str()).collect::<Vec<_>>().join(" ");
        Ok(WaitingLogin {
            client_id: request.client_id,
            redirect_uri: request.redirect_uri,
            scope: request.scope,
            resource: request.resources,
            prompt,
            max_age: request.max_age,
            login_hint: request.login_hint,
            acr_values: request.acr_values,
            ui_locales: request.ui_locales,
            subject: request.subject,
            expires_at: login.expires_at,
        })
    }

    /// Takes the word of `caller` that somebody logged in: the browser goes back with a code.
    ///
    /// # Errors
    /// [`LoginError`]; nothing is decided then.
    pub async fn accept(&self, caller: &CallingFrontend, handle: &str, json: &[u8]) -> Result<Redirect, LoginError> {
        let Mine { login, request, client } = self.find(caller, handle).await?;
        let now = self.clock.now();
        let terms = terms(&request, &client, login.created_at)?;
        let clients = &caller.registered().clients;
        let grant = Acceptance::parse(json)?.judged(terms, caller.frontend(), clients, now)?;
        let code = Handle::new(self.entropy.as_ref());
        let decision = Decision::Accepted {
            code: code.id(),
            grant: serde_json::to_string(&grant).map_err(|_| OAuthError::ServerError)?,
            expires_at: now.plus(CODE_LIFETIME),
        };
        decided(self.store.decide_login(login.handle, decision, now).await?)?;
        tracing::info!(frontend = caller.name, client = client.id, subject = grant.subject, "a login was accepted");
        Ok(Redirect { redirect_to: request.granted(&self.issuer, &code.text()) })
    }

    /// Takes it from `caller` that nobody logged in: the browser goes back with the error.
    ///
    /// # Errors
    /// [`LoginError`]; nothing is decided then.
    pub async fn refuse(&self, caller: &CallingFrontend, handle: &str, json: &[u8]) -> Result<Redirect, LoginError> {
        let Mine { login, request, .. } = self.find(caller, handle).await?;
        let Refusal { error, error_description } = Refusal::parse(json)?;
        let decision = Decision::Refused { error: error.clone() };
        decided(self.store.decide_login(login.handle, decision, self.clock.now()).await?)?;
        tracing::info!(frontend = caller.name, client = request.client_id, error, "a login was refused");
        Ok(Redirect { redirect_to: request.refused(&self.issuer, &error, error_description.as_deref()) })
    }

    /// The login of `handle`, where `caller` may decide it.
    async fn find(&self, caller: &CallingFrontend, handle: &str) -> Result<Mine, LoginError> {
        let handle = Handle::parse(handle).ok_or(LoginError::Unknown)?;
        let login = self.store.login(handle.id()).await?.ok_or(LoginError::Unknown)?;
        if login.kind != LoginKind::Authorization || self.clock.now() >= login.expires_at {
            return Err(LoginError::Unknown);
        }
        if let Err(error) = caller.check_client(&login.client_id) {
            tracing::warn!(frontend = caller.name, client = login.client_id, "a front-end has another one's login");
            return Err(OAuthError::from(error).into());
        }
        if !login.is_open(self.clock.now()) {
            return Err(LoginError::Decided);
        }
        // It may have been registered otherwise since.
        let client = caller.registered().clients.find(&login.client_id);
        let client = client.filter(|client| client.may_use(GrantType::AuthorizationCode)).ok_or(LoginError::Unknown)?;
        let request = serde_json::from_str(&login.request).map_err(|error| {
            tracing::error!(%error, "a stored request cannot be read");
            OAuthError::ServerError
        })?;
        Ok(Mine { client: Arc::clone(client), login, request })
    }
}

/// What the answer to `request`, which came at `asked_at`, has to keep to.
fn terms<'a>(
    request: &'a AuthorizationRequest,
    client: &'a Client,
    asked_at: Timestamp,
) -> Result<LoginTerms<'a>, OAuthError> {
    let scope = Scope::parse(&request.scope).map_err(|_| OAuthError::ServerError)?;
    let audience = match request.resources.as_slice() {
        [] => None,
        [one] => Some(Audience::One(one.clone())),
        several => Some(Audience::Several(several.to_vec())),
    };
    // OpenID Connect Core 1.0 §3.1.2.1: who proved itself after the request is as fresh as can be.
    let max_age = request.max_age.map(|seconds| asked_at.minus(Duration::from_secs(seconds)));
    let authenticated_since = if request.prompt.contains(&Prompt::Login) { Some(asked_at) } else { max_age };
    Ok(LoginTerms { client, scope, audience, subject: request.subject.as_deref(), authenticated_since })
}

impl Refusal {
    /// Reads one.
    pub(super) fn parse(json: &[u8]) -> Result<Self, OAuthError> {
        let refusal: Self = read(json)
            .ok_or(OAuthError::InvalidRequest("expected JSON with error and, optionally, error_description"))?;
        if !REFUSALS.contains(&refusal.error.as_str()) {
            return Err(OAuthError::InvalidRequest(
                "expected error to be a code of OpenID Connect for a refused login, such as access_denied or login_required",
            ));
        }
        // RFC 6749 §4.1.2.1.
        let is_character = |byte: u8| matches!(byte, 0x20..=0x21 | 0x23..=0x5b | 0x5d..=0x7e);
        let is_text = |text: &String| text.len() <= LONGEST_DESCRIPTION && text.bytes().all(is_character);
        if !refusal.error_description.as_ref().is_none_or(is_text) {
            return Err(OAuthError::InvalidRequest(
                "expected error_description to be at the most 255 printable ASCII characters without \" and \\",
            ));
        }
        Ok(refusal)
    }
}
