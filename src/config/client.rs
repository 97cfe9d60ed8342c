//! `[[client]]` and `[tokens]`.

mod login;

use std::net::IpAddr;
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;
use serde_json::Value;
use toml::Spanned;

use self::login::{LoginSettings, UriText};
use super::problem::Problem;
use super::proof::{Method, ProofSettings, SubjectSettings};
use super::values::{OneOrSeveral, ScopeText, Seconds, SecretHashText, from_folder};
use crate::jose::claims::Audience;
use crate::oauth::client::{Client, GrantType, RefreshRules, RequestLimits, Rotate};
use crate::store::family::RetryWindow;

/// The longest that an access token may live: it cannot be called back by who does not ask.
const LONGEST_ACCESS_TOKEN: Duration = Duration::from_secs(24 * 60 * 60);

/// The lifetimes that hold for every client that does not say otherwise.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct TokensTable {
    pub(super) access_token_lifetime: AccessTokenLifetime,
    refresh_token_lifetime: Seconds,
    refresh_token_idle_lifetime: Option<Seconds>,
    retry_window: RetryWindowText,
    pub(super) jwks_max_age: Seconds,
}

impl Default for TokensTable {
    fn default() -> Self {
        let days = |days: u64| Seconds(Duration::from_secs(days * 24 * 60 * 60));
        Self {
            access_token_lifetime: AccessTokenLifetime(Duration::from_secs(300)),
            refresh_token_lifetime: days(30),
            refresh_token_idle_lifetime: None,
            retry_window: RetryWindowText::For(Seconds(Duration::from_secs(60))),
            jwks_max_age: Seconds(Duration::from_secs(300)),
        }
    }
}

impl TokensTable {
    /// The rules for the refresh tokens of a client that says nothing else.
    pub(super) fn refresh_rules(&self) -> RefreshRules {
        let lifetime = self.refresh_token_lifetime.0;
        RefreshRules {
            lifetime,
            idle_lifetime: self.refresh_token_idle_lifetime.map_or(lifetime, |idle| idle.0),
            retry_window: match self.retry_window {
                RetryWindowText::Unlimited(Unlimited::Unlimited) => RetryWindow::Unlimited,
                RetryWindowText::For(window) => RetryWindow::For(window.0),
            },
            rotate: Rotate::Public,
        }
    }
}

/// How long an access token lives, at the most [`LONGEST_ACCESS_TOKEN`].
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(try_from = "Seconds")]
pub(super) struct AccessTokenLifetime(pub(super) Duration);

impl TryFrom<Seconds> for AccessTokenLifetime {
    type Error = &'static str;

    fn try_from(Seconds(lifetime): Seconds) -> Result<Self, Self::Error> {
        if lifetime <= LONGEST_ACCESS_TOKEN {
            Ok(Self(lifetime))
        } else {
            Err("expected at the most \"24h\": an access token is to be short-lived")
        }
    }
}

