//! A module that misbehaves as PKCS#11 modules were seen to: each fault by itself. All of them at every call are
//! in `sweep`.

use std::time::Duration;

use cryptoki_sys::{CKR_GENERAL_ERROR, CKR_PIN_INCORRECT};
use nix::sys::signal::Signal;
use toml_edit::value;

use crate::support::faulty::FaultyModule;
use crate::support::jose::verified;
use crate::support::process::{one_line_of_error, signal, succeed};
use crate::support::{Deployment, RunningMint};

/// The audience of the tokens of the service.
const AUDIENCE: &str = "https://billing.example.com";

#[track_caller]
fn assert_signs(mint: &RunningMint) {
    verified(mint, &mint.client_credentials().text("access_token"), AUDIENCE);
}

/// Asks until there is a token; everything before it is a 503.
#[track_caller]
fn assert_recovers(mint: &RunningMint) {
    for _ in 0..200 {
        let answer = mint.client_credentials();
        if answer.status == 200 {
            verified(mint, &answer.text("access_token"), AUDIENCE);
            return;
        }
        answer.assert_error(503, "temporarily_unavailable");
        std::thread::sleep(Duration::from_millis(50));
    }
    panic!("{}", mint.log());
}

#[test]
fn a_module_behind_another_is_used_like_itself() {
    let deployment = Deployment::new();
    let faulty = FaultyModule::before(&deployment);
    let mint = deployment.serve();
    assert_signs(&mint);
    let token = deployment.grant();
    faulty.script("");
    mint.refresh(&token).text("access_token");
    let mut calls = faulty.calls();
    calls.sort();
    assert_eq!(calls, ["C_Decrypt", "C_DecryptInit", "C_Encrypt", "C_EncryptInit", "C_Sign", "C_SignInit"]);
}

#[test]
fn a_point_without_its_octet_string_is_the_same_key() {
    let deployment = Deployment::new();
    let faulty = FaultyModule::before(&deployment);
    let keys = deployment.run_json(&["keys", "list"]);
    faulty.script("C_GetAttributeValue 1+ raw-point");
    assert_eq!(deployment.run_json(&["keys", "list"]), keys);
    assert!(faulty.has_happened());
}

#[test]
fn a_signature_with_a_flipped_bit_or_another_length_is_not_released() {
    let deployment = Deployment::new();
    let faulty = FaultyModule::before(&deployment);
    let mint = deployment.serve();
    for fault in ["flip-bit", "length 63", "length 65", "length 0"] {
        faulty.script(&format!("C_Sign 1 {fault}"));
        mint.client_credentials().assert_error(503, "temporarily_unavailable");
        assert_signs(&mint);
    }
    // Also where it is the trial at the start.
    faulty.script("C_Sign 1 flip-bit");
    let error = one_line_of_error(&deployment.run(&["keys", "list"]), 4);
    assert!(error.contains("a signature that its own public key does not verify"), "{error}");
}

/// Of a slow device what was made is verified by another thread than the one that is with the device.
#[test]
fn a_slow_device_releases_no_wrong_signature_either_and_is_given_up_after_five() {
    let deployment = Deployment::new();
    deployment.edit(|config| config["hardware"]["softhsm"]["sessions"] = value(1));
    let faulty = FaultyModule::before(&deployment);
    let mint = deployment.serve();
    faulty.script("C_Sign 1+ latency 2ms 1\nC_Sign 8 flip-bit");
    for _ in 1..8 {
        assert_signs(&mint);
    }
    mint.client_credentials().assert_error(503, "temporarily_unavailable");
    assert_signs(&mint);
    let keeper = mint.keeper_pid();
    faulty.script("C_Sign 1+ latency 2ms 1\nC_Sign 1+1000ms flip-bit");
    for _ in 0..5 {
        mint.client_credentials().assert_error(503, "temporarily_unavailable");
    }
    assert_recovers(&mint);
    assert_ne!(mint.keeper_pid(), keeper);
}

#[test]
fn a_command_whose_device_hangs_ends_and_says_so() {
    let deployment = Deployment::new();
    deployment.edit(|config| config["keeper"]["start_timeout"] = value("1s"));
    let listed = deployment.run_json(&["keys", "list"]);
    let kid = listed["keys"][0]["kid"].as_str().unwrap().to_owned();
    let faulty = FaultyModule::before(&deployment);
    for (command, function) in [
        (&["keys", "list"][..], "C_Initialize"),
        (&["keys", "init"], "C_OpenSession"),
        (&["keys", "destroy", &kid], "C_FindObjects"),
        (&["keys", "attest"], "C_GetAttributeValue"),
    ] {
        faulty.script(&format!("{function} 1 hang"));
        let error = one_line_of_error(&deployment.run(command), 4);
        assert!(error.contains("hardware.softhsm does not answer"), "{error}");
        assert!(faulty.has_happened(), "{function}");
    }
    // What was not done is still there, and no watch is left behind.
    assert_eq!(deployment.run_json(&["keys", "list"]), listed);
}

#[test]
fn a_handle_that_means_another_key_releases_nothing() {
    let deployment = Deployment::new();
    let generate = ["--keypairgen", "--key-type", "EC:prime256v1", "--label", "other", "--id", "0f", "--usage-sign"];
    succeed(&mut deployment.pkcs11_tool(&generate));
    let faulty = FaultyModule::before(&deployment);
    let mint = deployment.serve();
    faulty.script("C_SignInit 1+800ms other-key other");
    for _ in 0..3 {
        mint.client_credentials().assert_error(503, "temporarily_unavailable");
    }
    assert!(faulty.has_happened());
    assert_recovers(&mint);
}

