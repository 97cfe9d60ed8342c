//! The registered clients.

use std::collections::HashMap;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use url::Url;

use super::authentication::CertificateSubject;
use super::key_sets::KeyPlace;
use super::redirect_uri::RedirectUri;
use super::scope::Scope;
use super::secret::SecretHash;
use crate::fetch::HttpsSettings;
use crate::jose::claims::Audience;
use crate::jose::thumbprint::Thumbprint;
use crate::store::family::{OnReplay, RetryWindow, Rotation};

/// A client as the operator registered it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Client {
    /// Its `client_id`.
    pub id: String,
    /// How it proves itself.
    pub authentication: ClientAuthentication,
    /// The grants that it may use.
    pub grants: Vec<GrantType>,
    /// The most scope that it may get.
    pub scope: Scope,
    /// Who its access tokens are for where it does not say.
    pub audience: Audience,
    /// Who else it may have tokens for, by saying so (RFC 8707).
    pub resources: Vec<String>,
    /// Whether it may name several at once.
    pub several_audiences: bool,
    /// Whether each of its access tokens has to be bound to a key by DPoP (RFC 9449 §5.2).
    pub dpop_bound_access_tokens: bool,
    /// Whether each of its access tokens is bound to the certificate of the connection (RFC 8705 §3.4).
    pub certificate_bound_access_tokens: bool,
    /// How long its access tokens live.
    pub access_token_lifetime: Duration,
    /// How young an access token of its own has to be to be given out again to who asks for the same.
    pub share_tokens_for: Option<Duration>,
    /// The rules for its refresh tokens.
    pub refresh: RefreshRules,
    /// How many of its requests are served.
    pub limits: RequestLimits,
    /// Where browsers are sent with its codes; some where it has the grant `authorization_code`, and only then.
    pub redirect_uris: Vec<RedirectUri>,
    /// Where browsers are sent after a logout (OpenID Connect RP-Initiated Logout §3).
    pub post_logout_redirect_uris: Vec<RedirectUri>,
    /// Where it is told of logouts (OpenID Connect Back-Channel Logout §2.2).
    pub backchannel_logout_uri: Option<Url>,
    /// How that is connected to.
    pub backchannel_logout_settings: HttpsSettings,
    /// Whether each of its authorization requests has to be pushed (RFC 9126 §6).
    pub require_pushed_authorization_requests: bool,
    /// Whether each of them has to be a signed object (RFC 9101 §10.5).
    pub require_signed_request_object: bool,
    /// Where the keys are that sign these; none where it may not send any.
    pub request_object_keys: Option<KeyPlace>,
    /// Whether its refresh tokens travel in a cookie.
    pub refresh_token_cookie: bool,
}

/// How many requests of a client that were granted are served; without a number, as many as there are.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct RequestLimits {
    /// So many at once, and so many a second.
    pub per_second: Option<NonZeroU32>,
    /// At a time.
    pub concurrent: Option<NonZeroU32>,
}

/// The rules for a client's refresh tokens.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct RefreshRules {
    /// How long a family lives, however much it is used.
    pub lifetime: Duration,
    /// How long it lives unused.
    pub idle_lifetime: Duration,
    /// How long the predecessor of an unused token is taken for a retry.
    pub retry_window: RetryWindow,
    /// Whose refresh tokens are replaced at each use.
    pub rotate: Rotate,
}

/// Whose refresh tokens are replaced at each use.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Rotate {
    /// Those of public clients, which are bound to nothing (RFC 9700 §2.2.2).
    Public,
    /// Everybody's.
    Always,
}

/// How a client proves itself at the token endpoint: one way, as registered.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum ClientAuthentication {
    /// It does not: a public client (`none`).
    None,
    /// By a certificate that one of the authorities vouches for (`tls_client_auth`, RFC 8705 §2.1).
    TlsClientAuth {
        /// The name that it has to have.
        subject: CertificateSubject,
    },
    /// By a certificate that it made itself (`self_signed_tls_client_auth`, RFC 8705 §2.2).
    SelfSignedTlsClientAuth {
        /// Those of its certificates that are good.
        certificates: Vec<Thumbprint>,
    },
    /// By a JWT that it signs itself (`private_key_jwt`, RFC 7523 §2.2).
    PrivateKeyJwt {
        /// Where its public keys are.
        keys: KeyPlace,
    },
    /// By a secret.
    Secret {
        /// Where the secret may be.
        transport: SecretTransport,
        /// The secrets that are good now; two while one replaces the other.
        hashes: Vec<SecretHash>,
    },
}

impl ClientAuthentication {
    /// Whether the client proves nothing: a public one.
    pub fn is_none(&self) -> bool {
        matches!(self, Self::None)
    }

    /// Whether it is the certificate of the connection that proves it.
    pub fn is_by_certificate(&self) -> bool {
        matches!(self, Self::TlsClientAuth { .. } | Self::SelfSignedTlsClientAuth { .. })
    }

