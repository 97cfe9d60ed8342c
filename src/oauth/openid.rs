//! What OpenID Connect adds to the metadata (OpenID Connect Discovery 1.0 §3).

use serde::Serialize;
use utoipa::ToSchema;

use super::client::GrantType;
use super::login_record::SCOPE_CLAIMS;
use super::metadata::{LOGOUT_PATH, USERINFO_PATH};
use super::registrations::Registrations;
use crate::jose::jws::ES256;

/// The path of the metadata of an OpenID provider, below the issuer identifier (OpenID Connect Discovery 1.0 §4).
pub const OPENID_CONFIGURATION_PATH: &str = "/.well-known/openid-configuration";

/// The claims of every ID token that are of the login.
const LOGIN_CLAIMS: [&str; 10] = ["iss", "sub", "aud", "iat", "exp", "auth_time", "acr", "amr", "nonce", "sid"];

/// Told where somebody can log in to a client that may ask who it is.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct OpenIdMetadata {
    userinfo_endpoint: String,
    subject_types_supported: [&'static str; 1],
    id_token_signing_alg_values_supported: [&'static str; 1],
    claim_types_supported: [&'static str; 1],
    claims_supported: Vec<&'static str>,
    claims_parameter_supported: bool,
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    logout: Option<LogoutMetadata>,
}

/// Told where somebody can log out (OpenID Connect RP-Initiated Logout 1.0 §2.1, Back-Channel Logout 1.0 §2.1).
#[derive(Debug, Serialize, ToSchema)]
struct LogoutMetadata {
    end_session_endpoint: String,
    backchannel_logout_supported: bool,
    backchannel_logout_session_supported: bool,
}

impl OpenIdMetadata {
    /// That of the issuer `identifier`, where somebody can log in.
    pub(super) fn of(identifier: &str, registered: &Registrations) -> Option<Self> {
        let of_scopes = SCOPE_CLAIMS.iter().flat_map(|(_, claims)| claims.iter().copied());
        has_logins(registered).then(|| Self {
            userinfo_endpoint: format!("{identifier}{USERINFO_PATH}"),
            // The front-end says who it is, and says the same to all clients.
            subject_types_supported: ["public"],
            id_token_signing_alg_values_supported: [ES256],
            claim_types_supported: ["normal"],
            claims_supported: LOGIN_CLAIMS.into_iter().chain(of_scopes).collect(),
            claims_parameter_supported: false,
            logout: has_logouts(registered).then(|| LogoutMetadata {
                end_session_endpoint: format!("{identifier}{LOGOUT_PATH}"),
                backchannel_logout_supported: true,
                backchannel_logout_session_supported: true,
            }),
        })
    }
}

/// Whether some front-end logs people out.
fn has_logouts(registered: &Registrations) -> bool {
    registered.frontends.iter().any(|frontend| frontend.pages.logout.is_some())
}

/// Whether somebody can log in to some client that may ask who it is.
pub(super) fn has_logins(registered: &Registrations) -> bool {
    let logs_in = |grant: &GrantType| matches!(grant, GrantType::AuthorizationCode | GrantType::DeviceCode);
    registered.clients.iter().any(|client| client.scope.is_openid() && client.grants.iter().any(logs_in))
}
