//! The front-ends of a development mint.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};
use tempfile::TempDir;
use toml_edit::DocumentMut;
use url::Url;

use crate::support::dev::{Dev, access_token, shell};
use crate::support::jose::claims_of;
use crate::support::login::{VERIFIER, parameter};
use crate::support::running::form;

/// What `curl` answers with these words at its end: the status and, where there is one, the `Location`; and the body.
fn ask(dev: &Dev, url: &str, words: &str) -> Value {
    shell(&format!("curl -sS '{url}' -H 'Authorization: Bearer {}' {words}", dev.text("frontend_token")))
}

fn web_app(dev: &Dev) -> Value {
    let clients = dev.record["clients"].as_array().unwrap();
    clients.iter().find(|client| client["client_id"] == "web-app").unwrap().clone()
}

/// Where the browser is sent by an authorization request, with `port` for the application.
fn location(dev: &Dev, redirect_uri: &str) -> String {
    let query = form(&[
        ("client_id", "web-app"),
        ("response_type", "code"),
        ("redirect_uri", redirect_uri),
        ("scope", "openid email"),
        ("state", "s"),
        ("code_challenge", "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"),
        ("code_challenge_method", "S256"),
    ]);
    let url = format!("{}/oauth/authorize?{query}", dev.text("issuer"));
    let written = shell(&format!("curl -sS -o /dev/null -w '{{\"location\":\"%{{redirect_url}}\"}}' '{url}'"));
    written["location"].as_str().unwrap().to_owned()
}

/// What the code of a login of alice is worth.
fn log_in(dev: &Dev) -> Value {
    let redirect_uri = web_app(dev)["redirect_uri"].as_str().unwrap().replacen("127.0.0.1", "127.0.0.1:5555", 1);
    let page = location(dev, &redirect_uri);
    assert!(page.starts_with("http://127.0.0.1:8090/login?"), "{page}");
    let login = format!("{}/admin/v1/logins/{}", dev.text("admin_url"), parameter(&page, "login").unwrap());
    assert_eq!(ask(dev, &login, "")["client_id"], "web-app");
    let said = json!({"subject": "alice", "claims": {"email": "alice@example.com"}});
    let accepted = format!("{login}/accept");
    let answer = ask(dev, &accepted, &format!("-H 'Content-Type: application/json' -d '{said}'"));
    let back = Url::parse(answer["redirect_to"].as_str().unwrap()).unwrap();
    assert!(back.as_str().starts_with(&redirect_uri), "{back}");
    let code = parameter(back.as_str(), "code").unwrap();
    let redemption = form(&[
        ("grant_type", "authorization_code"),
        ("client_id", "web-app"),
        ("code", &code),
        ("redirect_uri", &redirect_uri),
        ("code_verifier", VERIFIER),
    ]);
    shell(&format!("curl -sS {} -d '{redemption}'", dev.text("token_endpoint")))
}

#[test]
fn a_person_logs_in_and_others_have_their_tokens_signed() {
    let folder = TempDir::new().unwrap();
    let dev = Dev::start(folder.path());
    let answer = log_in(&dev);
    assert_eq!(claims_of(&access_token(&answer))["sub"], "alice");
    assert_eq!(claims_of(answer["id_token"].as_str().unwrap())["email"], "alice@example.com");

    // The lines that it printed: one for claims, one for Vault's transit engine.
    let commands = dev.commands();
    let [by_claims, by_transit] = [4, 5].map(|command| shell(&commands[command]));
    assert_eq!(claims_of(by_claims["jws"].as_str().unwrap())["iss"], "https://login.dev.example");
    let signature = by_transit["data"]["signature"].as_str().unwrap();
    assert_eq!(signature.strip_prefix("vault:v1:").unwrap().len(), 86);

    // A digest, as the record says that it is allowed.
    let transit = |path: &str, body: &Value| {
        let (url, token) = (dev.text("transit_url"), dev.text("transit_token"));
        shell(&format!("curl -sS {url}/v1/transit/{path} -H 'X-Vault-Token: {token}' -d '{body}'"))
    };
    let digest = json!({"input": format!("{}=", "A".repeat(43)), "prehashed": true, "hash_algorithm": "sha2-256"});
    let signed = transit(&format!("sign/{}", dev.text("transit_key")), &digest);
    assert!(signed["data"]["signature"].as_str().unwrap().starts_with("vault:v1:"), "{signed}");
    // And a key of its own, as SPIRE makes.
    let created = transit("keys/x509-CA-A", &json!({"type": "ecdsa-p256"}));
    assert_eq!(created["data"]["latest_version"], 1, "{created}");
    assert!(transit("sign/x509-CA-A", &digest)["data"]["signature"].is_string());
    assert!(Path::new(&dev.text("kubernetes_socket")).exists());
    dev.interrupt();
}

#[test]
fn a_later_run_has_the_same_tokens_and_tokens_are_in_no_other_file_or_log() {
    let folder = TempDir::new().unwrap();
    let state = folder.path();
    let first = Dev::start(state);
    let named = |dev: &Dev| ["frontend_token", "transit_token", "admin_url"].map(|name| dev.text(name));
    let known = named(&first);
    let log = first.interrupt();
    let config = fs::read_to_string(state.join("mintkeep.toml")).unwrap();
    for token in &known[..2] {
        assert!(!log.contains(token) && !config.contains(token));
    }
    // Where the record was removed, there are others, and the configuration takes those.
    fs::remove_file(state.join("dev.json")).unwrap();
    let second = Dev::start_with(state, &[]);
    assert_ne!(named(&second)[..2], known[..2]);
    assert_eq!(named(&second)[2], known[2]);
    log_in(&second);
    let known = named(&second);
    second.interrupt();
    let third = Dev::start_with(state, &[]);
    assert_eq!(named(&third), known);
    let document: DocumentMut = fs::read_to_string(state.join("mintkeep.toml")).unwrap().parse().unwrap();
    let names = |array: &str| document[array].as_array_of_tables().unwrap().len();
    assert_eq!((names("frontend"), names("signing_profile")), (3, 4), "none is added twice");
    third.interrupt();
}
