//! Signing what front-ends bring: their claims are completed, held against the rights of the front-end, and signed under
//! a profile, which the keeper enforces.

mod claims;
mod input;

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::ToSchema;

use super::OAuthError;
use super::frontend::CallingFrontend;
use crate::clock::Clock;
use crate::hardware::{DelegatedKeys, KeyName};
use crate::jose::base64url;
use crate::jose::jwk::JwkSet;
use crate::jose::jws::ES256;
use crate::keeper::policy::{Content, DelegatedProfile};
use crate::keyring::Document;
use crate::keyring::delegated::{DelegatedError, DelegatedSignature, DelegatedSigner};

pub use self::input::{SignInputRequest, SignedInput};

/// `typ` where a profile leaves it to whoever asks.
const DEFAULT_TYPE: &str = "JWT";

/// What a front-end wants signed.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SignRequest {
    /// The signing profile.
    pub profile: String,
    /// The claims (RFC 7519 §4). Where they leave out `iat`, it is now; `exp`, it is after the longest lifetime that is
    /// allowed; `iss`, it is the one that is allowed, where there is one.
    #[schema(value_type = Object)]
    pub claims: Map<String, Value>,
    /// The name of the key, where the keys of the profile were created by front-ends.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// `typ` of the header; the first that the profile allows where it is left out. Empty: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub typ: Option<String>,
}

/// What was signed.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize, ToSchema)]
pub struct SignedClaims {
    /// The compact JWS (RFC 7515 §7.1), by ES256.
    pub jws: String,
    /// The key that signed it, as the JWK Set of the profile has it.
    pub kid: String,
}

/// Has keys sign for front-ends.
pub struct DelegatedSigning {
    signer: DelegatedSigner,
    profiles: Vec<DelegatedProfile>,
    clock: Arc<dyn Clock>,
}

impl DelegatedSigning {
    /// Signs by `signer`, under these `profiles`.
    pub fn new(signer: DelegatedSigner, profiles: Vec<DelegatedProfile>, clock: Arc<dyn Clock>) -> Self {
        Self { signer, profiles, clock }
    }

    /// Has `request` of `caller` signed.
    ///
    /// # Errors
    /// [`OAuthError::Forbidden`] where `caller` has no right to it; [`OAuthError::InvalidRequest`] where the profile does
    /// not allow it, or has no such key; otherwise what the hardware failed by.
    pub async fn sign(&self, caller: &CallingFrontend, request: SignRequest) -> Result<SignedClaims, OAuthError> {
        let SignRequest { profile, mut claims, key, typ } = request;
        let profile = self.profile_of(caller, &profile)?;
        let name = key_name(profile, key.as_deref())?;
        let typ = typ_of(profile, typ.as_deref())?;
        claims::complete(&mut claims, profile, &caller.signing, self.clock.now());
        caller.signing.check_claims(&claims)?;
        let payload = serde_json::to_vec(&claims).map_err(|_| OAuthError::ServerError)?;
        let payload = base64url::encode(payload);
        let input = |kid: &str| signing_input(typ, kid, &payload);
        match self.signer.sign(&caller.name, profile.name.as_str(), &name, None, input).await {
            Ok(signed) => compact(signed),
            Err(error) => Err(told(error, caller, profile)),
        }
    }

    /// The keys of the profile `profile` as a JWK Set (RFC 7517 §5), for `caller`.
    ///
    /// # Errors
    /// [`OAuthError::Forbidden`].
    pub fn jwks_for(&self, caller: &CallingFrontend, profile: &str) -> Result<Document, OAuthError> {
        self.profile_of(caller, profile).map(|profile| self.document(profile))
    }

    /// The same for anybody; `None` where there is no such profile.
    pub fn jwks(&self, profile: &str) -> Option<Document> {
        self.profiles.iter().find(|known| known.name.as_str() == profile).map(|profile| self.document(profile))
    }

    /// One that does not exist is nobody's, and is answered so.
    fn profile_of(&self, caller: &CallingFrontend, name: &str) -> Result<&DelegatedProfile, OAuthError> {
        caller.signing.check_profile(name)?;
        let profile = self.profiles.iter().find(|profile| profile.name.as_str() == name);
        profile.ok_or_else(|| {
            // It was added to the file after the start.
            tracing::warn!(frontend = caller.name, profile = name, "a profile takes effect when the mint is restarted");
            OAuthError::Forbidden("the front-end may not use this signing profile")
        })
    }

