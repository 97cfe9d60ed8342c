//! Logins that front-ends decide: the way there and back, and what no front-end may say.

use std::time::Duration;

use mintkeep::clock::{Clock as _, SystemClock};
use mintkeep::store::sqlite::SqliteStore;
use mintkeep::store::{LoginId, LoginKind, PendingLogin, Store as _};
use serde_json::{Value, json};

use crate::support::client_key::{encode, now};
use crate::support::jose::claims_of;
use crate::support::login::{
    CALLBACK, OTHER_APP, PEOPLE, STRANGERS, WEB_APP, WEB_SERVICE, alice, begin, code_of, decide, parameter, read,
    redeem,
};
use crate::support::running::bearing;
use crate::support::{Answer, Deployment, RunningMint, WORKLOAD};

fn deployment() -> Deployment {
    let deployment = Deployment::new();
    deployment.add_logins();
    deployment
}

/// A login is still there to be accepted.
#[track_caller]
fn assert_waits(mint: &RunningMint, handle: &str) {
    assert_eq!(read(mint, PEOPLE, handle).status, 200);
}

#[test]
fn a_login_goes_from_the_client_to_the_front_end_and_back_once() {
    let deployment = deployment();
    let mint = deployment.serve();
    let asked = [
        ("scope", "openid read"),
        ("state", "a state&b=c"),
        ("nonce", "n-1"),
        ("prompt", "login consent"),
        ("max_age", "300"),
        ("login_hint", "alice@example.com"),
        ("acr_values", "urn:mfa urn:pwd"),
        ("ui_locales", "nl en"),
        ("resource", "https://a.example"),
    ];
    let handle = begin(&mint, WEB_APP, &asked);
    let answer = read(&mint, PEOPLE, &handle);
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    let mut login = answer.json();
    let expires_at = login.as_object_mut().unwrap().remove("expires_at").unwrap().as_i64().unwrap();
    assert!((now() + 590..=now() + 600).contains(&expires_at), "{expires_at}");
    let expected = json!({
        "client_id": WEB_APP, "redirect_uri": CALLBACK, "scope": "openid read", "resource": ["https://a.example"],
        "prompt": "login consent", "max_age": 300, "login_hint": "alice@example.com",
        "acr_values": "urn:mfa urn:pwd", "ui_locales": "nl en",
    });
    assert_eq!(login, expected);
    let accepted = decide(&mint, PEOPLE, &handle, "accept", &json!({"subject": "alice", "auth_time": now()}));
    let code = code_of(&accepted);
    let redirect = json!({"redirect_to":
        format!("{CALLBACK}?code={code}&state=a+state%26b%3Dc&iss=https%3A%2F%2Fmint.example.com")});
    assert_eq!(accepted.json(), redirect);
    assert_eq!(code.len(), 43, "256 random bits: {code}");
    // A handle is for one decision.
    read(&mint, PEOPLE, &handle).assert_error(409, "invalid_request");
    decide(&mint, PEOPLE, &handle, "accept", &alice()).assert_error(409, "invalid_request");
    decide(&mint, PEOPLE, &handle, "refuse", &json!({"error": "access_denied"})).assert_error(409, "invalid_request");
    redeem(&mint, WEB_APP, &code).text("access_token");
}

#[test]
fn what_was_asked_for_least_is_told_least() {
    let deployment = deployment();
    let mint = deployment.serve();
    let mut login = read(&mint, PEOPLE, &begin(&mint, WEB_APP, &[])).json();
    login.as_object_mut().unwrap().remove("expires_at").unwrap();
    let expected = json!({"client_id": WEB_APP, "redirect_uri": CALLBACK, "scope": "openid profile email read write"});
    assert_eq!(login, expected);
}

