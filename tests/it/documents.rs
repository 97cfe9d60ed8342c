//! What the documents say is so.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::support::PROGRAM;

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
