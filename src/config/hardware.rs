//! `[hardware.NAME]`: either a PKCS#11 token or a TPM, by `kind`. A setting of the other kind is a mistake.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use toml::Spanned;

use super::KeeperPlacement;
use super::problem::Problem;
use super::values::{SecretTable, VariableName, VariableValue, from_folder};
use crate::hardware::pkcs11::{Pkcs11Settings, TokenName};
#[cfg(feature = "tpm")]
use crate::hardware::tpm::{HandleRange, Protection, TpmSettings};
use crate::hardware::{ProfileKeys, Provenance, Role};
use crate::keeper::Standing;
use crate::secret_source::SecretSource;

/// A device and how to use it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Hardware {
    /// `kind = "pkcs11"`.
    Pkcs11(Pkcs11Hardware),
    /// `kind = "tpm"`.
    #[cfg(feature = "tpm")]
    Tpm(TpmHardware),
}

/// A PKCS#11 token and how to use it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Pkcs11Hardware {
    /// Where it is, and its keys.
    pub device: Pkcs11Settings,
    /// How many sessions, each on a thread of its own.
    pub sessions: usize,
    /// Environment variables that the module reads, set for the keeper only.
    pub environment: BTreeMap<String, String>,
    /// How the mint uses it.
    pub place: DevicePlace,
}

/// A TPM and how to use it.
#[cfg(feature = "tpm")]
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct TpmHardware {
    /// Where it is, and its keys.
    pub device: TpmSettings,
    /// Environment variables that libtss2 reads.
    pub environment: BTreeMap<String, String>,
    /// How the mint uses it.
    pub place: DevicePlace,
}

/// The place of a device among those of a mint.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct DevicePlace {
    /// When it is asked.
    pub standing: Standing,
    /// Who starts its keeper.
    pub keeper: KeeperPlacement,
}

impl Hardware {
    /// Its name in the configuration.
    pub fn name(&self) -> &str {
        match self {
            Self::Pkcs11(token) => &token.device.name,
            #[cfg(feature = "tpm")]
            Self::Tpm(tpm) => &tpm.device.name,
        }
    }

    /// How many sessions, each on a thread of its own.
    pub fn sessions(&self) -> usize {
        match self {
            Self::Pkcs11(token) => token.sessions,
            // It does one thing at a time.
            #[cfg(feature = "tpm")]
            Self::Tpm(_) => 1,
        }
    }

    /// Environment variables that the driver reads, for the processes that load it.
    pub fn environment(&self) -> &BTreeMap<String, String> {
        match self {
            Self::Pkcs11(token) => &token.environment,
            #[cfg(feature = "tpm")]
            Self::Tpm(tpm) => &tpm.environment,
        }
    }

    /// Where the secret is that the device wants to hear: a token's PIN, the authorization
    /// value of a TPM's keys.
    pub fn secret(&self) -> &SecretSource {
        match self {
            Self::Pkcs11(token) => &token.device.pin,
            #[cfg(feature = "tpm")]
            Self::Tpm(tpm) => &tpm.device.authorization,
        }
    }

    /// Its place among the devices of the mint.
    pub fn place(&self) -> &DevicePlace {
        match self {
            Self::Pkcs11(token) => &token.place,
            #[cfg(feature = "tpm")]
            Self::Tpm(tpm) => &tpm.place,
        }
    }

    /// The same device without the keys of any signing profile.
    #[must_use]
    pub(super) fn without_profiles(&self) -> Self {
        let mut hardware = self.clone();
        match &mut hardware {
            Self::Pkcs11(token) => token.device.profiles.clear(),
            #[cfg(feature = "tpm")]
            Self::Tpm(tpm) => tpm.device.profiles.clear(),
        }
        hardware
    }

    /// What the keys of `role` are labelled, or what their files are called.
    pub fn label(&self, role: Role) -> String {
        match self {
            Self::Pkcs11(token) => token.device.label(role),
            #[cfg(feature = "tpm")]
            Self::Tpm(tpm) => tpm.device.label(role),
        }
    }
}

