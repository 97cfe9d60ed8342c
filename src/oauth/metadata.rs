//! Authorization server metadata (RFC 8414): what works, and nothing else.

use std::sync::Arc;

use arc_swap::ArcSwap;
use serde::Serialize;
use utoipa::ToSchema;

use super::authorization::Prompt;
use super::client::{Client, GrantType};
use super::openid::OpenIdMetadata;
use super::registrations::Registrations;
use super::scope::Scope;
use crate::jose::foreign::SignatureAlgorithm;
use crate::jose::jws::ES256;
use crate::keyring::Document;

/// The path of the token endpoint.
pub const TOKEN_PATH: &str = "/oauth/token";
/// The path of the authorization endpoint.
pub const AUTHORIZATION_PATH: &str = "/oauth/authorize";
/// The path that authorization requests are pushed to.
pub const PUSHED_REQUEST_PATH: &str = "/oauth/par";
/// The path of the device authorization endpoint.
pub const DEVICE_AUTHORIZATION_PATH: &str = "/oauth/device_authorization";
/// The path of the end session endpoint.
pub const LOGOUT_PATH: &str = "/oauth/logout";
/// The path of the revocation endpoint.
pub const REVOCATION_PATH: &str = "/oauth/revoke";
/// The path of the introspection endpoint.
pub const INTROSPECTION_PATH: &str = "/oauth/introspect";
/// The path of the registration endpoint.
pub const REGISTRATION_PATH: &str = "/oauth/register";
/// The path of the userinfo endpoint.
pub const USERINFO_PATH: &str = "/oauth/userinfo";
/// The path of the JWK Set.
pub const JWKS_PATH: &str = "/.well-known/jwks.json";
/// The path below which the JWK Set of each signing profile of front-ends is.
pub const PROFILE_JWKS_PATH: &str = "/jwks";
/// The path of the description of the endpoints in OpenAPI.
pub const OPENAPI_PATH: &str = "/openapi.json";
/// The path of the metadata; an issuer's own path follows it (RFC 8414 §3).
pub const METADATA_PATH: &str = "/.well-known/oauth-authorization-server";

/// The metadata document.
#[derive(Debug, Serialize, ToSchema)]
pub struct Metadata {
    issuer: String,
    token_endpoint: String,
    jwks_uri: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    scopes_supported: Vec<String>,
    // Required by RFC 8414 §2, and empty where nobody can log in.
    response_types_supported: Vec<&'static str>,
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    authorization: Option<AuthorizationMetadata>,
    #[serde(skip_serializing_if = "Option::is_none")]
    device_authorization_endpoint: Option<String>,
    grant_types_supported: Vec<&'static str>,
    token_endpoint_auth_methods_supported: Vec<&'static str>,
    token_endpoint_auth_signing_alg_values_supported: &'static [&'static str],
    revocation_endpoint: String,
    revocation_endpoint_auth_methods_supported: Vec<&'static str>,
    revocation_endpoint_auth_signing_alg_values_supported: &'static [&'static str],
    #[serde(skip_serializing_if = "Option::is_none")]
    registration_endpoint: Option<String>,
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    introspection: Option<IntrospectionMetadata>,
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    openid: Option<OpenIdMetadata>,
    dpop_signing_alg_values_supported: &'static [&'static str],
    #[serde(skip_serializing_if = "Option::is_none")]
    tls_client_certificate_bound_access_tokens: Option<bool>,
}

