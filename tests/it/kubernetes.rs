//! Kubernetes: a kube-apiserver has its tokens signed.

#[rustfmt::skip]
mod api;
mod apiserver;
mod callers;
mod checks;
mod claims;
mod faults;
mod generated;
mod raw;
mod rotation;

use serde_json::{Value, json};
use toml_edit::{DocumentMut, value};

use crate::support::process::succeed;
use crate::support::{Deployment, RunningMint};

pub use self::apiserver::Apiserver;

/// `--service-account-issuer`, and the audience of tokens that name none.
pub const ISSUER: &str = "https://kubernetes.default.svc";
/// Another audience that tokens may be for.
pub const VAULT: &str = "vault";
/// The name of the profile, of its key, and of the front-end.
pub const PROFILE: &str = "kubernetes";

/// A deployment that signs for a kube-apiserver that runs under the user of this test.
pub fn deployment() -> Deployment {
    deployment_with(|_| {})
}

/// The same, with a configuration that `change` made another one of.
pub fn deployment_with(change: impl FnOnce(&mut DocumentMut)) -> Deployment {
    let deployment = Deployment::without_keys();
    let uid = nix::unistd::getuid();
    deployment.append(&format!(
        r#"
[[signing_profile]]
name = "{PROFILE}"
content = "jwt"
issuers = ["{ISSUER}"]
audiences = ["{ISSUER}", "{VAULT}"]
max_lifetime = "1h"
publish_ahead = "5m"

[[frontend]]
name = "{PROFILE}"
uid = {uid}
profiles = ["{PROFILE}"]

[kubernetes]
socket = "kubernetes.sock"
profile = "{PROFILE}"
"#
    ));
    deployment.edit(change);
    succeed(&mut deployment.command(&["keys", "init"]));
    deployment
}

/// Has the front-end of the kube-apiserver be another one.
pub fn frontend(config: &mut DocumentMut, setting: &str, is: impl Into<toml_edit::Value>) {
    let frontends = config["frontend"].as_array_of_tables_mut().expect("front-ends");
    frontends.get_mut(0).expect("one")[setting] = value(is);
}

/// Has the signing profile be another one.
pub fn profile(config: &mut DocumentMut, setting: &str, is: impl Into<toml_edit::Value>) {
    let profiles = config["signing_profile"].as_array_of_tables_mut().expect("profiles");
    profiles.get_mut(0).expect("one")[setting] = value(is);
}

/// The kube-apiserver of `deployment`, whose mint runs.
pub fn apiserver(deployment: &Deployment, _mint: &RunningMint) -> Apiserver {
    Apiserver::at(deployment.path("kubernetes.sock").to_str().expect("UTF-8"))
}

/// Claims as a kube-apiserver makes them for a pod, which live for `seconds`.
pub fn claims(seconds: i64) -> Value {
    let now = now();
    json!({
        "aud": [ISSUER],
        "exp": now + seconds,
        "iat": now,
        "iss": ISSUER,
        "jti": "0b1cbbbb-3d9b-4d7c-8d8b-0c2c9d1b2a55",
        "kubernetes.io": {
            "namespace": "default",
            "node": {"name": "node-1", "uid": "44ec4b24-6e4a-4b0b-8a8c-6d6f7a2d0f3e"},
            "pod": {"name": "web-0", "uid": "5e0bd49b-f040-43b0-99b7-22765a53f7f3"},
            "serviceaccount": {"name": "web", "uid": "14ee3fa4-a7e2-420f-9f9a-dbc4507c3798"},
            "warnafter": now + 3607,
        },
        "nbf": now,
        "sub": "system:serviceaccount:default:web",
    })
}

pub fn now() -> i64 {
    use mintkeep::clock::{Clock as _, SystemClock};
    SystemClock.now().unix_seconds()
}
