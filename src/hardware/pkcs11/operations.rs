//! Sign, encrypt, decrypt: two PKCS#11 calls each, and what their outputs must look like.

use cryptoki::error::RvError;
use cryptoki::mechanism::Mechanism;
use cryptoki::mechanism::aead::GcmParams;
use cryptoki::object::ObjectHandle;
use cryptoki::session::Session as Pkcs11Session;

use super::calls::{Calls, DECRYPT, Failed};
use super::{failed, failed_call};
use crate::entropy::Entropy;
use crate::hardware::Error;
use crate::jose::jwe::{NONCE_BYTES, TAG_BYTES};
use crate::jose::jws::Signature;

/// A ciphertext made when the device was opened. SoftHSM2 answers a forged ciphertext by
/// `CKR_GENERAL_ERROR`, like a fault of its own; whether it can still open this one tells which it was.
pub(super) struct Canary {
    nonce: [u8; NONCE_BYTES],
    ciphertext_and_tag: Vec<u8>,
}

pub(super) const CANARY: &[u8] = b"mintkeep canary";

impl Canary {
    pub(super) fn seal(
        session: &Pkcs11Session,
        calls: &Calls,
        key: ObjectHandle,
        entropy: &dyn Entropy,
    ) -> Result<Self, Error> {
        let nonce = entropy.bytes();
        let ciphertext_and_tag = encrypt(session, calls, key, &nonce, CANARY, CANARY)?;
        Ok(Self { nonce, ciphertext_and_tag })
    }

    pub(super) fn opens(&self, session: &Pkcs11Session, calls: &Calls, key: ObjectHandle) -> bool {
        decrypt(session, calls, key, &self.nonce, CANARY, &self.ciphertext_and_tag).is_ok_and(|text| text == CANARY)
    }
}

pub(super) fn sign(
    session: &Pkcs11Session,
    calls: &Calls,
    key: ObjectHandle,
    digest: &[u8; 32],
) -> Result<Signature, Error> {
    let mut signature = [0; 64];
    match calls.sign(session, &Mechanism::Ecdsa, key, digest, &mut signature).map_err(failed_call)? {
        64 => Ok(signature),
        length => Err(Error::Call {
            call: "C_Sign".to_owned(),
            reason: format!("a signature of {length} bytes, expected 64"),
        }),
    }
}

pub(super) fn encrypt(
    session: &Pkcs11Session,
    calls: &Calls,
    key: ObjectHandle,
    nonce: &[u8; NONCE_BYTES],
    aad: &[u8],
    plaintext: &[u8],
) -> Result<Vec<u8>, Error> {
    // Modules may write the nonce back, so they get a copy; one that changed it would have made a
    // ciphertext that the caller cannot describe.
    let mut iv = *nonce;
    let mut output = vec![0; plaintext.len() + TAG_BYTES];
    let length = {
        let mechanism = gcm(&mut iv, aad)?;
        calls.encrypt(session, &mechanism, key, plaintext, &mut output).map_err(failed_call)?
    };
    if iv != *nonce || length != output.len() {
        return Err(Error::Call {
            call: "C_Encrypt".to_owned(),
            reason: "the module chose another nonce or length".to_owned(),
        });
    }
    Ok(output)
}

pub(super) fn decrypt(
    session: &Pkcs11Session,
    calls: &Calls,
    key: ObjectHandle,
    nonce: &[u8; NONCE_BYTES],
    aad: &[u8],
    ciphertext_and_tag: &[u8],
) -> Result<Vec<u8>, Failed> {
    let mut iv = *nonce;
    let mechanism = gcm(&mut iv, aad).map_err(|_| ("C_DecryptInit", RvError::MechanismParamInvalid))?;
    let mut output = vec![0; ciphertext_and_tag.len()];
    let length = calls.decrypt(session, &mechanism, key, ciphertext_and_tag, &mut output)?;
    // GCM gives as much plaintext as it was given (PKCS#11 3.1 §6.13.3).
    if length + TAG_BYTES != output.len() {
        return Err((DECRYPT, RvError::GeneralError));
    }
    output.truncate(length);
    Ok(output)
}

fn gcm<'a>(iv: &'a mut [u8; NONCE_BYTES], aad: &'a [u8]) -> Result<Mechanism<'a>, Error> {
    let tag_bits = (TAG_BYTES as u64 * 8).into();
    GcmParams::new(iv, aad, tag_bits).map(Mechanism::AesGcm).map_err(failed)
}
