//! One connection: its handshake, and HTTP/1.1 or HTTP/2 on it until it ends.

use std::convert::Infallible;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::Request;
use axum::http::StatusCode;
use axum::http::header::CONNECTION;
use axum::response::{IntoResponse as _, Response};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::graceful::Watcher;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::watch;
use tokio_io_timeout::TimeoutStream;
use tower::ServiceExt as _;

use super::streams::{Reason, Streams};
use super::{Limits, Peer, Protocol};
use crate::http::tls::{Handshakes, Secured};

/// The most bytes that the head of a request may have.
const HEAD_BYTES: u16 = 16 * 1024;

/// Requests at a time on a connection of HTTP/2.
const STREAMS: u32 = 100;

/// The most bytes of a body, and of all bodies of a connection of HTTP/2, that are kept until they are read. No body
/// that is read to its end is larger than the first; nothing smaller than the second can be asked for
/// (RFC 9113 §6.9.2).
const STREAM_WINDOW: u32 = 32 * 1024;
const CONNECTION_WINDOW: u32 = 65_535;

/// The most bytes of answers that are kept for a stream whose client does not read.
const ANSWER_BYTES: usize = 32 * 1024;

/// For the client to close an idle connection of HTTP/2 after it was told to.
const CLOSE_LIMIT: Duration = Duration::from_secs(2);

/// What a connection is served with.
pub(super) struct Connection {
    pub(super) router: Router,
    pub(super) limits: Limits,
    pub(super) peer: Peer,
    /// Waited for when the listener ends.
    pub(super) watcher: Watcher,
    /// Whether the listener ends.
    pub(super) end: watch::Receiver<bool>,
}

/// A connection whose writes end.
type Guarded<Stream> = Pin<Box<TimeoutStream<Stream>>>;

impl Connection {
    /// Serves `stream`, in the clear. A client that breaks off or breaks HTTP is no event of ours.
    pub(super) async fn serve<Stream: AsyncRead + AsyncWrite + Unpin + Send + 'static>(
        self,
        stream: Stream,
        protocol: Protocol,
    ) {
        let stream = self.guarded(stream);
        match protocol {
            Protocol::Http1 => self.serve_http1(stream).await,
            Protocol::Http2 => self.serve_http2(stream).await,
        }
    }

    /// Serves `stream` after its handshake.
    pub(super) async fn serve_tls<Stream: AsyncRead + AsyncWrite + Unpin + Send + 'static>(
        mut self,
        stream: Stream,
        handshakes: &Handshakes,
    ) {
        let stream = self.guarded(stream);
        let secured = tokio::select! {
            secured = handshakes.secure(stream) => secured,
            // It has asked for nothing yet.
            _ = self.end.wait_for(|asked| *asked) => return,
        };
        match secured {
            Ok(Secured { stream, is_http2, certificate }) => {
                self.peer.certificate = certificate;
                if is_http2 { self.serve_http2(stream).await } else { self.serve_http1(stream).await }
            }
            Err(error) => tracing::debug!(%error, peer = ?self.peer.address, "a handshake failed"),
        }
    }

    /// A client that never reads its answers is let go like one that never sends its request.
    fn guarded<Stream: AsyncRead + AsyncWrite>(&self, stream: Stream) -> Guarded<Stream> {
        let mut stream = TimeoutStream::new(stream);
        stream.set_write_timeout(Some(self.limits.request_limit));
        Box::pin(stream)
    }

    async fn serve_http1<Stream: AsyncRead + AsyncWrite + Unpin + Send + 'static>(self, stream: Stream) {
        let Self { router, limits, peer, watcher, end: _ } = self;
        let service = hyper::service::service_fn(move |request: Request<Incoming>| {
            answer(router.clone(), request, peer.clone(), limits)
        });
        let connection = http1::Builder::new()
            // Without a timer the limit on the headers would not work.
            .timer(TokioTimer::new())
            .header_read_timeout(limits.header_limit)
            .max_buf_size(HEAD_BYTES.into())
            .serve_connection(TokioIo::new(stream), service);
        let _ = watcher.watch(connection).await;
    }

    async fn serve_http2<Stream: AsyncRead + AsyncWrite + Unpin + Send + 'static>(self, stream: Stream) {
        // The listener waits for the watcher; that it ends is said by `end`.
        let Self { router, limits, peer, watcher: _watcher, mut end } = self;
        let streams = Streams::default();
        let begun = streams.clone();
        let service = hyper::service::service_fn(move |request: Request<Incoming>| {
            let stream = begun.begin();
            let is_cut = Arc::new(AtomicBool::new(false));
            let cut = Arc::clone(&is_cut);
            let request = request.map(|body| {
                body.map_err(move |error| {
                    cut.store(true, Ordering::Relaxed);
                    error
                })
            });
            let answered = answer(router.clone(), request, peer.clone(), limits);
            async move {
                let mut response = answered.await?;
                // It is about the connection, and HTTP/2 has another word for it (RFC 9113 §8.2.2).
                if response.headers_mut().remove(CONNECTION).is_some() {
                    stream.close_connection();
                }
                // An answer to half a request is for nobody.
                if !is_cut.load(Ordering::Relaxed) {
                    stream.finish();
                }
                Ok::<_, Infallible>(response)
            }
        });
        let connection = http2::Builder::new(TokioExecutor::new())
            .max_concurrent_streams(STREAMS)
            .max_header_list_size(HEAD_BYTES.into())
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .max_send_buf_size(ANSWER_BYTES)
            .serve_connection(TokioIo::new(stream), service);
        let mut connection = pin!(connection);
        tokio::select! {
            _ = connection.as_mut() => return,
            _ = end.wait_for(|asked| *asked) => {}
            reason = streams.reason_to_end(limits.header_limit) => match reason {
                Reason::Idle | Reason::Asked => {}
                Reason::BrokenOff => return,
            }
        }
        connection.as_mut().graceful_shutdown();
        tokio::select! {
            _ = connection => {}
            () = streams.idle(CLOSE_LIMIT) => {}
            () = tokio::time::sleep(limits.request_limit) => {}
        }
    }
}

async fn answer<Body: hyper::body::Body<Data = Bytes, Error = hyper::Error> + Send + 'static>(
    router: Router,
    mut request: Request<Body>,
    peer: Peer,
    limits: Limits,
) -> Result<Response, Infallible> {
    request.extensions_mut().insert(peer);
    match tokio::time::timeout(limits.request_limit, router.oneshot(request)).await {
        Ok(response) => response,
        Err(_) => Ok(StatusCode::REQUEST_TIMEOUT.into_response()),
    }
}
