//! JWK and JWK Sets of P-256 public keys (RFC 7517, RFC 7518 §6.2) and their thumbprints (RFC 7638).

use aws_lc_rs::agreement::{ECDH_P256, ParsedPublicKey, UnparsedPublicKey};
use aws_lc_rs::digest::{SHA256, digest};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{Malformed, base64url};

/// A P-256 public key as an uncompressed SEC 1 point: `0x04 || x || y`, 65 bytes.
///
/// That the point lies on the curve is for the code that uses it to check
/// ([`P256PublicKey::is_on_curve`], [`crate::hardware::PinnedPublicKey`]); this is its notation.
#[derive(Clone, Copy, Eq, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Vec<u8>", into = "Vec<u8>")]
pub struct P256PublicKey([u8; 65]);

/// A point that is not on P-256.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("the public key is not a point on the curve P-256")]
pub struct NotOnCurve;

impl P256PublicKey {
    /// The key whose uncompressed point is `bytes`.
    ///
    /// # Errors
    /// [`Malformed::Length`] where they are not `0x04` and 64 more.
    pub fn from_uncompressed(bytes: &[u8]) -> Result<Self, Malformed> {
        match <[u8; 65]>::try_from(bytes) {
            Ok(point) if point[0] == 0x04 => Ok(Self(point)),
            _ => Err(Malformed::Length { expected: 65 }),
        }
    }

    /// The uncompressed point, 65 bytes.
    pub fn as_uncompressed(&self) -> &[u8; 65] {
        &self.0
    }

    /// Whether the point lies on P-256. The curve has no small subgroups, so that is all there is to check
    /// (NIST SP 800-56A §5.6.2.3.4).
    pub fn is_on_curve(&self) -> bool {
        ParsedPublicKey::try_from(UnparsedPublicKey::new(&ECDH_P256, &self.0)).is_ok()
    }

    /// The SHA-256 thumbprint of the key: 32 bytes (RFC 7638 §3). It is the key's `CKA_ID`, and in
    /// base64url its `kid`.
    pub fn thumbprint(&self) -> [u8; 32] {
        let (x, y) = self.coordinates();
        // The members in lexicographic order, no white space (RFC 7638 §3.3).
        let canonical = format!(r#"{{"crv":"P-256","kty":"EC","x":"{x}","y":"{y}"}}"#);
        digest(&SHA256, canonical.as_bytes()).as_ref().try_into().expect("SHA-256 gives 32 bytes")
    }

    /// The `kid`: the thumbprint in base64url, 43 characters.
    pub fn kid(&self) -> String {
        base64url::encode(self.thumbprint())
    }

    fn coordinates(&self) -> (String, String) {
        (base64url::encode(&self.0[1..33]), base64url::encode(&self.0[33..]))
    }
}

impl std::fmt::Debug for P256PublicKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "P256PublicKey({})", self.kid())
    }
}

impl TryFrom<Vec<u8>> for P256PublicKey {
    type Error = Malformed;

    fn try_from(bytes: Vec<u8>) -> Result<Self, Malformed> {
        Self::from_uncompressed(&bytes)
    }
}

impl From<P256PublicKey> for Vec<u8> {
    fn from(key: P256PublicKey) -> Self {
        key.0.to_vec()
    }
}

/// A public key and nothing else of it, such as `epk` (RFC 7518 §4.6.1.1). One with further members, the
/// private `d` above all, is refused.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct BareJwk {
    kty: String,
    crv: String,
    x: String,
    y: String,
}

impl From<P256PublicKey> for BareJwk {
    fn from(key: P256PublicKey) -> Self {
        let (x, y) = key.coordinates();
        Self { kty: "EC".to_owned(), crv: "P-256".to_owned(), x, y }
    }
}

impl TryFrom<BareJwk> for P256PublicKey {
    type Error = Malformed;

    fn try_from(BareJwk { kty, crv, x, y }: BareJwk) -> Result<Self, Malformed> {
        if kty != "EC" || crv != "P-256" {
            return Err(Malformed::Algorithm);
        }
        let mut point = [4; 65];
        point[1..33].copy_from_slice(&base64url::decode_array::<32>(x)?);
        point[33..].copy_from_slice(&base64url::decode_array::<32>(y)?);
        Ok(Self(point))
    }
}

/// A JWK Set (RFC 7517 §5).
#[derive(Debug, Serialize, ToSchema)]
pub struct JwkSet {
    keys: Vec<Jwk>,
}

/// A public signing key as others verify with it.
#[derive(Debug, Serialize, ToSchema)]
struct Jwk {
    kty: &'static str,
    crv: &'static str,
    x: String,
    y: String,
    #[serde(rename = "use")]
    public_key_use: &'static str,
    alg: &'static str,
    kid: String,
}

impl JwkSet {
    /// The set of `keys`, each for verifying ES256 signatures.
    pub fn of_signing_keys<'a>(keys: impl IntoIterator<Item = &'a P256PublicKey>) -> Self {
        let keys = keys.into_iter().map(|key| {
            let (x, y) = key.coordinates();
            Jwk { kty: "EC", crv: "P-256", x, y, public_key_use: "sig", alg: super::jws::ES256, kid: key.kid() }
        });
        Self { keys: keys.collect() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_thumbprint_is_the_one_that_another_library_computes() {
        // The key of RFC 7517 A.1.
        let x = base64url::decode("MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4").unwrap();
        let y = base64url::decode("4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM").unwrap();
        let key = P256PublicKey::from_uncompressed(&[&[4], &x[..], &y[..]].concat()).unwrap();
        let jwk: jsonwebtoken::jwk::Jwk = serde_json::from_value(serde_json::json!({
            "kty": "EC", "crv": "P-256", "x": base64url::encode(&x), "y": base64url::encode(&y),
        }))
        .unwrap();
        assert_eq!(key.kid(), jwk.thumbprint(jsonwebtoken::jwk::ThumbprintHash::SHA256).unwrap());
        assert_eq!(key.kid(), "cn-I_WNMClehiVp51i_0VpOENW1upEerA8sEam5hn-s");
    }

    #[test]
    fn a_compressed_or_truncated_point_is_refused() {
        assert!(P256PublicKey::from_uncompressed(&[2; 33]).is_err());
        assert!(P256PublicKey::from_uncompressed(&[4; 64]).is_err());
        assert!(P256PublicKey::from_uncompressed(&[6; 65]).is_err());
    }
}
