//! The userinfo endpoint, and the metadata that leads to it.

use serde_json::{Value, json};

use crate::support::client_key::{ClientKey, encode};
use crate::support::login::{PEOPLE, WEB_APP, alice, log_in, redeem, redemption};
use crate::support::running::form;
use crate::support::{Answer, Deployment, RunningMint};

const URL: &str = "https://mint.example.com/oauth/userinfo";

fn deployment() -> Deployment {
    let deployment = Deployment::new();
    deployment.add_logins();
    deployment
}

/// A request of `method` with header lines.
fn ask(mint: &RunningMint, method: &str, headers: &[&str]) -> Answer {
    let headers: String = headers.iter().map(|header| format!("{header}\r\n")).collect();
    let head = format!("{method} /oauth/userinfo HTTP/1.1\r\nHost: mint\r\nConnection: close\r\nContent-Length: 0\r\n");
    mint.raw(format!("{head}{headers}\r\n").as_bytes())
}

fn bear(mint: &RunningMint, token: &str) -> Answer {
    ask(mint, "GET", &[&format!("Authorization: Bearer {token}")])
}

/// Asserts a refusal, and that the challenge says the same (RFC 6750 §3).
#[track_caller]
fn assert_refused(answer: &Answer, status: u16, code: &str) {
    answer.assert_error(status, code);
    let challenge = answer.header("www-authenticate").expect("a challenge");
    assert!(
        challenge.starts_with(&format!("Bearer realm=\"mintkeep\", error=\"{code}\", DPoP algs=\"")),
        "{challenge}"
    );
    assert!(challenge.ends_with(&format!("\", error=\"{code}\"")), "{challenge}");
}

#[test]
fn what_was_said_of_somebody_is_told_by_the_scope_of_the_token() {
    let deployment = deployment();
    let mint = deployment.serve();
    let claims = json!({"name": "Alice", "email": "alice@example.com", "email_verified": true, "groups": ["staff"]});
    let said = json!({"subject": "alice", "claims": claims, "acr": "urn:mfa"});
    let told = |scope: &str| {
        let token = redeem(&mint, WEB_APP, &log_in(&mint, WEB_APP, &[("scope", scope)], &said)).text("access_token");
        let answer = bear(&mint, &token);
        assert_eq!((answer.status, answer.header("cache-control")), (200, Some("no-store")), "{answer:?}");
        assert_eq!(answer.header("content-type"), Some("application/json"));
        let posted = ask(&mint, "POST", &[&format!("authorization: bearer {token}")]);
        assert_eq!(posted.json(), answer.json());
        answer.json()
    };
    assert_eq!(told("openid"), json!({"sub": "alice", "groups": ["staff"]}));
    let email = json!({"sub": "alice", "email": "alice@example.com", "email_verified": true, "groups": ["staff"]});
    assert_eq!(told("openid email read"), email);
    assert_eq!(told("openid profile"), json!({"sub": "alice", "name": "Alice", "groups": ["staff"]}));
}

#[test]
fn who_holds_no_good_token_is_told_nothing_and_why() {
    let deployment = deployment();
    deployment.allow_failed_attempts();
    let mint = deployment.serve();
    let nothing = ask(&mint, "GET", &[]);
    nothing.assert_error(401, "invalid_request");
    let challenge = nothing.header("www-authenticate").unwrap();
    assert!(
        challenge.starts_with("Bearer realm=\"mintkeep\", DPoP algs=\"") && !challenge.contains("error"),
        "{challenge}"
    );
    ask(&mint, "GET", &[&mint.basic()]).assert_error(401, "invalid_request");
    let tokens = redeem(&mint, WEB_APP, &log_in(&mint, WEB_APP, &[], &alice()));
    let good = tokens.text("access_token");
    let twice = format!("Authorization: Bearer {good}");
    ask(&mint, "GET", &[&twice, &twice]).assert_error(400, "invalid_request");
    for bad in ["x", &good[..good.len() - 1], &format!("{good}A"), &tokens.text("id_token"), PEOPLE] {
        assert_refused(&bear(&mint, bad), 401, "invalid_token");
    }
    // By the scheme of another kind of token.
    assert_refused(&ask(&mint, "GET", &[&format!("Authorization: DPoP {good}")]), 401, "invalid_token");
    // Good tokens of nobody who logged in, or that do not ask who it was.
    let token = redeem(&mint, WEB_APP, &log_in(&mint, WEB_APP, &[("scope", "read")], &alice())).text("access_token");
    assert_refused(&bear(&mint, &token), 403, "insufficient_scope");
    assert_refused(&bear(&mint, &mint.client_credentials().text("access_token")), 403, "insufficient_scope");
    let workload = mint.refresh(&deployment.grant()).text("access_token");
    assert_refused(&bear(&mint, &workload), 403, "insufficient_scope");
    assert_eq!(ask(&mint, "PUT", &[&twice]).status, 405);
    // And the good one, until its session ends.
    assert_eq!(bear(&mint, &good).status, 200);
    mint.post_form_to("/oauth/revoke", &[], &form(&[("client_id", WEB_APP), ("token", &tokens.text("refresh_token"))]));
    assert_refused(&bear(&mint, &good), 401, "invalid_token");
}

