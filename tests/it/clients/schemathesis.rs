//! schemathesis, which sends to each endpoint what its description allows, and what it does not, and holds each answer
//! against the description.

use std::collections::BTreeSet;
use std::fs;
use std::process::Command;

use serde_json::Value;

use crate::support::node::clients_folder;
use crate::support::{API, Deployment, RunningMint, SERVICE};

/// What has to be so for each answer.
const CHECKS: &str = "not_a_server_error,status_code_conformance,content_type_conformance,\
                      response_headers_conformance,response_schema_conformance,unsupported_method";

/// Requests that are made up for each endpoint, besides those at the edges of its schema; MINTKEEP_SCHEMA_EXAMPLES says
/// otherwise.
const EXAMPLES: &str = "150";

/// Sends what it makes up, as `user` where there is one; the methods, paths and statuses that it saw.
#[track_caller]
fn run(deployment: &Deployment, mint: &RunningMint, user: Option<&str>) -> BTreeSet<(String, String, u64)> {
    let program = clients_folder().join(".venv/bin/schemathesis");
    assert!(program.is_file(), "run scripts/install-clients first");
    let report = deployment.path("schemathesis.har");
    let mut command = Command::new(program);
    command.current_dir(deployment.path("."));
    command.args(["run", &format!("http://{}/openapi.json", mint.address()), "--checks", CHECKS]);
    command.args(["--max-examples", &std::env::var("MINTKEEP_SCHEMA_EXAMPLES").unwrap_or(EXAMPLES.to_owned())]);
    // The same each time, and nothing is kept for the next.
    command.args(["--generation-deterministic", "--no-color"]);
    command.args(["--report", "har", "--report-har-path"]).arg(&report);
    if let Some(user) = user {
        command.args(["--auth", &format!("{user}:{}", deployment.secret)]);
    }
    let output = command.output().expect("it starts");
    let said = [output.stdout, output.stderr].concat();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&said));
    let report: Value = serde_json::from_slice(&fs::read(report).unwrap()).unwrap();
    let entries = report["log"]["entries"].as_array().unwrap();
    let seen = entries.iter().map(|entry| {
        let text = |pointer: &str| entry.pointer(pointer).and_then(Value::as_str).unwrap();
        let path = text("/request/url").split('/').skip(3).collect::<Vec<_>>().join("/");
        let path = path.split('?').next().unwrap().to_owned();
        (text("/request/method").to_owned(), path, entry["response"]["status"].as_u64().unwrap())
    });
    seen.collect()
}

#[test]
fn schemathesis_finds_no_answer_that_is_not_described() {
    let deployment = Deployment::new();
    deployment.add_resource_server("https://api.example.com");
    deployment.allow_failed_attempts();
    let mint = deployment.serve();
    let mut seen = BTreeSet::new();
    for user in [None, Some(SERVICE), Some(API)] {
        seen.extend(run(&deployment, &mint, user));
    }
    // It is worth nothing where it was refused everywhere.
    for (path, statuses) in [
        ("oauth/token", &[200, 400, 401][..]),
        ("oauth/revoke", &[200, 400, 401]),
        ("oauth/introspect", &[200, 400, 401]),
        ("oauth/par", &[400, 401]),
        ("oauth/authorize", &[400]),
    ] {
        for status in statuses {
            assert!(seen.contains(&("POST".to_owned(), path.to_owned(), *status)), "{status} at {path}: {seen:?}");
        }
        assert!(seen.contains(&("DELETE".to_owned(), path.to_owned(), 405)), "{seen:?}");
    }
    assert!(seen.contains(&("GET".to_owned(), ".well-known/jwks.json".to_owned(), 200)), "{seen:?}");
}
