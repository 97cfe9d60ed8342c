//! `issuer`: who issues.

use url::Url;

/// An issuer identifier (RFC 8414 §2): an URL without query, fragment or slash at its end.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct IssuerIdentifier {
    text: String,
    path: String,
}

impl IssuerIdentifier {
    /// Reads an identifier.
    ///
    /// # Errors
    /// What was expected, for the operator.
    pub fn parse(text: &str) -> Result<Self, String> {
        let expected = "expected an https URL without query, fragment or slash at its end";
        let url = Url::parse(text).map_err(|error| format!("{expected}: {error}"))?;
        if url.scheme() != "https" && !(url.scheme() == "http" && is_loopback(&url)) {
            return Err(format!("{expected} (http is accepted for a loopback host only)"));
        }
        if url.query().is_some()
            || url.fragment().is_some()
            || text.ends_with('/')
            || !url.username().is_empty()
            || url.password().is_some()
        {
            return Err(expected.to_owned());
        }
        // What the parser had to repair would be repaired in different ways by different readers.
        let normal = url.as_str().trim_end_matches('/');
        if normal != text {
            return Err(format!("{expected}, written as {normal}"));
        }
        let path = url.path().trim_end_matches('/').to_owned();
        // These would be patterns to the router.
        if path.contains(['{', '}']) || path.split('/').any(|segment| segment.starts_with([':', '*'])) {
            return Err(expected.to_owned());
        }
        Ok(Self { text: text.to_owned(), path })
    }

    /// The identifier, as tokens carry it.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The URL of what is at `path`, which begins with a slash, below it.
    pub fn endpoint(&self, path: &str) -> Url {
        Url::parse(&format!("{}{path}", self.text)).expect("an identifier with a path is an URL")
    }

    /// Its path, empty or beginning with a slash.
    pub fn path(&self) -> &str {
        &self.path
    }
}

/// Whether the host of `url` is this machine.
pub(super) fn is_loopback(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default();
    host == "localhost"
        || host.trim_matches(['[', ']']).parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}
