use std::process::Command;

use aws_lc_rs::digest::{SHA256, digest};
use serde_json::Value;

use crate::support::PROGRAM;
use crate::support::process::succeed;

fn new_secret() -> (String, String) {
    let output = succeed(Command::new(PROGRAM).args(["client", "secret", "--json"]));
    let secret: Value = serde_json::from_slice(&output.stdout).unwrap();
    let text = |name: &str| secret[name].as_str().unwrap().to_owned();
    (text("client_secret"), text("secret_sha256"))
}

#[test]
fn a_secret_has_a_prefix_256_bits_and_a_checksum_and_the_line_has_its_hash() {
    let (secret, hash) = new_secret();
    assert!(secret.starts_with("mks_"));
    assert_eq!(secret.len(), 4 + 43 + 6);
    let expected: String =
        digest(&SHA256, secret.as_bytes()).as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(hash, expected);
    assert!(mintkeep::oauth::secret::is_well_formed(&secret));
    let mistyped = secret.replacen(secret.chars().nth(20).unwrap(), "_", 1);
    assert!(!mintkeep::oauth::secret::is_well_formed(&mistyped));
    assert_ne!(new_secret().0, secret);
}

#[test]
fn the_line_for_people_is_the_line_of_the_configuration() {
    let output = succeed(Command::new(PROGRAM).args(["client", "secret"]));
    let text = String::from_utf8(output.stdout).unwrap();
    let line = text.lines().find(|line| line.contains("secret_sha256")).unwrap();
    let table: toml_edit::DocumentMut = line.trim().parse().unwrap();
    assert_eq!(table["secret_sha256"].as_str().unwrap().len(), 64);
}
