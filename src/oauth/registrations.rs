//! What is registered at this moment. It is replaced as a whole when the configuration is read again; a request
//! keeps what it found when it came.

use std::collections::HashMap;
use std::sync::Arc;

use arc_swap::ArcSwap;

use super::client::{ClientAuthentication, ClientRegistry};
use super::frontend::Frontends;
use super::key_sets::KeySets;
use super::registration::RegistrationRules;
use super::resource_server::ResourceServer;
use super::target::ResourceScopes;
use super::trust::{IssuerKeys, TrustPolicies};
use crate::clock::Clock;

/// Everybody that the operator registered.
#[derive(Debug, Default)]
pub struct Registrations {
    /// The clients.
    pub clients: ClientRegistry,
    /// The resource servers that may ask about tokens.
    pub resource_servers: Vec<Arc<ResourceServer>>,
    /// What scope each protected resource knows.
    pub resources: ResourceScopes,
    /// Which tokens of other issuers are good for whom.
    pub trust: TrustPolicies,
    /// The issuers that are trusted, by their identifiers.
    pub issuers: HashMap<String, IssuerKeys>,
    /// The front-ends.
    pub frontends: Frontends,
    /// How clients register themselves, where they may.
    pub registration: Option<Arc<RegistrationRules>>,
    /// The keys of all of them.
    pub key_sets: KeySets,
}

impl Registrations {
    /// Gets the keys of all of them ready, with what is `known` of those already.
    ///
    /// # Errors
    /// What is wrong with the way to some of them.
    pub fn with_keys(mut self, known: &KeySets, clock: &Arc<dyn Clock>) -> Result<Self, String> {
        let clients = self.clients.iter().map(|client| &client.authentication);
        let servers = self.resource_servers.iter().map(|server| &server.authentication);
        let issuers = self.issuers.values().filter_map(|keys| match keys {
            IssuerKeys::Own => None,
            IssuerKeys::At(place) => Some(place),
        });
        let requests = self.clients.iter().filter_map(|client| client.request_object_keys.as_ref());
        let places = clients.chain(servers).filter_map(ClientAuthentication::keys).chain(requests).chain(issuers);
        self.key_sets = KeySets::of(places, known, clock)?;
        if self.registration.as_ref().is_some_and(|rules| rules.takes_keys()) {
            let key_sets = self.key_sets.with_further(known, clock);
            self.key_sets = key_sets.map_err(|error| format!("registration: for jwks_uri: {error}"))?;
        }
        Ok(self)
    }
}

/// Where the present [`Registrations`] are found.
#[derive(Clone, Debug, Default)]
pub struct CurrentRegistrations(Arc<ArcSwap<Registrations>>);

impl CurrentRegistrations {
    /// Those of `registrations`, for now.
    pub fn new(registrations: Registrations) -> Self {
        Self(Arc::new(ArcSwap::from_pointee(registrations)))
    }

    /// Those of now.
    pub fn load(&self) -> Arc<Registrations> {
        self.0.load_full()
    }

    /// Puts others in their place.
    pub fn replace(&self, registrations: Registrations) {
        self.0.store(Arc::new(registrations));
    }
}
