use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::support::running::form;
use crate::support::{Deployment, SERVICE, jose};

#[test]
fn a_client_gets_a_token_of_five_minutes_for_itself() {
    let mint = Deployment::new();
    let mint = mint.serve();
    let answer = mint.client_credentials();
    let token = answer.text("access_token");
    let body = answer.json();
    assert_eq!(body["token_type"], "Bearer");
    assert_eq!(body["expires_in"], 300);
    assert_eq!(body["scope"], "read:invoices write:invoices");
    assert!(body.get("refresh_token").is_none(), "RFC 6749 §4.4.3: no refresh token");
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    assert_eq!(answer.header("pragma"), Some("no-cache"));
    assert_eq!(answer.header("content-type"), Some("application/json"));

    let header = jsonwebtoken::decode_header(&token).unwrap();
    assert_eq!(header.typ.as_deref(), Some("at+jwt"));
    let claims = jose::verified(&mint, &token, "https://billing.example.com");
    assert_eq!(claims["sub"], SERVICE);
    assert_eq!(claims["client_id"], SERVICE);
    assert_eq!(claims["scope"], "read:invoices write:invoices");
    assert_eq!(claims["exp"].as_i64().unwrap() - claims["iat"].as_i64().unwrap(), 300);
    assert!(claims.get("sid").is_none());
    let other = jose::verified(&mint, &mint.client_credentials().text("access_token"), "https://billing.example.com");
    assert_ne!(claims["jti"], other["jti"]);
}

#[test]
fn a_library_in_another_language_verifies_the_token_and_refuses_a_changed_one() {
    let deployment = Deployment::new();
    let mint = deployment.serve();
    let jwks = mint.get("/.well-known/jwks.json").body;
    let token = mint.client_credentials().text("access_token");
    let claims = jose::verified_by_jwcrypto(&jwks, &token).expect("the signature verifies");
    assert_eq!(claims["iss"], "https://mint.example.com");
    let (rest, signature) = token.rsplit_once('.').unwrap();
    let (header, claims) = rest.split_once('.').unwrap();
    let mut widened: serde_json::Value = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(claims).unwrap()).unwrap();
    widened["scope"] = "admin".into();
    let changed = format!("{header}.{}.{signature}", URL_SAFE_NO_PAD.encode(widened.to_string()));
    assert_eq!(jose::verified_by_jwcrypto(&jwks, &changed), None);
}

#[test]
fn the_scope_can_be_narrowed_and_never_widened() {
    let deployment = Deployment::new();
    let mint = deployment.serve();
    let ask = |scope: &str| {
        mint.post_form(&[&mint.basic()], &form(&[("grant_type", "client_credentials"), ("scope", scope)]))
    };
    assert_eq!(ask("read:invoices").json()["scope"], "read:invoices");
    // RFC 6749 §3.1: a parameter without a value counts as left out.
    assert_eq!(ask("").json()["scope"], "read:invoices write:invoices");
    for scope in ["read:invoices admin", "admin", "read:invoices  write:invoices", " ", "\"", "read:invoices\u{7f}"] {
        ask(scope).assert_error(400, "invalid_scope");
    }
}

#[test]
fn a_client_without_the_grant_is_unauthorized() {
    let deployment = Deployment::new();
    let mint = deployment.serve();
    mint.post_form(&[], "grant_type=client_credentials&client_id=ci-cd-pipeline-runner")
        .assert_error(400, "unauthorized_client");
    mint.post_form(&[&mint.basic()], "grant_type=refresh_token&refresh_token=x")
        .assert_error(400, "unauthorized_client");
    mint.post_form(&[&mint.basic()], "grant_type=password").assert_error(400, "unsupported_grant_type");
}

fn share(deployment: &Deployment, duration: &str) {
    deployment.edit(|config| {
        let clients = config["client"].as_array_of_tables_mut().expect("clients");
        clients.get_mut(1).expect("the service")["share_tokens_for"] = toml_edit::value(duration);
    });
}

#[test]
fn a_token_is_shared_while_it_is_young_by_those_who_ask_for_the_same() {
    let deployment = Deployment::new();
    share(&deployment, "149s");
    let mint = deployment.serve();
    let before = mint.metric("mintkeep_keeper_signatures_requested_total");
    let tokens: Vec<String> = std::thread::scope(|scope| {
        let asked: Vec<_> = (0..8).map(|_| scope.spawn(|| mint.client_credentials())).collect();
        asked.into_iter().map(|answer| answer.join().unwrap().text("access_token")).collect()
    });
    assert!(tokens.iter().all(|token| *token == tokens[0]));
    assert_eq!(mint.metric("mintkeep_keeper_signatures_requested_total"), before + 1);
    // What is left of it, and not all of it.
    let claims = jose::verified(&mint, &tokens[0], "https://billing.example.com");
    loop {
        let left = mint.client_credentials().json()["expires_in"].as_i64().unwrap();
        assert!((150..=300).contains(&left), "{left}");
        if left < 300 {
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(100));
    }
    let scope = |scope: &str| {
        let form = form(&[("grant_type", "client_credentials"), ("scope", scope)]);
        mint.post_form(&[&mint.basic()], &form).text("access_token")
    };
    let narrow = scope("read:invoices");
    assert_ne!(narrow, tokens[0]);
    assert_eq!(jose::verified(&mint, &narrow, "https://billing.example.com")["scope"], "read:invoices");
    assert_eq!(scope("read:invoices"), narrow);
    // One that was revoked is not given to anybody any more.
    let revoke = form(&[("token", &tokens[0])]);
    assert_eq!(mint.post_form_to("/oauth/revoke", &[&mint.basic()], &revoke).status, 200);
    let next = jose::verified(&mint, &mint.client_credentials().text("access_token"), "https://billing.example.com");
    assert_ne!(next["jti"], claims["jti"]);
}

#[test]
fn a_token_that_is_not_young_any_more_is_not_shared() {
    let deployment = Deployment::new();
    share(&deployment, "1s");
    let mint = deployment.serve();
    let first = mint.client_credentials().text("access_token");
    while mint.client_credentials().text("access_token") == first {
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
}

#[test]
fn a_wrong_secret_gets_no_shared_token() {
    let deployment = Deployment::new();
    share(&deployment, "60s");
    let mint = deployment.serve();
    mint.client_credentials().text("access_token");
    let wrong = crate::support::running::basic(SERVICE, "wrong");
    mint.post_form(&[&wrong], "grant_type=client_credentials").assert_error(401, "invalid_client");
}
