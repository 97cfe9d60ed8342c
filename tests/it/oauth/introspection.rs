use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use crate::support::running::{basic, form};
use crate::support::spy::Spy;
use crate::support::{API, Answer, Deployment, RunningMint, SERVICE, WORKLOAD, jose};

const SIGNED: &str = "Accept: application/token-introspection+jwt";

fn introspect(deployment: &Deployment, mint: &RunningMint, headers: &[&str], token: &str) -> Answer {
    let credentials = basic(API, &deployment.secret);
    let headers: Vec<&str> = [credentials.as_str()].into_iter().chain(headers.iter().copied()).collect();
    mint.post_form_to("/oauth/introspect", &headers, &form(&[("token", token), ("token_type_hint", "access_token")]))
}

#[test]
fn an_active_token_is_told_with_its_claims() {
    let deployment = Deployment::new();
    deployment.add_resource_server("https://api.example.com");
    let mint = deployment.serve();
    let token = mint.refresh(&deployment.grant()).text("access_token");
    let answer = introspect(&deployment, &mint, &[], &token);
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    let mut expected = jose::verified(&mint, &token, "https://api.example.com");
    expected["active"] = json!(true);
    expected["token_type"] = json!("Bearer");
    assert_eq!(answer.json(), expected);
    assert_eq!(expected["client_id"], WORKLOAD);
}

#[test]
fn everything_else_is_inactive_and_nothing_more_is_said() {
    let deployment = Deployment::new();
    deployment.add_resource_server("https://api.example.com");
    let mint = deployment.serve();
    let refresh_token = deployment.grant();
    let token = mint.refresh(&refresh_token).text("access_token");
    let (rest, signature) = token.rsplit_once('.').unwrap();
    let (header, claims) = rest.split_once('.').unwrap();
    let mut changed: Value = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(claims).unwrap()).unwrap();
    changed["scope"] = json!("admin");
    let forged = format!("{header}.{}.{signature}", URL_SAFE_NO_PAD.encode(changed.to_string()));
    let none = URL_SAFE_NO_PAD.encode(r#"{"alg":"none","typ":"at+jwt","kid":"x"}"#);
    let others = Deployment::new();
    let foreign = others.serve().client_credentials().text("access_token");
    let for_another_api = mint.client_credentials().text("access_token");
    let signed_answer = introspect(&deployment, &mint, &[SIGNED], &token).body;
    for inactive in [
        "x",
        "",
        "..",
        &refresh_token,
        &forged,
        &format!("{none}.{claims}.{signature}"),
        &format!("{none}.{claims}."),
        &foreign,
        &for_another_api,
        &signed_answer,
    ] {
        let answer = introspect(&deployment, &mint, &[], inactive);
        if inactive.is_empty() {
            answer.assert_error(400, "invalid_request");
            continue;
        }
        assert_eq!(answer.json(), json!({ "active": false }), "{inactive}");
    }
}

/// A token whose signature was verified before is remembered; what the store says of it is not.
#[test]
fn a_token_that_was_asked_for_before_is_inactive_as_soon_as_it_or_its_family_is_revoked() {
    let deployment = Deployment::new();
    deployment.add_resource_server("https://api.example.com");
    let mint = deployment.serve();
    let is_active = |token: &str| introspect(&deployment, &mint, &[], token).json()["active"] == true;
    let first = mint.refresh(&deployment.grant());
    let second = mint.refresh(&first.text("refresh_token"));
    let other = mint.refresh(&deployment.grant()).text("access_token");
    let tokens = [first.text("access_token"), second.text("access_token"), other.clone()];
    for token in tokens.iter().chain(&tokens) {
        assert!(is_active(token));
    }
    let revoke = |token: &str| {
        let form = form(&[("client_id", WORKLOAD), ("token", token)]);
        assert_eq!(mint.post_form_to("/oauth/revoke", &[], &form).status, 200);
    };
    revoke(&tokens[0]);
    assert_eq!([&tokens[0], &tokens[1], &other].map(|token| is_active(token)), [false, true, true]);
    revoke(&second.text("refresh_token"));
    assert_eq!([&tokens[0], &tokens[1], &other].map(|token| is_active(token)), [false, false, true]);
    deployment.run_json(&["sessions", "revoke", "--all"]);
    assert!(!is_active(&other));
}