    fn document(&self, profile: &DelegatedProfile) -> Document {
        let names = self.signer.names().into_iter().filter(|name| name.profile() == profile.name.as_str());
        let mut keys: Vec<_> = names.flat_map(|name| self.signer.keys(&name)).collect();
        // First what signs: for who signs by the first key of a set.
        keys.sort_by_key(|key| !key.is_active);
        Document::of(&JwkSet::of_signing_keys(keys.iter().map(|key| &key.public_key)))
    }
}

/// The protected header of a JWS that is signed for a front-end, in base64url: `alg`, `kid`, and `typ` unless that is empty.
pub fn encoded_header(typ: &str, kid: &str) -> String {
    #[derive(Serialize)]
    struct Header<'a> {
        alg: &'a str,
        kid: &'a str,
        #[serde(skip_serializing_if = "str::is_empty")]
        typ: &'a str,
    }
    let header = serde_json::to_vec(&Header { alg: ES256, kid, typ }).expect("strings are JSON");
    base64url::encode(header)
}

fn signing_input(typ: &str, kid: &str, payload: &str) -> Vec<u8> {
    let mut input = encoded_header(typ, kid);
    input.push('.');
    input.push_str(payload);
    input.into_bytes()
}

fn compact(signed: DelegatedSignature) -> Result<SignedClaims, OAuthError> {
    let DelegatedSignature { kid, input, signature, .. } = signed;
    let mut jws = String::from_utf8(input).map_err(|_| OAuthError::ServerError)?;
    jws.push('.');
    base64url::encode_into(signature, &mut jws);
    Ok(SignedClaims { jws, kid })
}

fn key_name(profile: &DelegatedProfile, key: Option<&str>) -> Result<KeyName, OAuthError> {
    let name = match (profile.keys, key) {
        (DelegatedKeys::One, None) => Ok(profile.name),
        (DelegatedKeys::Created, Some(key)) => KeyName::created(profile.name.as_str(), key),
        (DelegatedKeys::One, Some(_)) => {
            return Err(OAuthError::InvalidRequest("key: the profile has one key; leave this out"));
        }
        (DelegatedKeys::Created, None) => {
            return Err(OAuthError::InvalidRequest("key: expected the name of a key of the profile"));
        }
    };
    name.map_err(|_| NO_SUCH_KEY)
}

const NO_SUCH_KEY: OAuthError = OAuthError::InvalidRequest("the profile has no key of this name");

/// One of the types of the profile. The keeper would say the same, and the caller would not learn what it was about.
fn typ_of<'a>(profile: &'a DelegatedProfile, asked: Option<&'a str>) -> Result<&'a str, OAuthError> {
    match (&profile.content, asked) {
        (Content::Jwt { types, .. }, None) => Ok(types.first().map_or(DEFAULT_TYPE, String::as_str)),
        (Content::Jwt { types, .. }, Some(asked)) if !types.iter().any(|typ| typ == asked) => {
            Err(OAuthError::InvalidRequest("typ: the profile allows no such type"))
        }
        (Content::Jwt { .. } | Content::Any, Some(asked)) => Ok(asked),
        (Content::Any, None) => Ok(DEFAULT_TYPE),
    }
}

fn told(error: DelegatedError, caller: &CallingFrontend, profile: &DelegatedProfile) -> OAuthError {
    match error {
        DelegatedError::UnknownKey => NO_SUCH_KEY,
        DelegatedError::Refused(rule) => {
            tracing::warn!(frontend = caller.name, profile = %profile.name, rule, "the keeper refused to sign");
            OAuthError::InvalidRequest("the claims do not keep to the signing profile")
        }
        DelegatedError::Keeper(error) => error.into(),
        DelegatedError::Store(error) => {
            tracing::warn!(%error, "answering 503");
            OAuthError::TemporarilyUnavailable { retry_after: std::time::Duration::from_secs(1) }
        }
        DelegatedError::Exists => OAuthError::ServerError,
    }
}
