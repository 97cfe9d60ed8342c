//! The registration endpoint (RFC 7591 §3) and the client configuration endpoint (RFC 7592 §2).

use std::sync::Arc;

use secrecy::{ExposeSecret as _, SecretString};

use super::document::Registration;
use super::information::ClientInformation;
use super::metadata::{ClientMetadata, Proof};
use super::presented::PresentedMetadata;
use super::rules::RegistrationRules;
use super::{is_client_id, new_client_id};
use crate::clock::{Clock, Timestamp};
use crate::entropy::Entropy;
use crate::oauth::OAuthError;
use crate::oauth::error::UNAVAILABLE;
use crate::oauth::registrations::CurrentRegistrations;
use crate::oauth::secret::{self, SecretHash};
use crate::store::{AddedClient, Store};

/// Said whatever was wrong: which clients exist is not told.
const REFUSED: OAuthError = OAuthError::InvalidToken("expected a bearer token that is good here");

/// Clients that are looked at in one step.
const PAGE: u32 = 1000;

/// Answers registrations, where the operator allows some.
pub struct RegistrationEndpoint {
    registrations: CurrentRegistrations,
    store: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
    /// Its own URL, as clients know it.
    url: String,
}

/// The endpoint at a moment in which registration is on.
pub struct OpenRegistration<'a> {
    endpoint: &'a RegistrationEndpoint,
    rules: Arc<RegistrationRules>,
}

impl RegistrationEndpoint {
    /// An endpoint at `url`, which has no slash at its end.
    pub fn new(
        registrations: CurrentRegistrations,
        store: Arc<dyn Store>,
        clock: Arc<dyn Clock>,
        entropy: Arc<dyn Entropy>,
        url: String,
    ) -> Self {
        Self { registrations, store, clock, entropy, url }
    }

    /// The endpoint, where registration is on.
    pub fn open(&self) -> Option<OpenRegistration<'_>> {
        let rules = self.registrations.load().registration.clone()?;
        Some(OpenRegistration { endpoint: self, rules })
    }
}

