//! openid-client, and jose, which verifies what it got.

use serde_json::{Value, json};

use crate::support::{API, Deployment, SERVICE, WORKLOAD, node};

#[test]
fn openid_client_gets_tokens_by_a_secret_in_the_header_and_in_the_form() {
    let deployment = Deployment::new();
    // The path of an issuer has its place in the address of the metadata (RFC 8414 §3).
    for path in ["", "/tenant"] {
        let (_mint, issuer) = deployment.serve_at_issuer(path);
        let told = node::run(
            "client_credentials",
            &json!({
                "issuer": issuer, "id": SERVICE, "secret": deployment.secret,
                "scope": "read:invoices", "audience": "https://billing.example.com",
            }),
        );
        for method in ["ClientSecretBasic", "ClientSecretPost"] {
            let claims = &told[method];
            assert_eq!((&claims["sub"], &claims["client_id"]), (&json!(SERVICE), &json!(SERVICE)));
            assert_eq!((&claims["iss"], &claims["scope"]), (&json!(issuer), &json!("read:invoices")));
        }
        assert_eq!(told["wrong"], "invalid_client");
    }
}

#[test]
fn openid_client_rotates_the_refresh_token_of_a_public_client() {
    let deployment = Deployment::new();
    let (_mint, issuer) = deployment.serve_at_issuer("");
    let grant = deployment.grant();
    let told = node::run(
        "refresh_token",
        &json!({
            "issuer": issuer, "id": WORKLOAD, "refresh_token": grant, "audience": "https://api.example.com",
        }),
    );
    let [first, second] = [0, 1].map(|which| &told["claims"][which]);
    assert_eq!((&first["sub"], &first["sid"]), (&json!("deploy@example.com"), &second["sid"]));
    assert_eq!((&first["scope"], &second["scope"]), (&json!("read:metrics write:deployments"), &json!("read:metrics")));
    let mut tokens = [grant.as_str(), text(&told["refresh_tokens"][0]), text(&told["refresh_tokens"][1])];
    tokens.sort_unstable();
    assert!(tokens.windows(2).all(|pair| pair[0] != pair[1]), "each use replaces it");
    assert_eq!(told["made_up"], "invalid_grant");
}

#[test]
fn openid_client_introspects_and_jose_verifies_the_signed_answer() {
    let deployment = Deployment::new();
    deployment.add_resource_server("https://api.example.com");
    let (mint, issuer) = deployment.serve_at_issuer("");
    let token = mint.refresh(&deployment.grant()).text("access_token");
    let told = node::run(
        "introspection",
        &json!({ "issuer": issuer, "id": API, "secret": deployment.secret, "token": token }),
    );
    assert_eq!(told["plain"]["active"], true);
    assert_eq!((&told["plain"]["client_id"], &told["plain"]["iss"]), (&json!(WORKLOAD), &json!(issuer)));
    assert_eq!(told["inactive"], json!({ "active": false }));
    assert_eq!(told["signed"], told["plain"]);
    assert_eq!(told["claims"]["token_introspection"], told["plain"]);
}

#[test]
fn openid_client_gives_tokens_back() {
    let deployment = Deployment::new();
    deployment.add_resource_server("https://api.example.com");
    let (_mint, issuer) = deployment.serve_at_issuer("");
    let told =
        node::run("revocation", &json!({ "issuer": issuer, "id": WORKLOAD, "refresh_token": deployment.grant() }));
    assert_eq!(told["refused"], "invalid_grant");
    for token in told["access_tokens"].as_array().unwrap() {
        let asked = node::run(
            "introspection",
            &json!({ "issuer": issuer, "id": API, "secret": deployment.secret, "token": token }),
        );
        assert_eq!(asked["plain"], json!({ "active": false }));
    }
}

fn text(value: &Value) -> &str {
    value.as_str().expect("a string")
}
