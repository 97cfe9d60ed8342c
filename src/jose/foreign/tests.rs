//! Attacks on a reader of other parties' JWS, the specifications' own examples, and what another library makes.

mod claims;
mod keys;

use jsonwebtoken::jwk::{Jwk, ThumbprintHash};
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use rcgen::{KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_ECDSA_P384_SHA384, PKCS_RSA_SHA256, RsaKeySize};
use serde_json::{Value, json};

use super::*;
use crate::clock::Timestamp;

/// RFC 7515 A.3.
const P256_JWK: &str = r#"{"kty":"EC","crv":"P-256","x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
    "y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"}"#;
const P256_JWS: &str = "eyJhbGciOiJFUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNv\
    bS9pc19yb290Ijp0cnVlfQ.DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q";
/// RFC 7515 A.2.
const RSA_JWK: &str = r#"{"kty":"RSA","n":"ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbji9k0l8W26mPddxHmfHQp-Vaw-4qPCJrcS2mJPMEzP1Pt0Bm4d4QlL-yRT-SFd2lZS-pCgNMsD1W_YpRPEwOWvG6b32690r2jZ47soMZo9wGzjb_7OMg0LOL-bSf63kpaSHSXndS5z5rexMdbBYUsLA9e-KXBdQOS-UTo7WTBEMa2R2CapHg665xsmtdVMTBQY4uDZlxvb3qCo5ZwKh9kG4LT6_I5IhlJH7aGhyxXFvUK-DWNmoudF8NAco9_h9iaGNj8q2ethFkMLs91kzk2PAcDTW9gb54h4FRWyuXpoQ","e":"AQAB"}"#;
const RSA_JWS: &str = "eyJhbGciOiJSUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNv\
    bS9pc19yb290Ijp0cnVlfQ.cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9PJbu3XOiZj5RZmh7AAuHIm4Bh-0Qc_lF5YKt_O8\
    W2Fp5jujGbds9uJdbF9CUAr7t1dnZcAcQjbKBYNX4BAynRFdiuB--f_nZLgrnbyTyWzO75vRK5h6xBArLIARNPvkSjtQBMHlb1L07Qe7K0GarZR\
    mB_eSN9383LcOLn6_dO--xi12jzDwusC-eOkHWEsqtFZESc6BfI7noOPqvhJ1phCnvWh6IeYI2w9QOYEUipUTI8np6LbgGY9Fs98rqVt5AXLIhW\
    kWywlVmtVrBp0igcN_IoypGlUPQGe77Rw";
/// RFC 8037 A.2 and A.4.
const ED25519_JWK: &str = r#"{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}"#;
const ED25519_JWS: &str = "eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc.hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcv\
    Mg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg";
/// The private half of [`ED25519_JWK`] (RFC 8037 A.1), as PKCS #8.
const ED25519_PKCS8: [u8; 16] = *b"\x30\x2e\x02\x01\x00\x30\x05\x06\x03\x2b\x65\x70\x04\x22\x04\x20";
const ED25519_SEED: &str = "nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A";

const NOW: Timestamp = Timestamp::from_unix_seconds(1_700_000_000);

fn parsed(text: &str) -> PresentedForeignJws<'_> {
    PresentedForeignJws::parse(text).unwrap()
}

fn key(jwk: &str) -> VerificationKey {
    VerificationKey::from_jwk(&serde_json::from_str(jwk).unwrap()).unwrap()
}

/// `jwk` with `changes`, where null takes a member away.
fn changed(jwk: &str, changes: Value) -> Value {
    let mut jwk: Value = serde_json::from_str(jwk).unwrap();
    for (name, value) in changes.as_object().unwrap() {
        jwk.as_object_mut().unwrap().remove(name);
        if !value.is_null() {
            jwk[name] = value.clone();
        }
    }
    jwk
}

/// A JWS with this header and these claims, which nobody signed.
fn unsigned(header: &str, claims: &str) -> String {
    format!("{}.{}.AAAA", base64url::encode(header), base64url::encode(claims))
}

