//! A TPM in software that runs as long as the development mint does.

use std::io::{BufRead as _, BufReader, Read as _};
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use crate::app::{Failure, Kind};
use crate::entropy::{Entropy, SystemEntropy};

/// What runs it, and ends it when the standard input that we hold is closed: also where we are killed.
const RUN: &str = include_str!("../../../swtpm/run");

/// How often two ports are looked for: somebody else may take one between its choice and its use.
const ATTEMPTS: usize = 10;

/// A running swtpm.
pub(super) struct Swtpm {
    script: Child,
    port: u16,
}

impl Swtpm {
    /// Starts one whose state is in `folder`.
    pub(super) fn start(folder: &Path) -> Result<Self, Failure> {
        let mut said = String::new();
        for port in (0..ATTEMPTS).filter_map(|_| free_ports()) {
            match Self::start_at(folder, port)? {
                Ok(running) => return Ok(running),
                Err(reason) => said = reason,
            }
        }
        Err(Failure::new(Kind::Hardware, format!("the TPM in software does not start: {}", said.trim())))
    }

    /// How libtss2 reaches it.
    pub(super) fn tcti(&self) -> String {
        format!("swtpm:host={},port={}", Ipv4Addr::LOCALHOST, self.port)
    }

    /// The inner error is what the script said.
    fn start_at(folder: &Path, port: u16) -> Result<Result<Self, String>, Failure> {
        let failed = Failure::while_doing("cannot start the TPM in software");
        let mut command = Command::new("sh");
        command.args(["-c", RUN, "run"]).arg(folder).arg(port.to_string());
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        // A group of its own: Ctrl-C is for the mint, whose keeper still needs the TPM then.
        let mut script = command.process_group(0).spawn().map_err(failed)?;
        let mut said = String::new();
        if let Some(stdout) = script.stdout.take() {
            let _ = BufReader::new(stdout).read_line(&mut said);
        }
        if said == "ready\n" {
            return Ok(Ok(Self { script, port }));
        }
        if let Some(mut stderr) = script.stderr.take() {
            let _ = stderr.read_to_string(&mut said);
        }
        let _ = script.wait();
        Ok(Err(said))
    }
}

impl Drop for Swtpm {
    fn drop(&mut self) {
        drop(self.script.stdin.take());
        let _ = self.script.wait();
    }
}

/// The first of two ports in a row that are free: one for commands, one for control. Not among those that the system
/// gives to outgoing connections, all of which may be taken for a minute after many of these.
fn free_ports() -> Option<u16> {
    let random: &dyn Entropy = &SystemEntropy::new();
    let port = 20_000 + u16::from_be_bytes(random.bytes()) % 6_000 * 2;
    let [first, second] = [port, port + 1].map(|port| TcpListener::bind((Ipv4Addr::LOCALHOST, port)));
    (first.is_ok() && second.is_ok()).then_some(port)
}
