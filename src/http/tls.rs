//! TLS on the public listener: its certificate, which may be replaced while it is in use, and the handshake.

mod client_certificate;
mod files;
mod handshake;

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use rustls::crypto::aws_lc_rs::{Ticketer, default_provider};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::UnixTime;
use rustls::server::{ProducesTickets, ServerConfig, WebPkiClientVerifier};
use rustls::time_provider::TimeProvider;

use self::client_certificate::{AnyCertificate, Authorities};
use self::files::Stamps;
pub use self::files::TlsError;
pub(super) use self::handshake::{Handshakes, Secured};
use crate::clock::{Clock, Timestamp};
use crate::oauth::certificate::PresentedCertificate;

/// How often the files are looked at. A change is taken up when it has lasted for one more look, because certificate
/// and key are written one after the other.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// What clients may speak on a connection (RFC 7301), the preferred one first.
const HTTP2: &[u8] = b"h2";
const HTTP1: &[u8] = b"http/1.1";

/// TLS as it is configured.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct TlsSettings {
    /// The PEM file of the certificate and those between it and its authority.
    pub certificate: PathBuf,
    /// The PEM file of its private key, which only its owner may read.
    pub key: PathBuf,
    /// Whether clients are asked for certificates.
    pub client_certificates: ClientCertificates,
    /// For a handshake.
    pub handshake_limit: Duration,
}

/// Whether clients are asked for certificates.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum ClientCertificates {
    /// They are not.
    None,
    /// They are, and need none. Any is taken whose private key the client holds.
    Optional {
        /// The PEM file of the authorities that make one trusted; without it none is.
        authorities: Option<PathBuf>,
    },
}

/// The certificate of the listener and the authorities of its clients, as they were last read. A connection keeps
/// what it began with.
pub struct Certificates {
    settings: TlsSettings,
    provider: Arc<CryptoProvider>,
    clock: Arc<dyn Clock>,
    /// One for all that is read, so that clients can resume sessions after a change. Nothing that a session holds is
    /// trusted because of it: a client's certificate is judged anew on each connection.
    tickets: Arc<dyn ProducesTickets>,
    current: ArcSwap<Current>,
    /// Held while files are read, so that of two readings the later one counts.
    seen: Mutex<Stamps>,
}

/// What was read at one time.
struct Current {
    config: Arc<ServerConfig>,
    authorities: Option<Authorities>,
    not_after: Timestamp,
}

impl Certificates {
    /// Reads the files of `settings`.
    ///
    /// # Errors
    /// [`TlsError`]: which setting, which file, what was expected.
    pub fn load(settings: TlsSettings, clock: Arc<dyn Clock>) -> Result<Self, TlsError> {
        let provider = Arc::new(default_provider());
        let tickets = Ticketer::new().map_err(TlsError::Library)?;
        let seen = Stamps::of(&settings);
        let current = Current::read(&settings, &provider, &clock, &tickets)?;
        current.warn_of_expiry(&clock);
        Ok(Self { settings, provider, clock, tickets, current: ArcSwap::from_pointee(current), seen: Mutex::new(seen) })
    }

    /// Reads the files again, whether they changed or not. Where they are no good, all stays as it was.
    ///
    /// # Errors
    /// As [`Self::load`].
    pub fn reload(&self) -> Result<(), TlsError> {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        *seen = Stamps::of(&self.settings);
        self.replace()
    }

    /// Reads the files again whenever they changed, for as long as it is polled. What is no good is logged, once.
    pub async fn follow(self: Arc<Self>) {
        let mut ticks = tokio::time::interval(LOOK_EVERY);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut before = None;
        loop {
            ticks.tick().await;
            let certificates = Arc::clone(&self);
            // A file system may take its time.
            let look = tokio::task::spawn_blocking(move || certificates.look(before));
            before = look.await.unwrap_or_default();
        }
    }

    /// Takes up a change that was there at the look `before` already; tells what it saw.
    fn look(&self, before: Option<Stamps>) -> Option<Stamps> {
        let now = Stamps::of(&self.settings);
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if now != *seen && before.as_ref() == Some(&now) {
            *seen = now.clone();
            if let Err(error) = self.replace() {
                tracing::warn!(%error, "the certificate stays as it was");
            }
        }
        Some(now)
    }

    fn replace(&self) -> Result<(), TlsError> {
        let current = Current::read(&self.settings, &self.provider, &self.clock, &self.tickets)?;
        tracing::info!(not_after = %current.not_after, "the certificate was read again");
        current.warn_of_expiry(&self.clock);
        self.current.store(Arc::new(current));
        Ok(())
    }

    /// When the certificate of the listener expires.
    pub fn not_after(&self) -> Timestamp {
        self.current.load().not_after
    }

    /// For a handshake.
    pub fn handshake_limit(&self) -> Duration {
        self.settings.handshake_limit
    }
}

impl Current {
    fn read(
        settings: &TlsSettings,
        provider: &Arc<CryptoProvider>,
        clock: &Arc<dyn Clock>,
        tickets: &Arc<dyn ProducesTickets>,
    ) -> Result<Self, TlsError> {
        let key = files::certified_key(settings, provider)?;
        let leaf = key.cert.first().map(|leaf| PresentedCertificate::parse(leaf));
        let Some(Ok(leaf)) = leaf else {
            return Err(TlsError::certificate(settings, "expected an X.509 certificate"));
        };
        let (verifier, authorities) = match &settings.client_certificates {
            ClientCertificates::None => (WebPkiClientVerifier::no_client_auth(), None),
            ClientCertificates::Optional { authorities } => {
                let authorities = authorities.as_deref().map(|path| files::authorities(path, provider)).transpose()?;
                (AnyCertificate::verifier(provider), authorities)
            }
        };
        let time = Arc::new(Time(Arc::clone(clock)));
        let mut config = ServerConfig::builder_with_details(Arc::clone(provider), time)
            // TLS 1.2 and 1.3; rustls knows nothing older.
            .with_safe_default_protocol_versions()
            .map_err(TlsError::Library)?
            .with_client_cert_verifier(verifier)
            .with_cert_resolver(Arc::new(rustls::sign::SingleCertAndKey::from(key)));
        config.alpn_protocols = vec![HTTP2.to_vec(), HTTP1.to_vec()];
        config.ticketer = Arc::clone(tickets);
        Ok(Self { config: Arc::new(config), authorities, not_after: leaf.not_after })
    }

    fn warn_of_expiry(&self, clock: &Arc<dyn Clock>) {
        if self.not_after < clock.now() {
            tracing::warn!(not_after = %self.not_after, "the certificate of the listener has expired");
        }
    }
}

/// The clock, for rustls.
#[derive(Clone)]
struct Time(Arc<dyn Clock>);

impl Time {
    fn now(&self) -> UnixTime {
        let seconds = u64::try_from(self.0.now().unix_seconds()).unwrap_or_default();
        UnixTime::since_unix_epoch(Duration::from_secs(seconds))
    }
}

impl TimeProvider for Time {
    fn current_time(&self) -> Option<UnixTime> {
        Some(self.now())
    }
}

impl std::fmt::Debug for Time {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Time")
    }
}
