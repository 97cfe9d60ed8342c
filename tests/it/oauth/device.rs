//! Devices: what they are told, what their person's front-end sees and says, and what they get by polling (RFC 8628).

use mintkeep::oauth::secret::SecretHash;
use serde_json::{Value, json};

use crate::support::jose::{claims_of, verified};
use crate::support::login::{AUDIENCE, STRANGERS, parameter};
use crate::support::running::{basic, form};
use crate::support::{Answer, Deployment, RunningMint};

const GRANT: &str = "urn:ietf:params:oauth:grant-type:device_code";
const ENDPOINT: &str = "/oauth/device_authorization";
/// The token of the front-end of the devices.
const SCREEN: &str = "mks_token-of-screen";

fn deployment() -> Deployment {
    let deployment = Deployment::new();
    deployment.add_logins();
    deployment.allow_failed_attempts();
    let secret = SecretHash::of(&deployment.secret).hexadecimal();
    let grants =
        format!("[\"{GRANT}\", \"refresh_token\", \"authorization_code\"]\nredirect_uris = [\"https://tv.example/\"]");
    for (id, authentication, grants) in [
        ("tv", "\"none\"".to_owned(), grants.as_str()),
        ("box", format!("\"client_secret_basic\"\nsecret_sha256 = \"{secret}\""), grants.as_str()),
        ("orphan", "\"none\"".to_owned(), grants.as_str()),
        ("plain", "\"none\"".to_owned(), "[\"refresh_token\"]"),
    ] {
        deployment.add_client(&format!(
            "id = \"{id}\"\nauthentication = {authentication}\ngrants = {grants}
scope = \"openid email read write\"\naudience = \"{AUDIENCE}\"\nresources = [\"https://a.example\"]"
        ));
    }
    let token = SecretHash::of(SCREEN).hexadecimal();
    deployment.append(&format!(
        "[[frontend]]\nname = \"screen\"\ntoken_sha256 = \"{token}\"\nclients = [\"tv\", \"box\", \"plain\"]
device_url = \"https://screen.example/device?theme=dark\""
    ));
    deployment
}

/// The device of a public client, or of one that `headers` prove.
fn begin(mint: &RunningMint, headers: &[&str], parameters: &[(&str, &str)]) -> Answer {
    mint.post_form_to(ENDPOINT, headers, &form(parameters))
}

/// The device code and the user code of a device of `tv`.
#[track_caller]
fn begun(mint: &RunningMint, further: &[(&str, &str)]) -> (String, String) {
    let parameters: Vec<_> = [("client_id", "tv")].iter().chain(further).copied().collect();
    let answer = begin(mint, &[], &parameters);
    (answer.text("device_code"), answer.text("user_code"))
}

fn poll(mint: &RunningMint, client: &str, device_code: &str) -> Answer {
    mint.post_form(&[], &form(&[("grant_type", GRANT), ("client_id", client), ("device_code", device_code)]))
}

fn decide(mint: &RunningMint, token: &str, user_code: &str, decision: &str, said: &Value) -> Answer {
    mint.bear_to_admin("POST", &format!("/admin/v1/devices/{user_code}/{decision}"), Some(token), Some(said))
}

fn read(mint: &RunningMint, token: &str, user_code: &str) -> Answer {
    mint.bear_to_admin("GET", &format!("/admin/v1/devices/{user_code}"), Some(token), None)
}

