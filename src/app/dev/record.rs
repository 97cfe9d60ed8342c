//! `dev.json`: what scripts need to drive a development mint.

use std::path::Path;

use secrecy::{ExposeSecret as _, SecretString};
use serde::{Deserialize, Serialize};

use super::{SERVICE, WORKLOAD, write_private};
use crate::app::Failure;
use crate::config::Config;
use crate::oauth::metadata::{JWKS_PATH, TOKEN_PATH};

#[derive(Deserialize, Serialize)]
pub(super) struct Record {
    issuer: String,
    token_endpoint: String,
    jwks_uri: String,
    /// What its certificate is verified by, where it speaks HTTPS.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    ca_file: Option<String>,
    admin_socket: String,
    #[serde(flatten)]
    pub(super) running: Running,
    clients: Vec<ClientRecord>,
}

/// The processes of this run.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub(super) struct Running {
    keeper_pid: Option<u32>,
    mint_pid: u32,
}

#[derive(Deserialize, Serialize)]
struct ClientRecord {
    client_id: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    client_secret: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    refresh_token: Option<String>,
}

impl Running {
    pub(super) fn now(keeper_pid: Option<u32>) -> Self {
        Self { keeper_pid, mint_pid: std::process::id() }
    }
}

impl Record {
    pub(super) fn new(config: &Config, service_secret: SecretString, workload_token: String) -> Self {
        let issuer = config.issuer.as_str();
        let service = ClientRecord {
            client_id: SERVICE.to_owned(),
            client_secret: Some(service_secret.expose_secret().to_owned()),
            refresh_token: None,
        };
        let workload =
            ClientRecord { client_id: WORKLOAD.to_owned(), client_secret: None, refresh_token: Some(workload_token) };
        Self {
            issuer: issuer.to_owned(),
            token_endpoint: format!("{issuer}{TOKEN_PATH}"),
            jwks_uri: format!("{issuer}{JWKS_PATH}"),
            ca_file: config.listen.tls.as_ref().map(|tls| tls.certificate.display().to_string()),
            admin_socket: config.listen.admin.display().to_string(),
            running: Running::default(),
            clients: vec![workload, service],
        }
    }

    /// The record of the run before; one that cannot be read counts as none.
    pub(super) fn read(path: &Path) -> Option<Self> {
        serde_json::from_str(&std::fs::read_to_string(path).ok()?).ok()
    }

    pub(super) fn write(&self, path: &Path) -> Result<(), Failure> {
        let text = serde_json::to_string_pretty(self).map_err(Failure::while_doing("cannot write the record"))?;
        write_private(path, &format!("{text}\n"))
    }

    pub(super) fn token_endpoint(&self) -> &str {
        &self.token_endpoint
    }

    pub(super) fn jwks_uri(&self) -> &str {
        &self.jwks_uri
    }

    pub(super) fn ca_file(&self) -> Option<&str> {
        self.ca_file.as_deref()
    }

    pub(super) fn client_secret(&self, client_id: &str) -> Option<String> {
        self.client(client_id)?.client_secret.clone()
    }

    pub(super) fn refresh_token(&self, client_id: &str) -> Option<String> {
        self.client(client_id)?.refresh_token.clone()
    }

    fn client(&self, client_id: &str) -> Option<&ClientRecord> {
        self.clients.iter().find(|client| client.client_id == client_id)
    }
}
