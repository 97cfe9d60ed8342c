//! `[[trust]]` and `[[trusted_issuer]]`, in the configuration and in the files of its trust directory.

mod directory;
mod issuer;
mod values;

use std::collections::{BTreeMap, HashSet};
use std::path::{Path, PathBuf};

use serde::Deserialize;
use toml::Spanned;

use self::directory::Source;
pub use self::directory::TrustFiles;
use self::issuer::Issuers;
pub(super) use self::issuer::TrustedIssuerTable;
use self::values::{ExpectedValue, claim_name};
use super::IssuerIdentifier;
use super::client::{AccessTokenLifetime, is_name};
use super::problem::{Problem, nearest};
use super::values::ScopeText;
use crate::oauth::client::Client;
use crate::oauth::trust::claim::ClaimMatch;
use crate::oauth::trust::{TrustPolicies, TrustPolicy, TrustedIssuer};
use crate::oauth::workload::is_subject;

/// The tables about trust of one file.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct TrustTables {
    pub(super) trust: Vec<TrustTable>,
    pub(super) trusted_issuer: Vec<TrustedIssuerTable>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct TrustTable {
    name: Spanned<String>,
    issuer: Spanned<String>,
    audience: Spanned<String>,
    #[serde(rename = "match")]
    claims: Spanned<BTreeMap<Spanned<String>, ExpectedValue>>,
    client: Spanned<String>,
    scope: Option<Spanned<ScopeText>>,
    lifetime: Option<AccessTokenLifetime>,
    subject: Option<Spanned<String>>,
    actors: Option<Spanned<Vec<Spanned<String>>>>,
}

/// Who trusts.
pub(super) struct Trusting<'a> {
    pub(super) issuer: &'a IssuerIdentifier,
    pub(super) clients: &'a [Client],
}

/// All the files that have tables about trust.
pub(super) struct TrustSources {
    sources: Vec<Source>,
    /// Those of the trust directory, as they were found.
    pub(super) files: TrustFiles,
}

impl TrustTables {
    /// These tables of the configuration itself, which is in `folder`, and those of the files in `directory`.
    pub(super) fn with_directory(
        self,
        directory: Option<Spanned<PathBuf>>,
        folder: &Path,
    ) -> Result<TrustSources, Problem> {
        let main = Source::main(self, folder);
        let Some(directory) = directory else {
            return Ok(TrustSources { sources: vec![main], files: TrustFiles::none() });
        };
        let (files, included) = directory::read(&directory, folder)?;
        Ok(TrustSources { sources: std::iter::once(main).chain(included).collect(), files })
    }
}

impl TrustSources {
    /// The policies in order, and the issuers that they name.
    pub(super) fn trusted(&self, trusting: &Trusting<'_>) -> Result<(TrustPolicies, Vec<TrustedIssuer>), Problem> {
        let mut issuers = Issuers::new(trusting.issuer);
        // Any file may name the policies and issuers of any other.
        let mut names = HashSet::new();
        for source in &self.sources {
            source.each(&source.tables.trusted_issuer, |table| issuers.add(table, &source.folder))?;
            source.each(&source.tables.trust, |table| {
                let name = &table.name;
                if names.insert(name.get_ref().as_str()) {
                    return Ok(());
                }
                let message = format!("another trust policy has the name {:?} already", name.get_ref());
                Err(Problem::at(name.span(), message))
            })?;
        }
        let mut policies = Vec::new();
        for source in &self.sources {
            source.each(&source.tables.trust, |table| {
                issuers.name(&table.issuer)?;
                policies.push(table.policy(trusting, &names)?);
                Ok(())
            })?;
        }
        Ok((policies.into_iter().collect(), issuers.into_vec()))
    }
}

