//! Opening a device that the configuration names: where a kind of device becomes a [`Device`].

use std::sync::Arc;

use super::{Failure, Kind};
use crate::clock::Clock;
use crate::config::{Config, Hardware};
use crate::entropy::Entropy;
use crate::hardware::pkcs11::Pkcs11Device;
#[cfg(feature = "tpm")]
use crate::hardware::tpm::TpmDevice;
use crate::hardware::{Device, Error, Generated, LoginStep, PinTrust};

/// The device called `name`, or the only one.
pub(super) fn only<'a>(config: &'a Config, name: Option<&str>) -> Result<&'a Hardware, Failure> {
    let names = || config.hardware.iter().map(Hardware::name).collect::<Vec<_>>().join(", ");
    let refuse = |message| Err(Failure::new(Kind::Configuration, message));
    match (name, &*config.hardware) {
        (None, [hardware]) => Ok(hardware),
        (None, _) => refuse(format!("there are several devices; say which by --device: {}", names())),
        (Some(name), _) => match config.device(name) {
            Some(hardware) => Ok(hardware),
            None => {
                refuse(format!("--device: no [hardware.{name}] in the configuration, expected one of: {}", names()))
            }
        },
    }
}

/// Opens the device; `progress` is told of the login, where the device has one.
pub(super) fn open(
    hardware: &Hardware,
    trust: PinTrust,
    progress: &mut dyn FnMut(LoginStep),
    clock: &Arc<dyn Clock>,
    entropy: &Arc<dyn Entropy>,
) -> Result<Box<dyn Device>, Error> {
    match hardware {
        Hardware::Pkcs11(token) => {
            let device = Pkcs11Device::open(&token.device, trust, progress, clock, entropy)?;
            Ok(Box::new(device))
        }
        #[cfg(feature = "tpm")]
        Hardware::Tpm(tpm) => Ok(Box::new(TpmDevice::open(&tpm.device, entropy)?)),
    }
}

/// Generates the keys that the device lacks, and opens it.
pub(super) fn open_with_new_keys(
    hardware: &Hardware,
    clock: &Arc<dyn Clock>,
    entropy: &Arc<dyn Entropy>,
) -> Result<(Box<dyn Device>, Generated), Error> {
    match hardware {
        Hardware::Pkcs11(token) => {
            let (device, generated) = Pkcs11Device::open_with_new_keys(&token.device, clock, entropy)?;
            Ok((Box::new(device), generated))
        }
        #[cfg(feature = "tpm")]
        Hardware::Tpm(tpm) => {
            let (device, generated) = TpmDevice::open_with_new_keys(&tpm.device, entropy)?;
            Ok((Box::new(device), generated))
        }
    }
}

/// Destroys the key `kid` of the device, for good.
pub(super) fn destroy(hardware: &Hardware, kid: &str, entropy: &Arc<dyn Entropy>) -> Result<(), Error> {
    match hardware {
        Hardware::Pkcs11(token) => Pkcs11Device::destroy_key(&token.device, kid, entropy.as_ref()),
        #[cfg(feature = "tpm")]
        Hardware::Tpm(tpm) => TpmDevice::destroy_key(&tpm.device, kid),
    }
}
