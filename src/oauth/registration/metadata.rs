//! The metadata of a client that registered itself (RFC 7591 §2), checked.

use std::net::IpAddr;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use url::Url;
use utoipa::ToSchema;

use crate::fetch::HttpsSettings;
use crate::jose::foreign::{ForeignKeySet, JwkError, MAX_KEYS};
use crate::jose::thumbprint::Thumbprint;
use crate::oauth::OAuthError;
use crate::oauth::authentication::CertificateSubject;
use crate::oauth::certificate::PresentedCertificate;
use crate::oauth::client::{ClientAuthentication, SecretTransport};
use crate::oauth::key_sets::KeyPlace;
use crate::oauth::remote_keys::KeySource;

/// How a client that registers itself may prove itself, by the names of the registry (RFC 7591 §4.2): in every way but
/// `none`.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum AuthenticationMethod {
    /// A secret, in the `Authorization` header.
    ClientSecretBasic,
    /// A secret, in the form.
    ClientSecretPost,
    /// A JWT that it signs.
    PrivateKeyJwt,
    /// A certificate that an authority vouches for.
    TlsClientAuth,
    /// A certificate of its own making.
    SelfSignedTlsClientAuth,
}

/// What is registered of a client, and told it. A member that is empty or `None` is not registered.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize, ToSchema)]
// What a later release wrote, and this one does not know, may be a limit.
#[serde(deny_unknown_fields)]
#[schema(description = "The metadata of a client (RFC 7591 §2).")]
pub struct ClientMetadata {
    /// How it proves itself.
    pub token_endpoint_auth_method: AuthenticationMethod,
    /// The grants that it may use, each one that works.
    pub grant_types: Vec<String>,
    /// Always empty: there is no authorization endpoint.
    pub response_types: [String; 0],
    /// The most scope that it may get.
    pub scope: String,
    /// What people call it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_name: Option<String>,
    /// How the people behind it are reached.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub contacts: Vec<String>,
    /// The software that it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub software_id: Option<String>,
    /// The version of that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub software_version: Option<String>,
    /// Its public keys, a JWK Set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    pub jwks: Option<Value>,
    /// Where its public keys are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub jwks_uri: Option<String>,
    /// The subject of its certificate (RFC 8705 §2.1.2).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls_client_auth_subject_dn: Option<String>,
    /// The DNS name of its certificate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls_client_auth_san_dns: Option<String>,
    /// The URI of its certificate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls_client_auth_san_uri: Option<String>,
    /// The IP address of its certificate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub tls_client_auth_san_ip: Option<IpAddr>,
    /// The email address of its certificate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls_client_auth_san_email: Option<String>,
    /// Whether its access tokens are bound to its certificate (RFC 8705 §3.4).
    pub tls_client_certificate_bound_access_tokens: bool,
    /// Whether its access tokens have to be bound to a key by DPoP (RFC 9449 §5.2).
    pub dpop_bound_access_tokens: bool,
}

/// What proves a client.
pub(super) enum Proof {
    /// A secret that it is given, presented there.
    Secret(SecretTransport),
    /// What its metadata say.
    Registered(ClientAuthentication),
}

impl AuthenticationMethod {
    /// Every method there is.
    pub const ALL: [Self; 5] = [
        Self::ClientSecretBasic,
        Self::ClientSecretPost,
        Self::PrivateKeyJwt,
        Self::TlsClientAuth,
        Self::SelfSignedTlsClientAuth,
    ];

    /// The value of `token_endpoint_auth_method`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ClientSecretBasic => "client_secret_basic",
            Self::ClientSecretPost => "client_secret_post",
            Self::PrivateKeyJwt => "private_key_jwt",
            Self::TlsClientAuth => "tls_client_auth",
            Self::SelfSignedTlsClientAuth => "self_signed_tls_client_auth",
        }
    }

    /// The method that `text` names.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|method| method.as_str() == text)
    }

    /// Whether it is the certificate of the connection that proves the client.
    pub(super) fn is_by_certificate(self) -> bool {
        matches!(self, Self::TlsClientAuth | Self::SelfSignedTlsClientAuth)
    }
}

