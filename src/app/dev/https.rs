//! The certificate of a development mint: of its own making, for this machine's loopback, and its own authority.

use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::PathBuf;

use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair};

use super::{Files, write_private};
use crate::app::Failure;

/// What it is for: every way to name the loopback.
const NAMES: [&str; 3] = ["localhost", "127.0.0.1", "::1"];

/// The files of the certificate, in a folder of their own.
pub(super) struct CertificateFiles {
    pub(super) certificate: PathBuf,
    pub(super) key: PathBuf,
}

impl CertificateFiles {
    pub(super) fn of(files: &Files) -> Self {
        Self { certificate: files.tls().join("certificate.pem"), key: files.tls().join("key.pem") }
    }

    /// Makes what is not there yet. It is valid for as long as anybody may want it.
    pub(super) fn make(&self, files: &Files) -> Result<(), Failure> {
        if self.certificate.exists() {
            return Ok(());
        }
        let failed = Failure::while_doing::<rcgen::Error>("making a certificate");
        let (key, certificate) = generate().map_err(failed)?;
        let folder = files.tls();
        let made = DirBuilder::new().recursive(true).mode(0o700).create(&folder);
        made.map_err(Failure::while_doing(format!("making the folder {}", folder.display())))?;
        // The certificate last: where it is, all is.
        write_private(&self.key, &key)?;
        write_private(&self.certificate, &certificate)
    }
}

/// Key and certificate, in PEM.
fn generate() -> Result<(String, String), rcgen::Error> {
    let mut parameters = CertificateParams::new(NAMES.map(str::to_owned))?;
    parameters.distinguished_name = DistinguishedName::new();
    parameters.distinguished_name.push(DnType::CommonName, "mintkeep dev");
    let key = KeyPair::generate()?;
    let certificate = parameters.self_signed(&key)?;
    Ok((key.serialize_pem(), certificate.pem()))
}
