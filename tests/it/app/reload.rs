//! SIGHUP, and changes of the trust directory: who is registered changes, and nobody else notices.

use std::fs;
use std::sync::atomic::{AtomicBool, Ordering};

use mintkeep::oauth::secret::SecretHash;
use nix::sys::signal::Signal;
use serde_json::Value;
use toml_edit::{ArrayOfTables, DocumentMut, value};

use crate::support::process::{OnDrop, eventually, one_line_of_error, signal};
use crate::support::running::{basic, form};
use crate::support::{Deployment, RunningMint, SERVICE, WORKLOAD};

const READ_AGAIN: &str = "the registrations were read again";
const STAYS: &str = "the registrations stay as they were";
const OTHERS: &str = "some settings are not what the mint runs with; restart it to have it go by them";

const ROBOT: &str = "robot";
const CLIENT_CREDENTIALS: &str = "grant_type=client_credentials";

/// The lines of a client that proves itself by any of `secrets`.
fn client(id: &str, secrets: &[&str]) -> String {
    let hashes: Vec<String> =
        secrets.iter().map(|secret| format!("\"{}\"", SecretHash::of(secret).hexadecimal())).collect();
    format!(
        "id = \"{id}\"\nauthentication = \"client_secret_basic\"\nsecret_sha256 = [{}]\ngrants = [\"client_credentials\"]\nscope = \"read:{id}\"\naudience = \"https://api.example.com\"",
        hashes.join(", ")
    )
}

/// A trust policy for the workload.
fn policy(name: &str) -> String {
    format!(
        "[[trust]]\nname = \"{name}\"\nissuer = \"https://issuer.example.com\"\naudience = \"https://mint.example.com\"\nmatch = {{ repository_id = \"7\" }}\nclient = \"{WORKLOAD}\"\n"
    )
}

fn clients(config: &mut DocumentMut) -> &mut ArrayOfTables {
    config["client"].as_array_of_tables_mut().expect("clients")
}

fn remove_client(deployment: &Deployment, id: &str) {
    deployment.edit(|config| clients(config).retain(|client| client["id"].as_str() != Some(id)));
}

/// A deployment with a trust directory, in which there is one file.
fn with_trust_directory() -> Deployment {
    let deployment = Deployment::new();
    fs::create_dir(deployment.path("trust.d")).unwrap();
    fs::write(deployment.path("trust.d/one.toml"), policy("one")).unwrap();
    deployment.edit(|config| config["trust_directory"] = value("trust.d"));
    deployment
}

/// Has the registrations read again; what the mint logs of it.
#[track_caller]
fn reload(mint: &RunningMint) -> Value {
    signal(mint.pid(), Signal::SIGHUP);
    mint.wait_for(READ_AGAIN)["fields"].take()
}

/// As [`reload`], where something is wrong; what.
#[track_caller]
fn reload_in_vain(mint: &RunningMint) -> String {
    signal(mint.pid(), Signal::SIGHUP);
    mint.wait_for(STAYS)["fields"]["error"].as_str().unwrap().to_owned()
}

fn ask(mint: &RunningMint, client: &str, secret: &str) -> u16 {
    mint.post_form(&[&basic(client, secret)], CLIENT_CREDENTIALS).status
}

#[test]
fn clients_come_and_go_and_change_their_secrets_under_load_and_no_request_fails() {
    let deployment = Deployment::new();
    deployment.allow_failed_attempts();
    let mint = deployment.serve();
    let refresh_token = deployment.grant();
    let is_over = AtomicBool::new(false);
    let mut kept = mint.connect();
    std::thread::scope(|scope| {
        let _end = OnDrop(&is_over);
        for _ in 0..2 {
            scope.spawn(|| {
                let mut kept = mint.connect();
                while !is_over.load(Ordering::Relaxed) {
                    kept.post_form(&[&mint.basic()], CLIENT_CREDENTIALS).text("access_token");
                }
            });
        }
        scope.spawn(|| {
            let (mut kept, mut token) = (mint.connect(), refresh_token);
            while !is_over.load(Ordering::Relaxed) {
                let form = form(&[("grant_type", "refresh_token"), ("client_id", WORKLOAD), ("refresh_token", &token)]);
                token = kept.post_form(&[], &form).text("refresh_token");
            }
        });
        let without = deployment.config_text();
        let mut ask_on_kept = |secret: &str| kept.post_form(&[&basic(ROBOT, secret)], CLIENT_CREDENTIALS).status;
        let register = |secrets: &[&str]| {
            fs::write(deployment.config_path(), format!("{without}\n[[client]]\n{}\n", client(ROBOT, secrets)))
                .unwrap();
            reload(&mint)
        };
        for _ in 0..5 {
            assert_eq!(ask_on_kept("first"), 401);
            let logged = register(&["first"]);
            assert_eq!((&logged["added"], &logged["clients"]), (&"client robot".into(), &3.into()));
            assert_eq!([ask_on_kept("first"), ask_on_kept("second")], [200, 401]);
            assert_eq!(register(&["first", "second"])["changed"], "client robot");
            assert_eq!([ask_on_kept("first"), ask_on_kept("second")], [200, 200]);
            register(&["second"]);
            assert_eq!([ask_on_kept("first"), ask_on_kept("second")], [401, 200]);
            fs::write(deployment.config_path(), &without).unwrap();
            assert_eq!(reload(&mint)["removed"], "client robot");
            assert_eq!(ask_on_kept("second"), 401);
        }
    });
}

