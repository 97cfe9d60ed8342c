//! A PIN that did not work is not tried again, whatever is restarted: also where the token itself does not remember.

use std::fs;

use cryptoki_sys::{CKR_GENERAL_ERROR, CKR_PIN_INCORRECT, CKR_TOKEN_NOT_PRESENT};

use crate::support::Deployment;
use crate::support::faulty::FaultyModule;
use crate::support::process::one_line_of_error;

/// Nobody tries the PIN, and each says what to do.
#[track_caller]
fn assert_remembered(deployment: &Deployment, faulty: &FaultyModule) {
    faulty.script("");
    for words in [&["serve"][..], &["keys", "list"], &["keys", "init"]] {
        let error = one_line_of_error(&deployment.run(words), 8);
        assert!(error.contains("this PIN was tried on this token before"), "{error}");
        assert!(error.contains("`mintkeep keys list --pin-corrected`"), "{error}");
    }
    assert_eq!(faulty.count("C_Login"), 0);
}

fn assert_forgotten_once_an_operator_vouches(deployment: &Deployment) {
    assert!(deployment.run(&["keys", "list", "--pin-corrected"]).status.success());
    deployment.serve().client_credentials().text("access_token");
}

#[test]
fn a_pin_that_was_refused_is_remembered_across_restarts() {
    let deployment = Deployment::new();
    let faulty = FaultyModule::before(&deployment);
    for code in [CKR_PIN_INCORRECT, CKR_GENERAL_ERROR] {
        faulty.script(&format!("C_Login 1 return {code:#x}"));
        one_line_of_error(&deployment.run(&["serve"]), 8);
        assert_remembered(&deployment, &faulty);
        assert_forgotten_once_an_operator_vouches(&deployment);
    }
}

#[test]
fn a_crash_during_the_login_counts_as_well() {
    let deployment = Deployment::new();
    let faulty = FaultyModule::before(&deployment);
    faulty.script("C_Login 1 segfault");
    assert_eq!(deployment.run(&["keys", "list"]).status.code(), None, "it ended by a signal");
    assert_remembered(&deployment, &faulty);
    assert_forgotten_once_an_operator_vouches(&deployment);
}

#[test]
fn another_pin_is_tried_without_anybody_vouching() {
    let deployment = Deployment::new();
    let (faulty, pin) = (FaultyModule::before(&deployment), deployment.pin());
    // Refused before the token itself sees it, which would remember too.
    fs::write(deployment.path("softhsm/pin"), "a wrong one").unwrap();
    faulty.script(&format!("C_Login 1 return {CKR_PIN_INCORRECT:#x}"));
    one_line_of_error(&deployment.run(&["serve"]), 8);
    assert_remembered(&deployment, &faulty);
    fs::write(deployment.path("softhsm/pin"), pin).unwrap();
    deployment.serve().client_credentials().text("access_token");
}

#[test]
fn a_login_that_did_not_come_to_the_pin_leaves_no_memory() {
    let deployment = Deployment::new();
    let faulty = FaultyModule::before(&deployment);
    faulty.script(&format!("C_Login 1 return {CKR_TOKEN_NOT_PRESENT:#x}"));
    one_line_of_error(&deployment.run(&["serve"]), 4);
    deployment.serve().client_credentials().text("access_token");
}

#[test]
fn without_a_folder_to_remember_in_no_pin_is_tried() {
    let deployment = Deployment::new();
    let faulty = FaultyModule::before(&deployment);
    deployment.edit(|config| config["keeper"]["state"] = toml_edit::value("missing"));
    let error = one_line_of_error(&deployment.run(&["serve"]), 4);
    assert!(error.contains("cannot remember in") && error.contains("set keeper.state"), "{error}");
    assert_eq!(faulty.count("C_Login"), 0);
}
