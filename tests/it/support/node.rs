//! Clients written for Node.js, in `tests/clients`.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;

/// The folder of the clients that `scripts/install-clients` fills.
pub fn clients_folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients")
}

/// Runs `tests/clients/NAME.mjs` with `material`; what it tells.
#[track_caller]
pub fn run(name: &str, material: &Value) -> Value {
    let folder = clients_folder();
    assert!(folder.join("node_modules").is_dir(), "run scripts/install-clients first");
    let mut node = Command::new("node")
        .arg(folder.join(name).with_extension("mjs"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("node is installed");
    let mut input = node.stdin.take().expect("it is piped");
    input.write_all(material.to_string().as_bytes()).expect("it reads");
    drop(input);
    let output = node.wait_with_output().expect("it ends");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(output.status.success(), "{name}: {}{}", text(&output.stdout), text(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{name}: {error}: {}", text(&output.stdout)))
}
