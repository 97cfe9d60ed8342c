//! The published keys, the metadata and the description of the endpoints: documents that others may keep for a while.

use std::sync::Arc;

use axum::Extension;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse as _, Response};
use utoipa::openapi::{Content, Object};

use super::PublicApi;
use super::openapi::{Description, JSON, kept, not_modified, off};
use crate::http::document::serve;
use crate::jose::jwk::JwkSet;
use crate::keyring::Document;
use crate::oauth::metadata::Metadata;

pub(in crate::http) const JWK_SET: &str = "application/jwk-set+json";

/// `GET /.well-known/jwks.json` (RFC 7517 §8.5).
pub(super) async fn jwks(State(api): State<Arc<PublicApi>>, headers: HeaderMap) -> Response {
    serve(api.keyring.load().jwks(), JWK_SET, api.max_age, &headers)
}

/// `GET /jwks/{profile}`: the keys of what is signed for front-ends.
pub(super) async fn profile_jwks(
    State(api): State<Arc<PublicApi>>,
    Path(profile): Path<String>,
    headers: HeaderMap,
) -> Response {
    match api.signing.jwks(&profile) {
        Some(keys) => serve(&keys, JWK_SET, api.max_age, &headers),
        None => StatusCode::NOT_FOUND.into_response(),
    }
}

/// `GET /.well-known/oauth-authorization-server` (RFC 8414 §3).
pub(super) async fn metadata(State(api): State<Arc<PublicApi>>, headers: HeaderMap) -> Response {
    serve(&api.metadata.load(), JSON, api.max_age, &headers)
}

/// `GET /.well-known/openid-configuration` (OpenID Connect Discovery 1.0 §4); not found where nobody can log in.
pub(super) async fn openid_configuration(State(api): State<Arc<PublicApi>>, headers: HeaderMap) -> Response {
    match api.metadata.load_openid() {
        Some(document) => serve(&document, JSON, api.max_age, &headers),
        None => StatusCode::NOT_FOUND.into_response(),
    }
}

/// `GET /openapi.json`.
pub(super) async fn openapi(
    State(api): State<Arc<PublicApi>>,
    Extension(description): Extension<Arc<Document>>,
    headers: HeaderMap,
) -> Response {
    serve(&description, JSON, api.max_age, &headers)
}

pub(super) fn jwks_description() -> Description {
    Description::new("jwks", "The keys that verify tokens (RFC 7517)")
        .answer_of::<JwkSet>(200, JWK_SET, kept("The keys."))
        .answer(304, not_modified())
}

pub(super) fn profile_jwks_description() -> Description {
    Description::new("profileJwks", "The keys that verify what is signed under a profile of front-ends (RFC 7517)")
        .in_path("profile", "The name of the signing profile.")
        .answer_of::<JwkSet>(200, JWK_SET, kept("The keys."))
        .answer(304, not_modified())
        .answer(404, off())
}

pub(super) fn metadata_description() -> Description {
    Description::new("metadata", "What the authorization server can do (RFC 8414)")
        .answer_of::<Metadata>(200, JSON, kept("The metadata."))
        .answer(304, not_modified())
}

pub(super) fn openid_configuration_description() -> Description {
    Description::new("openidConfiguration", "What the OpenID provider can do (OpenID Connect Discovery 1.0)")
        .answer_of::<Metadata>(200, JSON, kept("The metadata."))
        .answer(304, not_modified())
        .answer(404, off())
}

pub(super) fn openapi_description() -> Description {
    Description::new("openapi", "This description")
        .answer(200, kept("The description.").content(JSON, Content::new(Some(Object::new()))))
        .answer(304, not_modified())
}
