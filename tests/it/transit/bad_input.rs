//! What is malformed, and the exact answer to it.

use serde_json::{Value, json};

use super::Scene;
use super::scene::{assert_refused, base64, data, document_digest};

#[test]
fn base64_is_read_in_one_spelling_wherever_it_is() {
    let scene = Scene::new();
    let sign = |body: Value| scene.sign("notary", "documents", &body);
    let expected = "unable to decode input as base64: expected the standard alphabet, with padding";
    for text in ["YQ", "YQ=", "YR==", "Y-==", "YW\nI=", " YQ==", "YQ== ", "YQ===", "%"] {
        assert_refused(&sign(json!({"input": text})), 400, &[expected]);
        let signature = format!("vault:v1:{}", base64([1, 2, 3]));
        let verify = json!({"input": text, "signature": signature});
        assert_refused(&scene.ask("notary", "POST", "/v1/transit/verify/documents", &verify), 400, &[expected]);
    }
    let message = base64("a");
    assert_refused(&sign(json!({"input": message, "context": "?"})), 400, &["failed to base64-decode context"]);
    let verify = |signature: &str, marshaling: &str| {
        let body = json!({"input": message, "signature": signature, "marshaling_algorithm": marshaling});
        scene.ask("notary", "POST", "/v1/transit/verify/documents", &body)
    };
    for (signature, marshaling) in
        [("vault:v1:AAA", "asn1"), ("vault:v1:A-==", "asn1"), ("vault:v1:AAA=", "jws"), ("vault:v1:A+A", "jws")]
    {
        assert_refused(&verify(signature, marshaling), 400, &["invalid base64 signature value"]);
    }
    for (signature, error) in [
        ("", "invalid signature: no prefix"),
        ("v1:AAAA", "invalid signature: no prefix"),
        ("vault:v1", "invalid signature: wrong number of fields"),
        ("vault:vx:AAAA", "invalid signature: version number could not be decoded"),
    ] {
        assert_refused(&verify(signature, "asn1"), 400, &[error]);
    }
    // What is base64 and no signature is a signature that is not good.
    assert_eq!(data(&verify("vault:v1:AAAA", "asn1")), json!({"valid": false}));
    assert_eq!(data(&verify("vault:v1:", "jws")), json!({"valid": false}));
}

#[test]
fn what_cannot_be_signed_is_told_exactly() {
    let scene = Scene::new();
    let digest = document_digest();
    for (body, error) in [
        (json!({}), "missing input"),
        (json!({"input": null}), "missing input"),
        (
            json!({"input": base64([7; 31]), "prehashed": true}),
            "prehashed input has 31 bytes; a sha2-256 digest has 32",
        ),
        (
            json!({"input": base64([7; 64]), "prehashed": "true"}),
            "prehashed input has 64 bytes; a sha2-256 digest has 32",
        ),
        (
            json!({"input": digest, "prehashed": true, "hash_algorithm": "sha2-512"}),
            "hash algorithm \"sha2-512\" is not supported: an ecdsa-p256 key signs sha2-256 here",
        ),
        (json!({"input": digest, "hash_algorithm": "md5"}), "invalid hash algorithm \"md5\""),
        (json!({"input": digest, "hash_algorithm": "none"}), "hash_algorithm=none requires prehashed=true"),
        (json!({"input": digest, "marshaling_algorithm": "raw"}), "invalid marshaling type \"raw\""),
        (
            json!({"input": digest, "key_version": 2}),
            "requested version for signing is higher than the latest key version",
        ),
        (json!({"batch_input": []}), "missing batch input to process"),
        (json!({"batch_input": vec![json!({}); 33]}), "expected at most 32 elements of batch_input"),
        (
            json!({"input": digest, "hmac": "vault:v1:AAAA"}),
            "an ecdsa-p256 key makes signatures; it cannot verify an hmac",
        ),
        (json!([]), "failed to parse JSON input: expected an object"),
        (json!("input"), "failed to parse JSON input: expected an object"),
        (json!({"input": 7}), "failed to parse JSON input: unexpected at line 1, column 10"),
        (json!({"key_version": -1}), "failed to parse JSON input: unexpected at line 1, column 17"),
        (json!({"key_version": "latest"}), "failed to parse JSON input: unexpected at line 1, column 23"),
        (json!({"prehashed": "yes"}), "failed to parse JSON input: unexpected at line 1, column 18"),
    ] {
        assert_refused(&scene.sign("dex", "dex", &body), 400, &[error]);
    }
    let large = json!({"input": base64(vec![0; 60_000])});
    let answer = scene.sign("notary", "documents", &large);
    assert_refused(&answer, 413, &["the body is too large or was not received whole"]);
}

#[test]
fn what_is_not_there_is_not_found() {
    let scene = Scene::new();
    let ask = |method: &str, path: &str| scene.ask("dex", method, path, &Value::Null);
    for path in [
        "/v1/transit/keys/unknown",
        "/v1/transit/keys/a%2Fb",
        "/v1/transit/keys/%FF",
        "/v1/transit/keys/..",
        &format!("/v1/transit/keys/{}", "x".repeat(300)),
        "/v1/transit/encrypt/dex",
        "/v1/transit",
        "/v1/secret/data/x",
        "/v1",
    ] {
        assert_refused(&ask("GET", path), 404, &[]);
    }
    for (method, path) in [
        ("GET", "/v1/transit/keys"),
        ("GET", "/v1/transit/keys?list=false"),
        ("POST", "/v1/transit/keys?list=true"),
        ("PATCH", "/v1/transit/keys/dex"),
        ("GET", "/v1/transit/sign/dex"),
        ("DELETE", "/v1/auth/token/lookup-self"),
    ] {
        assert_refused(&ask(method, path), 405, &["unsupported operation"]);
    }
    assert_refused(&ask("POST", "/v1/transit/verify/unknown"), 400, &["signature verification key not found"]);
    assert_refused(&ask("POST", "/v1/transit/sign/unknown"), 400, &["signing key not found"]);
    assert_refused(&ask("POST", "/v1/transit/keys/unknown/rotate"), 400, &["key not found"]);
}
