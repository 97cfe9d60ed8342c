//! The authorization code grant: what a code is good for, for whom, and how often.

use std::time::Duration;

use mintkeep::clock::{Clock as _, SystemClock};
use mintkeep::store::sqlite::SqliteStore;
use mintkeep::store::{Decided, Decision, LoginId, Store as _};
use serde_json::{Value, json};
use toml_edit::value;

use crate::support::client_key::{ClientKey, encode, now};
use crate::support::faulty::FaultyModule;
use crate::support::jose::{claims_of, verified};
use crate::support::login::{
    AUDIENCE, OTHER_APP, WEB_APP, WEB_SERVICE, alice, begin, log_in, redeem, redeem_for_service, redemption,
};
use crate::support::running::{basic, form};
use crate::support::{API, Answer, Deployment, Postgres, RunningMint};

fn deployment() -> Deployment {
    let deployment = Deployment::new();
    deployment.add_logins();
    deployment
}

/// Whether the resource server takes `token`.
fn is_active(deployment: &Deployment, mint: &RunningMint, token: &str) -> bool {
    let credentials = basic(API, &deployment.secret);
    let answer = mint.post_form_to("/oauth/introspect", &[&credentials], &form(&[("token", token)]));
    answer.json()["active"].as_bool().unwrap()
}

#[test]
fn a_code_is_traded_for_tokens_that_say_how_somebody_logged_in() {
    let deployment = deployment();
    deployment.add_resource_server(AUDIENCE);
    let mint = deployment.serve();
    let said = json!({"subject": "alice", "auth_time": now() - 100, "acr": "urn:mfa", "amr": ["pwd", "otp"]});
    let code = log_in(&mint, WEB_APP, &[("scope", "read write")], &said);
    let answer = redeem(&mint, WEB_APP, &code);
    assert_eq!((answer.header("cache-control"), answer.header("pragma")), (Some("no-store"), Some("no-cache")));
    let mut body = answer.json();
    let token = answer.text("access_token");
    let members = body.as_object_mut().unwrap();
    assert!(members.remove("access_token").is_some() && members.remove("refresh_token").is_some());
    assert_eq!(body, json!({"token_type": "Bearer", "expires_in": 300, "scope": "read write"}), "and no ID token");
    let claims = verified(&mint, &token, AUDIENCE);
    assert_eq!((&claims["sub"], &claims["client_id"]), (&json!("alice"), &json!(WEB_APP)));
    for (name, value) in said.as_object().unwrap().iter().filter(|(name, _)| *name != "subject") {
        assert_eq!(claims[name], *value, "{name}");
    }
    let credentials = basic(API, &deployment.secret);
    let told = mint.post_form_to("/oauth/introspect", &[&credentials], &form(&[("token", &token)])).json();
    assert_eq!((&told["active"], &told["acr"], &told["amr"]), (&json!(true), &said["acr"], &said["amr"]));
    // What is refreshed still says it, and of the same session.
    let refreshed = mint.refresh_of(WEB_APP, &answer.text("refresh_token"));
    let next = verified(&mint, &refreshed.text("access_token"), AUDIENCE);
    for name in ["sub", "sid", "auth_time", "acr", "amr", "scope", "aud"] {
        assert_eq!(next[name], claims[name], "{name}");
    }
}

#[test]
fn a_client_without_the_grant_gets_no_refresh_token() {
    let deployment = deployment();
    deployment.edit(|config| {
        let clients = config["client"].as_array_of_tables_mut().unwrap();
        let client = clients.iter_mut().find(|client| client["id"].as_str() == Some(WEB_APP)).unwrap();
        client["grants"] = ["authorization_code"].into_iter().collect::<toml_edit::Array>().into();
    });
    let mint = deployment.serve();
    let answer = redeem(&mint, WEB_APP, &log_in(&mint, WEB_APP, &[], &alice()));
    assert_eq!(answer.json().get("refresh_token"), None, "{answer:?}");
    // There is a session all the same: it can be ended.
    assert_eq!(claims_of(&answer.text("access_token"))["sid"].as_str().unwrap().len(), 22);
}

#[test]
fn a_code_used_twice_takes_back_what_it_gave() {
    let deployment = deployment();
    deployment.add_resource_server(AUDIENCE);
    let mint = deployment.serve();
    let code = log_in(&mint, WEB_APP, &[], &alice());
    let other = redeem(&mint, WEB_APP, &log_in(&mint, WEB_APP, &[], &alice()));
    let first = redeem(&mint, WEB_APP, &code);
    let (access, refresh) = (first.text("access_token"), first.text("refresh_token"));
    assert!(is_active(&deployment, &mint, &access));
    // Who has the code and not what it is bound to ends nothing.
    mint.post_form(&[], &redemption(WEB_APP, &code, &[("code_verifier", &"x".repeat(43))]))
        .assert_error(400, "invalid_grant");
    redeem(&mint, OTHER_APP, &code).assert_error(400, "invalid_grant");
    assert!(is_active(&deployment, &mint, &access));
    redeem(&mint, WEB_APP, &code).assert_error(400, "invalid_grant");
    mint.wait_for("a code was used twice: what it gave is revoked");
    assert!(!is_active(&deployment, &mint, &access));
    mint.refresh_of(WEB_APP, &refresh).assert_error(400, "invalid_grant");
    redeem(&mint, WEB_APP, &code).assert_error(400, "invalid_grant");
    // And nothing else of the same person.
    assert!(is_active(&deployment, &mint, &other.text("access_token")));
    mint.refresh_of(WEB_APP, &other.text("refresh_token")).text("access_token");
}

