//! Refresh tokens that browsers keep: in a cookie that no script reads, and that goes to our endpoints alone. Only for
//! clients that are registered so; theirs is in no answer, and is refreshed from nowhere else.

use std::time::Duration;

use url::{Host, Url};

use super::OAuthError;
use super::client::Client;
use crate::jose::thumbprint::Thumbprint;

/// What a browser adds to a request, as it was presented.
#[derive(Clone, Debug, Default)]
pub struct PresentedBrowser<'a> {
    /// The `Cookie` headers; HTTP/2 may have several (RFC 9113 §8.2.3).
    pub cookies: Vec<&'a str>,
    /// The `Origin` header: the page that the request comes from (RFC 6454 §7). One that cannot be read is `""`.
    pub origin: Option<&'a str>,
}

/// The cookies of the token endpoint and the revocation endpoint.
pub(super) struct RefreshCookies {
    path: String,
    origin: String,
    is_secure: bool,
}

/// A cookie to set (RFC 6265 §4.1). No `Debug`, which would put the token into a log.
pub struct RefreshCookie(String);

impl std::fmt::Debug for RefreshCookie {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("RefreshCookie")
    }
}

impl RefreshCookie {
    /// The value of `Set-Cookie`.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl RefreshCookies {
    /// Those of the token endpoint at `token_url`, as browsers know it, and of its neighbour for revocation.
    pub(super) fn new(token_url: &Url) -> Self {
        // What both are below (RFC 6265 §5.1.4). The other endpoints there are ours too, and look at no cookie; a path for
        // each would be two cookies, of which one is left behind by each change.
        let path = token_url.path().rsplit_once('/').map_or("", |(parent, _)| parent);
        let path = if path.is_empty() { "/" } else { path }.to_owned();
        Self { path, origin: token_url.origin().ascii_serialization(), is_secure: token_url.scheme() == "https" }
    }

    /// The name of the cookie of `client`.
    fn name(&self, client: &Client) -> String {
        // The prefix has browsers take it only with Secure; `__Host-` would have its path be "/" (RFC 6265bis §4.1.3).
        let prefix = if self.is_secure { "__Secure-" } else { "" };
        let is_plain = client.id.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(&byte));
        match is_plain {
            true => format!("{prefix}mintkeep-refresh-{}", client.id),
            // A name has fewer characters than an id. No plain one has a "~".
            false => format!("{prefix}mintkeep-refresh~{}", Thumbprint::of(client.id.as_bytes())),
        }
    }

    /// The cookie that has `token`, of `client`, for as long as that may be of use.
    pub(super) fn set(&self, client: &Client, token: &str, lives_for: Duration) -> RefreshCookie {
        self.cookie(client, token, lives_for.as_secs())
    }

    /// Has the browser forget the cookie of `client`.
    pub(super) fn removal(&self, client: &Client) -> RefreshCookie {
        self.cookie(client, "", 0)
    }

    fn cookie(&self, client: &Client, token: &str, seconds: u64) -> RefreshCookie {
        let name = self.name(client);
        let secure = if self.is_secure { "; Secure" } else { "" };
        let path = &self.path;
        RefreshCookie(format!("{name}={token}; Max-Age={seconds}; Path={path}; HttpOnly{secure}; SameSite=Strict"))
    }

    /// Refuses what a page of somebody else's sent: with `SameSite` a browser sends the cookie from no other site, and
    /// other origins of the same one may be somebody else's too.
    pub(super) fn check_origin(&self, client: &Client, browser: &PresentedBrowser<'_>) -> Result<(), OAuthError> {
        let Some(origin) = browser.origin else { return Ok(()) };
        let is_clients = || client.redirect_uris.iter().any(|uri| is_of(uri.as_str(), origin));
        if origin == self.origin || is_clients() {
            return Ok(());
        }
        Err(OAuthError::InvalidRequest("the request comes from a page that is not the client's"))
    }

    /// The refresh token of `client`.
    pub(super) fn find<'a>(&self, client: &Client, browser: &PresentedBrowser<'a>) -> Result<&'a str, OAuthError> {
        let name = self.name(client);
        let pairs =
            browser.cookies.iter().flat_map(|line| line.split(';')).filter_map(|pair| pair.trim().split_once('='));
        let mut found = pairs.filter(|(known, _)| *known == name).map(|(_, value)| value);
        match (found.next(), found.next()) {
            (Some(token), None) => Ok(token),
            (None, _) => {
                Err(OAuthError::InvalidRequest("the refresh token of this client is in its cookie: expected that"))
            }
            (Some(_), Some(_)) => {
                Err(OAuthError::InvalidRequest("the cookie of the client is included more than once"))
            }
        }
    }
}

