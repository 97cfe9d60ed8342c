//! The signature algorithms that mintkeep verifies for others (RFC 7518 §3.1, RFC 8037, RFC 9864).

use std::fmt;

use crate::jose::Malformed;

/// An algorithm whose signatures are verified. There is none with a shared secret, and no `none`.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum SignatureAlgorithm {
    /// ECDSA on P-256 with SHA-256.
    Es256,
    /// ECDSA on P-384 with SHA-384.
    Es384,
    /// EdDSA on Ed25519, by its older name `EdDSA` or as `Ed25519` (RFC 9864 §2.2).
    EdDsa,
    /// RSASSA-PKCS1-v1_5 with SHA-256.
    Rs256,
    /// RSASSA-PSS with SHA-256, and a salt of 32 bytes (RFC 7518 §3.5).
    Ps256,
}

impl SignatureAlgorithm {
    /// All names that [`SignatureAlgorithm::parse`] knows, as metadata documents list them.
    pub const NAMES: [&'static str; 6] = ["ES256", "ES384", "EdDSA", "Ed25519", "RS256", "PS256"];

    /// The algorithm of this `alg`, which is case-sensitive.
    ///
    /// # Errors
    /// [`Malformed::Algorithm`] for every other one, `none` and those of HMAC among them.
    pub fn parse(alg: &str) -> Result<Self, Malformed> {
        match alg {
            "ES256" => Ok(Self::Es256),
            "ES384" => Ok(Self::Es384),
            "EdDSA" | "Ed25519" => Ok(Self::EdDsa),
            "RS256" => Ok(Self::Rs256),
            "PS256" => Ok(Self::Ps256),
            _ => Err(Malformed::Algorithm),
        }
    }

    /// Its `alg`; of two names the older one.
    pub fn name(self) -> &'static str {
        match self {
            Self::Es256 => "ES256",
            Self::Es384 => "ES384",
            Self::EdDsa => "EdDSA",
            Self::Rs256 => "RS256",
            Self::Ps256 => "PS256",
        }
    }
}

impl fmt::Display for SignatureAlgorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
