//! openid-client, with people who sign in by Chromium at `examples/frontend`.

use std::net::TcpStream;

use serde_json::{Value, json};

use crate::support::swtpm::free_ports;
use crate::support::{Answer, Deployment, node};

/// The subject of Alice, of `examples/frontend/accounts.json`.
const ALICE: &str = "248289761001";
const SINGLE_FACTOR: &str = "https://refeds.org/profile/sfa";
const AUDIENCE: &str = "https://api.example.com";

/// A deployment with the client `web-app`, of further `lines`.
fn deployment(lines: &str) -> Deployment {
    let deployment = Deployment::new();
    deployment.add_client(&format!(
        r#"id = "web-app"
        authentication = "client_secret_basic"
        secret_sha256 = "{}"
        grants = ["authorization_code", "refresh_token"]
        scope = "openid profile email read:invoices"
        audience = "{AUDIENCE}"
        redirect_uris = ["http://127.0.0.1/callback"]
        {lines}"#,
        deployment.secret_hash()
    ));
    deployment
}

#[test]
fn openid_client_signs_people_in_by_the_code_flow() {
    let deployment = deployment("");
    let (frontend, _mint, issuer) = deployment.serve_with_frontend(&["web-app"]);
    let told = node::run(
        "code_flow",
        &json!({
            "issuer": issuer, "id": "web-app", "secret": deployment.secret, "frontend": frontend.url,
            "audience": AUDIENCE,
        }),
    );
    assert_eq!(told["pages"], json!(["Sign in", "Allow Invoice Desk?", "The application"]));
    assert_eq!(told["wrong"], json!(["User name and password do not belong together."]));
    assert_eq!(
        told["scopes"],
        json!(["Know who you are", "See your profile", "See your e-mail address", "Read your invoices"])
    );

    let first = &told["first"];
    assert_eq!([&first["iss"], &first["aud"], &first["sub"]], [&issuer, "web-app", ALICE]);
    assert_eq!((&first["acr"], &first["amr"]), (&json!(SINGLE_FACTOR), &json!(["pwd"])));
    let access_token = &told["access_token"];
    assert_eq!([&access_token["sub"], &access_token["client_id"]], [ALICE, "web-app"]);
    assert_eq!(told["scope"], "openid profile email read:invoices");
    for how in ["auth_time", "acr", "amr", "sid"] {
        assert_eq!(access_token[how], first[how], "{how}: as the ID token has it");
        assert_eq!(told["refreshed"][how], first[how], "{how}: a refresh is no login");
    }
    assert_eq!(told["userinfo"]["name"], "Alice Adams");
    assert_eq!(told["userinfo"]["email"], "alice@example.com");

    // The session at the front-end goes on, and what a client wants to be asked again is.
    for again in ["again", "silent"] {
        assert_eq!(told[again]["auth_time"], first["auth_time"], "{again}");
        assert_ne!(told[again]["sid"], first["sid"], "{again}: each grant is a session of its own");
    }
    for asked in ["prompted", "aged"] {
        assert_eq!(told[format!("{asked}_page")], "Sign in");
        assert!(told[asked]["auth_time"].as_u64() >= first["auth_time"].as_u64(), "{asked}");
    }
    let pushed = &told["pushed"];
    assert_eq!(pushed["scope"], "openid profile read:invoices");
    assert_eq!((&pushed["claims"]["name"], pushed["claims"].get("email")), (&json!("Alice Adams"), None));

    assert_eq!([&told["denied"], &told["cancelled"]], ["access_denied"; 2]);
    assert_eq!([&told["nobody"], &told["other"]], ["login_required"; 2]);
    assert_eq!([&told["replayed"], &told["taken_back"]], ["invalid_grant"; 2]);
    assert_eq!(told["step"], "One more step");
    assert_eq!(told["stepped"]["acr"], "https://refeds.org/profile/mfa");
    assert_eq!(told["stepped"]["amr"], json!(["pwd", "otp", "mfa"]));
    assert_eq!(told["hinted"], ALICE);

    assert_eq!(told["requested"], sorted([issuer, frontend.url.clone()]), "and nowhere else");
    let failed: Vec<_> = told["complaints"].as_array().unwrap().iter().collect();
    assert!(matches!(failed[..], [one] if one.as_str().unwrap().contains("401")), "the wrong password: {failed:?}");
}

#[test]
fn openid_client_connects_a_device() {
    let deployment = Deployment::new();
    deployment.add_client(&format!(
        r#"id = "television"
        authentication = "none"
        grants = ["urn:ietf:params:oauth:grant-type:device_code"]
        scope = "openid read:metrics"
        audience = "{AUDIENCE}""#
    ));
    let (frontend, _mint, issuer) = deployment.serve_with_frontend(&["television"]);
    let told = node::run(
        "device_flow",
        &json!({ "issuer": issuer, "id": "television", "frontend": frontend.url, "audience": AUDIENCE }),
    );
    assert_eq!(told["verification_uri"], format!("{}/device", frontend.url));
    assert_eq!(told["wrong"], json!(["There is no such code, or it has ended. Look at your device again."]));
    assert_eq!((&told["asked"]["heading"], &told["asked"]["isTheCode"]), (&json!("Connect television?"), &json!(true)));
    assert_eq!(told["asked"]["scopes"], json!(["Know who you are", "read:metrics"]));
    assert_eq!([&told["approved"], &told["denied"]], ["Your device is connected", "Denied"]);
    assert_eq!([&told["claims"]["sub"], &told["claims"]["scope"]], [ALICE, "openid read:metrics"]);
    assert_eq!([&told["id_token"]["sub"], &told["id_token"]["aud"]], [ALICE, "television"]);
    assert_eq!(told["refused"], "access_denied");
}

