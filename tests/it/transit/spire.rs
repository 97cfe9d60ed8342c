//! SPIRE (`pkg/server/plugin/keymanager/hashicorpvault`): it makes keys, signs digests by them, and ends them.

use serde_json::{Value, json};

use super::Scene;
use super::scene::{assert_refused, base64, data, public_key, sha256, signature, verifies};
use crate::support::Answer;

const CA: &str = "0f4c2b0e-7a0d-4c58-9b3f-2f6f4c1d9a77-x509-CA-A";
const JWT: &str = "9d7f7e9c-38c5-4a53-8f0c-6f8d6f2b1c34-JWT-Signer-A";

fn create(scene: &Scene, name: &str) -> Answer {
    scene.ask(
        "spire",
        "PUT",
        &format!("/v1/transit/keys/{name}"),
        &json!({"exportable": "false", "type": "ecdsa-p256"}),
    )
}

fn sign(scene: &Scene, name: &str, data: &[u8]) -> Answer {
    let body = json!({
        "input": base64(data), "marshalling_algorithm": "asn1", "prehashed": "true", "signature_algorithm": "pkcs1v15",
    });
    scene.ask("spire", "PUT", &format!("/v1/transit/sign/{name}/none"), &body)
}

fn delete(scene: &Scene, name: &str) -> [Answer; 2] {
    let key = format!("/v1/transit/keys/{name}");
    [
        scene.ask("spire", "PUT", &format!("{key}/config"), &json!({"deletion_allowed": "true"})),
        scene.ask("spire", "DELETE", &key, &Value::Null),
    ]
}

fn list(scene: &Scene) -> Answer {
    scene.ask("spire", "GET", "/v1/transit/keys?list=true", &Value::Null)
}

#[test]
fn spire_makes_a_key_signs_by_it_and_ends_it() {
    let scene = Scene::new();
    // It begins by asking who it is: a token without an end is never renewed.
    let token = data(&scene.ask("spire", "GET", "/v1/auth/token/lookup-self", &Value::Null));
    assert_eq!(
        token,
        json!({
            "accessor": "", "creation_time": 0, "creation_ttl": 0, "display_name": "spire", "entity_id": "",
            "expire_time": null, "explicit_max_ttl": 0, "id": "spire-token", "meta": null, "num_uses": 0, "orphan": true,
            "path": "auth/token/create", "policies": ["spire"], "renewable": false, "ttl": 0, "type": "service",
        })
    );
    assert_refused(&list(&scene), 404, &[]);

    let created = data(&create(&scene, CA));
    let read = scene.key("spire", CA);
    assert_eq!(read, created);
    assert_eq!(
        (&read["type"], &read["latest_version"], &read["keys"]["1"]["name"]),
        (&json!("ecdsa-p256"), &json!(1), &json!("P-256"))
    );
    assert_eq!(data(&list(&scene)), json!({"keys": [CA]}));

    let digest = sha256(b"to be signed");
    let signed = sign(&scene, CA, &digest);
    assert!(data(&signed)["signature"].as_str().unwrap().starts_with("vault:v1:"));
    assert!(verifies(&public_key(&read, 1), &digest, &signature(&signed, false).0));

    data(&create(&scene, JWT));
    assert_eq!(data(&list(&scene)), json!({"keys": [CA, JWT]}));

    let [configured, deleted] = delete(&scene, CA);
    assert_eq!(data(&configured), read);
    assert_eq!((deleted.status, deleted.body.as_str()), (204, ""));
    assert_eq!(data(&list(&scene)), json!({"keys": [JWT]}));
    assert_refused(&scene.ask("spire", "GET", &format!("/v1/transit/keys/{CA}"), &Value::Null), 404, &[]);
    assert_refused(&sign(&scene, CA, &digest), 400, &["signing key not found"]);
    let [configured, deleted] = delete(&scene, CA);
    assert_refused(&configured, 400, &[&format!("no existing key named {:?} could be found", &CA[..32])]);
    assert_refused(&deleted, 400, &[&format!("error deleting policy {CA}: could not delete key; not found")]);
}

#[test]
fn keys_outlive_a_restart_and_one_that_is_made_anew_is_another() {
    let scene = Scene::new();
    let before = data(&create(&scene, CA));
    let again = create(&scene, CA);
    assert_eq!(data(&again), before);
    assert_eq!(again.json()["warnings"], json!([format!("key {CA} already existed")]));

    let scene = scene.restart();
    assert_eq!(scene.key("spire", CA), before);
    let digest = sha256(b"to be signed");
    assert!(verifies(&public_key(&before, 1), &digest, &signature(&sign(&scene, CA, &digest), false).0));

    assert_eq!(delete(&scene, CA)[1].status, 204);
    let anew = data(&create(&scene, CA));
    assert_ne!(anew["keys"]["1"]["public_key"], before["keys"]["1"]["public_key"]);
    assert_eq!(anew["latest_version"], 1, "SPIRE takes signatures of the first version only");
    let signed = signature(&sign(&scene, CA, &digest), false).0;
    assert!(verifies(&public_key(&anew, 1), &digest, &signed) && !verifies(&public_key(&before, 1), &digest, &signed));
    let rotated = scene.ask("spire", "POST", &format!("/v1/transit/keys/{CA}/rotate"), &Value::Null);
    assert_refused(&rotated, 400, &["cannot rotate the key: one that was made here has one version; make another key"]);
}

#[test]
fn of_two_that_make_one_key_at_a_time_both_have_the_same() {
    let scene = Scene::new();
    let made: Vec<Value> = std::thread::scope(|scope| {
        let racers: Vec<_> = (0..4).map(|_| scope.spawn(|| data(&create(&scene, CA)))).collect();
        racers.into_iter().map(|racer| racer.join().unwrap()).collect()
    });
    assert!(made.iter().all(|key| *key == made[0]), "{made:?}");
    assert_eq!(scene.key("spire", CA), made[0]);
    assert_eq!(data(&list(&scene)), json!({"keys": [CA]}));
}
