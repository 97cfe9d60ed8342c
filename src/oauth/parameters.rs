//! The form of a token request: parameters once each but for a few, empty ones left out, unknown ones ignored
//! (RFC 6749 §3.2).

use std::borrow::Cow;

use super::OAuthError;

/// More than any request has; what is compared with each other has to be few.
const MOST_PARAMETERS: usize = 32;

/// Those that may be there several times (RFC 8707 §2, RFC 8693 §2.1).
const REPEATABLE: [&str; 2] = ["resource", "audience"];

/// The parameters of a request, and no judgement on them.
#[derive(Debug, Default)]
pub struct PresentedParameters<'a> {
    values: Vec<(Cow<'a, str>, Cow<'a, str>)>,
    /// The names of those that are there more often than they may.
    repeated: Vec<Cow<'a, str>>,
}

const REPEATED: OAuthError = OAuthError::InvalidRequest("a parameter is included more than once");

impl<'a> PresentedParameters<'a> {
    /// Reads `application/x-www-form-urlencoded`.
    ///
    /// # Errors
    /// [`OAuthError::InvalidRequest`] where a parameter is repeated, known to us or not, or where the body
    /// is not UTF-8.
    pub fn parse(body: &'a [u8]) -> Result<Self, OAuthError> {
        let parameters = Self::parse_repeated(body)?;
        if parameters.has_repeated() { Err(REPEATED) } else { Ok(parameters) }
    }

    /// As [`Self::parse`], for who has to find out first whom to tell of a parameter that is repeated: by
    /// [`Self::find_once`] and [`Self::has_repeated`].
    ///
    /// # Errors
    /// [`OAuthError::InvalidRequest`] where there are too many parameters, or the body is not UTF-8.
    pub fn parse_repeated(body: &'a [u8]) -> Result<Self, OAuthError> {
        Self::of_pairs(form_urlencoded::parse(body))
    }

    /// Those in `pairs`.
    ///
    /// # Errors
    /// As [`Self::parse_repeated`].
    pub fn of_pairs(pairs: impl IntoIterator<Item = (Cow<'a, str>, Cow<'a, str>)>) -> Result<Self, OAuthError> {
        let (mut values, mut repeated): (Vec<(Cow<'a, str>, Cow<'a, str>)>, _) = (Vec::with_capacity(8), Vec::new());
        for (name, value) in pairs {
            // Each is compared with all before it.
            if values.len() == MOST_PARAMETERS {
                return Err(OAuthError::InvalidRequest("more parameters than any request has"));
            }
            if values.iter().any(|(known, _)| *known == name) && !REPEATABLE.contains(&name.as_ref()) {
                repeated.push(name.clone());
            }
            // What form decoding puts in place of bytes that are no UTF-8.
            if name.contains('\u{fffd}') || value.contains('\u{fffd}') {
                return Err(OAuthError::InvalidRequest("expected UTF-8"));
            }
            values.push((name, value));
        }
        Ok(Self { values, repeated })
    }

    /// Whether any parameter is there more often than it may.
    pub fn has_repeated(&self) -> bool {
        !self.repeated.is_empty()
    }

    /// As [`Self::find`].
    ///
    /// # Errors
    /// [`OAuthError::InvalidRequest`] where `name` is repeated.
    pub fn find_once(&self, name: &str) -> Result<Option<&str>, OAuthError> {
        if self.repeated.iter().any(|repeated| repeated == name) {
            return Err(REPEATED);
        }
        Ok(self.find(name))
    }

    /// The value of `name`; `None` also where it is empty, which counts as left out.
    pub fn find(&self, name: &str) -> Option<&str> {
        let value = self.values.iter().find(|(known, _)| known == name)?.1.as_ref();
        (!value.is_empty()).then_some(value)
    }

    /// The values of `name`, which may be there several times, without empty ones.
    pub fn find_all<'b>(&'b self, name: &'b str) -> impl Iterator<Item = &'b str> {
        let values = self.values.iter().filter(move |(known, _)| known == name).map(|(_, value)| value.as_ref());
        values.filter(|value| !value.is_empty())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repeated_parameters_are_refused_also_when_empty_or_unknown() {
        for body in ["a=1&a=2", "a=&a=", "unknown&unknown"] {
            assert!(PresentedParameters::parse(body.as_bytes()).is_err(), "{body}");
        }
    }

    #[test]
    fn what_may_be_repeated_is_found_each_time() {
        let parameters = PresentedParameters::parse(b"resource=a&resource=&resource=b").unwrap();
        assert_eq!(parameters.find_all("resource").collect::<Vec<_>>(), ["a", "b"]);
    }

    #[test]
    fn an_empty_parameter_counts_as_left_out_and_escapes_are_undone() {
        let parameters = PresentedParameters::parse(b"scope=&client_id=a%20b+c").unwrap();
        assert_eq!(parameters.find("scope"), None);
        assert_eq!(parameters.find("client_id"), Some("a b c"));
        assert!(PresentedParameters::parse(b"a=%ff").is_err());
    }
}
