//! `[[trusted_issuer]]`: where the keys of an issuer are.

use std::path::{Path, PathBuf};

use serde::Deserialize;
use toml::Spanned;
use url::Url;

use crate::config::problem::Problem;
use crate::config::values::from_folder;
use crate::config::{IssuerIdentifier, is_loopback};
use crate::oauth::trust::{KeyLocation, TrustedIssuer};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct TrustedIssuerTable {
    issuer: Spanned<String>,
    jwks_uri: Option<Spanned<String>>,
    jwks_file: Option<Spanned<PathBuf>>,
    ca: Option<Spanned<PathBuf>>,
    allow_private_addresses: Option<Spanned<bool>>,
}

/// The issuers, each once.
pub(super) struct Issuers<'a> {
    own: &'a IssuerIdentifier,
    known: Vec<TrustedIssuer>,
}

impl<'a> Issuers<'a> {
    pub(super) fn new(own: &'a IssuerIdentifier) -> Self {
        Self { own, known: Vec::new() }
    }

    /// The issuer of a table. Relative paths in it begin at `folder`.
    pub(super) fn add(&mut self, table: &TrustedIssuerTable, folder: &Path) -> Result<(), Problem> {
        let issuer = table.issuer.get_ref();
        if issuer == self.own.as_str() {
            let message = "this is the mint's own issuer, whose keys it has; remove the table";
            return Err(Problem::at(table.issuer.span(), message));
        }
        if self.is_known(issuer) {
            return Err(Problem::at(
                table.issuer.span(),
                format!("another table is about the issuer {issuer:?} already"),
            ));
        }
        let trusted = table.trusted(folder)?;
        self.known.push(trusted);
        Ok(())
    }

    /// The issuer that a policy names: where no table is about it, its keys are discovered.
    pub(super) fn name(&mut self, issuer: &Spanned<String>) -> Result<(), Problem> {
        if self.is_known(issuer.get_ref()) {
            return Ok(());
        }
        let is_own = issuer.get_ref() == self.own.as_str();
        if !is_own {
            check_issuer(issuer, false)?;
        }
        self.known.push(TrustedIssuer {
            issuer: issuer.get_ref().clone(),
            keys: if is_own { KeyLocation::Own } else { KeyLocation::Discovery },
            ca: None,
            allow_private_addresses: false,
        });
        Ok(())
    }

    pub(super) fn into_vec(self) -> Vec<TrustedIssuer> {
        self.known
    }

    fn is_known(&self, issuer: &str) -> bool {
        self.known.iter().any(|known| known.issuer == issuer)
    }
}

impl TrustedIssuerTable {
    fn trusted(&self, folder: &Path) -> Result<TrustedIssuer, Problem> {
        let allow_private_addresses = self.allow_private_addresses.as_ref().is_some_and(|allow| *allow.get_ref());
        // What is read from a file is asked of nobody.
        check_issuer(&self.issuer, allow_private_addresses || self.jwks_file.is_some())?;
        let keys = match (&self.jwks_uri, &self.jwks_file) {
            (None, None) => KeyLocation::Discovery,
            (Some(uri), None) => KeyLocation::Uri(checked_url(uri, "jwks_uri", allow_private_addresses)?),
            (None, Some(file)) => KeyLocation::File(from_folder(folder, file.get_ref().clone())),
            (Some(_), Some(file)) => {
                let message = "expected jwks_uri or jwks_file, not both, or neither to discover where the keys are";
                return Err(Problem::at(file.span(), message));
            }
        };
        if matches!(keys, KeyLocation::File(_)) {
            let setting =
                self.ca.as_ref().map(Spanned::span).or(self.allow_private_addresses.as_ref().map(Spanned::span));
            if let Some(span) = setting {
                let message =
                    "ca and allow_private_addresses are for keys that are fetched; remove them beside jwks_file";
                return Err(Problem::at(span, message));
            }
        }
        Ok(TrustedIssuer {
            issuer: self.issuer.get_ref().clone(),
            keys,
            ca: self.ca.as_ref().map(|ca| from_folder(folder, ca.get_ref().clone())),
            allow_private_addresses,
        })
    }
}

/// `iss` is compared as it is written, so that it need not be in any normal form; a slash at its end is part of it.
fn check_issuer(issuer: &Spanned<String>, allows_loopback: bool) -> Result<(), Problem> {
    let url = checked_url(issuer, "issuer", allows_loopback)?;
    if url.query().is_some() {
        return Err(Problem::at(issuer.span(), "issuer: expected an https URL without query"));
    }
    Ok(())
}

fn checked_url(text: &Spanned<String>, setting: &str, allows_loopback: bool) -> Result<Url, Problem> {
    let wrong = |detail: &str| {
        Problem::at(text.span(), format!("{setting}: expected an https URL without user or fragment{detail}"))
    };
    // The parser would silently remove these.
    if text.get_ref().chars().any(|character| character.is_control() || character.is_whitespace()) {
        return Err(wrong(""));
    }
    let url = Url::parse(text.get_ref()).map_err(|error| wrong(&format!(": {error}")))?;
    let is_secure = url.scheme() == "https" || (url.scheme() == "http" && allows_loopback && is_loopback(&url));
    if !is_secure {
        return Err(wrong(" (http is accepted for a loopback host, with allow_private_addresses = true)"));
    }
    if url.fragment().is_some() || !url.username().is_empty() || url.password().is_some() {
        return Err(wrong(""));
    }
    Ok(url)
}