#[test]
fn a_session_of_a_client_that_was_removed_is_of_no_use_until_the_client_is_back() {
    let deployment = Deployment::new();
    let mint = deployment.serve();
    let token = mint.refresh(&deployment.grant()).text("refresh_token");
    let before = deployment.config_text();
    remove_client(&deployment, WORKLOAD);
    assert_eq!(reload(&mint)["removed"], "client ci-cd-pipeline-runner");
    mint.refresh(&token).assert_error(401, "invalid_client");
    fs::write(deployment.config_path(), before).unwrap();
    reload(&mint);
    mint.refresh(&token).text("access_token");
}

#[test]
fn a_bad_file_leaves_all_as_it_was_and_says_what_check_says() {
    let deployment = Deployment::new();
    let mint = deployment.serve();
    let good = deployment.config_text();
    let unreadable = "[[client]]\nid = \"robot\"\naudiance = \"x\"\n";
    // What only becomes apparent when somebody is to be asked for keys.
    let without_authorities = format!(
        "[[client]]\nid = \"robot\"\nauthentication = \"private_key_jwt\"\njwks_uri = \"https://keys.example.com\"\njwks_ca = \"{}\"\ngrants = [\"client_credentials\"]\nscope = \"read\"\naudience = \"https://api.example.com\"\n",
        deployment.path("no-such-file").display()
    );
    let line = good.matches('\n').count() + 4;
    for (more, expected) in [
        (unreadable, format!("mintkeep.toml:{line}:1: unknown field `audiance`")),
        (without_authorities.as_str(), "no-such-file".to_owned()),
    ] {
        fs::write(deployment.config_path(), format!("{good}\n{more}")).unwrap();
        let error = reload_in_vain(&mint);
        assert!(error.contains(&expected), "{error}");
        mint.client_credentials().text("access_token");
        let checked = deployment.run(&["check"]);
        assert_eq!(checked.status.code(), Some(3));
        let found = String::from_utf8(checked.stdout).unwrap();
        assert!(found.contains(&error), "{error:?} is not in {found}");
        let said = one_line_of_error(&beside(&deployment), 3);
        assert!(said.contains(&error), "{error:?} is not in {said}");
    }
    fs::remove_file(deployment.config_path()).unwrap();
    assert!(reload_in_vain(&mint).contains("cannot read the configuration"));
    fs::write(deployment.config_path(), good).unwrap();
    let logged = reload(&mint);
    assert_eq!([&logged["added"], &logged["removed"], &logged["changed"]], [""; 3]);
}

/// What a mint says that is to start with the same registrations, at another place.
fn beside(deployment: &Deployment) -> std::process::Output {
    // Its lines stay where they are.
    let text = deployment.config_text().replace("admin.sock", "beside.sock").replace("mintkeep.db", "beside.db");
    let before = deployment.config_text();
    fs::write(deployment.config_path(), text).unwrap();
    let output = deployment.run(&["serve"]);
    fs::write(deployment.config_path(), before).unwrap();
    output
}

#[test]
fn what_needs_a_restart_is_named_and_the_registrations_are_taken_up() {
    let deployment = Deployment::new();
    let mint = deployment.serve();
    deployment.add_client(&client(ROBOT, &["first"]));
    deployment.edit(|config| {
        config["listen"]["max_connections"] = value(7);
        config["log"]["level"] = value("debug");
        config["hardware"]["softhsm"]["sessions"] = value(7);
        config["hardware"]["softhsm"]["module"] = value("elsewhere.so");
    });
    reload(&mint);
    let logged = mint.wait_for(OTHERS);
    assert_eq!(logged["level"], "WARN");
    let settings = "[listen], [hardware] (or [keeper] socket, user, mint_user, state), [log]";
    assert_eq!(logged["fields"]["settings"], settings);
    assert_eq!(ask(&mint, ROBOT, "first"), 200);
    // As often as somebody asks.
    reload(&mint);
    mint.wait_for(OTHERS);
}