/// Whether a page of `origin` is of the place of `redirect_uri`: at a loopback address on whatever port.
fn is_of(redirect_uri: &str, origin: &str) -> bool {
    let (Ok(registered), Ok(presented)) = (Url::parse(redirect_uri), Url::parse(origin)) else { return false };
    // An origin is scheme, host and port, and nothing else.
    if registered.origin().ascii_serialization() == origin {
        return registered.origin().is_tuple();
    }
    let is_loopback = match registered.host() {
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        Some(Host::Domain(_)) | None => false,
    };
    let has_same_host =
        registered.scheme() == "http" && presented.scheme() == "http" && registered.host() == presented.host();
    is_loopback && has_same_host && presented.origin().ascii_serialization() == origin
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oauth::client::tests::client;
    use crate::oauth::redirect_uri::RedirectUri;

    fn cookies(url: &str) -> RefreshCookies {
        RefreshCookies::new(&Url::parse(url).unwrap())
    }

    #[test]
    fn a_cookie_is_for_our_endpoints_alone_and_for_no_script() {
        let set = |url, id| cookies(url).set(&client(id), "a.b", Duration::from_secs(60)).as_str().to_owned();
        assert_eq!(
            set("https://mint.example/base/oauth/token", "web"),
            "__Secure-mintkeep-refresh-web=a.b; Max-Age=60; Path=/base/oauth; HttpOnly; Secure; SameSite=Strict"
        );
        // A browser takes no such prefix over http.
        assert_eq!(
            set("http://127.0.0.1:1/oauth/token", "web"),
            "mintkeep-refresh-web=a.b; Max-Age=60; Path=/oauth; HttpOnly; SameSite=Strict"
        );
        // A cookie is removed by one with its name and its path (RFC 6265 §5.3).
        assert_eq!(
            cookies("https://mint.example/base/oauth/token").removal(&client("web")).as_str(),
            "__Secure-mintkeep-refresh-web=; Max-Age=0; Path=/base/oauth; HttpOnly; Secure; SameSite=Strict"
        );
        let odd = set("http://127.0.0.1:1/oauth/token", "a=b; c");
        assert!(odd.starts_with("mintkeep-refresh~") && odd.split('=').count() == 5, "{odd}");
        assert!(!format!("{:?}", cookies("https://a/").set(&client("web"), "a.b", Duration::ZERO)).contains("a.b"));
    }

    #[test]
    fn the_token_is_the_one_of_the_client() {
        let cookies = cookies("https://mint.example/oauth/token");
        let find = |lines: &[&'static str]| {
            let browser = PresentedBrowser { cookies: lines.to_vec(), origin: None };
            cookies.find(&client("web"), &browser).map(str::to_owned)
        };
        let found = Ok("a.b=".to_owned());
        assert_eq!(find(&["__Secure-mintkeep-refresh-web=a.b="]), found);
        assert_eq!(find(&["x=y; __Secure-mintkeep-refresh-web=a.b=; __Secure-mintkeep-refresh-web2=c"]), found);
        assert_eq!(find(&["x=y", "__Secure-mintkeep-refresh-web=a.b="]), found);
        for none in [&[][..], &[""], &["mintkeep-refresh-web=a"], &["__secure-mintkeep-refresh-web=a"]] {
            assert!(find(none).is_err(), "{none:?}");
        }
        let twice = "__Secure-mintkeep-refresh-web=a";
        assert!(find(&[twice, twice]).is_err());
    }

    #[test]
    fn a_page_has_to_be_the_clients_or_ours() {
        let uris = ["https://app.example/callback", "http://127.0.0.1/callback", "com.example.app:/callback"];
        let mut client = client("web");
        client.redirect_uris = uris.iter().map(|uri| RedirectUri::parse(uri).unwrap()).collect();
        let cookies = cookies("https://mint.example/oauth/token");
        let check = |origin: Option<&'static str>| {
            cookies.check_origin(&client, &PresentedBrowser { cookies: Vec::new(), origin }).is_ok()
        };
        let good = ["https://mint.example", "https://app.example", "http://127.0.0.1", "http://127.0.0.1:4321"];
        assert!(check(None) && good.into_iter().all(|origin| check(Some(origin))));
        for wrong in [
            "https://other.example",
            "http://app.example",
            "https://app.example:444",
            "https://app.example.evil.example",
            "https://app.example/",
            "http://localhost:4321",
            "http://127.0.0.2",
            "https://127.0.0.1:4321",
            "com.example.app:",
            "null",
            "",
        ] {
            assert!(!check(Some(wrong)), "{wrong}");
        }
    }
}
