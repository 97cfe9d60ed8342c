//! A login that a front-end performed: what it said of it, and what the mint keeps of that.

use serde::{Deserialize, Serialize};

use crate::clock::Timestamp;
use crate::jose::claims::Audience;
use crate::jose::id_token::ExtraClaims;
use crate::jose::thumbprint::Thumbprint;

/// What a front-end said of a login. It is kept with the refresh family that began with it (`Family::login`, as JSON).
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct LoginRecord {
    /// When the person proved who it is, where the front-end told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub auth_time: Option<Timestamp>,
    /// How sure that was (OpenID Connect Core 1.0 §2).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub acr: Option<String>,
    /// How it was done (RFC 8176).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub amr: Vec<String>,
    /// What else is known of the person.
    #[serde(default, skip_serializing_if = "ExtraClaims::is_empty")]
    pub claims: ExtraClaims,
    /// Who its tokens may be for, where the client asked for less than it is registered for (RFC 8707 §2.2).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub audience: Option<Audience>,
}

/// What a login allows whoever redeems its code, as it is stored with the code (JSON). The store knows whose client it
/// is.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct LoginGrant {
    /// Who logged in.
    pub subject: String,
    /// What was granted, space-separated.
    pub scope: String,
    /// The redirect URI as the request sent it, where it did: the token request has to send the same
    /// (RFC 6749 §4.1.3).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub redirect_uri: Option<String>,
    /// What the client will know its ID token by.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nonce: Option<String>,
    /// The SHA-256 that the verifier has to have, in base64url (RFC 7636 §4.2). A code without one is no
    /// authorization code.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code_challenge: Option<String>,
    /// The key that has to redeem it (RFC 9449 §10).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dpop_jkt: Option<Thumbprint>,
    /// The session of the front-end that it belongs to, with the front-end's name before it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session: Option<String>,
    /// What the front-end said of the login.
    pub record: LoginRecord,
}
