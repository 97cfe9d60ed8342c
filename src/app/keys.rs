//! `mintkeep keys`. `init` and `list` load the modules themselves, and talk to no network; the others are about the life
//! of the keys, and ask the running mint, or do what it would.

use std::path::Path;
use std::process::{Command, Stdio};

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::services::KeptKeys;
use super::{Failure, Kind, admin_client, device, environment, store};
use crate::clock::{Clock, SystemClock};
use crate::config::{Config, Hardware};
use crate::entropy::{Entropy, SystemEntropy};
use crate::hardware::{Device, Generated, PinTrust, Role, SealingKey};
use crate::http::admin::keys::{KEY_ORDERS_PATH, KEYS_PATH, Key, KeyOrder, KeyReport, carry_out};
use crate::jose::jws::ES256;
use crate::keyring::{Caretaker, KeyError};
use crate::store::KeyState;

/// A key of the device, as the operator sees it.
#[derive(Debug, Deserialize, Serialize)]
pub struct KeyDescription {
    /// What it is for.
    pub role: Role,
    /// Its `kid`.
    pub kid: String,
    /// The JOSE algorithm that it is used with.
    pub algorithm: String,
    /// Its label in the device.
    pub label: String,
    /// Whether this command generated it.
    pub generated: bool,
}

/// The keys of a device.
#[derive(Debug, Deserialize, Serialize)]
pub struct KeyList {
    /// What the device calls itself.
    pub device: String,
    /// Its keys, all checked.
    pub keys: Vec<KeyDescription>,
}

/// Generates the keys that the device called `name` lacks, or each device, and checks all of them.
///
/// # Errors
/// [`Failure`] of the hardware.
pub fn init(config_path: &Path, config: &Config, name: Option<&str>) -> Result<Vec<KeyList>, Failure> {
    if is_for_each(config, name) {
        return each(config_path, config, &["keys", "init"]);
    }
    let hardware = device::only(config, name)?;
    environment::ensure(hardware.environment())?;
    let (clock, entropy) = system();
    device::within(patience(config), hardware, || {
        let (device, generated) = device::open_with_new_keys(hardware, &clock, &entropy)?;
        Ok(vec![describe(hardware, device.as_ref(), generated)])
    })
}

/// Checks the keys of the device called `name`, or of each device, and lists them.
///
/// # Errors
/// [`Failure`] of the hardware.
pub fn list(config_path: &Path, config: &Config, name: Option<&str>, trust: PinTrust) -> Result<Vec<KeyList>, Failure> {
    if is_for_each(config, name) {
        let vouched: &[&str] = if trust == PinTrust::Vouched { &["--pin-corrected"] } else { &[] };
        return each(config_path, config, &[&["keys", "list"], vouched].concat());
    }
    let hardware = device::only(config, name)?;
    environment::ensure(hardware.environment())?;
    let (clock, entropy) = system();
    device::within(patience(config), hardware, || {
        let device = device::open(hardware, trust, &mut |_| {}, &clock, &entropy)?;
        Ok(vec![describe(hardware, device.as_ref(), Generated::default())])
    })
}

/// The life of each key: of the running mint where there is one; from the store otherwise.
///
/// # Errors
/// [`Failure`].
pub async fn states(config: &Config) -> Result<KeyReport, Failure> {
    if let Some(report) = admin_client::get(&config.listen.admin, KEYS_PATH).await? {
        return Ok(report);
    }
    let keys = store::open(&config.store).await?.keys().await?;
    Ok(KeyReport { keys: keys.into_iter().map(Key::from).collect(), remarks: Vec::new() })
}

/// Moves keys on: by the running mint where there is one; with a keeper of this command's own otherwise.
///
/// # Errors
/// [`Failure`].
pub async fn order(config_path: &Path, config: &Config, order: KeyOrder) -> Result<KeyReport, Failure> {
    if let Some(report) = admin_client::post(&config.listen.admin, KEY_ORDERS_PATH, &order).await? {
        return Ok(report);
    }
    let kept_keys = KeptKeys::start(config_path, config).await?;
    let report = order_alone(config, &kept_keys, order).await;
    kept_keys.stop().await;
    report
}

