//! Watching the PKCS#11 calls of a keeper, through OpenSC's `pkcs11-spy`.

use std::fs;
use std::path::{Path, PathBuf};

use toml_edit::value;

use super::{Deployment, SOFTHSM2};

/// The log of the calls that a deployment's keepers make.
pub struct Spy {
    log: PathBuf,
}

impl Spy {
    /// Puts the spy between `deployment` and its SoftHSM2.
    pub fn on(deployment: &Deployment) -> Self {
        let places = ["/usr/lib/x86_64-linux-gnu/pkcs11-spy.so", "/usr/lib/aarch64-linux-gnu/pkcs11-spy.so"];
        let module = places.iter().find(|place| Path::new(place).exists()).expect("opensc-pkcs11 is installed");
        let log = deployment.path("pkcs11-calls.log");
        let log_text = log.display().to_string();
        deployment.edit(|config| {
            let hardware = &mut config["hardware"]["softhsm"];
            hardware["module"] = value(*module);
            hardware["environment"]["PKCS11SPY"] = value(SOFTHSM2);
            hardware["environment"]["PKCS11SPY_OUTPUT"] = value(log_text);
        });
        Self { log }
    }

    /// The names of all calls until now, in order.
    pub fn calls(&self) -> Vec<String> {
        let bytes = fs::read(&self.log).unwrap_or_default();
        let text = String::from_utf8_lossy(&bytes);
        // A call is announced by a line such as "12: C_Sign".
        let announced = text.lines().filter_map(|line| {
            let (number, name) = line.split_once(": ")?;
            (number.parse::<u64>().is_ok() && name.starts_with("C_")).then(|| name.trim().to_owned())
        });
        announced.collect()
    }

    /// How often `function` was called.
    pub fn count(&self, function: &str) -> usize {
        self.calls().iter().filter(|call| *call == function).count()
    }
}
