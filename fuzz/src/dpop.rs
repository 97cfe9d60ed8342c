//! A DPoP proof (RFC 9449 §4.2): the header on a line, then the claims. They are signed as they stand.

use std::sync::Arc;

use mintkeep::jose::thumbprint::Thumbprint;
use mintkeep::oauth::OAuthError;
use mintkeep::oauth::dpop::Proofs;
use serde_json::{Map, Value};
use url::Url;

use super::once_store::nothing_used;
use super::reading::{first_line, is_typed, object, seconds, text};
use super::scene::{Frozen, NOW, clock, finished, public_key, sign};

const ENDPOINT: &str = "https://mint.example.com/oauth/token";
const NONCE_KEY: [u8; 32] = [7; 32];
/// What the seeds with an `ath` name.
const ACCESS_TOKEN: &str = "access-token";

/// Has the proof judged, and used up twice.
pub fn run(data: &[u8]) -> bool {
    let (header, claims) = first_line(data);
    let endpoint = Url::parse(ENDPOINT).expect("an URL");
    let proofs = Proofs::new(&NONCE_KEY, nothing_used(), clock());
    let proof = sign(header, claims);
    let key = match proofs.verify(&proof, &endpoint) {
        Ok(key) => key,
        Err(OAuthError::InvalidDpopProof(_) | OAuthError::UseDpopNonce) => return false,
        Err(other) => panic!("{other} says nothing of the proof"),
    };
    let (header, claims) = (object(header), object(claims));
    check_header(&header, key.thumbprint);
    check_claims(&claims, &endpoint);
    let ath = claims.get("ath").map(|ath| ath.as_str().expect("ath is text"));
    assert_eq!(
        key.goes_with(ACCESS_TOKEN),
        ath.is_none_or(|ath| ath == Thumbprint::of(ACCESS_TOKEN.as_bytes()).to_string())
    );
    finished(proofs.use_up(key)).expect("it was not used before");
    let again = proofs.verify(&proof, &endpoint).expect("it was good just now");
    assert!(matches!(finished(proofs.use_up(again)), Err(OAuthError::InvalidDpopProof(_))), "it was good twice");
    true
}

fn check_header(header: &Map<String, Value>, proven: Thumbprint) {
    assert!(is_typed(header, "dpop+jwt"), "typ");
    assert!(matches!(text(header, "alg"), Some("EdDSA" | "Ed25519")), "alg is not the key's");
    let jwk = header["jwk"].as_object().expect("a key");
    assert_eq!((text(jwk, "kty"), text(jwk, "crv")), (Some("OKP"), Some("Ed25519")));
    assert_eq!(text(jwk, "x"), Some(public_key().as_str()), "another key than the one that signed");
    assert!(!jwk.contains_key("d"), "a private key");
    let canonical = format!(r#"{{"crv":"Ed25519","kty":"OKP","x":"{}"}}"#, public_key());
    assert_eq!(proven, Thumbprint::of(canonical.as_bytes()));
}

fn check_claims(claims: &Map<String, Value>, endpoint: &Url) {
    assert!(text(claims, "jti").is_some_and(|jti| (1..=256).contains(&jti.len())), "jti");
    assert_eq!(text(claims, "htm"), Some("POST"));
    let htu = text(claims, "htu").expect("htu is text");
    let before_query = htu.split(['?', '#']).next().unwrap_or_default();
    assert_eq!(Url::parse(before_query).as_ref(), Ok(endpoint), "{htu}");
    let issued_at = seconds(claims, "iat").expect("iat is there");
    assert!((NOW - 299..=NOW + 60).contains(&issued_at), "iat is {issued_at}");
    let nonce = text(claims, "nonce").expect("nonce is text");
    let good =
        (-4..=1).map(|minutes| Proofs::new(&NONCE_KEY, nothing_used(), Arc::new(Frozen(NOW + 60 * minutes))).nonce());
    assert!(good.into_iter().any(|good| good == nonce), "a nonce that nobody gave out");
}
