//! Redirect URIs: where a browser is sent with a code, an error, or after a logout (RFC 6749 §3.1.2). One is taken only
//! where it is registered, character for character (RFC 9700 §4.1.3); so nobody has two readings of it.

use std::fmt;

use url::{Host, Url};

/// Bytes. Longer ones do not get through every browser, and are stored with each login.
const LONGEST: usize = 2000;

/// What we add to the query, so that no registered URI has it already (RFC 6749 §4.1.2, RFC 9207).
const ANSWERED: [&str; 5] = ["code", "state", "iss", "error", "error_description"];

/// The loopback addresses that native applications listen at, on whatever port the system gives them (RFC 8252 §7.3).
const LOOPBACK: [&str; 2] = ["http://127.0.0.1", "http://[::1]"];

/// A registered redirect URI.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct RedirectUri(String);

/// Why a text can be no redirect URI.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum RedirectUriError {
    /// It is too long.
    #[error("expected at the most {LONGEST} bytes")]
    TooLong,
    /// It is none, or not as it would be written by the rules of URLs: by these it has two readings.
    #[error("expected an absolute URI in its normal form: lower case host, no default port, no \"..\", no white space")]
    NotNormal,
    /// It looks like many.
    #[error("expected no \"*\": a redirect URI is compared character for character")]
    Wildcard,
    /// RFC 6749 §3.1.2.
    #[error("expected no fragment")]
    Fragment,
    /// A user or a password.
    #[error("expected no user and no password")]
    User,
    /// What is sent there, anybody on the way could read or take.
    #[error(
        "expected https, http at a loopback host, or a scheme of the application's own that is a domain name in reverse, such as com.example.app:/callback (RFC 8252 §7.1)"
    )]
    Scheme,
    /// Its query has what we answer there.
    #[error("expected a query without code, state, iss, error and error_description")]
    Query,
}

impl RedirectUri {
    /// Reads one to register.
    ///
    /// # Errors
    /// [`RedirectUriError`].
    pub fn parse(text: &str) -> Result<Self, RedirectUriError> {
        if text.len() > LONGEST {
            return Err(RedirectUriError::TooLong);
        }
        let url = Url::parse(text).map_err(|_| RedirectUriError::NotNormal)?;
        if text.contains('*') {
            return Err(RedirectUriError::Wildcard);
        }
        if text.contains('#') {
            return Err(RedirectUriError::Fragment);
        }
        if !url.username().is_empty() || url.password().is_some() || url.host().is_some() && text.contains('@') {
            return Err(RedirectUriError::User);
        }
        // The slash of an empty path may be left out.
        if url.as_str() != text && !(url.path() == "/" && url.as_str().strip_suffix('/') == Some(text)) {
            return Err(RedirectUriError::NotNormal);
        }
        let is_safe = match url.scheme() {
            "https" => url.host().is_some(),
            "http" => is_loopback(&url),
            // Without a dot it could be anybody's, `javascript` and `data` among them.
            scheme => scheme.contains('.'),
        };
        if !is_safe {
            return Err(RedirectUriError::Scheme);
        }
        if url.query_pairs().any(|(name, _)| ANSWERED.contains(&name.as_ref())) {
            return Err(RedirectUriError::Query);
        }
        Ok(Self(text.to_owned()))
    }

    /// Whether `presented` is this one: the same text, where only the port may be another at a loopback address.
    pub fn is(&self, presented: &str) -> bool {
        if self.0 == presented {
            return true;
        }
        let parts = LOOPBACK.iter().find_map(|address| Some((without_port(&self.0, address)?, address)));
        parts.is_some_and(|(rest, address)| without_port(presented, address) == Some(rest))
    }

    /// As it was registered.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for RedirectUri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        Some(Host::Domain(name)) => name == "localhost",
        None => false,
    }
}

