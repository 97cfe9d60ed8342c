//! `POST /oauth/introspect` (RFC 7662, RFC 9701).

use std::sync::Arc;

use axum::Extension;
use axum::extract::State;
use axum::http::header::{ACCEPT, CACHE_CONTROL, CONTENT_TYPE};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use utoipa::PartialSchema as _;
use utoipa::openapi::Content;

use super::PublicApi;
use super::form::{Body, Form};
use super::openapi::{Description, JSON, Parameter, uncached};
use crate::http::listener::Peer;
use crate::http::render::not_stored;
use crate::oauth::attempts::Claimed;
use crate::oauth::introspection::{Answer, AnswerForm, Introspection};

/// The media type of a signed answer (RFC 9701 §4).
const SIGNED: &str = "application/token-introspection+jwt";

pub(super) async fn introspect(
    State(api): State<Arc<PublicApi>>,
    Extension(peer): Extension<Peer>,
    headers: HeaderMap,
    body: Body,
) -> Response {
    let form = match Form::of(&headers, &body) {
        Ok(form) => form,
        Err(error) => return api.failures.answer(peer, &headers, None, &error).await,
    };
    let answer_form = if asks_for_signed(&headers) { AnswerForm::SignedJwt } else { AnswerForm::Json };
    match api.introspection_endpoint.introspect(form.basic.as_ref(), &form.parameters, answer_form).await {
        Ok(Answer::Json(introspection)) => not_stored(StatusCode::OK, &introspection),
        Ok(Answer::SignedJwt(jwt)) => ([(CONTENT_TYPE, SIGNED), (CACHE_CONTROL, "no-store")], jwt).into_response(),
        Err(error) => {
            let id = form.claimed_id();
            api.failures.answer(peer, &headers, id.as_deref().map(Claimed::ResourceServer), &error).await
        }
    }
}

fn asks_for_signed(headers: &HeaderMap) -> bool {
    let values = headers.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok());
    let mut ranges = values.flat_map(|value| value.split(','));
    ranges.any(|range| range.split(';').next().unwrap_or_default().trim().eq_ignore_ascii_case(SIGNED))
}

pub(super) fn description() -> Description {
    let answer = uncached("What the token is worth: JSON, or signed where Accept asks for that (RFC 9701).")
        .content(SIGNED, Content::new(Some(String::schema())));
    Description::new("introspect", "What a token is worth, for a resource server (RFC 7662)")
        .form([Parameter::required("token", "An access token."), Parameter::token_type_hint()])
        .answer_of::<Introspection>(200, JSON, answer)
}
