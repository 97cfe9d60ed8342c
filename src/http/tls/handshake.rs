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

#[cfg(test)]
mod tests {
    use std::fs::{self, Permissions};
    use std::os::unix::fs::PermissionsExt as _;
    use std::sync::atomic::{AtomicI64, Ordering};
    use std::time::Instant;

    use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, date_time_ymd};
    use rustls::pki_types::{PrivateKeyDer, ServerName};
    use rustls::{ClientConfig, HandshakeKind, RootCertStore};
    use tempfile::TempDir;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream};
    use tokio_rustls::TlsConnector;

    use super::*;
    use crate::clock::{Clock, SystemClock, Timestamp};
    use crate::http::tls::{ClientCertificates, TlsSettings};

    /// The year in which the client's certificate is valid.
    const NOW: i64 = 1_767_225_600;
    const YEAR: i64 = 366 * 24 * 60 * 60;

    struct TestClock(AtomicI64);

    impl Clock for TestClock {
        fn now(&self) -> Timestamp {
            Timestamp::from_unix_seconds(self.0.load(Ordering::Relaxed))
        }

        fn instant(&self) -> Instant {
            SystemClock.instant()
        }
    }

    /// A listener and a client, whose certificate one authority vouches for.
    struct Scene {
        handshakes: Handshakes,
        clock: Arc<TestClock>,
        client: TlsConnector,
        certificate: Vec<u8>,
        folder: TempDir,
    }

    impl Scene {
        fn new() -> Self {
            let mut parameters = CertificateParams::default();
            parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
            let authority = CertifiedIssuer::self_signed(parameters, KeyPair::generate().unwrap()).unwrap();
            let (server_key, client_key) = (KeyPair::generate().unwrap(), KeyPair::generate().unwrap());
            let mut parameters = CertificateParams::new(["localhost".to_owned()]).unwrap();
            let server = parameters.signed_by(&server_key, &authority).unwrap();
            parameters.not_before = date_time_ymd(2026, 1, 1);
            parameters.not_after = date_time_ymd(2026, 12, 31);
            let client = parameters.signed_by(&client_key, &authority).unwrap();

            let folder = TempDir::new().unwrap();
            let path = |name: &str| folder.path().join(name);
            for (name, text) in
                [("certificate", server.pem()), ("key", server_key.serialize_pem()), ("authority", authority.pem())]
            {
                fs::write(path(name), text).unwrap();
                fs::set_permissions(path(name), Permissions::from_mode(0o600)).unwrap();
            }
            let settings = TlsSettings {
                table: "listen.tls",
                certificate: path("certificate"),
                key: path("key"),
                client_certificates: ClientCertificates::Optional { authorities: Some(path("authority")) },
                handshake_limit: Duration::from_secs(60),
            };
            let clock = Arc::new(TestClock(AtomicI64::new(NOW)));
            let certificates = Certificates::load(settings, Arc::clone(&clock) as Arc<dyn Clock>).unwrap();

            let mut roots = RootCertStore::empty();
            roots.add(authority.der().clone()).unwrap();
            let key = PrivateKeyDer::try_from(client_key.serialize_der()).unwrap();
            let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
            let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
            let builder = builder.with_root_certificates(roots);
            let config = builder.with_client_auth_cert(vec![client.der().clone()], key).unwrap();
            Self {
                handshakes: Handshakes::new(Arc::new(certificates), 2),
                clock,
                client: Arc::new(config).into(),
                certificate: client.der().to_vec(),
                folder,
            }
        }

        /// A handshake, and how it went.
        async fn handshake(&self) -> (Arc<PresentedCertificate>, HandshakeKind) {
            let (ours, theirs) = tokio::io::duplex(64 * 1024);
            let name = ServerName::try_from("localhost").unwrap();
            let (secured, client) = tokio::join!(self.handshakes.secure(ours), self.client.connect(name, theirs));
            let mut secured: Secured<DuplexStream> = secured.unwrap();
            let mut client = client.unwrap();
            // The tickets for the next time come before the answer.
            secured.stream.write_all(b"answer").await.unwrap();
            client.read_exact(&mut [0; 6]).await.unwrap();
            (secured.certificate.unwrap(), client.get_ref().1.handshake_kind().unwrap())
        }
    }

    #[tokio::test]
    async fn a_session_is_resumed_after_a_reload_and_its_certificate_is_judged_anew() {
        let scene = Scene::new();
        let (certificate, kind) = scene.handshake().await;
        assert_eq!((certificate.is_trusted, kind), (true, HandshakeKind::Full));
        assert_eq!(certificate.der, scene.certificate);
        scene.handshakes.certificates.reload().unwrap();
        let (certificate, kind) = scene.handshake().await;
        assert_eq!((certificate.is_trusted, kind), (true, HandshakeKind::Resumed));
        assert_eq!(certificate.der, scene.certificate);
        // Another authority is in the file, which vouches for nobody who is there.
        let mut parameters = CertificateParams::default();
        parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let other = parameters.self_signed(&KeyPair::generate().unwrap()).unwrap();
        fs::write(scene.folder.path().join("authority"), other.pem()).unwrap();
        scene.handshakes.certificates.reload().unwrap();
        let (certificate, kind) = scene.handshake().await;
        assert_eq!((certificate.is_trusted, kind), (false, HandshakeKind::Resumed));
    }

    #[tokio::test]
    async fn a_certificate_that_expired_is_presented_and_not_trusted() {
        let scene = Scene::new();
        scene.clock.0.fetch_add(YEAR, Ordering::Relaxed);
        let (certificate, _) = scene.handshake().await;
        assert!(!certificate.is_trusted);
        assert!(!certificate.is_valid_at(scene.clock.now()));
        assert_eq!(certificate.der, scene.certificate);
    }
}
