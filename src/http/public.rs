//! The public listener's routes: what clients and resource servers use.

mod authorization;
mod device;
pub(super) mod discovery;
pub mod failures;
pub(super) mod form;
mod introspection;
mod logout;
mod registration;
mod revocation;
mod token;
mod userinfo;

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{DefaultBodyLimit, FromRequestParts};
use axum::http::request::Parts;
use axum::routing::{get, post};
use axum::{Extension, Router};
use utoipa::openapi::HttpMethod;

use self::failures::FailureAnswers;
use super::forwarded::TrustedProxies;
use super::listener::Peer;
use super::openapi::{self, Listener};
use crate::keyring::CurrentKeyring;
use crate::oauth::authorization::AuthorizationEndpoint;
use crate::oauth::delegated::DelegatedSigning;
use crate::oauth::device::DeviceEndpoint;
use crate::oauth::introspection::IntrospectionEndpoint;
use crate::oauth::logout::LogoutEndpoint;
use crate::oauth::metadata::{
    AUTHORIZATION_PATH, CurrentMetadata, DEVICE_AUTHORIZATION_PATH, INTROSPECTION_PATH, JWKS_PATH, LOGOUT_PATH,
    METADATA_PATH, OPENAPI_PATH, PROFILE_JWKS_PATH, PUSHED_REQUEST_PATH, REGISTRATION_PATH, REVOCATION_PATH,
    TOKEN_PATH, USERINFO_PATH,
};
use crate::oauth::openid::OPENID_CONFIGURATION_PATH;
use crate::oauth::registration::RegistrationEndpoint;
use crate::oauth::revocation::RevocationEndpoint;
use crate::oauth::source::Source;
use crate::oauth::token_endpoint::TokenEndpoint;
use crate::oauth::userinfo::UserinfoEndpoint;

/// A token request is a few hundred bytes; a body larger than this is not read.
pub(super) const BODY_LIMIT: usize = 16 * 1024;

type Endpoint = openapi::Endpoint<PublicApi>;

/// What the routes serve.
pub struct PublicApi {
    /// The token endpoint.
    pub token_endpoint: Arc<TokenEndpoint>,
    /// The authorization endpoint.
    pub authorization_endpoint: AuthorizationEndpoint,
    /// The device authorization endpoint.
    pub device_endpoint: DeviceEndpoint,
    /// The end session endpoint.
    pub logout_endpoint: LogoutEndpoint,
    /// The revocation endpoint.
    pub revocation_endpoint: RevocationEndpoint,
    /// The introspection endpoint.
    pub introspection_endpoint: IntrospectionEndpoint,
    /// The registration endpoint, which answers 404 where registration is off.
    pub registration_endpoint: RegistrationEndpoint,
    /// The userinfo endpoint.
    pub userinfo_endpoint: UserinfoEndpoint,
    /// Has the keys of what is signed for front-ends.
    pub signing: Arc<DelegatedSigning>,
    /// How failed attempts at these are answered.
    pub failures: FailureAnswers,
    /// Whose word on where a request comes from is taken.
    pub trusted_proxies: TrustedProxies,
    /// The published keys.
    pub keyring: CurrentKeyring,
    /// The authorization server metadata.
    pub metadata: CurrentMetadata,
    /// How long others may keep the published keys and the metadata.
    pub max_age: Duration,
    /// The path of the issuer identifier, empty or beginning with a slash: every route is below it.
    pub issuer_path: String,
}

/// Where a request comes from, where that is known.
struct RequestSource(Option<Source>);

impl FromRequestParts<Arc<PublicApi>> for RequestSource {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, api: &Arc<PublicApi>) -> Result<Self, Infallible> {
        let address = parts.extensions.get::<Peer>().and_then(|peer| peer.address);
        Ok(Self(address.map(|address| api.trusted_proxies.source(address, &parts.headers))))
    }
}

/// The router of the public listener.
pub fn router(api: PublicApi) -> Router {
    let endpoints = endpoints(&api);
    let description = Arc::new(openapi::description(Listener::Public, &endpoints));
    let mut router = Router::new();
    for Endpoint { path, methods, .. } in endpoints {
        router = router.route(&path, methods.fallback(form::method_not_allowed));
    }
    router
        .layer(DefaultBodyLimit::max(BODY_LIMIT))
        .layer(axum::middleware::from_fn(form::refuse_oversized))
        .layer(Extension(description))
        .with_state(Arc::new(api))
}

/// Everything that is routed and described.
fn endpoints(api: &PublicApi) -> Vec<Endpoint> {
    let path = &api.issuer_path;
    let below = |name: &str| format!("{path}{name}");
    let form =
        |name: &str, methods, description| Endpoint::new(below(name), methods).describe(HttpMethod::Post, description);
    let document = |path, methods, description| Endpoint::new(path, methods).describe(HttpMethod::Get, description);
    vec![
        form(TOKEN_PATH, post(token::exchange), token::description()),
        Endpoint::new(below(AUTHORIZATION_PATH), get(authorization::authorize).post(authorization::authorize_by_form))
            .describe(HttpMethod::Get, authorization::authorize_description())
            .describe(HttpMethod::Post, authorization::authorize_by_form_description()),
        form(PUSHED_REQUEST_PATH, post(authorization::push), authorization::push_description()),
        form(DEVICE_AUTHORIZATION_PATH, post(device::begin), device::description()),
        Endpoint::new(below(LOGOUT_PATH), get(logout::logout).post(logout::logout_by_form))
            .describe(HttpMethod::Get, logout::description())
            .describe(HttpMethod::Post, logout::by_form_description()),
        form(REVOCATION_PATH, post(revocation::revoke), revocation::description()),
        document(below(JWKS_PATH), get(discovery::jwks), discovery::jwks_description()),
        document(
            below(&format!("{PROFILE_JWKS_PATH}/{{profile}}")),
            get(discovery::profile_jwks),
            discovery::profile_jwks_description(),
        ),
        // The issuer's path comes after the well-known one here (RFC 8414 §3).
        document(format!("{METADATA_PATH}{path}"), get(discovery::metadata), discovery::metadata_description()),
        // And here it comes before it (OpenID Connect Discovery 1.0 §4.1).
        document(
            below(OPENID_CONFIGURATION_PATH),
            get(discovery::openid_configuration),
            discovery::openid_configuration_description(),
        ),
        form(USERINFO_PATH, get(userinfo::answer).post(userinfo::answer), userinfo::description("postUserinfo"))
            .describe(HttpMethod::Get, userinfo::description("userinfo")),
        document(below(OPENAPI_PATH), get(discovery::openapi), discovery::openapi_description()),
        // Also where nobody may ask: who does hears so.
        form(INTROSPECTION_PATH, post(introspection::introspect), introspection::description()),
        form(REGISTRATION_PATH, post(registration::register), registration::register_description()),
        Endpoint::new(
            below(&format!("{REGISTRATION_PATH}/{{client_id}}")),
            get(registration::read).put(registration::replace).delete(registration::remove),
        )
        .describe(HttpMethod::Get, registration::read_description())
        .describe(HttpMethod::Put, registration::replace_description())
        .describe(HttpMethod::Delete, registration::remove_description()),
    ]
}
