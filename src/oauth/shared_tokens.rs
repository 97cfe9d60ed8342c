//! Young access tokens of clients that want one token for many requests (`share_tokens_for`): a device that makes five
//! signatures a second serves a client with a thousand instances all the same.

use std::sync::Arc;
use std::time::{Duration, Instant};

use moka::policy::EvictionPolicy;
use moka::sync::Cache;
use tokio::sync::Mutex;

use super::OAuthError;
use super::authorized::Authorized;
use crate::clock::Timestamp;
use crate::jose::claims::Confirmation;
use crate::store::TokenId;

/// Kinds of tokens that are remembered: a few hundred bytes each, and the token.
const MOST_REMEMBERED: u64 = 4_096;

/// An access token that may be given to all who ask for the same.
pub(super) struct SharedToken {
    pub(super) access_token: String,
    /// The key that signed it.
    pub(super) kid: String,
    pub(super) jti: TokenId,
    pub(super) issued_at: Timestamp,
    pub(super) expires_at: Timestamp,
}

impl SharedToken {
    /// Whether it is young enough, by the clock.
    pub(super) fn is_young(&self, age: Duration, now: Timestamp) -> bool {
        // A clock that was set back makes a token no younger.
        self.issued_at <= now && now.since(self.issued_at) < age && now < self.expires_at
    }
}

/// What came of the last time that somebody asked.
#[derive(Default)]
pub(super) enum Slot {
    #[default]
    Empty,
    Token(SharedToken),
    /// Nothing, at this time. Who waited for it does not try the same again.
    Failed(OAuthError, Instant),
}

/// A slot for each kind of token. Whoever holds one makes its token, and the others wait for that.
pub(super) struct SharedTokens {
    slots: Cache<Kind, Arc<Mutex<Slot>>>,
}

/// What has to be the same for one token to do for two requests.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
struct Kind {
    client_id: String,
    scope: String,
    audience: Vec<String>,
    confirmation: Option<Confirmation>,
}

impl SharedTokens {
    pub(super) fn new() -> Self {
        let slots = Cache::builder().max_capacity(MOST_REMEMBERED).eviction_policy(EvictionPolicy::lru()).build();
        Self { slots }
    }

    /// The slot for what is `authorized`: of a client for itself.
    pub(super) fn slot(&self, authorized: &Authorized) -> Arc<Mutex<Slot>> {
        let kind = Kind {
            client_id: authorized.client.id.clone(),
            scope: authorized.scope.as_str().to_owned(),
            audience: authorized.audience.values().to_vec(),
            confirmation: authorized.confirmation,
        };
        self.slots.get_with(kind, Arc::default)
    }
}
