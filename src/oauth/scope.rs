//! Scopes (RFC 6749 §3.3).

use std::sync::Arc;

use super::OAuthError;

/// More than any API has; what is compared with each other has to be few.
const MOST_VALUES: usize = 128;

/// The scope value that asks who logged in (OpenID Connect Core 1.0 §3.1.2.1).
pub const OPENID: &str = "openid";

/// Whether the scope value `value` asks about who logged in, or for how long (OpenID Connect Core 1.0 §5.4, §11).
pub(super) fn is_of_login(value: &str) -> bool {
    [OPENID, "profile", "email", "address", "phone", "offline_access"].contains(&value)
}

/// A set of scope values in the order they were written, each once. Cloning shares the text.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Scope(Arc<str>);

impl Scope {
    /// Reads `scope-token *( SP scope-token )`, where a token is `1*( %x21 / %x23-5B / %x5D-7E )`.
    ///
    /// # Errors
    /// [`OAuthError::InvalidScope`] for anything else. An empty text is the empty scope.
    pub fn parse(text: &str) -> Result<Self, OAuthError> {
        let mut values: Vec<&str> = Vec::new();
        for value in text.split(' ').filter(|_| !text.is_empty()) {
            let is_token = |byte: u8| matches!(byte, 0x21 | 0x23..=0x5b | 0x5d..=0x7e);
            if value.is_empty() || !value.bytes().all(is_token) {
                return Err(OAuthError::InvalidScope("expected scope values separated by one space each"));
            }
            if !values.contains(&value) {
                values.push(value);
            }
            // Each is compared with all before it.
            if values.len() > MOST_VALUES {
                return Err(OAuthError::InvalidScope("more scope values than may be asked for"));
            }
        }
        Ok(Self(values.join(" ").into()))
    }

    /// The values, separated by spaces.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether every value of this is one of `other`'s.
    pub fn is_within(&self, other: &Self) -> bool {
        self.values().all(|value| other.values().any(|known| known == value))
    }

    /// What is granted of `self` where `requested` is asked for: exactly that, or all of it where
    /// nothing is asked for (RFC 6749 §3.3).
    ///
    /// # Errors
    /// [`OAuthError::InvalidScope`] where more is asked for than there is.
    pub fn narrowed(&self, requested: Option<&str>) -> Result<Self, OAuthError> {
        let Some(requested) = requested else {
            return Ok(self.clone());
        };
        let requested = Self::parse(requested)?;
        if requested.is_within(self) {
            Ok(requested)
        } else {
            Err(OAuthError::InvalidScope("more than may be granted was asked for"))
        }
    }

    /// Those of its values that `is_known` says yes to.
    pub fn limited_to(&self, is_known: impl Fn(&str) -> bool) -> Self {
        let values: Vec<&str> = self.values().filter(|value| is_known(value)).collect();
        Self(values.join(" ").into())
    }

    /// The values that both have, in the order of this one.
    pub fn intersection(&self, other: &Self) -> Self {
        self.limited_to(|value| other.values().any(|known| known == value))
    }

    /// Whether it is for who logged in, and so for an ID token (OpenID Connect Core 1.0 §3.1.2.1).
    pub fn is_openid(&self) -> bool {
        self.values().any(|value| value == OPENID)
    }

    /// The values, in order.
    pub fn values(&self) -> impl Iterator<Item = &str> {
        self.0.split(' ').filter(|value| !value.is_empty())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_the_grammar_allows_and_nothing_else() {
        assert_eq!(Scope::parse("b a b").unwrap().as_str(), "b a");
        assert_eq!(Scope::parse("").unwrap().as_str(), "");
        for text in [" ", "a  b", " a", "a ", "a\"b", "a\\b", "a\tb", "ä"] {
            assert!(Scope::parse(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn narrows_and_never_widens() {
        let granted = Scope::parse("read write").unwrap();
        assert_eq!(granted.narrowed(None).unwrap(), granted);
        assert_eq!(granted.narrowed(Some("write")).unwrap().as_str(), "write");
        assert!(granted.narrowed(Some("read admin")).is_err());
        assert!(granted.narrowed(Some("rea")).is_err());
    }
}
