//! Requests and answers, by reqwest.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use reqwest::header::RETRY_AFTER;
use reqwest::{RequestBuilder, Response, StatusCode, redirect};
use secrecy::{ExposeSecret as _, SecretString};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use url::Url;

use super::tls::{self, Identity};
use super::{Client, ClientError};

/// For an answer, where nothing else is said: what a mint allows itself.
const DEFAULT_LIMIT: Duration = Duration::from_secs(30);

/// Where a mint is.
pub(super) enum Place {
    Socket(PathBuf),
    Url(Url),
}

/// What a [`Client`] is made of.
#[must_use]
pub struct ClientBuilder {
    place: Place,
    token: Option<SecretString>,
    identity: Option<Identity>,
    authorities: Option<String>,
    time_limit: Duration,
}

impl ClientBuilder {
    pub(super) fn new(place: Place) -> Self {
        Self { place, token: None, identity: None, authorities: None, time_limit: DEFAULT_LIMIT }
    }

    /// Proves itself by `token`.
    pub fn token(self, token: SecretString) -> Self {
        Self { token: Some(token), ..self }
    }

    /// Proves itself by `certificates`, the first of which is that of `key`; both in PEM.
    pub fn certificate(self, certificates: impl Into<String>, key: SecretString) -> Self {
        Self { identity: Some(Identity { certificates: certificates.into(), key }), ..self }
    }

    /// Takes the mint's certificate from these authorities only, in PEM; otherwise from those of the system.
    pub fn authorities(self, pem: impl Into<String>) -> Self {
        Self { authorities: Some(pem.into()), ..self }
    }

    /// Waits so long for each answer, and no longer; 30 s otherwise.
    pub fn time_limit(self, time_limit: Duration) -> Self {
        Self { time_limit, ..self }
    }

    /// The client. It connects when it is first asked for something.
    ///
    /// # Errors
    /// [`ClientError::Settings`]: what was expected.
    pub fn build(self) -> Result<Client, ClientError> {
        let wrong = |message: &str| ClientError::Settings(message.to_owned());
        let builder = reqwest::Client::builder()
            .redirect(redirect::Policy::none())
            // What was sent may have been done: whether to repeat it, is the caller's to know.
            .retry(reqwest::retry::never())
            .no_proxy()
            .timeout(self.time_limit)
            .tls_backend_preconfigured(tls::config(self.authorities.as_deref(), self.identity.as_ref())?)
            .user_agent(concat!("mintkeep/", env!("CARGO_PKG_VERSION")));
        let (builder, base) = match self.place {
            Place::Socket(path) => (builder.unix_socket(path), Url::parse("http://localhost")),
            Place::Url(url) => {
                if url.scheme() != "https" && !(url.scheme() == "http" && is_loopback(&url)) {
                    return Err(wrong("expected an https URL (http is accepted for a loopback host only)"));
                }
                (builder, Ok(url))
            }
        };
        let base = base.map_err(|error| ClientError::Settings(error.to_string()))?;
        if base.cannot_be_a_base() || base.query().is_some() || base.fragment().is_some() {
            return Err(wrong("expected an URL without query and fragment"));
        }
        let http = builder.build().map_err(|error| ClientError::Settings(told(error)))?;
        Ok(Client(Connection { http, base, token: self.token.map(Arc::new) }))
    }
}

/// The way to a mint.
#[derive(Clone)]
pub(super) struct Connection {
    http: reqwest::Client,
    base: Url,
    token: Option<Arc<SecretString>>,
}

/// Not the token.
impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection").field("base", &self.base.as_str()).finish_non_exhaustive()
    }
}

/// RFC 6749 §5.2.
#[derive(Default, Deserialize)]
#[serde(default)]
struct ErrorBody {
    error: String,
    error_description: String,
}

impl Connection {
    /// What is at the path of these `segments`.
    pub(super) async fn get<Value: DeserializeOwned>(&self, segments: &[&str]) -> Result<Value, ClientError> {
        self.send(self.http.get(self.url(segments))).await
    }

    /// What comes of `body`, sent there.
    pub(super) async fn post<Value: DeserializeOwned>(
        &self,
        segments: &[&str],
        body: &impl Serialize,
    ) -> Result<Value, ClientError> {
        let body = serde_json::to_vec(body).map_err(|error| ClientError::Settings(error.to_string()))?;
        let request = self.http.post(self.url(segments)).header("content-type", "application/json").body(body);
        self.send(request).await
    }

    /// Each segment stays one, whatever is in it.
    fn url(&self, segments: &[&str]) -> Url {
        let mut url = self.base.clone();
        if let Ok(mut path) = url.path_segments_mut() {
            path.pop_if_empty().extend(segments);
        }
        url
    }

    async fn send<Value: DeserializeOwned>(&self, request: RequestBuilder) -> Result<Value, ClientError> {
        let request = match &self.token {
            Some(token) => request.bearer_auth(token.expose_secret()),
            None => request,
        };
        let response = request.send().await.map_err(|error| ClientError::Unreachable(told(error)))?;
        let (status, retry_after) = (response.status(), retry_after(&response));
        let body = response.bytes().await.map_err(|error| ClientError::Unreachable(told(error)))?;
        if status.is_success() {
            // Its own text would repeat what it read, which may be a token.
            let wrong = |error: serde_json::Error| ClientError::Answer(format!("column {}", error.column()));
            return serde_json::from_slice(&body).map_err(wrong);
        }
        if matches!(status, StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE) {
            return Err(ClientError::Unavailable { retry_after });
        }
        let ErrorBody { error, error_description } = serde_json::from_slice(&body).unwrap_or_default();
        Err(ClientError::Refused { status: status.as_u16(), error, description: error_description })
    }
}

/// A second, where the answer says nothing.
fn retry_after(response: &Response) -> Duration {
    let value = response.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok());
    Duration::from_secs(value.and_then(|value| value.parse().ok()).unwrap_or(1))
}

fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(url::Host::Domain(name)) => name == "localhost",
        Some(url::Host::Ipv4(address)) => address.is_loopback(),
        Some(url::Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}

/// `error` with its causes, and without the URL, where a handle may be.
fn told(error: reqwest::Error) -> String {
    let error = error.without_url();
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(&error);
    while let Some(inner) = cause {
        text = format!("{text}: {inner}");
        cause = inner.source();
    }
    text
}