async fn order_alone(config: &Config, kept_keys: &KeptKeys, order: KeyOrder) -> Result<KeyReport, Failure> {
    let store = store::open(&config.store).await?;
    let (keepers, clock) = (kept_keys.keepers.clone(), Arc::clone(&kept_keys.clock));
    let caretaker = Caretaker::new(keepers, store, config.keys.clone(), clock);
    match caretaker.begin().await {
        Ok(()) => {}
        // A key that is lost is what has to be revoked.
        Err(KeyError::Missing { .. }) if matches!(order, KeyOrder::Revoke(_)) => {}
        Err(error) => return Err(error.into()),
    }
    Ok(carry_out(&caretaker, order).await?)
}

/// Destroys the key `kid` in the device called `name`, for good: one that nothing depends on any more, as far as the
/// store says.
///
/// # Errors
/// [`Failure`] of the hardware, above all where there is no such key; [`Kind::Refused`] where it may be needed.
pub fn destroy(config: &Config, name: Option<&str>, kid: &str) -> Result<(), Failure> {
    let hardware = device::only(config, name)?;
    environment::ensure(hardware.environment())?;
    let (_, entropy) = system();
    device::within(patience(config), hardware, || Ok(device::destroy(hardware, kid, &entropy)?))
}

/// How long a command may be with its device: longer than a keeper that opens it, because keys take time to make, and a
/// person to type a PIN.
pub(super) fn patience(config: &Config) -> Duration {
    config.keeper.start_limit * 4
}

/// Refuses where the store says that what the key `kid` made may be good.
///
/// # Errors
/// [`Failure`], also where the store cannot be asked.
pub async fn refuse_needed(config: &Config, kid: &str) -> Result<(), Failure> {
    let keys = states(config).await?.keys;
    match keys.iter().find(|key| key.kid == kid).map(|key| key.state) {
        None | Some(KeyState::Removed) => Ok(()),
        Some(state) => {
            let message = format!(
                "the key {kid} is {}; what is destroyed never comes back, so run `mintkeep keys remove {kid}` or `mintkeep keys revoke {kid}` first",
                state.name()
            );
            Err(Failure::new(Kind::Refused, message))
        }
    }
}

pub(super) fn system() -> (Arc<dyn Clock>, Arc<dyn Entropy>) {
    (Arc::new(SystemClock), Arc::new(SystemEntropy::new()))
}

fn is_for_each(config: &Config, name: Option<&str>) -> bool {
    name.is_none() && config.hardware.len() > 1
}

/// Runs the command `words` for one device after the other, each in a process of its own: modules read different
/// environments, and what one of them does to its process is no other's problem.
fn each(config_path: &Path, config: &Config, words: &[&str]) -> Result<Vec<KeyList>, Failure> {
    let program = std::env::current_exe().map_err(Failure::while_doing("cannot find this program"))?;
    let of_device = |hardware: &Hardware| {
        let name = hardware.name();
        let mut command = Command::new(&program);
        command.args(words).args(["--json", "--device", name, "--config"]).arg(config_path);
        // What it says of a failure, it says itself.
        let output = command.stdin(Stdio::null()).stderr(Stdio::inherit()).output();
        let output = output.map_err(Failure::while_doing("cannot start this program"))?;
        if !output.status.success() {
            let message = format!("hardware.{name} failed, and the devices after it were left alone");
            return Err(Failure::new(Kind::of_exit_code(output.status.code()), message));
        }
        serde_json::from_slice(&output.stdout).map_err(Failure::while_doing("cannot read what this program said"))
    };
    config.hardware.iter().map(of_device).collect()
}

fn describe(hardware: &Hardware, device: &dyn Device, generated: Generated) -> KeyList {
    let keys = device.keys();
    let algorithm = |role: Role, kid: &str| {
        let sealing = keys.sealing.iter().find(|key| !role.signs() && key.kid() == kid);
        sealing.map_or(ES256, SealingKey::algorithm).to_owned()
    };
    let described = keys.all().map(|(kid, role, _)| KeyDescription {
        role,
        algorithm: algorithm(role, &kid),
        label: hardware.label(role),
        generated: generated.includes(role),
        kid,
    });
    KeyList { device: device.description().to_owned(), keys: described.collect() }
}
