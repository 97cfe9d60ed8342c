//! The device authorization endpoint (RFC 8628 §3.1, §3.2).

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use url::Url;
use utoipa::ToSchema;

use super::user_code::UserCode;
use crate::clock::Clock;
use crate::entropy::Entropy;
use crate::oauth::OAuthError;
use crate::oauth::authentication::Authenticator;
use crate::oauth::authorization::login_scope;
use crate::oauth::beginnings::Beginnings;
use crate::oauth::client::{Client, GrantType};
use crate::oauth::error::UNAVAILABLE;
use crate::oauth::handle::Handle;
use crate::oauth::registrations::Registrations;
use crate::oauth::request::PresentedRequest;
use crate::oauth::source::Source;
use crate::oauth::target::Target;
use crate::store::login::DevicePolling;
use crate::store::{BegunLogin, LoginKind, PendingLogin, Store};

/// How long a device waits for its person.
const LIFETIME: Duration = Duration::from_secs(600);

/// How many logins wait at a time, at the most: anybody can begin one.
const MOST: u32 = 50_000;

/// How often another code is drawn where one is taken: with as many as may wait, once in 500,000 times.
const ATTEMPTS: u32 = 4;

/// Begins the logins of devices.
pub struct DeviceEndpoint {
    /// Has their clients prove themselves.
    pub authenticator: Arc<Authenticator>,
    /// What sources have begun.
    pub beginnings: Arc<Beginnings>,
    /// Where requests wait.
    pub store: Arc<dyn Store>,
    /// The clock.
    pub clock: Arc<dyn Clock>,
    /// What codes are made of.
    pub entropy: Arc<dyn Entropy>,
}

/// What a device asked for. It is what the store has, in JSON.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct DeviceRequest {
    /// What it asks for, within what the client may have: values separated by spaces.
    pub scope: String,
    /// Who the tokens are to be for (RFC 8707 §2.1); the client's own audience where there is none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub resources: Vec<String>,
}

/// What a device is told (RFC 8628 §3.2).
#[derive(Serialize, ToSchema)]
pub struct DeviceAuthorization {
    /// What it polls by.
    pub device_code: String,
    /// What its person types: `XXXX-XXXX`.
    pub user_code: String,
    /// Where.
    pub verification_uri: String,
    /// The same, with the code in it.
    pub verification_uri_complete: String,
    /// Seconds until both codes end.
    pub expires_in: u64,
    /// Seconds between two polls.
    pub interval: u32,
}

impl DeviceEndpoint {
    /// Begins the login that a device asks for from `source`. Also a device that has a secret counts: what is in many hands
    /// is none.
    ///
    /// # Errors
    /// [`OAuthError`], as the token endpoint has them, and [`OAuthError::TooManyBegun`].
    pub async fn begin(
        &self,
        request: &PresentedRequest<'_>,
        source: Option<Source>,
    ) -> Result<DeviceAuthorization, OAuthError> {
        let client = self.authenticator.client(request).await?;
        let registered = client.registered();
        let client = client.into_client();
        if !client.may_use(GrantType::DeviceCode) {
            return Err(OAuthError::UnauthorizedClient("the client may not use this grant"));
        }
        let page = device_page(&registered, &client)?;
        let parameters = &request.parameters;
        let target = Target::of_authorization(&client, parameters, &registered.resources)?;
        let asked = DeviceRequest {
            scope: login_scope(&client, &target.scope, parameters)?,
            resources: match parameters.find_all("resource").next() {
                None => Vec::new(),
                Some(_) => target.audience.values().to_vec(),
            },
        };
        self.beginnings.admit(source)?;
        let (device_code, user_code) = self.keep(&client, &asked).await?;
        let mut complete = page.clone();
        complete.query_pairs_mut().append_pair("user_code", &user_code.text());
        Ok(DeviceAuthorization {
            device_code: device_code.text(),
            user_code: user_code.text(),
            verification_uri: page.to_string(),
            verification_uri_complete: complete.into(),
            expires_in: LIFETIME.as_secs(),
            interval: DevicePolling::STEP_SECONDS,
        })
    }

    async fn keep(&self, client: &Client, asked: &DeviceRequest) -> Result<(Handle, UserCode), OAuthError> {
        let json = serde_json::to_string(asked).map_err(|_| OAuthError::ServerError)?;
        for _ in 0..ATTEMPTS {
            let (device_code, user_code) = (Handle::new(&*self.entropy), UserCode::new(&*self.entropy));
            let (kind, now) = (LoginKind::Device, self.clock.now());
            let login = PendingLogin::new(kind, device_code.id(), client.id.clone(), json.clone(), now);
            let login = PendingLogin { user_code: Some(user_code.id()), ..login.lasting(LIFETIME) };
            match self.store.begin_login(login, MOST).await? {
                BegunLogin::Begun => return Ok((device_code, user_code)),
                BegunLogin::UserCodeTaken => {}
                BegunLogin::Full => {
                    tracing::warn!("as many logins wait as may wait: refusing");
                    return Err(UNAVAILABLE);
                }
            }
        }
        Err(OAuthError::ServerError)
    }
}

/// The page on which people type the codes of `client`'s devices.
fn device_page<'a>(registered: &'a Registrations, client: &Client) -> Result<&'a Url, OAuthError> {
    let frontend = registered.frontends.of_client(&client.id);
    let page = frontend.and_then(|frontend| frontend.pages.device.as_ref());
    page.ok_or(OAuthError::UnauthorizedClient("no front-end has a page for the devices of this client"))
}
