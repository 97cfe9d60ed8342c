//! Signing what a front-end has put together itself, up to the signature: for libraries that write the header and leave
//! nothing but the signature to others.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::ToSchema;

use super::{DelegatedSigning, key_name, told};
use crate::jose::base64url;
use crate::jose::foreign::json::{self, Bounds};
use crate::jose::jws::PresentedSigningInput;
use crate::keyring::delegated::VersionedKey;
use crate::oauth::OAuthError;
use crate::oauth::frontend::CallingFrontend;

const NO_INPUT: OAuthError = OAuthError::InvalidRequest(
    "signing_input: expected a header and claims in base64url, with a full stop between them",
);
const NO_KID: OAuthError = OAuthError::InvalidRequest("signing_input: its kid is of no key of the profile");

/// How much of a header and of claims is read.
const BOUNDS: Bounds = Bounds { depth: 16, members: 1024 };

/// A JWS without its signature.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SignInputRequest {
    /// The signing profile.
    pub profile: String,
    /// `BASE64URL(header) || '.' || BASE64URL(claims)` (RFC 7515 §5.1), signed as it stands. Its header has `alg`, `kid`,
    /// which says what key signs, and `typ`, where the profile allows one without it.
    pub signing_input: String,
    /// The name of the key, where the keys of the profile were created by front-ends.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
}

/// The signature of it.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize, ToSchema)]
pub struct SignedInput {
    /// `r` and `s`, 32 bytes each (RFC 7518 §3.4), in base64url.
    pub signature: String,
    /// The key that signed it, which is the one that its header names.
    pub kid: String,
}

impl DelegatedSigning {
    /// Has what `request` of `caller` holds signed, as it stands. A key that was replaced goes on signing for some minutes
    /// by its `kid`: it was active when the caller read the set.
    ///
    /// # Errors
    /// As [`Self::sign`].
    pub async fn sign_input(
        &self,
        caller: &CallingFrontend,
        request: SignInputRequest,
    ) -> Result<SignedInput, OAuthError> {
        let SignInputRequest { profile, signing_input, key } = request;
        let profile = self.profile_of(caller, &profile)?;
        let name = key_name(profile, key.as_deref())?;
        let input = signing_input.into_bytes();
        let presented = PresentedSigningInput::parse(&input).map_err(|_| NO_INPUT)?;
        let header = object(presented.header_json())?;
        let kid = header.get("kid").and_then(Value::as_str).ok_or(NO_KID)?;
        let VersionedKey { version, .. } =
            self.signer.keys(&name).into_iter().find(|key| key.kid == kid).ok_or(NO_KID)?;
        caller.signing.check_claims(&object(presented.claims_json())?)?;
        match self.signer.sign(&caller.name, profile.name.as_str(), &name, Some(version), |_| input.clone()).await {
            Ok(signed) => Ok(SignedInput { signature: base64url::encode(signed.signature), kid: signed.kid }),
            Err(error) => Err(told(error, caller, profile)),
        }
    }
}

/// JSON that all readers read alike, or the keeper's word and a verifier's would not be of the same claims.
fn object(json: &[u8]) -> Result<Map<String, Value>, OAuthError> {
    json::object(json, BOUNDS).map_err(|_| NO_INPUT)
}