#[test]
fn another_signing_policy_is_refused_as_a_whole() {
    let deployment = Deployment::new();
    let mint = deployment.serve();
    let before = deployment.config_text();
    let refuse = |change: &dyn Fn(), expected: &str| {
        change();
        let error = reload_in_vain(&mint);
        assert!(error.contains("another signing policy") && error.contains(expected), "{error}");
        assert!(error.contains("restart mint and keeper"), "{error}");
        assert_eq!(ask(&mint, ROBOT, "first"), 401);
        fs::write(deployment.config_path(), &before).unwrap();
    };
    let longer = format!("{}\naccess_token_lifetime = \"10m\"", client(ROBOT, &["first"]));
    refuse(&|| deployment.add_client(&longer), "lives 10m now, and lived 5m before");
    // The next keeper would be stricter than the one that the mint knows.
    let shorter = |config: &mut DocumentMut| {
        for client in clients(config).iter_mut() {
            client["access_token_lifetime"] = value("1m");
        }
    };
    refuse(&|| deployment.edit(shorter), "lives 1m now, and lived 5m before");
    let server = || {
        deployment.add_client(&client(ROBOT, &["first"]));
        deployment.add_resource_server("https://api.example.com");
    };
    refuse(&server, "nobody needed token-introspection signatures before");
    let issuer = |config: &mut DocumentMut| config["issuer"] = value("https://mint.example.org");
    refuse(&|| deployment.edit(issuer), "the issuer was https://mint.example.com before");
    // Shorter than the longest is no other policy.
    deployment.edit(|config| clients(config).get_mut(0).unwrap()["access_token_lifetime"] = value("1m"));
    reload(&mint);
    let answer = mint.refresh(&deployment.grant());
    assert_eq!(answer.json()["expires_in"], 60);
    // The keeper that comes next knows the same policy.
    signal(mint.keeper_pid(), Signal::SIGKILL);
    eventually(|| mint.client_credentials().status == 200);
}

#[test]
fn resource_servers_and_resources_are_read_again() {
    let deployment = Deployment::new();
    deployment.add_resource_server("https://api.example.com");
    let mint = deployment.serve();
    let second = |secret: &str| {
        let hash = SecretHash::of(secret).hexadecimal();
        format!(
            "[[resource_server]]\nid = \"second\"\nauthentication = \"client_secret_basic\"\nsecret_sha256 = \"{hash}\"\naudience = \"https://billing.example.com\"\n"
        )
    };
    let resource = "[[resource]]\nid = \"https://billing.example.com\"\nscope = \"read:invoices\"\n";
    let text = format!("{}\n{}\n{resource}", deployment.config_text(), second("first"));
    let token = mint.client_credentials().text("access_token");
    let asked =
        |secret: &str| mint.post_form_to("/oauth/introspect", &[&basic("second", secret)], &form(&[("token", &token)]));
    asked("first").assert_error(401, "invalid_client");
    fs::write(deployment.config_path(), text).unwrap();
    let added = reload(&mint)["added"].clone();
    assert_eq!(added, "resource server second, resource https://billing.example.com");
    assert_eq!(asked("first").json()["active"], true);
    assert_eq!(mint.client_credentials().json()["scope"], "read:invoices");
}

#[test]
fn keys_are_kept_for_as_long_as_the_tokens_that_they_seal_from_then_on() {
    let deployment = Deployment::new();
    let mint = deployment.serve();
    let token = deployment.grant();
    let day = 24 * 60 * 60;
    deployment.edit(|config| clients(config).get_mut(0).unwrap()["refresh_token_lifetime"] = value("90d"));
    reload(&mint);
    // Nor for less than those that were sealed before.
    deployment.edit(|config| clients(config).get_mut(0).unwrap()["refresh_token_lifetime"] = value("7d"));
    reload(&mint);
    let access_token = mint.refresh(&token).text("access_token");
    mint.terminate();
    let states = deployment.run_json(&["keys", "states"]);
    let sealing = states["keys"].as_array().unwrap().iter().find(|key| key["role"] == "sealing").unwrap();
    let issued_at = crate::support::jose::claims_of(&access_token)["iat"].as_i64().unwrap();
    assert!(sealing["needed_until"].as_i64().unwrap() > issued_at + 89 * day, "{sealing}");
}

