//! The published keys and the metadata: documents that others may keep for a while.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE, ETAG, IF_NONE_MATCH};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};

use super::PublicApi;
use crate::keyring::Document;

/// `GET /.well-known/jwks.json` (RFC 7517 §8.5).
pub(super) async fn jwks(State(api): State<Arc<PublicApi>>, headers: HeaderMap) -> Response {
    serve(api.keyring.load().jwks(), "application/jwk-set+json", api.max_age, &headers)
}

/// `GET /.well-known/oauth-authorization-server` (RFC 8414 §3).
pub(super) async fn metadata(State(api): State<Arc<PublicApi>>, headers: HeaderMap) -> Response {
    serve(&api.metadata, "application/json", api.max_age, &headers)
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
