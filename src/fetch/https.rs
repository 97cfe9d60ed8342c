//! Documents over HTTPS, by reqwest.

use std::error::Error as _;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::header::{ACCEPT, CONTENT_TYPE, HeaderMap, HeaderValue};
use reqwest::{Client, ClientBuilder, StatusCode, redirect};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::{ClientConfig, RootCertStore};
use url::{Host, Url};

use super::address::Reach;
use super::{Delivering, DocumentSource, FetchError, Fetching, FormDelivery};

/// The longest document that is read, in bytes.
const MAX_DOCUMENT_LENGTH: usize = 256 * 1024;

/// How documents are fetched.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct HttpsSettings {
    /// A PEM file of authorities that are trusted besides those of the system.
    pub authorities: Option<PathBuf>,
    /// Whether hosts may be at loopback, private or shared addresses. Link-local ones, where metadata services are,
    /// never may.
    pub allow_private: bool,
    /// For all of a fetch, from the name to the last byte.
    pub time_limit: Duration,
}

impl Default for HttpsSettings {
    fn default() -> Self {
        Self { authorities: None, allow_private: false, time_limit: Duration::from_secs(5) }
    }
}

/// Fetches over HTTPS, and by nothing else: no redirects, no proxies, no connection that is kept. What is delivered to
/// this machine itself may go in the clear.
pub struct HttpsSource {
    client: Client,
    in_the_clear: Client,
    places: Places,
    time_limit: Duration,
}

impl HttpsSource {
    /// A source with these settings.
    ///
    /// # Errors
    /// What is wrong with the authorities.
    pub fn new(settings: &HttpsSettings) -> Result<Self, String> {
        let places = Places { allow_private: settings.allow_private };
        let tls = verifying(settings.authorities.as_deref())?;
        let client = build(places, |builder| builder.tls_backend_preconfigured(tls.clone()).https_only(true))?;
        let in_the_clear = build(Loopback, |builder| builder.tls_backend_preconfigured(tls.clone()))?;
        Ok(Self { client, in_the_clear, places, time_limit: settings.time_limit })
    }

    async fn deliver(&self, url: &Url, form: String) -> Result<(), FetchError> {
        let client = if is_in_the_clear(url) { &self.in_the_clear } else { self.checked(url)? };
        let request = client.post(url.clone()).header(CONTENT_TYPE, "application/x-www-form-urlencoded").body(form);
        let status = request.send().await.map_err(failure)?.status();
        if status.is_success() { Ok(()) } else { Err(FetchError::Status(status.as_u16())) }
    }

    /// The client that connects to `url`, where it may.
    fn checked(&self, url: &Url) -> Result<&Client, FetchError> {
        // A connector asks no resolver for an address that is written out.
        let address = match url.host() {
            Some(Host::Ipv4(address)) => Some(IpAddr::from(address)),
            Some(Host::Ipv6(address)) => Some(IpAddr::from(address)),
            Some(Host::Domain(_)) => None,
            None => return Err(FetchError::Url),
        };
        if url.scheme() != "https" || !url.username().is_empty() || url.password().is_some() {
            return Err(FetchError::Url);
        }
        if address.is_some_and(|address| !self.places.allow(address)) {
            return Err(FetchError::Address);
        }
        Ok(&self.client)
    }

    async fn body(&self, url: &Url) -> Result<Vec<u8>, FetchError> {
        let mut response = self.checked(url)?.get(url.clone()).send().await.map_err(failure)?;
        if response.status() != StatusCode::OK {
            return Err(FetchError::Status(response.status().as_u16()));
        }
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(failure)? {
            if body.len() + chunk.len() > MAX_DOCUMENT_LENGTH {
                return Err(FetchError::TooLong { most: MAX_DOCUMENT_LENGTH });
            }
            body.extend_from_slice(&chunk);
        }
        Ok(body)
    }
}

impl DocumentSource for HttpsSource {
    fn fetch<'a>(&'a self, url: &'a Url) -> Fetching<'a> {
        Box::pin(async move {
            tokio::time::timeout(self.time_limit, self.body(url)).await.unwrap_or(Err(FetchError::TooSlow))
        })
    }
}

