//! A PIN that is asked for at the terminal.

use std::io::{Read as _, Write as _};
use std::process::{Child, ChildStdin, Command, Stdio};

use nix::sys::signal::Signal;
use nix::unistd::{Uid, User};
use toml_edit::value;

use crate::support::process::{child_of, one_line_of_error, signal};
use crate::support::{Deployment, PROGRAM};

/// A command at a terminal of its own, which util-linux's `script` gives it.
struct AtTerminal {
    child: Child,
    keyboard: ChildStdin,
    screen: String,
}

impl AtTerminal {
    fn start(deployment: &Deployment, words: &str) -> Self {
        let line = format!("{PROGRAM} {words} --config {}", deployment.config_path().display());
        let mut command = Command::new("script");
        command.args(["--quiet", "--return", "--command", &line, "/dev/null"]).current_dir(deployment.path("."));
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let keyboard = child.stdin.take().unwrap();
        Self { child, keyboard, screen: String::new() }
    }

    /// Reads the screen until `text` is on it.
    fn wait_for(&mut self, text: &str) {
        let mut screen = self.child.stdout.take().unwrap();
        while !self.screen.contains(text) {
            let mut chunk = [0; 1024];
            let length = screen.read(&mut chunk).unwrap();
            assert_ne!(length, 0, "{text:?} did not come: {}", self.screen);
            self.screen.push_str(&String::from_utf8_lossy(&chunk[..length]));
        }
        self.child.stdout = Some(screen);
    }

    fn type_in(&mut self, text: &str) {
        self.keyboard.write_all(text.as_bytes()).unwrap();
    }

    /// The exit code, and all that was on the screen.
    fn end(mut self) -> (i32, String) {
        self.child.stdout.take().unwrap().read_to_string(&mut self.screen).unwrap();
        (self.child.wait().unwrap().code().unwrap(), self.screen)
    }
}

fn asking(deployment: &Deployment) {
    deployment.edit(|config| config["hardware"]["softhsm"]["pin"] = value("prompt"));
}

#[test]
fn it_is_asked_for_once_and_not_shown() {
    let deployment = Deployment::without_keys();
    asking(&deployment);
    for words in ["keys init", "keys list"] {
        let mut command = AtTerminal::start(&deployment, words);
        command.wait_for("PIN: ");
        command.type_in(&format!("{}\n", deployment.pin()));
        let (code, screen) = command.end();
        assert_eq!(code, 0, "{screen}");
        assert_eq!(screen.matches("PIN: ").count(), 1, "{screen}");
        assert!(screen.contains("mintkeep-sealing"), "{screen}");
        assert!(!screen.contains(&deployment.pin()), "{screen}");
    }
}

#[test]
fn an_answer_that_is_empty_or_interrupted_is_no_try() {
    let deployment = Deployment::new();
    asking(&deployment);
    for (answer, reason) in [("\n", "it is empty"), ("12\u{3}", "it was interrupted")] {
        let mut command = AtTerminal::start(&deployment, "keys list");
        command.wait_for("PIN: ");
        command.type_in(answer);
        let (code, screen) = command.end();
        assert_eq!(code, 8, "{screen}");
        assert!(screen.contains(reason) && screen.contains("the answer at the terminal"), "{screen}");
        assert!(!screen.contains("12\u{3}"), "{screen}");
    }
}

#[test]
fn without_a_terminal_it_says_so() {
    let deployment = Deployment::new();
    asking(&deployment);
    let mut command = Command::new("setsid");
    command.args(["--wait", PROGRAM, "keys", "list", "--config"]).arg(deployment.config_path());
    let error = one_line_of_error(&command.current_dir(deployment.path(".")).output().unwrap(), 8);
    assert!(error.contains("there is no terminal to ask at"), "{error}");
}

#[test]
fn a_keeper_that_the_mint_starts_cannot_ask_and_one_by_itself_does() {
    let deployment = Deployment::new();
    let pin = deployment.pin();
    asking(&deployment);
    let error = one_line_of_error(&deployment.run(&["serve"]), 3);
    assert!(error.contains("a keeper that the mint starts cannot ask"), "{error}");
    let me = User::from_uid(Uid::effective()).unwrap().unwrap().name;
    deployment.edit(|config| {
        config["keeper"]["socket"] = value("keeper.sock");
        config["keeper"]["user"] = value(me.as_str());
        config["keeper"]["mint_user"] = value(me.as_str());
    });
    let mut keeper = AtTerminal::start(&deployment, "keeper");
    keeper.wait_for("PIN: ");
    keeper.type_in(&format!("{pin}\n"));
    let mint = deployment.serve();
    mint.client_credentials().text("access_token");
    assert!(mint.terminate().success());
    signal(child_of(keeper.child.id()).unwrap(), Signal::SIGTERM);
    let (_, screen) = keeper.end();
    assert!(!screen.contains(&pin), "{screen}");
}
