//! `POST /admin/v1/sign`: claims in, a compact JWS out, or a signing input in, its signature out; and the keys that verify it.

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{Caller, FrontendApi};
use crate::http::document::serve;
use crate::http::openapi::{Description, JSON, kept, not_modified, uncached};
use crate::http::public::discovery::JWK_SET;
use crate::http::public::form::Body;
use crate::http::render::{not_stored, oauth_error};
use crate::jose::foreign::json::{self, Bounds};
use crate::jose::jwk::JwkSet;
use crate::oauth::OAuthError;
use crate::oauth::delegated::{SignInputRequest, SignRequest, SignedClaims, SignedInput};

/// The path where claims are signed.
pub const SIGN_PATH: &str = "/admin/v1/sign";
/// The path of the keys of a profile.
pub(super) const PROFILE_JWKS_PATH: &str = "/admin/v1/sign/{profile}/jwks";

const PROFILE: &str = "profile";

const NO_REQUEST: OAuthError = OAuthError::InvalidRequest(
    "expected JSON with profile, and claims or signing_input, and, optionally, key and typ, each once",
);

/// How much of a request is read: of the claims, one less deep.
const BOUNDS: Bounds = Bounds { depth: 17, members: 1024 };

/// What is to be signed.
#[derive(Deserialize, ToSchema)]
#[serde(untagged)]
enum Wanted {
    Claims(SignRequest),
    Input(SignInputRequest),
}

/// What was.
#[derive(Serialize, ToSchema)]
#[serde(untagged)]
enum Signed {
    Claims(SignedClaims),
    Input(SignedInput),
}

pub(super) async fn sign(
    State(api): State<Arc<FrontendApi>>,
    Caller(caller): Caller,
    headers: HeaderMap,
    body: Body,
) -> Response {
    let outcome = async {
        match request(&headers, &body)? {
            Wanted::Claims(request) => api.signing.sign(&caller, request).await.map(Signed::Claims),
            Wanted::Input(request) => api.signing.sign_input(&caller, request).await.map(Signed::Input),
        }
    };
    match outcome.await {
        Ok(signed) => not_stored(StatusCode::OK, &signed),
        Err(error) => oauth_error(&error),
    }
}

pub(super) async fn jwks(
    State(api): State<Arc<FrontendApi>>,
    Caller(caller): Caller,
    Path(profile): Path<String>,
    headers: HeaderMap,
) -> Response {
    match api.signing.jwks_for(&caller, &profile) {
        Ok(keys) => serve(&keys, JWK_SET, api.max_age, &headers),
        Err(error) => oauth_error(&error),
    }
}

/// What two readers could read in two ways is refused: one of them may be who verifies the token.
fn request(headers: &HeaderMap, body: &Body) -> Result<Wanted, OAuthError> {
    let members = json::object(super::json(headers, body)?, BOUNDS).map_err(|_| NO_REQUEST)?;
    serde_json::from_value(members.into()).map_err(|_| NO_REQUEST)
}

pub(super) fn description() -> Description {
    Description::new("sign", "Has claims signed under a signing profile, which the keeper enforces")
        .json::<Wanted>()
        .frontend()
        .answer_of::<Signed>(200, JSON, uncached("The signed token, or the signature of the signing input."))
}

pub(super) fn jwks_description() -> Description {
    Description::new("profileJwks", "The keys that verify what is signed under a profile (RFC 7517)")
        .in_path(PROFILE, "The name of the signing profile.")
        .frontend()
        .answer_of::<JwkSet>(200, JWK_SET, kept("The keys."))
        .answer(304, not_modified())
}
