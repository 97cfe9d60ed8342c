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
