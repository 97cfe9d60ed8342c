//! The published keys, the metadata and the description of the endpoints: documents that others may keep for a while.

use std::sync::Arc;
use std::time::Duration;

use axum::Extension;
use axum::extract::State;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE, ETAG, IF_NONE_MATCH};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use utoipa::openapi::{Content, Object};

use super::PublicApi;
use super::openapi::{Description, JSON, kept, not_modified, off};
use crate::jose::jwk::JwkSet;
use crate::keyring::Document;
use crate::oauth::metadata::Metadata;

const JWK_SET: &str = "application/jwk-set+json";

/// `GET /.well-known/jwks.json` (RFC 7517 §8.5).
pub(super) async fn jwks(State(api): State<Arc<PublicApi>>, headers: HeaderMap) -> Response {
    serve(api.keyring.load().jwks(), JWK_SET, api.max_age, &headers)
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

fn serve(document: &Document, media_type: &'static str, max_age: Duration, headers: &HeaderMap) -> Response {
    let validators = [(ETAG, document.etag.clone()), (CACHE_CONTROL, format!("public, max-age={}", max_age.as_secs()))];
    if has_it_already(headers, &document.etag) {
        return (StatusCode::NOT_MODIFIED, validators).into_response();
    }
    (validators, [(CONTENT_TYPE, media_type)], document.json.clone()).into_response()
}

/// Whether `If-None-Match` names `etag`, by weak comparison (RFC 9110 §13.1.2).
fn has_it_already(headers: &HeaderMap, etag: &str) -> bool {
    let values = headers.get_all(IF_NONE_MATCH).iter().filter_map(|value| value.to_str().ok());
    let mut tags = values.flat_map(|value| value.split(',')).map(str::trim);
    tags.any(|tag| tag == "*" || tag.trim_start_matches("W/") == etag)
}
