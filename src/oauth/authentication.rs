//! Client authentication (RFC 6749 §2.3): presented credentials in, a proven client out.

mod assertion;
mod certificate;
mod credentials;

use std::borrow::Cow;
use std::sync::Arc;

use subtle::Choice;

use self::assertion::PresentedAssertion;
use self::credentials::PresentedCredentials;
use super::OAuthError;
use super::certificate::PresentedCertificate;
use super::client::{Client, ClientAuthentication, SecretTransport};
use super::error::UNAVAILABLE;
use super::key_sets::{KeyPlace, KeySets};
use super::once::{OnceError, UsedOnce};
use super::registration::{SelfRegistered, is_client_id};
use super::registrations::{CurrentRegistrations, Registrations};
use super::remote_keys::RemoteKeysError;
use super::request::PresentedRequest;
use super::resource_server::ResourceServer;
use super::secret::SecretHash;
use crate::clock::Clock;
use crate::store::Store;

pub use self::assertion::ASSERTION_TYPE;
pub use self::certificate::CertificateSubject;
pub(super) use self::certificate::is_registered;
pub use self::credentials::PresentedBasic;

/// Said whatever was wrong: which clients exist, and how they prove themselves, is not told.
const FAILED: OAuthError = OAuthError::InvalidClient("client authentication failed");

/// A client that proved itself, as far as it is registered to. Only [`Authenticator::client`] makes one.
#[derive(Clone, Debug)]
pub struct AuthenticatedClient {
    client: Arc<Client>,
    registered: Arc<Registrations>,
}

impl AuthenticatedClient {
    /// The registration.
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// All that was registered when it came: what else its request needs is from there, so that no request meets
    /// halves of two configurations.
    pub fn registered(&self) -> Arc<Registrations> {
        Arc::clone(&self.registered)
    }

    /// The registration, to keep.
    pub fn into_client(self) -> Arc<Client> {
        self.client
    }
}

/// Has clients and resource servers prove themselves.
pub struct Authenticator {
    registrations: CurrentRegistrations,
    self_registered: SelfRegistered,
    /// The issuer identifier, which assertions have to be for.
    issuer: String,
    used: Arc<UsedOnce>,
    clock: Arc<dyn Clock>,
}

impl Authenticator {
    /// For those that are registered with `issuer` at the time of each request, by the operator or in `store`. Assertions
    /// are `used` once.
    pub fn new(
        registrations: CurrentRegistrations,
        issuer: String,
        used: Arc<UsedOnce>,
        store: Arc<dyn Store>,
        clock: Arc<dyn Clock>,
    ) -> Self {
        let self_registered = SelfRegistered::new(store, Arc::clone(&clock));
        Self { registrations, self_registered, issuer, used, clock }
    }

    /// The client that the request's credentials prove.
    ///
    /// # Errors
    /// [`OAuthError::InvalidRequest`] where credentials are in two places or name two clients;
    /// [`OAuthError::InvalidClient`] where they prove nothing, for secrets in the same time for every reason.
    pub async fn client(&self, request: &PresentedRequest<'_>) -> Result<AuthenticatedClient, OAuthError> {
        let credentials = PresentedCredentials::of(request)?;
        let registered = self.registrations.load();
        let listed = registered.clients.find(credentials.id()).cloned();
        let found = match listed {
            Some(_) => None,
            None => self.self_registered.find(registered.registration.as_deref(), credentials.id()).await?,
        };
        let client = listed.or(found.as_ref().map(|found| Arc::clone(&found.client)));
        let authentication = client.as_ref().map(|client| &client.authentication);
        self.prove(request, &credentials, &registered.key_sets, authentication).await?;
        if let Some(found) = &found {
            self.self_registered.note_use(found).await;
        }
        client.map(|client| AuthenticatedClient { client, registered }).ok_or(FAILED)
    }

    /// Whether `client_id` is of a client that registered itself, and is none any more.
    ///
    /// # Errors
    /// What the store failed by.
    pub async fn has_ended(&self, client_id: &str) -> Result<bool, OAuthError> {
        let registered = self.registrations.load();
        if !is_client_id(client_id) || registered.clients.find(client_id).is_some() {
            return Ok(false);
        }
        let found = self.self_registered.find(registered.registration.as_deref(), client_id).await?;
        Ok(found.is_none())
    }

