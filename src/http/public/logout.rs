//! `GET` and `POST /oauth/logout`, where browsers come (OpenID Connect RP-Initiated Logout 1.0 §2).

use std::sync::Arc;

use axum::extract::{RawQuery, State};
use axum::http::HeaderMap;
use axum::response::Response;

use super::authorization::{page, page_answers, redirect};
use super::form::{Body, FORM, is_of_type};
use super::{PublicApi, RequestSource};
use crate::http::openapi::{Description, Parameter, uncached};
use crate::oauth::OAuthError;

pub(super) async fn logout(
    State(api): State<Arc<PublicApi>>,
    source: RequestSource,
    RawQuery(query): RawQuery,
) -> Response {
    begin(&api, query.unwrap_or_default().as_bytes(), source).await
}

pub(super) async fn logout_by_form(
    State(api): State<Arc<PublicApi>>,
    source: RequestSource,
    headers: HeaderMap,
    body: Body,
) -> Response {
    if !is_of_type(&headers, FORM) {
        return page(&OAuthError::InvalidRequest("expected Content-Type: application/x-www-form-urlencoded"));
    }
    begin(&api, body.bytes(), source).await
}

async fn begin(api: &PublicApi, presented: &[u8], source: RequestSource) -> Response {
    match api.logout_endpoint.begin(presented, source.0).await {
        Ok(location) => redirect(location),
        Err(error) => {
            tracing::debug!(%error, "a logout request was refused");
            page(&error)
        }
    }
}

fn parameters() -> Vec<Parameter> {
    vec![
        Parameter::optional("id_token_hint", "An ID token of who is to log out; one that has ended too."),
        Parameter::optional("client_id", "The client: required without id_token_hint."),
        Parameter::optional("post_logout_redirect_uri", "Where the browser goes afterwards: a registered one."),
        Parameter::optional("state", "Goes there with it."),
        Parameter::optional("logout_hint", "Whom the client means."),
        Parameter::optional("ui_locales", "Language tags separated by spaces."),
    ]
}

pub(super) fn description() -> Description {
    let description = Description::new("logout", "Begins a logout (OpenID Connect RP-Initiated Logout 1.0)");
    page_answers(description.query(parameters())).answer(303, uncached("To the front-end's logout page: see Location."))
}

pub(super) fn by_form_description() -> Description {
    let description = Description::new("logoutByForm", "The same, as a form").plain_form(parameters());
    page_answers(description).answer(303, uncached("To the front-end's logout page: see Location."))
}