impl TrustTable {
    fn policy(&self, trusting: &Trusting<'_>, names: &HashSet<&str>) -> Result<TrustPolicy, Problem> {
        if !is_name(self.name.get_ref()) {
            return Err(Problem::at(self.name.span(), "expected a name of 1 to 255 printable ASCII characters"));
        }
        if self.audience.get_ref().is_empty() {
            let message =
                "expected an audience: the `aud` that the token was asked for with, such as this mint's issuer";
            return Err(Problem::at(self.audience.span(), message));
        }
        let client = self.client(trusting.clients)?;
        Ok(TrustPolicy {
            name: self.name.get_ref().clone(),
            issuer: self.issuer.get_ref().clone(),
            audience: self.audience.get_ref().clone(),
            claims: self.claims()?,
            client: client.id.clone(),
            scope: match &self.scope {
                None => client.scope.clone(),
                Some(scope) if scope.get_ref().0.is_within(&client.scope) => scope.get_ref().0.clone(),
                Some(scope) => {
                    let message =
                        format!("expected a scope within that of {:?}, {:?}", client.id, client.scope.as_str());
                    return Err(Problem::at(scope.span(), message));
                }
            },
            lifetime: self.lifetime.map_or(client.access_token_lifetime, |lifetime| lifetime.0),
            subject: self.subject(client, trusting.clients)?,
            actors: self.actors(names)?,
        })
    }

    /// What the claims have to be, in the order in which it is written.
    fn claims(&self) -> Result<Vec<ClaimMatch>, Problem> {
        let mut claims: Vec<_> = self.claims.get_ref().iter().collect();
        if claims.is_empty() {
            let message = "expected at least one claim: without, everybody whom the issuer knows would be trusted";
            return Err(Problem::at(self.claims.span(), message));
        }
        claims.sort_by_key(|(name, _)| name.span().start);
        let claim = |(name, expected): (&Spanned<String>, &ExpectedValue)| {
            let claim = claim_name(name.get_ref()).map_err(|message| Problem::at(name.span(), message))?;
            Ok(ClaimMatch { claim, expected: expected.0.clone() })
        };
        claims.into_iter().map(claim).collect()
    }

    fn client<'a>(&self, clients: &'a [Client]) -> Result<&'a Client, Problem> {
        let id = self.client.get_ref();
        clients.iter().find(|client| client.id == *id).ok_or_else(|| {
            let meant = nearest(id, clients.iter().map(|client| client.id.as_str()));
            let message = format!("no client has the id {id:?}{}", suggested(meant));
            Problem::at(self.client.span(), message)
        })
    }

    fn subject(&self, client: &Client, clients: &[Client]) -> Result<Option<String>, Problem> {
        let Some(subject) = &self.subject else { return Ok(None) };
        if !is_subject(subject.get_ref()) {
            let message = "expected a subject of 1 to 255 bytes without control characters";
            return Err(Problem::at(subject.span(), message));
        }
        // RFC 9068 §5: a subject must not pass for a client that got the token for itself.
        if *subject.get_ref() != client.id && clients.iter().any(|client| client.id == *subject.get_ref()) {
            return Err(Problem::at(subject.span(), "the subject is the id of another client"));
        }
        Ok(Some(subject.get_ref().clone()))
    }

    fn actors(&self, names: &HashSet<&str>) -> Result<Vec<String>, Problem> {
        let Some(actors) = &self.actors else { return Ok(Vec::new()) };
        if actors.get_ref().is_empty() {
            let message = "expected the names of trust policies; without the setting the policy takes no actor";
            return Err(Problem::at(actors.span(), message));
        }
        let known = |actor: &Spanned<String>| {
            let name = actor.get_ref();
            if names.contains(name.as_str()) {
                return Ok(name.clone());
            }
            let message =
                format!("no trust policy has the name {name:?}{}", suggested(nearest(name, names.iter().copied())));
            Err(Problem::at(actor.span(), message))
        };
        actors.get_ref().iter().map(known).collect()
    }
}

fn suggested(meant: Option<&str>) -> String {
    meant.map(|name| format!("; did you mean {name:?}?")).unwrap_or_default()
}
