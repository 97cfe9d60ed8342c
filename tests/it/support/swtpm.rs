//! A TPM in software of one's own.

use std::io::{BufRead as _, BufReader};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use mintkeep::entropy::{Entropy, SystemEntropy};

/// A running swtpm, ended with its value.
pub struct Swtpm {
    script: Child,
    port: u16,
}

impl Swtpm {
    /// Starts one with its state in `folder`.
    pub fn start(folder: &Path) -> Self {
        // Somebody else may take a port between its choice and its use.
        (0..20).find_map(|_| Self::try_start(folder, free_ports()?)).expect("swtpm is installed and finds two ports")
    }

    fn try_start(folder: &Path, port: u16) -> Option<Self> {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("swtpm/run");
        let mut command = Command::new(script);
        command.arg(folder).arg(port.to_string()).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut script = command.spawn().expect("the script starts");
        let mut said = String::new();
        let stdout = script.stdout.take().expect("it is piped");
        BufReader::new(stdout).read_line(&mut said).expect("it says something or ends");
        if said == "ready\n" {
            return Some(Self { script, port });
        }
        let _ = script.wait();
        None
    }

    /// How libtss2 reaches it.
    pub fn tcti(&self) -> String {
        format!("swtpm:host=127.0.0.1,port={}", self.port)
    }
}

impl Drop for Swtpm {
    fn drop(&mut self) {
        drop(self.script.stdin.take());
        let _ = self.script.wait();
    }
}

/// The first of two ports in a row that are free: not among those that the system gives to outgoing connections, all of
/// which may be taken for a minute after many of these.
pub fn free_ports() -> Option<u16> {
    let entropy: &dyn Entropy = &SystemEntropy::new();
    let port = 20_000 + u16::from_be_bytes(entropy.bytes()) % 6_000 * 2;
    let [first, second] = [port, port + 1].map(|port| TcpListener::bind(("127.0.0.1", port)));
    (first.is_ok() && second.is_ok()).then_some(port)
}