#[derive(Debug, Deserialize)]
#[serde(untagged, expecting = "expected a duration such as \"60s\", or \"unlimited\"")]
enum RetryWindowText {
    Unlimited(Unlimited),
    For(Seconds),
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Unlimited {
    Unlimited,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ClientTable {
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
    grants: Spanned<Vec<Grant>>,
    scope: ScopeText,
    audience: Spanned<OneOrSeveral<String>>,
    #[serde(default)]
    resources: Vec<String>,
    several_audiences: Option<bool>,
    #[serde(default)]
    dpop_bound_access_tokens: bool,
    tls_client_certificate_bound_access_tokens: Option<bool>,
    access_token_lifetime: Option<AccessTokenLifetime>,
    share_tokens_for: Option<Spanned<Seconds>>,
    refresh_token_lifetime: Option<Seconds>,
    refresh_token_idle_lifetime: Option<Seconds>,
    #[serde(default)]
    rotation: Rotation,
    requests_per_second: Option<NonZeroU32>,
    concurrent_requests: Option<NonZeroU32>,
    #[serde(default)]
    redirect_uris: Vec<UriText>,
    #[serde(default)]
    post_logout_redirect_uris: Vec<UriText>,
    backchannel_logout_uri: Option<Spanned<String>>,
    backchannel_logout_ca: Option<PathBuf>,
    backchannel_logout_allow_private_addresses: Option<bool>,
    #[serde(default)]
    require_pushed_authorization_requests: bool,
    #[serde(default)]
    require_signed_request_object: bool,
    #[serde(default)]
    refresh_token_cookie: bool,
}

#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq)]
#[serde(rename_all = "snake_case")]
pub(super) enum Grant {
    ClientCredentials,
    RefreshToken,
    #[serde(rename = "urn:ietf:params:oauth:grant-type:jwt-bearer")]
    JwtBearer,
    #[serde(rename = "urn:ietf:params:oauth:grant-type:token-exchange")]
    TokenExchange,
    AuthorizationCode,
    #[serde(rename = "urn:ietf:params:oauth:grant-type:device_code")]
    DeviceCode,
}

#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq)]
#[serde(rename_all = "lowercase")]
enum Rotation {
    #[default]
    Public,
    Always,
}

impl ClientTable {
    pub(super) fn id(&self) -> &Spanned<String> {
        &self.id
    }

    pub(super) fn into_client(self, tokens: &TokensTable, folder: &Path) -> Result<Client, Problem> {
        let (id_span, id) = (self.id.span(), self.id.into_inner());
        if !is_name(&id) {
            return Err(Problem::at(id_span, "expected a client id of 1 to 255 printable ASCII characters"));
        }
        let (audience_span, audience) = (self.audience.span(), self.audience.into_inner().0);
        if audience.is_empty() || audience.iter().any(String::is_empty) {
            let message = "expected an audience: the URL of the API that this client's access tokens are for";
            return Err(Problem::at(audience_span, message));
        }
        let several_by_default = audience.len() > 1;
        let mut proof = ProofSettings {
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
        };
        let (grants_span, grants) = (self.grants.span(), self.grants.into_inner());
        let grants: Vec<GrantType> = grants.into_iter().map(Grant::grant_type).collect();
        // Who is proven otherwise may have keys that sign its requests.
        let request_keys =
            if grants.contains(&GrantType::AuthorizationCode) { proof.further_keys(folder)? } else { None };
        let authentication = proof.into_authentication(folder)?;
        if grants.is_empty() {
            let message = "expected at least one grant, such as grants = [\"refresh_token\"]";
            return Err(Problem::at(grants_span, message));
        }
        if grants.contains(&GrantType::ClientCredentials) && authentication.is_none() {
            let message = "client_credentials needs a client that authenticates (RFC 6749 §4.4); expected client_secret_basic or client_secret_post";
            return Err(Problem::at(grants_span, message));
        }
        let login = LoginSettings {
            redirect_uris: self.redirect_uris,
            post_logout_redirect_uris: self.post_logout_redirect_uris,
            backchannel_logout_uri: self.backchannel_logout_uri,
            backchannel_logout_ca: self.backchannel_logout_ca.map(|path| from_folder(folder, path)),
            backchannel_logout_allow_private_addresses: self.backchannel_logout_allow_private_addresses,
            require_pushed_authorization_requests: self.require_pushed_authorization_requests,
            require_signed_request_object: self.require_signed_request_object,
            refresh_token_cookie: self.refresh_token_cookie,
        };
        let request_object_keys = request_keys.or_else(|| authentication.keys().cloned());
        let login = login.checked(&grants, request_object_keys, &grants_span)?;
        // Who presents a certificate anyway need not say so.
        let certificate_bound_access_tokens =
            self.tls_client_certificate_bound_access_tokens.unwrap_or(authentication.is_by_certificate());
        if certificate_bound_access_tokens && self.dpop_bound_access_tokens {
            let message = "a token is bound to a key or to a certificate; remove dpop_bound_access_tokens, or set tls_client_certificate_bound_access_tokens = false";
            return Err(Problem::at(id_span, message));
        }
        let access_token_lifetime = self.access_token_lifetime.unwrap_or(tokens.access_token_lifetime).0;
        let share_tokens_for = share_tokens_for(self.share_tokens_for, access_token_lifetime, &grants)?;
        let lifetime = self.refresh_token_lifetime.unwrap_or(tokens.refresh_token_lifetime).0;
        let idle_lifetime = self.refresh_token_idle_lifetime.or(tokens.refresh_token_idle_lifetime);
        Ok(Client {
            id,
            authentication,
            grants,
            scope: self.scope.0,
            audience: match <[String; 1]>::try_from(audience) {
                Ok([one]) => Audience::One(one),
                Err(several) => Audience::Several(several),
            },
            // Who has several by default may also name several.
            several_audiences: self.several_audiences.unwrap_or(several_by_default),
            resources: self.resources,
            dpop_bound_access_tokens: self.dpop_bound_access_tokens,
            certificate_bound_access_tokens,
            access_token_lifetime,
            share_tokens_for,
            refresh: RefreshRules {
                lifetime,
                idle_lifetime: idle_lifetime.map_or(lifetime, |idle| idle.0),
                rotate: match self.rotation {
                    Rotation::Public => Rotate::Public,
                    Rotation::Always => Rotate::Always,
                },
                ..tokens.refresh_rules()
            },
            limits: RequestLimits { per_second: self.requests_per_second, concurrent: self.concurrent_requests },
            redirect_uris: login.redirect_uris,
            post_logout_redirect_uris: login.post_logout_redirect_uris,
            backchannel_logout_uri: login.backchannel_logout_uri,
            backchannel_logout_settings: login.backchannel_logout_settings,
            require_pushed_authorization_requests: login.require_pushed_authorization_requests,
            require_signed_request_object: login.require_signed_request_object,
            request_object_keys: login.request_object_keys,
            refresh_token_cookie: login.refresh_token_cookie,
        })
    }
}

impl Grant {
    pub(super) fn grant_type(self) -> GrantType {
        match self {
            Self::ClientCredentials => GrantType::ClientCredentials,
            Self::RefreshToken => GrantType::RefreshToken,
            Self::JwtBearer => GrantType::JwtBearer,
            Self::TokenExchange => GrantType::TokenExchange,
            Self::AuthorizationCode => GrantType::AuthorizationCode,
            Self::DeviceCode => GrantType::DeviceCode,
        }
    }
}

/// A token that is shared has to live on for longer than it is shared: who has it last is to have some use of it too.
fn share_tokens_for(
    setting: Option<Spanned<Seconds>>,
    lifetime: Duration,
    grants: &[GrantType],
) -> Result<Option<Duration>, Problem> {
    let Some(setting) = setting else { return Ok(None) };
    let (span, duration) = (setting.span(), setting.into_inner().0);
    if !grants.contains(&GrantType::ClientCredentials) {
        return Err(Problem::at(span, "share_tokens_for is for clients with the grant client_credentials"));
    }
    if duration * 2 >= lifetime {
        return Err(Problem::at(span, "expected less than half of access_token_lifetime"));
    }
    Ok(Some(duration))
}

/// RFC 6749 A.1: VSCHAR, which a form, a header and a log line all carry unchanged.
pub(super) fn is_name(id: &str) -> bool {
    (1..=255).contains(&id.len()) && id.bytes().all(|byte| (0x20..=0x7e).contains(&byte))
}