fn nested(depth: usize) -> String {
    format!("{}1{}", r#"{"a":"#.repeat(depth), "}".repeat(depth))
}

/// One key of each kind, by which another library signs.
fn signers() -> Vec<(Algorithm, EncodingKey)> {
    let elliptic = |algorithm| EncodingKey::from_ec_der(&KeyPair::generate_for(algorithm).unwrap().serialize_der());
    let rsa = KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_2048).unwrap().serialize_der();
    // PKCS #8 around the PKCS #1 that is asked for.
    let rsa = &rsa[26..];
    let seed = base64url::decode(ED25519_SEED).unwrap();
    vec![
        (Algorithm::ES256, elliptic(&PKCS_ECDSA_P256_SHA256)),
        (Algorithm::ES384, elliptic(&PKCS_ECDSA_P384_SHA384)),
        (Algorithm::EdDSA, EncodingKey::from_ed_der(&[&ED25519_PKCS8[..], &seed].concat())),
        (Algorithm::RS256, EncodingKey::from_rsa_der(rsa)),
        (Algorithm::PS256, EncodingKey::from_rsa_der(rsa)),
    ]
}

#[test]
fn the_examples_of_the_specifications_are_verified() {
    for (jwk, jws) in [(P256_JWK, P256_JWS), (RSA_JWK, RSA_JWS), (ED25519_JWK, ED25519_JWS)] {
        let jws = parsed(jws);
        for other in [P256_JWK, RSA_JWK, ED25519_JWK] {
            let expected = if other == jwk { Ok(()) } else { Err(NotVerified::Algorithm) };
            assert_eq!(key(other).verify(&jws), expected, "{other}");
        }
    }
    let claims = parsed(P256_JWS).claims().unwrap();
    assert_eq!((claims.iss.as_deref(), claims.exp), (Some("joe"), Some(Timestamp::from_unix_seconds(1_300_819_380))));
    assert_eq!(claims.all["http://example.com/is_root"], true);
    assert_eq!(parsed(ED25519_JWS).claims(), Err(Malformed::Json), "any bytes can be signed");
}

#[test]
fn thumbprints_are_those_of_the_specifications() {
    // RFC 7638 §3.1, with the members that do not count.
    let rsa = r#"{"kty":"RSA","n":"0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw","e":"AQAB","alg":"RS256","kid":"2011-04-29"}"#;
    for (jwk, thumbprint) in [
        (rsa, "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs"),
        // RFC 8037 A.3.
        (ED25519_JWK, "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k"),
    ] {
        assert_eq!(base64url::encode(key(jwk).thumbprint()), thumbprint);
    }
}

#[test]
fn what_another_library_signs_is_verified_and_nothing_that_differs_from_it() {
    for (algorithm, signer) in signers() {
        let jwk = Jwk::from_encoding_key(&signer, algorithm).unwrap();
        let key = VerificationKey::from_jwk(&serde_json::to_value(&jwk).unwrap()).unwrap();
        assert_eq!(base64url::encode(key.thumbprint()), jwk.thumbprint(ThumbprintHash::SHA256).unwrap());
        let text = encode(&Header::new(algorithm), &json!({"sub": "robot"}), &signer).unwrap();
        assert_eq!(key.verify(&parsed(&text)), Ok(()), "{algorithm:?}");
        assert_eq!(parsed(&text).claims().unwrap().sub.as_deref(), Some("robot"));
        for place in 0..text.len() {
            let mut other = text.clone().into_bytes();
            other[place] = if other[place] == b'A' { b'B' } else { b'A' };
            let other = String::from_utf8(other).unwrap();
            let verified = PresentedForeignJws::parse(&other).is_ok_and(|jws| key.verify(&jws).is_ok());
            assert!(!verified, "{algorithm:?}, byte {place}");
        }
    }
}

