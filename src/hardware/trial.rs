//! Trying a key of any device for the first time.

use super::Error;
use crate::entropy::Entropy;
use crate::jose::ecdh_es::{SharedSecret, seal};
use crate::jose::jwe::{FAMILY_BYTES, KeyManagement, PresentedJwe};
use crate::jose::jwk::P256PublicKey;

pub(super) const TRIAL: &[u8] = b"mintkeep trial";

/// Seals to `public` and opens with what `agree` comes to, which is made by `call`.
pub(super) fn try_agreement(
    public: &P256PublicKey,
    call: &str,
    entropy: &dyn Entropy,
    agree: impl FnOnce(&P256PublicKey) -> Result<SharedSecret, Error>,
) -> Result<(), Error> {
    let failed = |reason: &str| Error::Call { call: call.to_owned(), reason: reason.to_owned() };
    let text = seal(public, &[0; FAMILY_BYTES], TRIAL, entropy).map_err(|error| failed(&error.to_string()))?;
    let sealed = PresentedJwe::parse(&text).map_err(|error| failed(&error.to_string()))?;
    let KeyManagement::EcdhEs { epk } = sealed.key_management else {
        return Err(failed("no ephemeral key"));
    };
    let secret = agree(&epk)?;
    let aad = sealed.protected_header.as_bytes();
    let opened = secret.content_key().decrypt(&sealed.nonce, aad, &sealed.ciphertext_and_tag);
    let is_right = opened.is_some_and(|text| text.as_slice() == TRIAL);
    is_right.then_some(()).ok_or_else(|| failed("the agreement does not open what was sealed to its public key"))
}
