//! `mintkeep keys init`, `keys list` and `keys destroy`. All load the module themselves: none talks to a network.

use std::sync::Arc;

use serde::Serialize;

use super::{Failure, device, environment};
use crate::clock::{Clock, SystemClock};
use crate::config::Config;
use crate::entropy::{Entropy, SystemEntropy};
use crate::hardware::{Device, Generated, PinTrust};

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
    let (clock, entropy) = system();
    let (device, generated) = device::open_with_new_keys(&config.hardware, &clock, &entropy)?;
    Ok(describe(config, device.as_ref(), generated))
}

/// Checks the keys of the device and lists them.
///
/// # Errors
/// [`Failure`] of the hardware.
pub fn list(config: &Config, trust: PinTrust) -> Result<KeyList, Failure> {
    environment::ensure(config.hardware.environment())?;
    let (clock, entropy) = system();
    let device = device::open(&config.hardware, trust, &mut |_| {}, &clock, &entropy)?;
    Ok(describe(config, device.as_ref(), Generated { signing: false, sealing: false }))
}

/// Destroys the key `kid` in the device, for good.
///
/// # Errors
/// [`Failure`] of the hardware, above all where there is no such key.
pub fn destroy(config: &Config, kid: &str) -> Result<(), Failure> {
    environment::ensure(config.hardware.environment())?;
    let (_, entropy) = system();
    Ok(device::destroy(&config.hardware, kid, &entropy)?)
}

pub(super) fn system() -> (Arc<dyn Clock>, Arc<dyn Entropy>) {
    (Arc::new(SystemClock), Arc::new(SystemEntropy::new()))
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
