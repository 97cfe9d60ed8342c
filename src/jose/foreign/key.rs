//! A public key that verifies what others signed, from its JWK (RFC 7517 §4, RFC 7518 §6, RFC 8037 §2).
//!
//! By aws-lc-rs itself and not by jsonwebtoken, which parses the key again for each signature.

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P384_SHA384_FIXED, ED25519, ParsedPublicKey, RSA_PKCS1_2048_8192_SHA256,
    RSA_PSS_2048_8192_SHA256, RsaParameters, RsaPublicKeyComponents, VerificationAlgorithm,
};
use serde_json::{Map, Value};

use super::{NotVerified, PresentedForeignJws, SignatureAlgorithm};
use crate::jose::base64url;

/// Members of private and of shared keys (RFC 7518 §6.2.2, §6.3.2, §6.4.1; RFC 8037 §2).
const PRIVATE_MEMBERS: [&str; 9] = ["d", "p", "q", "dp", "dq", "qi", "oth", "k", "priv"];

/// Bits of an RSA modulus: fewer are weak (RFC 7518 §3.3), more only cost us time.
const RSA_BITS: std::ops::RangeInclusive<usize> = 2048..=8192;
/// RSA's public exponent: 1 would let everybody sign, and a long one costs time. 33 bits are aws-lc's own limit.
const RSA_EXPONENTS: std::ops::Range<u64> = 3..1 << 33;

static RS256: RsaParameters = RSA_PKCS1_2048_8192_SHA256;
static PS256: RsaParameters = RSA_PSS_2048_8192_SHA256;

/// Why a JWK is no key to verify with.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum JwkError {
    /// It is not an object, or a member is missing or not what it has to be.
    #[error("expected a JWK (RFC 7517 §4): `{member}` is missing or not what it has to be")]
    Malformed {
        /// The member.
        member: &'static str,
    },
    /// It is of a kind, curve or algorithm that mintkeep does not verify with, or a shared secret.
    #[error("expected a key of kty EC (P-256, P-384), OKP (Ed25519) or RSA, with an algorithm of mintkeep's")]
    Unsupported,
    /// It contains a private key, which therefore is private no longer.
    #[error("expected a public key: `{member}` is of a private one, which is worthless once others have seen it")]
    Private {
        /// The member.
        member: &'static str,
    },
    /// Its `use` or `key_ops` say that it is for something else.
    #[error("expected a key for verifying signatures: `use` or `key_ops` say otherwise")]
    OtherUse,
    /// `x` and `y` are not a point on the curve.
    #[error("the public key is not a point on its curve")]
    NotOnCurve,
    /// An RSA modulus or exponent of a size that is not accepted.
    #[error("expected an RSA modulus of 2048 to 8192 bits, and an odd exponent of 2 to 33 bits")]
    RsaSize,
}

/// A public key, parsed once, and what it may be used for: that is the key's to say, and never a header's.
#[derive(Debug)]
pub struct VerificationKey {
    kid: Option<String>,
    thumbprint: [u8; 32],
    verifiers: Vec<(SignatureAlgorithm, ParsedPublicKey)>,
}

/// The same key for the same uses.
impl PartialEq for VerificationKey {
    fn eq(&self, other: &Self) -> bool {
        let algorithms = |key: &Self| key.verifiers.iter().map(|(algorithm, _)| *algorithm).collect::<Vec<_>>();
        self.kid == other.kid && self.thumbprint == other.thumbprint && algorithms(self) == algorithms(other)
    }
}

impl Eq for VerificationKey {}

impl VerificationKey {
    /// The key that `jwk` describes. Members that are not known are ignored (RFC 7517 §4).
    ///
    /// # Errors
    /// [`JwkError`].
    pub fn from_jwk(jwk: &Value) -> Result<Self, JwkError> {
        let jwk = Jwk(jwk.as_object().ok_or(JwkError::Malformed { member: "kty" })?);
        if let Some(member) = PRIVATE_MEMBERS.into_iter().find(|&member| jwk.0.contains_key(member)) {
            return Err(JwkError::Private { member });
        }
        jwk.check_use()?;
        let kid = jwk.optional_text("kid")?.map(str::to_owned);
        let (canonical, mut verifiers) = match (jwk.text("kty")?, jwk.optional_text("crv")?) {
            ("EC", Some("P-256")) => {
                jwk.elliptic::<32>("P-256", SignatureAlgorithm::Es256, &ECDSA_P256_SHA256_FIXED)?
            }
            ("EC", Some("P-384")) => {
                jwk.elliptic::<48>("P-384", SignatureAlgorithm::Es384, &ECDSA_P384_SHA384_FIXED)?
            }
            ("OKP", Some("Ed25519")) => jwk.edwards()?,
            ("RSA", _) => jwk.rsa()?,
            ("EC" | "OKP", None) => return Err(JwkError::Malformed { member: "crv" }),
            _ => return Err(JwkError::Unsupported),
        };
        if let Some(alg) = jwk.optional_text("alg")? {
            let only = SignatureAlgorithm::parse(alg).map_err(|_| JwkError::Unsupported)?;
            verifiers.retain(|(algorithm, _)| *algorithm == only);
            if verifiers.is_empty() {
                return Err(JwkError::Malformed { member: "alg" });
            }
        }
        let thumbprint = digest(&SHA256, canonical.as_bytes());
        let thumbprint = thumbprint.as_ref().try_into().expect("SHA-256 gives 32 bytes");
        Ok(Self { kid, thumbprint, verifiers })
    }

    /// Its `kid`, where it has one: whatever its owner calls it.
    pub fn kid(&self) -> Option<&str> {
        self.kid.as_deref()
    }

