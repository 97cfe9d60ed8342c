//! What happens once, wherever it is tried: whoever claims it first may, and nobody after.

use crate::clock::Timestamp;

/// The name of what is claimed: a SHA-256 over what it is for, whose it is, and its `jti`.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct ClaimId(pub [u8; 32]);

/// A claim on something that may be used once: a client assertion (RFC 7523 §3 item 7), a DPoP proof (RFC 9449 §11.1).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct OnceClaim {
    /// Its name.
    pub id: ClaimId,
    /// When it is good for nothing any more; until then the claim has to be remembered.
    pub expires_at: Timestamp,
}

/// What a claim came to.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Claimed {
    /// Nobody claimed it before.
    First,
    /// Somebody did.
    Replayed,
}
