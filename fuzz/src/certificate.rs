//! A certificate in DER, as TLS hands it over.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use mintkeep::jose::thumbprint::Thumbprint;
use mintkeep::oauth::authentication::CertificateSubject;
use mintkeep::oauth::certificate::{PresentedCertificate, thumbprints};

/// The attribute types that have names (RFC 4514 §3).
const NAMES: [&str; 9] = ["CN", "L", "ST", "O", "OU", "C", "STREET", "DC", "UID"];

/// Takes the certificate apart.
pub fn run(der: &[u8]) -> bool {
    let Ok(certificate) = PresentedCertificate::parse(der) else { return false };
    assert_eq!(certificate.der, der);
    assert_eq!(certificate.thumbprint, Thumbprint::of(der));
    assert_eq!(thumbprints(pem(der).as_bytes()), Ok(vec![certificate.thumbprint]));
    assert!(PresentedCertificate::parse(&[der, &[0]].concat()).is_err(), "more than a certificate");
    assert!(PresentedCertificate::parse(&der[..der.len() - 1]).is_err(), "less than a certificate");
    for end in [certificate.not_before, certificate.not_after] {
        assert_eq!(certificate.is_valid_at(end), certificate.not_before <= certificate.not_after);
        // For the log.
        let _ = end.to_string();
    }
    check_subject(&certificate.subject);
    check_names(certificate);
    true
}

/// A name counts where an authority vouches for it.
fn check_names(mut certificate: PresentedCertificate) {
    let names = certificate.alternative_names.clone();
    let named: Vec<CertificateSubject> = [CertificateSubject::DistinguishedName(certificate.subject.clone())]
        .into_iter()
        .chain(names.dns.into_iter().map(CertificateSubject::Dns))
        .chain(names.uri.into_iter().map(CertificateSubject::Uri))
        .chain(names.ip.into_iter().map(CertificateSubject::Ip))
        .chain(names.email.into_iter().map(CertificateSubject::Email))
        .collect();
    for is_trusted in [false, true] {
        certificate.is_trusted = is_trusted;
        assert!(named.iter().all(|subject| subject.is_of(&certificate) == is_trusted), "{named:?}");
    }
}

/// The string is one that RFC 4514 §3 has, and reads in one way.
fn check_subject(subject: &str) {
    if subject.is_empty() {
        return;
    }
    for attribute in unescaped_pieces(subject) {
        let (kind, value) = attribute.split_once('=').unwrap_or_else(|| panic!("no type in {subject:?}"));
        let is_number = kind.split('.').all(|arc| !arc.is_empty() && arc.bytes().all(|byte| byte.is_ascii_digit()));
        assert!(NAMES.contains(&kind) || is_number, "{kind:?} in {subject:?}");
        match value.strip_prefix('#') {
            Some(der) => {
                let is_hexadecimal = der.bytes().all(|byte| byte.is_ascii_hexdigit());
                assert!(der.len() >= 4 && der.len().is_multiple_of(2) && is_hexadecimal, "{subject:?}");
            }
            None => {
                assert!(!is_number, "a type without a name has its value in hexadecimal: {subject:?}");
                check_value(value, subject);
            }
        }
    }
}

/// `,` and `+` with no backslash before them stand between attributes.
fn unescaped_pieces(subject: &str) -> Vec<&str> {
    let (mut pieces, mut start, mut is_escaped) = (Vec::new(), 0, false);
    for (at, character) in subject.char_indices() {
        if !is_escaped && matches!(character, ',' | '+') {
            pieces.push(&subject[start..at]);
            start = at + 1;
        }
        is_escaped = !is_escaped && character == '\\';
    }
    pieces.push(&subject[start..]);
    pieces
}

fn check_value(value: &str, subject: &str) {
    assert!(!value.starts_with(' '), "{subject:?}");
    let mut characters = value.chars();
    let mut last_is_bare_space = false;
    while let Some(character) = characters.next() {
        last_is_bare_space = character == ' ';
        assert!(!character.is_control() && !matches!(character, '"' | ';' | '<' | '>'), "{subject:?}");
        if character == '\\' {
            let escaped = characters.next().unwrap_or_else(|| panic!("nothing is escaped in {subject:?}"));
            if escaped.is_ascii_hexdigit() {
                assert!(characters.next().is_some_and(|digit| digit.is_ascii_hexdigit()), "{subject:?}");
            }
        }
    }
    assert!(!last_is_bare_space, "{subject:?}");
}

fn pem(der: &[u8]) -> String {
    let base64 = STANDARD.encode(der);
    let lines: Vec<&str> = base64.as_bytes().chunks(64).filter_map(|line| str::from_utf8(line).ok()).collect();
    format!("-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n", lines.join("\n"))
}
