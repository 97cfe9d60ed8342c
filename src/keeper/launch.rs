//! Coming to a keeper, by starting it or by finding it, and parting from it.

use std::ffi::OsString;
use std::io;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use nix::sys::signal::Signal;
use tokio::net::UnixStream;
use tokio::process::{Child, Command};
use tokio::task::JoinHandle;

use super::link::{Asked, Driver, Link, LinkLimits, LinkedDevice, Patience};
use super::wire::{PublicKeys, Reply, Request, StartFailure};
use crate::clock::Clock;
use crate::hardware::PinTrust;

/// How long a keeper may take to end when its connection was closed, before it is killed.
const END_LIMIT: Duration = Duration::from_secs(2);

/// How the mint comes to a keeper.
#[derive(Clone, Debug)]
pub enum Launcher {
    /// The mint starts it, with one end of a socket pair as its standard input.
    Spawn {
        /// The `mintkeep` binary.
        program: PathBuf,
        /// Its arguments.
        arguments: Vec<OsString>,
        /// A further argument where it takes the place of one whose PIN was right.
        pin_worked: OsString,
    },
    /// It runs by itself, under another user, and listens on a Unix socket.
    Connect {
        /// The socket.
        socket: PathBuf,
        /// The uid that it must run under (`SO_PEERCRED`).
        uid: u32,
    },
}

/// How the mint uses its keeper.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The device's name in the configuration.
    pub device: String,
    /// How to come to the keeper.
    pub launcher: Launcher,
    /// How many operations the device does at a time.
    pub sessions: usize,
    /// How long it may take to open the device.
    pub start_limit: Duration,
    /// How long one request may take, the wait for a new keeper included.
    pub request_limit: Duration,
    /// How many requests may be under way; one more is refused as busy.
    pub max_in_flight: usize,
}

/// A keeper that greeted and whose link is not driven yet.
struct Connected {
    link: Arc<Link>,
    driver: Driver,
    child: Option<Child>,
}

/// A keeper whose link is driven by a task.
pub(super) struct Running {
    pub(super) link: Arc<Link>,
    pub(super) driver: JoinHandle<&'static str>,
    pub(super) child: Option<Child>,
}

impl Running {
    /// Asks the keeper to end, by closing the connection.
    pub(super) fn close(&self) {
        self.link.close();
        self.driver.abort();
    }

    fn useless(&self, message: String) -> StartFailure {
        self.close();
        StartFailure { message, is_final: false }
    }
}

/// Starts or finds the keeper of `device`, and has it tell its keys.
///
/// # Errors
/// Why there is none to be had now, and whether there can be at all.
pub(super) async fn launch(
    settings: &Settings,
    trust: PinTrust,
    device: LinkedDevice,
    clock: &Arc<dyn Clock>,
) -> Result<(PublicKeys, Running), StartFailure> {
    let Connected { link, driver, child } = connect(settings, trust, device, clock).await?;
    let running = Running { link, driver: tokio::spawn(driver.run()), child };
    let asked = Asked { deadline: clock.instant() + settings.request_limit, patience: Patience::Stays };
    let keys = match running.link.exchange(&Request::PublicKeys, asked).await {
        Ok(Reply::PublicKeys(keys)) => keys,
        other => return Err(running.useless(format!("the keeper did not tell its keys: {other:?}"))),
    };
    // One that takes the place of another has to show that the device works. The keeper that was started tried its keys
    // already; one that runs by itself may have done that long ago.
    if trust == PinTrust::WorkedBefore {
        match running.link.exchange(&Request::Health, asked).await {
            Ok(Reply::Healthy) => {}
            other => return Err(running.useless(format!("the keeper cannot sign: {other:?}"))),
        }
    }
    Ok((keys, running))
}

