//! What is signed or sealed, on a line in compact form or on two as it is inside, then a JWK Set.

use std::str;
use std::time::Duration;

use mintkeep::clock::Timestamp;
use mintkeep::jose::base64url;
use mintkeep::jose::claims::ReadAccessTokenClaims;
use mintkeep::jose::foreign::{
    ForeignClaims, ForeignKeySet, MAX_KEYS, PresentedForeignJws, SignatureAlgorithm, VerificationKey,
};
use mintkeep::jose::jwe::{PresentedJwe, ProtectedHeader};
use mintkeep::jose::jws::PresentedJws;
use mintkeep::jose::thumbprint::Thumbprint;
use serde_json::{Map, Value, json};

use super::reading::{audience, first_line, object, seconds, text};
use super::scene::NOW;

const LEEWAY: i64 = 30;

/// Reads the text as everything that it could be, and verifies it by the set. Where the first line is JSON, it is a
/// header and the second one the claims: what is inside of base64url changes into nothing else by chance.
pub fn run(data: &[u8]) -> bool {
    let (first, rest) = first_line(data);
    if !matches!(first.first(), Some(b'{' | b'[')) {
        return str::from_utf8(first).is_ok_and(|compact| is_taken(compact, rest));
    }
    let (claims, set) = first_line(rest);
    let (header, claims) = (base64url::encode(first), base64url::encode(claims));
    let jws = format!("{header}.{claims}.{}", base64url::encode([0; 64]));
    let jwe = format!("{header}..{}.{claims}.{}", base64url::encode([0; 12]), base64url::encode([0; 16]));
    is_taken(&jws, set) | sealed(&jwe)
}

fn is_taken(compact: &str, set: &[u8]) -> bool {
    let keys = key_set(set);
    let foreign = PresentedForeignJws::parse_with_embedded_key(compact);
    assert_eq!(
        PresentedForeignJws::parse(compact).is_ok(),
        foreign.as_ref().is_ok_and(|jws| jws.jwk().is_none()),
        "an embedded key is taken where it is asked for"
    );
    if let Ok(jws) = &foreign {
        check_foreign(jws, compact);
        if let Some(Ok(signer)) = keys.as_ref().map(|keys| keys.verify(jws)) {
            assert!(signer.accepts(jws.algorithm()));
            assert!(jws.kid().is_none() || jws.kid() == signer.kid());
        }
    }
    foreign.is_ok() | own(compact) | sealed(compact) | keys.is_some()
}

fn check_foreign(jws: &PresentedForeignJws<'_>, compact: &str) {
    assert_eq!(rejoined(jws.signing_input(), jws.signature()), compact);
    let parts: Vec<Vec<u8>> = compact.split('.').map(|part| base64url::decode(part).expect("base64url")).collect();
    let header = object(&parts[0]);
    for name in ["crit", "b64", "zip", "jku", "x5u", "x5c"] {
        assert!(!header.contains_key(name), "{name} in a header");
    }
    let alg = text(&header, "alg").expect("alg is text");
    assert!(SignatureAlgorithm::NAMES.contains(&alg), "{alg}");
    assert_eq!(SignatureAlgorithm::parse(alg), Ok(jws.algorithm()));
    assert_eq!((jws.typ(), jws.kid()), (text(&header, "typ"), text(&header, "kid")));
    assert_eq!(jws.jwk(), header.get("jwk"));
    if let Ok(claims) = jws.claims() {
        check_claims(&claims, &object(&parts[1]));
    }
}

fn check_claims(claims: &ForeignClaims, written: &Map<String, Value>) {
    assert_eq!(claims.all, *written);
    for (name, read) in [("iss", &claims.iss), ("sub", &claims.sub), ("jti", &claims.jti)] {
        assert_eq!(read.as_deref(), text(written, name));
        assert!(read.as_ref().is_none_or(|text| !text.is_empty()), "{name} is empty");
    }
    assert_eq!(claims.aud, audience(written));
    assert!(claims.jti.as_ref().is_none_or(|jti| jti.len() <= 256));
    for (name, read) in [("exp", claims.exp), ("nbf", claims.nbf), ("iat", claims.iat)] {
        assert_eq!(read.map(Timestamp::unix_seconds), seconds(written, name));
        // For the log.
        let _ = read.map(|time| time.to_string());
    }
    let leeway = Duration::from_secs(LEEWAY.unsigned_abs());
    let is_timely = claims.check_times(Timestamp::from_unix_seconds(NOW), leeway).is_ok();
    let is_past = |name| seconds(written, name).is_none_or(|time| time <= NOW + LEEWAY);
    let lives = seconds(written, "exp").is_some_and(|exp| NOW < exp + LEEWAY);
    assert_eq!(is_timely, lives && is_past("nbf") && is_past("iat"));
}

