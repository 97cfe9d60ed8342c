//! Verifying mintkeep's tokens by libraries that are not ours.

use std::io::Write as _;
use std::process::{Command, Stdio};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::jwk::JwkSet;
use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode, decode_header};
use serde_json::Value;

use super::RunningMint;

/// The claims of `token`, verified by the crate `jsonwebtoken` against the published keys of `mint`.
#[track_caller]
pub fn verified(mint: &RunningMint, token: &str, audience: &str) -> Value {
    let jwks: JwkSet = serde_json::from_str(&mint.get("/.well-known/jwks.json").body).expect("a JWK Set");
    let kid = decode_header(token).expect("a JWS").kid.expect("a kid");
    let key = DecodingKey::from_jwk(jwks.find(&kid).expect("the key is published")).expect("a good key");
    let mut validation = Validation::new(Algorithm::ES256);
    validation.set_required_spec_claims(&["iss", "exp", "aud", "sub"]);
    validation.set_issuer(&["https://mint.example.com"]);
    validation.set_audience(&[audience]);
    decode::<Value>(token, &key, &validation).expect("the signature verifies").claims
}

/// The claims of `token`, which nobody verifies.
#[track_caller]
pub fn claims_of(token: &str) -> Value {
    let claims = token.split('.').nth(1).expect("a JWS");
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(claims).expect("base64url")).expect("JSON")
}

/// The header of `token`.
#[track_caller]
pub fn header_of(token: &str) -> Value {
    let header = token.split('.').next().expect("a JWS");
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(header).expect("base64url")).expect("JSON")
}

/// The claims of `token`, verified by Python's jwcrypto, which shares no code with any of ours, against
/// `jwks`; `None` where it refuses.
pub fn verified_by_jwcrypto(jwks: &str, token: &str) -> Option<Value> {
    const SCRIPT: &str = "
import json, sys
from jwcrypto import jwk, jwt
keys, token = json.load(sys.stdin)
print(jwt.JWT(jwt=token, key=jwk.JWKSet.from_json(keys), algs=['ES256']).claims)
";
    let mut python = Command::new("/usr/bin/python3")
        .args(["-c", SCRIPT])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("python3 with jwcrypto is installed");
    let input = serde_json::json!([jwks, token]).to_string();
    python.stdin.take().expect("it is piped").write_all(input.as_bytes()).expect("it reads");
    let output = python.wait_with_output().expect("it ends");
    if !output.status.success() {
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(error.contains("InvalidJWS") || error.contains("InvalidJWT"), "{error}");
        return None;
    }
    Some(serde_json::from_slice(&output.stdout).expect("claims in JSON"))
}