#[test]
fn openid_client_signs_people_out() {
    let port = free_ports().expect("a free port");
    let deployment = deployment(&format!(
        r#"post_logout_redirect_uris = ["http://127.0.0.1/signed-out"]
        backchannel_logout_uri = "http://127.0.0.1:{port}/backchannel""#
    ));
    let (frontend, _mint, issuer) = deployment.serve_with_frontend(&["web-app"]);
    let told = node::run(
        "logout",
        &json!({
            "issuer": issuer, "id": "web-app", "secret": deployment.secret, "frontend": frontend.url, "port": port,
        }),
    );
    assert_eq!(told["page"], "Sign out?");
    assert_eq!(told["out"], json!({ "pathname": "/signed-out", "state": "there and back" }));
    let logout_token = &told["logout_token"];
    assert_eq!([&logout_token["sub"], &logout_token["sid"]], [&told["id_token"]["sub"], &told["id_token"]["sid"]]);
    assert_eq!(logout_token["events"], json!({ "http://schemas.openid.net/event/backchannel-logout": {} }));
    assert_eq!(logout_token.get("nonce"), None, "Back-Channel Logout 1.0 §2.4");
    assert_eq!((&told["refreshed"], &told["silent"]), (&json!("invalid_grant"), &json!("login_required")));
}

#[test]
fn the_pages_of_the_front_end_are_for_everybody_and_only_for_who_was_sent_there() {
    let deployment = deployment("");
    let (frontend, _mint, issuer) = deployment.serve_with_frontend(&["web-app"]);
    let told = node::run(
        "frontend_pages",
        &json!({ "issuer": issuer, "id": "web-app", "secret": deployment.secret, "frontend": frontend.url }),
    );
    let pages = told["pages"].as_object().unwrap();
    assert_eq!(pages.len(), 6);
    for (name, page) in pages {
        assert_eq!(
            (&page["lang"], &page["headings"], &page["scripts"]),
            (&json!("en"), &json!(1), &json!(0)),
            "{name}"
        );
        assert!(page["title"].as_str().unwrap().ends_with(" · Example Identity"), "{name}");
        assert_eq!((&page["nameless"], &page["hasContrast"]), (&json!([]), &json!(true)), "{name}");
        assert_eq!(page["isTooWide"], false, "{name}");
    }
    assert_eq!(
        told["policies"],
        json!([
            "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
        ])
    );
    assert_eq!((&told["requested"], &told["complaints"]), (&json!([frontend.url]), &json!([])));
    assert_eq!((&told["isEscaped"], &told["typed"]), (&json!(true), &json!("\"><b id=\"injected\">")));
    assert_eq!(told["cookie"], json!({ "httpOnly": true, "sameSite": "Lax", "isOther": true }));
    assert_eq!(
        told["headers"],
        json!({
            "cache-control": "no-store", "referrer-policy": "same-origin", "x-content-type-options": "nosniff",
            "x-frame-options": "DENY",
        })
    );
    assert_eq!(
        told["statuses"],
        json!({
            "withoutToken": 403, "tokenOfAnother": 403, "withoutCookie": 403, "fromAnotherSite": 403,
            "forgedHandle": 404, "forgedAddress": 404, "pathAsHandle": 404, "withoutHandle": 404,
            // The sign-in page, and no consent.
            "consentWithoutSignIn": 200,
            "tooLong": 413, "otherMethod": 404, "cancelled": 200, "cancelledAgain": 409,
        })
    );
    assert_eq!(told["guesses"], json!([401, 429]));
    let log = frontend.log();
    assert!(log.contains("/login"), "{log}");
    for handle in told["handles"].as_array().unwrap() {
        assert!(!log.contains(handle.as_str().unwrap()), "a handle is in the log");
    }
}

#[test]
fn the_cookie_of_the_front_end_is_for_its_host_alone_where_it_is_reached_by_https() {
    let deployment = Deployment::without_token();
    let base = ("BASE_URL", "https://login.example.com");
    let frontend = deployment.start_example("frontend", &[("LISTEN", "127.0.0.1:0"), base]);
    let stream = TcpStream::connect(frontend.url.strip_prefix("http://").unwrap()).unwrap();
    let answer = Answer::exchange(stream, b"GET / HTTP/1.1\r\nHost: mint\r\nConnection: close\r\n\r\n");
    let cookie = answer.header("set-cookie").unwrap();
    assert!(cookie.starts_with("__Host-session="), "{cookie}");
    assert!(cookie.ends_with("; Path=/; Max-Age=28800; HttpOnly; SameSite=Lax; Secure"), "{cookie}");
    assert_eq!(answer.header("strict-transport-security"), Some("max-age=31536000"));
}

/// Run by `scripts/screenshot`.
#[test]
#[ignore = "it makes the picture that is in the documentation"]
fn screenshot() {
    let deployment = deployment("");
    let (frontend, _mint, issuer) = deployment.serve_with_frontend(&["web-app"]);
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/frontend/screenshot.png");
    let size = node::run(
        "screenshot",
        &json!({
            "issuer": issuer, "id": "web-app", "secret": deployment.secret, "frontend": frontend.url, "path": path,
        }),
    );
    assert!(size.as_u64() < Some(150_000), "{size}");
}

fn sorted(mut texts: [String; 2]) -> Value {
    texts.sort_unstable();
    json!(texts)
}