impl ClientMetadata {
    /// What proves the client.
    ///
    /// # Errors
    /// [`OAuthError::InvalidClientMetadata`] where what the method needs is missing, or what another one needs is there,
    /// which would seem to do something.
    pub(super) fn proof(&self) -> Result<Proof, OAuthError> {
        use AuthenticationMethod as Method;
        let refused = |text| Err(OAuthError::InvalidClientMetadata(text));
        let subjects = self.subjects();
        if self.jwks.is_some() && self.jwks_uri.is_some() {
            return refused("jwks and jwks_uri: expected one of them (RFC 7591 §2)");
        }
        let has_keys = self.jwks.is_some() || self.jwks_uri.is_some();
        if has_keys
            && !matches!(self.token_endpoint_auth_method, Method::PrivateKeyJwt | Method::SelfSignedTlsClientAuth)
        {
            return refused("jwks and jwks_uri: for private_key_jwt and self_signed_tls_client_auth only");
        }
        if !subjects.is_empty() && self.token_endpoint_auth_method != Method::TlsClientAuth {
            return refused("tls_client_auth_*: for tls_client_auth only");
        }
        let authentication = match self.token_endpoint_auth_method {
            Method::ClientSecretBasic => return Ok(Proof::Secret(SecretTransport::Basic)),
            Method::ClientSecretPost => return Ok(Proof::Secret(SecretTransport::Post)),
            Method::PrivateKeyJwt => ClientAuthentication::PrivateKeyJwt { keys: self.keys()? },
            Method::TlsClientAuth => match <[CertificateSubject; 1]>::try_from(subjects) {
                Ok([subject]) => ClientAuthentication::TlsClientAuth { subject },
                Err(_) => return refused("tls_client_auth_*: expected one of them (RFC 8705 §2.1.2)"),
            },
            Method::SelfSignedTlsClientAuth => {
                ClientAuthentication::SelfSignedTlsClientAuth { certificates: self.certificates()? }
            }
        };
        Ok(Proof::Registered(authentication))
    }

    fn subjects(&self) -> Vec<CertificateSubject> {
        let subjects = [
            self.tls_client_auth_subject_dn.clone().map(CertificateSubject::DistinguishedName),
            self.tls_client_auth_san_dns.clone().map(CertificateSubject::Dns),
            self.tls_client_auth_san_uri.clone().map(CertificateSubject::Uri),
            self.tls_client_auth_san_ip.map(CertificateSubject::Ip),
            self.tls_client_auth_san_email.clone().map(CertificateSubject::Email),
        ];
        subjects.into_iter().flatten().collect()
    }

    fn keys(&self) -> Result<KeyPlace, OAuthError> {
        let source = match (&self.jwks, &self.jwks_uri) {
            (Some(jwks), None) => {
                let keys = key_set(jwks)?;
                if keys.keys().is_empty() {
                    return Err(OAuthError::InvalidClientMetadata("jwks: no key of it can be used"));
                }
                KeySource::Inline(Arc::new(keys))
            }
            (None, Some(uri)) => KeySource::JwksUri(https(uri)?),
            _ => return Err(OAuthError::InvalidClientMetadata("private_key_jwt: expected jwks or jwks_uri")),
        };
        // At public addresses only: who registers does not choose whom the mint talks to inside.
        Ok(KeyPlace::new(source, HttpsSettings::default()))
    }

    /// The certificates in its keys, the first of each chain (RFC 7517 §4.7, RFC 8705 §2.2.2).
    fn certificates(&self) -> Result<Vec<Thumbprint>, OAuthError> {
        const EXPECTED: OAuthError = OAuthError::InvalidClientMetadata(
            "self_signed_tls_client_auth: expected jwks with a certificate in each x5c",
        );
        let jwks = self.jwks.as_ref().ok_or(EXPECTED)?;
        key_set(jwks)?;
        let keys = jwks.get("keys").and_then(Value::as_array).ok_or(EXPECTED)?;
        if keys.is_empty() || keys.len() > MAX_KEYS {
            return Err(EXPECTED);
        }
        let certificate = |key: &Value| {
            let first = key.get("x5c")?.get(0)?.as_str()?;
            let der = STANDARD.decode(first).ok()?;
            PresentedCertificate::parse(&der).ok().map(|certificate| certificate.thumbprint)
        };
        keys.iter().map(|key| certificate(key).ok_or(EXPECTED)).collect()
    }
}

/// The keys in `jwks`, none of them private.
fn key_set(jwks: &Value) -> Result<ForeignKeySet, OAuthError> {
    let keys = ForeignKeySet::parse(jwks.to_string().as_bytes())
        .map_err(|_| OAuthError::InvalidClientMetadata("jwks: expected a JWK Set (RFC 7517 §5)"))?;
    if keys.skipped().iter().any(|error| matches!(error, JwkError::Private { .. })) {
        return Err(OAuthError::InvalidClientMetadata(
            "jwks: expected public keys; a private one is worthless once others have seen it",
        ));
    }
    Ok(keys)
}

fn https(uri: &str) -> Result<Url, OAuthError> {
    match Url::parse(uri) {
        Ok(url) if url.scheme() == "https" && url.username().is_empty() && url.password().is_none() => Ok(url),
        _ => Err(OAuthError::InvalidClientMetadata("jwks_uri: expected an https URL without user and password")),
    }
}