#[test]
fn a_key_takes_its_own_algorithms_only() {
    let [es256, _, eddsa, rs256, ps256] = &signers()[..] else { panic!() };
    let jwk = |(algorithm, signer): &(Algorithm, EncodingKey)| {
        serde_json::to_value(Jwk::from_encoding_key(signer, *algorithm).unwrap()).unwrap()
    };
    let sign =
        |(algorithm, signer): &(Algorithm, EncodingKey)| encode(&Header::new(*algorithm), &json!({}), signer).unwrap();
    let rsa_for_both = VerificationKey::from_jwk(&changed(&jwk(rs256).to_string(), json!({"alg": null}))).unwrap();
    for signer in [rs256, ps256] {
        assert_eq!(rsa_for_both.verify(&parsed(&sign(signer))), Ok(()));
    }
    // The key of both, for one of them.
    let only = VerificationKey::from_jwk(&jwk(rs256)).unwrap();
    assert_eq!(only.verify(&parsed(&sign(ps256))), Err(NotVerified::Algorithm));
    for other in [es256, eddsa] {
        assert_eq!(rsa_for_both.verify(&parsed(&sign(other))), Err(NotVerified::Algorithm));
        let other = VerificationKey::from_jwk(&jwk(other)).unwrap();
        assert_eq!(other.verify(&parsed(&sign(rs256))), Err(NotVerified::Algorithm));
    }
    let newer_name = VerificationKey::from_jwk(&changed(ED25519_JWK, json!({"alg": "Ed25519"}))).unwrap();
    assert_eq!(newer_name.verify(&parsed(ED25519_JWS)), Ok(()));
}

/// A public key is no secret: whoever takes it for one is taken in by everybody.
#[test]
fn no_signature_is_made_with_a_public_key_as_the_secret() {
    for secret in [P256_JWK.as_bytes(), RSA_JWK.as_bytes()] {
        for algorithm in [Algorithm::HS256, Algorithm::HS384, Algorithm::HS512] {
            let text = encode(&Header::new(algorithm), &json!({}), &EncodingKey::from_secret(secret)).unwrap();
            assert_eq!(PresentedForeignJws::parse(&text).unwrap_err(), Malformed::Algorithm);
            // The same bytes under the name of the key's own algorithm.
            let (_, rest) = text.split_once('.').unwrap();
            for (alg, jwk) in [("ES256", P256_JWK), ("RS256", RSA_JWK)] {
                let text = format!("{}.{rest}", base64url::encode(json!({"alg": alg}).to_string()));
                assert_eq!(key(jwk).verify(&parsed(&text)), Err(NotVerified::Signature));
            }
        }
    }
}

