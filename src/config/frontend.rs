//! `[[frontend]]`.

mod signing;

use std::collections::HashMap;
use std::net::IpAddr;
use std::num::NonZeroU32;
use std::ops::Range;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use toml::Spanned;
use url::Url;

use self::signing::Signing;
use super::issuer::is_loopback;
use super::problem::{Problem, nearest};
use super::proof::{SubjectSettings, certificates};
use super::values::{OneOrSeveral, Seconds, SecretHashText};
use crate::keeper::policy::DelegatedProfile;
use crate::oauth::client::{Client, RequestLimits};
use crate::oauth::frontend::{Frontend, FrontendProof, Pages};

/// The longest name.
const LONGEST_NAME: usize = 64;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct FrontendTable {
    name: Spanned<String>,
    uid: Option<u32>,
    token_sha256: Option<Spanned<OneOrSeveral<SecretHashText>>>,
    tls_client_auth_subject_dn: Option<String>,
    tls_client_auth_san_dns: Option<String>,
    tls_client_auth_san_uri: Option<String>,
    tls_client_auth_san_ip: Option<IpAddr>,
    tls_client_auth_san_email: Option<String>,
    certificates: Option<Spanned<PathBuf>>,
    #[serde(default)]
    clients: Vec<Spanned<String>>,
    login_url: Option<Spanned<String>>,
    device_url: Option<Spanned<String>>,
    logout_url: Option<Spanned<String>>,
    #[serde(default)]
    profiles: Vec<Spanned<String>>,
    issuers: Option<Spanned<OneOrSeveral<String>>>,
    audiences: Option<Spanned<OneOrSeveral<String>>>,
    max_lifetime: Option<Spanned<Seconds>>,
    prehashed: Option<Spanned<bool>>,
    creates_keys: Option<Spanned<bool>>,
    requests_per_second: Option<NonZeroU32>,
    concurrent_requests: Option<NonZeroU32>,
}

/// What front-ends name.
pub(super) struct Named<'a> {
    pub(super) clients: &'a [Client],
    pub(super) profiles: &'a [DelegatedProfile],
}

/// The front-ends of `tables`, for what they name. Relative paths are from `folder`.
pub(super) fn frontends(
    tables: Vec<FrontendTable>,
    named: &Named<'_>,
    folder: &Path,
) -> Result<Vec<Frontend>, Problem> {
    let mut claimed = Claimed::default();
    let mut frontends: Vec<Frontend> = Vec::new();
    for table in tables {
        let span = table.name.span();
        claimed.clients_of(&table, named.clients)?;
        let frontend = table.into_frontend(named.profiles, folder)?;
        if frontends.iter().any(|known| known.name == frontend.name) {
            return Err(Problem::at(span, format!("another front-end has the name {:?} already", frontend.name)));
        }
        if let Some(known) = frontends.iter().find(|known| have_one_proof(&known.proof, &frontend.proof)) {
            let message = format!("{:?} proves itself in the same way; expected a proof of its own", known.name);
            return Err(Problem::at(span, message));
        }
        frontends.push(frontend);
    }
    Ok(frontends)
}

/// Whose each client is.
#[derive(Default)]
struct Claimed(HashMap<String, String>);

impl Claimed {
    fn clients_of(&mut self, table: &FrontendTable, clients: &[Client]) -> Result<(), Problem> {
        for client in &table.clients {
            let (span, id) = (client.span(), client.get_ref());
            if !clients.iter().any(|known| known.id == *id) {
                let meant = nearest(id, clients.iter().map(|known| known.id.as_str()));
                let meant = meant.map(|name| format!("; did you mean {name:?}?")).unwrap_or_default();
                return Err(Problem::at(span, format!("no client has the id {id:?}{meant}")));
            }
            // Which of the two would decide its logins?
            if let Some(other) = self.0.insert(id.clone(), table.name.get_ref().clone()) {
                return Err(Problem::at(span, format!("the client {id:?} is one of the front-end {other:?} already")));
            }
        }
        Ok(())
    }
}

/// Whether one caller could be both.
fn have_one_proof(one: &FrontendProof, other: &FrontendProof) -> bool {
    match (one, other) {
        (FrontendProof::Token { hashes: one }, FrontendProof::Token { hashes: other }) => {
            one.iter().any(|hash| other.contains(hash))
        }
        (
            FrontendProof::SelfSignedCertificate { certificates: one },
            FrontendProof::SelfSignedCertificate { certificates: other },
        ) => one.iter().any(|certificate| other.contains(certificate)),
        (one, other) => one == other,
    }
}

