//! Signatures as Vault writes them: `vault:v`, the version of the key, a colon, and the signature in one of two forms.

use aws_lc_rs::digest::{Digest, SHA256};
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_ASN1, ECDSA_P256_SHA256_FIXED, EcdsaVerificationAlgorithm, UnparsedPublicKey,
};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use der::asn1::UintRef;
use der::{Encode as _, Sequence};

use super::TransitError;
use super::input::Input;
use super::parameters::Marshaling;
use crate::jose::base64url;
use crate::jose::jwk::P256PublicKey;
use crate::jose::jws::Signature;

const PREFIX: &str = "vault:v";

/// `ECDSA-Sig-Value` (RFC 3279 §2.2.3).
#[derive(Sequence)]
struct EcdsaSignature<'a> {
    r: UintRef<'a>,
    s: UintRef<'a>,
}

/// `signature`, made by the key's version `version`, as it goes out.
///
/// # Errors
/// [`TransitError::Internal`], which 64 bytes never come to.
pub(super) fn write(version: u32, signature: &Signature, marshaling: Marshaling) -> Result<String, TransitError> {
    let text = match marshaling {
        Marshaling::Jws => base64url::encode(signature),
        Marshaling::Asn1 => STANDARD.encode(der(signature).map_err(|_| TransitError::Internal)?),
    };
    Ok(format!("{PREFIX}{version}:{text}"))
}

fn der(signature: &Signature) -> der::Result<Vec<u8>> {
    let (r, s) = signature.split_at(32);
    EcdsaSignature { r: UintRef::new(r)?, s: UintRef::new(s)? }.to_der()
}

/// A signature that somebody brings, to be verified.
#[derive(Debug)]
pub(super) struct PresentedSignature {
    /// The version of the key that is said to have made it.
    pub(super) version: u32,
    bytes: Vec<u8>,
    marshaling: Marshaling,
}

impl PresentedSignature {
    /// Reads `text`. Whether the bytes are a signature at all is seen when they are verified.
    ///
    /// # Errors
    /// [`TransitError::Invalid`], in Vault's words.
    pub(super) fn parse(text: &str, marshaling: Marshaling) -> Result<Self, TransitError> {
        let rest = text.strip_prefix(PREFIX).ok_or_else(|| TransitError::invalid("invalid signature: no prefix"))?;
        let (version, signature) =
            rest.split_once(':').ok_or_else(|| TransitError::invalid("invalid signature: wrong number of fields"))?;
        let version = Some(version)
            .filter(|version| version.bytes().all(|byte| byte.is_ascii_digit()))
            .and_then(|version| version.parse().ok())
            .ok_or_else(|| TransitError::invalid("invalid signature: version number could not be decoded"))?;
        let bytes = match marshaling {
            Marshaling::Asn1 => STANDARD.decode(signature).ok(),
            Marshaling::Jws => base64url::decode(signature).ok(),
        };
        let bytes = bytes.ok_or_else(|| TransitError::invalid("invalid base64 signature value"))?;
        Ok(Self { version, bytes, marshaling })
    }

    /// Whether `key` made it over `input`.
    pub(super) fn is_by(&self, key: &P256PublicKey, input: &Input) -> bool {
        let algorithm: &EcdsaVerificationAlgorithm = match self.marshaling {
            Marshaling::Asn1 => &ECDSA_P256_SHA256_ASN1,
            Marshaling::Jws => &ECDSA_P256_SHA256_FIXED,
        };
        let key = UnparsedPublicKey::new(algorithm, key.as_uncompressed());
        let verified = match input {
            Input::Message(message) => key.verify(message, &self.bytes),
            Input::Digest(digest) => {
                Digest::import_less_safe(digest, &SHA256).and_then(|digest| key.verify_digest(&digest, &self.bytes))
            }
        };
        verified.is_ok()
    }
}

#[cfg(test)]
mod tests {
    use p256::ecdsa::signature::Signer as _;
    use p256::ecdsa::{Signature as OtherSignature, SigningKey};
    use proptest::prelude::*;
    use sha2_of::sha256;

    use super::*;

    mod sha2_of {
        use aws_lc_rs::digest::{SHA256, digest};

