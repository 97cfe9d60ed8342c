//! A file that has a public key on P-256: a JWK, or PEM as `openssl pkey -pubout` writes it.

use std::fs;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::{Failure, Kind};
use crate::jose::jwk::{BareJwk, P256PublicKey};
use crate::jose::public_key_info;

/// The key in the file at `path`.
pub(super) fn read(path: &Path) -> Result<P256PublicKey, Failure> {
    let text = fs::read_to_string(path).map_err(Failure::while_doing(format!("cannot read {}", path.display())))?;
    parse(&text).ok_or_else(|| {
        let message = format!(
            "{}: expected a public key on P-256, as PEM (PUBLIC KEY) or as a JWK of kty, crv, x and y",
            path.display()
        );
        Failure::new(Kind::Refused, message)
    })
}

fn parse(text: &str) -> Option<P256PublicKey> {
    let text = text.trim();
    if text.starts_with('{') {
        let jwk: BareJwk = serde_json::from_str(text).ok()?;
        return jwk.try_into().ok();
    }
    let body = text.strip_prefix("-----BEGIN PUBLIC KEY-----")?.strip_suffix("-----END PUBLIC KEY-----")?;
    let der = STANDARD.decode(body.split_whitespace().collect::<String>()).ok()?;
    public_key_info::decode(&der)
}

#[cfg(test)]
mod tests {
    use p256::SecretKey;
    use p256::pkcs8::EncodePublicKey as _;

    use super::*;

    #[test]
    fn pem_and_jwk_are_the_same_key_and_anything_else_is_none() {
        let key = SecretKey::from_slice(&[7; 32]).unwrap().public_key();
        let expected = P256PublicKey::from_uncompressed(&key.to_sec1_bytes()).unwrap();
        let pem = key.to_public_key_pem(Default::default()).unwrap();
        assert_eq!(parse(&pem), Some(expected));
        let jwk = serde_json::to_string(&BareJwk::from(expected)).unwrap();
        assert_eq!(parse(&jwk), Some(expected));
        for text in ["", "{}", &pem[..60], &pem.replace("PUBLIC", "PRIVATE"), &jwk.replace("P-256", "P-384")] {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}