#[test]
fn a_refused_login_is_told_to_the_client_by_a_code_that_it_knows() {
    let deployment = deployment();
    let mint = deployment.serve();
    let handle = begin(&mint, WEB_APP, &[("state", "s")]);
    for wrong in [
        json!({"error": "invalid_grant"}),
        json!({"error": "Access_denied"}),
        json!({"error": ""}),
        json!({"error_description": "no"}),
        json!({"error": "access_denied", "error_description": "a \"quote\""}),
        json!({"error": "access_denied", "error_description": "é"}),
        json!({"error": "access_denied", "error_description": "x".repeat(256)}),
        json!({"error": "access_denied", "error_uri": "https://evil.example"}),
        json!(["access_denied"]),
    ] {
        decide(&mint, PEOPLE, &handle, "refuse", &wrong).assert_error(400, "invalid_request");
        assert_waits(&mint, &handle);
    }
    let refused =
        decide(&mint, PEOPLE, &handle, "refuse", &json!({"error": "login_required", "error_description": "not now"}));
    let redirect =
        format!("{CALLBACK}?error=login_required&error_description=not+now&state=s&iss=https%3A%2F%2Fmint.example.com");
    assert_eq!(refused.json(), json!({"redirect_to": redirect}));
    decide(&mint, PEOPLE, &handle, "accept", &alice()).assert_error(409, "invalid_request");
    for error in [
        "access_denied",
        "interaction_required",
        "account_selection_required",
        "consent_required",
        "unmet_authentication_requirements",
        "invalid_scope",
        "temporarily_unavailable",
        "server_error",
    ] {
        let handle = begin(&mint, WEB_APP, &[]);
        let refused = decide(&mint, PEOPLE, &handle, "refuse", &json!({ "error": error }));
        assert_eq!(parameter(&refused.text("redirect_to"), "error").as_deref(), Some(error));
    }
}

#[test]
fn a_front_end_that_says_more_than_it_may_is_refused_and_the_login_waits_on() {
    let deployment = deployment();
    let mint = deployment.serve();
    let handle = begin(&mint, WEB_APP, &[("scope", "openid read"), ("max_age", "60")]);
    let said = |name: &str, value: Value| {
        let mut said = json!({"subject": "alice", "auth_time": now()});
        said[name] = value;
        said
    };
    let deep = (0..20).fold(json!("deep"), |inner, _| json!([inner]));
    let cases = [
        ("invalid_scope", said("scope", json!("openid read write"))),
        ("invalid_scope", said("scope", json!("admin"))),
        ("invalid_scope", said("scope", json!("openid  read"))),
        ("invalid_request", said("subject", json!(""))),
        ("invalid_request", said("subject", json!("a".repeat(256)))),
        ("invalid_request", said("subject", json!("al\nice"))),
        // A person that could be taken for a client (RFC 9068 §5).
        ("invalid_request", said("subject", json!(WEB_SERVICE))),
        ("invalid_request", said("auth_time", json!(now() + 120))),
        ("invalid_request", said("auth_time", json!(now() - 120))),
        ("invalid_request", said("auth_time", json!(-1))),
        ("invalid_request", said("auth_time", json!("now"))),
        ("invalid_request", alice()),
        ("invalid_request", said("acr", json!(""))),
        ("invalid_request", said("acr", json!("a".repeat(256)))),
        ("invalid_request", said("amr", json!([""]))),
        ("invalid_request", said("amr", json!("pwd"))),
        ("invalid_request", said("amr", json!(vec!["pwd"; 17]))),
        ("invalid_request", said("session", json!(""))),
        ("invalid_request", said("session", json!("a".repeat(256)))),
        ("invalid_request", said("claims", json!({"iss": "https://evil.example"}))),
        ("invalid_request", said("claims", json!({"sub": "root"}))),
        ("invalid_request", said("claims", json!({"AUD": "other"}))),
        ("invalid_request", said("claims", json!({"events": {}}))),
        ("invalid_request", said("claims", json!({"cnf": {"jkt": "x"}}))),
        ("invalid_request", said("claims", json!({"a": "x".repeat(8 * 1024)}))),
        ("invalid_request", said("claims", json!({"a": deep}))),
        ("invalid_request", said("claims", json!(["email"]))),
        ("invalid_request", said("redirect_uri", json!("https://evil.example"))),
        ("invalid_request", said("client_id", json!(OTHER_APP))),
        ("invalid_request", said("lifetime", json!(1_000_000))),
        ("invalid_request", json!({})),
    ];
    for (code, said) in cases {
        let answer = decide(&mint, PEOPLE, &handle, "accept", &said);
        assert_eq!((answer.status, &answer.json()["error"]), (400, &json!(code)), "{said}: {answer:?}");
        answer.assert_error(400, code);
        assert_waits(&mint, &handle);
    }
    // A name that is there twice is read by nobody.
    for twice in [
        r#"{"subject":"alice","subject":"root"}"#.to_owned(),
        r#"{"subject":"alice","claims":{"email":"a","email":"b"}}"#.to_owned(),
        r#"{"subject":"alice"} "#.to_owned() + "x",
    ] {
        let path = format!("/admin/v1/logins/{handle}/accept");
        mint.raw_to_admin(&bearing("POST", &path, Some(PEOPLE), Some(twice))).assert_error(400, "invalid_request");
    }
    decide(&mint, PEOPLE, &handle, "accept", &said("scope", json!("read"))).text("redirect_to");
}