#[test]
fn of_many_at_once_one_gets_tokens_at_the_most_and_nobody_keeps_them() {
    let postgres = Postgres::start();
    for is_clustered in [false, true] {
        let deployment = deployment();
        deployment.add_resource_server(AUDIENCE);
        if is_clustered {
            deployment.use_postgres(&postgres);
        }
        let mint = deployment.serve();
        let code = log_in(&mint, WEB_APP, &[], &alice());
        let answers: Vec<Answer> = std::thread::scope(|scope| {
            let callers: Vec<_> = (0..8).map(|_| scope.spawn(|| redeem(&mint, WEB_APP, &code))).collect();
            callers.into_iter().map(|caller| caller.join().unwrap()).collect()
        });
        let (granted, refused): (Vec<Answer>, Vec<Answer>) =
            answers.into_iter().partition(|answer| answer.status == 200);
        refused.iter().for_each(|answer| answer.assert_error(400, "invalid_grant"));
        assert_eq!(granted.len(), 1);
        assert!(!is_active(&deployment, &mint, &granted[0].text("access_token")));
        mint.refresh_of(WEB_APP, &granted[0].text("refresh_token")).assert_error(400, "invalid_grant");
    }
}

#[test]
fn a_code_is_good_for_its_client_with_its_verifier_at_its_redirect_uri_and_stays_so() {
    let deployment = deployment();
    deployment.allow_failed_attempts();
    let mint = deployment.serve();
    let code = log_in(&mint, WEB_APP, &[], &alice());
    let too_long = "x".repeat(129);
    let cases: &[(&str, &[(&str, &str)])] = &[
        ("invalid_grant", &[("code_verifier", "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXK")]),
        ("invalid_grant", &[("code_verifier", "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM")]),
        ("invalid_request", &[("code_verifier", "")]),
        ("invalid_request", &[("code_verifier", "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjX")]),
        ("invalid_request", &[("code_verifier", &too_long)]),
        ("invalid_request", &[("code_verifier", "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjX=")]),
        ("invalid_grant", &[("redirect_uri", "https://app.example.com/callback/")]),
        ("invalid_grant", &[("redirect_uri", "https://evil.example/callback")]),
        ("invalid_request", &[("redirect_uri", "")]),
        ("invalid_request", &[("code", "")]),
        ("invalid_grant", &[("code", "x")]),
        ("invalid_grant", &[("code", "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA")]),
        ("invalid_grant", &[("client_id", OTHER_APP)]),
        ("invalid_target", &[("resource", "https://evil.example")]),
    ];
    for (error, changes) in cases {
        let answer = mint.post_form(&[], &redemption(WEB_APP, &code, changes));
        assert_eq!((answer.status, &answer.json()["error"]), (400, &json!(error)), "{changes:?}: {answer:?}");
        answer.assert_error(400, error);
    }
    // As another client, which proves itself, and as one that does not.
    redeem_for_service(&mint, &deployment.secret, &code).assert_error(400, "invalid_grant");
    redeem(&mint, WEB_SERVICE, &code).assert_error(401, "invalid_client");
    redeem(&mint, "nobody", &code).assert_error(401, "invalid_client");
    redeem(&mint, crate::support::WORKLOAD, &code).assert_error(400, "unauthorized_client");
    // The handle of the login is no code.
    let handle = begin(&mint, WEB_APP, &[]);
    redeem(&mint, WEB_APP, &handle).assert_error(400, "invalid_grant");
    redeem(&mint, WEB_APP, &code).text("access_token");
    // A confidential client needs its verifier all the same.
    let code = log_in(&mint, WEB_SERVICE, &[], &alice());
    let headers = [basic(WEB_SERVICE, &deployment.secret)];
    let without = redemption("", &code, &[("code_verifier", "")]);
    mint.post_form(&[&headers[0]], &without).assert_error(400, "invalid_request");
    redeem_for_service(&mint, &deployment.secret, &code).text("access_token");
}

#[test]
fn a_code_ends_after_a_minute() {
    let deployment = deployment();
    let mint = deployment.serve();
    let accept = |age: u64| {
        let (handle, code) = (begin(&mint, WEB_APP, &[]), encode([u8::try_from(age).unwrap(); 32]));
        let grant = json!({"subject": "alice", "scope": "read", "record": {}}).to_string();
        let now = SystemClock.now();
        let expires_at = now.minus(Duration::from_secs(age)).plus(Duration::from_secs(60));
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let decided = runtime.block_on(async {
            let store = SqliteStore::open(&deployment.path("mintkeep.db")).unwrap();
            let decision = Decision::Accepted { code: LoginId::of(&code), grant, expires_at };
            store.decide_login(LoginId::of(&handle), decision, now).await.unwrap()
        });
        assert_eq!(decided, Decided::Done);
        code
    };
    redeem(&mint, WEB_APP, &accept(60)).assert_error(400, "invalid_grant");
    redeem(&mint, WEB_APP, &accept(200)).assert_error(400, "invalid_grant");
    redeem(&mint, WEB_APP, &accept(1)).text("access_token");
}

