//! Keys and key sets that others publish.

use rcgen::{KeyPair, PKCS_ECDSA_P256_SHA256};
use serde_json::{Value, json};

use super::*;

#[test]
fn keys_that_are_not_what_they_should_be_are_refused() {
    use JwkError::{Malformed as Bad, NotOnCurve, OtherUse, Private, RsaSize, Unsupported};
    let modulus = |bytes: usize, last: u8| {
        let mut n = vec![0xff; bytes];
        n[bytes - 1] = last;
        base64url::encode(n)
    };
    let of = |kty: &str| json!({"kty": kty});
    for (jwk, changes, expected) in [
        (P256_JWK, json!({"d": "AAAA"}), Private { member: "d" }),
        (P256_JWK, json!({"k": "AAAA"}), Private { member: "k" }),
        (ED25519_JWK, json!({"d": ED25519_SEED}), Private { member: "d" }),
        (RSA_JWK, json!({"p": ""}), Private { member: "p" }),
        (RSA_JWK, json!({"q": 1}), Private { member: "q" }),
        (RSA_JWK, json!({"dp": "AA"}), Private { member: "dp" }),
        (RSA_JWK, json!({"dq": "AA"}), Private { member: "dq" }),
        (RSA_JWK, json!({"qi": "AA"}), Private { member: "qi" }),
        (RSA_JWK, json!({"oth": []}), Private { member: "oth" }),
        (P256_JWK, of("oct"), Unsupported),
        (P256_JWK, of("oct "), Unsupported),
        (P256_JWK, of("OKP"), Unsupported),
        (P256_JWK, of("ec"), Unsupported),
        (P256_JWK, json!({"kty": null}), Bad { member: "kty" }),
        (P256_JWK, json!({"kty": ["EC"]}), Bad { member: "kty" }),
        (P256_JWK, json!({"crv": null}), Bad { member: "crv" }),
        (P256_JWK, json!({"crv": "P-384"}), Bad { member: "x" }),
        (P256_JWK, json!({"crv": "P-521"}), Unsupported),
        (P256_JWK, json!({"crv": "secp256k1"}), Unsupported),
        (ED25519_JWK, json!({"crv": "X25519"}), Unsupported),
        (ED25519_JWK, json!({"crv": "Ed448"}), Unsupported),
        (ED25519_JWK, json!({"x": "AAAA"}), Bad { member: "x" }),
        (P256_JWK, json!({"y": null}), Bad { member: "y" }),
        (P256_JWK, json!({"y": "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU"}), NotOnCurve),
        (P256_JWK, json!({"x": base64url::encode([0; 32]), "y": base64url::encode([0; 32])}), NotOnCurve),
        (P256_JWK, json!({"x": base64url::encode([0xff; 32])}), NotOnCurve),
        (P256_JWK, json!({"x": "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU="}), Bad { member: "x" }),
        (P256_JWK, json!({"x": "AIN_zSdw9sRdQYPL7m_bS3tYBzM1e-nvE7rPbjx70VRF"}), Bad { member: "x" }),
        (P256_JWK, json!({"kid": 1}), Bad { member: "kid" }),
        (P256_JWK, json!({"alg": "ES384"}), Bad { member: "alg" }),
        (P256_JWK, json!({"alg": "RS256"}), Bad { member: "alg" }),
        (P256_JWK, json!({"alg": "none"}), Unsupported),
        (P256_JWK, json!({"alg": "ECDH-ES"}), Unsupported),
        (RSA_JWK, json!({"alg": "HS256"}), Unsupported),
        (RSA_JWK, json!({"alg": "ES256"}), Bad { member: "alg" }),
        (P256_JWK, json!({"use": "enc"}), OtherUse),
        (P256_JWK, json!({"use": ["sig"]}), Bad { member: "use" }),
        (P256_JWK, json!({"key_ops": ["sign"]}), OtherUse),
        (P256_JWK, json!({"key_ops": []}), OtherUse),
        (P256_JWK, json!({"key_ops": "verify"}), Bad { member: "key_ops" }),
        (RSA_JWK, json!({"n": modulus(128, 0xff)}), RsaSize),
        (RSA_JWK, json!({"n": modulus(255, 0xff)}), RsaSize),
        (RSA_JWK, json!({"n": modulus(256, 0xfe)}), RsaSize),
        (RSA_JWK, json!({"n": modulus(1025, 0xff)}), RsaSize),
        (RSA_JWK, json!({"n": modulus(2048, 0xff)}), RsaSize),
        (RSA_JWK, json!({"n": base64url::encode([&[0], &[0xff; 256][..]].concat())}), Bad { member: "n" }),
        (RSA_JWK, json!({"n": ""}), Bad { member: "n" }),
        (RSA_JWK, json!({"e": null}), Bad { member: "e" }),
        (RSA_JWK, json!({"e": "AQ"}), RsaSize),
        (RSA_JWK, json!({"e": "Ag"}), RsaSize),
        (RSA_JWK, json!({"e": base64url::encode([0xff; 5])}), RsaSize),
        (RSA_JWK, json!({"e": base64url::encode([0xff; 256])}), RsaSize),
    ] {
        let jwk = changed(jwk, changes);
        assert_eq!(VerificationKey::from_jwk(&jwk).unwrap_err(), expected, "{jwk}");
    }
    for (jwk, changes) in [
        (P256_JWK, json!({"use": "sig", "key_ops": ["sign", "verify"], "alg": "ES256", "x5c": ["MII"]})),
        (RSA_JWK, json!({"n": modulus(1024, 0xff), "e": "Aw"})),
    ] {
        assert!(VerificationKey::from_jwk(&changed(jwk, changes)).is_ok());
    }
    for jwk in [json!(null), json!([]), json!("EC"), json!({})] {
        assert_eq!(VerificationKey::from_jwk(&jwk).unwrap_err(), Bad { member: "kty" }, "{jwk}");
    }
}

