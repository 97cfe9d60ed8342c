//! `GET` and `POST /oauth/authorize`, where browsers come (RFC 6749 §3.1), and `POST /oauth/par` (RFC 9126).

use std::sync::Arc;

use axum::Extension;
use axum::extract::{RawQuery, State};
use axum::http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, LOCATION, REFERRER_POLICY};
use axum::http::header::{RETRY_AFTER, WWW_AUTHENTICATE, X_CONTENT_TYPE_OPTIONS};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use utoipa::openapi::{Content, Object, ResponseBuilder, Type};

use super::form::{Body, DPOP, FORM, Form, is_of_type};
use super::token::with_nonce;
use super::{PublicApi, RequestSource};
use crate::http::listener::Peer;
use crate::http::openapi::{Description, JSON, Parameter, uncached};
use crate::http::render::{not_stored, oauth_error};
use crate::oauth::OAuthError;
use crate::oauth::attempts::Claimed;
use crate::oauth::authorization::{AuthorizationError, PushedAnswer};

const TEXT: &str = "text/plain; charset=utf-8";

pub(super) async fn authorize(
    State(api): State<Arc<PublicApi>>,
    source: RequestSource,
    RawQuery(query): RawQuery,
) -> Response {
    begin(&api, query.unwrap_or_default().as_bytes(), source).await
}

/// OpenID Connect Core §3.1.2.1: also as a form, with the same content.
pub(super) async fn authorize_by_form(
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

pub(super) async fn push(
    State(api): State<Arc<PublicApi>>,
    Extension(peer): Extension<Peer>,
    source: RequestSource,
    headers: HeaderMap,
    body: Body,
) -> Response {
    let form = match Form::of(&peer, &headers, &body) {
        Ok(form) => form,
        Err(error) => return api.failures.answer(&peer, &headers, None, &error).await,
    };
    let response = match api.authorization_endpoint.push(&form.0, source.0).await {
        Ok(pushed) => not_stored(StatusCode::CREATED, &pushed),
        Err(error) => {
            let id = form.claimed_id();
            api.failures.answer(&peer, &headers, id.as_deref().map(Claimed::Client), &error).await
        }
    };
    with_nonce(&api, &form, response)
}

async fn begin(api: &PublicApi, presented: &[u8], source: RequestSource) -> Response {
    let location = match api.authorization_endpoint.begin(presented, source.0).await {
        Ok(location) => location,
        Err(AuthorizationError::Redirect { location, error }) => {
            tracing::debug!(%error, "an authorization request was refused");
            location
        }
        Err(AuthorizationError::Page(error)) => {
            tracing::debug!(%error, "an authorization request was refused, and its client not told");
            return page(&error);
        }
    };
    redirect(location)
}

/// Sends the browser to `location`.
pub(super) fn redirect(location: String) -> Response {
    match HeaderValue::try_from(location) {
        // 303: a form is not sent on (RFC 9700 §4.12).
        Ok(location) => unseen((StatusCode::SEE_OTHER, [(LOCATION, location)]).into_response()),
        Err(_) => page(&OAuthError::ServerError),
    }
}

/// What a person sees whose browser cannot be sent anywhere: fixed text, and nothing that came with the request.
pub(super) fn page(error: &OAuthError) -> Response {
    let text = format!("{}: {}\n", error.code(), error.description());
    let answer = oauth_error(error);
    let mut response = (answer.status(), [(CONTENT_TYPE, TEXT)], text).into_response();
    let headers = response.headers_mut();
    headers.extend(answer.headers().get(RETRY_AFTER).map(|after| (RETRY_AFTER, after.clone())));
    headers.remove(WWW_AUTHENTICATE);
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static("default-src 'none'; frame-ancestors 'none'"));
    unseen(response)
}

/// Nobody keeps the answer, and the next page does not learn the URL, which has what the client asked for.
fn unseen(mut response: Response) -> Response {
    let headers = response.headers_mut();
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    response
}

/// What a request asks for, wherever it is.
fn parameters() -> Vec<Parameter> {
    vec![
        Parameter::optional("response_type", "Required, but in a request object.").one_of(["code"]),
        Parameter::optional("response_mode", "How the answer comes back.").one_of(["query"]),
        Parameter::optional("redirect_uri", "Where the answer goes: a registered one. Required, but in an object."),
        Parameter::optional("scope", "Values separated by spaces; all that the client may have where it is left out."),
        Parameter::optional("state", "Comes back with the answer."),
        Parameter::optional("nonce", "Comes back in the ID token."),
        Parameter::optional(
            "code_challenge",
            "The SHA-256 of the code verifier (RFC 7636). Required, but in an object.",
        ),
        Parameter::optional("code_challenge_method", "Required with code_challenge.").one_of(["S256"]),
        Parameter::optional("prompt", "How the person is to be asked: none, or some of the others."),
        Parameter::optional("max_age", "The seconds after which the person has to log in again."),
        Parameter::optional("login_hint", "Whom the client expects."),
        Parameter::optional("id_token_hint", "An ID token of whom the client expects."),
        Parameter::optional("ui_locales", "Language tags separated by spaces."),
        Parameter::optional("acr_values", "Authentication contexts separated by spaces."),
        Parameter::optional("resource", "Who the tokens are to be for (RFC 8707).").repeatable(),
        Parameter::optional("dpop_jkt", "The thumbprint of the key that the code is bound to (RFC 9449 §10)."),
        Parameter::optional("request", "All of these in a JWT that the client signed (RFC 9101)."),
    ]
}

fn browser_parameters() -> Vec<Parameter> {
    let mut all = vec![
        Parameter::required("client_id", "The client."),
        Parameter::optional("request_uri", "The name of a request that was pushed: all else does not count then."),
    ];
    all.extend(parameters());
    all
}

pub(super) fn authorize_description() -> Description {
    answers(Description::new("authorize", "Begins a login (RFC 6749, OpenID Connect)").query(browser_parameters()))
}

pub(super) fn authorize_by_form_description() -> Description {
    let description = Description::new("authorizeByForm", "The same, as a form (OpenID Connect Core §3.1.2.1)");
    answers(description.plain_form(browser_parameters()))
}

fn answers(description: Description) -> Description {
    let redirect: ResponseBuilder =
        uncached("To the front-end's login page, or with an error back to the client: see Location.");
    page_answers(description).answer(303, redirect)
}

/// `description`, with what a person sees whose browser stays.
pub(super) fn page_answers(description: Description) -> Description {
    let page = |what: &str| uncached(what).content(TEXT, Content::new(Some(Object::with_type(Type::String))));
    description
        .answer(400, page("It is not known where the browser may be sent."))
        .answer(429, page("More is begun from where the request comes than may be; there is Retry-After."))
        .answer(500, page("mintkeep contradicts itself."))
        .answer(503, page("What a request needs cannot be had now."))
}

pub(super) fn push_description() -> Description {
    Description::new("pushAuthorizationRequest", "Takes an authorization request from its client (RFC 9126)")
        .form(parameters())
        .header(DPOP, "A proof of the key that the code is to be bound to (RFC 9449 §10.1).")
        .answer_of::<PushedAnswer>(201, JSON, uncached("The name of the request."))
}
