//! The files of certificates and keys.

use std::fmt;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use rustls::RootCertStore;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use secrecy::ExposeSecret as _;

use super::client_certificate::Authorities;
use super::{ClientCertificates, TlsSettings};
use crate::secret_source::SecretSource;

/// Why a file cannot be used, in the words of the configuration. Nothing of a key is in it.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// The certificate of the listener.
    #[error("{table}.certificate {}: {reason}", .path.display())]
    Certificate {
        /// Its table of the configuration.
        table: &'static str,
        /// The file.
        path: PathBuf,
        /// What was expected, or found.
        reason: String,
    },
    /// Its private key.
    #[error("{table}.key {}: {reason}", .path.display())]
    Key {
        /// Its table of the configuration.
        table: &'static str,
        /// The file.
        path: PathBuf,
        /// What was expected, or found.
        reason: String,
    },
    /// The authorities of clients.
    #[error("{table}.client_ca {}: {reason}", .path.display())]
    Authorities {
        /// Its table of the configuration.
        table: &'static str,
        /// The file.
        path: PathBuf,
        /// What was expected, or found.
        reason: String,
    },
    /// Of no file: the library has no randomness, or its parts do not fit.
    #[error("cannot set TLS up: {0}")]
    Library(rustls::Error),
}

impl TlsError {
    pub(super) fn certificate(settings: &TlsSettings, reason: impl fmt::Display) -> Self {
        Self::Certificate { table: settings.table, path: settings.certificate.clone(), reason: reason.to_string() }
    }
}

/// The certificates with their key, which fits.
pub(super) fn certified_key(settings: &TlsSettings, provider: &CryptoProvider) -> Result<CertifiedKey, TlsError> {
    let key_error = |reason: String| TlsError::Key { table: settings.table, path: settings.key.clone(), reason };
    let chain = certificates(&settings.certificate).map_err(|reason| TlsError::certificate(settings, reason))?;
    let pem = SecretSource::File(settings.key.clone()).read().map_err(|reason| key_error(reason.to_string()))?;
    let unusable = || key_error("expected a private key in PEM, not encrypted: PKCS#8, SEC1 or PKCS#1".to_owned());
    // What the parser says may repeat what it read.
    let key = PrivateKeyDer::from_pem_slice(pem.expose_secret().as_bytes()).map_err(|_| unusable())?;
    let key = provider.key_provider.load_private_key(key).map_err(|_| unusable())?;
    let certified = CertifiedKey::new(chain, key);
    match certified.keys_match() {
        Ok(()) => Ok(certified),
        Err(rustls::Error::InconsistentKeys(_)) => {
            let certificate = settings.certificate.display();
            Err(key_error(format!("expected the key of the first certificate in {certificate}")))
        }
        Err(error) => Err(TlsError::certificate(settings, error)),
    }
}

/// The authorities in the file at `path`.
pub(super) fn authorities(
    settings: &TlsSettings,
    path: &Path,
    provider: &std::sync::Arc<CryptoProvider>,
) -> Result<Authorities, TlsError> {
    let failed = |reason: String| TlsError::Authorities { table: settings.table, path: path.to_owned(), reason };
    let mut roots = RootCertStore::empty();
    for certificate in certificates(path).map_err(failed)? {
        roots.add(certificate).map_err(|error| failed(format!("expected certificates of authorities: {error}")))?;
    }
    Authorities::new(roots, provider).map_err(failed)
}

/// At least one certificate.
fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let pem = std::fs::read(path).map_err(|error| format!("cannot read it: {error}"))?;
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem).collect();
    match found {
        Ok(found) if !found.is_empty() => Ok(found),
        _ => Err("expected certificates in PEM".to_owned()),
    }
}

/// What tells that a file was replaced or written to, without reading it. Links are followed: what Kubernetes mounts
/// changes by another target of a link.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Stamps([Option<Stamp>; 3]);

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
struct Stamp {
    device: u64,
    inode: u64,
    size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Stamps {
    /// Of the files that are there now.
    pub(super) fn of(settings: &TlsSettings) -> Self {
        let authorities = match &settings.client_certificates {
            ClientCertificates::None => None,
            ClientCertificates::Optional { authorities } => authorities.as_deref(),
        };
        let stamp = |path: &Path| {
            let metadata = std::fs::metadata(path).ok()?;
            Some(Stamp {
                device: metadata.dev(),
                inode: metadata.ino(),
                size: metadata.size(),
                modified: (metadata.mtime(), metadata.mtime_nsec()),
                // Another mode, which may be what was wrong.
                changed: (metadata.ctime(), metadata.ctime_nsec()),
            })
        };
        Self([stamp(&settings.certificate), stamp(&settings.key), authorities.and_then(stamp)])
    }
}
