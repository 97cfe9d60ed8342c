//! The names of the keys that sign what front-ends bring.

use std::borrow::Cow;
use std::fmt;

use arrayvec::ArrayString;
use serde::{Deserialize, Serialize};

const MOST_SEGMENT_BYTES: usize = 64;
const MOST_BYTES: usize = 2 * MOST_SEGMENT_BYTES + 1;

/// The name of a key that signs what front-ends bring: `PROFILE`, or `PROFILE/NAME` for one that a front-end had made.
/// It is in the key's label, so that the keeper knows by itself which profile a key belongs to.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(try_from = "Cow<'_, str>", into = "String")]
pub struct KeyName(ArrayString<MOST_BYTES>);

/// Text that is no [`KeyName`].
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("expected 1 to 64 characters of A-Z, a-z, 0-9, `.`, `_` and `-`")]
pub struct InvalidKeyName;

impl KeyName {
    /// The name that `text` is.
    ///
    /// # Errors
    /// [`InvalidKeyName`] where it is not one or two segments with a slash between them.
    pub fn parse(text: &str) -> Result<Self, InvalidKeyName> {
        let (profile, name) = match text.split_once('/') {
            Some((profile, name)) => (profile, Some(name)),
            None => (text, None),
        };
        if !is_segment(profile) || !name.is_none_or(is_segment) {
            return Err(InvalidKeyName);
        }
        ArrayString::from(text).map(Self).map_err(|_| InvalidKeyName)
    }

    /// The name of a key that is made under `profile`, and called `name` there.
    ///
    /// # Errors
    /// [`InvalidKeyName`] where either is not a segment.
    pub fn created(profile: &str, name: &str) -> Result<Self, InvalidKeyName> {
        if !is_segment(profile) || !is_segment(name) {
            return Err(InvalidKeyName);
        }
        Self::parse(&format!("{profile}/{name}"))
    }

    /// The whole name.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The signing profile that the key belongs to.
    pub fn profile(&self) -> &str {
        self.0.split('/').next().unwrap_or_default()
    }

    /// What a front-end calls the key that it had made; nothing for a profile's own.
    pub fn created_name(&self) -> Option<&str> {
        self.0.split_once('/').map(|(_, name)| name)
    }
}

fn is_segment(text: &str) -> bool {
    let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    (1..=MOST_SEGMENT_BYTES).contains(&text.len()) && text.bytes().all(is_allowed)
}

impl fmt::Display for KeyName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl TryFrom<Cow<'_, str>> for KeyName {
    type Error = InvalidKeyName;

    fn try_from(text: Cow<'_, str>) -> Result<Self, InvalidKeyName> {
        Self::parse(&text)
    }
}

impl From<KeyName> for String {
    fn from(name: KeyName) -> Self {
        name.as_str().to_owned()
    }
}

/// How many keys a signing profile has.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum DelegatedKeys {
    /// One that is replaced in time, called as the profile is.
    One,
    /// As many as front-ends have made, none of which is ever replaced.
    Created,
}

/// The keys of one signing profile.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct ProfileKeys {
    /// The profile, a name of one segment.
    pub profile: KeyName,
    /// How many it has.
    pub keys: DelegatedKeys,
}

impl ProfileKeys {
    /// Whether a key of that name is one of them.
    pub fn include(&self, name: &KeyName) -> bool {
        match self.keys {
            DelegatedKeys::One => *name == self.profile,
            DelegatedKeys::Created => name.profile() == self.profile.as_str() && name.created_name().is_some(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_one_segment_or_two() {
        let long = "x".repeat(64);
        for text in ["dex", "a/b", "A-z_0.9/..", &long, &format!("{long}/{long}")] {
            assert_eq!(KeyName::parse(text).unwrap().as_str(), text);
        }
        for text in ["", "/", "a/", "/b", "a/b/c", "a b", "a:b", "ä", "a\n", &format!("{long}x"), &format!("a/{long}x")]
        {
            assert_eq!(KeyName::parse(text), Err(InvalidKeyName), "{text:?}");
        }
        assert_eq!(KeyName::created("a/b", "c"), Err(InvalidKeyName));
        let name = KeyName::created("spire", "x509-CA-A").unwrap();
        assert_eq!((name.profile(), name.created_name()), ("spire", Some("x509-CA-A")));
        assert_eq!(KeyName::parse("spire").unwrap().created_name(), None);
    }

    #[test]
    fn a_profile_has_its_own_keys_only() {
        let keys = |keys| ProfileKeys { profile: KeyName::parse("a").unwrap(), keys };
        let (one, created) = (keys(DelegatedKeys::One), keys(DelegatedKeys::Created));
        for (name, is_one, is_created) in
            [("a", true, false), ("a/b", false, true), ("b", false, false), ("b/a", false, false)]
        {
            let name = KeyName::parse(name).unwrap();
            assert_eq!((one.include(&name), created.include(&name)), (is_one, is_created), "{name}");
        }
    }
}