#[test]
fn lost_sessions_a_lost_login_and_a_removed_token_are_recovered_from() {
    let deployment = Deployment::new();
    let faulty = FaultyModule::before(&deployment);
    let mint = deployment.serve();
    for fault in ["lose-sessions", "log-out", "remove-token 700ms", "segfault", "abort"] {
        faulty.script(&format!("C_SignInit 1 {fault}"));
        assert_recovers(&mint);
        assert!(faulty.has_happened(), "{fault}");
        assert!(faulty.count("C_Login") >= 1, "{fault}: a new keeper has logged in");
    }
    faulty.script("C_Sign 1 remove-token");
    mint.client_credentials();
    mint.wait_for("the keeper did not start");
    faulty.put_token_back();
    assert_recovers(&mint);
}

/// A client that is told `invalid_grant` throws its token away.
#[test]
fn a_fault_while_a_token_is_opened_never_passes_for_an_invalid_token() {
    let deployment = Deployment::new();
    let faulty = FaultyModule::before(&deployment);
    let mint = deployment.serve();
    let mut token = deployment.grant();
    for fault in [
        "C_Decrypt 1 return 0x40",
        "C_Decrypt 1 return 0x5",
        "C_Decrypt 1 length 1",
        "C_DecryptInit 1 return 0x31",
        "C_Decrypt 1+300ms return 0x5",
    ] {
        faulty.script(fault);
        token = loop {
            let answer = mint.refresh(&token);
            if answer.status == 200 {
                break answer.text("refresh_token");
            }
            answer.assert_error(503, "temporarily_unavailable");
            std::thread::sleep(Duration::from_millis(50));
        };
        assert!(faulty.has_happened(), "{fault}");
    }
}

#[test]
fn a_module_that_is_slow_is_waited_for() {
    let deployment = Deployment::new();
    let faulty = FaultyModule::before(&deployment);
    let mint = deployment.serve();
    faulty.script("C_Sign 1 delay 300ms\nC_Sign,C_Encrypt,C_Decrypt 1+ latency 20ms 1");
    assert_signs(&mint);
    assert_eq!(faulty.count("C_Sign"), 1);
}

#[test]
fn a_code_from_the_login_that_may_mean_a_wrong_pin_is_the_last_login() {
    let deployment = Deployment::new();
    let faulty = FaultyModule::before(&deployment);
    for code in [CKR_PIN_INCORRECT, CKR_GENERAL_ERROR] {
        faulty.script(&format!("C_Login 1 return {code:#x}"));
        one_line_of_error(&deployment.run(&["serve"]), 8);
        assert_eq!(faulty.count("C_Login"), 1);
        assert!(deployment.run(&["keys", "list", "--pin-corrected"]).status.success());
    }
}

/// Found by the sweep. Without a login the private keys are not seen, and a token without keys is given up for good.
#[test]
fn a_login_that_somebody_is_said_to_have_made_before_is_looked_at() {
    let deployment = Deployment::new();
    let faulty = FaultyModule::before(&deployment);
    faulty.script("C_Login 1 return 0x100");
    let error = one_line_of_error(&deployment.run(&["keys", "list"]), 4);
    assert!(error.contains("CKR_USER_ALREADY_LOGGED_IN, and the session is not logged in"), "{error}");
    // Nothing was tried, so nobody has to vouch for the PIN.
    let mint = deployment.serve();
    faulty.script("C_Login 1 return 0x100");
    signal(mint.keeper_pid(), Signal::SIGKILL);
    assert_recovers(&mint);
    assert!(faulty.has_happened());
}

#[test]
fn a_token_whose_flags_warn_of_its_pin_is_not_logged_in_to() {
    let deployment = Deployment::new();
    let faulty = FaultyModule::before(&deployment);
    for (flag, said) in [
        (cryptoki_sys::CKF_USER_PIN_FINAL_TRY, "CKF_USER_PIN_FINAL_TRY"),
        (cryptoki_sys::CKF_USER_PIN_LOCKED, "CKF_USER_PIN_LOCKED"),
        (cryptoki_sys::CKF_USER_PIN_TO_BE_CHANGED, "CKF_USER_PIN_TO_BE_CHANGED"),
        (cryptoki_sys::CKF_USER_PIN_COUNT_LOW, "a wrong PIN was entered since the last login"),
    ] {
        faulty.script(&format!("C_GetTokenInfo 1+ flags {flag:#x}"));
        for words in [&["serve"][..], &["keys", "list"], &["keys", "init"]] {
            let error = one_line_of_error(&deployment.run(words), 8);
            assert!(error.contains(said) && error.contains("refusing to log in"), "{error}");
        }
        assert_eq!(faulty.count("C_Login"), 0, "{said}");
    }
    // What an operator vouches for is a PIN, and not a token that is about to lock.
    faulty.script(&format!("C_GetTokenInfo 1+ flags {:#x}", cryptoki_sys::CKF_USER_PIN_FINAL_TRY));
    one_line_of_error(&deployment.run(&["keys", "list", "--pin-corrected"]), 8);
    assert_eq!(faulty.count("C_Login"), 0);
}
