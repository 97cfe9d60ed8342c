//! Resource servers: APIs that get access tokens presented, and may ask what they are worth.

use super::client::ClientAuthentication;
use crate::jose::claims::Audience;

/// A resource server as the operator registered it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ResourceServer {
    /// Its name.
    pub id: String,
    /// How it proves itself; never [`ClientAuthentication::None`].
    pub authentication: ClientAuthentication,
    /// The audiences that it is. It learns nothing of tokens for others.
    pub audiences: Vec<String>,
}

impl ResourceServer {
    /// Whether a token for `audience` is for this server.
    pub fn is_meant(&self, audience: &Audience) -> bool {
        audience.values().iter().any(|value| self.audiences.contains(value))
    }
}
