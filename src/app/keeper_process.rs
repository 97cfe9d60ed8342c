//! `mintkeep keeper`: the process that holds the hardware.

use std::os::fd::AsFd as _;
use std::os::unix::fs::FileTypeExt as _;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, Signal, kill};
use nix::sys::socket::{getsockopt, sockopt::PeerCredentials};
use nix::sys::stat::{Mode, umask};
use nix::unistd::Pid;

use super::keeper_memory::{self, Swap};
use super::{Failure, Kind, device, environment};
use crate::clock::{Clock, SystemClock, Timestamp};
use crate::config::{Config, Hardware, KeeperPlacement};
use crate::entropy::{Entropy, SystemEntropy};
use crate::hardware::{self, LoginStep, PinTrust};
use crate::keeper::policy::Policy;
use crate::keeper::server::{Ending, Greeter, Server, ServerSettings};
use crate::keeper::wire::{Greeting, StartFailure};
use crate::keeper::worker::Worker;
use crate::secret_source::SecretSource;

/// How long letting the device go may take.
const CLOSE_LIMIT: Duration = Duration::from_secs(3);

/// A pause after a failed accept.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// How the keeper meets the mint.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Meeting {
    /// The mint started this process with one end of a socket pair as its standard input.
    StandardInput {
        /// What the mint knows of the PIN: it worked where this keeper takes the place of another.
        trust: PinTrust,
    },
    /// At the configured Unix socket.
    Socket,
}

/// Runs the keeper of the device called `name`, or of the only one, until the mint is gone, a signal asks for the end, or the device has to be opened anew.
///
/// # Errors
/// [`Failure`]; over a socket pair the mint was told already.
pub fn run(config: &Config, name: Option<&str>, meeting: Meeting) -> Result<(), Failure> {
    let hardware = device::only(config, name)?;
    environment::ensure(hardware.environment())?;
    let swap = keeper_memory::guard()?;
    // Before any thread starts, so that all of them leave the signals to the one that waits for them.
    let signals = SigSet::from_iter([Signal::SIGTERM, Signal::SIGINT]);
    signals.thread_block().map_err(Failure::while_doing("cannot block signals"))?;
    match meeting {
        Meeting::StandardInput { trust } => serve_standard_input(config, hardware, trust, signals, swap),
        Meeting::Socket => serve_socket(config, hardware, signals, swap),
    }
}

fn serve_standard_input(
    config: &Config,
    hardware: &Hardware,
    trust: PinTrust,
    signals: SigSet,
    swap: Swap,
) -> Result<(), Failure> {
    let not_a_mint = || Failure::while_doing("standard input is not a mint's socket");
    let descriptor = std::io::stdin().as_fd().try_clone_to_owned();
    let stream = UnixStream::from(descriptor.map_err(not_a_mint())?);
    let progress = Progress::watched(signals, Some(&stream))?;
    let greeter = Greeter::new(stream).map_err(not_a_mint())?;
    // A mint that is gone is noticed by the watch.
    let mut announce = |step| {
        let _ = greeter.say(match step {
            LoginStep::Begins => &Greeting::LoggingIn,
            LoginStep::Done => &Greeting::LoggedIn,
        });
    };
    let server = match open(config, hardware, trust, &mut announce) {
        Ok(server) => server,
        Err(error) => {
            let failure = StartFailure { message: error.to_string(), is_final: error.is_final() };
            greeter.say(&Greeting::Failed(failure)).map_err(not_a_mint())?;
            return Err(error.into());
        }
    };
    progress.opened(&server);
    swap.warn();
    server.serve(greeter).map_err(not_a_mint())?;
    ended(&server, &server.wait(true))
}

