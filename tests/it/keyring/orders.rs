//! What operators do about keys, with the mint running and without.

use mintkeep::clock::{Clock as _, SystemClock};
use serde_json::Value;
use toml_edit::value;

use crate::support::deployment::API;
use crate::support::process::{eventually, one_line_of_error, succeed};
use crate::support::running::{basic, form};
use crate::support::{Answer, Deployment, Postgres, RunningMint};

/// The keys of `deployment` in `state`, those of `role`.
pub fn in_state(deployment: &Deployment, role: &str, state: &str) -> Vec<Value> {
    let report = deployment.run_json(&["keys", "states"]);
    let keys = report["keys"].as_array().expect("a list").clone();
    keys.into_iter().filter(|key| key["role"] == role && key["state"] == state).collect()
}

/// The one active key of `role`.
pub fn active(deployment: &Deployment, role: &str) -> String {
    only_active(deployment, role).unwrap_or_else(|keys| panic!("{keys:?}"))
}

/// Whether another key than `kid` is the one active key of `role` by now. Between the activation of a key and the
/// retirement of the one before, both are active.
pub fn is_replaced(deployment: &Deployment, role: &str, kid: &str) -> bool {
    only_active(deployment, role).is_ok_and(|active| active != kid)
}

fn only_active(deployment: &Deployment, role: &str) -> Result<String, Vec<Value>> {
    let keys = in_state(deployment, role, "active");
    match keys.as_slice() {
        [key] => Ok(key["kid"].as_str().expect("a kid").to_owned()),
        _ => Err(keys),
    }
}

/// Has a key be used soon after it was published.
pub fn hurry(deployment: &Deployment) {
    deployment.edit(|config| {
        config["tokens"]["jwks_max_age"] = value("1s");
        for role in ["signing", "sealing"] {
            config["keys"][role]["publish_ahead"] = value("1s");
        }
    });
}

pub fn published(mint: &RunningMint) -> Vec<String> {
    let jwks = mint.get("/.well-known/jwks.json").json();
    let keys = jwks["keys"].as_array().expect("a list").iter();
    keys.map(|key| key["kid"].as_str().expect("a kid").to_owned()).collect()
}

pub fn kid_of(token: &str) -> String {
    jsonwebtoken::decode_header(token).expect("a JWS").kid.expect("a kid")
}

fn introspect(deployment: &Deployment, mint: &RunningMint, token: &str) -> Answer {
    mint.post_form_to("/oauth/introspect", &[&basic(API, &deployment.secret)], &form(&[("token", token)]))
}

#[test]
fn the_first_keys_are_active_and_what_they_made_is_counted() {
    let deployment = Deployment::new();
    assert_eq!(deployment.run_json(&["keys", "states"])["keys"], serde_json::json!([]), "no mint has looked yet");
    let mint = deployment.serve();
    let token = deployment.grant();
    mint.refresh(&token).text("access_token");
    for _ in 0..3 {
        mint.client_credentials().text("access_token");
    }
    assert_eq!(published(&mint), [active(&deployment, "signing")]);
    assert!(mint.terminate().success());
    assert_eq!(in_state(&deployment, "signing", "active")[0]["uses"], 4);
    let sealing = in_state(&deployment, "sealing", "active").remove(0);
    assert_eq!((&sealing["uses"], &sealing["algorithm"]), (&Value::from(2), &Value::from("A256GCM")));
    // For a minute a node would go on without the store.
    let at_the_latest = SystemClock.now().unix_seconds() + 30 * 86400 + 60;
    let needed_until = sealing["needed_until"].as_i64().unwrap();
    assert!((at_the_latest - 60..=at_the_latest).contains(&needed_until), "{needed_until}");
}

#[test]
fn the_next_key_is_published_and_waits_whether_a_mint_runs_or_not() {
    let deployment = Deployment::new();
    let first = {
        let mint = deployment.serve();
        let report = deployment.run_json(&["keys", "rotate", "--role", "signing"]);
        let next = report["keys"][0]["kid"].as_str().unwrap().to_owned();
        assert!(report["remarks"][0].as_str().unwrap().contains(&format!("{next} takes over at")), "{report}");
        let mut both = vec![active(&deployment, "signing"), next.clone()];
        both.sort();
        assert_eq!(published(&mint), both);
        assert_eq!(kid_of(&mint.client_credentials().text("access_token")), active(&deployment, "signing"));
        assert!(in_state(&deployment, "sealing", "published").is_empty(), "it was not asked for");
        next
    };
    // Again: the one that waits is told, and no other one is made.
    let report = deployment.run_json(&["keys", "rotate"]);
    let kids: Vec<_> = report["keys"].as_array().unwrap().iter().map(|key| key["kid"].as_str().unwrap()).collect();
    assert_eq!(kids.len(), 2, "{report}");
    assert!(kids.contains(&first.as_str()));
    let error = one_line_of_error(&deployment.run(&["keys", "rotate", "--device", "other"]), 7);
    assert!(error.contains("no device is called other"), "{error}");
}

