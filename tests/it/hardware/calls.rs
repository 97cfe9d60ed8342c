//! What mintkeep asks of the hardware, watched from outside.

use crate::support::Deployment;
use crate::support::spy::Spy;

#[test]
fn a_signature_takes_exactly_two_calls() {
    const TOKENS: usize = 25;
    let deployment = Deployment::new();
    let spy = Spy::on(&deployment);
    let mint = deployment.serve();
    // The store's and the keeper's first steps are over when this is answered.
    mint.client_credentials().text("access_token");
    let before = spy.calls().len();
    for _ in 0..TOKENS {
        mint.client_credentials().text("access_token");
    }
    let calls = spy.calls()[before..].to_vec();
    assert_eq!(calls, ["C_SignInit", "C_Sign"].repeat(TOKENS));
}

#[test]
fn an_exchange_opens_signs_and_seals_once_each() {
    let deployment = Deployment::new();
    let spy = Spy::on(&deployment);
    let mint = deployment.serve();
    let token = deployment.grant();
    let before = spy.calls().len();
    mint.refresh(&token).text("access_token");
    let mut calls = spy.calls()[before..].to_vec();
    calls.sort();
    assert_eq!(calls, ["C_Decrypt", "C_DecryptInit", "C_Encrypt", "C_EncryptInit", "C_Sign", "C_SignInit"]);
}

#[test]
fn an_unknown_family_reaches_no_hardware() {
    let (deployment, other) = (Deployment::new(), Deployment::new());
    let spy = Spy::on(&deployment);
    let mint = deployment.serve();
    let unknown = other.grant();
    mint.client_credentials().text("access_token");
    let before = spy.calls().len();
    for _ in 0..10 {
        mint.refresh(&unknown).assert_error(400, "invalid_grant");
    }
    assert_eq!(spy.calls().len(), before);
}

#[test]
fn it_logs_in_once_and_signs_with_session_copies_that_cannot_leave() {
    let deployment = Deployment::new();
    let spy = Spy::on(&deployment);
    let mint = deployment.serve();
    mint.client_credentials().text("access_token");
    assert_eq!(spy.count("C_Login"), 1);
    assert_eq!(spy.count("C_Initialize"), 1);
    // A trial for each key, and a copy of each key for each of three sessions, unless the copy is slower here.
    assert!(spy.count("C_CopyObject") >= 2, "{} copies", spy.count("C_CopyObject"));
    drop(mint);
    assert_eq!(spy.count("C_Finalize"), 1, "it says good-bye");
}