impl FrontendTable {
    fn into_frontend(self, profiles: &[DelegatedProfile], folder: &Path) -> Result<Frontend, Problem> {
        let span = self.name.span();
        if !is_name(self.name.get_ref()) {
            let message = "expected a name of 1 to 64 letters, digits, dots, hyphens and underscores";
            return Err(Problem::at(span, message));
        }
        let subject = SubjectSettings {
            tls_client_auth_subject_dn: self.tls_client_auth_subject_dn,
            tls_client_auth_san_dns: self.tls_client_auth_san_dns,
            tls_client_auth_san_uri: self.tls_client_auth_san_uri,
            tls_client_auth_san_ip: self.tls_client_auth_san_ip,
            tls_client_auth_san_email: self.tls_client_auth_san_email,
        };
        let proof = Proof { uid: self.uid, token_sha256: self.token_sha256, subject, certificates: self.certificates };
        let pages =
            Pages { login: page(self.login_url)?, device: page(self.device_url)?, logout: page(self.logout_url)? };
        if pages != Pages::default() && self.clients.is_empty() {
            let message =
                "pages are for the people of clients; expected clients too, or no login_url, device_url and logout_url";
            return Err(Problem::at(span, message));
        }
        let signing = Signing {
            profiles: self.profiles,
            issuers: self.issuers,
            audiences: self.audiences,
            max_lifetime: self.max_lifetime,
            prehashed: self.prehashed,
            creates_keys: self.creates_keys,
        };
        Ok(Frontend {
            proof: proof.into_proof(&span, folder)?,
            clients: self.clients.into_iter().map(Spanned::into_inner).collect(),
            pages,
            signing: signing.into_rights(profiles)?,
            limits: RequestLimits { per_second: self.requests_per_second, concurrent: self.concurrent_requests },
            name: self.name.into_inner(),
        })
    }
}

/// All that may be said of the proof, exactly one of which is.
struct Proof {
    uid: Option<u32>,
    token_sha256: Option<Spanned<OneOrSeveral<SecretHashText>>>,
    subject: SubjectSettings,
    certificates: Option<Spanned<PathBuf>>,
}

impl Proof {
    fn into_proof(self, span: &Range<usize>, folder: &Path) -> Result<FrontendProof, Problem> {
        const ONE: &str = "expected exactly one proof: uid, token_sha256, certificates, or one of tls_client_auth_subject_dn, \
            tls_client_auth_san_dns, tls_client_auth_san_uri, tls_client_auth_san_ip and tls_client_auth_san_email";
        let one = || Problem::at(span.clone(), ONE);
        match (self.uid, self.token_sha256, self.subject.is_any(), self.certificates) {
            (Some(uid), None, false, None) => Ok(FrontendProof::Uid(uid)),
            (None, Some(hashes), false, None) => {
                let (span, hashes) = (hashes.span(), hashes.into_inner().0);
                if hashes.is_empty() {
                    let message = "expected token_sha256; run `mintkeep client secret` for a token and its SHA-256";
                    return Err(Problem::at(span, message));
                }
                Ok(FrontendProof::Token { hashes: hashes.iter().map(|hash| hash.0).collect() })
            }
            (None, None, true, None) => {
                self.subject.into_subject().map(|subject| FrontendProof::Certificate { subject }).ok_or_else(one)
            }
            (None, None, false, Some(file)) => {
                let certificates = certificates(file, folder)?;
                Ok(FrontendProof::SelfSignedCertificate { certificates })
            }
            _ => Err(one()),
        }
    }
}

/// A page that browsers are sent to, with a parameter more: over HTTPS, so that nobody else reads the handle.
fn page(setting: Option<Spanned<String>>) -> Result<Option<Url>, Problem> {
    let Some(setting) = setting else { return Ok(None) };
    let is_good = |url: &Url| {
        (url.scheme() == "https" || (url.scheme() == "http" && is_loopback(url)))
            && url.fragment().is_none()
            && url.username().is_empty()
            && url.password().is_none()
    };
    match Url::parse(setting.get_ref()).ok().filter(is_good) {
        Some(url) => Ok(Some(url)),
        None => {
            let message = "expected an https URL without user and fragment (http is accepted for a loopback host only)";
            Err(Problem::at(setting.span(), message))
        }
    }
}

/// A name that can be a part of the name of a session, and of a key.
fn is_name(name: &str) -> bool {
    (1..=LONGEST_NAME).contains(&name.len())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-'))
}