async fn connect(
    settings: &Settings,
    trust: PinTrust,
    device: LinkedDevice,
    clock: &Arc<dyn Clock>,
) -> Result<Connected, StartFailure> {
    let passing = |message: String| StartFailure { message, is_final: false };
    let (stream, mut child) = match &settings.launcher {
        Launcher::Spawn { program, arguments, pin_worked } => {
            let further = (trust == PinTrust::WorkedBefore).then_some(pin_worked);
            spawn(program, arguments.iter().chain(further))
                .map(|(stream, child)| (stream, Some(child)))
                .map_err(|error| passing(format!("cannot start the keeper {}: {error}", program.display())))?
        }
        Launcher::Connect { socket, uid } => (find(socket, *uid).await?, None),
    };
    let limits = LinkLimits { max_in_flight: settings.max_in_flight, silence: settings.request_limit };
    let logging_in = AtomicBool::new(false);
    let established = Link::establish(stream, limits, &logging_in, device, Arc::clone(clock));
    let outcome = tokio::time::timeout(settings.start_limit, established).await;
    let was_logging_in = logging_in.load(Ordering::Relaxed);
    let (message, may_have_cost_a_try) = match outcome {
        Ok(Ok((Ok(link), driver))) => return Ok(Connected { link, driver, child }),
        Ok(Ok((Err(failure), _))) => return Err(failure),
        Ok(Err(error)) => (
            format!("the keeper ended before it was ready ({error}); see its own messages"),
            was_logging_in && !was_killed_from_outside(child.as_mut()).await,
        ),
        // However it ends now, it hung before: its connection is closed, and it kills itself for that.
        Err(_) => (
            format!(
                "the keeper did not open the device within {} s; is the device connected?",
                settings.start_limit.as_secs()
            ),
            was_logging_in,
        ),
    };
    if !may_have_cost_a_try {
        return Err(passing(message));
    }
    let message = "the keeper ended, or hung, during the login: the token may have counted a wrong PIN; it is not tried again; check the PIN, run `mintkeep keys list --pin-corrected`, and restart";
    Err(StartFailure { message: message.to_owned(), is_final: true })
}

/// Whether somebody else's SIGKILL ended `child`, which says nothing about the PIN. A module that crashes
/// ends by another signal; one that hangs does not end.
async fn was_killed_from_outside(child: Option<&mut Child>) -> bool {
    let Some(child) = child else { return false };
    match tokio::time::timeout(Duration::from_millis(500), child.wait()).await {
        Ok(Ok(status)) => status.signal() == Some(Signal::SIGKILL as i32),
        Ok(Err(_)) | Err(_) => false,
    }
}

fn spawn<'a>(program: &Path, arguments: impl Iterator<Item = &'a OsString>) -> io::Result<(UnixStream, Child)> {
    let (ours, theirs) = std::os::unix::net::UnixStream::pair()?;
    ours.set_nonblocking(true)?;
    let child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::from(std::os::fd::OwnedFd::from(theirs)))
        .stdout(Stdio::null())
        // A group of its own: Ctrl-C is for the mint, which lets requests under way finish first.
        .process_group(0)
        .kill_on_drop(true)
        .spawn()?;
    Ok((UnixStream::from_std(ours)?, child))
}

async fn find(socket: &Path, uid: u32) -> Result<UnixStream, StartFailure> {
    let shown = socket.display();
    let stream = UnixStream::connect(socket).await.map_err(|error| StartFailure {
        message: format!("no keeper at {shown}: {error}; start `mintkeep keeper` first"),
        is_final: false,
    })?;
    let peer = stream.peer_cred().map(|peer| peer.uid());
    if peer.as_ref().ok() != Some(&uid) {
        return Err(StartFailure {
            message: format!("the process at {shown} runs as uid {peer:?}, expected {uid}; check keeper.user"),
            is_final: true,
        });
    }
    Ok(stream)
}

/// Lets a keeper end by itself, its connection being closed, so that it logs out of the device.
pub(super) async fn end(child: Option<Child>) {
    let Some(mut child) = child else { return };
    if tokio::time::timeout(END_LIMIT, child.wait()).await.is_err() {
        tracing::warn!("the keeper did not end by itself and is killed");
        kill(child).await;
    }
}

/// Kills a keeper. One that is inside a driver of the kernel may outlive even that for a while: it is not
/// waited for.
pub(super) async fn kill(mut child: Child) {
    let _ = child.start_kill();
    if tokio::time::timeout(END_LIMIT, child.wait()).await.is_err() {
        tracing::error!("the keeper does not end though it was killed; going on without it");
        tokio::spawn(async move { child.wait().await });
    }
}