/// As a token of mintkeep's own.
fn own(compact: &str) -> bool {
    let Ok(jws) = PresentedJws::parse(compact) else { return false };
    assert_eq!(rejoined(jws.signing_input(), jws.signature()), compact);
    let part = |index| base64url::decode(compact.split('.').nth(index).unwrap_or_default()).expect("base64url");
    let Ok(header) = jws.header() else { return false };
    assert_eq!(serde_json::to_value(&header).ok(), Some(Value::Object(object(&part(0)))));
    let Ok(claims) = jws.claims::<ReadAccessTokenClaims>() else { return false };
    object(&part(1));
    let again = serde_json::to_vec(&claims).expect("claims are JSON");
    assert_eq!(serde_json::from_slice::<ReadAccessTokenClaims>(&again).ok(), Some(claims));
    true
}

fn rejoined(signing_input: &[u8], signature: &[u8]) -> String {
    format!("{}.{}", str::from_utf8(signing_input).expect("a part of a text"), base64url::encode(signature))
}

/// As a refresh token: the same parts make the same text, so that it has one spelling.
fn sealed(compact: &str) -> bool {
    let Ok(jwe) = PresentedJwe::parse(compact) else { return false };
    let header = ProtectedHeader::new(&jwe.kid, jwe.key_management, &jwe.fid);
    assert_eq!(str::from_utf8(header.as_bytes()), Ok(jwe.protected_header.as_str()));
    let again = header.into_compact(&jwe.nonce, &jwe.ciphertext_and_tag).expect("there is a tag");
    assert_eq!(again, compact);
    true
}

fn key_set(json: &[u8]) -> Option<ForeignKeySet> {
    let set = ForeignKeySet::parse(json).ok()?;
    let document = object(json);
    let jwks = document["keys"].as_array().expect("an array of keys");
    assert!(set.keys().len() <= MAX_KEYS);
    assert_eq!(set.keys().len() + set.skipped().len(), jwks.len());
    let good: Vec<_> = jwks.iter().filter_map(|jwk| Some((jwk, VerificationKey::from_jwk(jwk).ok()?))).collect();
    assert_eq!(good.len(), set.keys().len());
    for ((jwk, key), of_set) in good.iter().zip(set.keys()) {
        assert_eq!(key.thumbprint(), of_set.thumbprint());
        check_key(key, jwk.as_object().expect("a JWK"));
    }
    Some(set)
}

fn check_key(key: &VerificationKey, jwk: &Map<String, Value>) {
    for name in ["d", "p", "q", "dp", "dq", "qi", "oth", "k", "priv"] {
        assert!(!jwk.contains_key(name), "{name} of a private key");
    }
    assert_eq!(key.kid(), text(jwk, "kid"));
    // RFC 7638 §3.2; serde_json has members in lexicographic order.
    let canonical = match text(jwk, "kty") {
        Some("EC") => json!({"crv": jwk["crv"], "kty": "EC", "x": jwk["x"], "y": jwk["y"]}),
        Some("OKP") => json!({"crv": jwk["crv"], "kty": "OKP", "x": jwk["x"]}),
        Some("RSA") => json!({"e": jwk["e"], "kty": "RSA", "n": jwk["n"]}),
        other => panic!("a key of the kind {other:?}"),
    };
    assert_eq!(*key.thumbprint(), Thumbprint::of(canonical.to_string().as_bytes()).0);
    let accepted = SignatureAlgorithm::NAMES.into_iter().filter_map(|name| SignatureAlgorithm::parse(name).ok());
    let accepted: Vec<_> = accepted.filter(|algorithm| key.accepts(*algorithm)).collect();
    assert!(!accepted.is_empty());
    if let Some(alg) = text(jwk, "alg") {
        let only = SignatureAlgorithm::parse(alg).expect("an algorithm of ours");
        assert!(accepted.iter().all(|algorithm| *algorithm == only));
    }
}
