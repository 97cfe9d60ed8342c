//! Who calls: what a request presents of a front-end, and what comes of it.

use std::sync::Arc;

use axum::extract::FromRequestParts;
use axum::http::header::AUTHORIZATION;
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, HeaderValue};
use axum::response::Response;

use super::FrontendApi;
use crate::http::listener::Peer;
use crate::http::render::oauth_error;
use crate::oauth::OAuthError;
use crate::oauth::frontend::{CallingFrontend, FrontendError, PresentedCaller};

/// Where clients of the transit form have their token.
const VAULT_TOKEN: HeaderName = HeaderName::from_static("x-vault-token");

/// The front-end that makes a request. Who is none is answered 401, and who asks too often 429.
pub struct Caller(pub CallingFrontend);

impl FromRequestParts<Arc<FrontendApi>> for Caller {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, api: &Arc<FrontendApi>) -> Result<Self, Response> {
        let peer = parts.extensions.get::<Peer>();
        match api.authenticate(peer, &parts.headers) {
            Ok(frontend) => Ok(Self(frontend)),
            Err(error) => Err(api.refuse(peer, &parts.headers, error).await),
        }
    }
}

impl FrontendApi {
    /// The front-end that a request of `peer` with `headers` is from.
    ///
    /// # Errors
    /// As [`crate::oauth::frontend::FrontendAuthenticator::authenticate`].
    pub(in crate::http) fn authenticate(
        &self,
        peer: Option<&Peer>,
        headers: &HeaderMap,
    ) -> Result<CallingFrontend, FrontendError> {
        self.frontends.authenticate(&PresentedCaller {
            uid: peer.and_then(|peer| peer.uid),
            certificate: peer.and_then(|peer| peer.certificate.as_deref()),
            token: token(headers)?,
        })
    }

    /// The answer to a request that is from no front-end, or from one over a limit of its own.
    async fn refuse(&self, peer: Option<&Peer>, headers: &HeaderMap, error: FrontendError) -> Response {
        let error = error.into();
        self.refuse_as(peer, headers, &error, oauth_error(&error)).await
    }

    /// The same, as `response` says it, once its time has come: guesses are answered ever later.
    pub(in crate::http) async fn refuse_as(
        &self,
        peer: Option<&Peer>,
        headers: &HeaderMap,
        error: &OAuthError,
        response: Response,
    ) -> Response {
        match peer {
            // Whoever fails names nobody that it could be.
            Some(peer) => self.failures.answer_as(peer, headers, None, error, response).await,
            None => response,
        }
    }
}

/// Whether a token is presented, good or not.
pub(in crate::http) fn presents_token(headers: &HeaderMap) -> bool {
    headers.contains_key(AUTHORIZATION) || headers.contains_key(VAULT_TOKEN)
}

/// The one token that is presented, where one is. Credentials of any other kind are a front-end's mistake, and not
/// overlooked: it may have meant to be somebody else than its uid says.
fn token(headers: &HeaderMap) -> Result<Option<&str>, FrontendError> {
    let mut values = headers.get_all(AUTHORIZATION).iter().map(bearer);
    let mut further = headers.get_all(VAULT_TOKEN).iter().map(|value| value.to_str().ok());
    match (values.next().or_else(|| further.next()), values.next().or_else(|| further.next())) {
        (None, _) => Ok(None),
        (Some(Some(token)), None) => Ok(Some(token)),
        _ => Err(FrontendError::Unknown),
    }
}

/// RFC 6750 §2.1.
fn bearer(value: &HeaderValue) -> Option<&str> {
    let (scheme, token) = value.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then_some(token.trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_is_one_token_or_none() {
        let said = |lines: &[(&'static str, &'static str)]| {
            let mut headers = HeaderMap::new();
            for (name, value) in lines {
                headers.append(*name, HeaderValue::from_static(value));
            }
            token(&headers).map(|token| token.map(str::to_owned))
        };
        let one = Ok(Some("mks_1".to_owned()));
        assert_eq!(said(&[]), Ok(None));
        assert_eq!(said(&[("authorization", "Bearer mks_1")]), one);
        assert_eq!(said(&[("authorization", "bearer  mks_1 ")]), one);
        assert_eq!(said(&[("x-vault-token", "mks_1")]), one);
        for wrong in [
            &[("authorization", "Basic mks_1")][..],
            &[("authorization", "mks_1")],
            &[("authorization", "Bearer mks_1"), ("authorization", "Bearer mks_1")],
            &[("authorization", "Bearer mks_1"), ("x-vault-token", "mks_1")],
            &[("x-vault-token", "mks_1"), ("x-vault-token", "mks_1")],
        ] {
            assert_eq!(said(wrong), Err(FrontendError::Unknown), "{wrong:?}");
        }
    }
}
