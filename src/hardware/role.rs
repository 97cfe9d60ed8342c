//! What a key is for.

use std::borrow::Cow;
use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use super::key_name::KeyName;

/// What begins the text form of [`Role::Delegated`].
const DELEGATED: &str = "delegated:";

/// What a key is for.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Role {
    /// It signs access tokens, and whatever else the mint makes.
    Signing,
    /// It seals refresh tokens.
    Sealing,
    /// It signs what front-ends bring.
    Delegated(KeyName),
}

impl Role {
    /// `signing`, `sealing` or `delegated`; see [`fmt::Display`] for the whole.
    pub fn name(self) -> &'static str {
        match self {
            Self::Signing => "signing",
            Self::Sealing => "sealing",
            Self::Delegated(_) => "delegated",
        }
    }

    /// The role that is written as `text`.
    pub fn named(text: &str) -> Option<Self> {
        match text {
            "signing" => Some(Self::Signing),
            "sealing" => Some(Self::Sealing),
            _ => KeyName::parse(text.strip_prefix(DELEGATED)?).ok().map(Self::Delegated),
        }
    }

    /// Whether its keys sign; otherwise they seal.
    pub fn signs(self) -> bool {
        match self {
            Self::Signing | Self::Delegated(_) => true,
            Self::Sealing => false,
        }
    }
}

/// `signing`, `sealing` or `delegated:NAME`.
impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Signing | Self::Sealing => f.pad(self.name()),
            Self::Delegated(name) => f.pad(&format!("{DELEGATED}{name}")),
        }
    }
}

impl Serialize for Role {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Role {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Cow::<str>::deserialize(deserializer)?;
        Self::named(&text).ok_or_else(|| de::Error::custom("expected signing, sealing or delegated:NAME"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_role_is_read_as_it_is_written() {
        let delegated = Role::Delegated(KeyName::parse("spire/x509").unwrap());
        for (role, text) in
            [(Role::Signing, "signing"), (Role::Sealing, "sealing"), (delegated, "delegated:spire/x509")]
        {
            assert_eq!((role.to_string().as_str(), Role::named(text)), (text, Some(role)));
            assert_eq!(serde_json::to_value(role).unwrap(), text);
            assert_eq!(serde_json::from_value::<Role>(text.into()).unwrap(), role);
            let encoded = postcard::to_allocvec(&role).unwrap();
            assert_eq!(postcard::from_bytes::<Role>(&encoded), Ok(role));
        }
        for text in ["", "delegated", "delegated:", "delegated:a/b/c", "Signing", "signing "] {
            assert_eq!(Role::named(text), None, "{text}");
        }
    }
}
