//! A development mint: `mintkeep dev`, its output and its record.

use std::fs::{self, File};
use std::io::{BufRead as _, BufReader, Read as _, Seek as _};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use nix::sys::signal::Signal;
use serde_json::Value;

use super::PROGRAM;
use super::process::{signal, succeed};

/// A running `mintkeep dev`.
pub struct Dev {
    pub process: Child,
    printed: Vec<String>,
    /// `dev.json`.
    pub record: Value,
    log: File,
}

impl Dev {
    pub fn start(state: &Path) -> Self {
        Self::start_with(state, &["--listen", "127.0.0.1:0"])
    }

    pub fn start_with(state: &Path, words: &[&str]) -> Self {
        let log = tempfile::tempfile().unwrap();
        let mut command = Command::new(PROGRAM);
        command.args(["dev", "--state"]).arg(state).args(words);
        command.stdout(Stdio::piped()).stderr(log.try_clone().unwrap());
        let mut process = command.spawn().unwrap();
        let mut printed = Vec::new();
        for line in BufReader::new(process.stdout.take().unwrap()).lines() {
            printed.push(line.unwrap());
            if printed.last().unwrap().starts_with("mintkeep is ready") {
                break;
            }
        }
        let record = serde_json::from_str(&fs::read_to_string(state.join("dev.json")).unwrap()).unwrap();
        Self { process, printed, record, log }
    }

    pub fn text(&self, name: &str) -> String {
        self.record[name].as_str().unwrap().to_owned()
    }

    /// All that it printed.
    pub fn printed(&self) -> String {
        self.printed.join("\n")
    }

    /// The commands that it printed, each in one text.
    pub fn commands(&self) -> Vec<String> {
        let text = self.printed().replace("\\\n", " ");
        text.lines().map(str::trim).filter(|line| line.starts_with("curl ")).map(str::to_owned).collect()
    }

    /// The one about the published keys.
    pub fn jwks_command(&self) -> String {
        self.commands().pop().unwrap()
    }

    /// Ends it, and gives its log.
    pub fn interrupt(mut self) -> String {
        signal(self.process.id(), Signal::SIGINT);
        assert!(self.process.wait().unwrap().success());
        let mut text = String::new();
        self.log.rewind().unwrap();
        self.log.read_to_string(&mut text).unwrap();
        text
    }
}

/// The JSON that `command`, which runs curl, gets.
#[track_caller]
pub fn shell(command: &str) -> Value {
    let output = succeed(Command::new("sh").args(["-c", &format!("{command} --silent --show-error --fail-with-body")]));
    serde_json::from_slice(&output.stdout).unwrap()
}

#[track_caller]
pub fn access_token(answer: &Value) -> String {
    answer["access_token"].as_str().unwrap().to_owned()
}
