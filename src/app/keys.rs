//! `mintkeep keys init` and `keys list`. Both load the module themselves: neither talks to a network.

use serde::Serialize;

use super::{Failure, environment};
use crate::clock::SystemClock;
use crate::config::Config;
use crate::entropy::SystemEntropy;
use crate::hardware::pkcs11::Pkcs11Device;
use crate::hardware::{Device, PinTrust};

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
    environment::ensure(&config.hardware.environment)?;
    let settings = &config.hardware.device;
    let (device, generated) = Pkcs11Device::open_with_new_keys(settings, &SystemClock, &SystemEntropy::new())?;
    Ok(describe(config, &device, generated.signing, generated.sealing))
}

/// Checks the keys of the device and lists them.
///
/// # Errors
/// [`Failure`] of the hardware.
pub fn list(config: &Config, trust: PinTrust) -> Result<KeyList, Failure> {
    environment::ensure(&config.hardware.environment)?;
    let settings = &config.hardware.device;
    let device = Pkcs11Device::open(settings, trust, &mut |_| {}, &SystemClock, &SystemEntropy::new())?;
    Ok(describe(config, &device, false, false))
}

fn describe(config: &Config, device: &dyn Device, signing_generated: bool, sealing_generated: bool) -> KeyList {
    let (keys, settings) = (device.keys(), &config.hardware.device);
    let signing = KeyDescription {
        role: "signing",
        kid: keys.signing.kid(),
        algorithm: "ES256",
        label: settings.signing_label.clone(),
        generated: signing_generated,
    };
    let sealing = KeyDescription {
        role: "sealing",
        kid: keys.sealing.clone(),
        algorithm: "A256GCM",
        label: settings.sealing_label.clone(),
        generated: sealing_generated,
    };
    KeyList { device: device.description().to_owned(), keys: vec![signing, sealing] }
}