fn serve_socket(config: &Config, hardware: &Hardware, signals: SigSet, swap: Swap) -> Result<(), Failure> {
    let KeeperPlacement::Socket { path, mint_uid, .. } = &hardware.place().keeper else {
        return Err(Failure::new(
            Kind::Configuration,
            "[keeper] socket, user and mint_user are not set, so the mint starts its own keeper; expected them for a keeper that runs by itself",
        ));
    };
    let listener = bind(path)
        .map_err(|error| Failure::new(Kind::Listen, format!("cannot listen at {}: {error}", path.display())))?;
    let progress = Progress::watched(signals, None)?;
    // A person may take as long as that takes, and is there to end what hangs.
    if *hardware.secret() != SecretSource::Prompt {
        progress.limit(config.keeper.start_limit)?;
    }
    let server = match open(config, hardware, PinTrust::Unproven, &mut |_| {}) {
        Ok(server) => server,
        Err(error) => {
            let _ = std::fs::remove_file(path);
            return Err(error.into());
        }
    };
    progress.opened(&server);
    swap.warn();
    let (accepting, mint_uid) = (Arc::clone(&server), *mint_uid);
    let accept = move || {
        let mut warnings = Warnings::default();
        for stream in listener.incoming() {
            match stream {
                Ok(stream) => {
                    if let Err(error) = admit(&accepting, stream, mint_uid) {
                        warnings.warn(&error);
                    }
                }
                Err(error) => {
                    warnings.warn(&error);
                    // Out of file descriptors, most likely: not at full speed.
                    std::thread::sleep(ACCEPT_PAUSE);
                }
            }
        }
    };
    start_thread("accept", accept)?;
    tracing::info!(socket = %path.display(), "the keeper is ready");
    let ending = ended(&server, &server.wait(false));
    let _ = std::fs::remove_file(path);
    ending
}

/// At the most a warning a second, whoever knocks how often.
struct Warnings {
    clock: SystemClock,
    last: Option<Timestamp>,
    unsaid: u64,
}

impl Default for Warnings {
    fn default() -> Self {
        Self { clock: SystemClock, last: None, unsaid: 0 }
    }
}

impl Warnings {
    fn warn(&mut self, error: &std::io::Error) {
        let now = self.clock.now();
        if self.last == Some(now) {
            self.unsaid += 1;
            return;
        }
        tracing::warn!(%error, unsaid = self.unsaid, "turned a connection away");
        (self.last, self.unsaid) = (Some(now), 0);
    }
}

/// A socket that the mint's user can reach; who connects is told by its uid, not by the mode.
fn bind(path: &Path) -> std::io::Result<UnixListener> {
    if UnixStream::connect(path).is_ok() {
        return Err(std::io::Error::new(std::io::ErrorKind::AddrInUse, "another keeper listens there"));
    }
    match std::fs::symlink_metadata(path) {
        Ok(metadata) if metadata.file_type().is_socket() => std::fs::remove_file(path)?,
        Ok(_) => {
            let message = "something else than a socket is there";
            return Err(std::io::Error::new(std::io::ErrorKind::AlreadyExists, message));
        }
        Err(_) => {}
    }
    // Not chmod after the fact, which would follow whatever took the socket's place in between. No other
    // thread runs yet that makes files.
    let before = umask(Mode::from_bits_truncate(0o111));
    let listener = UnixListener::bind(path);
    umask(before);
    listener
}

fn admit(server: &Server, stream: UnixStream, mint_uid: u32) -> std::io::Result<()> {
    let peer = getsockopt(&stream, PeerCredentials)?;
    if peer.uid() != mint_uid {
        let message = format!("uid {} is not the mint's, expected {mint_uid}", peer.uid());
        return Err(std::io::Error::new(std::io::ErrorKind::PermissionDenied, message));
    }
    server.serve(Greeter::new(stream)?)
}

/// How far this keeper is, for the threads that watch for its end. Opening a device can take long, or hang:
/// until it is open the end of the mint, or a signal, ends the process at once, and without the module's
/// destructors.
#[derive(Clone, Default)]
struct Progress(Arc<OnceLock<Arc<Server>>>);

