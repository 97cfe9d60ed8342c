//! Finding clients that registered themselves, at each request: what one node changed, all of them know at once.

use std::sync::Arc;
use std::time::Duration;

use super::document::Registration;
use super::is_client_id;
use super::rules::RegistrationRules;
use crate::clock::{Clock, Timestamp};
use crate::oauth::OAuthError;
use crate::oauth::client::Client;
use crate::store::Store;

/// How exactly it is noted when a client was used: each note is a write.
const NOTED_EVERY: Duration = Duration::from_secs(60 * 60);

/// Where clients that registered themselves are found.
pub struct SelfRegistered {
    store: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
}

/// One that was found.
pub struct FoundClient {
    /// The client, as it may be now.
    pub client: Arc<Client>,
    last_used_at: Option<Timestamp>,
}

impl SelfRegistered {
    /// Those in `store`.
    pub fn new(store: Arc<dyn Store>, clock: Arc<dyn Clock>) -> Self {
        Self { store, clock }
    }

    /// The client `id`, as far as `rules` allow it now; nobody where there are none.
    ///
    /// # Errors
    /// What the store failed by.
    pub async fn find(&self, rules: Option<&RegistrationRules>, id: &str) -> Result<Option<FoundClient>, OAuthError> {
        let Some(rules) = rules.filter(|_| is_client_id(id)) else { return Ok(None) };
        let Some(record) = self.store.client(id.to_owned()).await? else { return Ok(None) };
        let registration = match Registration::of(record) {
            Ok(registration) => registration,
            Err(error) => {
                tracing::error!(client = id, %error, "a client is refused");
                return Ok(None);
            }
        };
        let last_used_at = registration.last_used_at;
        match rules.client(registration, self.clock.now()) {
            Ok(client) => Ok(Some(FoundClient { client: Arc::new(client), last_used_at })),
            Err(reason) => {
                tracing::info!(client = id, %reason, "a client that registered itself is refused");
                Ok(None)
            }
        }
    }

    /// Notes that `found` was used.
    pub async fn note_use(&self, found: &FoundClient) {
        let now = self.clock.now();
        if found.last_used_at.is_some_and(|at| now.since(at) < NOTED_EVERY) {
            return;
        }
        // It is for the operator's list only.
        if let Err(error) = self.store.note_client_use(found.client.id.clone(), now).await {
            tracing::warn!(client = found.client.id, %error, "cannot note that a client was used");
        }
    }
}