impl OpenRegistration<'_> {
    /// Registers the client that `body` describes, for who holds an initial access token.
    ///
    /// # Errors
    /// [`OAuthError::InvalidToken`], [`OAuthError::InvalidRequest`], [`OAuthError::InvalidClientMetadata`];
    /// [`OAuthError::TemporarilyUnavailable`] also where there are as many clients as may be.
    pub async fn register(&self, token: Option<&str>, body: &[u8]) -> Result<ClientInformation, OAuthError> {
        if !token.is_some_and(|token| self.rules.is_initial_access_token(token)) {
            return Err(REFUSED);
        }
        let metadata = PresentedMetadata::parse(body)?.checked(&self.rules)?;
        let entropy = self.endpoint.entropy.as_ref();
        let secret = needs_secret(&metadata).then(|| secret::generate(entropy));
        let token = secret::generate_registration_token(entropy);
        let registration = Registration {
            client_id: new_client_id(entropy),
            created_at: self.endpoint.clock.now(),
            last_used_at: None,
            metadata,
            secret: secret.as_ref().map(hash),
            token: hash(&token),
        };
        self.add(&registration).await?;
        let method = registration.metadata.token_endpoint_auth_method.as_str();
        tracing::info!(client = registration.client_id, method, "a client registered itself");
        Ok(self.information(registration, secret, token))
    }

    /// What is registered of `client_id`, for who holds its registration access token.
    ///
    /// # Errors
    /// [`OAuthError::InvalidToken`], and what the store failed by.
    pub async fn read(&self, client_id: &str, token: Option<&str>) -> Result<ClientInformation, OAuthError> {
        let (registration, token) = self.prove(client_id, token).await?;
        Ok(self.information(registration, None, token))
    }

    /// Puts what `body` describes in the place of what is registered of `client_id`. It keeps its secret where it goes on
    /// proving itself by one, and its registration access token: who does not get our answer has not lost it.
    ///
    /// # Errors
    /// As [`Self::register`]; [`OAuthError::InvalidRequest`] also where the body is of another client, or has another
    /// secret.
    pub async fn replace(
        &self,
        client_id: &str,
        token: Option<&str>,
        body: &[u8],
    ) -> Result<ClientInformation, OAuthError> {
        let (known, token) = self.prove(client_id, token).await?;
        let presented = PresentedMetadata::parse_update(body)?;
        if presented.client_id.as_deref() != Some(client_id) {
            return Err(OAuthError::InvalidRequest("client_id: expected that of the client (RFC 7592 §2.2)"));
        }
        let is_its = |secret| known.secret.is_some_and(|known| bool::from(known.matches(&hash(secret))));
        if !presented.client_secret.as_ref().is_none_or(is_its) {
            return Err(OAuthError::InvalidRequest("client_secret: expected that of the client, or none"));
        }
        let metadata = presented.checked(&self.rules)?;
        let (secret, new) = match (needs_secret(&metadata), known.secret) {
            (false, _) => (None, None),
            (true, Some(known)) => (Some(known), None),
            (true, None) => {
                let new = secret::generate(self.endpoint.entropy.as_ref());
                (Some(hash(&new)), Some(new))
            }
        };
        let registration = Registration { metadata, secret, ..known };
        let expected = registration.token.0;
        // Somebody may have removed it meanwhile.
        if !self.endpoint.store.replace_client(expected, registration.clone().into_record()).await? {
            return Err(REFUSED);
        }
        let method = registration.metadata.token_endpoint_auth_method.as_str();
        tracing::info!(client = client_id, method, "a client changed its registration");
        Ok(self.information(registration, new, token))
    }

    /// Ends `client_id`, and all that was granted to it.
    ///
    /// # Errors
    /// As [`Self::read`].
    pub async fn remove(&self, client_id: &str, token: Option<&str>) -> Result<(), OAuthError> {
        let (known, _) = self.prove(client_id, token).await?;
        let now = self.endpoint.clock.now();
        if !self.endpoint.store.remove_client(known.client_id, known.token.0, now).await? {
            return Err(REFUSED);
        }
        tracing::info!(client = client_id, "a client ended its registration");
        Ok(())
    }

    /// The registration of `client_id`, where `token` is that of it; in the same way for nobody's.
    async fn prove(&self, client_id: &str, token: Option<&str>) -> Result<(Registration, SecretString), OAuthError> {
        let token = token.ok_or(REFUSED)?;
        let record = match is_client_id(client_id) {
            true => self.endpoint.store.client(client_id.to_owned()).await?,
            false => None,
        };
        let expected = SecretHash(record.as_ref().map_or([0; 32], |record| record.token_hash));
        let is_its = bool::from(expected.matches(&SecretHash::of(token)));
        let record = record.filter(|_| is_its).ok_or(REFUSED)?;
        if self.rules.has_expired(record.created_at, self.endpoint.clock.now()) {
            return Err(REFUSED);
        }
        let registration = Registration::of(record).map_err(|error| {
            tracing::error!(client = client_id, %error, "a registration is not told");
            OAuthError::ServerError
        })?;
        Ok((registration, token.into()))
    }

    async fn add(&self, registration: &Registration) -> Result<(), OAuthError> {
        let (store, now) = (self.endpoint.store.as_ref(), registration.created_at);
        let add = || store.add_client(registration.clone().into_record(), self.rules.max_clients);
        let added = match add().await? {
            AddedClient::Full if self.remove_expired(now).await? > 0 => add().await?,
            added => added,
        };
        match added {
            AddedClient::Added => Ok(()),
            AddedClient::Full => {
                tracing::warn!(max_clients = self.rules.max_clients, "as many clients are registered as may be");
                Err(UNAVAILABLE)
            }
            AddedClient::Exists => {
                tracing::error!(client = registration.client_id, "a new client has the id of another one");
                Err(OAuthError::ServerError)
            }
        }
    }

    /// Removes the clients that have expired at `now`; says how many. They are nobody's loss, and take room.
    async fn remove_expired(&self, now: Timestamp) -> Result<usize, OAuthError> {
        let store = self.endpoint.store.as_ref();
        let (mut removed, mut after) = (0, None);
        loop {
            let clients = store.clients(after.take(), PAGE).await?;
            for client in clients.iter().filter(|client| self.rules.has_expired(client.created_at, now)) {
                removed += usize::from(store.remove_client(client.client_id.clone(), client.token_hash, now).await?);
            }
            match clients.last() {
                Some(last) if clients.len() == PAGE as usize => after = Some(last.client_id.clone()),
                _ => break,
            }
        }
        if removed > 0 {
            tracing::info!(removed, "removed clients whose registrations expired");
        }
        Ok(removed)
    }

    fn information(
        &self,
        registration: Registration,
        new_secret: Option<SecretString>,
        registration_access_token: SecretString,
    ) -> ClientInformation {
        let never = Timestamp::from_unix_seconds(0);
        let expires_at = self.rules.expires_at(registration.created_at).unwrap_or(never);
        ClientInformation {
            registration_client_uri: format!("{}/{}", self.endpoint.url, registration.client_id),
            client_id: registration.client_id,
            client_secret: new_secret,
            client_id_issued_at: registration.created_at,
            client_secret_expires_at: registration.secret.map(|_| expires_at),
            registration_access_token,
            metadata: self.rules.cut_down(registration.metadata),
        }
    }
}

fn needs_secret(metadata: &ClientMetadata) -> bool {
    matches!(metadata.proof(), Ok(Proof::Secret(_)))
}

fn hash(secret: &SecretString) -> SecretHash {
    SecretHash::of(secret.expose_secret())
}
