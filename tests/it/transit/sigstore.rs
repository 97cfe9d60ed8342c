//! sigstore (`pkg/signature/kms/hashivault`): versions as text, the hash algorithm in the path, and verifying.

use serde_json::{Value, json};

use super::Scene;
use super::scene::{assert_refused, base64, data, public_key, sha256, signature, verifies};

#[test]
fn sigstore_signs_and_verifies() {
    let scene = Scene::new();
    let key = data(&scene.ask("spire", "PUT", "/v1/transit/keys/cosign", &json!({"type": "ecdsa-p256"})));
    assert_eq!(key["latest_version"], 1);
    let digest = base64(sha256(b"an image"));
    let mut last = String::new();
    for version in ["", "0", "1"] {
        let body = json!({
            "input": digest, "prehashed": true, "key_version": version, "signature_algorithm": "pkcs1v15",
        });
        let answer = scene.ask("spire", "PUT", "/v1/transit/sign/cosign/sha2-256", &body);
        let (made, _) = signature(&answer, false);
        assert!(verifies(&public_key(&key, 1), &sha256(b"an image"), &made));
        last = data(&answer)["signature"].as_str().unwrap().to_owned();
    }
    let verify = |input: &str, signature: &str| {
        let body = json!({"input": input, "prehashed": true, "signature": signature});
        scene.ask("spire", "PUT", "/v1/transit/verify/cosign/sha2-256", &body)
    };
    assert_eq!(data(&verify(&digest, &last)), json!({"valid": true}));
    assert_eq!(data(&verify(&base64(sha256(b"another image")), &last)), json!({"valid": false}));
    assert_eq!(
        data(&verify(&digest, &format!("vault:v1:{}", base64([0x30, 0x06, 2, 1, 1, 2, 1, 1])))),
        json!({"valid": false})
    );
    assert_refused(&verify(&digest, &last.replacen("v1", "v2", 1)), 400, &["invalid signature: version is too new"]);
    assert_refused(
        &verify(&digest, &last.replacen("v1", "v0", 1)),
        400,
        &["ciphertext or signature version is disallowed by policy (too old)"],
    );
}

/// Without `prehashed` the message itself is signed, and what is in it can be judged.
#[test]
fn messages_are_signed_in_both_forms_and_batches_one_by_one() {
    let scene = Scene::new();
    let key = scene.key("notary", "documents");
    for (marshaling, is_jws) in [("asn1", false), ("jws", true)] {
        let body = json!({"input": base64("a document"), "marshaling_algorithm": marshaling});
        let answer = scene.sign("notary", "documents", &body);
        assert!(verifies(&public_key(&key, 1), &sha256(b"a document"), &signature(&answer, is_jws).0));
        let verify = |message: &str, marshaling: &str| {
            let body = json!({
                "input": base64(message), "marshaling_algorithm": marshaling, "signature": data(&answer)["signature"],
            });
            scene.ask("notary", "POST", "/v1/transit/verify/documents", &body)
        };
        assert_eq!(data(&verify("a document", marshaling)), json!({"valid": true}));
        assert_eq!(data(&verify("a dokument", marshaling)), json!({"valid": false}));
    }
    let batch = json!({"batch_input": [
        {"input": base64("one"), "reference": "first"}, {"input": "?"}, {"input": base64("three")}, {},
    ]});
    let results = data(&scene.sign("notary", "documents", &batch))["batch_results"].take();
    let [one, two, three, four] = &<[Value; 4]>::try_from(results.as_array().unwrap().clone()).unwrap();
    assert_eq!((&one["reference"], &one["key_version"], &one["error"]), (&json!("first"), &json!(1), &Value::Null));
    assert_eq!(four, &json!({"error": "missing input"}));
    assert_eq!(
        two,
        &json!({"error": "unable to decode input as base64: expected the standard alphabet, with padding"})
    );
    let verify = json!({"batch_input": [
        {"input": base64("one"), "signature": one["signature"]},
        {"input": base64("one"), "signature": three["signature"]},
        {"input": base64("one"), "signature": "vault:v1:?"},
        {"input": base64("one")},
    ]});
    let results = data(&scene.ask("notary", "POST", "/v1/transit/verify/documents", &verify))["batch_results"].take();
    assert_eq!(
        results,
        json!([
            {"valid": true},
            {"valid": false},
            {"error": "invalid base64 signature value"},
            {"error": "neither a 'signature' nor an 'hmac' were given to verify"},
        ])
    );
}