    /// The SHA-256 thumbprint, 32 bytes (RFC 7638 §3). In base64url it is the `jkt` of a confirmation (RFC 9449 §6.1).
    pub fn thumbprint(&self) -> &[u8; 32] {
        &self.thumbprint
    }

    /// Whether signatures of `algorithm` are verified with it.
    pub fn accepts(&self, algorithm: SignatureAlgorithm) -> bool {
        self.verifiers.iter().any(|(own, _)| *own == algorithm)
    }

    /// Verifies that this key signed `jws`.
    ///
    /// # Errors
    /// [`NotVerified::Algorithm`] or [`NotVerified::Signature`].
    pub fn verify(&self, jws: &PresentedForeignJws<'_>) -> Result<(), NotVerified> {
        let verifier = self.verifiers.iter().find(|(algorithm, _)| *algorithm == jws.algorithm());
        let (_, verifier) = verifier.ok_or(NotVerified::Algorithm)?;
        verifier.verify_sig(jws.signing_input(), jws.signature()).map_err(|_| NotVerified::Signature)
    }
}

/// What a kind of key comes to: the JSON that its thumbprint is of, and its verifiers.
type Parsed = (String, Vec<(SignatureAlgorithm, ParsedPublicKey)>);

struct Jwk<'a>(&'a Map<String, Value>);

impl<'a> Jwk<'a> {
    fn optional_text(&self, member: &'static str) -> Result<Option<&'a str>, JwkError> {
        match self.0.get(member) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(_) => Err(JwkError::Malformed { member }),
        }
    }

    fn text(&self, member: &'static str) -> Result<&'a str, JwkError> {
        self.optional_text(member)?.ok_or(JwkError::Malformed { member })
    }

    fn octets<const N: usize>(&self, member: &'static str) -> Result<(&'a str, [u8; N]), JwkError> {
        let text = self.text(member)?;
        Ok((text, base64url::decode_array(text).map_err(|_| JwkError::Malformed { member })?))
    }

    /// A `Base64urlUInt`: big-endian, in as few bytes as it takes (RFC 7518 §2).
    fn integer(&self, member: &'static str) -> Result<(&'a str, Vec<u8>), JwkError> {
        let text = self.text(member)?;
        match base64url::decode(text) {
            Ok(bytes) if bytes.first().is_some_and(|first| *first != 0) => Ok((text, bytes)),
            _ => Err(JwkError::Malformed { member }),
        }
    }

    /// RFC 7517 §4.2 and §4.3.
    fn check_use(&self) -> Result<(), JwkError> {
        if self.optional_text("use")?.is_some_and(|of| of != "sig") {
            return Err(JwkError::OtherUse);
        }
        match self.0.get("key_ops") {
            None => Ok(()),
            Some(Value::Array(operations)) if operations.iter().any(|operation| operation == "verify") => Ok(()),
            Some(Value::Array(_)) => Err(JwkError::OtherUse),
            Some(_) => Err(JwkError::Malformed { member: "key_ops" }),
        }
    }

    // Members of a thumbprint in lexicographic order, without white space (RFC 7638 §3.3). Their texts are what the
    // bytes encode to again: `base64url` takes one spelling only.

    fn elliptic<const N: usize>(
        &self,
        crv: &str,
        algorithm: SignatureAlgorithm,
        verification: &'static dyn VerificationAlgorithm,
    ) -> Result<Parsed, JwkError> {
        let (x, x_bytes) = self.octets::<N>("x")?;
        let (y, y_bytes) = self.octets::<N>("y")?;
        // Parsing checks that the point is on the curve.
        let key = ParsedPublicKey::new(verification, [&[4], &x_bytes[..], &y_bytes[..]].concat());
        let key = key.map_err(|_| JwkError::NotOnCurve)?;
        Ok((format!(r#"{{"crv":"{crv}","kty":"EC","x":"{x}","y":"{y}"}}"#), vec![(algorithm, key)]))
    }

    /// Whether it is a point on the curve shows at the first verification, which fails where it is not.
    fn edwards(&self) -> Result<Parsed, JwkError> {
        let (x, bytes) = self.octets::<32>("x")?;
        let key = ParsedPublicKey::new(&ED25519, bytes).map_err(|_| JwkError::NotOnCurve)?;
        let canonical = format!(r#"{{"crv":"Ed25519","kty":"OKP","x":"{x}"}}"#);
        Ok((canonical, vec![(SignatureAlgorithm::EdDsa, key)]))
    }

    fn rsa(&self) -> Result<Parsed, JwkError> {
        let ((n, modulus), (e, exponent)) = (self.integer("n")?, self.integer("e")?);
        // `integer` has seen a first byte that is not zero.
        let bits = modulus.len() * 8 - modulus[0].leading_zeros() as usize;
        if !RSA_BITS.contains(&bits) || exponent.len() > 5 {
            return Err(JwkError::RsaSize);
        }
        let number = exponent.iter().fold(0, |number, byte| number << 8 | u64::from(*byte));
        let is_even = |bytes: &[u8]| bytes.last().is_some_and(|last| last % 2 == 0);
        if !RSA_EXPONENTS.contains(&number) || is_even(&exponent) || is_even(&modulus) {
            return Err(JwkError::RsaSize);
        }
        let components = RsaPublicKeyComponents { n: modulus, e: exponent };
        let parsed = |parameters| components.to_parsed_public_key(parameters).map_err(|_| JwkError::RsaSize);
        let verifiers =
            vec![(SignatureAlgorithm::Rs256, parsed(&RS256)?), (SignatureAlgorithm::Ps256, parsed(&PS256)?)];
        Ok((format!(r#"{{"e":"{e}","kty":"RSA","n":"{n}"}}"#), verifiers))
    }
}
