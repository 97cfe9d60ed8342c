//! The mint under measurement: set up once by `mintkeep dev`, run by `mintkeep serve`.

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::Value;

use crate::support::swtpm::free_ports;

/// The resource server that introspects.
pub const API: &str = "bench-api";

/// The program.
pub const PROGRAM: &str = env!("CARGO_BIN_EXE_mintkeep");

/// A running mint with its keeper.
pub struct Mint {
    process: Child,
    state: PathBuf,
    address: String,
    keeper_pid: u32,
}

/// What is otherwise than in the mint of `mintkeep dev`.
#[derive(Default)]
pub struct Changes<'a> {
    /// `store.url`.
    pub url: Option<&'a str>,
    /// Tables of the configuration.
    pub tables: &'a str,
    /// Whether another mint runs beside it: then address, admin socket, store and file are its own.
    pub is_second: bool,
}

/// Processor time, of the mint and of the keeper.
#[derive(Clone, Copy)]
pub struct Cpu {
    pub mint: Duration,
    pub keeper: Duration,
}

impl Cpu {
    pub fn since(self, before: Self) -> Self {
        Self { mint: self.mint - before.mint, keeper: self.keeper - before.keeper }
    }
}

/// Resident memory in kilobytes: now, and at its peak.
#[derive(Clone, Copy)]
pub struct Memory {
    pub resident: u64,
    pub peak: u64,
}

/// Lets `mintkeep dev` make token or TPM, keys, store and configuration in `state`, and ends it again.
pub fn set_up(state: &Path, hardware: &str) {
    // Not one that an outgoing connection may have by the time that the next mint is started.
    let port = (0..20).find_map(|_| free_ports()).expect("two free ports");
    let listen = format!("127.0.0.1:{port}");
    let mut dev = Command::new(PROGRAM)
        .args(["dev", "--listen", &listen, "--hardware", hardware, "--state"])
        .arg(state)
        .stdout(Stdio::piped())
        .spawn()
        .expect("mintkeep starts");
    let output = BufReader::new(dev.stdout.take().expect("its output is piped"));
    let ready = output.lines().map_while(Result::ok).any(|line| line.starts_with("mintkeep is ready"));
    assert!(ready, "mintkeep dev did not become ready");
    terminate(&mut dev);
}

impl Mint {
    /// One with the store of `mintkeep dev`.
    pub fn start(state: &Path, verify: bool) -> Self {
        Self::start_on(state, verify, None)
    }

    /// One with the store at `url`, where there is one.
    pub fn start_on(state: &Path, verify: bool, url: Option<&str>) -> Self {
        Self::start_changed(state, verify, &Changes { url, ..Changes::default() })
    }

    /// One that is configured otherwise.
    pub fn start_changed(state: &Path, verify: bool, changes: &Changes<'_>) -> Self {
        let (path, address) = configure(state, verify, changes);
        let process = Command::new(PROGRAM).args(["serve", "--config"]).arg(&path).stderr(Stdio::null()).spawn();
        let process = process.expect("mintkeep starts");
        let mut mint = Self { process, state: state.to_owned(), address, keeper_pid: 0 };
        let connected = (0..200).any(|_| {
            std::thread::sleep(Duration::from_millis(25));
            std::net::TcpStream::connect(&mint.address).is_ok()
        });
        assert!(connected, "mintkeep serve did not listen");
        // It listens before its keeper is there: a first token says that it is.
        mint.keeper_pid = (0..200)
            .find_map(|_| {
                std::thread::sleep(Duration::from_millis(25));
                child_of(mint.process.id())
            })
            .expect("the mint starts a keeper");
        mint
    }

    pub fn address(&self) -> String {
        self.address.clone()
    }

    /// Its issuer identifier.
    pub fn issuer(&self) -> String {
        issuer(&self.state)
    }

    /// The secret of the confidential client.
    pub fn client_secret(&self) -> String {
        record(&self.state)["clients"][1]["client_secret"].as_str().expect("a string").to_owned()
    }

