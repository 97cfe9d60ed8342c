//! Keys must be unexportable: how they are generated, and which are refused.

use std::fs;
use std::process::Command;

use p256::SecretKey;
use p256::pkcs8::EncodePrivateKey as _;
use toml_edit::value;

use crate::support::process::{one_line_of_error, succeed};
use crate::support::{Deployment, RunningMint};

#[test]
fn generated_keys_can_never_leave_and_do_one_thing_each() {
    let deployment = Deployment::new();
    let output = succeed(&mut deployment.pkcs11_tool(&["--list-objects"]));
    let objects = String::from_utf8(output.stdout).unwrap();
    let object = |kind: &str| {
        let text = objects.split(kind).nth(1).unwrap_or_else(|| panic!("no {kind} in {objects}"));
        let line = |name: &str| {
            let line = text.lines().find(|line| line.trim().starts_with(name));
            line.unwrap_or_else(|| panic!("no {name} in {text}")).trim().trim_start_matches(name).trim().to_owned()
        };
        (line("Usage:"), line("Access:"))
    };
    let access = "sensitive, always sensitive, never extractable, local";
    assert_eq!(object("Private Key Object; EC"), ("sign".to_owned(), access.to_owned()));
    assert_eq!(object("Secret Key Object; AES length 32"), ("encrypt, decrypt".to_owned(), access.to_owned()));
}

#[test]
fn generating_again_changes_nothing() {
    let deployment = Deployment::new();
    let first = deployment.run_json(&["keys", "list"]);
    let second = deployment.run_json(&["keys", "init"]);
    assert_eq!(first, second);
    assert_eq!(second["keys"][0]["generated"], false);
    assert_eq!(second["keys"][0]["algorithm"], "ES256");
    assert_eq!(second["keys"][1]["algorithm"], "A256GCM");
}

/// What the keeper says of a token that it refuses.
#[track_caller]
fn refusal(deployment: &Deployment) -> String {
    let serving = one_line_of_error(&deployment.run(&["serve"]), 8);
    assert_eq!(one_line_of_error(&deployment.run(&["keys", "list"]), 8), serving);
    serving
}

pub(super) fn import_signing_key(deployment: &Deployment) {
    let pem = SecretKey::from_slice(&[7; 32]).unwrap().to_pkcs8_pem(Default::default()).unwrap();
    fs::write(deployment.path("key.pem"), pem.as_bytes()).unwrap();
    succeed(
        Command::new("softhsm2-util")
            .env("SOFTHSM2_CONF", deployment.path("softhsm/softhsm2.conf"))
            .args(["--import".as_ref(), deployment.path("key.pem").as_os_str()])
            .args(["--token", "mintkeep", "--label", "mintkeep-signing", "--id", "0a", "--pin", &deployment.pin()]),
    );
}

#[test]
fn an_imported_key_is_refused_unless_allowed_and_then_warned_of() {
    let deployment = Deployment::without_keys();
    import_signing_key(&deployment);
    // It takes the imported key for the signing key, and refuses it, before it adds anything to the token.
    one_line_of_error(&deployment.run(&["keys", "init"]), 8);
    let objects = succeed(&mut deployment.pkcs11_tool(&["--list-objects", "--type", "secrkey"])).stdout;
    assert!(objects.is_empty(), "{}", String::from_utf8_lossy(&objects));
    let message = refusal(&deployment);
    assert!(message.contains("CKA_LOCAL is false, expected true"), "{message}");
    assert!(message.contains("allow_imported = true"), "{message}");
    deployment.edit(|config| config["hardware"]["softhsm"]["allow_imported"] = value(true));
    succeed(&mut deployment.command(&["keys", "init"]));
    for _ in 0..2 {
        let mint: RunningMint = deployment.serve();
        mint.client_credentials().text("access_token");
        assert!(mint.log().contains("allow_imported: accepting a key that may have been outside the device"));
        assert!(mint.terminate().success());
    }
}

/// A key pair as somebody else may have made it.
fn generate_pair(deployment: &Deployment, key_type: &str, label: &str, id: &str, further: &[&str]) {
    let words = ["--keypairgen", "--key-type", key_type, "--label", label, "--id", id, "--usage-sign", "--sensitive"];
    succeed(&mut deployment.pkcs11_tool(&[&words, further].concat()));
}

#[test]
fn an_extractable_key_is_refused_whatever_is_allowed() {
    let deployment = Deployment::without_keys();
    generate_pair(&deployment, "EC:prime256v1", "mintkeep-signing", "0b", &["--extractable"]);
    deployment.edit(|config| config["hardware"]["softhsm"]["allow_imported"] = value(true));
    one_line_of_error(&deployment.run(&["keys", "init"]), 8);
    let message = refusal(&deployment);
    assert!(message.contains("CKA_EXTRACTABLE is true, expected false"), "{message}");
    assert!(!message.contains("allow_imported"), "{message}");
}

#[test]
fn two_keys_with_one_id_are_refused() {
    let deployment = Deployment::new();
    for _ in 0..2 {
        generate_pair(&deployment, "EC:prime256v1", "another", "0c", &[]);
    }
    deployment.edit(|config| config["hardware"]["softhsm"]["signing_key"] = value("another"));
    let message = refusal(&deployment);
    assert!(message.contains("2 signing keys with CKA_ID 0c where exactly one is expected"), "{message}");
}

#[test]
fn a_key_on_another_curve_is_refused() {
    let deployment = Deployment::without_keys();
    generate_pair(&deployment, "EC:secp384r1", "mintkeep-signing", "0e", &[]);
    one_line_of_error(&deployment.run(&["keys", "init"]), 8);
    let message = refusal(&deployment);
    assert!(message.contains("CKA_EC_PARAMS") && message.contains("expected P-256"), "{message}");
}

#[test]
fn a_missing_key_is_named_with_what_to_do() {
    let deployment = Deployment::without_keys();
    let message = refusal(&deployment);
    assert!(
        message.contains("the token has no signing key labelled mintkeep-signing; run `mintkeep keys init`"),
        "{message}"
    );
}
