//! The credentials of a request, wherever they are, and no judgement on them.

use std::borrow::Cow;

use super::assertion::{ASSERTION_TYPE, PresentedAssertion};
use crate::jose::Malformed;
use crate::oauth::OAuthError;
use crate::oauth::client::SecretTransport;
use crate::oauth::request::PresentedRequest;

/// The credentials of an `Authorization: Basic` header, still percent-encoded (RFC 6749 §2.3.1).
#[derive(Debug)]
pub struct PresentedBasic(String);

impl PresentedBasic {
    /// Takes the decoded `id:secret` of the header.
    ///
    /// # Errors
    /// [`Malformed`] where the value is not base64 of UTF-8 text with a colon.
    pub fn parse(value: &str) -> Result<Self, Malformed> {
        use base64::Engine as _;
        let bytes = base64::engine::general_purpose::STANDARD.decode(value).map_err(|_| Malformed::Base64)?;
        let text = String::from_utf8(bytes).map_err(|_| Malformed::Base64)?;
        if text.contains(':') { Ok(Self(text)) } else { Err(Malformed::Parts { expected: 2 }) }
    }

    fn id_and_secret(&self) -> (String, String) {
        let (id, secret) = self.0.split_once(':').unwrap_or((&self.0, ""));
        (form_decoded(id), form_decoded(secret))
    }
}

/// Undoes the form encoding that RFC 6749 §2.3.1 applies to each half.
fn form_decoded(text: &str) -> String {
    // One name without a value is what a lone encoded string looks like to the form parser, as long as
    // nothing in it separates: those two are encoded in a conforming header, and stand for themselves else.
    if text.contains(['&', '=']) {
        return text.to_owned();
    }
    form_urlencoded::parse(text.as_bytes()).next().map(|(name, _)| name.into_owned()).unwrap_or_default()
}

/// The credentials of a request. A certificate may come with a mere name.
pub(super) enum PresentedCredentials<'a> {
    /// Only a name.
    Name(&'a str),
    /// A name and a secret.
    Secret { id: Cow<'a, str>, secret: Cow<'a, str>, transport: SecretTransport },
    /// A name, and a JWT of its bearer's.
    Assertion { id: String, assertion: Box<PresentedAssertion<'a>> },
}

impl<'a> PresentedCredentials<'a> {
    pub(super) fn of(request: &'a PresentedRequest<'_>) -> Result<Self, OAuthError> {
        let parameters = &request.parameters;
        let in_form = parameters.find("client_secret");
        let named = parameters.find("client_id");
        let assertion = parameters.find("client_assertion");
        if usize::from(request.basic.is_some()) + usize::from(in_form.is_some()) + usize::from(assertion.is_some()) > 1
        {
            return Err(OAuthError::InvalidRequest("credentials are presented in two places"));
        }
        if let Some(basic) = &request.basic {
            let (id, secret) = basic.id_and_secret();
            if named.is_some_and(|named| named != id) {
                return Err(OAuthError::InvalidRequest("client_id is not the client of the Authorization header"));
            }
            return Ok(Self::Secret { id: id.into(), secret: secret.into(), transport: SecretTransport::Basic });
        }
        if let Some(assertion) = assertion {
            return Self::of_assertion(assertion, parameters.find("client_assertion_type"), named);
        }
        let id = named.ok_or(OAuthError::InvalidClient("client_id or an Authorization header is required"))?;
        Ok(match in_form {
            Some(secret) => Self::Secret { id: id.into(), secret: secret.into(), transport: SecretTransport::Post },
            None => Self::Name(id),
        })
    }

    fn of_assertion(text: &'a str, kind: Option<&str>, named: Option<&str>) -> Result<Self, OAuthError> {
        if kind != Some(ASSERTION_TYPE) {
            return Err(OAuthError::InvalidRequest(
                "expected client_assertion_type=urn:ietf:params:oauth:client-assertion-type:jwt-bearer",
            ));
        }
        let assertion = PresentedAssertion::parse(text)
            .map_err(|_| OAuthError::InvalidClient("expected client_assertion to be a signed JWT"))?;
        // RFC 7521 §4.2: client_id is not needed, because the assertion says it.
        let subject = assertion.subject().ok_or(OAuthError::InvalidClient("expected a sub in client_assertion"))?;
        if named.is_some_and(|named| named != subject) {
            return Err(OAuthError::InvalidRequest("client_id is not the client of the client_assertion"));
        }
        Ok(Self::Assertion { id: subject.to_owned(), assertion: Box::new(assertion) })
    }

    pub(super) fn id(&self) -> &str {
        match self {
            Self::Name(id) => id,
            Self::Secret { id, .. } => id,
            Self::Assertion { id, .. } => id,
        }
    }

    pub(super) fn into_id(self) -> Cow<'a, str> {
        match self {
            Self::Name(id) => id.into(),
            Self::Secret { id, .. } => id,
            Self::Assertion { id, .. } => id.into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_halves_of_a_basic_header_are_form_decoded() {
        use base64::Engine as _;
        let header = |text: &str| {
            PresentedBasic::parse(&base64::engine::general_purpose::STANDARD.encode(text)).unwrap().id_and_secret()
        };
        assert_eq!(header("a%3Ab:p%25+q"), ("a:b".to_owned(), "p% q".to_owned()));
        assert_eq!(header("id:with:colon"), ("id".to_owned(), "with:colon".to_owned()));
        assert_eq!(header("id:"), ("id".to_owned(), String::new()));
        assert_eq!(header("id:raw&="), ("id".to_owned(), "raw&=".to_owned()));
        assert!(PresentedBasic::parse("!!!").is_err());
    }
}
