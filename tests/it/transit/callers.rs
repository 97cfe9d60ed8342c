//! Who calls, in each way; and what anybody may ask.

use std::os::unix::net::UnixStream;
use std::process::Command;

use nix::unistd::getuid;
use serde_json::{Value, json};

use super::Scene;
use super::scene::{assert_refused, base64, data, request};
use crate::support::Answer;
use crate::support::process::succeed;

fn over_socket(scene: &Scene, headers: &[&str], path: &str) -> Answer {
    let stream = UnixStream::connect(scene.deployment.path("frontend.sock")).unwrap();
    Answer::exchange(stream, &request(headers, "GET", path, &Value::Null))
}

#[test]
fn a_caller_is_known_by_either_header_or_by_its_uid() {
    let scene = Scene::with(|deployment| {
        let uid = getuid();
        deployment.append(&format!("[[frontend]]\nname = \"local\"\nuid = {uid}\nprofiles = [\"documents\"]"));
    });
    for header in ["X-Vault-Token: dex-token", "Authorization: Bearer dex-token", "authorization: bearer dex-token"] {
        assert_eq!(data(&scene.raw(&[header], "GET", "/v1/transit/keys/dex", &Value::Null))["name"], "dex");
        assert_eq!(data(&over_socket(&scene, &[header], "/v1/transit/keys/dex"))["name"], "dex");
    }
    assert_eq!(data(&over_socket(&scene, &[], "/v1/transit/keys/documents"))["name"], "documents");
    let told = data(&over_socket(&scene, &[], "/v1/auth/token/lookup-self"));
    assert_eq!((&told["display_name"], &told["id"]), (&json!("local"), &json!("")));
    assert_refused(&over_socket(&scene, &[], "/v1/transit/keys/dex"), 404, &[]);
    // A token that is presented decides, good or not.
    assert_refused(
        &over_socket(&scene, &["X-Vault-Token: wrong"], "/v1/transit/keys/documents"),
        403,
        &["permission denied"],
    );
    // Another user's uid is nobody's.
    let scene = Scene::with(|deployment| {
        let uid = getuid().as_raw() + 1;
        deployment.append(&format!("[[frontend]]\nname = \"local\"\nuid = {uid}\nprofiles = [\"documents\"]"));
    });
    assert_refused(&over_socket(&scene, &[], "/v1/transit/keys/documents"), 403, &["permission denied"]);
}

#[test]
fn anybody_may_ask_whether_the_server_is_well_and_callers_what_is_mounted() {
    let scene = Scene::new();
    let health = scene.raw(&[], "GET", "/v1/sys/health", &Value::Null);
    assert_eq!(health.status, 200, "{health:?}");
    let mut told = health.json();
    assert!(told["server_time_utc"].take().as_i64().unwrap() > 1_700_000_000);
    assert_eq!(
        told,
        json!({
            "initialized": true, "sealed": false, "standby": false, "performance_standby": false,
            "replication_performance_mode": "disabled", "replication_dr_mode": "disabled", "server_time_utc": null,
            "version": env!("CARGO_PKG_VERSION"),
        })
    );
    let mut curl = Command::new("curl");
    curl.args(["--silent", "--head", "--output", "/dev/null", "--write-out", "%{http_code}"]);
    curl.arg(format!("http://{}/v1/sys/health", scene.address));
    assert_eq!(succeed(&mut curl).stdout, b"200");
    for path in ["transit", "transit/keys/dex"] {
        let mount = data(&scene.ask("dex", "GET", &format!("/v1/sys/internal/ui/mounts/{path}"), &Value::Null));
        assert_eq!((&mount["path"], &mount["type"]), (&json!("transit/"), &json!("transit")));
    }
    let other = scene.ask("dex", "GET", "/v1/sys/internal/ui/mounts/secret", &Value::Null);
    assert_refused(&other, 403, &["permission denied: nothing but transit is mounted"]);
    let renewed = scene.ask("dex", "PUT", "/v1/auth/token/renew-self", &json!({"increment": 60})).json();
    assert_eq!(renewed["data"], Value::Null);
    assert_eq!(
        renewed["auth"],
        json!({
            "client_token": "dex-token", "accessor": "", "policies": ["dex"], "token_policies": ["dex"],
            "metadata": null, "lease_duration": 0, "renewable": false, "entity_id": "", "token_type": "service",
            "orphan": true,
        })
    );
}

#[test]
fn curl_signs_in_the_manner_of_vault() {
    let scene = Scene::new();
    let curl = |words: &[&str]| {
        let mut curl = Command::new("curl");
        curl.args(["--silent", "--show-error", "--header", "X-Vault-Token: notary-token"]).args(words);
        serde_json::from_slice::<Value>(&succeed(&mut curl).stdout).unwrap()
    };
    let url = |path: &str| format!("http://{}/v1/transit/{path}", scene.address);
    let input = json!({"input": base64("a document"), "marshaling_algorithm": "jws"}).to_string();
    let signed = curl(&["--data", &input, &url("sign/documents")]);
    let mut verify: Value = serde_json::from_str(&input).unwrap();
    verify["signature"] = signed["data"]["signature"].clone();
    let verified = curl(&["--data", &verify.to_string(), &url("verify/documents")]);
    assert_eq!(verified["data"], json!({"valid": true}));
    assert_eq!(curl(&["--request", "LIST", &url("keys")])["data"], json!({"keys": ["dex", "documents"]}));
    assert_eq!(curl(&[&url("keys/unknown")]), json!({"errors": []}));
}
