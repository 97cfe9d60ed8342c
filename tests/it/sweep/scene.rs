//! A deployment on which one case after the other is played.

use std::time::Duration;

use nix::sys::signal::Signal;
use serde_json::Value;
use toml_edit::value;

use super::{Case, Stage};
use crate::support::faulty::FaultyModule;
use crate::support::jose::verified;
use crate::support::process::{child_of, one_line_of_error, signal};
use crate::support::{Answer, Deployment, RunningMint};

/// Within this many questions, 100 ms apart, everything is well again after a single fault.
const TRIES: usize = 150;

pub struct Scene {
    deployment: Deployment,
    faulty: FaultyModule,
    mint: Option<RunningMint>,
    refresh_token: String,
    rotations: u32,
}

/// The functions that each stage calls, in order.
pub struct Calls {
    pub start: Vec<String>,
    pub exchange: Vec<String>,
    pub rotation: Vec<String>,
}

impl Scene {
    pub fn new() -> Self {
        let deployment = Deployment::new();
        deployment.allow_failed_attempts();
        deployment.edit(|config| {
            let keeper = &mut config["keeper"];
            keeper["request_timeout"] = value("1s");
            keeper["start_timeout"] = value("3s");
            keeper["hang_timeout"] = value("1s");
            config["hardware"]["softhsm"]["sessions"] = value(2);
        });
        let faulty = FaultyModule::before(&deployment);
        let refresh_token = deployment.grant();
        Self { deployment, faulty, mint: None, refresh_token, rotations: 0 }
    }

    pub fn calls(mut self) -> Calls {
        self.faulty.script("");
        self.running();
        let start = self.faulty.calls();
        self.faulty.script("");
        self.exchange();
        let exchange = self.faulty.calls();
        self.faulty.script("");
        self.rotation();
        Calls { start, exchange, rotation: self.faulty.calls() }
    }

    /// Plays `case`; panics with the rule where one is violated.
    pub fn play(&mut self, case: &Case) {
        match case.stage {
            Stage::Start => self.mint = None,
            Stage::Restart | Stage::Exchange | Stage::Rotation => drop(self.running()),
        }
        self.faulty.script(&format!("{} {} {}", case.function, case.number, case.fault));
        match case.stage {
            Stage::Start => self.start(case),
            Stage::Restart => self.restart(case),
            Stage::Exchange => self.exchange(),
            Stage::Rotation => self.rotation(),
        }
        self.exchange();
        // Where it took another number of calls this time, such a call was not made.
        let is_missed = !self.faulty.has_happened() && case.number > 1;
        assert!(is_missed || self.faulty.has_happened(), "the fault did not happen");
        let log = self.mint.as_ref().map_or_else(String::new, RunningMint::log);
        assert!(!log.contains("panicked"), "a panic: {log}");
        if case.stage == Stage::Rotation {
            // Whatever did not happen by now is not for what follows.
            self.faulty.script("");
            self.give_up_next_keys();
        }
    }

    fn running(&mut self) -> &RunningMint {
        let deployment = &self.deployment;
        self.mint.get_or_insert_with(|| restarted(deployment))
    }

    /// A mint that starts into the fault: it works, or says in one line why not, and the next one works.
    fn start(&mut self, case: &Case) {
        match self.deployment.try_serve() {
            Ok(mint) => self.mint = Some(mint),
            Err((status, log)) => {
                let lines: Vec<&str> = log.lines().filter(|line| !line.starts_with('{')).collect();
                assert!(matches!(lines[..], [line] if line.starts_with("mintkeep: ")), "not one line: {log}");
                let is_login = case.function == "C_Login" && case.fault.may_cost_a_try();
                assert_eq!(status.code(), Some(if is_login { 8 } else { 4 }), "{log}");
                if is_login {
                    self.assert_last_login();
                    self.vouch();
                }
            }
        }
    }

    /// A keeper that starts into the fault under a running mint: the mint brings one back, unless the PIN is in
    /// question.
    fn restart(&mut self, case: &Case) {
        let mint = self.mint.as_ref().expect("it runs");
        signal(mint.keeper_pid(), Signal::SIGKILL);
        if case.function != "C_Login" || !case.fault.may_cost_a_try() {
            return;
        }
        mint.wait_for("the keeper refused to start and is not tried again");
        assert_answer(&mint.client_credentials(), mint);
        self.assert_last_login();
        self.mint = None;
        self.vouch();
    }

    fn assert_last_login(&self) {
        assert_eq!(self.faulty.count("C_Login"), 1, "the PIN was tried again: {:?}", self.faulty.log());
    }

    /// What the operator does after a login that may have cost a try.
    fn vouch(&self) {
        let listed = self.deployment.run(&["keys", "list", "--pin-corrected"]);
        assert!(listed.status.success(), "{}", String::from_utf8_lossy(&listed.stderr));
    }

    /// The next keys, asked for until they are published: nothing but that the device did not do it comes before it.
    fn rotation(&mut self) {
        self.running();
        let mut refusal = String::new();
        for _ in 0..TRIES {
            let output = self.deployment.run(&["keys", "rotate"]);
            if output.status.success() {
                return;
            }
            refusal = one_line_of_error(&output, 1);
            std::thread::sleep(Duration::from_millis(100));
        }
        panic!("{refusal}: {}", self.running().log());
    }

    /// The next keys are given up again, so that the token is not full one day; from time to time also those that a fault
    /// left in the device alone.
    fn give_up_next_keys(&mut self) {
        let states = || self.deployment.run_json(&["keys", "states"])["keys"].as_array().expect("a list").clone();
        let kid = |key: &Value| key["kid"].as_str().expect("a kid").to_owned();
        for key in states().iter().filter(|key| key["state"] == "pending" || key["state"] == "published") {
            self.deployment.run_json(&["keys", "remove", &kid(key)]);
            // Where it is there: a key whose device failed may have been taken back by it.
            self.deployment.run(&["keys", "destroy", &kid(key)]);
        }
        self.rotations += 1;
        if self.rotations.is_multiple_of(8) {
            let needed: Vec<String> = states().iter().filter(|key| key["state"] == "active").map(kid).collect();
            let there = self.deployment.run_json(&["keys", "list"])["keys"].as_array().expect("a list").clone();
            for key in there.iter().map(kid).filter(|key| !needed.contains(key)) {
                self.deployment.run(&["keys", "destroy", &key]);
            }
        }
    }

    /// An exchange, asked for until there is one: nothing but 200 and 503 comes before it.
    fn exchange(&mut self) {
        let token = self.refresh_token.clone();
        for _ in 0..TRIES {
            let mint = self.running();
            let answer = mint.refresh(&token);
            assert_answer(&answer, mint);
            if answer.status == 200 {
                self.refresh_token = answer.text("refresh_token");
                return;
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        let mint = self.running();
        panic!("it does not come back; keeper {:?}: {}", child_of(mint.pid()), mint.log());
    }
}

/// As a service manager starts a mint: again, unless it said that this cannot help.
fn restarted(deployment: &Deployment) -> RunningMint {
    for _ in 0..TRIES {
        match deployment.try_serve() {
            Ok(mint) => return mint,
            Err((status, log)) => assert_eq!(status.code(), Some(4), "{log}"),
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    panic!("it does not start");
}

/// A token that verifies, or that there is none now.
#[track_caller]
fn assert_answer(answer: &Answer, mint: &RunningMint) {
    if answer.status == 200 {
        verified(mint, &answer.text("access_token"), "https://api.example.com");
    } else {
        answer.assert_error(503, "temporarily_unavailable");
    }
}
