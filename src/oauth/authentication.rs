//! Client authentication (RFC 6749 §2.3): presented credentials in, a proven client out.

mod credentials;

use std::borrow::Cow;
use std::sync::Arc;

use subtle::Choice;

use self::credentials::PresentedCredentials;
use super::OAuthError;
use super::client::{Client, ClientAuthentication, SecretTransport};
use super::registrations::CurrentRegistrations;
use super::request::PresentedRequest;
use super::resource_server::ResourceServer;
use super::secret::SecretHash;

pub use self::credentials::PresentedBasic;

/// Said whatever was wrong: which clients exist, and how they prove themselves, is not told.
const FAILED: OAuthError = OAuthError::InvalidClient("client authentication failed");

/// A client that proved itself, as far as it is registered to. Only [`Authenticator::client`] makes one.
#[derive(Clone, Debug)]
pub struct AuthenticatedClient(Arc<Client>);

impl AuthenticatedClient {
    /// The registration.
    pub fn client(&self) -> &Client {
        &self.0
    }

    /// The registration, to keep.
    pub fn into_client(self) -> Arc<Client> {
        self.0
    }
}

/// Has clients and resource servers prove themselves.
pub struct Authenticator {
    registrations: CurrentRegistrations,
}

impl Authenticator {
    /// For those that are registered at the time of each request.
    pub fn new(registrations: CurrentRegistrations) -> Self {
        Self { registrations }
    }

    /// The client that the request's credentials prove.
    ///
    /// # Errors
    /// [`OAuthError::InvalidRequest`] where credentials are in two places or name two clients;
    /// [`OAuthError::InvalidClient`] where they prove nothing, for secrets in the same time for every reason.
    pub async fn client(&self, request: &PresentedRequest<'_>) -> Result<AuthenticatedClient, OAuthError> {
        let credentials = PresentedCredentials::of(request)?;
        let registered = self.registrations.load();
        let client = registered.clients.find(credentials.id());
        self.prove(&credentials, client.map(|client| &client.authentication))?;
        client.map(|client| AuthenticatedClient(Arc::clone(client))).ok_or(FAILED)
    }

    /// The resource server that the request's credentials prove.
    ///
    /// # Errors
    /// As [`Self::client`].
    pub async fn resource_server(&self, request: &PresentedRequest<'_>) -> Result<Arc<ResourceServer>, OAuthError> {
        let credentials = PresentedCredentials::of(request)?;
        let registered = self.registrations.load();
        let server = registered.resource_servers.iter().find(|server| server.id == credentials.id());
        self.prove(&credentials, server.map(|server| &server.authentication))?;
        server.cloned().ok_or(FAILED)
    }

    /// Whether `credentials` prove what was registered, if anything was.
    fn prove(
        &self,
        credentials: &PresentedCredentials<'_>,
        registered: Option<&ClientAuthentication>,
    ) -> Result<(), OAuthError> {
        let is_proven = match credentials {
            PresentedCredentials::Name(_) => registered.is_some_and(ClientAuthentication::is_none),
            PresentedCredentials::Secret { secret, transport, .. } => proves(registered, secret, *transport),
        };
        if is_proven { Ok(()) } else { Err(FAILED) }
    }
}

fn proves(registered: Option<&ClientAuthentication>, secret: &str, used: SecretTransport) -> bool {
    let presented = SecretHash::of(secret);
    // Nobody's secret costs the same comparison as somebody's.
    let nobody = [SecretHash([0; 32])];
    let (hashes, usable): (&[SecretHash], bool) = match registered {
        Some(ClientAuthentication::Secret { transport, hashes }) => {
            (hashes, *transport == used || *transport == SecretTransport::BasicOrPost)
        }
        Some(ClientAuthentication::None) | None => (&nobody, false),
    };
    let matches = hashes.iter().fold(Choice::from(0), |any, hash| any | hash.matches(&presented));
    bool::from(matches) && usable
}

/// Whom the request's credentials name, proven or not; `None` where they name nobody, or two.
pub fn claimed_id<'a>(request: &'a PresentedRequest<'_>) -> Option<Cow<'a, str>> {
    PresentedCredentials::of(request).ok().map(PresentedCredentials::into_id)
}
