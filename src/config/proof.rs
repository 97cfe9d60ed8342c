//! How a client, or a resource server, proves itself.

use std::net::IpAddr;
use std::ops::Range;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde_json::Value;
use toml::Spanned;
use url::Url;

use super::problem::Problem;
use super::values::{OneOrSeveral, SecretHashText, from_folder};
use crate::fetch::HttpsSettings;
use crate::jose::foreign::ForeignKeySet;
use crate::jose::thumbprint::Thumbprint;
use crate::oauth::authentication::CertificateSubject;
use crate::oauth::certificate;
use crate::oauth::client::{ClientAuthentication, SecretTransport};
use crate::oauth::key_sets::KeyPlace;
use crate::oauth::remote_keys::KeySource;

/// The methods, by their names in the registry of RFC 8414 §7.1.2 and RFC 8705 §6.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq)]
#[serde(rename_all = "snake_case")]
pub(super) enum Method {
    None,
    ClientSecretBasic,
    ClientSecretPost,
    PrivateKeyJwt,
    TlsClientAuth,
    SelfSignedTlsClientAuth,
}

/// All that may be said of a proof. Which of it has to be, depends on the method.
#[derive(Debug)]
pub(super) struct ProofSettings {
    pub(super) authentication: Spanned<OneOrSeveral<Method>>,
    pub(super) secret_sha256: Option<OneOrSeveral<SecretHashText>>,
    pub(super) jwks: Option<Spanned<Value>>,
    pub(super) jwks_file: Option<Spanned<PathBuf>>,
    pub(super) jwks_uri: Option<Spanned<String>>,
    pub(super) jwks_ca: Option<PathBuf>,
    pub(super) jwks_allow_private_addresses: Option<bool>,
    pub(super) subject: SubjectSettings,
    pub(super) certificates: Option<Spanned<PathBuf>>,
}

/// The name of a certificate: one of these.
#[derive(Debug)]
pub(super) struct SubjectSettings {
    pub(super) tls_client_auth_subject_dn: Option<String>,
    pub(super) tls_client_auth_san_dns: Option<String>,
    pub(super) tls_client_auth_san_uri: Option<String>,
    pub(super) tls_client_auth_san_ip: Option<IpAddr>,
    pub(super) tls_client_auth_san_email: Option<String>,
}

impl ProofSettings {
    pub(super) fn into_authentication(self, folder: &Path) -> Result<ClientAuthentication, Problem> {
        let (span, methods) = (self.authentication.span(), self.authentication.get_ref().0.clone());
        self.refuse_foreign(&methods, &span)?;
        match methods.as_slice() {
            [Method::None] => Ok(ClientAuthentication::None),
            [Method::PrivateKeyJwt] => self.private_key_jwt(span, folder),
            [Method::TlsClientAuth] => match self.subject.into_subject() {
                Some(subject) => Ok(ClientAuthentication::TlsClientAuth { subject }),
                None => Err(Problem::at(
                    span,
                    "expected one of tls_client_auth_subject_dn, tls_client_auth_san_dns, tls_client_auth_san_uri, tls_client_auth_san_ip and tls_client_auth_san_email (RFC 8705 §2.1.2)",
                )),
            },
            [Method::SelfSignedTlsClientAuth] => self.self_signed(span, folder),
            methods => self.secret(methods, span),
        }
    }

    /// What belongs to another method would seem to do something.
    fn refuse_foreign(&self, methods: &[Method], span: &Range<usize>) -> Result<(), Problem> {
        let uses = |wanted: &[Method]| methods.iter().any(|method| wanted.contains(method));
        let has_keys = self.jwks.is_some() || self.jwks_file.is_some() || self.jwks_uri.is_some();
        let secrets = [Method::ClientSecretBasic, Method::ClientSecretPost];
        for (is_there, wanted, message) in [
            (
                self.secret_sha256.is_some(),
                &secrets[..],
                "without client_secret_basic or client_secret_post there is no secret; remove secret_sha256",
            ),
            (
                has_keys,
                &[Method::PrivateKeyJwt],
                "jwks, jwks_file and jwks_uri are for private_key_jwt, or the grant authorization_code; remove them",
            ),
            (
                self.subject.is_any(),
                &[Method::TlsClientAuth],
                "the name of a certificate is for tls_client_auth; remove it",
            ),
            (
                self.certificates.is_some(),
                &[Method::SelfSignedTlsClientAuth],
                "certificates are for self_signed_tls_client_auth; remove them",
            ),
        ] {
            if is_there && !uses(wanted) {
                return Err(Problem::at(span.clone(), message));
            }
        }
        if self.jwks_uri.is_none() && (self.jwks_ca.is_some() || self.jwks_allow_private_addresses.is_some()) {
            return Err(Problem::at(
                span.clone(),
                "jwks_ca and jwks_allow_private_addresses are for jwks_uri; remove them",
            ));
        }
        Ok(())
    }

    fn private_key_jwt(mut self, span: Range<usize>, folder: &Path) -> Result<ClientAuthentication, Problem> {
        match self.take_keys(folder)? {
            Some(keys) => Ok(ClientAuthentication::PrivateKeyJwt { keys }),
            None => {
                Err(Problem::at(span, "expected one of jwks, jwks_file and jwks_uri: the public keys of the client"))
            }
        }
    }

    /// Takes the keys where it is not they that prove the client.
    pub(super) fn further_keys(&mut self, folder: &Path) -> Result<Option<KeyPlace>, Problem> {
        if self.authentication.get_ref().0.contains(&Method::PrivateKeyJwt) {
            return Ok(None);
        }
        self.take_keys(folder)
    }

