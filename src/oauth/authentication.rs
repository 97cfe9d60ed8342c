//! Client authentication (RFC 6749 §2.3): presented credentials in, a proven client out.

use std::borrow::Cow;

use subtle::Choice;

use super::OAuthError;
use super::client::{Client, ClientAuthentication, ClientRegistry, SecretTransport};
use super::parameters::PresentedParameters;
use super::resource_server::ResourceServer;
use super::secret::SecretHash;
use crate::jose::Malformed;

/// Said whatever was wrong: which clients exist, and how they prove themselves, is not told.
const FAILED: OAuthError = OAuthError::InvalidClient("client authentication failed");

/// A client that proved itself, as far as it is registered to. Only [`authenticate`] makes one.
#[derive(Clone, Copy, Debug)]
pub struct AuthenticatedClient<'a>(&'a Client);

impl<'a> AuthenticatedClient<'a> {
    /// The registration.
    pub fn client(self) -> &'a Client {
        self.0
    }
}

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

/// The credentials of a request, wherever they were.
enum PresentedCredentials<'a> {
    /// Only a name.
    Name(&'a str),
    /// A name and a secret.
    Secret { id: Cow<'a, str>, secret: Cow<'a, str>, transport: SecretTransport },
}

impl<'a> PresentedCredentials<'a> {
    fn of(basic: Option<&PresentedBasic>, parameters: &'a PresentedParameters<'_>) -> Result<Self, OAuthError> {
        let in_form = parameters.find("client_secret");
        let named = parameters.find("client_id");
        if basic.is_some() && in_form.is_some() {
            return Err(OAuthError::InvalidRequest("credentials are presented in two places"));
        }
        if let Some(basic) = basic {
            let (id, secret) = basic.id_and_secret();
            if named.is_some_and(|named| named != id) {
                return Err(OAuthError::InvalidRequest("client_id is not the client of the Authorization header"));
            }
            return Ok(Self::Secret { id: id.into(), secret: secret.into(), transport: SecretTransport::Basic });
        }
        let id = named.ok_or(OAuthError::InvalidClient("client_id or an Authorization header is required"))?;
        Ok(match in_form {
            Some(secret) => Self::Secret { id: id.into(), secret: secret.into(), transport: SecretTransport::Post },
            None => Self::Name(id),
        })
    }

    fn id(&self) -> &str {
        match self {
            Self::Name(id) => id,
            Self::Secret { id, .. } => id,
        }
    }

    fn into_id(self) -> Cow<'a, str> {
        match self {
            Self::Name(id) => id.into(),
            Self::Secret { id, .. } => id,
        }
    }

    /// Whether they prove what was registered, if anything was: in the same time for every reason.
    fn prove(&self, registered: Option<&ClientAuthentication>) -> bool {
        match self {
            Self::Name(_) => registered == Some(&ClientAuthentication::None),
            Self::Secret { secret, transport, .. } => proves(registered, secret, *transport),
        }
    }
}

fn proves(registered: Option<&ClientAuthentication>, secret: &str, used: SecretTransport) -> bool {
    let presented = SecretHash::of(secret);
    // Nobody's secret costs the same comparison as somebody's.
    let nobody = [SecretHash([0; 32])];
    let (hashes, usable): (&[SecretHash], bool) = match registered {
        Some(ClientAuthentication::Secret { transport, hashes }) => {
            (hashes, *transport == used || *transport == SecretTransport::BasicOrPost)
        }
        Some(ClientAuthentication::None) | None => (&nobody, false),
    };
    let matches = hashes.iter().fold(Choice::from(0), |any, hash| any | hash.matches(&presented));
    bool::from(matches) && usable
}

/// Whom the request's credentials name, proven or not; `None` where they name nobody, or two.
pub fn claimed_id<'a>(basic: Option<&PresentedBasic>, parameters: &'a PresentedParameters<'_>) -> Option<Cow<'a, str>> {
    PresentedCredentials::of(basic, parameters).ok().map(PresentedCredentials::into_id)
}

/// The client that the request's credentials prove.
///
/// # Errors
/// [`OAuthError::InvalidRequest`] where credentials are in two places or name two clients;
/// [`OAuthError::InvalidClient`] where they prove nothing, in the same time for every reason.
pub fn authenticate<'a>(
    clients: &'a ClientRegistry,
    basic: Option<&PresentedBasic>,
    parameters: &PresentedParameters<'_>,
) -> Result<AuthenticatedClient<'a>, OAuthError> {
    let credentials = PresentedCredentials::of(basic, parameters)?;
    let client = clients.find(credentials.id());
    match client {
        _ if !credentials.prove(client.map(|client| &client.authentication)) => Err(FAILED),
        Some(client) => Ok(AuthenticatedClient(client)),
        None => Err(FAILED),
    }
}

/// The resource server that the request's credentials prove.
///
/// # Errors
/// As [`authenticate`].
pub fn authenticate_resource_server<'a>(
    servers: &'a [ResourceServer],
    basic: Option<&PresentedBasic>,
    parameters: &PresentedParameters<'_>,
) -> Result<&'a ResourceServer, OAuthError> {
    let credentials = PresentedCredentials::of(basic, parameters)?;
    let server = servers.iter().find(|server| server.id == credentials.id());
    match server {
        _ if !credentials.prove(server.map(|server| &server.authentication)) => Err(FAILED),
        Some(server) => Ok(server),
        None => Err(FAILED),
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
