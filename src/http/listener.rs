//! The accept loop: connections bounded in number, their headers, bodies and idle times bounded in
//! size and time, and a drain at the end that is bounded too.

use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::net::IpAddr;
use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::Request;
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::{Semaphore, watch};
use tokio_io_timeout::TimeoutStream;
use tower::ServiceExt as _;

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

/// The most bytes that the head of a request may have.
const HEAD_BYTES: usize = 16 * 1024;

/// A pause after a failed accept: out of file descriptors, most likely, and better not at full speed.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// The other end of a connection: its address, where it has one. Every request carries it as an extension.
#[derive(Clone, Copy, Debug)]
pub struct Peer(pub Option<IpAddr>);

/// Where connections come from.
pub trait Accept: Send + 'static {
    /// One connection.
    type Stream: AsyncRead + AsyncWrite + Unpin + Send + 'static;

    /// The next one, and who is at its other end.
    fn accept(&self) -> impl Future<Output = io::Result<(Self::Stream, Peer)>> + Send;
}

impl Accept for TcpListener {
    type Stream = tokio::net::TcpStream;

    async fn accept(&self) -> io::Result<(Self::Stream, Peer)> {
        let (stream, address) = TcpListener::accept(self).await?;
        // An answer is one small write; waiting to fill a packet only costs time.
        stream.set_nodelay(true)?;
        Ok((stream, Peer(Some(address.ip()))))
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
        std::fs::set_permissions(&draft, std::fs::Permissions::from_mode(0o600))?;
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

    async fn accept(&self) -> io::Result<(Self::Stream, Peer)> {
        self.listener.accept().await.map(|(stream, _)| (stream, Peer(None)))
    }
}

/// Serves `router` until `shutdown` says true, and then lets the requests under way finish.
pub async fn serve(listener: impl Accept, router: Router, limits: Limits, mut shutdown: watch::Receiver<bool>) {
    let connections = Arc::new(Semaphore::new(limits.max_connections));
    let graceful = GracefulShutdown::new();
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
        let (stream, peer) = match accepted {
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
        let connection = graceful.watch(connection(stream, peer, router.clone(), limits));
        tokio::spawn(async move {
            // A client that breaks off or breaks HTTP is no event of ours.
            let _ = connection.await;
            drop(permit);
        });
    }
    drop(listener);
    if tokio::time::timeout(limits.drain_limit, graceful.shutdown()).await.is_err() {
        tracing::warn!("closed connections whose requests did not finish in time");
    }
}

/// A connection whose writes end.
type Guarded<Stream> = Pin<Box<TimeoutStream<Stream>>>;

fn connection<Stream: AsyncRead + AsyncWrite + Unpin + Send + 'static>(
    stream: Stream,
    peer: Peer,
    router: Router,
    limits: Limits,
) -> http1::Connection<
    TokioIo<Guarded<Stream>>,
    impl hyper::service::HttpService<Incoming, ResBody = axum::body::Body, Error = Infallible, Future: Send>,
> {
    let service = hyper::service::service_fn(move |mut request: Request<Incoming>| {
        request.extensions_mut().insert(peer);
        answer(router.clone(), request, limits)
    });
    // A client that never reads its answers is let go like one that never sends its request.
    let mut stream = TimeoutStream::new(stream);
    stream.set_write_timeout(Some(limits.request_limit));
    http1::Builder::new()
        // Without a timer the limit on the headers would not work.
        .timer(TokioTimer::new())
        .header_read_timeout(limits.header_limit)
        .max_buf_size(HEAD_BYTES)
        .serve_connection(TokioIo::new(Box::pin(stream)), service)
}

async fn answer(router: Router, request: Request<Incoming>, limits: Limits) -> Result<Response, Infallible> {
    match tokio::time::timeout(limits.request_limit, router.oneshot(request)).await {
        Ok(response) => response,
        Err(_) => Ok(StatusCode::REQUEST_TIMEOUT.into_response()),
    }
}
