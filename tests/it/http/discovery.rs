use toml_edit::value;

use crate::support::Deployment;

#[test]
fn the_published_keys_are_public_halves_that_caches_may_keep() {
    let deployment = Deployment::new();
    let mint = deployment.serve();
    let answer = mint.get("/.well-known/jwks.json");
    assert_eq!(answer.status, 200);
    assert_eq!(answer.header("content-type"), Some("application/jwk-set+json"));
    assert_eq!(answer.header("cache-control"), Some("public, max-age=300"));
    let keys = answer.json()["keys"].as_array().unwrap().clone();
    assert_eq!(keys.len(), 1);
    let mut members: Vec<&String> = keys[0].as_object().unwrap().keys().collect();
    members.sort();
    assert_eq!(members, ["alg", "crv", "kid", "kty", "use", "x", "y"], "nothing private, and no sealing key");
    assert_eq!(keys[0]["alg"], "ES256");
    assert_eq!(keys[0]["use"], "sig");
    let listed = deployment.run_json(&["keys", "list"]);
    assert_eq!(keys[0]["kid"], listed["keys"][0]["kid"]);

    let etag = answer.header("etag").unwrap().to_owned();
    let ask = |condition: &str| {
        mint.raw(
            format!("GET /.well-known/jwks.json HTTP/1.1\r\nHost: mint\r\nConnection: close\r\nIf-None-Match: {condition}\r\n\r\n")
                .as_bytes(),
        )
    };
    let unchanged = ask(&etag);
    assert_eq!((unchanged.status, unchanged.body.as_str()), (304, ""));
    assert_eq!(unchanged.header("etag"), Some(etag.as_str()));
    assert_eq!(ask(&format!("\"other\", W/{etag}")).status, 304);
    assert_eq!(ask("\"other\"").status, 200);
}

#[test]
fn the_metadata_say_what_works_and_nothing_else() {
    let deployment = Deployment::new();
    let mint = deployment.serve();
    let answer = mint.get("/.well-known/oauth-authorization-server");
    assert_eq!(answer.header("content-type"), Some("application/json"));
    assert!(answer.header("etag").is_some());
    let methods = ["none", "client_secret_basic", "client_secret_post", "private_key_jwt"];
    let algorithms = ["ES256", "ES384", "EdDSA", "Ed25519", "RS256", "PS256"];
    let expected = serde_json::json!({
        "issuer": "https://mint.example.com",
        "token_endpoint": "https://mint.example.com/oauth/token",
        "jwks_uri": "https://mint.example.com/.well-known/jwks.json",
        "scopes_supported": ["read:invoices", "read:metrics", "write:deployments", "write:invoices"],
        "response_types_supported": [],
        "grant_types_supported": ["client_credentials", "refresh_token"],
        "token_endpoint_auth_methods_supported": methods,
        "token_endpoint_auth_signing_alg_values_supported": algorithms,
        "revocation_endpoint": "https://mint.example.com/oauth/revoke",
        "revocation_endpoint_auth_methods_supported": methods,
        "revocation_endpoint_auth_signing_alg_values_supported": algorithms,
        "dpop_signing_alg_values_supported": algorithms,
    });
    assert_eq!(answer.json(), expected);
}

#[test]
fn introspection_is_told_where_somebody_may_ask() {
    let deployment = Deployment::new();
    deployment.add_resource_server("https://api.example.com");
    let metadata = deployment.serve().get("/.well-known/oauth-authorization-server").json();
    assert_eq!(metadata["introspection_endpoint"], "https://mint.example.com/oauth/introspect");
    assert_eq!(metadata["introspection_signing_alg_values_supported"], serde_json::json!(["ES256"]));
}

#[test]
fn registration_is_told_where_it_is_on() {
    let deployment = Deployment::new();
    deployment.allow_registration("");
    let metadata = deployment.serve().get("/.well-known/oauth-authorization-server").json();
    assert_eq!(metadata["registration_endpoint"], "https://mint.example.com/oauth/register");
    assert!(metadata["scopes_supported"].as_array().unwrap().contains(&"write:metrics".into()));
}

#[test]
fn an_issuer_with_a_path_has_its_metadata_where_rfc_8414_says() {
    let deployment = Deployment::new();
    deployment.edit(|config| config["issuer"] = value("https://mint.example.com/tenant"));
    let mint = deployment.serve();
    let metadata = mint.get("/.well-known/oauth-authorization-server/tenant");
    assert_eq!(metadata.json()["issuer"], "https://mint.example.com/tenant");
    assert_eq!(metadata.json()["token_endpoint"], "https://mint.example.com/tenant/oauth/token");
    assert_eq!(mint.get("/tenant/.well-known/jwks.json").status, 200);
    assert_eq!(mint.get("/tenant/oauth/token").status, 405);
}