/// What follows the authority of `uri` where that is `address`, at any port or at none.
fn without_port<'a>(uri: &'a str, address: &str) -> Option<&'a str> {
    let rest = uri.strip_prefix(address)?;
    let rest = match rest.strip_prefix(':') {
        None => rest,
        Some(port) => {
            let end = port.find(|character: char| !character.is_ascii_digit()).unwrap_or(port.len());
            // As a browser writes it, which has no leading zero.
            let (digits, rest) = port.split_at(end);
            let number: u16 = digits.parse().ok().filter(|number| *number > 0)?;
            (number.to_string() == digits).then_some(rest)?
        }
    };
    // The authority ends here: no further digit, letter or `@` belongs to the host.
    (rest.is_empty() || rest.starts_with(['/', '?'])).then_some(rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_can_be_registered_has_one_reading() {
        use RedirectUriError as Error;
        for text in [
            "https://app.example.com/callback",
            "https://app.example.com",
            "https://app.example.com:8443/a?b=c",
            "http://127.0.0.1/callback",
            "http://[::1]:8080/callback",
            "http://localhost:3000/callback",
            "com.example.app:/callback",
        ] {
            assert_eq!(RedirectUri::parse(text).map(|uri| uri.to_string()), Ok(text.to_owned()));
        }
        for (text, error) in [
            ("https://app.example.com/callback#part", Error::Fragment),
            ("https://app.example.com/#", Error::Fragment),
            ("https://user@app.example.com/", Error::User),
            ("https://user:password@app.example.com/", Error::User),
            ("https://@app.example.com/", Error::User),
            ("https://*.example.com/", Error::Wildcard),
            ("https://app.example.com/*", Error::Wildcard),
            ("https://APP.example.com/", Error::NotNormal),
            ("HTTPS://app.example.com/", Error::NotNormal),
            ("https://app.example.com:443/", Error::NotNormal),
            ("https://app.example.com/a/../b", Error::NotNormal),
            ("https://app.example.com\\@evil.example", Error::User),
            ("https://app.example.com\\b", Error::NotNormal),
            ("https://app.example.com/a b", Error::NotNormal),
            (" https://app.example.com/", Error::NotNormal),
            ("https:app.example.com/", Error::NotNormal),
            ("/callback", Error::NotNormal),
            ("", Error::NotNormal),
            ("http://app.example.com/", Error::Scheme),
            ("http://127.0.0.1.example.com/", Error::Scheme),
            ("javascript:alert(1)", Error::Scheme),
            ("data:text/html,a", Error::Scheme),
            ("app:/callback", Error::Scheme),
            ("https://app.example.com/?state=a", Error::Query),
            ("https://app.example.com/?a=b&%63ode=c", Error::Query),
        ] {
            assert_eq!(RedirectUri::parse(text).err(), Some(error), "{text:?}");
        }
        let long = format!("https://app.example.com/{}", "a".repeat(LONGEST));
        assert_eq!(RedirectUri::parse(&long).err(), Some(Error::TooLong));
    }

    #[test]
    fn one_is_itself_and_only_a_loopback_port_may_differ() {
        let is = |registered: &str, presented: &str| RedirectUri::parse(registered).unwrap().is(presented);
        let web = "https://app.example.com/callback";
        assert!(is(web, web));
        for other in [
            "https://app.example.com/callback/",
            "https://app.example.com:8443/callback",
            "https://app.example.com./callback",
            "https://APP.example.com/callback",
            "https://app.example.com/callback?a",
            "https://app.example.com/callback#",
            "https://app.example.com/x/../callback",
            "https://app.example.com/%63allback",
            "http://app.example.com/callback",
        ] {
            assert!(!is(web, other), "{other}");
        }
        for registered in ["http://127.0.0.1/callback", "http://127.0.0.1:8080/callback"] {
            for port in ["", ":1", ":8080", ":65535"] {
                assert!(is(registered, &format!("http://127.0.0.1{port}/callback")), "{port}");
            }
            for other in [
                "http://127.0.0.1:/callback",
                "http://127.0.0.1:0/callback",
                "http://127.0.0.1:080/callback",
                "http://127.0.0.1:65536/callback",
                "http://127.0.0.1:80@evil.example/callback",
                "http://127.0.0.1:8080.evil.example/callback",
                "http://127.0.0.1.evil.example/callback",
                "http://127.0.0.11/callback",
                "http://127.0.0.1:8080/other",
                "http://127.0.0.1:8080/callback?a=b",
                "https://127.0.0.1:8080/callback",
                "http://[::1]:8080/callback",
                "http://localhost:8080/callback",
            ] {
                assert!(!is(registered, other), "{other}");
            }
        }
        assert!(is("http://[::1]/", "http://[::1]:49152/"));
        assert!(is("http://127.0.0.1", "http://127.0.0.1:49152"));
        // A name is whatever somebody says that it is (RFC 8252 §8.3): no other port there.
        assert!(!is("http://localhost:3000/callback", "http://localhost:3001/callback"));
    }
}
