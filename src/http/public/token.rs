//! `POST /oauth/token`.

use std::sync::Arc;

use axum::Extension;
use axum::extract::State;
use axum::http::header::SET_COOKIE;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use axum::response::Response;

use super::PublicApi;
use super::form::{Body, DPOP, Form};
use super::openapi::{Description, JSON, Parameter, uncached};
use crate::http::listener::Peer;
use crate::http::render::not_stored;
use crate::oauth::attempts::Claimed;
use crate::oauth::client::GrantType;
use crate::oauth::issuer::TokenResponse;
use crate::oauth::refresh_cookie::RefreshCookie;
use crate::oauth::trusted_token::{ACCESS_TOKEN_KIND, TokenKind};

/// Where a client learns the nonce of its next proof (RFC 9449 §8).
pub(super) const DPOP_NONCE: HeaderName = HeaderName::from_static("dpop-nonce");

pub(super) async fn exchange(
    State(api): State<Arc<PublicApi>>,
    Extension(peer): Extension<Peer>,
    headers: HeaderMap,
    body: Body,
) -> Response {
    let form = match Form::of(&peer, &headers, &body) {
        Ok(form) => form,
        Err(error) => return api.failures.answer(&peer, &headers, None, &error).await,
    };
    let response = match api.token_endpoint.exchange(&form.0).await {
        Ok(response) => with_cookie(not_stored(StatusCode::OK, &response), response.refresh_cookie.as_ref()),
        Err(error) => {
            let id = form.claimed_id();
            api.failures.answer(&peer, &headers, id.as_deref().map(Claimed::Client), &error).await
        }
    };
    with_nonce(&api, &form, response)
}

/// `response`, with `cookie` for the browser.
pub(super) fn with_cookie(mut response: Response, cookie: Option<&RefreshCookie>) -> Response {
    if let Some(Ok(mut cookie)) = cookie.map(|cookie| HeaderValue::try_from(cookie.as_str())) {
        cookie.set_sensitive(true);
        response.headers_mut().insert(SET_COOKIE, cookie);
    }
    response
}

/// `response`, with the nonce of the next proof for who brought one.
pub(super) fn with_nonce(api: &PublicApi, form: &Form<'_>, mut response: Response) -> Response {
    if form.0.dpop.is_some()
        && let Ok(nonce) = HeaderValue::try_from(api.token_endpoint.dpop_nonce())
    {
        response.headers_mut().insert(DPOP_NONCE, nonce);
    }
    response
}

/// The kinds of tokens that can be exchanged.
const TOKEN_KINDS: [&str; 3] = {
    let [(jwt, _), (id_token, _), (access_token, _)] = TokenKind::NAMES;
    [jwt, id_token, access_token]
};

pub(super) fn description() -> Description {
    Description::new("token", "A grant, for an access token (RFC 6749)")
        .form([
            Parameter::required("grant_type", "The grant.")
                .one_of(GrantType::ALL.map(GrantType::as_str))
                .example(GrantType::ClientCredentials.as_str()),
            Parameter::optional("scope", "Values separated by spaces; all that is granted where it is left out."),
            Parameter::optional("resource", "Who the token is to be for (RFC 8707).").repeatable(),
            Parameter::optional("audience", "The same for token exchange (RFC 8693 §2.1).").repeatable(),
            Parameter::optional("assertion", "Required for the JWT bearer grant: a token of a trusted issuer."),
            Parameter::optional("subject_token", "Required for token exchange: the token that is exchanged."),
            Parameter::optional("subject_token_type", "Required for token exchange.").one_of(TOKEN_KINDS),
            Parameter::optional("actor_token", "A token of who acts for the subject."),
            Parameter::optional("actor_token_type", "Required with actor_token.").one_of(TOKEN_KINDS),
            Parameter::optional("requested_token_type", "What token exchange is to give.").one_of([ACCESS_TOKEN_KIND]),
            Parameter::optional("code", "Required for the grant authorization_code."),
            Parameter::optional("redirect_uri", "Required with code: that of the authorization request."),
            Parameter::optional("code_verifier", "Required with code (RFC 7636 §4.1)."),
            Parameter::optional("device_code", "Required for the device code grant (RFC 8628)."),
            Parameter::optional("refresh_token", "Required for the grant refresh_token, but where a cookie has it."),
        ])
        .header(DPOP, "A proof of the key that the token is to be bound to (RFC 9449).")
        .answer_of::<TokenResponse>(200, JSON, uncached("The tokens."))
}