/// What a device needs of the rest of the configuration.
#[derive(Clone, Copy)]
pub(super) struct Surroundings<'a> {
    /// Where relative paths begin.
    pub(super) folder: &'a Path,
    /// The folder that remembers PINs that did not work.
    pub(super) state: &'a Path,
    /// The signing profiles whose keys it has.
    pub(super) profiles: &'a [ProfileKeys],
}

/// The settings as they are written: those of every kind, and those of one kind only.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct HardwareTable {
    kind: Spanned<Kind>,
    #[serde(default)]
    role: Standing,
    socket: Option<Spanned<PathBuf>>,
    #[serde(default)]
    allow_imported: bool,
    #[serde(default = "default_signing_key")]
    signing_key: String,
    #[serde(default = "default_sealing_key")]
    sealing_key: String,
    #[serde(default = "default_delegated_key")]
    delegated_key: String,
    #[serde(default)]
    environment: BTreeMap<VariableName, VariableValue>,
    module: Option<Spanned<PathBuf>>,
    token: Option<Spanned<TokenTable>>,
    pin: Option<Spanned<SecretTable>>,
    sessions: Option<Spanned<std::num::NonZeroU8>>,
    tcti: Option<Spanned<String>>,
    keys: Option<Spanned<PathBuf>>,
    auth: Option<Spanned<SecretTable>>,
    session: Option<Spanned<SessionTable>>,
    persistent_handles: Option<Spanned<String>>,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Kind {
    Pkcs11,
    Tpm,
}

/// How the authorization value of a TPM's keys is proven.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
enum SessionTable {
    Plain,
    Encrypted,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
enum TokenTable {
    Label(String),
    Serial(String),
}

impl HardwareTable {
    /// When the device is asked.
    pub(super) fn standing(&self) -> Standing {
        self.role
    }

    /// The socket of the device's own keeper, where it names one.
    pub(super) fn socket(&self) -> Option<&Spanned<PathBuf>> {
        self.socket.as_ref()
    }

    /// Where to say that something is wrong with the device as a whole.
    pub(super) fn span(&self) -> Range<usize> {
        self.kind.span()
    }

    pub(super) fn into_hardware(
        self,
        name: String,
        place: DevicePlace,
        surroundings: Surroundings<'_>,
    ) -> Result<Hardware, Problem> {
        match self.kind.get_ref() {
            Kind::Pkcs11 => self.into_pkcs11(name, place, surroundings).map(Hardware::Pkcs11),
            #[cfg(feature = "tpm")]
            Kind::Tpm => self.into_tpm(name, place, surroundings).map(Hardware::Tpm),
            #[cfg(not(feature = "tpm"))]
            Kind::Tpm => Err(Problem::at(
                self.kind.span(),
                "this mintkeep was built without TPM support; build it with the cargo feature `tpm`",
            )),
        }
    }

    fn into_pkcs11(
        self,
        name: String,
        place: DevicePlace,
        Surroundings { folder, state, profiles }: Surroundings<'_>,
    ) -> Result<Pkcs11Hardware, Problem> {
        let kind = self.kind.span();
        foreign(self.tcti.as_ref(), "tcti", "tpm")?;
        foreign(self.keys.as_ref(), "keys", "tpm")?;
        foreign(self.auth.as_ref(), "auth", "tpm")?;
        foreign(self.session.as_ref(), "session", "tpm")?;
        foreign(self.persistent_handles.as_ref(), "persistent_handles", "tpm")?;
        let token = match needed(self.token, "token", &kind)? {
            TokenTable::Label(label) => TokenName::Label(label),
            TokenTable::Serial(serial) => TokenName::Serial(serial),
        };
        let device = Pkcs11Settings {
            name,
            module: from_folder(folder, needed(self.module, "module", &kind)?),
            token,
            pin: needed(self.pin, "pin", &kind)?.source(folder),
            state: state.to_owned(),
            signing_label: self.signing_key,
            sealing_label: self.sealing_key,
            delegated_label: self.delegated_key,
            profiles: profiles.to_vec(),
            provenance: provenance(self.allow_imported),
        };
        Ok(Pkcs11Hardware {
            device,
            sessions: self.sessions.map_or(DEFAULT_SESSIONS, |sessions| sessions.into_inner().get().into()),
            environment: variables(self.environment),
            place,
        })
    }

