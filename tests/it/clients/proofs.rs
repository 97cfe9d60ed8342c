//! openid-client where it proves that it has a key: `private_key_jwt` (RFC 7523), and DPoP (RFC 9449); and where it
//! brings the token of a platform (RFC 7523, RFC 8693).

use std::fs;

use serde_json::{Value, json};

use crate::support::issuer::{Issuer, github_job};
use crate::support::{Deployment, node};

/// The keys that a client may have.
const ALGORITHMS: [&str; 3] = ["ES256", "EdDSA", "PS256"];

/// Key pairs, each with `alg`, `public` and `private`.
fn keys() -> Vec<Value> {
    let told = node::run("generated_keys", &json!({ "algorithms": ALGORITHMS }));
    told.as_array().expect("pairs").clone()
}

#[test]
fn openid_client_proves_itself_by_keys_of_three_kinds() {
    let deployment = Deployment::new();
    let registered = keys();
    for pair in &registered {
        let alg = pair["alg"].as_str().unwrap();
        let set = json!({ "keys": [pair["public"]] });
        fs::write(deployment.path(&format!("{alg}.jwks.json")), set.to_string()).unwrap();
        deployment.add_client(&format!(
            r#"id = "key-client-{alg}"
            authentication = "private_key_jwt"
            jwks_file = "{alg}.jwks.json"
            grants = ["client_credentials"]
            scope = "read:invoices"
            audience = "https://billing.example.com""#
        ));
    }
    let (_mint, issuer) = deployment.serve_at_issuer("");
    for (pair, other) in registered.iter().zip(keys()) {
        let id = format!("key-client-{}", pair["alg"].as_str().unwrap());
        let told = node::run(
            "private_key_jwt",
            &json!({
                "issuer": issuer, "id": id, "key": pair["private"], "other": other["private"],
                "audience": "https://billing.example.com",
            }),
        );
        assert_eq!(told["claims"]["sub"], id);
        assert_eq!([&told["replayed"], &told["other"]], ["invalid_client"; 2]);
    }
}

#[test]
fn openid_client_binds_tokens_to_a_key_with_the_nonce_that_the_mint_asks_for() {
    let deployment = Deployment::new();
    deployment.add_client(
        r#"id = "bound-service"
        authentication = "none"
        grants = ["refresh_token"]
        scope = "read:metrics"
        audience = "https://api.example.com"
        dpop_bound_access_tokens = true"#,
    );
    let (_mint, issuer) = deployment.serve_at_issuer("");
    for alg in ["ES256", "Ed25519"] {
        let told = node::run(
            "dpop",
            &json!({
                "issuer": issuer, "id": "bound-service", "refresh_token": deployment.grant_to("bound-service"),
                "alg": alg, "audience": "https://api.example.com",
            }),
        );
        assert_eq!(told["claims"]["cnf"]["jkt"], told["thumbprint"]);
        // Of the token type (RFC 9449 §5), openid-client tells the small letters.
        assert_eq!(told["token_type"], "dpop");
        // Without a nonce, with it, and the next grant with it at once.
        assert_eq!(told["statuses"], json!([400, 200, 200]));
        assert_eq!(told["other"], "invalid_grant", "RFC 9449 §5: a public client's refresh token is bound too");
    }
}

#[test]
fn openid_client_trades_the_token_of_a_platform() {
    let (platform, deployment) = (Issuer::start(41), Deployment::new());
    platform.trusted_by(
        &deployment,
        r#"
[[client]]
id = "workloads"
authentication = "none"
grants = ["urn:ietf:params:oauth:grant-type:jwt-bearer", "urn:ietf:params:oauth:grant-type:token-exchange"]
scope = "deploy"
audience = "https://api.example.com"

[[trust]]
name = "job"
issuer = "ISSUER"
audience = "https://mint.example.com"
match = { repository_id = "123456", ref = "refs/heads/main" }
client = "workloads"

[[trust]]
name = "person"
issuer = "ISSUER"
audience = "https://mint.example.com"
match = { kind = "person" }
client = "workloads"
actors = ["job"]
"#,
    );
    let (_mint, issuer) = deployment.serve_at_issuer("");
    let job = platform.token(github_job(), |_, _| {});
    let person = platform.token(json!({ "sub": "alice", "kind": "person" }), |_, _| {});
    let told = node::run(
        "trusted_token",
        &json!({
            "issuer": issuer, "id": "workloads", "token": job, "delegated": person, "actor": job,
            "audience": "https://api.example.com",
        }),
    );
    for kind in ["granted", "bound", "exchanged"] {
        assert_eq!(told[kind]["sub"], github_job()["sub"], "{kind}");
        assert_eq!(told[kind]["cnf"]["jkt"].is_string(), kind == "bound", "{kind}");
    }
    assert_eq!((&told["acting"]["sub"], &told["acting"]["act"]["sub"]), (&json!("alice"), &github_job()["sub"]));
    assert_eq!(told["issued_token_type"], "urn:ietf:params:oauth:token-type:access_token");
    assert_eq!(told["refused"], json!(["invalid_grant", "invalid_request"]));
}
