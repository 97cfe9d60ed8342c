//! The environment that a PKCS#11 module reads, such as `SOFTHSM2_CONF`.

use std::collections::BTreeMap;
use std::os::unix::process::CommandExt as _;
use std::process::Command;

use super::{Failure, Kind};
use crate::config::{Config, Hardware, KeeperPlacement};
use crate::secret_source::SecretSource;

/// Makes sure that this process, which is about to load the module, has `variables` in its environment:
/// where it lacks one, the process starts itself anew with all of them. Changing the environment of a
/// running process is not safe; starting over is.
pub(super) fn ensure(variables: &BTreeMap<String, String>) -> Result<(), Failure> {
    let is_set =
        |(name, value): (&String, &String)| std::env::var_os(name).is_some_and(|found| found == value.as_str());
    if variables.iter().all(is_set) {
        return Ok(());
    }
    let program = std::env::current_exe().map_err(Failure::while_doing("cannot find this program"))?;
    // Returns only where it failed.
    let error = Command::new(program).args(std::env::args_os().skip(1)).envs(variables).exec();
    Err(Failure::while_doing("cannot start anew with the module's environment")(error))
}

/// Refuses to run a mint whose own environment holds the PIN of a device: what the process that talks to the network
/// was started with, it keeps in its memory. And one whose keeper would ask for a PIN.
pub(super) fn refuse_pin_in_mint(config: &Config) -> Result<(), Failure> {
    config.hardware.iter().try_for_each(refuse_pin_of)
}

fn refuse_pin_of(hardware: &Hardware) -> Result<(), Failure> {
    let name = match hardware.secret() {
        SecretSource::Environment(name) => name,
        SecretSource::Prompt if hardware.place().keeper == KeeperPlacement::Child => {
            return Err(Failure::new(
                Kind::Configuration,
                "pin = \"prompt\": a keeper that the mint starts cannot ask, and is started again without you; run the keeper by itself ([keeper] socket), or use pin = { file = … }",
            ));
        }
        _ => return Ok(()),
    };
    let placement = &hardware.place().keeper;
    let hint = match placement {
        KeeperPlacement::Child => "run the keeper by itself ([keeper] socket), or use pin = { file = … }",
        KeeperPlacement::Socket { .. } => "set it for `mintkeep keeper` only",
    };
    match std::env::var_os(name) {
        None if matches!(placement, KeeperPlacement::Socket { .. }) => Ok(()),
        Some(_) | None => Err(Failure::new(
            Kind::Configuration,
            format!("pin = {{ env = {name:?} }} would put the PIN into the environment of the mint; {hint}"),
        )),
    }
}