    /// The resource server that the request's credentials prove.
    ///
    /// # Errors
    /// As [`Self::client`].
    pub async fn resource_server(&self, request: &PresentedRequest<'_>) -> Result<Arc<ResourceServer>, OAuthError> {
        let credentials = PresentedCredentials::of(request)?;
        let registered = self.registrations.load();
        let server = registered.resource_servers.iter().find(|server| server.id == credentials.id());
        self.prove(request, &credentials, &registered.key_sets, server.map(|server| &server.authentication)).await?;
        server.cloned().ok_or(FAILED)
    }

    /// Whether `credentials` prove what was registered, if anything was.
    async fn prove(
        &self,
        request: &PresentedRequest<'_>,
        credentials: &PresentedCredentials<'_>,
        key_sets: &KeySets,
        registered: Option<&ClientAuthentication>,
    ) -> Result<(), OAuthError> {
        let is_proven = match credentials {
            PresentedCredentials::Name(_) => self.is_enough(registered, request.certificate.as_deref()),
            PresentedCredentials::Secret { secret, transport, .. } => proves(registered, secret, *transport),
            PresentedCredentials::Assertion { id, assertion } => match registered {
                Some(ClientAuthentication::PrivateKeyJwt { keys }) => {
                    self.prove_by(assertion, id, key_sets, keys).await?
                }
                _ => false,
            },
        };
        if is_proven { Ok(()) } else { Err(FAILED) }
    }

    /// Whether a mere name is enough, with the certificate of the connection.
    fn is_enough(&self, registered: Option<&ClientAuthentication>, certificate: Option<&PresentedCertificate>) -> bool {
        match registered {
            Some(ClientAuthentication::None) => true,
            Some(ClientAuthentication::TlsClientAuth { subject }) => {
                certificate.is_some_and(|certificate| subject.is_of(certificate))
            }
            Some(ClientAuthentication::SelfSignedTlsClientAuth { certificates }) => {
                certificate.is_some_and(|certificate| is_registered(certificate, certificates, self.clock.now()))
            }
            Some(ClientAuthentication::Secret { .. } | ClientAuthentication::PrivateKeyJwt { .. }) | None => false,
        }
    }

    /// Whether `assertion` proves that it is `client_id`'s, who holds one of `keys`; uses it up.
    async fn prove_by(
        &self,
        assertion: &PresentedAssertion<'_>,
        client_id: &str,
        key_sets: &KeySets,
        keys: &KeyPlace,
    ) -> Result<bool, OAuthError> {
        let refused = |reason: &dyn std::fmt::Display| {
            tracing::info!(client = client_id, %reason, "a client assertion was refused");
            false
        };
        let (jti, ends) = match assertion.check(client_id, &self.issuer, self.clock.now()) {
            Ok(checked) => checked,
            Err(flaw) => return Ok(refused(&flaw)),
        };
        if let Err(error) = key_sets.verify(keys, &assertion.jws).await {
            refused(&error);
            return match error {
                // The client may be who it says.
                RemoteKeysError::Unavailable => Err(UNAVAILABLE),
                RemoteKeysError::NotVerified(_) => Ok(false),
            };
        }
        match self.used.claim("client_assertion", client_id.as_bytes(), jti, ends).await {
            Ok(()) => Ok(true),
            Err(error @ OnceError::Replayed) => Ok(refused(&error)),
            Err(error) => Err(error.into()),
        }
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
        Some(
            ClientAuthentication::None
            | ClientAuthentication::PrivateKeyJwt { .. }
            | ClientAuthentication::TlsClientAuth { .. }
            | ClientAuthentication::SelfSignedTlsClientAuth { .. },
        )
        | None => (&nobody, false),
    };
    let matches = hashes.iter().fold(Choice::from(0), |any, hash| any | hash.matches(&presented));
    bool::from(matches) && usable
}

/// Whom the request's credentials name, proven or not; `None` where they name nobody, or two.
pub fn claimed_id<'a>(request: &'a PresentedRequest<'_>) -> Option<Cow<'a, str>> {
    PresentedCredentials::of(request).ok().map(PresentedCredentials::into_id)
}
