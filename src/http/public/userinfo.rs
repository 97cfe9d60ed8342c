//! `GET` and `POST /oauth/userinfo`.

use std::sync::Arc;

use axum::Extension;
use axum::extract::State;
use axum::http::header::{AUTHORIZATION, WWW_AUTHENTICATE};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode};
use axum::response::Response;

use super::PublicApi;
use super::form::{DPOP, dpop};
use super::openapi::{Description, JSON, uncached};
use super::token::DPOP_NONCE;
use crate::http::listener::Peer;
use crate::http::render::{not_stored, with_code};
use crate::jose::foreign::SignatureAlgorithm;
use crate::oauth::OAuthError;
use crate::oauth::token_type::TokenType;
use crate::oauth::userinfo::{PresentedAccessToken, Userinfo, UserinfoError};

/// RFC 6750 §3.1.
const INSUFFICIENT_SCOPE: &str = "insufficient_scope";

pub(super) async fn answer(
    State(api): State<Arc<PublicApi>>,
    Extension(peer): Extension<Peer>,
    method: Method,
    headers: HeaderMap,
) -> Response {
    let refuse = async |error: OAuthError| {
        let response = api.failures.answer(&peer, &headers, None, &error).await;
        match error {
            // What a protected resource says under 401 (RFC 9449 §7.1).
            OAuthError::InvalidToken(_) | OAuthError::InvalidDpopProof(_) | OAuthError::UseDpopNonce => {
                challenged(response, Some(error.code()))
            }
            _ => response,
        }
    };
    let presented = match presented(&headers, &peer, &method) {
        Ok(Some(presented)) => presented,
        // Who presents nothing is told no code (RFC 6750 §3.1).
        Ok(None) => {
            let response = with_code(
                StatusCode::UNAUTHORIZED,
                "invalid_request",
                "expected an access token in the Authorization header",
            );
            return challenged(response, None);
        }
        Err(error) => return refuse(error).await,
    };
    let by_proof = presented.scheme == TokenType::Dpop;
    let mut response = match api.userinfo_endpoint.answer(presented).await {
        Ok(userinfo) => not_stored(StatusCode::OK, &userinfo),
        Err(UserinfoError::InsufficientScope) => {
            let expected = "expected a token of a login, with the scope openid";
            let response = with_code(StatusCode::FORBIDDEN, INSUFFICIENT_SCOPE, expected);
            challenged(response, Some(INSUFFICIENT_SCOPE))
        }
        Err(UserinfoError::Refused(error)) => refuse(error).await,
    };
    if by_proof && let Ok(nonce) = HeaderValue::try_from(api.userinfo_endpoint.dpop_nonce()) {
        response.headers_mut().insert(DPOP_NONCE, nonce);
    }
    response
}

/// The access token of the one `Authorization` header, where there is one.
fn presented<'a>(
    headers: &'a HeaderMap,
    peer: &'a Peer,
    method: &'a Method,
) -> Result<Option<PresentedAccessToken<'a>>, OAuthError> {
    let mut values = headers.get_all(AUTHORIZATION).iter();
    let (value, None) = (values.next(), values.next()) else {
        return Err(OAuthError::InvalidRequest("the Authorization header is included more than once"));
    };
    let Some(value) = value else { return Ok(None) };
    let (scheme, token) = value.to_str().ok().and_then(|value| value.split_once(' ')).unwrap_or_default();
    let scheme = match scheme {
        bearer if bearer.eq_ignore_ascii_case("bearer") => TokenType::Bearer,
        proven if proven.eq_ignore_ascii_case("dpop") => TokenType::Dpop,
        _ => return Ok(None),
    };
    let (proof, certificate) = (dpop(headers)?, peer.certificate.as_deref());
    Ok(Some(PresentedAccessToken { scheme, token: token.trim(), proof, certificate, method: method.as_str() }))
}

/// `response`, with what would be taken instead: either scheme (RFC 6750 §3, RFC 9449 §7.1).
fn challenged(mut response: Response, code: Option<&'static str>) -> Response {
    let code = code.map(|code| format!(", error=\"{code}\"")).unwrap_or_default();
    let algorithms = SignatureAlgorithm::NAMES.join(" ");
    let challenge = format!("Bearer realm=\"mintkeep\"{code}, DPoP algs=\"{algorithms}\"{code}");
    if let Ok(challenge) = HeaderValue::try_from(challenge) {
        response.headers_mut().insert(WWW_AUTHENTICATE, challenge);
    }
    // But where it is too late for the status: 429 is what comes of too many.
    if response.status() == StatusCode::BAD_REQUEST {
        *response.status_mut() = StatusCode::UNAUTHORIZED;
    }
    response
}

pub(super) fn description(id: &str) -> Description {
    Description::new(
        id,
        "Who logged in, for who holds an access token with the scope openid (OpenID Connect Core 1.0 §5.3)",
    )
    .access_token()
    .header(DPOP, "A proof of the key that the token is bound to, where it is (RFC 9449).")
    .answer_of::<Userinfo>(200, JSON, uncached("Who logged in."))
}
