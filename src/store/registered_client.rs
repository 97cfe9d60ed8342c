//! Clients that registered themselves (RFC 7591, RFC 7592).

use crate::clock::Timestamp;

/// A client, as far as the store knows it: what is in the document is for others to say.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct RegisteredClient {
    /// Its `client_id`.
    pub client_id: String,
    /// Its metadata, a JSON object.
    pub document: String,
    /// The SHA-256 of its registration access token (RFC 7592 §3). By this it is told whether somebody changed it since.
    pub token_hash: [u8; 32],
    /// When it registered.
    pub created_at: Timestamp,
    /// When it was last noted that it was used.
    pub last_used_at: Option<Timestamp>,
}

/// What became of a client that was to be added.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum AddedClient {
    /// It is there.
    Added,
    /// As many are there as may be.
    Full,
    /// Another one of its name is there.
    Exists,
}
