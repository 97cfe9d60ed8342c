//! Opening a device that the configuration names: where a kind of device becomes a [`Device`].

use std::convert::Infallible;
use std::os::unix::process::CommandExt as _;
use std::process::Command;
use std::sync::Arc;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

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

/// Has a command `work` with the device that `hardware` is, in this process, for as long as `limit`. A call that does not
/// return by then cannot be called off, so the command ends: it says so, and exits as where hardware fails.
pub(super) fn within<Value>(
    limit: Duration,
    hardware: &Hardware,
    work: impl FnOnce() -> Result<Value, Failure>,
) -> Result<Value, Failure> {
    let (working, watched) = mpsc::channel::<Infallible>();
    let name = hardware.name().to_owned();
    let watch = std::thread::Builder::new().name("device-watch".to_owned()).spawn(move || {
        if watched.recv_timeout(limit) == Err(RecvTimeoutError::Timeout) {
            let seconds = limit.as_secs();
            eprintln!(
                "mintkeep: hardware.{name} does not answer: a call into it did not return within {seconds} s; see what else uses the device, or raise keeper.start_timeout, a quarter of that"
            );
            end_by(Kind::Hardware);
        }
    });
    watch.map_err(Failure::while_doing("cannot start a thread"))?;
    let outcome = work();
    drop(working);
    outcome
}

/// Ends this process by the exit code of `kind` while a call into the module is under way. An orderly exit would run the
/// module's destructors, which take away what that call uses, or wait for it; another program does not have them.
fn end_by(kind: Kind) {
    let _ = Command::new("/bin/sh").args(["-c", &format!("exit {}", kind.exit_code())]).exec();
    let _ = kill(Pid::this(), Signal::SIGKILL);
}