#[test]
fn who_proved_itself_after_the_request_is_as_fresh_as_the_client_asks() {
    let deployment = deployment();
    let mint = deployment.serve();
    for fresh in [("max_age", "0"), ("prompt", "login")] {
        let handle = begin(&mint, WEB_APP, &[fresh]);
        let said = |auth_time: i64| json!({"subject": "alice", "auth_time": auth_time});
        decide(&mint, PEOPLE, &handle, "accept", &said(now() - 10)).assert_error(400, "invalid_request");
        decide(&mint, PEOPLE, &handle, "accept", &said(now())).text("redirect_to");
    }
}

#[test]
fn only_the_front_end_of_the_client_decides() {
    let deployment = deployment();
    deployment.allow_failed_attempts();
    let mint = deployment.serve();
    let handle = begin(&mint, WEB_APP, &[]);
    let ask = |token: Option<&str>, action: &str| -> Answer {
        let (method, json) = if action.is_empty() { ("GET", None) } else { ("POST", Some(alice())) };
        mint.bear_to_admin(method, &format!("/admin/v1/logins/{handle}{action}"), token, json.as_ref())
    };
    for action in ["", "/accept", "/refuse"] {
        ask(Some(STRANGERS), action).assert_error(403, "access_denied");
        // An operator decides nothing here, and neither does anybody else.
        for token in [None, Some("mks_guess"), Some("")] {
            let answer = ask(token, action);
            answer.assert_error(401, "invalid_token");
            assert!(answer.header("www-authenticate").is_some_and(|challenge| challenge.starts_with("Bearer")));
        }
    }
    // And no browser comes to these routes at all.
    let public = mint.bear("GET", &format!("/admin/v1/logins/{handle}"), Some(PEOPLE), None);
    assert_eq!(public.status, 404);
    assert_waits(&mint, &handle);
}

#[test]
fn a_forged_handle_is_nobodys() {
    let deployment = deployment();
    deployment.allow_failed_attempts();
    let mint = deployment.serve();
    let handle = begin(&mint, WEB_APP, &[]);
    let flipped = if handle.starts_with('A') { "B" } else { "A" }.to_owned() + &handle[1..];
    let code = code_of(&decide(&mint, PEOPLE, &handle, "accept", &alice()));
    let forged =
        ["x".to_owned(), "A".repeat(43), encode([0; 32]), flipped, format!("{handle}A"), code, "%2e%2e".to_owned()];
    for handle in forged {
        read(&mint, PEOPLE, &handle).assert_error(404, "invalid_request");
        decide(&mint, PEOPLE, &handle, "accept", &alice()).assert_error(404, "invalid_request");
        decide(&mint, PEOPLE, &handle, "refuse", &json!({"error": "access_denied"}))
            .assert_error(404, "invalid_request");
    }
}