#[test]
fn a_signature_that_fails_uses_no_code_up() {
    let deployment = deployment();
    let faulty = FaultyModule::before(&deployment);
    let mint = deployment.serve();
    // The access token, the ID token, and the refresh token.
    for call in ["C_Sign 1 return 0x31", "C_Sign 2 return 0x31", "C_Encrypt 1 return 0x31"] {
        let code = log_in(&mint, WEB_APP, &[("scope", "openid")], &alice());
        faulty.script(call);
        redeem(&mint, WEB_APP, &code).assert_error(503, "temporarily_unavailable");
        assert!(faulty.has_happened(), "{call}");
        let answer = redeem(&mint, WEB_APP, &code);
        mint.refresh_of(WEB_APP, &answer.text("refresh_token")).text("id_token");
    }
}

#[test]
fn a_mint_that_dies_between_signature_and_commit_uses_no_code_up() {
    let deployment = deployment();
    deployment.edit(|config| config["keeper"]["request_timeout"] = value("30s"));
    let faulty = FaultyModule::before(&deployment);
    let mint = deployment.serve();
    let code = log_in(&mint, WEB_APP, &[("scope", "openid")], &alice());
    // The second signature, that of the ID token, takes its time: the access token is signed, and nothing is committed.
    faulty.script("C_Sign 2 delay 10000ms");
    std::thread::scope(|scope| {
        let asking = scope.spawn(|| {
            crate::support::running::try_post(mint.address(), "/oauth/token", &redemption(WEB_APP, &code, &[]))
        });
        while faulty.count("C_Sign") < 2 {
            std::thread::yield_now();
        }
        crate::support::process::signal(mint.pid(), nix::sys::signal::Signal::SIGKILL);
        assert!(asking.join().unwrap().is_none(), "nobody answers");
    });
    drop(mint);
    faulty.script("");
    let mint = deployment.serve();
    redeem(&mint, WEB_APP, &code).text("id_token");
}

#[test]
fn a_code_bound_to_a_key_is_redeemed_by_it_and_its_tokens_are_bound_too() {
    let deployment = deployment();
    let mint = deployment.serve();
    let (key, other) = (ClientKey::new(1), ClientKey::new(2));
    let jkt = key.thumbprint();
    let code = log_in(&mint, WEB_APP, &[("dpop_jkt", &jkt)], &alice());
    redeem(&mint, WEB_APP, &code).assert_error(400, "invalid_grant");
    other
        .with_proof(|dpop| mint.post_form(&[dpop], &redemption(WEB_APP, &code, &[])))
        .assert_error(400, "invalid_grant");
    let answer = key.with_proof(|dpop| mint.post_form(&[dpop], &redemption(WEB_APP, &code, &[])));
    assert_eq!(answer.json()["token_type"], "DPoP");
    assert_eq!(claims_of(&answer.text("access_token"))["cnf"], json!({"jkt": jkt}));
    // The refresh token of a public client is bound from its beginning.
    let refresh = answer.text("refresh_token");
    let refresh_form = form(&[("grant_type", "refresh_token"), ("client_id", WEB_APP), ("refresh_token", &refresh)]);
    mint.post_form(&[], &refresh_form).assert_error(400, "invalid_grant");
    other.with_proof(|dpop| mint.post_form(&[dpop], &refresh_form)).assert_error(400, "invalid_grant");
    key.with_proof(|dpop| mint.post_form(&[dpop], &refresh_form)).text("refresh_token");
}

#[test]
fn tokens_are_for_what_the_request_named_and_for_nothing_else() {
    let deployment = deployment();
    let mint = deployment.serve();
    let asked = [("resource", "https://a.example")];
    let code = || log_in(&mint, WEB_APP, &asked, &alice());
    let named = |resource: &str| mint.post_form(&[], &redemption(WEB_APP, &code(), &[("resource", resource)]));
    named("https://b.example").assert_error(400, "invalid_target");
    named(AUDIENCE).assert_error(400, "invalid_target");
    let answer = named("");
    let aud = |answer: &Answer| -> Value { claims_of(&answer.text("access_token"))["aud"].clone() };
    assert_eq!(aud(&answer), "https://a.example");
    let refresh = |token: &str, resource: &str| {
        let parameters =
            [("grant_type", "refresh_token"), ("client_id", WEB_APP), ("refresh_token", token), ("resource", resource)];
        mint.post_form(&[], &form(&parameters))
    };
    let refresh_token = answer.text("refresh_token");
    refresh(&refresh_token, "https://b.example").assert_error(400, "invalid_target");
    assert_eq!(aud(&refresh(&refresh_token, "")), "https://a.example");
}
