//! `mintkeep keeper`: the process that holds the hardware.

use std::os::fd::AsFd as _;
use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::sync::Arc;

use nix::sys::signal::{SigSet, Signal, kill};
use nix::sys::socket::{getsockopt, sockopt::PeerCredentials};
use nix::unistd::Pid;

use super::{Failure, Kind, environment};
use crate::clock::{Clock, SystemClock};
use crate::config::{Config, KeeperPlacement};
use crate::entropy::{Entropy, SystemEntropy};
use crate::hardware;
use crate::hardware::pkcs11::Pkcs11Device;
use crate::keeper::policy::Policy;
use crate::keeper::server::{Ending, Server, ServerSettings, refuse};
use crate::keeper::wire::StartFailure;
use crate::keeper::worker::Worker;

/// How the keeper meets the mint.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Meeting {
    /// The mint started this process with one end of a socket pair as its standard input.
    StandardInput,
    /// At the configured Unix socket.
    Socket,
}

/// Runs until the mint is gone, a signal asks for the end, or the device has to be opened anew.
///
/// # Errors
/// [`Failure`]; over a socket pair the mint was told already.
pub fn run(config: &Config, meeting: Meeting) -> Result<(), Failure> {
    environment::ensure(&config.hardware.environment)?;
    // Before any thread starts, so that all of them leave the signals to the one that waits for them.
    let signals = SigSet::from_iter([Signal::SIGTERM, Signal::SIGINT]);
    signals.thread_block().map_err(Failure::while_doing("cannot block signals"))?;
    match meeting {
        Meeting::StandardInput => serve_standard_input(config, signals),
        Meeting::Socket => serve_socket(config, signals),
    }
}

fn serve_standard_input(config: &Config, signals: SigSet) -> Result<(), Failure> {
    let descriptor = std::io::stdin().as_fd().try_clone_to_owned();
    let stream = UnixStream::from(descriptor.map_err(Failure::while_doing("cannot use standard input"))?);
    let server = match open(config) {
        Ok(server) => server,
        Err(error) => {
            let failure = StartFailure { message: error.to_string(), is_final: error.is_final() };
            refuse(stream, failure).map_err(Failure::while_doing("standard input is not a mint's socket"))?;
            return Err(error.into());
        }
    };
    end_on(signals, &server)?;
    server.serve(stream).map_err(Failure::while_doing("standard input is not a mint's socket"))?;
    ended(&server, &server.wait(true))
}

fn serve_socket(config: &Config, signals: SigSet) -> Result<(), Failure> {
    let KeeperPlacement::Socket { path, mint_uid, .. } = &config.keeper.placement else {
        return Err(Failure::new(
            Kind::Configuration,
            "[keeper] socket, user and mint_user are not set, so the mint starts its own keeper; expected them for a keeper that runs by itself",
        ));
    };
    let listener = bind(path)
        .map_err(|error| Failure::new(Kind::Listen, format!("cannot listen at {}: {error}", path.display())))?;
    let server = open(config)?;
    end_on(signals, &server)?;
    let (accepting, mint_uid) = (Arc::clone(&server), *mint_uid);
    let accept = move || {
        for stream in listener.incoming() {
            match stream.and_then(|stream| admit(&accepting, stream, mint_uid)) {
                Ok(()) => {}
                Err(error) => tracing::warn!(%error, "turned a connection away"),
            }
        }
    };
    std::thread::Builder::new()
        .name("accept".to_owned())
        .spawn(accept)
        .map_err(Failure::while_doing("cannot start a thread"))?;
    tracing::info!(socket = %path.display(), "the keeper is ready");
    let ending = ended(&server, &server.wait(false));
    let _ = std::fs::remove_file(path);
    ending
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
    let listener = UnixListener::bind(path)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o666))?;
    Ok(listener)
}

fn admit(server: &Server, stream: UnixStream, mint_uid: u32) -> std::io::Result<()> {
    let peer = getsockopt(&stream, PeerCredentials)?;
    if peer.uid() != mint_uid {
        let message = format!("uid {} is not the mint's, expected {mint_uid}", peer.uid());
        return Err(std::io::Error::new(std::io::ErrorKind::PermissionDenied, message));
    }
    server.serve(stream)
}

/// Starts the thread that waits for the signals that ask for the end.
fn end_on(signals: SigSet, server: &Arc<Server>) -> Result<(), Failure> {
    let server = Arc::clone(server);
    let wait = move || {
        // An error cannot be acted on; the end of the mint then ends the keeper.
        if signals.wait().is_ok() {
            server.ask_to_end();
        }
    };
    std::thread::Builder::new()
        .name("signals".to_owned())
        .spawn(wait)
        .map_err(Failure::while_doing("cannot start a thread"))?;
    Ok(())
}

fn open(config: &Config) -> Result<Arc<Server>, hardware::Error> {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let entropy: Arc<dyn Entropy> = Arc::new(SystemEntropy::new());
    let device = Pkcs11Device::open(&config.hardware.device, clock.as_ref(), entropy.as_ref())?;
    let policy = Policy::new(config.signing_profiles());
    let worker = Worker::new(&device, policy, config.keeper.verify_signatures, Arc::clone(&clock), entropy)?;
    let settings = ServerSettings {
        sessions: config.hardware.sessions,
        queue_capacity: config.keeper.queue_capacity,
        hang_limit: config.keeper.hang_limit,
    };
    Ok(Arc::new(Server::start(Box::new(device), worker, settings, clock)?))
}

fn ended(server: &Server, ending: &Ending) -> Result<(), Failure> {
    match ending {
        Ending::Asked => {
            server.close();
            Ok(())
        }
        Ending::Lost(error) => Err(Failure::new(Kind::Hardware, error.to_string())),
        Ending::Hung(duration) => {
            tracing::error!(seconds = duration.as_secs(), "a call into the device does not return; ending this keeper");
            // An orderly exit would run the module's destructors, which may wait for the same call; an
            // abort would leave its memory, and the keys of a software token, in a core file.
            let _ = kill(Pid::this(), Signal::SIGKILL);
            Err(Failure::new(Kind::Hardware, "a call into the device does not return"))
        }
    }
}
