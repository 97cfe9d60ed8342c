//! Several devices: more SoftHSM2 tokens beside the one of a deployment, each with a keeper of its own.

use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use mintkeep::clock::{Clock as _, SystemClock};
use mintkeep::config::Config;
use mintkeep::jose::claims::{ACCESS_TOKEN_TYPE, AccessTokenClaims};
use mintkeep::jose::jws::SigningInput;
use mintkeep::keeper::launch::{Launcher, Settings};
use mintkeep::keeper::policy::ACCESS_TOKEN_PROFILE;
use mintkeep::keeper::{KeeperError, Keepers};
use nix::sys::signal::Signal;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use toml_edit::{DocumentMut, value};

use super::process::{children_of, signal, succeed};
use super::{Deployment, PROGRAM, RunningMint, SERVICE};

/// The name of the device that every deployment has.
pub const FIRST: &str = "softhsm";

/// Adds a device, called `name`, with a token of its own and no keys.
pub fn add_device(deployment: &Deployment, name: &str) {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("softhsm/init-token");
    succeed(Command::new(script).arg(deployment.path(name)).arg("mintkeep"));
    configure(deployment, name);
}

/// Adds a device, called `name`, that has the keys of the first: its token is a copy.
pub fn add_clone(deployment: &Deployment, name: &str) {
    let (from, to) = (deployment.path("softhsm"), deployment.path(name));
    succeed(Command::new("cp").arg("-r").arg(&from).arg(&to));
    let text = std::fs::read_to_string(from.join("softhsm2.conf")).expect("the script left it");
    let text = text.replace(&from.display().to_string(), &to.display().to_string());
    std::fs::write(to.join("softhsm2.conf"), text).expect("a writable folder");
    configure(deployment, name);
}

fn configure(deployment: &Deployment, name: &str) {
    let softhsm = deployment.path(name).join("softhsm2.conf").display().to_string();
    deployment.edit(|config: &mut DocumentMut| {
        let mut device = config["hardware"][FIRST].clone();
        device["environment"]["SOFTHSM2_CONF"] = value(softhsm);
        device["pin"]["file"] = value(format!("{name}/pin"));
        config["hardware"][name] = device;
    });
}

/// Two devices, each with keys of its own; the other one is called `name`.
pub fn two_devices(name: &str) -> Deployment {
    let deployment = Deployment::without_keys();
    add_device(&deployment, name);
    succeed(&mut deployment.command(&["keys", "init"]));
    deployment
}

/// Two devices with the same keys; the other one is called `name`.
pub fn two_clones(name: &str) -> Deployment {
    let deployment = Deployment::new();
    add_clone(&deployment, name);
    deployment
}

/// The keeper of the device called `name` among the children of `parent`.
pub fn keeper_of(parent: u32, name: &str) -> u32 {
    let is_its = |pid: &u32| {
        let arguments = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        arguments.split(|byte| *byte == 0).any(|argument| argument == name.as_bytes())
    };
    children_of(parent).into_iter().find(is_its).unwrap_or_else(|| panic!("{name} has no keeper"))
}

/// Stops the process `pid`, and waits until all of its threads have.
pub fn stop(pid: u32) {
    signal(pid, Signal::SIGSTOP);
    let is_stopped = |task: std::fs::DirEntry| {
        std::fs::read_to_string(task.path().join("stat")).is_ok_and(|stat| stat.contains(") T "))
    };
    while !std::fs::read_dir(format!("/proc/{pid}/task")).expect("it is there").flatten().all(is_stopped) {
        std::thread::yield_now();
    }
}

/// What a mint says of one device in `/metrics`.
pub fn device_metric(mint: &RunningMint, metric: &str, device: &str) -> u64 {
    mint.metric(&format!("mintkeep_{metric}{{device=\"{device}\"}}"))
}

/// The keepers of a deployment, without the rest of a mint.
pub struct Fleet {
    pub keepers: Keepers,
    stop: watch::Sender<bool>,
    tasks: Vec<JoinHandle<()>>,
}

impl Fleet {
    /// Starts one keeper for each device.
    pub async fn start(deployment: &Deployment) -> Self {
        Self::start_within(deployment, Duration::from_secs(60)).await
    }

    /// The same, with a limit to each request.
    pub async fn start_within(deployment: &Deployment, request_limit: Duration) -> Self {
        let config = Config::load(&deployment.config_path()).expect("a good configuration");
        let settings = |hardware: &mintkeep::config::Hardware| {
            let mut arguments = vec!["keeper".into(), "--standard-input".into(), "--config".into()];
            arguments.extend([deployment.config_path().into(), "--device".into(), hardware.name().into()]);
            let settings = Settings {
                device: hardware.name().to_owned(),
                launcher: Launcher::Spawn { program: PROGRAM.into(), arguments, pin_worked: "--pin-worked".into() },
                sessions: hardware.sessions(),
                start_limit: Duration::from_secs(60),
                request_limit,
                max_in_flight: 256,
            };
            (hardware.place().standing, settings)
        };
        let (stop, _) = watch::channel(false);
        let devices = config.hardware.iter().map(settings).collect();
        let (keepers, tasks) = Keepers::start(devices, Arc::new(SystemClock), &stop).await.expect("they open");
        Self { keepers, stop, tasks }
    }

    /// The keys that sign, of all devices that have answered.
    pub fn signing_kids(&self) -> Vec<String> {
        let told = self.keepers.members().iter().filter_map(|member| member.keeper.public_keys());
        let mut kids: Vec<String> = told.flat_map(|told| told.keys.signing.clone()).map(|key| key.kid()).collect();
        kids.sort();
        kids.dedup();
        kids
    }

    /// Signs a token by any of `kids`; the key that did it.
    pub async fn sign(&self, kids: &[String]) -> Result<String, KeeperError> {
        let now = SystemClock.now();
        let claims = |kid: &str| {
            let claims = AccessTokenClaims {
                iss: "https://mint.example.com",
                sub: SERVICE,
                aud: &mintkeep::jose::claims::Audience::One("https://api.example.com".to_owned()),
                client_id: SERVICE,
                scope: "",
                iat: now,
                exp: now.plus(Duration::from_secs(1)),
                jti: "jti",
                sid: None,
                cnf: None,
                act: None,
                auth_time: None,
                acr: None,
                amr: &[],
            };
            SigningInput::new(ACCESS_TOKEN_TYPE, kid, &claims)
        };
        let mut passed_over = Vec::new();
        loop {
            let kid = self.keepers.choose(kids, &passed_over).expect("a key that was not tried");
            match self.keepers.sign(kid, SERVICE, ACCESS_TOKEN_PROFILE, &claims(kid)).await {
                Ok(_) => return Ok(kid.to_owned()),
                Err(error) if error.is_device_fault() && passed_over.len() + 1 < kids.len() => passed_over.push(kid),
                Err(error) => return Err(error),
            }
        }
    }

    /// Signatures that were asked of each device.
    pub fn asked(&self) -> Vec<u64> {
        self.keepers.members().iter().map(|member| member.keeper.counters().sign.value()).collect()
    }

    /// The process of the keeper of the device called `name`.
    pub fn keeper_pid(&self, name: &str) -> u32 {
        let member = self.keepers.members().iter().find(|member| member.name == name).expect("there is one");
        member.keeper.process_id().expect("it runs")
    }

    /// Ends all keepers.
    pub async fn end(self) {
        self.stop.send_replace(true);
        for task in self.tasks {
            task.await.expect("no panic");
        }
    }
}
