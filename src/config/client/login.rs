//! What a client has that people log in to.

use std::ops::Range;
use std::path::PathBuf;

use serde::Deserialize;
use toml::Spanned;
use url::{Host, Url};

use crate::config::problem::Problem;
use crate::fetch::HttpsSettings;
use crate::oauth::client::GrantType;
use crate::oauth::key_sets::KeyPlace;
use crate::oauth::redirect_uri::{RedirectUri, RedirectUriError};

/// A redirect URI.
#[derive(Clone, Debug, Deserialize)]
#[serde(try_from = "String")]
pub(super) struct UriText(RedirectUri);

impl TryFrom<String> for UriText {
    type Error = RedirectUriError;

    fn try_from(text: String) -> Result<Self, RedirectUriError> {
        RedirectUri::parse(&text).map(Self)
    }
}

/// The settings as they are written.
pub(super) struct LoginSettings {
    pub(super) redirect_uris: Vec<UriText>,
    pub(super) post_logout_redirect_uris: Vec<UriText>,
    pub(super) backchannel_logout_uri: Option<Spanned<String>>,
    pub(super) backchannel_logout_ca: Option<PathBuf>,
    pub(super) backchannel_logout_allow_private_addresses: Option<bool>,
    pub(super) require_pushed_authorization_requests: bool,
    pub(super) require_signed_request_object: bool,
    pub(super) refresh_token_cookie: bool,
}

/// Those that go together.
pub(super) struct Login {
    pub(super) redirect_uris: Vec<RedirectUri>,
    pub(super) post_logout_redirect_uris: Vec<RedirectUri>,
    pub(super) backchannel_logout_uri: Option<Url>,
    pub(super) backchannel_logout_settings: HttpsSettings,
    pub(super) require_pushed_authorization_requests: bool,
    pub(super) require_signed_request_object: bool,
    pub(super) request_object_keys: Option<KeyPlace>,
    pub(super) refresh_token_cookie: bool,
}

impl LoginSettings {
    /// Those of a client that has `grants`, written at `span`, and keys where `keys` are.
    pub(super) fn checked(
        self,
        grants: &[GrantType],
        keys: Option<KeyPlace>,
        span: &Range<usize>,
    ) -> Result<Login, Problem> {
        let uris = |texts: Vec<UriText>| texts.into_iter().map(|text| text.0).collect::<Vec<_>>();
        let has_codes = grants.contains(&GrantType::AuthorizationCode);
        let logs_in = has_codes || grants.contains(&GrantType::DeviceCode);
        let refused = |message: &str| Err(Problem::at(span.clone(), message.to_owned()));
        if has_codes && self.redirect_uris.is_empty() {
            return refused(
                "expected redirect_uris: with the grant authorization_code, browsers are sent back to the client",
            );
        }
        if !has_codes
            && (!self.redirect_uris.is_empty()
                || self.require_pushed_authorization_requests
                || self.require_signed_request_object)
        {
            return refused(
                "redirect_uris, require_pushed_authorization_requests and require_signed_request_object are for clients with the grant authorization_code; remove them",
            );
        }
        if !logs_in && (!self.post_logout_redirect_uris.is_empty() || self.backchannel_logout_uri.is_some()) {
            return refused(
                "post_logout_redirect_uris and backchannel_logout_uri are for clients that people log in to; remove them, or add the grant authorization_code",
            );
        }
        let is_about_logouts =
            self.backchannel_logout_ca.is_some() || self.backchannel_logout_allow_private_addresses.is_some();
        if self.backchannel_logout_uri.is_none() && is_about_logouts {
            return refused(
                "backchannel_logout_ca and backchannel_logout_allow_private_addresses are about backchannel_logout_uri; expected that too",
            );
        }
        let backchannel_logout_settings = HttpsSettings {
            authorities: self.backchannel_logout_ca,
            allow_private: self.backchannel_logout_allow_private_addresses.unwrap_or(false),
            ..HttpsSettings::default()
        };
        if self.require_signed_request_object && keys.is_none() {
            return refused(
                "expected one of jwks, jwks_file and jwks_uri for require_signed_request_object: the public keys that verify its requests",
            );
        }
        if self.refresh_token_cookie && !grants.contains(&GrantType::RefreshToken) {
            return refused("refresh_token_cookie is for clients with the grant refresh_token");
        }
        Ok(Login {
            redirect_uris: uris(self.redirect_uris),
            post_logout_redirect_uris: uris(self.post_logout_redirect_uris),
            backchannel_logout_uri: self.backchannel_logout_uri.map(logout_uri).transpose()?,
            backchannel_logout_settings,
            require_pushed_authorization_requests: self.require_pushed_authorization_requests,
            require_signed_request_object: self.require_signed_request_object,
            request_object_keys: keys.filter(|_| has_codes),
            refresh_token_cookie: self.refresh_token_cookie,
        })
    }
}

/// OpenID Connect Back-Channel Logout §2.2.
fn logout_uri(setting: Spanned<String>) -> Result<Url, Problem> {
    let is_safe = |url: &Url| match (url.scheme(), url.host()) {
        ("https", Some(_)) => true,
        ("http", Some(Host::Ipv4(address))) => address.is_loopback(),
        ("http", Some(Host::Ipv6(address))) => address.is_loopback(),
        ("http", Some(Host::Domain(name))) => name == "localhost",
        _ => false,
    };
    let is_plain = |url: &Url| url.username().is_empty() && url.password().is_none() && url.fragment().is_none();
    Url::parse(setting.get_ref()).ok().filter(|url| is_safe(url) && is_plain(url)).ok_or_else(|| {
        Problem::at(
            setting.span(),
            "expected an https URL, or http at a loopback host, without user, password and fragment",
        )
    })
}