#[test]
fn a_login_that_ended_or_is_of_another_kind_is_not_decided() {
    let deployment = deployment();
    let mint = deployment.serve();
    let store = |kind: LoginKind, secret: &str, lifetime: u64| {
        let handle = encode(secret.as_bytes());
        let began = SystemClock.now().minus(Duration::from_secs(600));
        let request = json!({"client_id": WEB_APP, "redirect_uri": CALLBACK, "scope": "read",
            "code_challenge": "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"});
        let login = PendingLogin::new(kind, LoginId::of(&handle), WEB_APP.to_owned(), request.to_string(), began);
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let store = SqliteStore::open(&deployment.path("mintkeep.db")).unwrap();
            store.begin_login(login.lasting(Duration::from_secs(lifetime)), 10).await.unwrap();
        });
        handle
    };
    let ended = store(LoginKind::Authorization, &"a".repeat(32), 599);
    let device = store(LoginKind::Device, &"b".repeat(32), 900);
    let logout = store(LoginKind::Logout, &"c".repeat(32), 900);
    let good = store(LoginKind::Authorization, &"d".repeat(32), 900);
    for handle in [ended, device, logout] {
        read(&mint, PEOPLE, &handle).assert_error(404, "invalid_request");
        decide(&mint, PEOPLE, &handle, "accept", &alice()).assert_error(404, "invalid_request");
    }
    decide(&mint, PEOPLE, &good, "accept", &alice()).text("redirect_to");
}

#[test]
fn a_front_end_asks_for_tokens_by_itself_for_its_clients_only() {
    let deployment = deployment();
    let mint = deployment.serve();
    let grant = |token: Option<&str>, said: &Value| mint.bear_to_admin("POST", "/admin/v1/grants", token, Some(said));
    let said = json!({
        "client_id": WEB_APP, "subject": "alice", "scope": "openid email read", "auth_time": now() - 5, "acr": "urn:mfa",
        "amr": ["pwd"], "claims": {"email": "alice@example.com"}, "session": "s1", "resource": "https://a.example",
    });
    let answer = grant(Some(PEOPLE), &said);
    assert_eq!(answer.status, 201, "{answer:?}");
    let body = answer.json();
    let mut members: Vec<&String> = body.as_object().unwrap().keys().collect();
    members.sort();
    let expected =
        ["access_token", "expires_at", "expires_in", "family", "id_token", "refresh_token", "scope", "token_type"];
    assert_eq!(members, expected);
    let text = |name: &str| body[name].as_str().unwrap();
    let (access, id) = (claims_of(text("access_token")), claims_of(text("id_token")));
    assert_eq!((&access["aud"], &access["sub"]), (&json!("https://a.example"), &json!("alice")));
    assert_eq!((&access["sid"], &id["sid"]), (&body["family"], &body["family"]));
    assert_eq!((&id["aud"], &id["email"], id.get("nonce")), (&json!(WEB_APP), &json!("alice@example.com"), None));
    let refreshed = mint.refresh_of(WEB_APP, text("refresh_token"));
    assert_eq!(claims_of(&refreshed.text("access_token"))["aud"], "https://a.example", "as it was granted");

    grant(Some(STRANGERS), &said).assert_error(403, "access_denied");
    grant(Some("mks_guess"), &said).assert_error(401, "invalid_token");
    let changed = |name: &str, value: Value| {
        let mut said = said.clone();
        said[name] = value;
        grant(Some(PEOPLE), &said)
    };
    changed("client_id", json!(WORKLOAD)).assert_error(403, "access_denied");
    changed("client_id", json!("nobody")).assert_error(403, "access_denied");
    changed("scope", json!("admin")).assert_error(400, "invalid_scope");
    changed("resource", json!("https://evil.example")).assert_error(400, "invalid_target");
    changed("claims", json!({"sub": "root"})).assert_error(400, "invalid_request");
    changed("auth_time", json!(now() + 3600)).assert_error(400, "invalid_request");
    changed("nonce", json!("n")).assert_error(400, "invalid_request");
    // An operator's grant is as it was.
    let operator = grant(None, &json!({"client_id": WORKLOAD, "subject": "deploy"}));
    assert_eq!(operator.status, 201, "{operator:?}");
    assert_eq!(operator.json().get("access_token"), None);
    grant(None, &said).assert_error(400, "invalid_request");
}
