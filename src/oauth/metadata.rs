//! Authorization server metadata (RFC 8414): what works, and nothing else.

use serde::Serialize;

use super::client::ClientRegistry;
use super::client::GrantType;
use super::scope::Scope;

/// The path of the token endpoint.
pub const TOKEN_PATH: &str = "/oauth/token";
/// The path of the JWK Set.
pub const JWKS_PATH: &str = "/.well-known/jwks.json";
/// The path of the metadata; an issuer's own path follows it (RFC 8414 §3).
pub const METADATA_PATH: &str = "/.well-known/oauth-authorization-server";

/// The metadata document.
#[derive(Debug, Serialize)]
pub struct Metadata {
    issuer: String,
    token_endpoint: String,
    jwks_uri: String,
    scopes_supported: Vec<String>,
    // Required by RFC 8414 §2, and empty: there is no authorization endpoint.
    response_types_supported: [&'static str; 0],
    grant_types_supported: [&'static str; 2],
    token_endpoint_auth_methods_supported: [&'static str; 3],
}

impl Metadata {
    /// The metadata of the issuer `identifier`, an URL without a slash at its end.
    pub fn new(identifier: &str, clients: &ClientRegistry) -> Self {
        Self {
            issuer: identifier.to_owned(),
            token_endpoint: format!("{identifier}{TOKEN_PATH}"),
            jwks_uri: format!("{identifier}{JWKS_PATH}"),
            scopes_supported: scopes(clients),
            response_types_supported: [],
            grant_types_supported: GrantType::ALL.map(GrantType::as_str),
            token_endpoint_auth_methods_supported: ["none", "client_secret_basic", "client_secret_post"],
        }
    }
}

fn scopes(clients: &ClientRegistry) -> Vec<String> {
    let scopes = clients.iter().map(|client| &client.scope);
    let mut values: Vec<String> = scopes.flat_map(Scope::values).map(str::to_owned).collect();
    values.sort_unstable();
    values.dedup();
    values
}
