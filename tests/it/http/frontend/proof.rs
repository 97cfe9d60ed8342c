//! Who is taken for which front-end, and who for none.

use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::process::Command;

use mintkeep::client::{Client, ClientError};
use nix::sys::signal::Signal;
use secrecy::SecretString;
use serde_json::json;
use toml_edit::{Item, Table, value};

use crate::support::frontend::{FrontendRequest, own_uid, token_line};
use crate::support::process::{signal, succeed};
use crate::support::tls::{Authority, Identity};
use crate::support::{Answer, Deployment, RunningMint};

/// A question whose answer tells whether the caller is a front-end, which has no right to this: 403, or 401.
const QUESTION: &str = "/admin/v1/sign/no-such-profile/jwks";
const TOKEN: &str = "mks_the-token-of-the-pages";
const NOBODY: u32 = 65534;

fn ask<'a>(headers: &'a [&'a str]) -> FrontendRequest<'a> {
    FrontendRequest::get(QUESTION).headers(headers)
}

#[track_caller]
fn assert_known(answer: &Answer) {
    assert_eq!(answer.status, 403, "{answer:?}");
    let expected =
        json!({ "error": "access_denied", "error_description": "the front-end may not use this signing profile" });
    assert_eq!(answer.json(), expected);
}

#[track_caller]
fn assert_unknown(answer: &Answer) {
    assert_eq!(answer.status, 401, "{answer:?}");
    assert_eq!(answer.header("www-authenticate"), Some("Bearer realm=\"mintkeep\", error=\"invalid_token\""));
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    let description = "expected the proof of a front-end: its token, certificate or uid";
    assert_eq!(answer.json(), json!({ "error": "invalid_token", "error_description": description }));
}

#[test]
fn a_front_end_is_known_by_its_uid_and_nobody_else_is() {
    let deployment = Deployment::new();
    deployment.listen_for_frontends();
    deployment.add_frontend("ours", &format!("uid = {}", own_uid()));
    let mint = deployment.serve();
    let mode = std::fs::metadata(deployment.path("frontend.sock")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o666);
    assert_known(&deployment.ask_socket(&ask(&[])));
    assert_known(&deployment.ask_admin(&ask(&[])));
    // An address tells no uid.
    assert_unknown(&mint.ask_frontend_address(&ask(&[])));
    // Whoever presents a token means that, and not its uid.
    assert_unknown(&deployment.ask_socket(&ask(&["Authorization: Bearer mks_wrong"])));
    assert_unknown(&deployment.ask_socket(&ask(&["Authorization: Basic eDp5"])));
    assert_unknown(&deployment.ask_socket(&ask(&["X-Vault-Token: "])));
    assert!(mint.terminate().success());
    assert!(!deployment.path("frontend.sock").exists());
}

#[test]
fn a_caller_with_another_uid_is_nobody() {
    let deployment = Deployment::new();
    deployment.listen_for_frontends();
    deployment.add_frontend("another", &format!("uid = {NOBODY}"));
    let _mint = deployment.serve();
    assert_unknown(&deployment.ask_socket(&ask(&[])));
    assert_unknown(&deployment.ask_admin(&ask(&[])));
    if own_uid() != 0 {
        eprintln!("only root can ask as another user");
        return;
    }
    std::fs::set_permissions(deployment.path(""), std::fs::Permissions::from_mode(0o711)).unwrap();
    let mut curl = Command::new("curl");
    curl.args(["--silent", "--write-out", "%{http_code}", "--unix-socket"]).arg(deployment.path("frontend.sock"));
    let said = succeed(curl.arg(format!("http://mint{QUESTION}")).uid(NOBODY).gid(NOBODY));
    let said = String::from_utf8(said.stdout).unwrap();
    assert!(said.contains("access_denied") && said.ends_with("403"), "{said}");
}

#[test]
fn a_front_end_is_known_by_its_token_and_no_other() {
    let deployment = Deployment::new();
    deployment.listen_for_frontends();
    deployment.allow_failed_attempts();
    let second = "mks_the-second-token";
    deployment.add_frontend("pages", &token_line(&[TOKEN, second]));
    let mint = deployment.serve();
    let at_all = |headers: &[&str]| {
        let question = ask(headers);
        [mint.ask_frontend_address(&question), deployment.ask_socket(&question), deployment.ask_admin(&question)]
    };
    for token in [TOKEN, second] {
        at_all(&[&format!("Authorization: Bearer {token}")]).iter().for_each(assert_known);
        at_all(&[&format!("X-Vault-Token: {token}")]).iter().for_each(assert_known);
    }
    let bearer = format!("Authorization: Bearer {TOKEN}");
    let vault = format!("X-Vault-Token: {TOKEN}");
    for wrong in [
        &[][..],
        &["Authorization: Bearer mks_wrong"],
        &["Authorization: Bearer "],
        &[&format!("Authorization: Bearer {TOKEN}x")],
        &[&format!("Authorization: Bearer {}", &TOKEN[..TOKEN.len() - 1])],
        &[&format!("Authorization: {TOKEN}")],
        &[&format!("Authorization: Basic {TOKEN}")],
        &[&bearer, &bearer],
        &[&bearer, &vault],
        &[&vault, &vault],
        &[&format!("Authorization: Bearer {}", mintkeep::oauth::secret::SecretHash::of(TOKEN).hexadecimal())],
    ] {
        at_all(wrong).iter().for_each(assert_unknown);
    }
    let log = mint.log();
    assert!(!log.contains("mks_"), "a token is in the log: {log}");
}

#[test]
fn a_front_end_is_known_by_its_certificate_and_no_other() {
    let (servers, clients) = (Authority::new(), Authority::new());
    let [own, stranger] = [(); 2].map(|()| Identity::self_signed("pages"));
    let deployment = Deployment::new();
    std::fs::create_dir(deployment.path("tls")).unwrap();
    deployment.put_identity("tls", &servers.vouch_for("127.0.0.1"));
    std::fs::write(deployment.path("clients.pem"), clients.pem()).unwrap();
    std::fs::write(deployment.path("own.pem"), &own.certificate_pem).unwrap();
    deployment.edit(|config| {
        let mut tls = Table::new();
        for (name, text) in [
            ("certificate", "tls/certificate.pem"),
            ("key", "tls/key.pem"),
            ("client_certificates", "optional"),
            ("client_ca", "clients.pem"),
        ] {
            tls[name] = value(text);
        }
        let mut listen = Table::new();
        listen["address"] = value("127.0.0.1:0");
        listen["tls"] = Item::Table(tls);
        config["listen"]["frontend"] = Item::Table(listen);
    });
    deployment.add_frontend("own", "certificates = \"own.pem\"");
    deployment.add_frontend("vouched-for", "tls_client_auth_san_dns = \"pages.example.com\"");
    let mint = deployment.serve();
    let status = |servers: &Authority, identity: Option<&Identity>| ask_over_tls(&mint, servers, identity);
    assert_eq!(status(&servers, Some(&own)), 403);
    assert_eq!(status(&servers, Some(&clients.vouch_for("pages.example.com"))), 403);
    assert_eq!(status(&servers, None), 401);
    assert_eq!(status(&servers, Some(&stranger)), 401);
    assert_eq!(status(&servers, Some(&Identity::self_signed("pages.example.com"))), 401);
    assert_eq!(status(&servers, Some(&clients.vouch_for("other.example.com"))), 401);
    // Another certificate of the listener is taken up as that of the public one is.
    let others = Authority::new();
    deployment.put_identity("tls", &others.vouch_for("127.0.0.1"));
    signal(mint.pid(), Signal::SIGHUP);
    assert_eq!(mint.wait_for("the certificate was read again")["fields"]["table"], "listen.frontend.tls");
    assert_eq!(status(&others, Some(&own)), 403);
}

/// The status of the answer to [`QUESTION`].
#[tokio::main(flavor = "current_thread")]
async fn ask_over_tls(mint: &RunningMint, servers: &Authority, identity: Option<&Identity>) -> u16 {
    let url = format!("https://{}", mint.frontend_address()).parse().unwrap();
    let builder = Client::at_url(url).authorities(servers.pem());
    let builder = match identity {
        Some(identity) => {
            builder.certificate(identity.certificate_pem.as_str(), SecretString::from(identity.key_pem()))
        }
        None => builder,
    };
    match builder.build().unwrap().jwks("no-such-profile").await {
        Err(ClientError::Refused { status, .. }) => status,
        other => panic!("{other:?}"),
    }
}

#[test]
fn who_is_a_front_end_is_read_again() {
    let deployment = Deployment::new();
    deployment.listen_for_frontends();
    deployment.add_frontend("pages", &token_line(&[TOKEN]));
    let mint = deployment.serve();
    let bearer = format!("Authorization: Bearer {TOKEN}");
    assert_known(&deployment.ask_socket(&ask(&[&bearer])));
    let text = deployment.config_text();
    std::fs::write(deployment.config_path(), text.replace("name = \"pages\"", "name = \"pages\"\nuid = 1")).unwrap();
    signal(mint.pid(), Signal::SIGHUP);
    let stays = mint.wait_for("the registrations stay as they were");
    assert!(stays["fields"]["error"].as_str().unwrap().contains("expected exactly one proof"), "{stays}");
    assert_known(&deployment.ask_socket(&ask(&[&bearer])));
    let other = text.replace(&token_line(&[TOKEN]), &token_line(&["mks_other"]));
    std::fs::write(deployment.config_path(), other).unwrap();
    signal(mint.pid(), Signal::SIGHUP);
    assert_eq!(mint.wait_for("the registrations were read again")["fields"]["changed"], "front-end pages");
    assert_unknown(&deployment.ask_socket(&ask(&[&bearer])));
    assert_known(&deployment.ask_socket(&ask(&["Authorization: Bearer mks_other"])));
}

#[test]
fn guesses_are_answered_ever_later_and_the_front_end_is_not() {
    let deployment = Deployment::new();
    deployment.listen_for_frontends();
    deployment.limit_failed_attempts(2, 600);
    deployment.add_frontend("pages", &token_line(&[TOKEN]));
    let mint = deployment.serve();
    let guess = || mint.ask_frontend_address(&ask(&["Authorization: Bearer mks_guess"]));
    assert_unknown(&guess());
    assert_unknown(&guess());
    let held = guess();
    assert_eq!((held.status, held.header("retry-after")), (429, Some("1")));
    assert_eq!(held.json()["error"], "invalid_token");
    assert_known(&mint.ask_frontend_address(&ask(&[&format!("Authorization: Bearer {TOKEN}")])));
}

#[test]
fn operators_need_no_token_and_whoever_has_one_is_no_operator() {
    let deployment = Deployment::new();
    deployment.add_frontend("pages", &token_line(&[TOKEN]));
    let _mint = deployment.serve();
    let sessions = FrontendRequest::get("/admin/v1/sessions");
    assert_eq!(deployment.ask_admin(&sessions).status, 200);
    let bearer = format!("Authorization: Bearer {TOKEN}");
    assert_eq!(deployment.ask_admin(&sessions.headers(&[&bearer])).status, 404);
    assert_eq!(deployment.ask_admin(&sessions.headers(&["X-Vault-Token: x"])).status, 404);
    assert_known(&deployment.ask_admin(&ask(&[&bearer])));
    // What only front-ends have, an operator has not.
    assert_unknown(&deployment.ask_admin(&ask(&[])));
    assert_eq!(deployment.ask_admin(&FrontendRequest::get("/no-such-path")).status, 404);
}
