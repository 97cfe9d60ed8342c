//! Authorization server metadata (RFC 8414): what works, and nothing else.

use std::sync::Arc;

use arc_swap::ArcSwap;
use serde::Serialize;
use utoipa::ToSchema;

use super::client::GrantType;
use super::registrations::Registrations;
use super::scope::Scope;
use crate::jose::foreign::SignatureAlgorithm;
use crate::jose::jws::ES256;
use crate::keyring::Document;

/// The path of the token endpoint.
pub const TOKEN_PATH: &str = "/oauth/token";
/// The path of the revocation endpoint.
pub const REVOCATION_PATH: &str = "/oauth/revoke";
/// The path of the introspection endpoint.
pub const INTROSPECTION_PATH: &str = "/oauth/introspect";
/// The path of the registration endpoint.
pub const REGISTRATION_PATH: &str = "/oauth/register";
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
    // Required by RFC 8414 §2, and empty: there is no authorization endpoint.
    response_types_supported: [&'static str; 0],
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
    dpop_signing_alg_values_supported: &'static [&'static str],
    #[serde(skip_serializing_if = "Option::is_none")]
    tls_client_certificate_bound_access_tokens: Option<bool>,
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
        Self {
            issuer: identifier.to_owned(),
            token_endpoint: format!("{identifier}{TOKEN_PATH}"),
            jwks_uri: format!("{identifier}{JWKS_PATH}"),
            scopes_supported: scopes(registered),
            response_types_supported: [],
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
    document: Arc<ArcSwap<Document>>,
}

impl CurrentMetadata {
    /// That of the issuer `identifier`, as [`Metadata::new`], for now.
    pub fn new(identifier: &str, registered: &Registrations, takes_certificates: bool) -> Self {
        let document = Document::of(&Metadata::new(identifier, registered, takes_certificates));
        Self { identifier: identifier.into(), takes_certificates, document: Arc::new(ArcSwap::from_pointee(document)) }
    }

    /// That of now.
    pub fn load(&self) -> Arc<Document> {
        self.document.load_full()
    }

    /// Has it say what is `registered` now.
    pub fn follow(&self, registered: &Registrations) {
        self.document.store(Arc::new(Document::of(&Metadata::new(
            &self.identifier,
            registered,
            self.takes_certificates,
        ))));
    }
}

/// Tokens of other issuers are good for something where a policy says so.
fn grants(registered: &Registrations) -> Vec<&'static str> {
    let is_offered = |grant: &GrantType| match grant {
        GrantType::ClientCredentials | GrantType::RefreshToken => true,
        GrantType::JwtBearer | GrantType::TokenExchange => !registered.trust.is_empty(),
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
