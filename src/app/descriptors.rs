//! File descriptors: every connection takes one, and so do the store, the keeper and whatever has to be
//! opened when something went wrong.

use nix::sys::resource::{Resource, getrlimit, setrlimit};

use super::{Failure, Kind};

/// What the mint needs beside its connections.
const RESERVE: u64 = 128;

/// Makes sure that `connections` can be open at a time, and the rest still works.
///
/// # Errors
/// [`Failure`] of the configuration where the system does not allow that many.
pub(super) fn make_room_for(connections: usize) -> Result<(), Failure> {
    let wanted = connections as u64 + RESERVE;
    let (soft, hard) =
        getrlimit(Resource::RLIMIT_NOFILE).map_err(Failure::while_doing("cannot read the limit on open files"))?;
    if soft >= wanted {
        return Ok(());
    }
    if hard < wanted {
        let message = format!(
            "listen.max_connections needs {wanted} open files, and this process may have {hard}; lower it, or raise LimitNOFILE= in the unit (ulimit -Hn)"
        );
        return Err(Failure::new(Kind::Configuration, message));
    }
    setrlimit(Resource::RLIMIT_NOFILE, wanted, hard)
        .map_err(Failure::while_doing("cannot raise the limit on open files"))
}
