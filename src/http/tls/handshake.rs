//! The handshake: bounded in time and in number, and out of the way of others.

use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{Semaphore, SemaphorePermit, watch};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::client_certificate::presented;
use super::{Certificates, HTTP2, Time};
use crate::oauth::certificate::PresentedCertificate;

/// For a handshake while others wait for its place. Most take two journeys; this lets slow networks in and keeps
/// those who only occupy places from holding up the others.
const CROWDED_LIMIT: Duration = Duration::from_secs(1);

/// One in this many connections may be in its handshake. The rest is left to clients that are through.
const ONE_IN: usize = 2;

/// The handshakes of a listener.
pub(in crate::http) struct Handshakes {
    certificates: Arc<Certificates>,
    places: Semaphore,
    waiting: watch::Sender<usize>,
}

/// A connection after its handshake.
pub(in crate::http) struct Secured<Stream> {
    /// What is read and written, in the clear.
    pub(in crate::http) stream: TlsStream<Stream>,
    /// Whether HTTP/2 was agreed on, and HTTP/1.1 otherwise.
    pub(in crate::http) is_http2: bool,
    /// What the client presented.
    pub(in crate::http) certificate: Option<Arc<PresentedCertificate>>,
}

/// Why a connection did not come through.
#[derive(Debug, thiserror::Error)]
pub(in crate::http) enum HandshakeError {
    #[error("it took too long")]
    TimedOut,
    #[error("{0}")]
    Failed(#[from] std::io::Error),
    #[error("the client's certificate: {0}")]
    Certificate(#[from] crate::oauth::certificate::Malformed),
}

impl Handshakes {
    /// Those of a listener that has so many connections at a time.
    pub(in crate::http) fn new(certificates: Arc<Certificates>, max_connections: usize) -> Self {
        let places = Semaphore::new((max_connections / ONE_IN).max(1));
        Self { certificates, places, waiting: watch::Sender::new(0) }
    }

    /// Carries out the handshake of `stream`, once there is a place for it.
    pub(in crate::http) async fn secure<Stream: AsyncRead + AsyncWrite + Unpin>(
        &self,
        stream: Stream,
    ) -> Result<Secured<Stream>, HandshakeError> {
        tokio::select! {
            secured = self.in_place(stream) => secured,
            () = tokio::time::sleep(self.certificates.handshake_limit()) => Err(HandshakeError::TimedOut),
        }
    }

    async fn in_place<Stream: AsyncRead + AsyncWrite + Unpin>(
        &self,
        stream: Stream,
    ) -> Result<Secured<Stream>, HandshakeError> {
        let _place = self.place().await;
        tokio::select! {
            secured = self.accept(stream) => secured,
            () = self.is_in_the_way() => Err(HandshakeError::TimedOut),
        }
    }

    async fn accept<Stream: AsyncRead + AsyncWrite + Unpin>(
        &self,
        stream: Stream,
    ) -> Result<Secured<Stream>, HandshakeError> {
        let current = self.certificates.current.load_full();
        let stream = TlsAcceptor::from(Arc::clone(&current.config)).accept(stream).await?;
        let (_, session) = stream.get_ref();
        let is_http2 = session.alpn_protocol() == Some(HTTP2);
        let chain = session.peer_certificates().unwrap_or_default();
        let now = Time(Arc::clone(&self.certificates.clock)).now();
        let certificate = presented(chain, current.authorities.as_ref(), now)?;
        Ok(Secured { stream, is_http2, certificate })
    }

    async fn place(&self) -> Option<SemaphorePermit<'_>> {
        if let Ok(place) = self.places.try_acquire() {
            return Some(place);
        }
        let _waiting = Waiting::among(&self.waiting);
        // Never closed, so never an error.
        self.places.acquire().await.ok()
    }

    /// Ends when it has had its time and somebody waits.
    async fn is_in_the_way(&self) {
        tokio::time::sleep(CROWDED_LIMIT).await;
        // The sender is here, so never an error.
        let _ = self.waiting.subscribe().wait_for(|waiting| *waiting > 0).await;
    }
}

/// One that waits for a place, until it is dropped.
struct Waiting<'a>(&'a watch::Sender<usize>);

impl<'a> Waiting<'a> {
    fn among(waiting: &'a watch::Sender<usize>) -> Self {
        waiting.send_modify(|waiting| *waiting += 1);
        Self(waiting)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.send_modify(|waiting| *waiting -= 1);
    }
}
