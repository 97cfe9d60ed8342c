//! Who calls, how often, how much, and for how long.

use std::io::{Read as _, Write as _};
use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _};
use std::os::unix::net::UnixListener;
use std::time::Duration;

use nix::sys::signal::Signal;
use tonic::{Code, Status};

use super::apiserver::connect;
use super::{Apiserver, apiserver, claims, deployment, deployment_with, frontend, profile, raw};
use crate::support::process::signal;

/// Somebody who is not this test.
const SOMEBODY_ELSE: i64 = 4_000_000_000;

#[track_caller]
fn assert_denied<Answer: std::fmt::Debug>(answer: Result<Answer, Status>, text: &str) {
    let status = answer.unwrap_err();
    assert_eq!((status.code(), status.message()), (Code::PermissionDenied, text));
}

#[test]
fn a_caller_with_another_uid_is_denied_every_call() {
    let name = format!("@mintkeep-test-uid-{}", std::process::id());
    let deployment = deployment_with(|config| {
        frontend(config, "uid", SOMEBODY_ELSE);
        config["kubernetes"]["socket"] = toml_edit::value(name.as_str());
    });
    let mint = deployment.serve();
    let apiserver = Apiserver::at(&name);
    let denied = "expected the uid of a front-end that may use the signing profile";
    assert_denied(apiserver.sign(&claims(3600)), denied);
    assert_denied(apiserver.sign_encoded("=".to_owned()), denied);
    assert_denied(apiserver.fetch_keys(), denied);
    assert_denied(apiserver.metadata(), denied);
    let logged = mint.wait_for("did not answer a call of Kubernetes");
    assert_eq!(logged["fields"]["uid"], nix::unistd::getuid().as_raw(), "{logged}");
    // No stranger has more than a few connections; one that is over is ended at once.
    let mut held: Vec<_> = (0..8).map(|_| connect(&name).unwrap()).collect();
    let ended = held.last_mut().unwrap();
    ended.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    assert_eq!(ended.read(&mut [0; 64]).unwrap_or_default(), 0);
}

#[test]
fn a_front_end_without_the_profile_is_denied_too() {
    let deployment = deployment_with(|config| {
        frontend(config, "profiles", toml_edit::Array::new());
    });
    let mint = deployment.serve();
    let apiserver = apiserver(&deployment, &mint);
    let denied = "the front-end may not use this signing profile";
    assert_denied(apiserver.sign(&claims(3600)), denied);
    assert_denied(apiserver.fetch_keys(), denied);
    assert_denied(apiserver.metadata(), denied);
    // It is given the profile while the mint runs.
    let profiles: toml_edit::Array = [super::PROFILE].into_iter().collect();
    deployment.edit(|config| frontend(config, "profiles", profiles));
    signal(mint.pid(), Signal::SIGHUP);
    mint.wait_for("the registrations were read again");
    apiserver.sign(&claims(3600)).unwrap();
}

#[test]
fn the_limits_of_the_front_end_hold() {
    let deployment = deployment_with(|config| frontend(config, "requests_per_second", 1));
    let mint = deployment.serve();
    let apiserver = apiserver(&deployment, &mint);
    let answers: Vec<_> = (0..20).map(|_| apiserver.metadata()).collect();
    let over: Vec<_> = answers.into_iter().filter_map(Result::err).collect();
    assert!(!over.is_empty());
    for status in over {
        assert_eq!(status.code(), Code::ResourceExhausted, "{status}");
    }
}

#[test]
fn the_socket_is_for_the_user_and_the_group_and_one_that_was_left_behind_is_replaced() {
    let deployment = deployment();
    let path = deployment.path("kubernetes.sock");
    drop(UnixListener::bind(&path).unwrap());
    let mint = deployment.serve();
    let metadata = path.symlink_metadata().unwrap();
    assert!(metadata.file_type().is_socket());
    assert_eq!(metadata.permissions().mode() & 0o777, 0o660);
    apiserver(&deployment, &mint).metadata().unwrap();
    assert!(mint.terminate().success());
    assert!(!path.exists(), "removed with the mint");
    let _listening = UnixListener::bind(&path).unwrap();
    let output = deployment.run(&["serve"]);
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(6), "{error}");
    assert!(error.contains("kubernetes.sock: another process listens there"), "{error}");
}

#[test]
fn a_message_that_is_too_long_is_not_read() {
    let deployment = deployment();
    let mint = deployment.serve();
    let apiserver = apiserver(&deployment, &mint);
    let status = apiserver.sign_encoded("A".repeat(32 * 1024 + 1)).unwrap_err();
    assert_eq!(status.code(), Code::OutOfRange, "{status}");
    apiserver.sign(&claims(3600)).unwrap();
    // Other than gRPC: HTTP/1.1 is no preface of HTTP/2.
    let mut stream = connect(deployment.path("kubernetes.sock").to_str().unwrap()).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    stream.write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    assert!(!answer.starts_with(b"HTTP/1"), "{answer:?}");
}

#[test]
fn a_caller_is_not_kept_longer_than_it_waits() {
    let deployment = deployment();
    let mint = deployment.serve();
    let apiserver = apiserver(&deployment, &mint);
    let encoded = base64_of(&claims(3600).to_string());
    let path = deployment.path("kubernetes.sock");
    let within = |timeout: &str| raw::sign(path.to_str().unwrap(), &encoded, timeout);
    assert_eq!(within("59999m").0, Code::Ok);
    for timeout in ["soon", "-1S", "123456789S", "1.5S", ""] {
        let text = "grpc-timeout: expected one to eight digits and a unit".to_owned();
        assert_eq!(within(timeout), (Code::InvalidArgument, text), "{timeout:?}");
    }
    // The keeper does not answer, and would be waited for longer.
    signal(mint.keeper_pid(), Signal::SIGSTOP);
    assert_eq!(within("50m"), (Code::DeadlineExceeded, "the time is up".to_owned()));
    // From memory.
    apiserver.fetch_keys().unwrap();
    apiserver.metadata().unwrap();
    signal(mint.keeper_pid(), Signal::SIGCONT);
    assert_eq!(within("60S").0, Code::Ok);
}

fn base64_of(text: &str) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(text)
}

#[test]
fn the_lifetime_that_is_told_is_the_profiles() {
    let deployment = deployment_with(|config| profile(config, "max_lifetime", "48h"));
    let mint = deployment.serve();
    assert_eq!(apiserver(&deployment, &mint).metadata().unwrap().max_token_expiration_seconds, 48 * 60 * 60);
}
