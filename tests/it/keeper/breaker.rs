//! A device that is down is not waited for, and is asked again when it works; what strangers send does not bring it down.

use std::fs;

use cryptoki_sys::CKR_FUNCTION_FAILED;
use nix::sys::signal::Signal;
use toml_edit::value;

use crate::support::faulty::FaultyModule;
use crate::support::fleet::{FIRST, device_metric, stop};
use crate::support::process::signal;
use crate::support::{Answer, Deployment, RunningMint};

/// Longer than a test may take, so that an answer that waited for it fails the test.
const NEVER: &str = "500s";

fn serve_patiently(deployment: &Deployment) -> RunningMint {
    deployment.edit(|config| config["keeper"]["request_timeout"] = value(NEVER));
    deployment.serve()
}

#[track_caller]
fn assert_unavailable(answer: &Answer) {
    answer.assert_error(503, "temporarily_unavailable");
    let seconds: u64 = answer.header("retry-after").unwrap().parse().unwrap();
    assert!((1..=5).contains(&seconds), "{seconds}");
}

#[test]
fn forged_tokens_open_no_breaker_however_many() {
    let deployment = Deployment::new();
    deployment.allow_failed_attempts();
    let mint = deployment.serve();
    let token = deployment.grant();
    // Of a family that is there, by the key that is there, so that the device has to find out.
    let forged = |last: char| format!("{}{last}", &token[..token.len() - 1]);
    let other = if token.ends_with('A') { 'Q' } else { 'A' };
    for _ in 0..60 {
        mint.refresh(&forged(other)).assert_error(400, "invalid_grant");
    }
    assert!(mint.metric("mintkeep_keeper_openings_requested_total") >= 60);
    assert_eq!(device_metric(&mint, "device_breaker_openings", FIRST), 0);
    let metrics = mint.admin("/metrics").body;
    let faults: Vec<&str> = metrics.lines().filter(|line| line.starts_with("mintkeep_device_faults_total{")).collect();
    assert_eq!(faults.len(), 6);
    assert!(faults.iter().all(|line| line.ends_with(" 0")), "{faults:?}");
    mint.refresh(&token).text("access_token");
}

#[test]
fn a_storm_of_faults_opens_it_and_a_signature_closes_it() {
    let deployment = Deployment::new();
    let faulty = FaultyModule::before(&deployment);
    let mint = serve_patiently(&deployment);
    faulty.script(&format!("C_Sign 1+ return {CKR_FUNCTION_FAILED}"));
    while device_metric(&mint, "device_breaker_openings", FIRST) == 0 {
        assert_unavailable(&mint.client_credentials());
    }
    let metric = "mintkeep_device_faults_total{device=\"softhsm\",fault=\"transient\"}";
    assert!(mint.metric(metric) >= 5);
    // A keeper by itself does not help: it cannot sign either.
    mint.wait_for("the keeper did not start");
    assert_unavailable(&mint.client_credentials());
    faulty.script("");
    mint.wait_for("the keeper is back");
    mint.client_credentials().text("access_token");
}

#[test]
fn a_device_that_works_when_it_is_tried_out_keeps_its_keeper() {
    let deployment = Deployment::new();
    deployment.edit(|config| config["hardware"]["softhsm"]["sessions"] = value(10));
    let faulty = FaultyModule::before(&deployment);
    let mint = serve_patiently(&deployment);
    let keeper = mint.keeper_pid();
    let lines: Vec<String> = (1..=5).map(|call| format!("C_Sign {call} return {CKR_FUNCTION_FAILED}")).collect();
    // Again where a busy machine turned a request away before it met its fault.
    while device_metric(&mint, "device_breaker_openings", FIRST) == 0 {
        faulty.script(&lines.join("\n"));
        std::thread::scope(|scope| {
            for _ in 0..5 {
                scope.spawn(|| assert_unavailable(&mint.client_credentials()));
            }
        });
    }
    mint.wait_for("the device works again");
    mint.client_credentials().text("access_token");
    assert_eq!(mint.keeper_pid(), keeper);
}

#[test]
fn a_device_that_is_gone_is_said_to_be_at_once() {
    let deployment = Deployment::new();
    let mint = serve_patiently(&deployment);
    let token = deployment.grant();
    let (tokens, hidden) = (deployment.path("softhsm/tokens"), deployment.path("softhsm/hidden"));
    fs::rename(&tokens, &hidden).unwrap();
    fs::create_dir(&tokens).unwrap();
    signal(mint.keeper_pid(), Signal::SIGKILL);
    for _ in 0..5 {
        assert_unavailable(&mint.client_credentials());
        assert_unavailable(&mint.refresh(&token));
    }
    assert_eq!(mint.admin("/readyz").status, 503);
    fs::remove_dir(&tokens).unwrap();
    fs::rename(&hidden, &tokens).unwrap();
    mint.wait_for("the keeper is back");
    mint.refresh(&token).text("access_token");
}

#[test]
fn a_device_that_says_nothing_is_not_asked_until_it_speaks() {
    let deployment = Deployment::new();
    let mint = serve_patiently(&deployment);
    let keeper = mint.keeper_pid();
    stop(keeper);
    std::thread::scope(|scope| {
        // Nobody else can do it, so this one waits, and has its token in the end.
        let first = scope.spawn(|| mint.client_credentials().text("access_token"));
        mint.wait_for("the keeper was asked and says nothing");
        for _ in 0..5 {
            assert_unavailable(&mint.client_credentials());
        }
        signal(keeper, Signal::SIGCONT);
        first.join().unwrap();
    });
    mint.wait_for("the keeper answers again");
    mint.client_credentials().text("access_token");
    assert_eq!(mint.keeper_pid(), keeper);
}
