//! Handles: what travels in place of something that is stored, such as a login, a code or a pushed request. Who has one can
//! have guessed it as little as a key; the store has only its hash, so that who reads the store has none.

use crate::entropy::Entropy;
use crate::jose::base64url;
use crate::store::LoginId;

/// 256 random bits; written as 43 characters of base64url. No `Debug`, which would put it into a log.
#[derive(Clone)]
pub struct Handle([u8; 32]);

impl Handle {
    /// A new one.
    pub fn new(entropy: &dyn Entropy) -> Self {
        Self(entropy.bytes())
    }

    /// The one that `text` writes, in the one way there is.
    pub fn parse(text: &str) -> Option<Self> {
        base64url::decode_array(text).ok().map(Self)
    }

    /// What the store knows it by.
    pub fn id(&self) -> LoginId {
        LoginId::of(&self.text())
    }

    /// As it travels.
    pub fn text(&self) -> String {
        base64url::encode(self.0)
    }
}