#[test]
fn a_set_skips_what_it_cannot_use_and_verifies_by_kid() {
    let document = json!({"keys": [
        {"kty": "oct", "k": "AAAA", "kid": "a"},
        {"kty": "EC", "crv": "P-521", "kid": "a"},
        changed(RSA_JWK, json!({"kid": "a", "use": "enc"})),
        changed(P256_JWK, json!({"kid": "a"})),
        changed(ED25519_JWK, json!({"kid": "a"})),
        changed(RSA_JWK, json!({"kid": "b"})),
        "x",
    ]});
    let set = ForeignKeySet::parse(document.to_string().as_bytes()).unwrap();
    assert_eq!((set.keys().len(), set.skipped().len()), (3, 4));
    assert_eq!(set.candidates(Some("a"), SignatureAlgorithm::Es256).count(), 1);
    assert_eq!(set.candidates(None, SignatureAlgorithm::Ps256).count(), 1);
    // None has a kid.
    for (jws, kid) in [(P256_JWS, "a"), (ED25519_JWS, "a"), (RSA_JWS, "b")] {
        assert_eq!(set.verify(&parsed(jws)).unwrap().kid(), Some(kid));
    }
    for (header, expected) in [
        (json!({"alg": "ES256", "kid": "c"}), NotVerified::UnknownKey),
        (json!({"alg": "ES256", "kid": ""}), NotVerified::UnknownKey),
        (json!({"alg": "ES384"}), NotVerified::UnknownKey),
        (json!({"alg": "RS256", "kid": "a"}), NotVerified::Algorithm),
        (json!({"alg": "ES256", "kid": "a"}), NotVerified::Signature),
        (json!({"alg": "ES256"}), NotVerified::Signature),
    ] {
        let text = unsigned(&header.to_string(), "{}");
        assert_eq!(set.verify(&parsed(&text)).unwrap_err(), expected, "{header}");
    }
}

#[test]
fn a_signature_without_a_kid_is_tried_with_four_keys_and_no_more() {
    let set_of = |number: usize| {
        let others = (1..number).map(|_| {
            let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap();
            let point = key.public_key_raw();
            json!({"kty": "EC", "crv": "P-256", "x": base64url::encode(&point[1..33]), "y": base64url::encode(&point[33..])})
        });
        let mut keys: Vec<Value> = others.collect();
        keys.push(serde_json::from_str(P256_JWK).unwrap());
        ForeignKeySet::parse(json!({ "keys": keys }).to_string().as_bytes())
    };
    assert!(set_of(4).unwrap().verify(&parsed(P256_JWS)).is_ok(), "the last one made it");
    assert_eq!(set_of(5).unwrap().verify(&parsed(P256_JWS)).unwrap_err(), NotVerified::Ambiguous);
    assert!(set_of(MAX_KEYS).is_ok());
    assert_eq!(set_of(MAX_KEYS + 1).unwrap_err(), KeySetError::TooManyKeys);
}

#[test]
fn what_is_no_set_is_refused() {
    for json in [
        "",
        "null",
        "[]",
        "{}",
        r#"{"keys":{}}"#,
        r#"{"keys":null}"#,
        r#"{"keys":[]} x"#,
        r#"{"keys":[],"keys":[]}"#,
        r#"{"keys":[{"kty":"EC","kty":"RSA"}]}"#,
    ] {
        assert_eq!(ForeignKeySet::parse(json.as_bytes()).unwrap_err(), KeySetError::Malformed, "{json}");
    }
    let filled = |length: usize| format!(r#"{{"keys":[]{}}}"#, " ".repeat(length - 11));
    assert!(ForeignKeySet::parse(filled(MAX_KEY_SET_LENGTH).as_bytes()).unwrap().keys().is_empty());
    assert_eq!(ForeignKeySet::parse(filled(MAX_KEY_SET_LENGTH + 1).as_bytes()).unwrap_err(), KeySetError::TooLong);
}
