//! `mintkeep keys`. `init` and `list` load the module themselves, and talk to no network; the others are about the life
//! of the keys, and ask the running mint, or do what it would.

use std::path::Path;
use std::sync::Arc;

use serde::Serialize;

use super::services::KeptKeys;
use super::{Failure, admin_client, device, environment, store};
use crate::clock::SystemClock;
use crate::config::Config;
use crate::entropy::SystemEntropy;
use crate::hardware::{Device, Generated, PinTrust};
use crate::http::admin::keys::{KEY_ORDERS_PATH, KEYS_PATH, Key, KeyOrder, KeyReport, carry_out};
use crate::keyring::{Caretaker, KeyError};

/// A key of the device, as the operator sees it.
#[derive(Debug, Serialize)]
pub struct KeyDescription {
    /// `signing` or `sealing`.
    pub role: &'static str,
    /// Its `kid`.
    pub kid: String,
    /// The JOSE algorithm that it is used with.
    pub algorithm: &'static str,
    /// Its label in the device.
    pub label: String,
    /// Whether this command generated it.
    pub generated: bool,
}

/// The keys of a device.
#[derive(Debug, Serialize)]
pub struct KeyList {
    /// What the device calls itself.
    pub device: String,
    /// Its keys, all checked.
    pub keys: Vec<KeyDescription>,
}

/// Generates the keys that the device lacks, and checks all of them.
///
/// # Errors
/// [`Failure`] of the hardware.
pub fn init(config: &Config) -> Result<KeyList, Failure> {
    environment::ensure(config.hardware.environment())?;
    let (device, generated) = device::open_with_new_keys(&config.hardware, &SystemClock, &SystemEntropy::new())?;
    Ok(describe(config, device.as_ref(), generated))
}

/// Checks the keys of the device and lists them.
///
/// # Errors
/// [`Failure`] of the hardware.
pub fn list(config: &Config, trust: PinTrust) -> Result<KeyList, Failure> {
    environment::ensure(config.hardware.environment())?;
    let device = device::open(&config.hardware, trust, &mut |_| {}, &SystemClock, &SystemEntropy::new())?;
    Ok(describe(config, device.as_ref(), Generated { signing: false, sealing: false }))
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
    let caretaker = Caretaker::new(keepers, store, config.keys, clock);
    match caretaker.begin().await {
        Ok(()) => {}
        // A key that is lost is what has to be revoked.
        Err(KeyError::Missing { .. }) if matches!(order, KeyOrder::Revoke(_)) => {}
        Err(error) => return Err(error.into()),
    }
    Ok(carry_out(&caretaker, order).await?)
}

fn describe(config: &Config, device: &dyn Device, generated: Generated) -> KeyList {
    let (keys, (signing_label, sealing_label)) = (device.keys(), config.hardware.labels());
    let signing = keys.signing.iter().map(|key| KeyDescription {
        role: "signing",
        kid: key.kid(),
        algorithm: "ES256",
        label: signing_label.to_owned(),
        generated: generated.signing,
    });
    let sealing = keys.sealing.iter().map(|key| KeyDescription {
        role: "sealing",
        kid: key.kid(),
        algorithm: key.algorithm(),
        label: sealing_label.to_owned(),
        generated: generated.sealing,
    });
    KeyList { device: device.description().to_owned(), keys: signing.chain(sealing).collect() }
}
