//! `[hardware.NAME]`: either a PKCS#11 token or a TPM, by `kind`. A setting of the other kind is a mistake.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use toml::Spanned;

use super::problem::Problem;
use super::values::{SecretTable, VariableName, VariableValue, from_folder};
use crate::hardware::Provenance;
use crate::hardware::pkcs11::{Pkcs11Settings, TokenName};
use crate::secret_source::SecretSource;

/// A device and how to use it.
#[derive(Clone, Debug)]
pub enum Hardware {
    /// `kind = "pkcs11"`.
    Pkcs11(Pkcs11Hardware),
}

/// A PKCS#11 token and how to use it.
#[derive(Clone, Debug)]
pub struct Pkcs11Hardware {
    /// Where it is, and its keys.
    pub device: Pkcs11Settings,
    /// How many sessions, each on a thread of its own.
    pub sessions: usize,
    /// Environment variables that the module reads, set for the keeper only.
    pub environment: BTreeMap<String, String>,
}

impl Hardware {
    /// How many sessions, each on a thread of its own.
    pub fn sessions(&self) -> usize {
        match self {
            Self::Pkcs11(token) => token.sessions,
        }
    }

    /// Environment variables that the driver reads, for the processes that load it.
    pub fn environment(&self) -> &BTreeMap<String, String> {
        match self {
            Self::Pkcs11(token) => &token.environment,
        }
    }

    /// Where the secret is that the device wants to hear: a token's PIN.
    pub fn secret(&self) -> &SecretSource {
        match self {
            Self::Pkcs11(token) => &token.device.pin,
        }
    }

    /// The labels of the signing and of the sealing key.
    pub fn labels(&self) -> (&str, &str) {
        match self {
            Self::Pkcs11(token) => (&token.device.signing_label, &token.device.sealing_label),
        }
    }
}

/// The settings as they are written: those of every kind, and those of one kind only.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct HardwareTable {
    kind: Spanned<Kind>,
    #[serde(default)]
    allow_imported: bool,
    #[serde(default = "default_signing_key")]
    signing_key: String,
    #[serde(default = "default_sealing_key")]
    sealing_key: String,
    module: Option<PathBuf>,
    token: Option<TokenTable>,
    pin: Option<SecretTable>,
    sessions: Option<std::num::NonZeroU8>,
    #[serde(default)]
    environment: BTreeMap<VariableName, VariableValue>,
}

#[derive(Clone, Copy, Debug, Deserialize)]
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
    pub(super) fn into_hardware(self, name: String, folder: &Path) -> Result<Hardware, Problem> {
        match self.kind.get_ref() {
            Kind::Pkcs11 => self.into_pkcs11(name, folder).map(Hardware::Pkcs11),
        }
    }

    fn into_pkcs11(self, name: String, folder: &Path) -> Result<Pkcs11Hardware, Problem> {
        let kind = self.kind.span();
        let token = match needed(self.token, "token", &kind)? {
            TokenTable::Label(label) => TokenName::Label(label),
            TokenTable::Serial(serial) => TokenName::Serial(serial),
        };
        let device = Pkcs11Settings {
            name,
            module: from_folder(folder, needed(self.module, "module", &kind)?),
            token,
            pin: needed(self.pin, "pin", &kind)?.source(folder),
            signing_label: self.signing_key,
            sealing_label: self.sealing_key,
            provenance: provenance(self.allow_imported),
        };
        Ok(Pkcs11Hardware {
            device,
            sessions: self.sessions.map_or(DEFAULT_SESSIONS, |sessions| sessions.get().into()),
            environment: self.environment.into_iter().map(|(name, value)| (name.0, value.0)).collect(),
        })
    }
}

/// One more than a small machine has processors: SoftHSM2 computes in the keeper's own threads, and three
/// of them were the fastest on two processors (`make bench`).
const DEFAULT_SESSIONS: usize = 3;

fn needed<Value>(setting: Option<Value>, name: &str, kind: &Range<usize>) -> Result<Value, Problem> {
    setting.ok_or_else(|| Problem::at(kind.clone(), format!("a device of this kind needs the setting `{name}`")))
}

fn provenance(allow_imported: bool) -> Provenance {
    if allow_imported { Provenance::ImportedAllowed } else { Provenance::GeneratedInDevice }
}

fn default_signing_key() -> String {
    "mintkeep-signing".to_owned()
}

fn default_sealing_key() -> String {
    "mintkeep-sealing".to_owned()
}