    #[cfg(feature = "tpm")]
    fn into_tpm(
        self,
        name: String,
        place: DevicePlace,
        Surroundings { folder, profiles, .. }: Surroundings<'_>,
    ) -> Result<TpmHardware, Problem> {
        let kind = self.kind.span();
        foreign(self.module.as_ref(), "module", "pkcs11")?;
        foreign(self.token.as_ref(), "token", "pkcs11")?;
        foreign(self.pin.as_ref(), "pin", "pkcs11")?;
        foreign(self.sessions.as_ref(), "sessions", "pkcs11")?;
        for label in [&self.signing_key, &self.sealing_key, &self.delegated_key] {
            if label.is_empty() || label.contains(['/', '\0']) {
                return Err(Problem::at(kind, format!("{label:?} names no key file; expected a name without slashes")));
            }
        }
        let keys = from_folder(folder, needed(self.keys, "keys", &kind)?);
        let authorization = match self.auth {
            Some(auth) if auth.get_ref().asks() => {
                return Err(Problem::at(auth.span(), "expected a place; \"prompt\" is for the PIN of a token"));
            }
            Some(auth) => auth.into_inner().source(folder),
            None => SecretSource::File(keys.join("auth")),
        };
        let persistent_handles = self
            .persistent_handles
            .map(|range| range.get_ref().parse::<HandleRange>().map_err(|flaw| Problem::at(range.span(), flaw)));
        let device = TpmSettings {
            name,
            tcti: needed(self.tcti, "tcti", &kind)?,
            keys,
            authorization,
            protection: match self.session.map(Spanned::into_inner) {
                Some(SessionTable::Plain) => Protection::Plain,
                Some(SessionTable::Encrypted) | None => Protection::Encrypted,
            },
            persistent_handles: persistent_handles.transpose()?,
            signing_label: self.signing_key,
            sealing_label: self.sealing_key,
            delegated_label: self.delegated_key,
            profiles: profiles.to_vec(),
            provenance: provenance(self.allow_imported),
        };
        let mut environment = variables(self.environment);
        // libtss2 writes to standard error what we log ourselves.
        environment.entry("TSS2_LOG".to_owned()).or_insert_with(|| "all+NONE".to_owned());
        Ok(TpmHardware { device, environment, place })
    }
}

/// One more than a small machine has processors: SoftHSM2 computes in the keeper's own threads, and three
/// of them were the fastest on two processors (`make bench`).
const DEFAULT_SESSIONS: usize = 3;

fn variables(table: BTreeMap<VariableName, VariableValue>) -> BTreeMap<String, String> {
    table.into_iter().map(|(name, value)| (name.0, value.0)).collect()
}

/// Refuses a setting of another kind of device.
fn foreign<Value>(setting: Option<&Spanned<Value>>, name: &str, kind: &str) -> Result<(), Problem> {
    match setting {
        Some(setting) => Err(Problem::at(setting.span(), format!("`{name}` is a setting of kind = {kind:?} only"))),
        None => Ok(()),
    }
}

fn needed<Value>(setting: Option<Spanned<Value>>, name: &str, kind: &Range<usize>) -> Result<Value, Problem> {
    setting
        .map(Spanned::into_inner)
        .ok_or_else(|| Problem::at(kind.clone(), format!("a device of this kind needs the setting `{name}`")))
}

fn provenance(allow_imported: bool) -> Provenance {
    if allow_imported { Provenance::ImportedAllowed } else { Provenance::GeneratedInDevice }
}

fn default_signing_key() -> String {
    "mintkeep-signing".to_owned()
}

fn default_delegated_key() -> String {
    "mintkeep-delegated".to_owned()
}

fn default_sealing_key() -> String {
    "mintkeep-sealing".to_owned()
}
