//! Keeps one keeper running and connected: starts it, notices its end, waits, and starts the next.
//! A keeper that says it must not be tried again (a wrong PIN would lock the token) is not.

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
use tokio::sync::watch;

use super::counters::Counters;
use super::handle::{Keeper, KeeperError, KeeperLimits};
use super::known_keys::KnownKeys;
use super::link::{Driver, Link, LinkLimits};
use super::wire::{PublicKeys, Reply, Request, StartFailure};
use crate::clock::Clock;
use crate::hardware::PinTrust;

/// The pause before the second start in a row that fails; doubled up to [`LONGEST_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// A keeper that was ready, and died soon, is started anew no later: most of its clients still wait.
const LONGEST_PAUSE_AFTER_READY: Duration = Duration::from_millis(500);
/// A keeper that ran this long is not one of a row of failures.
const SETTLED_AFTER: Duration = Duration::from_secs(10);
/// How long a keeper may take to end when its connection was closed, before it is killed.
const END_LIMIT: Duration = Duration::from_secs(2);

/// A keeper that would sign with another key, or by other rules, than the mint was started for.
const CHANGED: &str = "the keeper came back without a key that is in use, or with another signing policy; restart mintkeep if that is intended";

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
    /// How to come to it.
    pub launcher: Launcher,
    /// How long it may take to open the device.
    pub start_limit: Duration,
    /// How long one request may take, the wait for a new keeper included.
    pub request_limit: Duration,
    /// How many requests may be under way; one more is refused as busy.
    pub max_in_flight: usize,
}

/// Where the keeper is now.
#[derive(Clone)]
pub(super) enum Presence {
    /// It answers.
    Up(Arc<Link>, Option<u32>),
    /// It is being started again.
    Down,
    /// It must not be started again until somebody changed something.
    Refused(StartFailure),
}

/// Starts or finds the keeper, and keeps it. The returned handle works until `shutdown` says true;
/// the task then ends the keeper, and with it.
///
/// # Errors
/// [`StartFailure`] where the first start does not succeed.
pub async fn start(
    settings: Settings,
    clock: Arc<dyn Clock>,
    shutdown: watch::Receiver<bool>,
) -> Result<(Keeper, tokio::task::JoinHandle<()>), StartFailure> {
    let counters = Arc::new(Counters::default());
    let first = connect(&settings, PinTrust::Unproven, &clock).await?;
    let (publish, presence) = watch::channel(first.presence());
    let supervisor = Supervisor {
        settings: settings.clone(),
        clock: Arc::clone(&clock),
        publish,
        counters: Arc::clone(&counters),
        shutdown,
    };
    let (keys, first_run) = tell_keys(first, &settings, &clock).await?;
    let known_keys = Arc::new(KnownKeys::new(keys));
    counters.connected.increment();
    let limits = KeeperLimits { request_limit: settings.request_limit, max_in_flight: settings.max_in_flight };
    let keeper = Keeper::new(presence, Arc::clone(&known_keys), counters, limits, clock);
    let task = tokio::spawn(supervisor.run(first_run, known_keys));
    Ok((keeper, task))
}

/// A keeper that greeted and whose link is not driven yet.
struct Connected {
    link: Arc<Link>,
    driver: Driver,
    child: Option<Child>,
}

/// A keeper whose link is driven by a task.
struct Running {
    link: Arc<Link>,
    driver: tokio::task::JoinHandle<&'static str>,
    child: Option<Child>,
}

impl Connected {
    fn presence(&self) -> Presence {
        Presence::Up(Arc::clone(&self.link), self.child.as_ref().and_then(Child::id))
    }
}

struct Supervisor {
    settings: Settings,
    clock: Arc<dyn Clock>,
    publish: watch::Sender<Presence>,
    counters: Arc<Counters>,
    shutdown: watch::Receiver<bool>,
}

