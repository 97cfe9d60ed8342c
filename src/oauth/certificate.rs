//! The certificate that a client presented in a TLS handshake (RFC 8705), taken apart.

mod distinguished_name;

use std::net::IpAddr;

use x509_parser::extensions::GeneralName;
use x509_parser::pem::Pem;
use x509_parser::prelude::{FromDer as _, X509Certificate};

use self::distinguished_name::rfc4514;
use crate::clock::Timestamp;
use crate::jose::thumbprint::Thumbprint;

/// The certificate at the other end of a connection. That the peer holds its private key was shown in the handshake;
/// all else that it says is only as good as [`Self::is_trusted`], or as the registration that it is compared with.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct PresentedCertificate {
    /// The SHA-256 of the DER: in base64url, `x5t#S256` (RFC 8705 §3.1).
    pub thumbprint: Thumbprint,
    /// The certificate as it was presented.
    pub der: Vec<u8>,
    /// Whether it chained, when the connection was made, to one of the authorities that vouch for clients. Such a
    /// chain holds only valid certificates; of a self-signed one, [`Self::is_valid_at`] is the caller's to ask.
    pub is_trusted: bool,
    /// The subject as RFC 4514 writes it: the last RDN first, attribute types by the names of its §3 table, else by
    /// their numbers and the value in hexadecimal. Empty where the certificate names its subject otherwise.
    pub subject: String,
    /// The subject alternative names.
    pub alternative_names: AlternativeNames,
    /// When it begins to be valid.
    pub not_before: Timestamp,
    /// The last moment at which it is.
    pub not_after: Timestamp,
}

/// The subject alternative names of the kinds that RFC 8705 §2.1.2 knows, as they are written in the certificate.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct AlternativeNames {
    /// `dNSName`.
    pub dns: Vec<String>,
    /// `uniformResourceIdentifier`.
    pub uri: Vec<String>,
    /// `iPAddress`.
    pub ip: Vec<IpAddr>,
    /// `rfc822Name`.
    pub email: Vec<String>,
}

/// What was presented is no X.509 certificate.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("expected an X.509 certificate, in DER")]
pub struct Malformed;

impl PresentedCertificate {
    /// Takes `der` apart, which nobody vouches for so far.
    ///
    /// # Errors
    /// [`Malformed`], also where only a name of it is.
    pub fn parse(der: &[u8]) -> Result<Self, Malformed> {
        let (rest, certificate) = X509Certificate::from_der(der).map_err(|_| Malformed)?;
        if !rest.is_empty() {
            return Err(Malformed);
        }
        let validity = certificate.validity();
        let time = |seconds| Timestamp::from_unix_seconds(seconds);
        Ok(Self {
            thumbprint: Thumbprint::of(der),
            der: der.to_owned(),
            is_trusted: false,
            subject: rfc4514(certificate.subject())?,
            alternative_names: alternative_names(&certificate)?,
            not_before: time(validity.not_before.timestamp()),
            not_after: time(validity.not_after.timestamp()),
        })
    }

    /// Whether `now` is within its validity, both ends included (RFC 5280 §4.1.2.5).
    pub fn is_valid_at(&self, now: Timestamp) -> bool {
        self.not_before <= now && now <= self.not_after
    }
}

/// The thumbprints of the certificates of a PEM file, each of which can be taken apart.
///
/// # Errors
/// [`Malformed`].
pub fn thumbprints(pem: &[u8]) -> Result<Vec<Thumbprint>, Malformed> {
    let mut thumbprints = Vec::new();
    for block in Pem::iter_from_buffer(pem) {
        let block = block.map_err(|_| Malformed)?;
        if block.label == "CERTIFICATE" {
            thumbprints.push(PresentedCertificate::parse(&block.contents)?.thumbprint);
        }
    }
    Ok(thumbprints)
}

