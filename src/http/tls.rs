//! TLS on a listener: its certificate, which may be replaced while it is in use, and the handshake.

mod client_certificate;
mod files;
mod handshake;

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use rustls::crypto::CryptoProvider;
use rustls::crypto::aws_lc_rs::{Ticketer, default_provider};
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
    /// What the operator calls these, such as `listen.tls`, for messages.
    pub table: &'static str,
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

    /// Reads the files again, whether they changed or not. Where they are no good, all stays as it was, and the caller
    /// tells why. It blocks for as long as the file system does.
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
            let look = tokio::task::spawn_blocking(move || certificates.look(before.as_ref()));
            let Ok((stamps, outcome)) = look.await else { return };
            if let Some(Err(error)) = outcome {
                tracing::warn!(%error, "the certificate stays as it was");
            }
            before = Some(stamps);
        }
    }

    /// What is there now, and what came of taking it up: that is done with a change that was there at the look
    /// `before` already, once.
    fn look(&self, before: Option<&Stamps>) -> (Stamps, Option<Result<(), TlsError>>) {
        let now = Stamps::of(&self.settings);
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if now == *seen || before != Some(&now) {
            return (now, None);
        }
        *seen = now.clone();
        (now, Some(self.replace()))
    }

    fn replace(&self) -> Result<(), TlsError> {
        let current = Current::read(&self.settings, &self.provider, &self.clock, &self.tickets)?;
        let current = Arc::new(current);
        // In use before it is told.
        self.current.store(Arc::clone(&current));
        tracing::info!(not_after = %current.not_after, table = self.settings.table, "the certificate was read again");
        current.warn_of_expiry(&self.clock);
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
                let authorities =
                    authorities.as_deref().map(|path| files::authorities(settings, path, provider)).transpose()?;
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

#[cfg(test)]
mod tests {
    use std::fs::{self, Permissions};
    use std::os::unix::fs::{PermissionsExt as _, symlink};
    use std::time::Instant;

    use rcgen::{CertificateParams, KeyPair, date_time_ymd};
    use tempfile::TempDir;

    use super::*;
    use crate::clock::SystemClock;

    /// Time stands still.
    struct Frozen;

    impl Clock for Frozen {
        fn now(&self) -> Timestamp {
            Timestamp::from_unix_seconds(1_767_225_600)
        }

        fn instant(&self) -> Instant {
            SystemClock.instant()
        }
    }

    /// Certificate and key, until the end of `year`.
    fn pair(year: i32) -> (String, String) {
        let mut parameters = CertificateParams::new(["localhost".to_owned()]).unwrap();
        parameters.not_after = date_time_ymd(year, 12, 31);
        let key = KeyPair::generate().unwrap();
        (parameters.self_signed(&key).unwrap().pem(), key.serialize_pem())
    }

    struct Folder(TempDir);

    impl Folder {
        fn new() -> Self {
            let folder = Self(TempDir::new().unwrap());
            folder.write("certificate.pem", &pair(2030).0);
            folder
        }

        fn of(pair: &(String, String)) -> Self {
            let folder = Self(TempDir::new().unwrap());
            folder.put(pair);
            folder
        }

        fn put(&self, (certificate, key): &(String, String)) {
            self.write("certificate.pem", certificate);
            self.write("key.pem", key);
        }

        fn write(&self, name: &str, text: &str) {
            let path = self.0.path().join(name);
            fs::write(&path, text).unwrap();
            fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
        }

        fn settings(&self) -> TlsSettings {
            let path = |name: &str| self.0.path().join(name);
            TlsSettings {
                table: "listen.tls",
                certificate: path("certificate.pem"),
                key: path("key.pem"),
                client_certificates: ClientCertificates::Optional { authorities: None },
                handshake_limit: Duration::from_secs(10),
            }
        }

        fn load(&self) -> Result<Certificates, TlsError> {
            Certificates::load(self.settings(), Arc::new(Frozen))
        }

        #[track_caller]
        fn assert_refused(&self, expected: &[&str]) {
            let error = self.load().err().expect("it is refused").to_string();
            for part in expected {
                assert!(error.contains(part), "{part:?} is not in {error:?}");
            }
        }
    }

    fn year(certificates: &Certificates) -> String {
        certificates.not_after().to_string()[..4].to_owned()
    }

    #[test]
    fn what_cannot_be_used_is_named_with_its_setting() {
        let good = pair(2030);
        let folder = Folder::of(&good);
        assert_eq!(year(&folder.load().unwrap()), "2030");
        let key = folder.settings().key;
        fs::set_permissions(&key, Permissions::from_mode(0o640)).unwrap();
        folder.assert_refused(&["listen.tls.key", "key.pem", "others than its owner may read it", "chmod 600"]);
        folder.write("key.pem", &pair(2030).1);
        folder.assert_refused(&["listen.tls.key", "expected the key of the first certificate in"]);
        folder.write("key.pem", &good.0);
        folder.assert_refused(&["listen.tls.key", "expected a private key in PEM"]);
        fs::remove_file(&key).unwrap();
        folder.assert_refused(&["listen.tls.key", "No such file"]);
        for wrong in ["", "nonsense", &good.1, "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"] {
            folder.put(&(wrong.to_owned(), good.1.clone()));
            folder.assert_refused(&["listen.tls.certificate", "certificate.pem"]);
        }
        folder.put(&good);
        let mut settings = folder.settings();
        for wrong in ["", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"] {
            folder.write("ca.pem", wrong);
            let authorities = Some(folder.0.path().join("ca.pem"));
            settings.client_certificates = ClientCertificates::Optional { authorities };
            let error = Certificates::load(settings.clone(), Arc::new(Frozen)).err().unwrap().to_string();
            assert!(error.contains("listen.tls.client_ca"), "{error}");
        }
    }

    #[test]
    fn a_key_is_not_repeated() {
        let folder = Folder::new();
        folder.write("key.pem", "-----BEGIN PRIVATE KEY-----\nsecret!\n-----END PRIVATE KEY-----\n");
        let error = folder.load().err().unwrap();
        assert!(!format!("{error} {error:?}").contains("secret"), "{error:?}");
    }

    #[test]
    fn a_change_is_taken_up_when_it_has_lasted_and_once() {
        let folder = Folder::of(&pair(2030));
        let certificates = folder.load().unwrap();
        let (first, outcome) = certificates.look(None);
        assert!(outcome.is_none());
        assert!(certificates.look(Some(&first)).1.is_none(), "nothing changed");
        folder.put(&pair(2031));
        let (second, outcome) = certificates.look(Some(&first));
        assert!(outcome.is_none(), "it may still be written to");
        assert_eq!(year(&certificates), "2030");
        assert!(matches!(certificates.look(Some(&second)).1, Some(Ok(()))));
        assert_eq!(year(&certificates), "2031");
        assert!(certificates.look(Some(&second)).1.is_none(), "once");
    }

    #[test]
    fn a_bad_file_leaves_all_as_it_was_and_is_told_once() {
        let folder = Folder::of(&pair(2030));
        let certificates = folder.load().unwrap();
        folder.write("certificate.pem", &pair(2031).0);
        let (bad, _) = certificates.look(None);
        assert!(matches!(certificates.look(Some(&bad)).1, Some(Err(TlsError::Key { .. }))));
        assert!(certificates.look(Some(&bad)).1.is_none(), "told once");
        assert_eq!(year(&certificates), "2030");
        assert!(certificates.reload().is_err());
        folder.put(&pair(2032));
        certificates.reload().unwrap();
        assert_eq!(year(&certificates), "2032");
        let (now, _) = certificates.look(None);
        assert!(certificates.look(Some(&now)).1.is_none(), "what was read again is no change");
    }

    /// As Kubernetes does it: the files stay, and the link that leads to them is another.
    #[test]
    fn another_target_of_a_link_is_a_change() {
        let folder = Folder::of(&pair(2030));
        for version in ["one", "two"] {
            fs::create_dir(folder.0.path().join(version)).unwrap();
        }
        for (version, until) in [("one", 2031), ("two", 2032)] {
            let (certificate, key) = pair(until);
            folder.write(&format!("{version}/certificate.pem"), &certificate);
            folder.write(&format!("{version}/key.pem"), &key);
        }
        let settings = folder.settings();
        let link = |target: &str, name: &str| symlink(target, folder.0.path().join(name)).unwrap();
        link("one", "data");
        for (path, target) in [(&settings.certificate, "data/certificate.pem"), (&settings.key, "data/key.pem")] {
            fs::remove_file(path).unwrap();
            symlink(target, path).unwrap();
        }
        let certificates = folder.load().unwrap();
        assert_eq!(year(&certificates), "2031");
        link("two", "new");
        fs::rename(folder.0.path().join("new"), folder.0.path().join("data")).unwrap();
        let (now, _) = certificates.look(None);
        assert!(matches!(certificates.look(Some(&now)).1, Some(Ok(()))));
        assert_eq!(year(&certificates), "2032");
    }
}
