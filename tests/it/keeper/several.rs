//! Several devices: work is spread over them, and when one is gone the others carry on.

use std::fs;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use mintkeep::jose::base64url;
use nix::sys::signal::Signal;
use serde_json::Value;
use toml_edit::value;

use crate::support::fleet::{FIRST, Fleet, device_metric, keeper_of, stop, two_clones, two_devices};
use crate::support::process::{one_line_of_error, runs, signal, succeed};
use crate::support::{Deployment, RunningMint};

const OTHER: &str = "zweites";

#[tokio::test(flavor = "multi_thread")]
async fn signing_is_spread_over_the_keys_of_both() {
    let deployment = two_devices(OTHER);
    let fleet = Fleet::start(&deployment).await;
    let kids = fleet.signing_kids();
    assert_eq!(kids.len(), 2);
    let mut used = Vec::new();
    let is_spread = |used: &[String]| kids.iter().all(|kid| used.iter().filter(|used| *used == kid).count() >= 5);
    // A busy machine may make one of them look ill for a while.
    while !is_spread(&used) {
        assert!(used.len() < 50_000, "the work of 50000 is not spread");
        used.push(fleet.sign(&kids).await.unwrap());
    }
    fleet.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_both_have_is_used_in_both_and_after_a_loss_in_the_other() {
    let deployment = two_clones(OTHER);
    let fleet = Fleet::start(&deployment).await;
    let kids = fleet.signing_kids();
    assert_eq!(kids.len(), 1);
    let mut signed = 0;
    while !fleet.asked().iter().all(|asked| *asked >= 5) {
        assert!(signed < 50_000, "the work of 50000 is not spread: {:?}", fleet.asked());
        fleet.sign(&kids).await.unwrap();
        signed += 1;
    }
    // Its place is not taken by another one: it is stopped, and not gone.
    stop(fleet.keeper_pid(OTHER));
    let before = fleet.asked()[1];
    for _ in 0..20 {
        fleet.sign(&kids).await.unwrap();
    }
    assert!(!fleet.keepers.members()[1].keeper.is_well());
    // One request found out; the others were not put to it.
    assert_eq!(fleet.asked()[1], before + 1);
    signal(fleet.keeper_pid(OTHER), Signal::SIGKILL);
    fleet.sign(&kids).await.unwrap();
    fleet.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_standby_works_only_where_no_primary_does() {
    let deployment = two_clones(OTHER);
    deployment.edit(|config| config["hardware"][OTHER]["role"] = value("standby"));
    let fleet = Fleet::start(&deployment).await;
    let kids = fleet.signing_kids();
    for _ in 0..20 {
        fleet.sign(&kids).await.unwrap();
    }
    assert_eq!(fleet.asked(), [20, 0]);
    let stopped = fleet.keeper_pid(FIRST);
    stop(stopped);
    for _ in 0..20 {
        fleet.sign(&kids).await.unwrap();
    }
    assert_eq!(fleet.asked(), [21, 20]);
    signal(stopped, Signal::SIGCONT);
    while !fleet.keepers.members()[0].keeper.is_well() {
        tokio::task::yield_now().await;
    }
    fleet.sign(&kids).await.unwrap();
    assert_eq!(fleet.asked(), [22, 20]);
    fleet.end().await;
}

#[test]
fn one_keeper_killed_or_stopped_under_load_fails_no_request() {
    const CLIENTS: usize = 8;
    let deployment = two_clones(OTHER);
    // Longer than the test takes: nothing is answered because the stopped one was replaced.
    deployment.edit(|config| config["keeper"]["request_timeout"] = value("60s"));
    let mint = deployment.serve();
    let (done, answers) = (AtomicBool::new(false), [const { AtomicUsize::new(0) }; CLIENTS]);
    std::thread::scope(|scope| {
        let _done = Done(&done);
        for answers in &answers {
            let (mint, done) = (&mint, &done);
            scope.spawn(move || {
                while !done.load(Ordering::Relaxed) {
                    mint.client_credentials().text("access_token");
                    answers.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        // Of each client: none is left waiting for a keeper that is stopped.
        let some_more = || {
            let counts = || answers.each_ref().map(|answers| answers.load(Ordering::Relaxed));
            let before = counts();
            while counts().iter().zip(before).any(|(now, before)| *now < before + 10) {
                std::thread::yield_now();
            }
        };
        some_more();
        signal(keeper_of(mint.pid(), OTHER), Signal::SIGKILL);
        some_more();
        mint.wait_for("the keeper is back");
        let stopped = keeper_of(mint.pid(), FIRST);
        stop(stopped);
        while device_metric(&mint, "device_up", FIRST) == 1 {
            some_more();
        }
        some_more();
        assert!(runs(stopped));
        assert_eq!(device_metric(&mint, "device_up", OTHER), 1);
        signal(stopped, Signal::SIGCONT);
        while device_metric(&mint, "device_up", FIRST) == 0 {
            some_more();
        }
    });
}

/// A keeper that nobody asks has nothing to say.
#[tokio::test(flavor = "multi_thread")]
async fn a_keeper_that_is_idle_after_an_answer_is_neither_silent_nor_replaced() {
    let deployment = Deployment::new();
    let fleet = Fleet::start_within(&deployment, std::time::Duration::from_secs(1)).await;
    let (kids, keeper) = (fleet.signing_kids(), fleet.keeper_pid(FIRST));
    fleet.sign(&kids).await.unwrap();
    // Longer than it would be waited for, were it asked.
    tokio::time::sleep(std::time::Duration::from_millis(1500)).await;
    assert!(fleet.keepers.members()[0].keeper.is_well());
    assert_eq!(fleet.keeper_pid(FIRST), keeper);
    fleet.end().await;
}

/// Ends the clients, also where the test fails.
struct Done<'a>(&'a AtomicBool);

impl Drop for Done<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// The device that can open `token`.
fn device_of(deployment: &Deployment, token: &str) -> &'static str {
    let header: Value = serde_json::from_slice(&base64url::decode(token.split('.').next().unwrap()).unwrap()).unwrap();
    let lists = deployment.run_json(&["keys", "list"]);
    let has = |list: &Value| list["keys"].as_array().unwrap().iter().any(|key| key["kid"] == header["kid"]);
    // In the order of their names.
    match lists["devices"].as_array().unwrap().iter().position(has).unwrap() {
        0 => FIRST,
        _ => OTHER,
    }
}

#[track_caller]
fn assert_unavailable(mint: &RunningMint, token: &str) {
    let answer = mint.refresh(token);
    answer.assert_error(503, "temporarily_unavailable");
    answer.header("retry-after").unwrap().parse::<u32>().unwrap();
}

#[test]
fn a_refresh_token_of_a_device_that_is_gone_is_good_again_when_it_is_back() {
    let deployment = two_devices(OTHER);
    deployment.edit(|config| config["keeper"]["request_timeout"] = value("2s"));
    let mint = deployment.serve();
    let token = deployment.grant();
    let device = device_of(&deployment, &token);
    let folder = if device == FIRST { "softhsm" } else { OTHER };
    let (tokens, hidden) = (deployment.path(folder).join("tokens"), deployment.path(folder).join("hidden"));
    fs::rename(&tokens, &hidden).unwrap();
    fs::create_dir(&tokens).unwrap();
    signal(keeper_of(mint.pid(), device), Signal::SIGKILL);
    mint.wait_for("the keeper did not start");
    for _ in 0..3 {
        assert_unavailable(&mint, &token);
    }
    let ready = mint.admin("/readyz");
    assert_eq!(ready.status, 200, "the other one signs: {ready:?}");
    assert_ne!(ready.json()["devices"][device], "ok");
    fs::remove_dir(&tokens).unwrap();
    fs::rename(&hidden, &tokens).unwrap();
    mint.wait_for("the keeper is back");
    let answer = mint.refresh(&token);
    assert_eq!(answer.status, 200, "{}", mint.log());
}

#[test]
fn a_device_that_is_not_there_at_the_start_is_tried_on() {
    let deployment = two_devices(OTHER);
    let (tokens, hidden) = (deployment.path(OTHER).join("tokens"), deployment.path(OTHER).join("hidden"));
    fs::rename(&tokens, &hidden).unwrap();
    fs::create_dir(&tokens).unwrap();
    let mint = deployment.serve();
    assert!(mint.log().contains("going on without this device"));
    mint.client_credentials().text("access_token");
    let (part, found) = (|found: &Value| found["part"].clone(), deployment.run(&["check", "--json"]));
    let found: Value = serde_json::from_slice(&found.stdout).unwrap();
    let failed: Vec<&Value> =
        found["findings"].as_array().unwrap().iter().filter(|finding| finding["ok"] == false).collect();
    assert_eq!(failed.iter().map(|finding| part(finding)).collect::<Vec<_>>(), ["hardware"]);
    assert!(failed[0]["found"].as_str().unwrap().contains("hardware.zweites"), "{failed:?}");
    fs::remove_dir(&tokens).unwrap();
    fs::rename(&hidden, &tokens).unwrap();
    mint.wait_for("the keeper is back");
    assert_eq!(device_metric(&mint, "device_up", OTHER), 1);
}

#[test]
fn where_none_opens_or_one_has_a_wrong_pin_the_mint_does_not_start() {
    let deployment = two_devices(OTHER);
    let right = fs::read(deployment.path(OTHER).join("pin")).unwrap();
    fs::write(deployment.path(OTHER).join("pin"), "wrong").unwrap();
    let error = one_line_of_error(&deployment.run(&["serve"]), 8);
    assert!(error.contains("hardware.zweites: the token says that the PIN is wrong"), "{error}");
    fs::write(deployment.path(OTHER).join("pin"), right).unwrap();
    succeed(&mut deployment.command(&["keys", "list", "--pin-corrected"]));
    for folder in ["softhsm", OTHER] {
        fs::rename(deployment.path(folder).join("tokens"), deployment.path(folder).join("hidden")).unwrap();
        fs::create_dir(deployment.path(folder).join("tokens")).unwrap();
    }
    let error = one_line_of_error(&deployment.run(&["serve"]), 4);
    assert!(error.contains("hardware.softhsm: no token"), "{error}");
}

#[test]
fn commands_are_for_each_device_or_for_the_one_that_is_named() {
    let deployment = two_devices(OTHER);
    let lists = deployment.run_json(&["keys", "list"]);
    let kid = |list: &Value| list["keys"][0]["kid"].as_str().unwrap().to_owned();
    let both = [kid(&lists["devices"][0]), kid(&lists["devices"][1])];
    assert_ne!(both[0], both[1]);
    for (name, expected) in [FIRST, OTHER].into_iter().zip(&both) {
        assert_eq!(kid(&deployment.run_json(&["keys", "list", "--device", name])), *expected);
    }
    let error = one_line_of_error(&deployment.run(&["keys", "list", "--device", "other"]), 3);
    assert!(error.contains("no [hardware.other]") && error.contains("softhsm, zweites"), "{error}");
    let error = one_line_of_error(&deployment.run(&["keeper"]), 3);
    assert!(error.contains("say which by --device"), "{error}");
    let found = deployment.run_json(&["check"]);
    let parts: Vec<&str> =
        found["findings"].as_array().unwrap().iter().map(|part| part["part"].as_str().unwrap()).collect();
    assert_eq!(parts, ["configuration", "store", "hardware", "keys", "hardware", "keys", "signature"]);
}