        pub(super) fn sha256(message: &[u8]) -> [u8; 32] {
            digest(&SHA256, message).as_ref().try_into().unwrap()
        }
    }

    fn key() -> (SigningKey, P256PublicKey) {
        let key = SigningKey::from_slice(&[7; 32]).unwrap();
        let point = key.verifying_key().to_sec1_point(false);
        let public_key = P256PublicKey::from_uncompressed(point.as_bytes()).unwrap();
        (key, public_key)
    }

    #[test]
    fn both_forms_are_what_another_library_writes_and_both_verify() {
        let (key, public_key) = key();
        let made: OtherSignature = key.sign(b"message");
        let signature: Signature = made.to_bytes().into();
        let asn1 = write(3, &signature, Marshaling::Asn1).unwrap();
        assert_eq!(asn1, format!("vault:v3:{}", STANDARD.encode(made.to_der().as_bytes())));
        let jws = write(3, &signature, Marshaling::Jws).unwrap();
        assert_eq!(jws, format!("vault:v3:{}", base64url::encode(signature)));
        for (text, marshaling, other) in
            [(&asn1, Marshaling::Asn1, Marshaling::Jws), (&jws, Marshaling::Jws, Marshaling::Asn1)]
        {
            let presented = PresentedSignature::parse(text, marshaling).unwrap();
            assert_eq!(presented.version, 3);
            assert!(presented.is_by(&public_key, &Input::Message(b"message".to_vec())));
            assert!(presented.is_by(&public_key, &Input::Digest(sha256(b"message"))));
            assert!(!presented.is_by(&public_key, &Input::Message(b"another".to_vec())));
            assert!(!presented.is_by(&public_key, &Input::Digest(sha256(b"another"))));
            let misread = PresentedSignature::parse(text, other);
            assert!(misread.is_err() || !misread.unwrap().is_by(&public_key, &Input::Message(b"message".to_vec())));
        }
    }

    #[test]
    fn what_is_no_signature_is_told_in_the_words_of_vault() {
        for (text, error) in [
            ("", "invalid signature: no prefix"),
            ("vault:1:AA==", "invalid signature: no prefix"),
            ("vault:v1", "invalid signature: wrong number of fields"),
            ("vault:v:AA==", "invalid signature: version number could not be decoded"),
            ("vault:v+1:AA==", "invalid signature: version number could not be decoded"),
            ("vault:v99999999999:AA==", "invalid signature: version number could not be decoded"),
            ("vault:v1:AA", "invalid base64 signature value"),
            ("vault:v1:A_==", "invalid base64 signature value"),
            ("vault:v1:AA==:", "invalid base64 signature value"),
        ] {
            let parsed = PresentedSignature::parse(text, Marshaling::Asn1);
            assert_eq!(parsed.unwrap_err().to_string(), error, "{text}");
        }
        let padded = PresentedSignature::parse("vault:v1:AA==", Marshaling::Jws);
        assert_eq!(padded.unwrap_err().to_string(), "invalid base64 signature value");
    }

    proptest! {
        /// Numbers of every length: DER has no leading zeroes, and one where a sign would be.
        #[test]
        fn der_is_what_another_library_writes(r in number(), s in number()) {
            let signature: Signature = [r, s].concat().try_into().unwrap();
            if let Ok(other) = OtherSignature::from_slice(&signature) {
                prop_assert_eq!(der(&signature).unwrap(), other.to_der().as_bytes().to_vec());
            }
        }

        #[test]
        fn no_text_makes_the_reader_panic(text in "(vault:v)?[0-9:]{0,4}.{0,40}", is_jws: bool) {
            let marshaling = if is_jws { Marshaling::Jws } else { Marshaling::Asn1 };
            if let Ok(presented) = PresentedSignature::parse(&text, marshaling) {
                prop_assert!(!presented.is_by(&key().1, &Input::Message(Vec::new())));
            }
        }
    }

    fn number() -> impl Strategy<Value = [u8; 32]> {
        (any::<[u8; 32]>(), 0..32_usize).prop_map(|(mut bytes, zeroes)| {
            bytes[..zeroes].fill(0);
            bytes
        })
    }
}
