//! The file as it is written: its tables, and how they become a [`Config`].

use std::collections::BTreeMap;
use std::num::{NonZeroU16, NonZeroU32};
use std::path::{Path, PathBuf};

use serde::Deserialize;
use toml::Spanned;

use super::client::{ClientTable, TokensTable};
use super::devices::{MeetingTable, devices};
use super::frontend::{FrontendTable, Named, frontends};
use super::hardware::{HardwareTable, Surroundings};
use super::keys::{KeysTable, Lifetimes};
use super::kubernetes::KubernetesTable;
use super::listen::ListenTable;
use super::problem::Problem;
use super::registration::RegistrationTable;
use super::resource::ResourceTable;
use super::resource_server::ResourceServerTable;
use super::signing_profile::SigningProfileTable;
use super::token_profile::longest_access_token;
use super::trust::{TrustTable, TrustTables, TrustedIssuerTable, Trusting};
use super::values::{Seconds, SecretTable, from_folder, seconds_or};
use super::{Config, IssuerIdentifier, KeeperConfig, LogConfig, Read, StoreLocation};
use crate::keeper::policy::DelegatedProfile;
use crate::oauth::attempts::AttemptLimits;
use crate::oauth::client::Client;
use crate::telemetry::LogFormat;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    issuer: Spanned<String>,
    listen: ListenTable,
    #[serde(default)]
    limits: LimitsTable,
    #[serde(default)]
    keeper: KeeperTable,
    hardware: Spanned<BTreeMap<String, HardwareTable>>,
    #[serde(default)]
    keys: KeysTable,
    #[serde(default)]
    signing_profile: Vec<SigningProfileTable>,
    #[serde(default)]
    tokens: TokensTable,
    store: StoreTable,
    #[serde(default)]
    log: LogTable,
    #[serde(default)]
    client: Vec<ClientTable>,
    #[serde(default)]
    resource_server: Vec<ResourceServerTable>,
    #[serde(default)]
    frontend: Vec<FrontendTable>,
    #[serde(default)]
    resource: Vec<ResourceTable>,
    kubernetes: Option<KubernetesTable>,
    registration: Option<RegistrationTable>,
    trust_directory: Option<Spanned<PathBuf>>,
    #[serde(default)]
    trust: Vec<TrustTable>,
    #[serde(default)]
    trusted_issuer: Vec<TrustedIssuerTable>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct LimitsTable {
    failed_attempts_per_source: Option<NonZeroU32>,
    failed_attempts_per_client: Option<NonZeroU32>,
    logins_per_source: Option<NonZeroU32>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct KeeperTable {
    socket: Option<PathBuf>,
    user: Option<Spanned<String>>,
    mint_user: Option<Spanned<String>>,
    state: Option<PathBuf>,
    request_timeout: Option<Seconds>,
    start_timeout: Option<Seconds>,
    hang_timeout: Option<Seconds>,
    queue: Option<NonZeroU16>,
    verify_signatures: Option<bool>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct StoreTable {
    url: Spanned<String>,
    password: Option<Spanned<SecretTable>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct LogTable {
    format: LogFormat,
    level: Level,
}

#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Level {
    Error,
    Warn,
    #[default]
    Info,
    Debug,
    Trace,
}

pub(super) fn parse(path: &Path, text: &str) -> Result<Config, Problem> {
    let file: File = toml::from_str(text)?;
    let folder = path.parent().unwrap_or(Path::new(""));
    let folder = std::path::absolute(folder).unwrap_or_else(|_| folder.to_owned());
    let issuer = IssuerIdentifier::parse(file.issuer.get_ref())
        .map_err(|message| Problem::at(file.issuer.span(), format!("issuer: {message}")))?;
    let jwks_max_age = file.tokens.jwks_max_age.0;
    each_once("client", file.client.iter().map(ClientTable::id))?;
    each_once("resource", file.resource.iter().map(ResourceTable::id))?;
    each_once("resource server", file.resource_server.iter().map(ResourceServerTable::id))?;
    each_once("signing profile", file.signing_profile.iter().map(SigningProfileTable::id))?;
    let clients = file
        .client
        .into_iter()
        .map(|table| table.into_client(&file.tokens, &folder))
        .collect::<Result<Vec<Client>, _>>()?;
    let sources = TrustTables { trust: file.trust, trusted_issuer: file.trusted_issuer }
        .with_directory(file.trust_directory, &folder)?;
    let (trust, trusted_issuers) = sources.trusted(&Trusting { issuer: &issuer, clients: &clients })?;
    let registration = file.registration.map(|table| table.into_rules(&file.tokens)).transpose()?;
    let lifetimes = Lifetimes {
        access_token: longest_access_token(&clients, &trust, registration.as_ref()),
        refresh_token: clients.iter().map(|client| client.refresh.lifetime).max().unwrap_or_default(),
        jwks_max_age,
    };
    let resource_servers =
        file.resource_server.into_iter().map(|table| table.into_resource_server(&folder)).collect::<Result<_, _>>()?;
    let signing_profiles = file.signing_profile.into_iter().map(|table| table.into_profile(jwks_max_age));
    let (signing_profiles, delegated): (Vec<_>, Vec<_>) =
        signing_profiles.collect::<Result<Vec<_>, _>>()?.into_iter().unzip();
    let their_keys: Vec<_> = signing_profiles.iter().map(DelegatedProfile::its_keys).collect();
    let named = Named { clients: &clients, profiles: &signing_profiles };
    let frontends = frontends(file.frontend, &named, &folder)?;
    // The folder of this file where nothing else is said.
    let state = from_folder(&folder, file.keeper.state.clone().unwrap_or_default());
    let surroundings = Surroundings { folder: &folder, state: &state, profiles: &their_keys };
    let (keeper, meeting) = keeper(file.keeper);
    let keys = file.keys.into_schedule(lifetimes, delegated)?;
    let kubernetes = file.kubernetes.map(|table| table.into_settings(&signing_profiles, &keys, &folder)).transpose()?;
    Ok(Config {
        issuer,
        listen: file.listen.into_listen(&folder)?,
        attempt_limits: attempt_limits(&file.limits),
        logins_per_source: file.limits.logins_per_source.unwrap_or(limit(600)),
        keeper,
        hardware: devices(file.hardware, meeting, surroundings)?,
        keys,
        signing_profiles,
        jwks_max_age,
        kubernetes,
        store: store(file.store, &folder)?,
        log: LogConfig { format: file.log.format, level: format!("{:?}", file.log.level).to_lowercase() },
        clients,
        resource_servers,
        frontends,
        resources: file.resource.into_iter().map(ResourceTable::into_scope).collect::<Result<_, _>>()?,
        registration,
        trust,
        trusted_issuers,
        read: Read { path: path.to_owned(), text: text.to_owned(), trust_files: sources.files },
    })
}

/// Fails where two things of one kind have the same id.
fn each_once<'a>(kind: &str, ids: impl Iterator<Item = &'a Spanned<String>>) -> Result<(), Problem> {
    let mut known = Vec::new();
    for id in ids {
        if known.contains(&id.get_ref()) {
            return Err(Problem::at(id.span(), format!("another {kind} has the id {:?} already", id.get_ref())));
        }
        known.push(id.get_ref());
    }
    Ok(())
}

fn attempt_limits(table: &LimitsTable) -> AttemptLimits {
    AttemptLimits {
        per_source: table.failed_attempts_per_source.unwrap_or(limit(60)),
        per_client: table.failed_attempts_per_client.unwrap_or(limit(600)),
    }
}

/// A default.
fn limit(number: u32) -> NonZeroU32 {
    NonZeroU32::new(number).expect("a default is not zero")
}

/// What holds for every keeper, and where they meet the mint.
fn keeper(table: KeeperTable) -> (KeeperConfig, MeetingTable) {
    let config = KeeperConfig {
        request_limit: seconds_or(table.request_timeout, 5),
        start_limit: seconds_or(table.start_timeout, 30),
        hang_limit: seconds_or(table.hang_timeout, 10),
        queue_capacity: table.queue.map_or(256, |queue| queue.get().into()),
        verify_signatures: table.verify_signatures.unwrap_or(true),
    };
    (config, MeetingTable { socket: table.socket, user: table.user, mint_user: table.mint_user })
}

fn store(StoreTable { url, password }: StoreTable, folder: &Path) -> Result<StoreLocation, Problem> {
    let location = StoreLocation::parse(url.get_ref(), folder)
        .map_err(|message| Problem::at(url.span(), format!("store.url: {message}")))?;
    match password {
        None => Ok(location),
        Some(password) => {
            let span = password.span();
            if password.get_ref().asks() {
                return Err(Problem::at(password.span(), "expected a place; \"prompt\" is for the PIN of a token"));
            }
            let source = password.into_inner().source(folder);
            location.with_password(source).map_err(|message| Problem::at(span, message))
        }
    }
}
