//! Authorization server metadata (RFC 8414): what works, and nothing else.

use std::sync::Arc;

use arc_swap::ArcSwap;
use serde::Serialize;
use utoipa::ToSchema;

use super::client::ClientRegistry;
use super::client::GrantType;
use super::registrations::Registrations;
use super::scope::Scope;
use crate::jose::jws::ES256;
use crate::keyring::Document;

/// The path of the token endpoint.
pub const TOKEN_PATH: &str = "/oauth/token";
/// The path of the revocation endpoint.
pub const REVOCATION_PATH: &str = "/oauth/revoke";
/// The path of the introspection endpoint.
pub const INTROSPECTION_PATH: &str = "/oauth/introspect";
/// The path of the JWK Set.
pub const JWKS_PATH: &str = "/.well-known/jwks.json";
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
    grant_types_supported: [&'static str; 2],
    token_endpoint_auth_methods_supported: [&'static str; 3],
    revocation_endpoint: String,
    revocation_endpoint_auth_methods_supported: [&'static str; 3],
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    introspection: Option<IntrospectionMetadata>,
}

/// Told where there is a resource server that may ask.
#[derive(Debug, Serialize, ToSchema)]
struct IntrospectionMetadata {
    introspection_endpoint: String,
    introspection_endpoint_auth_methods_supported: [&'static str; 2],
    introspection_signing_alg_values_supported: [&'static str; 1],
}

const CLIENT_METHODS: [&str; 3] = ["none", "client_secret_basic", "client_secret_post"];

impl Metadata {
    /// The metadata of the issuer `identifier`, an URL without a slash at its end.
    pub fn new(identifier: &str, registered: &Registrations) -> Self {
        Self {
            issuer: identifier.to_owned(),
            token_endpoint: format!("{identifier}{TOKEN_PATH}"),
            jwks_uri: format!("{identifier}{JWKS_PATH}"),
            scopes_supported: scopes(&registered.clients),
            response_types_supported: [],
            grant_types_supported: GrantType::ALL.map(GrantType::as_str),
            token_endpoint_auth_methods_supported: CLIENT_METHODS,
            revocation_endpoint: format!("{identifier}{REVOCATION_PATH}"),
            revocation_endpoint_auth_methods_supported: CLIENT_METHODS,
            introspection: (!registered.resource_servers.is_empty()).then(|| IntrospectionMetadata {
                introspection_endpoint: format!("{identifier}{INTROSPECTION_PATH}"),
                introspection_endpoint_auth_methods_supported: ["client_secret_basic", "client_secret_post"],
                introspection_signing_alg_values_supported: [ES256],
            }),
        }
    }
}

/// Where the present document is found.
#[derive(Clone)]
pub struct CurrentMetadata {
    identifier: Arc<str>,
    document: Arc<ArcSwap<Document>>,
}

impl CurrentMetadata {
    /// That of the issuer `identifier`, as [`Metadata::new`], for now.
    pub fn new(identifier: &str, registered: &Registrations) -> Self {
        let document = Document::of(&Metadata::new(identifier, registered));
        Self { identifier: identifier.into(), document: Arc::new(ArcSwap::from_pointee(document)) }
    }

    /// That of now.
    pub fn load(&self) -> Arc<Document> {
        self.document.load_full()
    }

    /// Has it say what is `registered` now.
    pub fn follow(&self, registered: &Registrations) {
        self.document.store(Arc::new(Document::of(&Metadata::new(&self.identifier, registered))));
    }
}

fn scopes(clients: &ClientRegistry) -> Vec<String> {
    let scopes = clients.iter().map(|client| &client.scope);
    let mut values: Vec<String> = scopes.flat_map(Scope::values).map(str::to_owned).collect();
    values.sort_unstable();
    values.dedup();
    values
}