impl FormDelivery for HttpsSource {
    fn post<'a>(&'a self, url: &'a Url, form: String) -> Delivering<'a> {
        Box::pin(async move {
            tokio::time::timeout(self.time_limit, self.deliver(url, form)).await.unwrap_or(Err(FetchError::TooSlow))
        })
    }
}

fn build(
    resolver: impl Resolve + 'static,
    secured: impl FnOnce(ClientBuilder) -> ClientBuilder,
) -> Result<Client, String> {
    let accept = HeaderValue::from_static("application/json, application/jwk-set+json");
    secured(Client::builder())
        .redirect(redirect::Policy::none())
        .retry(reqwest::retry::never())
        .no_proxy()
        // Each fetch asks for the address again and checks it: an old connection would be to an old one.
        .pool_max_idle_per_host(0)
        .dns_resolver(Arc::new(resolver))
        .user_agent("mintkeep")
        .default_headers(HeaderMap::from_iter([(ACCEPT, accept)]))
        .build()
        .map_err(|error| told(&error))
}

/// Whether `url` is on this machine, and needs no TLS.
fn is_in_the_clear(url: &Url) -> bool {
    let is_loopback = match url.host() {
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        // Whatever it means, it is looked up by [`Loopback`].
        Some(Host::Domain(name)) => name == "localhost",
        None => false,
    };
    url.scheme() == "http" && is_loopback && url.username().is_empty() && url.password().is_none()
}

/// The resolver of connections in the clear: nothing but this machine.
#[derive(Clone, Copy)]
struct Loopback;

impl Resolve for Loopback {
    fn resolve(&self, name: Name) -> Resolving {
        Box::pin(async move {
            let found = tokio::net::lookup_host((name.as_str(), 0)).await?;
            let allowed: Vec<SocketAddr> = found.filter(|found| found.ip().is_loopback()).collect();
            if allowed.is_empty() { Err(NoPlace.into()) } else { Ok(Box::new(allowed.into_iter()) as Addrs) }
        })
    }
}

/// The resolver of the connections: what it has not checked is not connected to, so a name that means another address
/// by now (DNS rebinding) gains nothing.
#[derive(Clone, Copy)]
struct Places {
    allow_private: bool,
}

#[derive(Debug, thiserror::Error)]
#[error("no address that may be connected to")]
struct NoPlace;

impl Places {
    fn allow(self, address: IpAddr) -> bool {
        match Reach::of(address) {
            Reach::Public => true,
            Reach::Private => self.allow_private,
            Reach::Never => false,
        }
    }
}

impl Resolve for Places {
    fn resolve(&self, name: Name) -> Resolving {
        let places = *self;
        Box::pin(async move {
            // The port comes from the URL.
            let found = tokio::net::lookup_host((name.as_str(), 0)).await?;
            let allowed: Vec<SocketAddr> = found.filter(|found| places.allow(found.ip())).collect();
            if allowed.is_empty() { Err(NoPlace.into()) } else { Ok(Box::new(allowed.into_iter()) as Addrs) }
        })
    }
}

fn failure(error: reqwest::Error) -> FetchError {
    let mut cause = error.source();
    while let Some(inner) = cause {
        if inner.is::<NoPlace>() {
            return FetchError::Address;
        }
        cause = inner.source();
    }
    FetchError::Unreachable(told(&error.without_url()))
}

/// `error` with its causes: reqwest's own text says of most only that there is one.
fn told(error: &reqwest::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        text = format!("{text}: {inner}");
        cause = inner.source();
    }
    text.replace('\n', "; ")
}

fn verifying(authorities: Option<&Path>) -> Result<ClientConfig, String> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if let Some(path) = authorities {
        let found = CertificateDer::pem_file_iter(path)
            .and_then(Iterator::collect::<Result<Vec<_>, _>>)
            .map_err(|error| format!("{}: {error}", path.display()))?;
        if let (0, _) = roots.add_parsable_certificates(found) {
            return Err(format!("{} has no certificate of an authority", path.display()));
        }
    }
    if roots.is_empty() {
        return Err("the system has no certificate of an authority; name a PEM file with some".to_owned());
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let builder = builder.map_err(|error| error.to_string())?;
    Ok(builder.with_root_certificates(roots).with_no_client_auth())
}