#[test]
fn a_device_gets_tokens_once_its_person_logged_in_and_loses_them_where_its_code_is_used_again() {
    let deployment = deployment();
    let mint = deployment.serve();
    let answer =
        begin(&mint, &[], &[("client_id", "tv"), ("scope", "openid email read"), ("resource", "https://a.example")]);
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    let (device_code, user_code) = (answer.text("device_code"), answer.text("user_code"));
    let (first, second) = user_code.split_once('-').expect("a hyphen");
    let is_consonant = |letter: char| "BCDFGHJKLMNPQRSTVWXZ".contains(letter);
    assert!([first, second].iter().all(|part| part.len() == 4 && part.chars().all(is_consonant)), "{user_code}");
    let page = "https://screen.example/device?theme=dark";
    assert_eq!(
        answer.json(),
        json!({
            "device_code": device_code, "user_code": user_code, "verification_uri": page,
            "verification_uri_complete": format!("{page}&user_code={user_code}"), "expires_in": 600, "interval": 5,
        })
    );
    poll(&mint, "tv", &device_code).assert_error(400, "authorization_pending");
    poll(&mint, "tv", &device_code).assert_error(400, "slow_down");

    // As a person types it.
    let waiting = read(&mint, SCREEN, &user_code.to_lowercase().replace('-', "%20")).json();
    let expires_at = waiting["expires_at"].as_i64().expect("a time");
    assert_eq!(
        waiting,
        json!({"client_id": "tv", "user_code": user_code, "scope": "openid email read", "resource": ["https://a.example"], "expires_at": expires_at})
    );
    let said =
        json!({"subject": "ada", "scope": "openid email", "acr": "gold", "claims": {"email": "ada@example.com"}});
    let accepted = decide(&mint, SCREEN, &user_code, "accept", &said);
    assert_eq!((accepted.status, accepted.json()), (200, json!({})));
    for decision in ["accept", "refuse"] {
        let said = if decision == "accept" { said.clone() } else { json!({"error": "access_denied"}) };
        decide(&mint, SCREEN, &user_code, decision, &said).assert_error(409, "invalid_request");
    }
    read(&mint, SCREEN, &user_code).assert_error(409, "invalid_request");

    // Also where it is too early.
    let tokens = poll(&mint, "tv", &device_code);
    assert_eq!(tokens.text("scope"), "openid email");
    let access_token = verified(&mint, &tokens.text("access_token"), "https://a.example");
    assert_eq!((&access_token["sub"], &access_token["acr"]), (&json!("ada"), &json!("gold")));
    let id_token = verified(&mint, &tokens.text("id_token"), "tv");
    assert_eq!((&id_token["email"], &id_token["sid"]), (&json!("ada@example.com"), &access_token["sid"]));
    assert_eq!(id_token.get("nonce"), None);
    let refreshed = mint.refresh_of("tv", &tokens.text("refresh_token"));

    poll(&mint, "tv", &device_code).assert_error(400, "invalid_grant");
    assert!(mint.log().contains("a code was used twice: what it gave is revoked"));
    mint.refresh_of("tv", &refreshed.text("refresh_token")).assert_error(400, "invalid_grant");
}

#[test]
fn a_device_that_is_refused_or_whose_time_is_over_hears_so() {
    let deployment = deployment();
    let mint = deployment.serve();
    let (device_code, user_code) = begun(&mint, &[]);
    let refused = decide(&mint, SCREEN, &user_code, "refuse", &json!({"error": "login_required"}));
    assert_eq!((refused.status, refused.json()), (200, json!({})));
    poll(&mint, "tv", &device_code).assert_error(400, "access_denied");

    let (pending, pending_code) = begun(&mint, &[]);
    let (accepted, accepted_code) = begun(&mint, &[]);
    decide(&mint, SCREEN, &accepted_code, "accept", &json!({"subject": "ada"}));
    let store = rusqlite::Connection::open(deployment.path("mintkeep.db")).unwrap();
    store.busy_timeout(std::time::Duration::from_secs(10)).unwrap();
    store.execute("UPDATE login SET expires_at = created_at, code_expires_at = created_at", []).unwrap();
    poll(&mint, "tv", &pending).assert_error(400, "expired_token");
    poll(&mint, "tv", &accepted).assert_error(400, "expired_token");
    for user_code in [&pending_code, &accepted_code] {
        read(&mint, SCREEN, user_code).assert_error(404, "invalid_request");
        decide(&mint, SCREEN, user_code, "accept", &json!({"subject": "ada"})).assert_error(404, "invalid_request");
    }
}

#[test]
fn a_confidential_client_proves_itself_at_both_endpoints() {
    let deployment = deployment();
    let mint = deployment.serve();
    let proof = basic("box", &deployment.secret);
    let answer = begin(&mint, &[&proof], &[]);
    let (device_code, user_code) = (answer.text("device_code"), answer.text("user_code"));
    let said = json!({"subject": "ada"});
    assert_eq!(decide(&mint, SCREEN, &user_code, "accept", &said).status, 200);
    begin(&mint, &[], &[("client_id", "box")]).assert_error(401, "invalid_client");
    begin(&mint, &[&basic("box", "wrong")], &[]).assert_error(401, "invalid_client");
    poll(&mint, "box", &device_code).assert_error(401, "invalid_client");
    let parameters = form(&[("grant_type", GRANT), ("device_code", &device_code)]);
    let tokens = mint.post_form(&[&proof], &parameters);
    assert_eq!(claims_of(&tokens.text("access_token"))["sub"], "ada");
}