#[test]
fn a_key_is_retired_and_removed_only_where_nothing_is_lost() {
    let deployment = Deployment::new();
    hurry(&deployment);
    let mint = deployment.serve();
    let first = active(&deployment, "sealing");
    let held = deployment.grant();
    let refused = |words: &[&str], reason: &str| {
        let error = one_line_of_error(&deployment.run(words), 7);
        assert!(error.contains(reason), "{error}");
    };
    refused(&["keys", "retire", &first], "no other key is active in its place");
    refused(&["keys", "remove", &first], "keys rotate` first");
    refused(&["keys", "destroy", &first], "is active");
    refused(&["keys", "retire", "unknown"], "no key unknown is known");
    succeed(&mut deployment.command(&["keys", "rotate", "--role", "sealing"]));
    eventually(|| is_replaced(&deployment, "sealing", &first));
    refused(&["keys", "remove", &first], "is removed by itself when its last token has ended");
    refused(&["keys", "destroy", &first], "is retired");
    // It opens what it sealed, and what is sealed now is sealed by the other one.
    let renewed = mint.refresh(&held).text("refresh_token");
    assert_eq!(kid_of_jwe(&renewed), active(&deployment, "sealing"));
    drop(mint);
    let mint = deployment.serve();
    mint.refresh(&renewed).text("refresh_token");
    // One that was published and never used is of no account.
    let report = deployment.run_json(&["keys", "rotate", "--role", "signing"]);
    let waiting = report["keys"][0]["kid"].as_str().unwrap();
    assert_eq!(deployment.run_json(&["keys", "remove", waiting])["keys"][0]["state"], "removed");
    assert_eq!(published(&mint), [active(&deployment, "signing")]);
    drop(mint);
    succeed(&mut deployment.command(&["keys", "destroy", waiting]));
    let hardware = deployment.run_json(&["keys", "list"]).to_string();
    assert!(!hardware.contains(waiting) && hardware.contains(&first), "{hardware}");
    // What was destroyed is not missed.
    deployment.serve().client_credentials().text("access_token");
}

fn kid_of_jwe(token: &str) -> String {
    use base64::Engine as _;
    let header = base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(token.split('.').next().unwrap()).unwrap();
    let header: Value = serde_json::from_slice(&header).unwrap();
    header["kid"].as_str().unwrap().to_owned()
}

#[test]
fn a_revoked_key_is_out_at_once_on_every_node_and_another_in_its_place() {
    let (deployment, postgres) = (Deployment::new(), Postgres::start());
    deployment.use_postgres(&postgres);
    let audience = "https://billing.example.com";
    deployment.add_resource_server(audience);
    let mint = deployment.serve();
    let beside = deployment.serve_beside(|_| {});
    let (held, kept) = (deployment.grant(), deployment.grant());
    let access = mint.client_credentials().text("access_token");
    assert_eq!(introspect(&deployment, &mint, &access).json()["active"], true);
    assert_eq!(introspect(&deployment, &beside, &access).json()["active"], true);
    let (signing, sealing) = (active(&deployment, "signing"), active(&deployment, "sealing"));
    let report = deployment.run_json(&["keys", "revoke", &signing]);
    assert!(report["remarks"].to_string().contains("every access token that it signed is worthless"), "{report}");
    let next = active(&deployment, "signing");
    assert_ne!(next, signing);
    assert_eq!(published(&mint), [next.as_str()]);
    assert_eq!(introspect(&deployment, &mint, &access).json()["active"], false);
    assert_eq!(kid_of(&mint.client_credentials().text("access_token")), next);
    let report = deployment.run_json(&["keys", "revoke", &sealing]);
    assert!(report["remarks"].to_string().contains("need a new grant"), "{report}");
    mint.refresh(&held).assert_error(400, "invalid_grant");
    // A token by the new key, right away, for a node that may not have heard of it.
    let fresh = deployment.grant();
    let renewed = beside.refresh(&fresh).text("refresh_token");
    assert_eq!(kid_of_jwe(&renewed), active(&deployment, "sealing"));
    beside.refresh(&kept).assert_error(400, "invalid_grant");
    // Within what a node takes to read the store.
    eventually(|| introspect(&deployment, &beside, &access).json()["active"] == false);
    assert_eq!(kid_of(&beside.client_credentials().text("access_token")), next);
    let error = one_line_of_error(&deployment.run(&["keys", "revoke", &signing]), 7);
    assert!(error.contains("nothing that it made is good any more"), "{error}");
}

#[test]
fn a_mint_with_other_keys_than_the_store_knows_is_refused_until_they_are_given_up() {
    let (deployment, other) = (Deployment::new(), Deployment::new());
    drop(deployment.serve());
    let (signing, sealing) = (active(&deployment, "signing"), active(&deployment, "sealing"));
    // The token of another deployment in the place of its own.
    let softhsm = other.path("softhsm/softhsm2.conf").display().to_string();
    deployment.edit(|config| config["hardware"]["softhsm"]["environment"]["SOFTHSM2_CONF"] = value(softhsm));
    let pin = other.path("softhsm/pin").display().to_string();
    deployment.edit(|config| config["hardware"]["softhsm"]["pin"]["file"] = value(pin));
    let (status, log) = deployment.try_serve().err().expect("it is refused");
    assert_eq!(status.code(), Some(8), "{log}");
    assert!(log.contains("no device has it: is this the right device, and the right store?"), "{log}");
    for kid in [&signing, &sealing] {
        succeed(&mut deployment.command(&["keys", "revoke", kid]));
    }
    let mint = deployment.serve();
    mint.client_credentials().text("access_token");
    assert_ne!(active(&deployment, "signing"), signing);
}
