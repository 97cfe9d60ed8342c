//! The claims of mintkeep's access tokens (RFC 9068 §2.2).

use std::borrow::Cow;

use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::clock::Timestamp;

/// The `typ` of an access token (RFC 9068 §2.1).
pub const ACCESS_TOKEN_TYPE: &str = "at+jwt";

/// The `typ` of a signed introspection answer (RFC 9701 §5).
pub const INTROSPECTION_TYPE: &str = "token-introspection+jwt";

/// `aud`: one value, or a list of them (RFC 7519 §4.1.3).
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize, ToSchema)]
#[serde(untagged)]
pub enum Audience {
    /// One recipient, written as a string.
    One(String),
    /// Several recipients, written as an array.
    Several(Vec<String>),
}

impl Audience {
    /// The recipients.
    pub fn values(&self) -> &[String] {
        match self {
            Self::One(value) => std::slice::from_ref(value),
            Self::Several(values) => values,
        }
    }

    /// Whether no recipient is named at all.
    pub fn is_empty(&self) -> bool {
        match self {
            Self::One(value) => value.is_empty(),
            Self::Several(values) => values.is_empty() || values.iter().any(String::is_empty),
        }
    }
}

/// The claims of one access token.
#[derive(Debug, Serialize)]
pub struct AccessTokenClaims<'a> {
    /// The issuer identifier.
    pub iss: &'a str,
    /// Who the token speaks for; the client itself where no person or workload is named.
    pub sub: &'a str,
    /// Who the token is for.
    pub aud: &'a Audience,
    /// The client that asked for it.
    pub client_id: &'a str,
    /// The scope, its values separated by spaces; absent where there is none.
    #[serde(skip_serializing_if = "str::is_empty")]
    pub scope: &'a str,
    /// When it was issued.
    pub iat: Timestamp,
    /// When it ends.
    pub exp: Timestamp,
    /// A random name of this one token.
    pub jti: &'a str,
    /// The refresh family that it came from, where there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sid: Option<&'a str>,
}

/// The claims of an access token of ours, read back.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize, ToSchema)]
#[schema(as = AccessTokenClaims, description = "The claims of an access token (RFC 9068 §2.2).")]
#[serde(deny_unknown_fields)]
pub struct ReadAccessTokenClaims {
    /// `iss`.
    pub iss: String,
    /// `sub`.
    pub sub: String,
    /// `aud`.
    pub aud: Audience,
    /// `client_id`.
    pub client_id: String,
    /// `scope`.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub scope: String,
    /// `iat`.
    pub iat: Timestamp,
    /// `exp`.
    pub exp: Timestamp,
    /// `jti`.
    pub jti: String,
    /// `sid`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sid: Option<String>,
}

/// The claims of an access token that somebody asks to have signed, before any rule was applied. Absent
/// claims are `None`. A claim that is not listed here, or is there twice, makes it malformed: what no rule
/// looks at must not be signed, because a verifier may look at it, were it only by another spelling.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PresentedAccessTokenClaims<'a> {
    /// `iss`.
    #[serde(borrow)]
    pub iss: Option<Cow<'a, str>>,
    /// `sub`.
    #[serde(borrow)]
    pub sub: Option<Cow<'a, str>>,
    /// `aud`.
    pub aud: Option<Audience>,
    /// `client_id`.
    #[serde(borrow)]
    pub client_id: Option<Cow<'a, str>>,
    /// `scope`.
    #[serde(borrow)]
    pub scope: Option<Cow<'a, str>>,
    /// `iat`.
    pub iat: Option<Timestamp>,
    /// `exp`.
    pub exp: Option<Timestamp>,
    /// `jti`.
    #[serde(borrow)]
    pub jti: Option<Cow<'a, str>>,
    /// `sid`.
    #[serde(borrow)]
    pub sid: Option<Cow<'a, str>>,
}

/// The claims of an introspection answer that somebody asks to have signed; nothing else may be in it, and
/// neither `sub` nor `exp` above all (RFC 9701 §5).
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PresentedIntrospectionClaims<'a> {
    /// `iss`.
    #[serde(borrow)]
    pub iss: Option<Cow<'a, str>>,
    /// `aud`.
    pub aud: Option<Audience>,
    /// `iat`.
    pub iat: Option<Timestamp>,
    /// Whether there is a `token_introspection`.
    pub token_introspection: Option<IgnoredAny>,
}
