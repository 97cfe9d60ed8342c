//! ECDH-ES in direct key agreement mode, with AES-256-GCM (RFC 7518 §4.6): the half of it that is software.
//! Whoever seals needs the recipient's public key only; the agreement that opens is the hardware's.

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use aws_lc_rs::agreement::{ECDH_P256, PrivateKey, UnparsedPublicKey, agree};
use aws_lc_rs::digest::{Context, SHA256};
use secrecy::zeroize::Zeroizing;

use super::jwe::{A256GCM, FAMILY_BYTES, KeyManagement, NONCE_BYTES, ProtectedHeader};
use super::jwk::{NotOnCurve, P256PublicKey};
use crate::entropy::Entropy;

/// `Z`, what both sides of an agreement come to: the x coordinate of a point, 32 bytes (RFC 7518 §4.6.2).
pub struct SharedSecret(Zeroizing<[u8; 32]>);

/// The content encryption key of one token.
pub struct ContentKey(Zeroizing<[u8; 32]>);

impl SharedSecret {
    /// The secret with this x coordinate.
    pub fn new(x: Zeroizing<[u8; 32]>) -> Self {
        Self(x)
    }

    /// The key that it comes to, without `apu` and `apv`.
    pub fn content_key(&self) -> ContentKey {
        ContentKey(concat_kdf(&self.0, A256GCM, "", "", 256))
    }
}

impl ContentKey {
    /// The plaintext, or `None` where it was not encrypted by this key or was changed since.
    pub fn decrypt(
        &self,
        nonce: &[u8; NONCE_BYTES],
        aad: &[u8],
        ciphertext_and_tag: &[u8],
    ) -> Option<Zeroizing<Vec<u8>>> {
        let mut buffer = Zeroizing::new(ciphertext_and_tag.to_vec());
        let nonce = Nonce::assume_unique_for_key(*nonce);
        let length = self.cipher().open_in_place(nonce, Aad::from(aad), &mut buffer).ok()?.len();
        buffer.truncate(length);
        Some(buffer)
    }

    fn encrypt(&self, nonce: &[u8; NONCE_BYTES], aad: &[u8], plaintext: &[u8]) -> Vec<u8> {
        let mut buffer = plaintext.to_vec();
        let nonce = Nonce::assume_unique_for_key(*nonce);
        let sealed = self.cipher().seal_in_place_append_tag(nonce, Aad::from(aad), &mut buffer);
        sealed.expect("a token is shorter than GCM's limit");
        buffer
    }

    fn cipher(&self) -> LessSafeKey {
        LessSafeKey::new(UnboundKey::new(&AES_256_GCM, self.0.as_slice()).expect("the key has 32 bytes"))
    }
}

/// The compact JWE of `plaintext` for the family `fid`, which the private half of `recipient` opens.
///
/// # Errors
/// [`NotOnCurve`], of the recipient.
pub fn seal(
    recipient: &P256PublicKey,
    fid: &[u8; FAMILY_BYTES],
    plaintext: &[u8],
    entropy: &dyn Entropy,
) -> Result<String, NotOnCurve> {
    let ephemeral = ephemeral_key(entropy);
    let epk = ephemeral.compute_public_key().expect("a private key has a public half");
    let epk = P256PublicKey::from_uncompressed(epk.as_ref()).expect("an uncompressed point");
    let key = agreed(&ephemeral, recipient)?.content_key();
    let header = ProtectedHeader::new(&recipient.kid(), KeyManagement::EcdhEs { epk }, fid);
    let nonce = entropy.bytes();
    let sealed = key.encrypt(&nonce, header.as_bytes(), plaintext);
    Ok(header.into_compact(&nonce, &sealed).expect("there is a tag"))
}

fn ephemeral_key(entropy: &dyn Entropy) -> PrivateKey {
    loop {
        let scalar = Zeroizing::new(entropy.bytes::<32>());
        // All but one in 2^32 are below the order of the curve.
        if let Ok(key) = PrivateKey::from_private_key(&ECDH_P256, scalar.as_slice()) {
            return key;
        }
    }
}

