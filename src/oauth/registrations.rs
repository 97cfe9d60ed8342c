//! What is registered at this moment. It is replaced as a whole when the configuration is read again; a request
//! keeps what it found when it came.

use std::sync::Arc;

use arc_swap::ArcSwap;

use super::client::ClientRegistry;
use super::resource_server::ResourceServer;
use super::target::ResourceScopes;

/// Everybody that the operator registered.
#[derive(Debug, Default)]
pub struct Registrations {
    /// The clients.
    pub clients: ClientRegistry,
    /// The resource servers that may ask about tokens.
    pub resource_servers: Vec<Arc<ResourceServer>>,
    /// What scope each protected resource knows.
    pub resources: ResourceScopes,
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
