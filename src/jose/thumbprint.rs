//! The thumbprint of a public key, whatever its kind (RFC 7638).

use super::base64url;

/// A SHA-256 JWK thumbprint: 32 bytes (RFC 7638 §3). It names the key that a token is bound to (`jkt`, RFC 9449 §6.1).
#[derive(Clone, Copy, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct KeyThumbprint(pub [u8; 32]);

impl KeyThumbprint {
    /// The thumbprint that `text` writes in base64url.
    pub fn parse(text: &str) -> Option<Self> {
        base64url::decode_array(text).ok().map(Self)
    }
}

impl std::fmt::Display for KeyThumbprint {
    /// Base64url, as `jkt` carries it.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&base64url::encode(self.0))
    }
}

impl std::fmt::Debug for KeyThumbprint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "KeyThumbprint({self})")
    }
}
