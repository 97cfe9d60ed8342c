//! What a front-end reads of a device whose code somebody typed, and its decision.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde::Serialize;
use utoipa::ToSchema;

use super::DeviceRequest;
use super::user_code::UserCode;
use crate::clock::{Clock, Timestamp};
use crate::entropy::Entropy;
use crate::jose::claims::Audience;
use crate::oauth::OAuthError;
use crate::oauth::acceptance::{Acceptance, LoginTerms};
use crate::oauth::client::{Client, GrantType};
use crate::oauth::frontend::{CallingFrontend, FrontendError};
use crate::oauth::handle::Handle;
use crate::oauth::login::{LoginError, Refusal, decided};
use crate::oauth::scope::Scope;
use crate::store::{Decision, LoginKind, PendingLogin, Store};

/// Codes that nobody has, of one front-end, in [`WINDOW`] (RFC 8628 §5.1). Whoever uses all of it up, with 1000 devices that
/// wait, finds one in about 300 days.
const MOST_WRONG: u32 = 60;
const WINDOW: Duration = Duration::from_secs(60);

/// The devices of front-ends.
pub struct Devices {
    store: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
    /// Those of each front-end, by its name: no more than were registered.
    wrong: Mutex<HashMap<String, WrongCodes>>,
}

/// A device that waits, as its front-end sees it. No `Debug`, which would put its code into a log.
#[derive(Serialize, ToSchema)]
pub struct WaitingDevice {
    /// Its client.
    client_id: String,
    /// The code as the device shows it, however it was typed.
    user_code: String,
    /// What it asks for.
    scope: String,
    /// Who its tokens are to be for, where it said so.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    resource: Vec<String>,
    /// Until when it waits, in seconds since the epoch.
    expires_at: Timestamp,
}

/// Codes of one front-end that were wrong, or may be: each counts until it was found.
#[derive(Clone, Copy)]
struct WrongCodes {
    since: Timestamp,
    count: u32,
}

/// A device that the caller may decide on.
struct Mine {
    login: PendingLogin,
    request: DeviceRequest,
    client: Arc<Client>,
}

impl Devices {
    /// Those in `store`.
    pub fn new(store: Arc<dyn Store>, clock: Arc<dyn Clock>, entropy: Arc<dyn Entropy>) -> Self {
        Self { store, clock, entropy, wrong: Mutex::default() }
    }

    /// What is asked for by the device of `user_code`, as somebody typed it.
    ///
    /// # Errors
    /// [`LoginError`].
    pub async fn read(&self, caller: &CallingFrontend, user_code: &str) -> Result<WaitingDevice, LoginError> {
        let Mine { login, request, .. } = self.find(caller, user_code).await?;
        let DeviceRequest { scope, resources } = request;
        let PendingLogin { client_id, expires_at, .. } = login;
        let user_code = UserCode::parse(user_code).ok_or(LoginError::Unknown)?.text();
        Ok(WaitingDevice { client_id, user_code, scope, resource: resources, expires_at })
    }

    /// Takes the word of `caller` that somebody logged in for the device.
    ///
    /// # Errors
    /// [`LoginError`]; nothing is decided then.
    pub async fn accept(&self, caller: &CallingFrontend, user_code: &str, json: &[u8]) -> Result<(), LoginError> {
        let Mine { login, request, client } = self.find(caller, user_code).await?;
        let now = self.clock.now();
        let terms = LoginTerms {
            client: &client,
            scope: Scope::parse(&request.scope).map_err(|_| OAuthError::ServerError)?,
            audience: match request.resources.as_slice() {
                [] => None,
                [one] => Some(Audience::One(one.clone())),
                several => Some(Audience::Several(several.to_vec())),
            },
            subject: None,
            authenticated_since: None,
        };
        let clients = &caller.registered().clients;
        let grant = Acceptance::parse(json)?.judged(terms, caller.frontend(), clients, now)?;
        let decision = Decision::Accepted {
            // Nobody ever has it: the device goes on polling by its own.
            code: Handle::new(self.entropy.as_ref()).id(),
            grant: serde_json::to_string(&grant).map_err(|_| OAuthError::ServerError)?,
            expires_at: login.expires_at,
        };
        decided(self.store.decide_login(login.handle, decision, now).await?)?;
        tracing::info!(frontend = caller.name, client = client.id, subject = grant.subject, "a device was accepted");
        Ok(())
    }

    /// Takes it from `caller` that the device gets nothing. It learns `access_denied`, whatever the error is.
    ///
    /// # Errors
    /// [`LoginError`]; nothing is decided then.
    pub async fn refuse(&self, caller: &CallingFrontend, user_code: &str, json: &[u8]) -> Result<(), LoginError> {
        let Mine { login, .. } = self.find(caller, user_code).await?;
        let Refusal { error, .. } = Refusal::parse(json)?;
        let decision = Decision::Refused { error: error.clone() };
        decided(self.store.decide_login(login.handle, decision, self.clock.now()).await?)?;
        tracing::info!(frontend = caller.name, client = login.client_id, error, "a device was refused");
        Ok(())
    }

    /// The device of `user_code`, where `caller` may decide on it. Another front-end's is as unknown as none: the code
    /// was typed there by mistake, or guessed.
    async fn find(&self, caller: &CallingFrontend, user_code: &str) -> Result<Mine, LoginError> {
        self.reserve(&caller.name)?;
        let found = self.look_up(caller, user_code).await;
        // What could not be looked up was no guess either.
        if !matches!(found, Err(LoginError::Unknown)) {
            self.release(&caller.name);
        }
        found
    }

    async fn look_up(&self, caller: &CallingFrontend, user_code: &str) -> Result<Mine, LoginError> {
        let user_code = UserCode::parse(user_code).ok_or(LoginError::Unknown)?;
        let login = self.store.login_by_user_code(user_code.id()).await?.ok_or(LoginError::Unknown)?;
        let now = self.clock.now();
        let is_mine = caller.check_client(&login.client_id).is_ok();
        if login.kind != LoginKind::Device || now >= login.expires_at || !is_mine {
            return Err(LoginError::Unknown);
        }
        if !login.is_open(now) {
            return Err(LoginError::Decided);
        }
        // It may have been registered otherwise since.
        let client = caller.registered().clients.find(&login.client_id);
        let client = client.filter(|client| client.may_use(GrantType::DeviceCode)).ok_or(LoginError::Unknown)?;
        let request = serde_json::from_str(&login.request).map_err(|error| {
            tracing::error!(%error, "a stored request cannot be read");
            OAuthError::ServerError
        })?;
        Ok(Mine { client: Arc::clone(client), login, request })
    }

    /// Counts a code of the front-end `name` as wrong until it was found, so that many at once are no more than many.
    fn reserve(&self, name: &str) -> Result<(), OAuthError> {
        let now = self.clock.now();
        let mut wrong = self.wrong.lock().unwrap_or_else(PoisonError::into_inner);
        let codes = wrong.entry(name.to_owned()).or_insert(WrongCodes { since: now, count: 0 });
        if now.since(codes.since) >= WINDOW {
            *codes = WrongCodes { since: now, count: 0 };
        }
        if codes.count >= MOST_WRONG {
            tracing::warn!(frontend = name, "a front-end has had too many wrong codes of devices");
            return Err(FrontendError::TooMany(WINDOW).into());
        }
        codes.count += 1;
        Ok(())
    }

    fn release(&self, name: &str) {
        let mut wrong = self.wrong.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(codes) = wrong.get_mut(name) {
            codes.count = codes.count.saturating_sub(1);
        }
    }
}
