//! A public key that was proven to lie on the curve, kept to verify what the device signs.

use aws_lc_rs::digest::{Digest, SHA256};
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED, ParsedPublicKey};

use crate::jose::jwk::{NotOnCurve, P256PublicKey};
use crate::jose::jws::Signature;

/// The public half of a signing key, parsed once when the device is opened.
///
/// A faulty ECDSA signature can give the private key away, and SoftHSM2 was reported to make some
/// (SoftHSMv2 issue 901); so each signature is verified with this before it leaves the keeper.
#[derive(Clone, Debug)]
pub struct PinnedPublicKey {
    kid: String,
    public_key: P256PublicKey,
    verifier: ParsedPublicKey,
}

impl PinnedPublicKey {
    /// Pins `public_key`.
    ///
    /// # Errors
    /// [`NotOnCurve`].
    pub fn new(public_key: P256PublicKey) -> Result<Self, NotOnCurve> {
        let verifier =
            ParsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, public_key.as_uncompressed()).map_err(|_| NotOnCurve)?;
        Ok(Self { kid: public_key.kid(), public_key, verifier })
    }

    /// The thumbprint that names it.
    pub fn kid(&self) -> &str {
        &self.kid
    }

    /// The key itself.
    pub fn public_key(&self) -> &P256PublicKey {
        &self.public_key
    }

    /// Whether `signature` is this key's over `message`.
    pub fn verifies(&self, message: &[u8], signature: &Signature) -> bool {
        self.verifier.verify_sig(message, signature).is_ok()
    }

    /// Whether `signature` is this key's over what has the SHA-256 `digest`.
    pub fn verifies_digest(&self, digest: &[u8; 32], signature: &Signature) -> bool {
        let digest = Digest::import_less_safe(digest, &SHA256);
        digest.is_ok_and(|digest| self.verifier.verify_digest_sig(&digest, signature).is_ok())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_point_off_the_curve_is_refused() {
        let mut point = [1; 65];
        point[0] = 4;
        let key = P256PublicKey::from_uncompressed(&point).unwrap();
        assert_eq!(PinnedPublicKey::new(key).unwrap_err(), NotOnCurve);
    }
}