/// Told where somebody can log in to a client.
#[derive(Debug, Serialize, ToSchema)]
struct AuthorizationMetadata {
    authorization_endpoint: String,
    pushed_authorization_request_endpoint: String,
    /// Whether each client has to push (RFC 9126 §5).
    require_pushed_authorization_requests: bool,
    response_modes_supported: [&'static str; 1],
    code_challenge_methods_supported: [&'static str; 1],
    authorization_response_iss_parameter_supported: bool,
    prompt_values_supported: [&'static str; Prompt::ALL.len()],
    /// Whether some client has keys that sign requests (RFC 9101 §10.5).
    request_parameter_supported: bool,
    /// That of a request that was pushed needs no support of its own (RFC 9126 §5).
    request_uri_parameter_supported: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    request_object_signing_alg_values_supported: Option<&'static [&'static str]>,
    /// Whether each client has to sign.
    require_signed_request_object: bool,
}

impl AuthorizationMetadata {
    fn of(identifier: &str, registered: &Registrations) -> Option<Self> {
        let clients: Vec<&Client> = registered.clients.iter().filter(|client| logs_in(client, registered)).collect();
        let is_signed = clients.iter().any(|client| client.request_object_keys.is_some());
        (!clients.is_empty()).then(|| Self {
            authorization_endpoint: format!("{identifier}{AUTHORIZATION_PATH}"),
            pushed_authorization_request_endpoint: format!("{identifier}{PUSHED_REQUEST_PATH}"),
            require_pushed_authorization_requests: clients
                .iter()
                .all(|client| client.require_pushed_authorization_requests),
            response_modes_supported: ["query"],
            code_challenge_methods_supported: ["S256"],
            authorization_response_iss_parameter_supported: true,
            prompt_values_supported: Prompt::ALL.map(Prompt::as_str),
            request_parameter_supported: is_signed,
            request_uri_parameter_supported: false,
            request_object_signing_alg_values_supported: is_signed.then_some(&SignatureAlgorithm::NAMES),
            require_signed_request_object: clients.iter().all(|client| client.require_signed_request_object),
        })
    }
}

/// Whether a front-end logs people in to `client`.
fn logs_in(client: &Client, registered: &Registrations) -> bool {
    let frontend = registered.frontends.of_client(&client.id);
    client.may_use(GrantType::AuthorizationCode) && frontend.is_some_and(|frontend| frontend.pages.login.is_some())
}

/// Whether a front-end takes the codes of the devices of `client`.
fn has_device_page(client: &Client, registered: &Registrations) -> bool {
    let frontend = registered.frontends.of_client(&client.id);
    client.may_use(GrantType::DeviceCode) && frontend.is_some_and(|frontend| frontend.pages.device.is_some())
}

/// Told where there is a resource server that may ask.
#[derive(Debug, Serialize, ToSchema)]
struct IntrospectionMetadata {
    introspection_endpoint: String,
    introspection_endpoint_auth_methods_supported: Vec<&'static str>,
    introspection_endpoint_auth_signing_alg_values_supported: &'static [&'static str],
    introspection_signing_alg_values_supported: [&'static str; 1],
}

/// The ways to prove oneself that work everywhere.
const METHODS: [&str; 3] = ["client_secret_basic", "client_secret_post", "private_key_jwt"];

/// Those that need the certificate of the connection (RFC 8705 §6).
const CERTIFICATE_METHODS: [&str; 2] = ["tls_client_auth", "self_signed_tls_client_auth"];

impl Metadata {
    /// The metadata of the issuer `identifier`, an URL without a slash at its end, whose listener takes the
    /// certificates of clients or does not.
    pub fn new(identifier: &str, registered: &Registrations, takes_certificates: bool) -> Self {
        let by_certificate = if takes_certificates { &CERTIFICATE_METHODS[..] } else { &[] };
        let methods: Vec<&str> = METHODS.iter().chain(by_certificate).copied().collect();
        let client_methods: Vec<&str> = std::iter::once("none").chain(methods.iter().copied()).collect();
        let authorization = AuthorizationMetadata::of(identifier, registered);
        let has_devices = registered.clients.iter().any(|client| has_device_page(client, registered));
        let device_authorization_endpoint = has_devices.then(|| format!("{identifier}{DEVICE_AUTHORIZATION_PATH}"));
        Self {
            issuer: identifier.to_owned(),
            token_endpoint: format!("{identifier}{TOKEN_PATH}"),
            jwks_uri: format!("{identifier}{JWKS_PATH}"),
            scopes_supported: scopes(registered),
            response_types_supported: authorization.as_ref().map_or_else(Vec::new, |_| vec!["code"]),
            authorization,
            device_authorization_endpoint,
            grant_types_supported: grants(registered),
            token_endpoint_auth_methods_supported: client_methods.clone(),
            token_endpoint_auth_signing_alg_values_supported: &SignatureAlgorithm::NAMES,
            revocation_endpoint: format!("{identifier}{REVOCATION_PATH}"),
            revocation_endpoint_auth_methods_supported: client_methods,
            revocation_endpoint_auth_signing_alg_values_supported: &SignatureAlgorithm::NAMES,
            registration_endpoint: registered
                .registration
                .is_some()
                .then(|| format!("{identifier}{REGISTRATION_PATH}")),
            introspection: (!registered.resource_servers.is_empty()).then(|| IntrospectionMetadata {
                introspection_endpoint: format!("{identifier}{INTROSPECTION_PATH}"),
                introspection_endpoint_auth_methods_supported: methods,
                introspection_endpoint_auth_signing_alg_values_supported: &SignatureAlgorithm::NAMES,
                introspection_signing_alg_values_supported: [ES256],
            }),
            openid: OpenIdMetadata::of(identifier, registered),
            dpop_signing_alg_values_supported: &SignatureAlgorithm::NAMES,
            tls_client_certificate_bound_access_tokens: takes_certificates.then_some(true),
        }
    }
}

/// Where the present document is found.
#[derive(Clone)]
pub struct CurrentMetadata {
    identifier: Arc<str>,
    takes_certificates: bool,
    current: Arc<ArcSwap<Current>>,
}

/// The document, and whether it is that of an OpenID provider too.
struct Current {
    document: Arc<Document>,
    is_openid: bool,
}

impl Current {
    fn of(identifier: &str, registered: &Registrations, takes_certificates: bool) -> Self {
        let metadata = Metadata::new(identifier, registered, takes_certificates);
        Self { is_openid: metadata.openid.is_some(), document: Arc::new(Document::of(&metadata)) }
    }
}

impl CurrentMetadata {
    /// That of the issuer `identifier`, as [`Metadata::new`], for now.
    pub fn new(identifier: &str, registered: &Registrations, takes_certificates: bool) -> Self {
        let current = Arc::new(ArcSwap::from_pointee(Current::of(identifier, registered, takes_certificates)));
        Self { identifier: identifier.into(), takes_certificates, current }
    }

    /// That of now.
    pub fn load(&self) -> Arc<Document> {
        Arc::clone(&self.current.load().document)
    }

    /// That of now, where it is that of an OpenID provider (OpenID Connect Discovery 1.0 §4).
    pub fn load_openid(&self) -> Option<Arc<Document>> {
        let current = self.current.load();
        current.is_openid.then(|| Arc::clone(&current.document))
    }

    /// Has it say what is `registered` now.
    pub fn follow(&self, registered: &Registrations) {
        self.current.store(Arc::new(Current::of(&self.identifier, registered, self.takes_certificates)));
    }
}

/// Tokens of other issuers are good for something where a policy says so.
fn grants(registered: &Registrations) -> Vec<&'static str> {
    let is_offered = |grant: &GrantType| match grant {
        GrantType::ClientCredentials | GrantType::RefreshToken => true,
        GrantType::JwtBearer | GrantType::TokenExchange => !registered.trust.is_empty(),
        GrantType::AuthorizationCode => registered.clients.iter().any(|client| logs_in(client, registered)),
        GrantType::DeviceCode => registered.clients.iter().any(|client| has_device_page(client, registered)),
    };
    GrantType::ALL.into_iter().filter(is_offered).map(GrantType::as_str).collect()
}

fn scopes(registered: &Registrations) -> Vec<String> {
    let scopes = registered.clients.iter().map(|client| &client.scope);
    let scopes = scopes.chain(registered.registration.as_ref().map(|rules| &rules.scope));
    let mut values: Vec<String> = scopes.flat_map(Scope::values).map(str::to_owned).collect();
    values.sort_unstable();
    values.dedup();
    values
}