fn alternative_names(certificate: &X509Certificate<'_>) -> Result<AlternativeNames, Malformed> {
    let mut names = AlternativeNames::default();
    let Some(extension) = certificate.subject_alternative_name().map_err(|_| Malformed)? else {
        return Ok(names);
    };
    for name in &extension.value.general_names {
        match name {
            GeneralName::DNSName(name) => names.dns.push((*name).to_owned()),
            GeneralName::URI(name) => names.uri.push((*name).to_owned()),
            GeneralName::RFC822Name(name) => names.email.push((*name).to_owned()),
            GeneralName::IPAddress(bytes) => names.ip.push(address(bytes)?),
            GeneralName::Invalid(..) => return Err(Malformed),
            GeneralName::OtherName(..)
            | GeneralName::X400Address(_)
            | GeneralName::DirectoryName(_)
            | GeneralName::EDIPartyName(_)
            | GeneralName::RegisteredID(_) => {}
        }
    }
    Ok(names)
}

fn address(bytes: &[u8]) -> Result<IpAddr, Malformed> {
    let four = <[u8; 4]>::try_from(bytes).map(IpAddr::from);
    four.or_else(|_| <[u8; 16]>::try_from(bytes).map(IpAddr::from)).map_err(|_| Malformed)
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, DnType, DnValue, KeyPair, SanType, date_time_ymd};

    use super::*;

    fn made(change: impl FnOnce(&mut CertificateParams)) -> Vec<u8> {
        let mut parameters = CertificateParams::default();
        parameters.distinguished_name = rcgen::DistinguishedName::new();
        change(&mut parameters);
        parameters.self_signed(&KeyPair::generate().unwrap()).unwrap().der().to_vec()
    }

    #[test]
    fn a_certificate_is_taken_apart() {
        let der = made(|parameters| {
            parameters.not_before = date_time_ymd(2026, 1, 1);
            parameters.not_after = date_time_ymd(2026, 7, 1);
            parameters.distinguished_name.push(DnType::OrganizationName, "Example");
            parameters.distinguished_name.push(DnType::CommonName, "billing");
            parameters.subject_alt_names = vec![
                SanType::DnsName("billing.example.com".try_into().unwrap()),
                SanType::URI("spiffe://example.com/billing".try_into().unwrap()),
                SanType::IpAddress([192, 0, 2, 1].into()),
                SanType::IpAddress("2001:db8::1".parse().unwrap()),
                SanType::Rfc822Name("billing@example.com".try_into().unwrap()),
            ];
        });
        let certificate = PresentedCertificate::parse(&der).unwrap();
        assert_eq!(certificate.subject, "CN=billing,O=Example");
        assert_eq!(certificate.alternative_names.dns, ["billing.example.com"]);
        assert_eq!(certificate.alternative_names.uri, ["spiffe://example.com/billing"]);
        assert_eq!(certificate.alternative_names.email, ["billing@example.com"]);
        let addresses: [IpAddr; 2] = [[192, 0, 2, 1].into(), "2001:db8::1".parse().unwrap()];
        assert_eq!(certificate.alternative_names.ip, addresses);
        assert_eq!(certificate.thumbprint, Thumbprint::of(&der));
        assert_eq!(certificate.der, der);
        assert!(!certificate.is_trusted);
    }

    #[test]
    fn both_ends_of_the_validity_are_within_it() {
        let der = made(|parameters| {
            parameters.not_before = date_time_ymd(2026, 1, 1);
            parameters.not_after = date_time_ymd(2026, 7, 1);
        });
        let certificate = PresentedCertificate::parse(&der).unwrap();
        let (first, last) = (1_767_225_600, 1_782_864_000);
        for (seconds, is_valid) in [(first - 1, false), (first, true), (last, true), (last + 1, false)] {
            assert_eq!(certificate.is_valid_at(Timestamp::from_unix_seconds(seconds)), is_valid, "{seconds}");
        }
    }

    #[test]
    fn what_is_no_certificate_or_more_than_one_is_refused() {
        let der = made(|_| {});
        assert!(PresentedCertificate::parse(&der).is_ok());
        let with_more = [&der[..], b"\0"].concat();
        for wrong in [&b""[..], b"\x30\x00", &der[..der.len() - 1], &with_more] {
            assert_eq!(PresentedCertificate::parse(wrong), Err(Malformed));
        }
    }

    #[test]
    fn a_name_that_is_malformed_makes_the_certificate_so() {
        // The extension 2.5.29.17 by hand: a DNS name that is no text, an address of three bytes.
        for names in [&[0x30, 4, 0x82, 2, 0xff, 0xfe][..], &[0x30, 5, 0x87, 3, 1, 2, 3], &[0x04, 0]] {
            let der = made(|parameters| {
                let extension = rcgen::CustomExtension::from_oid_content(&[2, 5, 29, 17], names.to_vec());
                parameters.custom_extensions.push(extension);
            });
            assert_eq!(PresentedCertificate::parse(&der), Err(Malformed), "{names:?}");
        }
    }

    #[test]
    fn two_lists_of_alternative_names_are_refused() {
        let der = made(|parameters| {
            for name in [b"\x30\x03\x82\x01a", b"\x30\x03\x82\x01b"] {
                let extension = rcgen::CustomExtension::from_oid_content(&[2, 5, 29, 17], name.to_vec());
                parameters.custom_extensions.push(extension);
            }
        });
        assert_eq!(PresentedCertificate::parse(&der), Err(Malformed));
    }

    /// X.690 §8.19: no number is padded or cut off, and there is at least one.
    #[test]
    fn an_attribute_type_has_one_encoding() {
        let der = made(|parameters| parameters.distinguished_name.push(DnType::CustomDnType(vec![1, 2, 3, 4]), "a"));
        let with_type = |bytes: [u8; 3]| {
            let (mut der, mut changed) = (der.clone(), 0);
            for at in 0..der.len() - 5 {
                if der[at..at + 5] == [6, 3, 0x2a, 3, 4] {
                    der[at + 2..at + 5].copy_from_slice(&bytes);
                    changed += 1;
                }
            }
            assert_eq!(changed, 2, "subject and issuer");
            PresentedCertificate::parse(&der).map(|certificate| certificate.subject)
        };
        assert_eq!(with_type([0x2a, 3, 4]).as_deref(), Ok("1.2.3.4=#0c0161"));
        assert_eq!(with_type([0x2a, 0x83, 4]).as_deref(), Ok("1.2.388=#0c0161"));
        for bytes in [[0x2a, 0x80, 4], [0x80, 3, 4], [0x2a, 3, 0x84], [0x80; 3]] {
            assert_eq!(with_type(bytes), Err(Malformed), "{bytes:?}");
        }
    }

    #[test]
    fn a_subject_that_could_be_read_in_two_ways_is_written_in_one() {
        let subject = |values: &[(DnType, DnValue)]| {
            let der = made(|parameters| {
                for (kind, value) in values {
                    parameters.distinguished_name.push(kind.clone(), value.clone());
                }
            });
            PresentedCertificate::parse(&der).unwrap().subject
        };
        let text = |text: &str| DnValue::Utf8String(text.to_owned());
        // Without escapes this would be CN=a with the organization "b".
        assert_eq!(subject(&[(DnType::CommonName, text("a,O=b"))]), "CN=a\\,O=b");
        assert_eq!(subject(&[(DnType::CommonName, text(" # \"+;<>\\= "))]), "CN=\\ # \\\"\\+\\;\\<\\>\\\\=\\ ");
        assert_eq!(subject(&[(DnType::CommonName, text("#a"))]), "CN=\\#a");
        assert_eq!(subject(&[(DnType::CommonName, text("a\0b\nc"))]), "CN=a\\00b\\0Ac");
        assert_eq!(subject(&[(DnType::CommonName, text("Müller"))]), "CN=Müller");
        // emailAddress, which RFC 4514 has no name for: IA5String "a@b".
        let email = DnType::CustomDnType(vec![1, 2, 840, 113_549, 1, 9, 1]);
        let value = DnValue::Ia5String("a@b".try_into().unwrap());
        assert_eq!(subject(&[(email, value)]), "1.2.840.113549.1.9.1=#1603614062");
        let value = DnValue::Utf8String("a".to_owned());
        assert_eq!(subject(&[(DnType::CustomDnType(vec![2, 999, 3]), value)]), "2.999.3=#0c0161");
        assert_eq!(subject(&[]), "");
    }
}
