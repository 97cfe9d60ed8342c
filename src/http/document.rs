//! Documents that others may keep for a while, and ask for again by their entity tags.

use std::time::Duration;

use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE, ETAG, IF_NONE_MATCH};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};

use crate::keyring::Document;

/// The answer with `document`, which others may keep for `max_age`, to a request with `headers`.
pub(super) fn serve(document: &Document, media_type: &'static str, max_age: Duration, headers: &HeaderMap) -> Response {
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
