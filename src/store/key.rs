//! The life of a key, as everybody who shares the store knows it: pending → published → active → retired → removed.
//!
//! What is kept is when a key came into each state; the state follows. The private half is in the hardware, and only
//! there.

use serde::{Deserialize, Serialize};

use crate::clock::Timestamp;
use crate::hardware::{Role, SealingKey};
use crate::jose::jwk::P256PublicKey;

/// A key that is in use, was, or is to be.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct KeyRecord {
    /// Its `kid`.
    pub kid: String,
    /// What it is for.
    pub role: Role,
    /// The name of the device, in the configuration, that it was first found in. Its successor is made there.
    pub device: String,
    /// Its public half; an AES key has none.
    pub public_key: Option<P256PublicKey>,
    /// When it was first found.
    pub found_at: Timestamp,
    /// What became of it since.
    pub life: Life,
    /// When the last token ends that it made, as far as was noted.
    pub needed_until: Timestamp,
    /// How many tokens it made, as far as was noted.
    pub uses: u64,
}

/// When a key came into each state.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Life {
    /// Everybody was to know it.
    pub published_at: Option<Timestamp>,
    /// It was to sign, or to seal.
    pub activated_at: Option<Timestamp>,
    /// It was not to any more. What it made stays good.
    pub retired_at: Option<Timestamp>,
    /// What it made stopped being good.
    pub removed_at: Option<Timestamp>,
    /// It was removed in an emergency, with tokens of it about.
    pub is_revoked: bool,
}

/// What a key is good for.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum KeyState {
    /// It is in a device, and nobody else knows it.
    Pending,
    /// Others verify by it, so that they know it when it signs.
    Published,
    /// It signs, or seals.
    Active,
    /// Tokens that it made are about, and good.
    Retired,
    /// Nothing that it made is good.
    Removed,
}

impl KeyState {
    /// Its name, as operators read it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Published => "published",
            Self::Active => "active",
            Self::Retired => "retired",
            Self::Removed => "removed",
        }
    }
}

impl Life {
    /// The state that these times come to.
    pub fn state(&self) -> KeyState {
        match self {
            Self { removed_at: Some(_), .. } => KeyState::Removed,
            Self { retired_at: Some(_), .. } => KeyState::Retired,
            Self { activated_at: Some(_), .. } => KeyState::Active,
            Self { published_at: Some(_), .. } => KeyState::Published,
            Self { .. } => KeyState::Pending,
        }
    }
}

impl KeyRecord {
    /// See [`Life::state`].
    pub fn state(&self) -> KeyState {
        self.life.state()
    }

    /// How it seals; only for [`Role::Sealing`].
    pub fn sealing_key(&self) -> SealingKey {
        match self.public_key {
            Some(public_key) => SealingKey::EcdhEs(public_key),
            None => SealingKey::Direct(self.kid.clone()),
        }
    }

    /// The JOSE algorithm that it is used with.
    pub fn algorithm(&self) -> &'static str {
        match self.role {
            Role::Signing | Role::Delegated(_) => crate::jose::jws::ES256,
            Role::Sealing => self.sealing_key().algorithm(),
        }
    }
}
