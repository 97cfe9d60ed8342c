//! TLS to the mint.

use std::sync::Arc;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};
use secrecy::{ExposeSecret as _, SecretString};

use super::ClientError;

/// What a client proves itself by: certificates and their key.
pub(super) struct Identity {
    pub(super) certificates: String,
    pub(super) key: SecretString,
}

/// TLS by the authorities in `authorities`, in PEM, or by those of the system.
pub(super) fn config(authorities: Option<&str>, identity: Option<&Identity>) -> Result<ClientConfig, ClientError> {
    let wrong = |message: &str| ClientError::Settings(message.to_owned());
    let mut roots = RootCertStore::empty();
    match authorities {
        None => {
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        }
        Some(pem) => {
            roots.add_parsable_certificates(certificates(pem)?);
            if roots.is_empty() {
                return Err(wrong("expected a certificate of an authority, in PEM"));
            }
        }
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| ClientError::Settings(error.to_string()))?
        .with_root_certificates(roots);
    let Some(identity) = identity else { return Ok(builder.with_no_client_auth()) };
    // What the parser says may repeat what it read.
    let key = PrivateKeyDer::from_pem_slice(identity.key.expose_secret().as_bytes())
        .map_err(|_| wrong("expected a private key in PEM, not encrypted"))?;
    builder
        .with_client_auth_cert(certificates(&identity.certificates)?, key)
        .map_err(|_| wrong("expected certificates in PEM, the first of them of this private key"))
}

fn certificates(pem: &str) -> Result<Vec<CertificateDer<'static>>, ClientError> {
    CertificateDer::pem_slice_iter(pem.as_bytes())
        .collect::<Result<_, _>>()
        .map_err(|_| ClientError::Settings("expected certificates in PEM".to_owned()))
}
