//! `dev.json`: what scripts need to drive a development mint.

use std::path::Path;

use secrecy::{ExposeSecret as _, SecretString};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::frontends::{Frontends, REDIRECT_URI, TRANSIT_KEY, WEB_APP};
use super::workloads::{JOB, POLICY, ROBOT, Workloads};
use super::{SERVICE, WORKLOAD, write_private};
use crate::app::{Failure, trust};
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
    /// Absent in the record of a release that had none.
    #[serde(flatten)]
    trust: Option<TrustRecord>,
    /// Likewise.
    #[serde(flatten)]
    frontends: Option<FrontendRecord>,
    clients: Vec<ClientRecord>,
}

/// A platform, and the policy by which its tokens are taken.
#[derive(Deserialize, Serialize)]
pub(super) struct TrustRecord {
    #[serde(rename = "trust_issuer")]
    pub(super) issuer: String,
    /// The platform's private key.
    #[serde(rename = "trust_key_file")]
    pub(super) key_file: String,
    #[serde(rename = "trust_kid")]
    kid: String,
    #[serde(rename = "trust_audience")]
    pub(super) audience: String,
    /// The claims that the policy wants.
    #[serde(rename = "trust_match")]
    pub(super) claims: Map<String, Value>,
    /// Whom the policy gives a token to.
    #[serde(rename = "trust_client")]
    client: String,
}

/// Where front-ends come in, and what they prove themselves by.
#[derive(Deserialize, Serialize)]
pub(super) struct FrontendRecord {
    /// The API of the login page.
    pub(super) admin_url: String,
    pub(super) frontend_token: String,
    /// `ExternalJWTSigner` of Kubernetes, for this user.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    kubernetes_socket: Option<String>,
    /// The address of the Vault that the transit engine would be in.
    pub(super) transit_url: String,
    pub(super) transit_token: String,
    /// A key for digests.
    pub(super) transit_key: String,
}

/// The processes of this run.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub(super) struct Running {
    keeper_pid: Option<u32>,
    mint_pid: u32,
}

#[derive(Default, Deserialize, Serialize)]
struct ClientRecord {
    client_id: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    client_secret: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    refresh_token: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    private_key_file: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    kid: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    redirect_uri: Option<String>,
}

impl Running {
    pub(super) fn now(keeper_pid: Option<u32>) -> Self {
        Self { keeper_pid, mint_pid: std::process::id() }
    }
}

impl Record {
    pub(super) fn new(
        config: &Config,
        service_secret: SecretString,
        workload_token: String,
        workloads: &Workloads,
        frontends: &Frontends,
    ) -> Self {
        let issuer = config.issuer.as_str();
        let client = |id: &str| ClientRecord { client_id: id.to_owned(), ..ClientRecord::default() };
        let workload = ClientRecord { refresh_token: Some(workload_token), ..client(WORKLOAD) };
        let secret = service_secret.expose_secret().to_owned();
        let service = ClientRecord { client_secret: Some(secret), ..client(SERVICE) };
        let robot = ClientRecord {
            private_key_file: Some(workloads.robot_file.display().to_string()),
            kid: Some(workloads.robot.kid().to_owned()),
            ..client(ROBOT)
        };
        let web_app = ClientRecord { redirect_uri: Some(REDIRECT_URI.to_owned()), ..client(WEB_APP) };
        Self {
            issuer: issuer.to_owned(),
            token_endpoint: format!("{issuer}{TOKEN_PATH}"),
            jwks_uri: format!("{issuer}{JWKS_PATH}"),
            ca_file: config.listen.tls.as_ref().map(|tls| tls.certificate.display().to_string()),
            admin_socket: config.listen.admin.display().to_string(),
            running: Running::default(),
            trust: TrustRecord::of(config, workloads),
            frontends: FrontendRecord::of(config, frontends),
            clients: vec![workload, service, robot, client(JOB), web_app],
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

    pub(super) fn issuer(&self) -> &str {
        &self.issuer
    }

    pub(super) fn trust(&self) -> Option<&TrustRecord> {
        self.trust.as_ref()
    }

    pub(super) fn private_key_file(&self, client_id: &str) -> Option<&str> {
        self.client(client_id)?.private_key_file.as_deref()
    }

    pub(super) fn client_secret(&self, client_id: &str) -> Option<String> {
        self.client(client_id)?.client_secret.clone()
    }

    pub(super) fn refresh_token(&self, client_id: &str) -> Option<String> {
        self.client(client_id)?.refresh_token.clone()
    }

    pub(super) fn frontends(&self) -> Option<&FrontendRecord> {
        self.frontends.as_ref()
    }

    pub(super) fn frontend_token(&self) -> Option<String> {
        Some(self.frontends.as_ref()?.frontend_token.clone())
    }

    pub(super) fn transit_token(&self) -> Option<String> {
        Some(self.frontends.as_ref()?.transit_token.clone())
    }

    fn client(&self, client_id: &str) -> Option<&ClientRecord> {
        self.clients.iter().find(|client| client.client_id == client_id)
    }
}

impl TrustRecord {
    fn of(config: &Config, workloads: &Workloads) -> Option<Self> {
        let policy = trust::list(config).policies.into_iter().find(|policy| policy.name == POLICY)?;
        Some(Self {
            issuer: policy.issuer,
            key_file: workloads.platform_file.display().to_string(),
            kid: workloads.platform.kid().to_owned(),
            audience: policy.audience,
            claims: policy.claims,
            client: policy.client,
        })
    }
}

impl FrontendRecord {
    fn of(config: &Config, frontends: &Frontends) -> Option<Self> {
        let url = format!("http://{}", config.listen.frontend.as_ref()?.address?);
        Some(Self {
            admin_url: url.clone(),
            frontend_token: frontends.login_token.expose_secret().to_owned(),
            kubernetes_socket: config.kubernetes.as_ref().map(|kubernetes| kubernetes.address.to_string()),
            transit_url: url,
            transit_token: frontends.transit_token.expose_secret().to_owned(),
            transit_key: TRANSIT_KEY.to_owned(),
        })
    }
}