impl Progress {
    fn watched(signals: SigSet, mint: Option<&UnixStream>) -> Result<Self, Failure> {
        let progress = Self::default();
        let signalled = progress.clone();
        start_thread("signals", move || {
            // An error cannot be acted on; the end of the mint then ends the keeper.
            if signals.wait().is_ok() {
                signalled.end();
            }
        })?;
        if let Some(mint) = mint {
            let mint = mint.try_clone().map_err(Failure::while_doing("cannot watch the mint"))?;
            let closed = progress.clone();
            start_thread("mint-watch", move || {
                // Without events asked for, what remains is POLLHUP.
                let mut watched = [PollFd::new(mint.as_fd(), PollFlags::empty())];
                while poll(&mut watched, PollTimeout::NONE) == Err(Errno::EINTR) {}
                closed.end();
            })?;
        }
        Ok(progress)
    }

    /// Ends this keeper where the device is not open within `limit`. For one that no mint watches over; whether a
    /// PIN was being tried is remembered.
    fn limit(&self, limit: Duration) -> Result<(), Failure> {
        let progress = self.clone();
        start_thread("start-watch", move || {
            std::thread::sleep(limit);
            if progress.0.get().is_none() {
                tracing::error!(seconds = limit.as_secs(), "the device does not open; ending this keeper");
                end_at_once();
            }
        })
    }

    fn opened(&self, server: &Arc<Server>) {
        let _ = self.0.set(Arc::clone(server));
    }

    fn end(&self) {
        match self.0.get() {
            Some(server) => server.ask_to_end(),
            None => end_at_once(),
        }
    }
}

fn start_thread(name: &str, work: impl FnOnce() + Send + 'static) -> Result<(), Failure> {
    let started = std::thread::Builder::new().name(name.to_owned()).spawn(work);
    started.map(drop).map_err(Failure::while_doing("cannot start a thread"))
}

/// Ends this process while a call into the module may be under way. An orderly exit would run the module's
/// destructors, which take away what that call uses, or wait for it; an abort would ask for a core file.
fn end_at_once() {
    let _ = kill(Pid::this(), Signal::SIGKILL);
}

fn open(
    config: &Config,
    hardware: &Hardware,
    trust: PinTrust,
    progress: &mut dyn FnMut(LoginStep),
) -> Result<Arc<Server>, hardware::Error> {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let entropy: Arc<dyn Entropy> = Arc::new(SystemEntropy::new());
    let device = device::open(hardware, trust, progress, &clock, &entropy)?;
    let policy = Policy::new(config.token_profiles()).with_delegated(config.signing_profiles.clone(), &clock);
    let worker = Worker::new(device.as_ref(), policy, config.keeper.verify_signatures, Arc::clone(&clock), entropy)?;
    let settings = ServerSettings {
        sessions: hardware.sessions(),
        queue_capacity: config.keeper.queue_capacity,
        hang_limit: config.keeper.hang_limit,
    };
    Ok(Arc::new(Server::start(device, worker, settings, clock)?))
}

fn ended(server: &Server, ending: &Ending) -> Result<(), Failure> {
    if let Ending::Hung(duration) = ending {
        tracing::error!(seconds = duration.as_secs(), "a call into the device does not return; ending this keeper");
        end_at_once();
    }
    // Closing calls into the device too. A keeper that hung there would still be connected to, and never
    // be started anew by whoever runs it.
    start_thread("close-watch", || {
        std::thread::sleep(CLOSE_LIMIT);
        tracing::error!("the device does not let go; ending this keeper");
        end_at_once();
    })?;
    if !server.close() {
        end_at_once();
    }
    match ending {
        Ending::Asked => Ok(()),
        Ending::Lost(error) => Err(Failure::new(Kind::Hardware, error.to_string())),
        Ending::Hung(_) => Err(Failure::new(Kind::Hardware, "a call into the device does not return")),
    }
}