fn agreed(private: &PrivateKey, public: &P256PublicKey) -> Result<SharedSecret, NotOnCurve> {
    let public = UnparsedPublicKey::new(&ECDH_P256, public.as_uncompressed());
    agree(private, public, NotOnCurve, |x| {
        let mut secret = Zeroizing::new([0; 32]);
        secret.copy_from_slice(x);
        Ok(SharedSecret(secret))
    })
}

/// The Concat KDF of NIST SP 800-56A §5.8.1 as RFC 7518 §4.6.2 fills it in, for a key of at most the 256
/// bits that one round gives: the first `bits` of what is returned.
fn concat_kdf(secret: &[u8; 32], algorithm: &str, party_u: &str, party_v: &str, bits: u32) -> Zeroizing<[u8; 32]> {
    let mut hash = Context::new(&SHA256);
    hash.update(&1_u32.to_be_bytes());
    hash.update(secret);
    for field in [algorithm, party_u, party_v] {
        hash.update(&u32::try_from(field.len()).expect("names are short").to_be_bytes());
        hash.update(field.as_bytes());
    }
    hash.update(&bits.to_be_bytes());
    let mut key = Zeroizing::new([0; 32]);
    key.copy_from_slice(hash.finish().as_ref());
    key
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entropy::SystemEntropy;
    use crate::jose::base64url;
    use crate::jose::jwe::PresentedJwe;

    fn private(scalar: &str) -> PrivateKey {
        PrivateKey::from_private_key(&ECDH_P256, &base64url::decode(scalar).unwrap()).unwrap()
    }

    fn public(key: &PrivateKey) -> P256PublicKey {
        P256PublicKey::from_uncompressed(key.compute_public_key().unwrap().as_ref()).unwrap()
    }

    /// RFC 7518 Appendix C.
    #[test]
    fn alice_and_bob_come_to_the_key_of_the_specification() {
        let alice = private("0_NxaRPUMQoAJt50Gz8YiTr8gRTwyEaCumd-MToTmIo");
        let bob = private("VEmDZpDXXK8p8N0Cndsxs924q6nS1RXFASRl6BfUqdw");
        for z in [agreed(&alice, &public(&bob)).unwrap(), agreed(&bob, &public(&alice)).unwrap()] {
            let key = concat_kdf(&z.0, "A128GCM", "Alice", "Bob", 128);
            assert_eq!(base64url::encode(&key[..16]), "VqqN6vgjbSBcIijNcacQGg");
        }
    }

    #[test]
    fn what_is_sealed_is_opened_by_the_private_half_and_not_when_it_was_changed() {
        let entropy: &dyn Entropy = &SystemEntropy::new();
        let recipient = ephemeral_key(entropy);
        let text = seal(&public(&recipient), &[7; FAMILY_BYTES], b"content", entropy).unwrap();
        let PresentedJwe { kid, key_management, fid, protected_header, nonce, mut ciphertext_and_tag } =
            PresentedJwe::parse(&text).unwrap();
        assert_eq!((kid, fid), (public(&recipient).kid(), [7; FAMILY_BYTES]));
        let KeyManagement::EcdhEs { epk } = key_management else { panic!("{key_management:?}") };
        let key = agreed(&recipient, &epk).unwrap().content_key();
        let aad = protected_header.as_bytes();
        assert_eq!(key.decrypt(&nonce, aad, &ciphertext_and_tag).unwrap().as_slice(), b"content");
        assert!(key.decrypt(&nonce, b"another header", &ciphertext_and_tag).is_none());
        ciphertext_and_tag[0] ^= 1;
        assert!(key.decrypt(&nonce, aad, &ciphertext_and_tag).is_none());
    }

    #[test]
    fn nothing_is_sealed_to_a_point_off_the_curve() {
        let mut point = [1; 65];
        point[0] = 4;
        let recipient = P256PublicKey::from_uncompressed(&point).unwrap();
        assert_eq!(seal(&recipient, &[0; FAMILY_BYTES], b"", &SystemEntropy::new()), Err(NotOnCurve));
    }
}
