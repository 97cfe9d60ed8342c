//! `[registration]`: clients that register themselves.

use std::num::NonZeroU32;

use serde::Deserialize;
use toml::Spanned;

use super::client::{AccessTokenLifetime, Grant, TokensTable};
use super::problem::Problem;
use super::proof::Method;
use super::values::{OneOrSeveral, ScopeText, Seconds, SecretHashText};
use crate::jose::claims::Audience;
use crate::oauth::client::GrantType;
use crate::oauth::registration::{AuthenticationMethod, RegistrationRules};

const DEFAULT_MAX_CLIENTS: u32 = 1000;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RegistrationTable {
    initial_access_token_sha256: Spanned<OneOrSeveral<SecretHashText>>,
    grants: Option<Spanned<Vec<Grant>>>,
    authentication: Option<Spanned<OneOrSeveral<Method>>>,
    scope: ScopeText,
    audience: Spanned<OneOrSeveral<String>>,
    #[serde(default)]
    resources: Vec<String>,
    access_token_lifetime: Option<AccessTokenLifetime>,
    max_clients: Option<NonZeroU32>,
    lifetime: Option<Seconds>,
}

impl RegistrationTable {
    pub(super) fn into_rules(self, tokens: &TokensTable) -> Result<RegistrationRules, Problem> {
        let (span, hashes) = (self.initial_access_token_sha256.span(), self.initial_access_token_sha256.into_inner().0);
        if !matches!(hashes.len(), 1 | 2) {
            let message = "expected one initial_access_token_sha256, or two while one replaces the other";
            return Err(Problem::at(span, message));
        }
        Ok(RegistrationRules {
            initial_access_tokens: hashes.iter().map(|hash| hash.0).collect(),
            grants: grants(self.grants)?,
            methods: methods(self.authentication)?,
            scope: self.scope.0,
            audience: audience(self.audience)?,
            resources: self.resources,
            access_token_lifetime: self.access_token_lifetime.unwrap_or(tokens.access_token_lifetime).0,
            max_clients: self.max_clients.map_or(DEFAULT_MAX_CLIENTS, NonZeroU32::get),
            lifetime: self.lifetime.map(|lifetime| lifetime.0),
            refresh: tokens.refresh_rules(),
        })
    }
}

/// Nobody grants a client that registered itself anything: it has what it is for itself.
fn grants(setting: Option<Spanned<Vec<Grant>>>) -> Result<Vec<GrantType>, Problem> {
    let only = vec![GrantType::ClientCredentials];
    let Some(setting) = setting else { return Ok(only) };
    let grants: Vec<GrantType> = setting.get_ref().iter().map(|grant| grant.grant_type()).collect();
    if grants == only {
        return Ok(only);
    }
    let message =
        "expected grants = [\"client_credentials\"]: no other one is of use to a client that registers itself";
    Err(Problem::at(setting.span(), message))
}

fn methods(setting: Option<Spanned<OneOrSeveral<Method>>>) -> Result<Vec<AuthenticationMethod>, Problem> {
    let Some(setting) = setting else { return Ok(AuthenticationMethod::ALL.to_vec()) };
    let method = |method: &Method| match method {
        Method::None => None,
        Method::ClientSecretBasic => Some(AuthenticationMethod::ClientSecretBasic),
        Method::ClientSecretPost => Some(AuthenticationMethod::ClientSecretPost),
        Method::PrivateKeyJwt => Some(AuthenticationMethod::PrivateKeyJwt),
        Method::TlsClientAuth => Some(AuthenticationMethod::TlsClientAuth),
        Method::SelfSignedTlsClientAuth => Some(AuthenticationMethod::SelfSignedTlsClientAuth),
    };
    let methods: Option<Vec<_>> = setting.get_ref().0.iter().map(method).collect();
    methods.filter(|methods| !methods.is_empty()).ok_or_else(|| {
        let message = "a client that registers itself proves itself; expected other methods than none, such as client_secret_basic";
        Problem::at(setting.span(), message)
    })
}

fn audience(setting: Spanned<OneOrSeveral<String>>) -> Result<Audience, Problem> {
    let (span, audience) = (setting.span(), setting.into_inner().0);
    if audience.is_empty() || audience.iter().any(String::is_empty) {
        let message = "expected an audience: the URL of the API that access tokens of clients that register are for";
        return Err(Problem::at(span, message));
    }
    Ok(match <[String; 1]>::try_from(audience) {
        Ok([one]) => Audience::One(one),
        Err(several) => Audience::Several(several),
    })
}
