//! The accept loop: connections bounded in number, their handshakes, headers, bodies and idle times bounded in
//! size and time, and a drain at the end that is bounded too.

mod connection;
mod streams;

use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::net::IpAddr;
use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::Request;
use axum::response::IntoResponse;
use hyper_util::server::graceful::GracefulShutdown;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::{Semaphore, watch};
use tower::Service;

use self::connection::Connection;
use super::tls::{Certificates, Handshakes};
use crate::oauth::certificate::PresentedCertificate;

/// What a listener allows its clients.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Limits {
    /// Connections at a time; the next one waits in the kernel's queue.
    pub max_connections: usize,
    /// For the headers of a request, and for the pause before it.
    pub header_limit: Duration,
    /// For the rest of a request, its answer included.
    pub request_limit: Duration,
    /// For the requests that are under way when a shutdown is asked for.
    pub drain_limit: Duration,
}

/// A pause after a failed accept: out of file descriptors, most likely, and better not at full speed.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// The other end of a connection. Every request carries it as an extension.
#[derive(Clone, Debug)]
pub struct Peer {
    /// Its address, where it has one.
    pub address: Option<IpAddr>,
    /// The user that it runs under, where it is at a Unix socket.
    pub uid: Option<u32>,
    /// The certificate that it presented, where it did.
    pub certificate: Option<Arc<PresentedCertificate>>,
}

/// Where a connection comes from.
#[derive(Clone, Copy, Debug, Default)]
pub struct Origin {
    /// The address at its other end, where there is one.
    pub address: Option<IpAddr>,
    /// The user at its other end, as the kernel says.
    pub uid: Option<u32>,
}

impl Origin {
    /// That of a connection to a Unix socket.
    pub fn of_unix(stream: &tokio::net::UnixStream) -> Self {
        Self { address: None, uid: stream.peer_cred().ok().map(|peer| peer.uid()) }
    }
}

/// What is spoken in the clear. Over TLS the two sides agree on it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Protocol {
    /// HTTP/1.1.
    Http1,
    /// HTTP/2 from the first byte on (RFC 9113 §3.3).
    Http2,
}

/// Where connections come from.
pub trait Accept: Send + 'static {
    /// One connection.
    type Stream: AsyncRead + AsyncWrite + Unpin + Send + 'static;

    /// What is spoken there without TLS.
    const PROTOCOL: Protocol = Protocol::Http1;

    /// The next one, and where it comes from.
    fn accept(&self) -> impl Future<Output = io::Result<(Self::Stream, Origin)>> + Send;
}

impl Accept for TcpListener {
    type Stream = tokio::net::TcpStream;

    async fn accept(&self) -> io::Result<(Self::Stream, Origin)> {
        let (stream, address) = TcpListener::accept(self).await?;
        // An answer is one small write; waiting to fill a packet only costs time.
        stream.set_nodelay(true)?;
        Ok((stream, Origin { address: Some(address.ip()), uid: None }))
    }
}

/// A Unix socket that is removed when its listener ends.
pub struct UnixSocket {
    listener: UnixListener,
    path: PathBuf,
}

impl UnixSocket {
    /// Listens at `path`, for its owner only. A socket that nobody listens at any more is replaced.
    ///
    /// # Errors
    /// `AddrInUse` where somebody listens there; otherwise the file system's.
    pub fn bind(path: &Path) -> io::Result<Self> {
        Self::bind_with_mode(path, 0o600)
    }

    /// As [`Self::bind`], for those that `mode` lets in.
    ///
    /// # Errors
    /// As [`Self::bind`].
    pub fn bind_with_mode(path: &Path, mode: u32) -> io::Result<Self> {
        if std::os::unix::net::UnixStream::connect(path).is_ok() {
            return Err(io::Error::new(io::ErrorKind::AddrInUse, "another process listens there"));
        }
        match std::fs::symlink_metadata(path) {
            Ok(metadata) if !metadata.file_type().is_socket() => {
                return Err(io::Error::new(io::ErrorKind::AlreadyExists, "something else than a socket is there"));
            }
            Ok(_) | Err(_) => {}
        }
        // Made under another name and moved into place, so that it is never there with other permissions.
        let mut draft = path.as_os_str().to_owned();
        draft.push(".new");
        let draft = PathBuf::from(draft);
        let _ = std::fs::remove_file(&draft);
        let listener = UnixListener::bind(&draft)?;
        std::fs::set_permissions(&draft, std::fs::Permissions::from_mode(mode))?;
        std::fs::rename(&draft, path)?;
        Ok(Self { listener, path: path.to_owned() })
    }
}

impl Drop for UnixSocket {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path);
    }
}

impl Accept for UnixSocket {
    type Stream = tokio::net::UnixStream;

    async fn accept(&self) -> io::Result<(Self::Stream, Origin)> {
        let (stream, _) = self.listener.accept().await?;
        let origin = Origin::of_unix(&stream);
        Ok((stream, origin))
    }
}

/// A router that has `service` answer everything.
pub fn answered_by<Answering>(service: Answering) -> Router
where
    Answering: Service<Request, Error = Infallible> + Clone + Send + Sync + 'static,
    Answering::Response: IntoResponse,
    Answering::Future: Send + 'static,
{
    Router::new().fallback_service(service)
}

/// Serves `router`, over TLS where there are `certificates` for it, until `shutdown` says true, and then lets the
/// requests under way finish.
pub async fn serve<Listener: Accept>(
    listener: Listener,
    certificates: Option<Arc<Certificates>>,
    router: Router,
    limits: Limits,
    mut shutdown: watch::Receiver<bool>,
) {
    let handshakes = certificates.map(|certificates| Arc::new(Handshakes::new(certificates, limits.max_connections)));
    let connections = Arc::new(Semaphore::new(limits.max_connections));
    let graceful = GracefulShutdown::new();
    let end = shutdown.clone();
    let mut is_failing = false;
    let mut asked = pin!(shutdown.wait_for(|asked| *asked));
    loop {
        let accept = async {
            // Never closed, so never an error.
            let permit = Arc::clone(&connections).acquire_owned().await.ok();
            (permit, listener.accept().await)
        };
        let (permit, accepted) = tokio::select! {
            accepted = accept => accepted,
            _ = &mut asked => break,
        };
        let (stream, Origin { address, uid }) = match accepted {
            Ok(accepted) => {
                is_failing = false;
                accepted
            }
            Err(error) => {
                // The first of a row: it may go on for long.
                if !std::mem::replace(&mut is_failing, true) {
                    tracing::warn!(%error, "cannot accept connections");
                }
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let connection = Connection {
            router: router.clone(),
            limits,
            peer: Peer { address, uid, certificate: None },
            watcher: graceful.watcher(),
            end: end.clone(),
        };
        let handshakes = handshakes.clone();
        tokio::spawn(async move {
            match handshakes {
                None => connection.serve(stream, Listener::PROTOCOL).await,
                Some(handshakes) => connection.serve_tls(stream, &handshakes).await,
            }
            drop(permit);
        });
    }
    drop(listener);
    if tokio::time::timeout(limits.drain_limit, graceful.shutdown()).await.is_err() {
        tracing::warn!("closed connections whose requests did not finish in time");
    }
}