    /// Fresh refresh tokens of the workload client, each of a family of its own.
    pub fn grants(&self, count: usize) -> Vec<String> {
        let grant = |number| {
            let output = Command::new(PROGRAM)
                .args(["grant", "issue", "--json", "--client", "ci-cd-pipeline-runner", "--config"])
                .arg(self.state.join("bench.toml"))
                .arg(format!("--subject=bench-{number}"))
                .output()
                .expect("mintkeep starts");
            let grant: Value = serde_json::from_slice(&output.stdout).expect("a grant in JSON");
            grant["refresh_token"].as_str().expect("a string").to_owned()
        };
        (0..count).map(grant).collect()
    }

    pub fn cpu(&self) -> Cpu {
        Cpu { mint: processor_time(self.process.id()), keeper: processor_time(self.keeper_pid) }
    }

    pub fn memory(&self) -> Memory {
        let sum = |name| status(self.process.id(), name) + status(self.keeper_pid, name);
        Memory { resident: sum("VmRSS:"), peak: sum("VmHWM:") }
    }
}

impl Drop for Mint {
    fn drop(&mut self) {
        terminate(&mut self.process);
    }
}

/// Writes the configuration of a mint: its file, and the address that it names.
pub fn configure(state: &Path, verify: bool, changes: &Changes<'_>) -> (PathBuf, String) {
    let config = std::fs::read_to_string(state.join("mintkeep.toml")).expect("dev wrote it");
    let hash = config.split("secret_sha256 = \"").nth(1).expect("the service has a secret")[..64].to_owned();
    let mut config: toml_edit::DocumentMut = config.parse().expect("TOML");
    config["keeper"]["verify_signatures"] = toml_edit::value(verify);
    // All of the load comes from one source.
    config["limits"]["logins_per_source"] = toml_edit::value(i64::from(u32::MAX));
    if let Some(url) = changes.url {
        config["store"]["url"] = toml_edit::value(url);
    }
    let mut path = state.join("bench.toml");
    if changes.is_second {
        path = state.join("bench-second.toml");
        let free = std::net::TcpListener::bind("127.0.0.1:0").and_then(|free| free.local_addr());
        config["listen"]["public"] = toml_edit::value(free.expect("a free port").to_string());
        config["listen"]["admin"] = toml_edit::value("second.sock");
        config["store"]["url"] = toml_edit::value("sqlite:second.db");
    }
    let address = config["listen"]["public"].as_str().expect("an address").to_owned();
    // The resource server has the secret of the service.
    let text = format!(
        "{config}\n[[resource_server]]\nid = \"{API}\"\nauthentication = \"client_secret_post\"\nsecret_sha256 = \"{hash}\"\naudience = \"https://api.example.com\"\n{}",
        changes.tables
    );
    std::fs::write(&path, text).expect("the folder is writable");
    (path, address)
}

/// The issuer identifier of the mints in `state`.
pub fn issuer(state: &Path) -> String {
    record(state)["issuer"].as_str().expect("a string").to_owned()
}

/// What scripts need of the mints in `state`.
pub fn record(state: &Path) -> Value {
    let text = std::fs::read_to_string(state.join("dev.json")).expect("dev wrote it");
    serde_json::from_str(&text).expect("dev.json is JSON")
}

fn terminate(process: &mut Child) {
    let pid = nix::unistd::Pid::from_raw(process.id().try_into().expect("a process id"));
    let _ = nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM);
    let _ = process.wait();
}

fn child_of(parent: u32) -> Option<u32> {
    let children = std::fs::read_to_string(format!("/proc/{parent}/task/{parent}/children")).ok()?;
    let threads = std::fs::read_dir(format!("/proc/{parent}/task")).ok()?;
    let of_threads =
        threads.flatten().filter_map(|thread| std::fs::read_to_string(thread.path().join("children")).ok());
    of_threads.chain([children]).find_map(|pids| pids.split_whitespace().next()?.parse().ok())
}

/// User and system time, from fields 14 and 15 of `/proc/PID/stat`, in hundredths of a second.
fn processor_time(pid: u32) -> Duration {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).expect("the process runs");
    let after_name = stat.rsplit(") ").next().expect("the name is in brackets");
    let ticks: u64 = after_name.split(' ').skip(11).take(2).filter_map(|ticks| ticks.parse::<u64>().ok()).sum();
    Duration::from_millis(ticks * 10)
}

fn status(pid: u32, name: &str) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("the process runs");
    let line = status.lines().find(|line| line.starts_with(name)).expect("the line is there");
    line.split_whitespace().nth(1).and_then(|kilobytes| kilobytes.parse().ok()).expect("a number")
}