/// Tokens for one resource server are remembered for all, and told to none of the others.
#[test]
fn a_token_that_is_remembered_is_told_to_its_own_resource_server_only() {
    let deployment = Deployment::new();
    deployment.add_resource_server("https://api.example.com");
    let hash = deployment.config_text().split("secret_sha256 = \"").nth(1).unwrap()[..64].to_owned();
    deployment.edit(|config| {
        let servers = config["resource_server"].as_array_of_tables_mut().unwrap();
        let mut other = servers.get(0).unwrap().clone();
        other["id"] = toml_edit::value("other-api");
        other["audience"] = toml_edit::value("https://other.example.com");
        other["secret_sha256"] = toml_edit::value(hash);
        servers.push(other);
    });
    let mint = deployment.serve();
    let token = mint.refresh(&deployment.grant()).text("access_token");
    let ask = |id: &str| {
        let form = form(&[("client_id", id), ("client_secret", &deployment.secret), ("token", &token)]);
        mint.post_form_to("/oauth/introspect", &[], &form).json()
    };
    for _ in 0..2 {
        assert_eq!(ask(API)["active"], true);
        assert_eq!(ask("other-api"), json!({ "active": false }));
    }
}

#[test]
fn only_a_registered_resource_server_may_ask() {
    let deployment = Deployment::new();
    let mint = deployment.serve();
    introspect(&deployment, &mint, &[], "x").assert_error(401, "invalid_client");
    drop(mint);
    deployment.add_resource_server("https://api.example.com");
    let mint = deployment.serve();
    let ask = |headers: &[&str], form: &str| mint.post_form_to("/oauth/introspect", headers, form);
    ask(&[&basic(API, "wrong")], "token=x").assert_error(401, "invalid_client");
    ask(&[], "token=x").assert_error(401, "invalid_client");
    ask(&[], &format!("client_id={API}&token=x")).assert_error(401, "invalid_client");
    ask(&[&basic(SERVICE, &deployment.secret)], "token=x").assert_error(401, "invalid_client");
    let in_form = form(&[("client_id", API), ("client_secret", &deployment.secret), ("token", "x")]);
    assert_eq!(ask(&[], &in_form).json(), json!({ "active": false }));
}

#[test]
fn an_answer_is_signed_for_who_asks_for_that() {
    let deployment = Deployment::new();
    deployment.add_resource_server("https://api.example.com");
    let mint = deployment.serve();
    let token = mint.refresh(&deployment.grant()).text("access_token");
    let answer = introspect(&deployment, &mint, &[SIGNED], &token);
    assert_eq!(answer.header("content-type"), Some("application/token-introspection+jwt"));
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    let header = jsonwebtoken::decode_header(&answer.body).unwrap();
    assert_eq!(header.typ.as_deref(), Some("token-introspection+jwt"));
    let jwks = mint.get("/.well-known/jwks.json").body;
    let claims = jose::verified_by_jwcrypto(&jwks, &answer.body).expect("the signature verifies");
    assert_eq!((claims["iss"].as_str(), claims["aud"].as_str()), (Some("https://mint.example.com"), Some(API)));
    assert_eq!(claims["token_introspection"], introspect(&deployment, &mint, &[], &token).json());
    // RFC 9701 §5: so that nobody takes it for a token.
    assert_eq!((claims.get("sub"), claims.get("exp")), (None, None));
    let inactive = introspect(&deployment, &mint, &[SIGNED], "x");
    let claims = jose::verified_by_jwcrypto(&jwks, &inactive.body).expect("the signature verifies");
    assert_eq!(claims["token_introspection"], json!({ "active": false }));
}

#[test]
fn a_plain_answer_needs_no_hardware() {
    let deployment = Deployment::new();
    deployment.add_resource_server("https://api.example.com");
    let spy = Spy::on(&deployment);
    let mint = deployment.serve();
    let token = mint.refresh(&deployment.grant()).text("access_token");
    let before = spy.calls().len();
    for _ in 0..20 {
        assert_eq!(introspect(&deployment, &mint, &[], &token).json()["active"], true);
    }
    assert_eq!(spy.calls().len(), before);
}
