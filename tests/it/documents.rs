//! What the documents say is so.

use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::Value;
use tempfile::TempDir;

use crate::support::PROGRAM;
use crate::support::dev::{Dev, access_token, shell};
use crate::support::jose::claims_of;
use crate::support::process::succeed;

fn read(name: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(name)).unwrap_or_else(|_| panic!("no {name}"))
}

#[test]
fn the_readme_tells_the_two_commands_and_ci_runs_one_of_them() {
    let readme = read("README.md");
    for command in ["\nmake run\n", "\nmake test\n"] {
        assert!(readme.contains(command), "{command:?}");
    }
    assert!(read(".ci/run").contains("\nmake test\n"));
}

/// Each `mintkeep …` line of the documents is a command line that the program understands.
#[test]
fn the_commands_in_the_documents_are_ones_that_exist() {
    let mut commands = 0;
    for document in ["README.md", "ARCHITECTURE.md", "softhsm/README.md"] {
        let text = read(document);
        for block in text.split("```sh\n").skip(1) {
            let block = block.split("```").next().unwrap().replace("\\\n", " ");
            for line in block.lines().map(|line| line.trim().trim_start_matches("sudo ")) {
                let Some(words) = line.strip_prefix("mintkeep ") else { continue };
                // Up to the first option; what follows a command is checked by asking it for help.
                let words: Vec<&str> = words.split_whitespace().collect();
                let subcommand: Vec<&str> = words.iter().copied().take_while(|word| !word.starts_with('-')).collect();
                let help = Command::new(PROGRAM).args(&subcommand).arg("--help").output().unwrap();
                assert!(help.status.success(), "{document}: {line}");
                let help = String::from_utf8(help.stdout).unwrap();
                for option in words.iter().filter(|word| word.starts_with("--")) {
                    assert!(help.contains(option), "{document}: {option} in {line}");
                }
                commands += 1;
            }
        }
    }
    assert!(commands >= 6, "{commands} commands");
}

#[test]
fn the_exit_codes_are_documented() {
    let help = Command::new(PROGRAM).arg("--help").output().unwrap();
    let help = String::from_utf8(help.stdout).unwrap();
    let readme = read("README.md");
    let codes: Vec<&str> = help.split("Exit codes:\n").nth(1).unwrap().lines().map(str::trim).collect();
    assert!(codes.len() >= 8);
    for line in codes {
        let (code, meaning) = line.split_once("  ").unwrap();
        assert!(readme.contains(&format!("| {code} | {} |", meaning.trim())), "{code}: {meaning}");
    }
}

/// The job and the pod of the README, and their policies, with a platform that is made up in the place of theirs.
#[test]
fn the_job_and_the_pod_of_the_readme_get_a_token_by_its_policies() {
    let readme = read("README.md");
    let block = |after: &str, language: &str| {
        let text = readme.split(after).nth(1).unwrap_or_else(|| panic!("no {after}"));
        text.split(&format!("```{language}\n")).nth(1).unwrap().split("```").next().unwrap().to_owned()
    };
    let (job, pod) = (
        ["yaml", "toml"].map(|language| block("<!-- job -->", language)),
        ["sh", "toml"].map(|language| block("<!-- pod -->", language)),
    );
    let folder = TempDir::new().unwrap();
    let dev = Dev::start(folder.path());
    let (issuer, key) = (dev.text("issuer"), dev.text("trust_key_file"));
    dev.interrupt();
    let here = |text: &str| {
        let text = text.replace("https://mint.example.com", &issuer);
        text.replace("cluster.jwks.json", "trust-issuer.jwks.json")
            .replace("/run/identity", folder.path().to_str().unwrap())
    };
    let path = folder.path().join("mintkeep.toml");
    let github = "https://token.actions.githubusercontent.com";
    let platform = format!("[[trusted_issuer]]\nissuer = \"{github}\"\njwks_file = \"trust-issuer.jwks.json\"\n");
    let config = fs::read_to_string(&path).unwrap() + &here(&job[1]) + &here(&pod[1]) + &platform;
    fs::write(&path, config).unwrap();
    let dev = Dev::start_with(folder.path(), &[]);

    let token = |by: &str, claims: &[&str]| {
        let mut command = Command::new(PROGRAM);
        command.args(["trust", "token", "--key", &key, "--issuer", by, "--audience", &issuer]);
        let output = succeed(command.args(claims.iter().flat_map(|claim| ["--claim", claim])));
        String::from_utf8(output.stdout).unwrap().trim_end().to_owned()
    };
    let lines: Vec<&str> = job[0].lines().filter_map(|line| line.strip_prefix("      ")).collect();
    let script = here(&lines.join("\n"));
    // What GitHub answers, from a file.
    let token_file = folder.path().join("id-token.json");
    let id_token = token(github, &["repository_id=1296269", "ref=refs/heads/main", "sub=repo:octocat/hello"]);
    fs::write(&token_file, serde_json::json!({"count": 1, "value": id_token}).to_string()).unwrap();
    let mut shell_of_job = Command::new("bash");
    shell_of_job.args(["-euo", "pipefail", "-c", &script]);
    shell_of_job.env("ACTIONS_ID_TOKEN_REQUEST_URL", format!("file://{}?api-version=2", token_file.display()));
    succeed(shell_of_job.env("ACTIONS_ID_TOKEN_REQUEST_TOKEN", "secret").env("RUNNER_TEMP", folder.path()));
    let answer = fs::read_to_string(folder.path().join("token.json")).unwrap();
    let answer: Value = serde_json::from_str(&answer).unwrap();
    assert_eq!(claims_of(&access_token(&answer))["sub"], "repo:octocat/hello");

    let account = "/kubernetes.io/serviceaccount/uid=0c9f3a52-9a46-4b1c-8e35-8b1d3c8f5c01";
    let claims = ["/kubernetes.io/namespace=payments", account, "sub=system:serviceaccount:payments:ledger"];
    fs::write(folder.path().join("token"), token("https://kubernetes.default.svc.cluster.local", &claims)).unwrap();
    let answer = shell(here(&pod[0].replace("\\\n", "")).trim_end());
    assert_eq!(claims_of(&access_token(&answer))["sub"], "system:serviceaccount:payments:ledger");
    dev.interrupt();
}

/// Each threat names the tests that show the answer to it, and those tests exist.
#[test]
fn the_tests_that_the_threats_name_exist() {
    let threats = read("THREATS.md");
    let sources = all_sources();
    let mut named = 0;
    for name in threats.split('`').skip(1).step_by(2).filter_map(|code| code.strip_suffix("()")) {
        let function = name.rsplit("::").next().unwrap();
        assert!(sources.contains(&format!("fn {function}(")), "no test {name}");
        named += 1;
    }
    assert!(named >= 10, "{named} tests");
}

fn all_sources() -> String {
    fn collect(folder: &Path, text: &mut String) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                collect(&path, text);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                text.push_str(&fs::read_to_string(path).unwrap());
            }
        }
    }
    let mut text = String::new();
    for folder in ["src", "tests"] {
        collect(&Path::new(env!("CARGO_MANIFEST_DIR")).join(folder), &mut text);
    }
    text
}
