//! `[[resource_server]]`.

use std::net::IpAddr;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde_json::Value;
use toml::Spanned;

use super::client::is_name;
use super::problem::Problem;
use super::proof::{Method, ProofSettings, SubjectSettings};
use super::values::{OneOrSeveral, SecretHashText};
use crate::oauth::resource_server::ResourceServer;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ResourceServerTable {
    id: Spanned<String>,
    authentication: Spanned<OneOrSeveral<Method>>,
    secret_sha256: Option<OneOrSeveral<SecretHashText>>,
    jwks: Option<Spanned<Value>>,
    jwks_file: Option<Spanned<PathBuf>>,
    jwks_uri: Option<Spanned<String>>,
    jwks_ca: Option<PathBuf>,
    jwks_allow_private_addresses: Option<bool>,
    tls_client_auth_subject_dn: Option<String>,
    tls_client_auth_san_dns: Option<String>,
    tls_client_auth_san_uri: Option<String>,
    tls_client_auth_san_ip: Option<IpAddr>,
    tls_client_auth_san_email: Option<String>,
    certificates: Option<Spanned<PathBuf>>,
    audience: Spanned<OneOrSeveral<String>>,
}

impl ResourceServerTable {
    pub(super) fn id(&self) -> &Spanned<String> {
        &self.id
    }

    pub(super) fn into_resource_server(self, folder: &Path) -> Result<ResourceServer, Problem> {
        let span = self.authentication.span();
        let proof = ProofSettings {
            authentication: self.authentication,
            secret_sha256: self.secret_sha256,
            jwks: self.jwks,
            jwks_file: self.jwks_file,
            jwks_uri: self.jwks_uri,
            jwks_ca: self.jwks_ca,
            jwks_allow_private_addresses: self.jwks_allow_private_addresses,
            subject: SubjectSettings {
                tls_client_auth_subject_dn: self.tls_client_auth_subject_dn,
                tls_client_auth_san_dns: self.tls_client_auth_san_dns,
                tls_client_auth_san_uri: self.tls_client_auth_san_uri,
                tls_client_auth_san_ip: self.tls_client_auth_san_ip,
                tls_client_auth_san_email: self.tls_client_auth_san_email,
            },
            certificates: self.certificates,
        }
        .into_authentication(folder)?;
        if proof.is_none() {
            let message = "a resource server proves itself (RFC 7662 §2.1); expected another method than none, such as client_secret_basic";
            return Err(Problem::at(span, message));
        }
        if !is_name(self.id.get_ref()) {
            return Err(Problem::at(self.id.span(), "expected an id of 1 to 255 printable ASCII characters"));
        }
        let (span, audiences) = (self.audience.span(), self.audience.into_inner().0);
        if audiences.is_empty() || audiences.iter().any(String::is_empty) {
            return Err(Problem::at(span, "expected the audiences of the tokens that it may ask about"));
        }
        Ok(ResourceServer { id: self.id.into_inner(), authentication: proof, audiences })
    }
}