    /// Where the keys are that prove it, where keys do.
    pub fn keys(&self) -> Option<&KeyPlace> {
        match self {
            Self::PrivateKeyJwt { keys } => Some(keys),
            Self::None | Self::Secret { .. } | Self::TlsClientAuth { .. } | Self::SelfSignedTlsClientAuth { .. } => {
                None
            }
        }
    }
}

/// Where a client secret may be presented (RFC 6749 §2.3.1).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum SecretTransport {
    /// In the `Authorization` header (`client_secret_basic`).
    Basic,
    /// In the form (`client_secret_post`).
    Post,
    /// In either, though never in both at once.
    BasicOrPost,
}

/// The grants of the token endpoint.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum GrantType {
    /// RFC 6749 §4.4.
    ClientCredentials,
    /// RFC 6749 §6.
    RefreshToken,
    /// RFC 7523 §2.1.
    JwtBearer,
    /// RFC 8693.
    TokenExchange,
    /// RFC 6749 §4.1.
    AuthorizationCode,
    /// RFC 8628.
    DeviceCode,
}

impl GrantType {
    /// Every grant that works.
    pub const ALL: [Self; 6] = [
        Self::ClientCredentials,
        Self::RefreshToken,
        Self::JwtBearer,
        Self::TokenExchange,
        Self::AuthorizationCode,
        Self::DeviceCode,
    ];

    /// The value of `grant_type`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ClientCredentials => "client_credentials",
            Self::RefreshToken => "refresh_token",
            Self::JwtBearer => "urn:ietf:params:oauth:grant-type:jwt-bearer",
            Self::TokenExchange => "urn:ietf:params:oauth:grant-type:token-exchange",
            Self::AuthorizationCode => "authorization_code",
            Self::DeviceCode => "urn:ietf:params:oauth:grant-type:device_code",
        }
    }

    /// The grant that `text` names.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|grant| grant.as_str() == text)
    }
}

impl Client {
    /// Whether it may have a token for `resource`.
    pub fn may_target(&self, resource: &str) -> bool {
        self.audience.values().iter().chain(&self.resources).any(|known| known == resource)
    }

    /// Whether it may use `grant`.
    pub fn may_use(&self, grant: GrantType) -> bool {
        self.grants.contains(&grant)
    }

    /// Whether a browser may be sent to `uri` with an answer for it.
    pub fn is_redirected_to(&self, uri: &str) -> bool {
        self.redirect_uris.iter().any(|registered| registered.is(uri))
    }

    /// Whether a browser may be sent to `uri` after a logout.
    pub fn is_redirected_to_after_logout(&self, uri: &str) -> bool {
        self.post_logout_redirect_uris.iter().any(|registered| registered.is(uri))
    }

    /// Whether its refresh tokens are replaced at each use.
    pub fn rotation(&self) -> Rotation {
        match self.refresh.rotate {
            Rotate::Always => Rotation::Rotate,
            Rotate::Public if self.authentication.is_none() => Rotation::Rotate,
            Rotate::Public => Rotation::Keep,
        }
    }

    /// What a replayed refresh token of its does.
    pub fn on_replay(&self) -> OnReplay {
        if self.authentication.is_none() { OnReplay::RevokeFamily } else { OnReplay::Refuse }
    }
}

/// All registered clients, found by id.
#[derive(Debug, Default)]
pub struct ClientRegistry {
    clients: HashMap<String, Arc<Client>>,
}

impl ClientRegistry {
    /// The client `id`.
    pub fn find(&self, id: &str) -> Option<&Arc<Client>> {
        self.clients.get(id)
    }

    /// All of them, in no order.
    pub fn iter(&self) -> impl Iterator<Item = &Client> {
        self.clients.values().map(Arc::as_ref)
    }
}

impl FromIterator<Client> for ClientRegistry {
    fn from_iter<Clients: IntoIterator<Item = Client>>(clients: Clients) -> Self {
        Self { clients: clients.into_iter().map(|client| (client.id.clone(), Arc::new(client))).collect() }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A public client that may do everything, for tests that change what they are about.
    pub(crate) fn client(id: &str) -> Client {
        let day = Duration::from_secs(24 * 60 * 60);
        Client {
            id: id.to_owned(),
            authentication: ClientAuthentication::None,
            grants: GrantType::ALL.to_vec(),
            scope: Scope::parse("read write").unwrap(),
            audience: Audience::One("https://api.example.com".to_owned()),
            resources: Vec::new(),
            several_audiences: false,
            dpop_bound_access_tokens: false,
            certificate_bound_access_tokens: false,
            access_token_lifetime: Duration::from_secs(300),
            share_tokens_for: None,
            refresh: RefreshRules {
                lifetime: day,
                idle_lifetime: day,
                retry_window: RetryWindow::For(Duration::from_secs(60)),
                rotate: Rotate::Public,
            },
            limits: RequestLimits::default(),
            redirect_uris: vec![RedirectUri::parse("https://app.example.com/callback").unwrap()],
            post_logout_redirect_uris: Vec::new(),
            backchannel_logout_uri: None,
            backchannel_logout_settings: HttpsSettings::default(),
            require_pushed_authorization_requests: false,
            require_signed_request_object: false,
            request_object_keys: None,
            refresh_token_cookie: false,
        }
    }
}
