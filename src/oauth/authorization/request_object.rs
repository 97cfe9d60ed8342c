//! Request objects: the parameters in a JWT that the client signed, so that nobody on the way can change them (RFC 9101).

use std::borrow::Cow;
use std::time::Duration;

use serde_json::{Map, Value};

use super::endpoint::AuthorizationEndpoint;
use crate::clock::Timestamp;
use crate::jose::foreign::{ForeignClaims, PresentedForeignJws};
use crate::oauth::OAuthError;
use crate::oauth::client::Client;
use crate::oauth::error::UNAVAILABLE;
use crate::oauth::key_sets::KeySets;
use crate::oauth::once::OnceError;
use crate::oauth::parameters::PresentedParameters;
use crate::oauth::remote_keys::RemoteKeysError;

/// The type that says what it is for (RFC 9101 §4). Others that leave it out are many.
const TYPE: &str = "oauth-authz-req+jwt";

/// How far the client's clock may be off ours.
const LEEWAY: Duration = Duration::from_secs(30);

/// How long one may be good from now: it travels through a browser once.
const LONGEST: Duration = Duration::from_secs(600);

/// The claims that are parameters. No other one counts, nor does any parameter beside the object (RFC 9101 §6.3).
const PARAMETERS: [&str; 16] = [
    "response_type",
    "response_mode",
    "redirect_uri",
    "scope",
    "state",
    "nonce",
    "code_challenge",
    "code_challenge_method",
    "prompt",
    "max_age",
    "login_hint",
    "ui_locales",
    "acr_values",
    "resource",
    "dpop_jkt",
    "id_token_hint",
];

const MALFORMED: OAuthError = OAuthError::InvalidRequestObject(
    "expected a JWT signed by one of our algorithms, with claims each once, and nothing that must be understood",
);

impl AuthorizationEndpoint {
    /// The parameters in `object`, which is to be `client`'s; uses it up where it has a `jti`.
    ///
    /// # Errors
    /// [`OAuthError::InvalidRequestObject`]; [`OAuthError::TemporarilyUnavailable`] where it cannot be judged now.
    pub(super) async fn parameters_of(
        &self,
        client: &Client,
        object: &str,
        key_sets: &KeySets,
    ) -> Result<PresentedParameters<'static>, OAuthError> {
        let keys = client.request_object_keys.as_ref();
        let keys = keys.ok_or(invalid("the client is registered without keys that sign its requests"))?;
        let jws = PresentedForeignJws::parse(object).map_err(|_| MALFORMED)?;
        let claims = jws.claims().map_err(|_| MALFORMED)?;
        let ends = check(&jws, &claims, &client.id, &self.issuer, self.clock.now())?;
        key_sets.verify(keys, &jws).await.map_err(|error| match error {
            RemoteKeysError::Unavailable => UNAVAILABLE,
            RemoteKeysError::NotVerified(_) => invalid("the signature is not that of a registered key of the client"),
        })?;
        if let Some(jti) = &claims.jti {
            match self.used.claim("request_object", client.id.as_bytes(), jti, ends).await {
                Ok(()) => {}
                Err(OnceError::Replayed) => return Err(invalid("the object was used before")),
                Err(error) => return Err(error.into()),
            }
        }
        parameters(claims.all)
    }
}

/// Checks that the object is `client_id`'s, for `issuer`, and good at `now`. When it ends.
fn check(
    jws: &PresentedForeignJws<'_>,
    claims: &ForeignClaims,
    client_id: &str,
    issuer: &str,
    now: Timestamp,
) -> Result<Timestamp, OAuthError> {
    if jws.typ().is_some() && !jws.is_of_type("jwt") && !jws.is_of_type(TYPE) {
        return Err(invalid("typ: expected oauth-authz-req+jwt, JWT, or none"));
    }
    if claims.iss.as_deref() != Some(client_id) {
        return Err(invalid("iss: expected the client's id"));
    }
    // RFC 9101 §5: the same as outside.
    if claims.all.get("client_id").and_then(Value::as_str) != Some(client_id) {
        return Err(invalid("client_id: expected the same as outside of the object"));
    }
    // RFC 9101 §10.8: it could be a client assertion.
    if claims.sub.as_deref() == Some(client_id) {
        return Err(invalid("sub: expected none, so that the object is no client assertion"));
    }
    if claims.aud.as_slice() != [issuer] {
        return Err(invalid("aud: expected this issuer identifier as its only value"));
    }
    claims
        .check_times(now, LEEWAY)
        .map_err(|_| invalid("exp, nbf, iat: expected an object that holds now, and ends"))?;
    let ends = claims.exp.ok_or(MALFORMED)?.plus(LEEWAY);
    if ends > now.plus(LONGEST + LEEWAY) {
        return Err(invalid("exp: expected within ten minutes from now"));
    }
    if ["request", "request_uri"].iter().any(|name| claims.all.contains_key(*name)) {
        return Err(invalid("request, request_uri: expected neither inside of the object"));
    }
    Ok(ends)
}

/// The parameters as they would be in a form.
fn parameters(mut claims: Map<String, Value>) -> Result<PresentedParameters<'static>, OAuthError> {
    let mut values = Vec::new();
    for name in PARAMETERS {
        let mut add = |value: String| values.push((Cow::Borrowed(name), Cow::Owned(value)));
        match claims.remove(name) {
            None => {}
            Some(Value::String(text)) => add(text),
            // OpenID Connect Core §6.1: a number stays one.
            Some(Value::Number(number)) if name == "max_age" => add(number.to_string()),
            Some(Value::Array(items)) if name == "resource" => {
                for item in items {
                    let Value::String(text) = item else {
                        return Err(invalid("resource: expected strings"));
                    };
                    add(text);
                }
            }
            Some(_) => return Err(invalid("expected each parameter to be a string")),
        }
    }
    PresentedParameters::of_pairs(values)
}

fn invalid(reason: &'static str) -> OAuthError {
    OAuthError::InvalidRequestObject(reason)
}
