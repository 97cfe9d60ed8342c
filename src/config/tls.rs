//! `[listen.tls]` and `[listen.frontend.tls]`: the files, and whom clients are asked to be vouched for by.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;
use toml::Spanned;

use super::problem::Problem;
use super::values::{Seconds, from_folder};
use crate::http::tls::{ClientCertificates, TlsSettings};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct TlsTable {
    certificate: PathBuf,
    key: PathBuf,
    #[serde(default)]
    client_certificates: Wanted,
    client_ca: Option<Spanned<PathBuf>>,
    handshake_timeout: Option<Seconds>,
}

#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Wanted {
    #[default]
    None,
    Optional,
}

impl TlsTable {
    /// The settings of the table called `table`.
    pub(super) fn into_settings(self, table: &'static str, folder: &Path) -> Result<TlsSettings, Problem> {
        let client_certificates = match (self.client_certificates, self.client_ca) {
            (Wanted::None, None) => ClientCertificates::None,
            (Wanted::None, Some(authorities)) => {
                let message = "client_ca is for client_certificates = \"optional\" only; set that, or remove this";
                return Err(Problem::at(authorities.span(), message));
            }
            (Wanted::Optional, authorities) => ClientCertificates::Optional {
                authorities: authorities.map(|path| from_folder(folder, path.into_inner())),
            },
        };
        Ok(TlsSettings {
            table,
            certificate: from_folder(folder, self.certificate),
            key: from_folder(folder, self.key),
            client_certificates,
            handshake_limit: self.handshake_timeout.map_or(Duration::from_secs(10), |limit| limit.0),
        })
    }
}