#[test]
fn requests_that_are_not_good_begin_nothing() {
    let deployment = deployment();
    let mint = deployment.serve();
    type Case = (&'static [(&'static str, &'static str)], u16, &'static str, &'static str);
    let cases: [Case; 7] = [
        (&[], 401, "invalid_client", ""),
        (&[("client_id", "nobody")], 401, "invalid_client", ""),
        (&[("client_id", "plain")], 400, "unauthorized_client", "the client may not use this grant"),
        (
            &[("client_id", "orphan")],
            400,
            "unauthorized_client",
            "no front-end has a page for the devices of this client",
        ),
        (&[("client_id", "tv"), ("scope", "admin")], 400, "invalid_scope", ""),
        (&[("client_id", "tv"), ("resource", "https://b.example")], 400, "invalid_target", ""),
        (&[("client_id", "tv"), ("scope", "read"), ("scope", "read")], 400, "invalid_request", ""),
    ];
    for (parameters, status, error, description) in cases {
        let answer = begin(&mint, &[], parameters);
        answer.assert_error(status, error);
        let said = answer.json()["error_description"].as_str().unwrap().to_owned();
        assert!(description.is_empty() || said == description, "{said}");
    }
    assert_eq!(mint.get(ENDPOINT).status, 405);
    let metadata = mint.get("/.well-known/oauth-authorization-server").json();
    assert_eq!(metadata["device_authorization_endpoint"], "https://mint.example.com/oauth/device_authorization");
    assert!(metadata["grant_types_supported"].as_array().unwrap().contains(&json!(GRANT)));
}

#[test]
fn a_device_code_is_good_for_its_client_and_its_grant_alone() {
    let deployment = deployment();
    let mint = deployment.serve();
    let (device_code, user_code) = begun(&mint, &[("scope", "read")]);
    // Nobody else's poll counts, or learns anything.
    for _ in 0..3 {
        poll(&mint, "orphan", &device_code).assert_error(400, "invalid_grant");
    }
    poll(&mint, "tv", &device_code).assert_error(400, "authorization_pending");
    poll(&mint, "plain", &device_code).assert_error(400, "unauthorized_client");
    for wrong in ["x", &device_code[1..], &format!("{device_code}A"), &user_code, &"A".repeat(43)] {
        poll(&mint, "tv", wrong).assert_error(400, "invalid_grant");
    }
    poll(&mint, "tv", "").assert_error(400, "invalid_request");
    decide(&mint, SCREEN, &user_code, "accept", &json!({"subject": "ada"}));
    poll(&mint, "orphan", &device_code).assert_error(400, "invalid_grant");
    let as_code = [
        ("grant_type", "authorization_code"),
        ("client_id", "tv"),
        ("code", &device_code),
        ("redirect_uri", "https://tv.example/"),
        ("code_verifier", "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"),
    ];
    mint.post_form(&[], &form(&as_code)).assert_error(400, "invalid_grant");
    let beyond =
        [("grant_type", GRANT), ("client_id", "tv"), ("device_code", &device_code), ("resource", "https://b.example")];
    mint.post_form(&[], &form(&beyond)).assert_error(400, "invalid_target");
    assert_eq!(poll(&mint, "tv", &device_code).text("scope"), "read");
}

#[test]
fn a_front_end_decides_on_its_own_devices_and_guesses_no_codes() {
    let deployment = deployment();
    let mint = deployment.serve();
    let (device_code, user_code) = begun(&mint, &[("scope", "read")]);
    read(&mint, STRANGERS, &user_code).assert_error(404, "invalid_request");
    let said = json!({"subject": "mallory"});
    decide(&mint, STRANGERS, &user_code, "accept", &said).assert_error(404, "invalid_request");
    decide(&mint, "mks_nobody", &user_code, "accept", &said).assert_error(401, "invalid_token");
    for (said, error) in [
        (json!({"subject": "ada", "scope": "read write"}), "invalid_scope"),
        (json!({"subject": "box"}), "invalid_request"),
        (json!({}), "invalid_request"),
        (json!({"subject": "ada", "claims": {"aud": "other"}}), "invalid_request"),
        (json!({"subject": "ada", "more": true}), "invalid_request"),
    ] {
        let answer = decide(&mint, SCREEN, &user_code, "accept", &said);
        assert_eq!((answer.status, answer.json()["error"].as_str()), (400, Some(error)), "{said} {answer:?}");
    }
    decide(&mint, SCREEN, &user_code, "refuse", &json!({"error": "nonsense"})).assert_error(400, "invalid_request");
    // What was wrong with all of these was no code.
    for number in 0..60 {
        let wrong = if number % 2 == 0 { "BBBB-BBBB" } else { "AEIOU" };
        read(&mint, SCREEN, wrong).assert_error(404, "invalid_request");
    }
    let over = read(&mint, SCREEN, "BBBB-BBBB");
    over.assert_error(429, "temporarily_unavailable");
    assert_eq!(over.header("retry-after"), Some("1"));
    read(&mint, SCREEN, &user_code).assert_error(429, "temporarily_unavailable");
    read(&mint, STRANGERS, "BBBB-BBBB").assert_error(404, "invalid_request");
    poll(&mint, "tv", &device_code).assert_error(400, "authorization_pending");
}

#[test]
fn the_page_of_the_code_is_the_front_ends() {
    let deployment = deployment();
    let mint = deployment.serve();
    let (_, user_code) = begun(&mint, &[]);
    let complete = begin(&mint, &[], &[("client_id", "tv")]).text("verification_uri_complete");
    assert_ne!(parameter(&complete, "user_code").unwrap(), user_code, "another device, another code");
    assert_eq!(parameter(&complete, "theme").as_deref(), Some("dark"));
}
