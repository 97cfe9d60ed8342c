//! Dex (`server/signer/vault.go`): it reads a key, computes the thumbprint of the version that is the latest as `kid`, and
//! has a digest signed without naming a version.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::jwk::{Jwk, ThumbprintHash};
use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode};
use mintkeep::clock::{Clock as _, SystemClock};
use serde_json::{Value, json};
use toml_edit::value;

use super::Scene;
use super::scene::{base64, data, public_key, sha256, signature, verifies};
use crate::keyring::orders::{active, is_replaced};
use crate::support::process::{eventually, succeed};

/// What Dex sends for a key on P-256.
fn sign_request(input: &str) -> Value {
    json!({
        "hash_algorithm": "sha2-256",
        "input": base64(sha256(input.as_bytes())),
        "marshaling_algorithm": "jws",
        "prehashed": true,
        "signature_algorithm": "pkcs1v15",
    })
}

/// The JWK of the version `version`, and its thumbprint, as Dex computes them.
fn jwk(key: &Value, version: u32) -> (Jwk, String) {
    let point = public_key(key, version).to_sec1_point(false);
    let jwk: Jwk = serde_json::from_value(json!({
        "kty": "EC", "crv": "P-256", "alg": "ES256", "use": "sig",
        "x": URL_SAFE_NO_PAD.encode(point.x().unwrap()), "y": URL_SAFE_NO_PAD.encode(point.y().unwrap()),
    }))
    .unwrap();
    let kid = jwk.thumbprint(ThumbprintHash::SHA256).unwrap();
    (jwk, kid)
}

/// Dex's `Sign`, as far as it goes before it asks for the signature: the signing input, and what it is to verify by.
fn begin_token(key: &Value) -> (String, Jwk) {
    let latest = u32::try_from(key["latest_version"].as_u64().unwrap()).unwrap();
    let (jwk, kid) = jwk(key, latest);
    let header = json!({"alg": "ES256", "kid": kid});
    let claims = json!({"iss": "https://dex.example.com", "sub": "jane", "aud": "app", "exp": 4_102_444_800_i64});
    let part = |value: Value| URL_SAFE_NO_PAD.encode(value.to_string());
    (format!("{}.{}", part(header), part(claims)), jwk)
}

/// How Dex takes the signature out of the answer, and who verifies it.
fn end_token(input: &str, jwk: &Jwk, answer: &Value) -> Value {
    let signed = answer["signature"].as_str().unwrap();
    let token = format!("{input}.{}", signed.split(':').nth(2).unwrap());
    let mut validation = Validation::new(Algorithm::ES256);
    validation.set_audience(&["app"]);
    decode::<Value>(&token, &DecodingKey::from_jwk(jwk).unwrap(), &validation).unwrap().claims
}

#[test]
fn dex_reads_a_key_and_has_a_token_signed() {
    let scene = Scene::new();
    let key = scene.key("dex", "dex");
    let entry = &key["keys"]["1"];
    let created = entry["creation_time"].as_str().unwrap();
    let created = mintkeep::clock::Timestamp::parse(created).unwrap();
    assert!(SystemClock.now().since(created).as_secs() < 120 && created <= SystemClock.now());
    let pem = entry["public_key"].as_str().unwrap();
    assert!(pem.starts_with("-----BEGIN PUBLIC KEY-----\n") && pem.ends_with("\n-----END PUBLIC KEY-----\n"), "{pem}");
    assert_eq!(
        key,
        json!({
            "name": "dex", "type": "ecdsa-p256", "latest_version": 1,
            "keys": {"1": {"name": "P-256", "public_key": pem, "creation_time": entry["creation_time"]}},
            "deletion_allowed": false, "min_available_version": 0, "min_decryption_version": 1,
            "min_encryption_version": 0, "auto_rotate_period": 0, "supports_signing": true, "supports_encryption": false,
            "supports_decryption": false, "supports_derivation": false, "derived": false, "exportable": false,
            "allow_plaintext_backup": false, "imported_key": false,
        })
    );
    let (input, jwk) = begin_token(&key);
    let answer = scene.sign("dex", "dex", &sign_request(&input));
    assert_eq!(signature(&answer, true).1, 1);
    assert_eq!(end_token(&input, &jwk, &data(&answer))["sub"], "jane");
    // Digests hide the claims: each signature is on record, with who asked for it.
    let logged = scene.mint.wait_for("signing a digest, whatever it is of");
    assert_eq!(
        (&logged["fields"]["client"], &logged["fields"]["profile"], &logged["fields"]["prehashed"]),
        (&json!("dex"), &json!("dex"), &json!(true))
    );
}

#[test]
fn a_rotation_between_the_two_calls_of_dex_mislabels_no_token() {
    let scene = Scene::with(|deployment| {
        deployment.edit(|config| {
            config["tokens"]["jwks_max_age"] = value("1s");
            let profiles = config["signing_profile"].as_array_of_tables_mut().unwrap();
            profiles.get_mut(0).unwrap()["publish_ahead"] = value("1s");
        });
    });
    let read = scene.key("dex", "dex");
    assert_eq!(read["latest_version"], 1);
    let (input, jwk) = begin_token(&read);
    let role = "delegated:dex";
    let first = active(&scene.deployment, role);
    succeed(&mut scene.deployment.command(&["keys", "rotate", "--role", role]));
    // It is published before it signs, so that Dex tells others of it in time.
    let other = || scene.key("dex-too", "dex");
    eventually(|| other()["keys"].as_object().unwrap().len() == 2);
    eventually(|| is_replaced(&scene.deployment, role, &first));
    eventually(|| other()["latest_version"] == 2);

    // The caller that read the first version signs by it, without naming it, and by naming it.
    let signed = scene.sign("dex", "dex", &sign_request(&input));
    assert_eq!(signature(&signed, true).1, 1);
    assert_eq!(end_token(&input, &jwk, &data(&signed))["sub"], "jane");
    let mut named = sign_request(&input);
    named["key_version"] = json!("1");
    assert_eq!(signature(&scene.sign("dex", "dex", &named), true).1, 1);
    // A caller that read the second, or nothing, signs by the second.
    assert_eq!(signature(&scene.sign("dex-too", "dex", &sign_request(&input)), true).1, 2);

    // What it reads next is the second, and then it signs by that.
    let read = scene.key("dex", "dex");
    assert_eq!((&read["latest_version"], &read["min_encryption_version"]), (&json!(2), &json!(2)));
    assert_eq!(read["keys"].as_object().unwrap().len(), 2, "what the first signed can still be verified");
    let (next_input, next_jwk) = begin_token(&read);
    let signed = scene.sign("dex", "dex", &sign_request(&next_input));
    assert_eq!(signature(&signed, true).1, 2);
    assert_eq!(end_token(&next_input, &next_jwk, &data(&signed))["sub"], "jane");
    assert!(!verifies(&public_key(&read, 1), &sha256(next_input.as_bytes()), &signature(&signed, true).0));
    // Nobody signs by the first any more who was not told of it last.
    super::scene::assert_refused(
        &scene.sign("dex", "dex", &named),
        400,
        &["requested version for signing is less than the minimum encryption key version"],
    );
}