#[test]
fn a_token_that_is_bound_to_a_key_is_shown_with_its_proof() {
    let deployment = deployment();
    let mint = deployment.serve();
    let key = ClientKey::new(1);
    let code = log_in(&mint, WEB_APP, &[], &alice());
    let answer = key.with_proof(|dpop| mint.post_form(&[dpop], &redemption(WEB_APP, &code, &[])));
    let token = answer.text("access_token");
    let nonce = answer.header("dpop-nonce").unwrap().to_owned();
    let ath = encode(aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, token.as_bytes()));
    let show = |key: &ClientKey, method: &str, change: &dyn Fn(&mut Value)| {
        let proof = key.proof(&nonce, |_, claims| {
            claims["htu"] = URL.into();
            claims["htm"] = "GET".into();
            claims["ath"] = ath.as_str().into();
            change(claims);
        });
        ask(&mint, method, &[&format!("Authorization: DPoP {token}"), &format!("DPoP: {proof}")])
    };
    let good = show(&key, "GET", &|_| {});
    assert_eq!((good.status, good.json()), (200, json!({"sub": "alice"})), "{good:?}");
    assert!(good.header("dpop-nonce").is_some());
    assert_eq!(show(&key, "POST", &|claims| claims["htm"] = "POST".into()).status, 200);
    assert_refused(&bear(&mint, &token), 401, "invalid_token");
    assert_refused(&ask(&mint, "GET", &[&format!("Authorization: DPoP {token}")]), 401, "invalid_dpop_proof");
    assert_refused(&show(&ClientKey::new(2), "GET", &|_| {}), 401, "invalid_token");
    let wrong: [&dyn Fn(&mut Value); 4] = [
        &|claims| claims["htm"] = "POST".into(),
        &|claims| claims["htu"] = "https://mint.example.com/oauth/token".into(),
        &|claims| claims["ath"] = encode([0; 32]).into(),
        &|claims| drop(claims.as_object_mut().unwrap().remove("ath")),
    ];
    for change in wrong {
        assert_refused(&show(&key, "GET", change), 401, "invalid_dpop_proof");
    }
    let old = show(&key, "GET", &|claims| claims["nonce"] = "old".into());
    assert_refused(&old, 401, "use_dpop_nonce");
    assert!(old.header("dpop-nonce").is_some());
    // A proof is for one request.
    let proof = key.proof(&nonce, |_, claims| {
        claims["htu"] = URL.into();
        claims["htm"] = "GET".into();
        claims["ath"] = ath.as_str().into();
    });
    let headers = [format!("Authorization: DPoP {token}"), format!("DPoP: {proof}")];
    let headers: Vec<&str> = headers.iter().map(String::as_str).collect();
    assert_eq!(ask(&mint, "GET", &headers).status, 200);
    assert_refused(&ask(&mint, "GET", &headers), 401, "invalid_dpop_proof");
}

#[test]
fn the_metadata_of_an_openid_provider_is_there_where_somebody_can_log_in() {
    const CONFIGURATION: &str = "/.well-known/openid-configuration";
    let plain = Deployment::new();
    assert_eq!(plain.serve().get(CONFIGURATION).status, 404);
    let deployment = deployment();
    let mint = deployment.serve();
    let answer = mint.get(CONFIGURATION);
    let metadata = answer.json();
    assert_eq!(answer.header("content-type"), Some("application/json"));
    assert!(answer.header("etag").is_some());
    assert_eq!(metadata, mint.get("/.well-known/oauth-authorization-server").json());
    let expected = json!({
        "issuer": "https://mint.example.com",
        "authorization_endpoint": "https://mint.example.com/oauth/authorize",
        "token_endpoint": "https://mint.example.com/oauth/token",
        "userinfo_endpoint": URL,
        "jwks_uri": "https://mint.example.com/.well-known/jwks.json",
        "response_types_supported": ["code"],
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": ["ES256"],
        "claims_parameter_supported": false,
    });
    for (name, value) in expected.as_object().unwrap() {
        assert_eq!(metadata[name], *value, "{name}");
    }
    let contains = |name: &str, value: &str| metadata[name].as_array().unwrap().contains(&json!(value));
    assert!(contains("grant_types_supported", "authorization_code"));
    assert!(contains("scopes_supported", "openid") && contains("claims_supported", "email"));
    // Below the path of an issuer that has one (OpenID Connect Discovery 1.0 §4).
    drop(mint);
    let (mint, issuer) = deployment.serve_at_issuer("/tenant");
    assert_eq!(mint.get(&format!("/tenant{CONFIGURATION}")).json()["issuer"], json!(issuer));
}
