//! The claims of mintkeep's access tokens (RFC 9068 §2.2).

use std::borrow::Cow;
use std::fmt;

use serde::de::value::MapAccessDeserializer;
use serde::de::{IgnoredAny, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use utoipa::ToSchema;

use super::thumbprint::Thumbprint;
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

/// `cnf`: what the presenter of a token has to prove that it holds (RFC 7800 §3.1).
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, PartialEq, Serialize, ToSchema)]
pub enum Confirmation {
    /// The private half of the key with this thumbprint (RFC 9449 §6.1).
    #[serde(rename = "jkt")]
    Key(Thumbprint),
    /// The private key of the certificate with this thumbprint (RFC 8705 §3.1).
    #[serde(rename = "x5t#S256")]
    Certificate(Thumbprint),
}

/// `act`: who acts for the subject, and for whom that one acts in turn (RFC 8693 §4.1).
#[derive(Clone, Debug, Eq, PartialEq, Serialize, ToSchema)]
#[schema(no_recursion)]
pub struct Actor {
    /// Who acts.
    pub sub: String,
    /// Who said so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub iss: Option<String>,
    /// The one who acted before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub act: Option<Box<Actor>>,
}

impl<'de> Deserialize<'de> for Actor {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        // Not derived: that would take an array for the members in their order too, and no other reader does.
        deserializer.deserialize_map(ActorVisitor)
    }
}

struct ActorVisitor;

impl<'de> Visitor<'de> for ActorVisitor {
    type Value = Actor;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object with sub, iss and act")
    }

    fn visit_map<M: MapAccess<'de>>(self, map: M) -> Result<Actor, M::Error> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Members {
            sub: String,
            iss: Option<String>,
            act: Option<Box<Actor>>,
        }
        let Members { sub, iss, act } = Members::deserialize(MapAccessDeserializer::new(map))?;
        Ok(Actor { sub, iss, act })
    }
}

impl Actor {
    /// The most actors that a token names, one behind the other.
    pub const MOST: usize = 8;

    /// How many actors this is, one behind the other.
    pub fn depth(&self) -> usize {
        std::iter::successors(Some(self), |actor| actor.act.as_deref()).count()
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
    /// What it is bound to, where it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cnf: Option<Confirmation>,
    /// Who acts for the subject, where somebody does.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub act: Option<&'a Actor>,
    /// When the person behind the subject proved who it is, where a login is behind the token (RFC 9068 §2.2.1).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub auth_time: Option<Timestamp>,
    /// How sure that was (OpenID Connect Core 1.0 §2).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub acr: Option<&'a str>,
    /// How it was done (RFC 8176).
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    pub amr: &'a [String],
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
    /// `cnf`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cnf: Option<Confirmation>,
    /// `act`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub act: Option<Actor>,
    /// `auth_time`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub auth_time: Option<Timestamp>,
    /// `acr`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub acr: Option<String>,
    /// `amr`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub amr: Vec<String>,
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
    /// `cnf`.
    pub cnf: Option<Confirmation>,
    /// `act`.
    pub act: Option<Actor>,
    /// `auth_time`.
    pub auth_time: Option<Timestamp>,
    /// `acr`.
    #[serde(borrow)]
    pub acr: Option<Cow<'a, str>>,
    /// `amr`.
    pub amr: Option<Vec<String>>,
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
