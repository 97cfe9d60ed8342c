//! What keeps the keeper's memory, where keys and PIN are, in memory and in the keeper.

use nix::libc;
use nix::sys::mman::{MlockAllFlags, mlockall};
use nix::sys::prctl::set_dumpable;
use nix::sys::resource::{RLIM_INFINITY, Resource, getrlimit, setrlimit};
use nix::unistd::Uid;

use super::Failure;

/// Whether the memory can be written to a swap device.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[must_use]
pub(super) enum Swap {
    /// It cannot.
    LockedOut,
    /// It can: this process may not lock it.
    Allowed,
}

impl Swap {
    /// Tells the operator what to do. Only where all else is well: a start that fails has one line to say.
    pub(super) fn warn(self) {
        if self == Self::Allowed {
            tracing::warn!(
                "the keeper's memory may be written to a swap device; set LimitMEMLOCK=infinity in its unit, or `ulimit -l unlimited`"
            );
        }
    }
}

/// Forbids core files and debuggers of the same user, and locks the memory. For a process that has not loaded
/// a module nor read a PIN yet.
pub(super) fn guard() -> Result<Swap, Failure> {
    forbid_core_files()?;
    // Closes /proc/PID/mem to all but root too (prctl(2), PR_SET_DUMPABLE).
    set_dumpable(false).map_err(Failure::while_doing("cannot exclude the keeper from dumps"))?;
    Ok(lock())
}

/// A crash inside the module must not write the keys of a software token to a file. A limit of 1, and not
/// of 0, because the kernel hands even nothing to a program that collects core files (core(5)).
fn forbid_core_files() -> Result<(), Failure> {
    let forbid = || {
        // Only ever lower: raising it again is root's alone.
        let (_, hard) = getrlimit(Resource::RLIMIT_CORE)?;
        setrlimit(Resource::RLIMIT_CORE, hard.min(1), hard.min(1))
    };
    forbid().map_err(Failure::while_doing("cannot forbid core files"))
}

/// Locks all memory, also what is still to come. Not where there is a limit on it, as large as it may be: an
/// allocation beyond it would fail later, in the middle of a request.
fn lock() -> Swap {
    let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_MEMLOCK) else { return Swap::Allowed };
    let is_unlimited =
        soft == RLIM_INFINITY || (hard == RLIM_INFINITY && setrlimit(Resource::RLIMIT_MEMLOCK, hard, hard).is_ok());
    if !is_unlimited && !Uid::effective().is_root() {
        return Swap::Allowed;
    }
    // Pages as they are used (mlockall(2), MCL_ONFAULT): stacks and arenas are much larger than what is used of them.
    let on_fault = MlockAllFlags::from_bits_retain(libc::MCL_ONFAULT);
    match mlockall(MlockAllFlags::MCL_CURRENT | MlockAllFlags::MCL_FUTURE | on_fault) {
        Ok(()) => Swap::LockedOut,
        Err(_) => Swap::Allowed,
    }
}