impl Supervisor {
    async fn run(mut self, first: Running, known_keys: Arc<KnownKeys>) {
        let mut current = first;
        let mut pause = Duration::ZERO;
        loop {
            let started = self.clock.instant();
            let mut ended = current.driver;
            let reason = tokio::select! {
                reason = &mut ended => reason.unwrap_or("its driver panicked"),
                () = asked(&mut self.shutdown) => {
                    current.link.close();
                    ended.abort();
                    self.publish.send_replace(Presence::Down);
                    end(current.child).await;
                    return;
                }
            };
            self.publish.send_replace(Presence::Down);
            tracing::warn!(reason, "the keeper is gone; starting another");
            if let Some(child) = current.child {
                // It is gone or hangs: there is nothing left to ask it for.
                kill(child).await;
            }
            let has_settled = self.clock.instant() - started > SETTLED_AFTER;
            pause = if has_settled { Duration::ZERO } else { pause.min(LONGEST_PAUSE_AFTER_READY) };
            current = match self.restart(&mut pause, &known_keys).await {
                Some(running) => running,
                None => return,
            };
        }
    }

    /// Tries until a keeper runs; `None` where there is none to be had any more.
    async fn restart(&mut self, pause: &mut Duration, known_keys: &KnownKeys) -> Option<Running> {
        loop {
            tokio::select! {
                () = tokio::time::sleep(*pause) => {}
                () = asked(&mut self.shutdown) => return None,
            }
            *pause = (*pause * 2).clamp(FIRST_PAUSE, LONGEST_PAUSE);
            let attempt = async {
                let connected = connect(&self.settings, PinTrust::WorkedBefore, &self.clock).await?;
                let presence = connected.presence();
                let (keys, running) = tell_keys(connected, &self.settings, &self.clock).await?;
                if !known_keys.accept(keys) {
                    running.link.close();
                    running.driver.abort();
                    return Err(StartFailure { message: CHANGED.to_owned(), is_final: true });
                }
                Ok((presence, running))
            };
            let attempted = tokio::select! {
                attempted = attempt => attempted,
                // A keeper that is being started is killed with its value.
                () = asked(&mut self.shutdown) => return None,
            };
            match attempted {
                Ok((presence, running)) => {
                    self.counters.connected.increment();
                    self.publish.send_replace(presence);
                    tracing::info!("the keeper is back");
                    return Some(running);
                }
                Err(failure) if failure.is_final => {
                    tracing::error!(error = %failure, "the keeper refused to start and is not tried again");
                    self.publish.send_replace(Presence::Refused(failure));
                    asked(&mut self.shutdown).await;
                    return None;
                }
                Err(failure) => tracing::warn!(error = %failure, "the keeper did not start"),
            }
        }
    }
}

/// Returns when the shutdown was asked for.
async fn asked(shutdown: &mut watch::Receiver<bool>) {
    // An error says that whoever could ask is gone, which asks for the same.
    let _ = shutdown.wait_for(|asked| *asked).await;
}

async fn connect(settings: &Settings, trust: PinTrust, clock: &Arc<dyn Clock>) -> Result<Connected, StartFailure> {
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
    let established = Link::establish(stream, limits, &logging_in, Arc::clone(clock));
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

/// Drives the link of `connected` from here on, and asks for its keys.
async fn tell_keys(
    connected: Connected,
    settings: &Settings,
    clock: &Arc<dyn Clock>,
) -> Result<(PublicKeys, Running), StartFailure> {
    let Connected { link, driver, child } = connected;
    let running = Running { link, driver: tokio::spawn(driver.run()), child };
    let answer = running.link.exchange(&Request::PublicKeys, clock.instant() + settings.request_limit).await;
    match answer {
        Ok(Reply::PublicKeys(keys)) => Ok((keys, running)),
        other => {
            running.link.close();
            running.driver.abort();
            Err(StartFailure { message: format!("the keeper did not tell its keys: {other:?}"), is_final: false })
        }
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
async fn end(child: Option<Child>) {
    let Some(mut child) = child else { return };
    if tokio::time::timeout(END_LIMIT, child.wait()).await.is_err() {
        tracing::warn!("the keeper did not end by itself and is killed");
        kill(child).await;
    }
}

/// Kills a keeper. One that is inside a driver of the kernel may outlive even that for a while: it is not
/// waited for.
async fn kill(mut child: Child) {
    let _ = child.start_kill();
    if tokio::time::timeout(END_LIMIT, child.wait()).await.is_err() {
        tracing::error!("the keeper does not end though it was killed; going on without it");
        tokio::spawn(async move { child.wait().await });
    }
}

impl From<StartFailure> for KeeperError {
    fn from(failure: StartFailure) -> Self {
        Self::Refused(failure.message)
    }
}