    /// Takes the keys, where there are any.
    fn take_keys(&mut self, folder: &Path) -> Result<Option<KeyPlace>, Problem> {
        let span = self.authentication.span();
        let source = match (self.jwks.take(), self.jwks_file.take(), self.jwks_uri.take()) {
            (None, None, None) => return Ok(None),
            (Some(jwks), None, None) => {
                let keys = ForeignKeySet::parse(jwks.get_ref().to_string().as_bytes())
                    .map_err(|error| Problem::at(jwks.span(), format!("jwks: {error}")))?;
                if keys.keys().is_empty() {
                    let reason = keys.skipped().first().map(|error| format!(": {error}")).unwrap_or_default();
                    return Err(Problem::at(jwks.span(), format!("jwks: no key of it can be used{reason}")));
                }
                KeySource::Inline(keys.into())
            }
            (None, Some(file), None) => KeySource::File(from_folder(folder, file.into_inner())),
            (None, None, Some(uri)) => match Url::parse(uri.get_ref()) {
                Ok(url) if url.scheme() == "https" => KeySource::JwksUri(url),
                _ => return Err(Problem::at(uri.span(), "expected an https URL")),
            },
            _ => {
                return Err(Problem::at(
                    span,
                    "expected one of jwks, jwks_file and jwks_uri: the public keys of the client",
                ));
            }
        };
        let settings = HttpsSettings {
            authorities: self.jwks_ca.take().map(|path| from_folder(folder, path)),
            allow_private: self.jwks_allow_private_addresses.take().unwrap_or(false),
            ..HttpsSettings::default()
        };
        Ok(Some(KeyPlace::new(source, settings)))
    }

    fn self_signed(self, span: Range<usize>, folder: &Path) -> Result<ClientAuthentication, Problem> {
        let file = self.certificates.ok_or_else(|| {
            Problem::at(span, "expected certificates: a PEM file of those that the client may present")
        })?;
        certificates(file, folder).map(|certificates| ClientAuthentication::SelfSignedTlsClientAuth { certificates })
    }

    fn secret(self, methods: &[Method], span: Range<usize>) -> Result<ClientAuthentication, Problem> {
        let has = |method| methods.contains(&method);
        let transport = match (has(Method::ClientSecretBasic), has(Method::ClientSecretPost)) {
            _ if methods
                .iter()
                .any(|method| !matches!(method, Method::ClientSecretBasic | Method::ClientSecretPost)) =>
            {
                return Err(Problem::at(span, "expected one method, or client_secret_basic and client_secret_post"));
            }
            (true, false) => SecretTransport::Basic,
            (false, true) => SecretTransport::Post,
            (true, true) => SecretTransport::BasicOrPost,
            (false, false) => {
                return Err(Problem::at(
                    span,
                    "expected authentication = \"none\", \"client_secret_basic\", \"client_secret_post\", \"private_key_jwt\", \"tls_client_auth\" or \"self_signed_tls_client_auth\"",
                ));
            }
        };
        let hashes: Vec<_> =
            self.secret_sha256.map(|secrets| secrets.0).unwrap_or_default().iter().map(|hash| hash.0).collect();
        match hashes.len() {
            1 | 2 => Ok(ClientAuthentication::Secret { transport, hashes }),
            0 => Err(Problem::at(
                span,
                "expected secret_sha256; run `mintkeep client secret` for a secret and this line",
            )),
            _ => Err(Problem::at(span, "expected one secret_sha256, or two while one replaces the other")),
        }
    }
}

/// The thumbprints of those in `file`, at least one.
pub(super) fn certificates(file: Spanned<PathBuf>, folder: &Path) -> Result<Vec<Thumbprint>, Problem> {
    let (span, path) = (file.span(), from_folder(folder, file.into_inner()));
    let certificates = std::fs::read(&path)
        .map_err(|error| format!("cannot read {}: {error}", path.display()))
        .and_then(|pem| certificate::thumbprints(&pem).map_err(|error| format!("{}: {error}", path.display())));
    match certificates {
        Ok(certificates) if certificates.is_empty() => {
            Err(Problem::at(span, format!("expected a certificate in {}, in PEM", path.display())))
        }
        Ok(certificates) => Ok(certificates),
        Err(message) => Err(Problem::at(span, message)),
    }
}

impl SubjectSettings {
    pub(super) fn is_any(&self) -> bool {
        let Self {
            tls_client_auth_subject_dn: dn,
            tls_client_auth_san_dns: dns,
            tls_client_auth_san_uri: uri,
            tls_client_auth_san_ip: ip,
            tls_client_auth_san_email: email,
        } = self;
        dn.is_some() || dns.is_some() || uri.is_some() || ip.is_some() || email.is_some()
    }

    /// `None` where there is none, or more than one.
    pub(super) fn into_subject(self) -> Option<CertificateSubject> {
        let subjects = [
            self.tls_client_auth_subject_dn.map(CertificateSubject::DistinguishedName),
            self.tls_client_auth_san_dns.map(CertificateSubject::Dns),
            self.tls_client_auth_san_uri.map(CertificateSubject::Uri),
            self.tls_client_auth_san_ip.map(CertificateSubject::Ip),
            self.tls_client_auth_san_email.map(CertificateSubject::Email),
        ];
        let mut subjects = subjects.into_iter().flatten();
        subjects.next().filter(|_| subjects.next().is_none())
    }
}