#[test]
fn malformed_headers_are_refused() {
    let deep_enough = format!(r#"{{"alg":"ES256","deep":{}}}"#, nested(7));
    let too_deep = format!(r#"{{"alg":"ES256","deep":{}}}"#, nested(8));
    let with = |member: &str| format!(r#"{{"alg":"ES256",{member}}}"#);
    for header in [&with(r#""unknown":{"a":[1,null,true,1.5,"x"]}"#), &deep_enough, " {\"alg\":\"ES256\"}\n"] {
        assert!(PresentedForeignJws::parse(&unsigned(header, "{}")).is_ok(), "{header}");
    }
    for header in [
        r#""ES256""#,
        r#"["ES256"]"#,
        "",
        "{",
        "null",
        "{}",
        r#"{"alg":null}"#,
        r#"{"alg":["ES256"]}"#,
        r#"{"alg":1}"#,
        &with(r#""alg":"ES256""#),
        &with(r#""alg":"none""#),
        &with(r#""\u0061lg":"none""#),
        &with(r#""x":1,"x":1"#),
        &with(r#""x":{"y":1,"y":1}"#),
        &with(r#""x":[{"y":1,"y":1}]"#),
        &with(r#""typ":1"#),
        &with(r#""kid":null"#),
        &with(r#""kid":["a"]"#),
        &with(r#""kid":"\ud800""#),
        &too_deep,
        r#"{"alg":"ES256"}{"alg":"ES256"}"#,
        r#"{"alg":"ES256"}x"#,
        "\u{feff}{\"alg\":\"ES256\"}",
        r#"{"alg":"ES256",}"#,
        r#"{'alg':'ES256'}"#,
        &with("\"x\":NaN"),
        &with("\"x\":1e999"),
        &with(r#""jwk":"x""#),
    ] {
        assert_eq!(PresentedForeignJws::parse(&unsigned(header, "{}")).unwrap_err(), Malformed::Json, "{header}");
    }
    for alg in ["none", "None", "NONE", "", "HS256", "HS384", "HS512", "es256", "ES256 ", "RS1", "ES256K", "dir"] {
        let header = json!({ "alg": alg }).to_string();
        assert_eq!(PresentedForeignJws::parse(&unsigned(&header, "{}")).unwrap_err(), Malformed::Algorithm, "{alg}");
    }
    let bytes = base64url::encode(b"{\"alg\":\"ES256\",\"x\":\"\xff\"}");
    assert_eq!(PresentedForeignJws::parse(&format!("{bytes}.e30.AAAA")).unwrap_err(), Malformed::Json);
}

#[test]
fn a_header_brings_no_key_and_changes_no_meaning() {
    for member in [
        r#""crit":["exp"]"#,
        r#""crit":[]"#,
        r#""crit":null"#,
        r#""b64":true"#,
        r#""b64":false"#,
        r#""zip":"DEF""#,
        r#""jku":"https://evil.example/jwks""#,
        r#""x5u":"https://evil.example/""#,
        r#""x5c":["MII"]"#,
    ] {
        let text = unsigned(&format!(r#"{{"alg":"ES256",{member}}}"#), "{}");
        assert_eq!(PresentedForeignJws::parse(&text).unwrap_err(), Malformed::Parameter, "{member}");
        assert_eq!(PresentedForeignJws::parse_with_embedded_key(&text).unwrap_err(), Malformed::Parameter, "{member}");
    }
    let text = unsigned(&format!(r#"{{"alg":"ES256","jwk":{P256_JWK}}}"#), "{}");
    assert_eq!(PresentedForeignJws::parse(&text).unwrap_err(), Malformed::Parameter);
    let proof = PresentedForeignJws::parse_with_embedded_key(&text).unwrap();
    assert!(VerificationKey::from_jwk(proof.jwk().unwrap()).is_ok());
    let twice = unsigned(r#"{"alg":"ES256","jwk":{"kty":"EC","d":"AAAA","d":"AAAA"}}"#, "{}");
    assert_eq!(PresentedForeignJws::parse_with_embedded_key(&twice).unwrap_err(), Malformed::Json);
}

#[test]
fn only_three_parts_of_base64url_are_a_jws() {
    let (header, claims) = (base64url::encode(r#"{"alg":"ES256"}"#), "e30");
    for text in [
        String::new(),
        "..".to_owned(),
        header.clone(),
        format!("{header}.{claims}"),
        format!("{header}.{claims}."),
        format!("{header}.{claims}.AAAA.AAAA"),
        format!("{header}.{claims}.AAAA."),
        format!(".{claims}.AAAA"),
        format!("{header}=.{claims}.AAAA"),
        format!("{header}.{claims}=.AAAA"),
        format!("{header}.{claims}.AAA="),
        format!("{header}.{claims}.AA+A"),
        format!("{header}.{claims}.AA/A"),
        format!("{header}.{claims}.AAAAA"),
        format!(" {header}.{claims}.AAAA"),
        format!("{header}.{claims}.AAAA\n"),
        format!("{header}.{claims}.AAB"),
        json!({"payload": claims, "protected": header, "signature": "AAAA"}).to_string(),
    ] {
        assert!(PresentedForeignJws::parse(&text).is_err(), "{text}");
    }
    let filled = |length: usize| {
        let text = format!("{header}..AAAA");
        text.replace("..", &format!(".{}.", "A".repeat(length - text.len())))
    };
    assert!(PresentedForeignJws::parse(&filled(MAX_JWS_LENGTH)).is_ok());
    let too_long = PresentedForeignJws::parse(&filled(MAX_JWS_LENGTH + 1)).map(|_| ());
    assert_eq!(too_long, Err(Malformed::TooLong { most: MAX_JWS_LENGTH }));
}

#[test]
fn media_types_are_compared_as_such() {
    for (typ, is) in [
        ("JWT", true),
        ("jwt", true),
        ("application/jwt", true),
        ("APPLICATION/JWT", true),
        ("at+jwt", false),
        ("", false),
        ("application/", false),
        ("text/jwt", false),
        ("application/application/jwt", false),
        ("ÄÄÄÄÄÄÄ", false),
    ] {
        let text = unsigned(&json!({"alg": "ES256", "typ": typ}).to_string(), "{}");
        assert_eq!(parsed(&text).is_of_type("JWT"), is, "{typ}");
    }
    assert!(!parsed(P256_JWS).is_of_type("JWT"), "there is none");
}
