//! `SubjectPublicKeyInfo` of P-256 keys, in DER (RFC 5280 §4.1, RFC 5480 §2): what others call PKIX.

use super::jwk::P256PublicKey;

/// What stands before the point: always the same.
const BEFORE_POINT: [u8; 26] = [
    0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a, 0x86, 0x48, 0xce,
    0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00,
];

/// The DER of `key`.
pub fn encode(key: &P256PublicKey) -> [u8; 91] {
    let mut der = [0; 91];
    der[..26].copy_from_slice(&BEFORE_POINT);
    der[26..].copy_from_slice(key.as_uncompressed());
    der
}

/// The key whose DER `der` is; nothing for another kind of key, or a compressed point.
pub fn decode(der: &[u8]) -> Option<P256PublicKey> {
    P256PublicKey::from_uncompressed(der.strip_prefix(&BEFORE_POINT)?).ok()
}

#[cfg(test)]
mod tests {
    use p256::SecretKey;
    use p256::pkcs8::EncodePublicKey as _;

    use super::*;

    #[test]
    fn it_is_what_another_library_writes() {
        let key = SecretKey::from_slice(&[7; 32]).unwrap().public_key();
        let der = key.to_public_key_der().unwrap();
        let ours = P256PublicKey::from_uncompressed(&key.to_sec1_bytes()).unwrap();
        assert_eq!(encode(&ours), der.as_bytes());
        assert_eq!(decode(der.as_bytes()), Some(ours));
        assert_eq!(decode(&der.as_bytes()[1..]), None);
        assert_eq!(decode(&[der.as_bytes(), &[0]].concat()), None);
    }
}
