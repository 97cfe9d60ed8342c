//! `[listen]`: where requests come in.

use std::net::SocketAddr;
use std::num::NonZeroU16;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use toml::Spanned;

use super::problem::Problem;
use super::tls::TlsTable;
use super::values::{ProxyText, Seconds, from_folder, seconds_or};
use crate::http::forwarded::TrustedProxies;
use crate::http::listener::Limits;
use crate::http::tls::{ClientCertificates, TlsSettings};

/// Where requests come in.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Listen {
    /// The public listener.
    pub public: SocketAddr,
    /// How it speaks TLS; plain HTTP without.
    pub tls: Option<TlsSettings>,
    /// The admin listener, a Unix socket.
    pub admin: PathBuf,
    /// The listener of front-ends, where there is one.
    pub frontend: Option<FrontendListen>,
    /// What both allow their clients.
    pub limits: Limits,
    /// The proxies in front of the public listener that say where requests come from.
    pub trusted_proxies: TrustedProxies,
}

impl Listen {
    /// Whether clients may present certificates.
    pub fn takes_certificates(&self) -> bool {
        let wanted = self.tls.as_ref().map(|tls| &tls.client_certificates);
        matches!(wanted, Some(ClientCertificates::Optional { .. }))
    }
}

/// Where front-ends come in: at a socket, an address or both.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct FrontendListen {
    /// A Unix socket that every user can open, and where callers are known by their uids.
    pub socket: Option<PathBuf>,
    /// An address; without [`Self::tls`] a loopback one.
    pub address: Option<SocketAddr>,
    /// How it speaks TLS there; plain HTTP without.
    pub tls: Option<TlsSettings>,
}

impl FrontendListen {
    /// Whether front-ends may present certificates.
    pub fn takes_certificates(&self) -> bool {
        let wanted = self.tls.as_ref().map(|tls| &tls.client_certificates);
        matches!(wanted, Some(ClientCertificates::Optional { .. }))
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ListenTable {
    public: SocketAddr,
    admin: PathBuf,
    #[serde(default = "default_max_connections")]
    max_connections: NonZeroU16,
    header_timeout: Option<Seconds>,
    request_timeout: Option<Seconds>,
    drain_timeout: Option<Seconds>,
    #[serde(default)]
    trusted_proxies: Vec<ProxyText>,
    tls: Option<TlsTable>,
    frontend: Option<Spanned<FrontendListenTable>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct FrontendListenTable {
    socket: Option<PathBuf>,
    address: Option<Spanned<SocketAddr>>,
    tls: Option<Spanned<TlsTable>>,
}

impl ListenTable {
    pub(super) fn into_listen(self, folder: &Path) -> Result<Listen, Problem> {
        let limits = Limits {
            max_connections: self.max_connections.get().into(),
            header_limit: seconds_or(self.header_timeout, 30),
            request_limit: seconds_or(self.request_timeout, 30),
            drain_limit: seconds_or(self.drain_timeout, 10),
        };
        Ok(Listen {
            public: self.public,
            tls: self.tls.map(|table| table.into_settings("listen.tls", folder)).transpose()?,
            admin: from_folder(folder, self.admin),
            frontend: self.frontend.map(|table| frontend(table, folder)).transpose()?,
            limits,
            trusted_proxies: self.trusted_proxies.into_iter().map(|proxy| proxy.0).collect(),
        })
    }
}

fn frontend(table: Spanned<FrontendListenTable>, folder: &Path) -> Result<FrontendListen, Problem> {
    let (span, table) = (table.span(), table.into_inner());
    match (&table.socket, &table.address, &table.tls) {
        (None, None, _) => return Err(Problem::at(span, "expected socket, address or both in listen.frontend")),
        (_, None, Some(tls)) => return Err(Problem::at(tls.span(), "TLS is for listen.frontend.address; remove this")),
        (_, Some(address), None) if !address.get_ref().ip().is_loopback() => {
            let message = "expected a loopback address, such as \"127.0.0.1:8081\", or [listen.frontend.tls]: tokens are not sent in the clear";
            return Err(Problem::at(address.span(), message));
        }
        _ => {}
    }
    let tls = table.tls.map(|tls| tls.into_inner().into_settings("listen.frontend.tls", folder));
    Ok(FrontendListen {
        socket: table.socket.map(|path| from_folder(folder, path)),
        address: table.address.map(Spanned::into_inner),
        tls: tls.transpose()?,
    })
}

fn default_max_connections() -> NonZeroU16 {
    NonZeroU16::new(1024).expect("1024 is not zero")
}