#[test]
fn the_metadata_follow() {
    let deployment = Deployment::new();
    let mint = deployment.serve();
    let path = "/.well-known/oauth-authorization-server";
    let tag = || mint.get(path).header("etag").unwrap().to_owned();
    let known = |tag: &str| {
        let request = format!("GET {path} HTTP/1.1\r\nHost: mint\r\nConnection: close\r\nIf-None-Match: {tag}\r\n\r\n");
        mint.raw(request.as_bytes()).status == 304
    };
    let first = tag();
    reload(&mint);
    assert!(known(&first), "nothing changed");
    deployment.add_client(&client(ROBOT, &["first"]));
    reload(&mint);
    assert!(!known(&first) && known(&tag()));
    let scopes = mint.get(path).json()["scopes_supported"].clone();
    assert!(scopes.as_array().unwrap().contains(&"read:robot".into()), "{scopes}");
    remove_client(&deployment, ROBOT);
    reload(&mint);
    assert!(known(&first));
}

#[test]
fn who_stays_has_the_attempts_that_are_left_and_who_is_new_has_all() {
    let deployment = Deployment::new();
    deployment.limit_failed_attempts(1000, 1);
    let mint = deployment.serve();
    assert_eq!(ask(&mint, SERVICE, "wrong"), 401);
    assert_eq!(ask(&mint, SERVICE, "wrong"), 429);
    deployment.add_client(&client(ROBOT, &["first"]));
    reload(&mint);
    assert_eq!(ask(&mint, SERVICE, "wrong"), 429);
    assert_eq!([ask(&mint, ROBOT, "wrong"), ask(&mint, ROBOT, "wrong")], [401, 429]);
}

#[test]
fn the_trust_directory_is_read_again_when_it_changes() {
    let deployment = with_trust_directory();
    let mint = deployment.serve();
    // Nobody has asked for this to be read.
    deployment.add_client(&client(ROBOT, &["first"]));
    let put = |name: &str, text: &str| fs::write(deployment.path("trust.d").join(name), text).unwrap();
    put("two.toml", &policy("two"));
    let logged = mint.wait_for(READ_AGAIN)["fields"].take();
    assert_eq!((&logged["added"], &logged["trust_policies"]), (&"trust policy two".into(), &2.into()));
    assert_eq!(ask(&mint, ROBOT, "first"), 401);
    put("two.toml", "[[trust]]\nname = 7\n");
    let error = mint.wait_for(STAYS)["fields"]["error"].as_str().unwrap().to_owned();
    assert!(error.contains("trust.d/two.toml:2:8: expected a string"), "{error}");
    put("two.toml", &policy("other"));
    let logged = mint.wait_for(READ_AGAIN)["fields"].take();
    assert_eq!([&logged["added"], &logged["removed"]], ["trust policy other", "trust policy two"]);
    fs::remove_file(deployment.path("trust.d/one.toml")).unwrap();
    assert_eq!(mint.wait_for(READ_AGAIN)["fields"]["removed"], "trust policy one");
    assert_eq!(mint.log().matches(STAYS).count(), 1, "{}", mint.log());
    // At SIGHUP both, from another directory.
    fs::create_dir(deployment.path("other.d")).unwrap();
    fs::write(deployment.path("other.d/one.toml"), policy("one")).unwrap();
    deployment.edit(|config| config["trust_directory"] = value("other.d"));
    assert_eq!(reload(&mint)["added"], "client robot, trust policy one");
    assert_eq!(ask(&mint, ROBOT, "first"), 200);
    fs::write(deployment.path("other.d/two.toml"), policy("two")).unwrap();
    assert_eq!(mint.wait_for(READ_AGAIN)["fields"]["added"], "trust policy two");
}

#[test]
fn a_policy_that_would_need_another_signing_policy_is_not_taken_up() {
    let deployment = with_trust_directory();
    let mint = deployment.serve();
    let longer = format!("{}lifetime = \"10m\"\n", policy("two"));
    fs::write(deployment.path("trust.d/two.toml"), longer).unwrap();
    let error = mint.wait_for(STAYS)["fields"]["error"].as_str().unwrap().to_owned();
    assert!(error.contains("lives 10m now, and lived 5m before"), "{error}");
}

#[test]
fn a_warning_is_told_when_it_is_new() {
    let deployment = with_trust_directory();
    let mint = deployment.serve();
    let by_name = policy("one").replace("repository_id = \"7\"", "repository = \"octo-org/octo-repo\"");
    fs::write(deployment.path("trust.d/one.toml"), by_name).unwrap();
    reload(&mint);
    reload(&mint);
    let log = mint.log();
    assert_eq!(log.lines().filter(|line| line.contains("WARN") && line.contains("repository")).count(), 1, "{log}");
}
