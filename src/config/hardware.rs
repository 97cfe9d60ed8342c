//! `[hardware.NAME]`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::values::{SecretTable, VariableName, VariableValue, from_folder};
use crate::hardware::Provenance;
use crate::hardware::pkcs11::{Pkcs11Settings, TokenName};

/// A device and how to use it.
#[derive(Clone, Debug)]
pub struct Hardware {
    /// Where it is, and its keys.
    pub device: Pkcs11Settings,
    /// How many sessions, each on a thread of its own.
    pub sessions: usize,
    /// Environment variables that the module reads, set for the keeper only.
    pub environment: BTreeMap<String, String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct HardwareTable {
    // Read for its own sake: it says which of the settings below there are.
    #[serde(rename = "kind")]
    _kind: Kind,
    module: PathBuf,
    token: TokenTable,
    pin: SecretTable,
    #[serde(default = "default_sessions")]
    sessions: std::num::NonZeroU8,
    #[serde(default)]
    allow_imported: bool,
    #[serde(default = "default_signing_key")]
    signing_key: String,
    #[serde(default = "default_sealing_key")]
    sealing_key: String,
    #[serde(default)]
    environment: BTreeMap<VariableName, VariableValue>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Kind {
    Pkcs11,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
enum TokenTable {
    Label(String),
    Serial(String),
}

impl HardwareTable {
    pub(super) fn into_hardware(self, name: String, folder: &Path, state: PathBuf) -> Hardware {
        let token = match self.token {
            TokenTable::Label(label) => TokenName::Label(label),
            TokenTable::Serial(serial) => TokenName::Serial(serial),
        };
        let provenance = if self.allow_imported { Provenance::ImportedAllowed } else { Provenance::GeneratedInDevice };
        let device = Pkcs11Settings {
            name,
            module: from_folder(folder, self.module),
            token,
            pin: self.pin.source(folder),
            state,
            signing_label: self.signing_key,
            sealing_label: self.sealing_key,
            provenance,
        };
        Hardware {
            device,
            sessions: self.sessions.get().into(),
            environment: self.environment.into_iter().map(|(name, value)| (name.0, value.0)).collect(),
        }
    }
}

/// One more than a small machine has processors: SoftHSM2 computes in the keeper's own threads, and three
/// of them were the fastest on two processors (`make bench`).
fn default_sessions() -> std::num::NonZeroU8 {
    std::num::NonZeroU8::new(3).expect("three is not zero")
}

fn default_signing_key() -> String {
    "mintkeep-signing".to_owned()
}

fn default_sealing_key() -> String {
    "mintkeep-sealing".to_owned()
}
