//! Young access tokens of clients that want one token for many requests (`share_tokens_for`): a device that makes five
//! signatures a second serves a client with a thousand instances all the same.

use std::sync::Arc;
use std::time::{Duration, Instant};

use moka::policy::EvictionPolicy;
use moka::sync::Cache;
use tokio::sync::Mutex;

use super::OAuthError;
use super::client::Client;
use super::scope::Scope;
use crate::clock::Timestamp;
use crate::store::TokenId;

/// Pairs of a client and a scope that are remembered: a few hundred bytes each, and the token.
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

/// A slot for each client and scope. Whoever holds one makes its token, and the others wait for that.
pub(super) struct SharedTokens {
    slots: Cache<(String, String), Arc<Mutex<Slot>>>,
}

impl SharedTokens {
    pub(super) fn new() -> Self {
        let slots = Cache::builder().max_capacity(MOST_REMEMBERED).eviction_policy(EvictionPolicy::lru()).build();
        Self { slots }
    }

    /// The slot for `scope` of `client`, whose tokens have one audience.
    pub(super) fn slot(&self, client: &Client, scope: &Scope) -> Arc<Mutex<Slot>> {
        self.slots.get_with((client.id.clone(), scope.as_str().to_owned()), Arc::default)
    }
}
