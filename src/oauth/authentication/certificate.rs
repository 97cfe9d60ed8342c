//! Clients that prove themselves by the certificate of their TLS connection (RFC 8705 §2).

use std::net::IpAddr;

use crate::clock::Timestamp;
use crate::jose::thumbprint::Thumbprint;
use crate::oauth::certificate::PresentedCertificate;

/// The one name by which a certificate that the authorities vouch for is a client's (RFC 8705 §2.1.2).
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum CertificateSubject {
    /// `tls_client_auth_subject_dn`: the subject, as RFC 4514 writes it.
    DistinguishedName(String),
    /// `tls_client_auth_san_dns`.
    Dns(String),
    /// `tls_client_auth_san_uri`.
    Uri(String),
    /// `tls_client_auth_san_ip`.
    Ip(IpAddr),
    /// `tls_client_auth_san_email`.
    Email(String),
}

impl CertificateSubject {
    /// Whether an authority gave `certificate` this name.
    pub fn is_of(&self, certificate: &PresentedCertificate) -> bool {
        let names = &certificate.alternative_names;
        let is_named = match self {
            Self::DistinguishedName(name) => *name == certificate.subject,
            Self::Dns(name) => names.dns.iter().any(|known| known.eq_ignore_ascii_case(name)),
            Self::Uri(uri) => names.uri.contains(uri),
            Self::Ip(address) => names.ip.contains(address),
            Self::Email(address) => names.email.contains(address),
        };
        certificate.is_trusted && is_named
    }
}

/// Whether `certificate` is one of those that a client registered itself (RFC 8705 §2.2), and good at `now`.
pub(in crate::oauth) fn is_registered(
    certificate: &PresentedCertificate,
    registered: &[Thumbprint],
    now: Timestamp,
) -> bool {
    registered.contains(&certificate.thumbprint) && certificate.is_valid_at(now)
}
