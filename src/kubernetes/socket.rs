//! The socket: a file, or a name in the abstract namespace of Linux, which has no permissions.

use std::fmt;
use std::io;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::SocketAddr;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::http::listener::{Accept, Origin, Protocol, UnixSocket};
use crate::oauth::frontend::FrontendProof;
use crate::oauth::registrations::CurrentRegistrations;

/// Who may open the file: the mint's user and group. Who of them may call is said by the uid.
const MODE: u32 = 0o660;

/// Connections at a time of those that are no front-end, so that they have an answer and nobody else has none.
const STRANGERS: usize = 4;

/// Where a kube-apiserver finds us.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Address {
    /// A file.
    Path(PathBuf),
    /// A name in the abstract namespace, without the `@` that it is written with.
    Abstract(String),
}

/// As `--service-account-signing-endpoint` takes it.
impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Path(path) => path.display().fmt(f),
            Self::Abstract(name) => write!(f, "@{name}"),
        }
    }
}

/// A socket that is listened at. A file is removed with its value.
pub struct Socket(Listener);

enum Listener {
    File(UnixSocket),
    Abstract(UnixListener),
}

impl Socket {
    /// Listens at `address`. A file that nobody listens at any more is replaced.
    ///
    /// # Errors
    /// `AddrInUse` where somebody listens there; otherwise the system's.
    pub fn bind(address: &Address) -> io::Result<Self> {
        Ok(Self(match address {
            Address::Path(path) => Listener::File(UnixSocket::bind_with_mode(path, MODE)?),
            Address::Abstract(name) => {
                let address = SocketAddr::from_abstract_name(name)?;
                let listener = std::os::unix::net::UnixListener::bind_addr(&address)?;
                listener.set_nonblocking(true)?;
                Listener::Abstract(UnixListener::from_std(listener)?)
            }
        }))
    }

    async fn accept(&self) -> io::Result<(UnixStream, Origin)> {
        match &self.0 {
            Listener::File(socket) => socket.accept().await,
            Listener::Abstract(listener) => {
                let (stream, _) = listener.accept().await?;
                let origin = Origin::of_unix(&stream);
                Ok((stream, origin))
            }
        }
    }
}

/// Who comes in at the socket: front-ends, and of others so few that they are in nobody's way.
pub(super) struct Entrance {
    socket: Socket,
    registrations: CurrentRegistrations,
    strangers: Arc<Semaphore>,
}

impl Entrance {
    pub(super) fn new(socket: Socket, registrations: CurrentRegistrations) -> Self {
        Self { socket, registrations, strangers: Arc::new(Semaphore::new(STRANGERS)) }
    }

    /// Whether a front-end runs under `uid`.
    fn knows(&self, uid: Option<u32>) -> bool {
        let registered = self.registrations.load();
        uid.is_some_and(|uid| registered.frontends.iter().any(|known| known.proof == FrontendProof::Uid(uid)))
    }
}

impl Accept for Entrance {
    type Stream = Connection;

    const PROTOCOL: Protocol = Protocol::Http2;

    async fn accept(&self) -> io::Result<(Self::Stream, Origin)> {
        loop {
            let (stream, origin) = self.socket.accept().await?;
            let place = if self.knows(origin.uid) {
                None
            } else {
                // Without a place, it ends here.
                let Ok(place) = Arc::clone(&self.strangers).try_acquire_owned() else { continue };
                Some(place)
            };
            return Ok((Connection { stream, _place: place }, origin));
        }
    }
}

/// A connection, and its place where it is a stranger's.
pub(super) struct Connection {
    stream: UnixStream,
    _place: Option<OwnedSemaphorePermit>,
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffers: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, buffers)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}
