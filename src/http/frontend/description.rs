//! `GET /openapi.json`.

use std::sync::Arc;

use axum::Extension;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use utoipa::openapi::{Content, Object};

use super::FrontendApi;
use crate::http::document::serve;
use crate::http::openapi::{Description, JSON, kept, not_modified};
use crate::keyring::Document;

/// For anybody: it says nothing that the documentation does not.
pub(super) async fn openapi(
    State(api): State<Arc<FrontendApi>>,
    Extension(description): Extension<Arc<Document>>,
    headers: HeaderMap,
) -> Response {
    serve(&description, JSON, api.max_age, &headers)
}

pub(super) fn description() -> Description {
    Description::new("openapi", "This description")
        .answer(200, kept("The description.").content(JSON, Content::new(Some(Object::new()))))
        .answer(304, not_modified())
}
