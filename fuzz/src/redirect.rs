//! A redirect URI to register, one that is presented, and a state; each on a line of its own.

use std::str;

use mintkeep::oauth::authorization::AuthorizationRequest;
use mintkeep::oauth::redirect_uri::RedirectUri;
use serde_json::json;
use url::{Host, Url};

use super::reading::first_line;
use super::scene::ISSUER;

/// Registers the one, and sends the answer to the other.
pub fn run(data: &[u8]) -> bool {
    let (registered, rest) = first_line(data);
    let (presented, state) = first_line(rest);
    let texts = (str::from_utf8(registered), str::from_utf8(presented), str::from_utf8(state));
    let (Ok(registered), Ok(presented), Ok(state)) = texts else { return false };
    let Ok(uri) = RedirectUri::parse(registered) else { return false };
    assert!(uri.is(registered));
    check_registered(registered);
    if !uri.is(presented) {
        return false;
    }
    check_same(registered, presented);
    check_answer(presented, state);
    true
}

fn parsed(uri: &str) -> Url {
    Url::parse(uri).unwrap_or_else(|error| panic!("{uri:?} was taken, and is no URL: {error}"))
}

fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        Some(Host::Domain(name)) => name == "localhost",
        None => false,
    }
}

fn check_registered(registered: &str) {
    let url = parsed(registered);
    assert!(url.fragment().is_none() && url.username().is_empty() && url.password().is_none(), "{url}");
    match url.scheme() {
        "https" => assert!(url.has_host(), "{url}"),
        "http" => assert!(is_loopback(&url), "{url}"),
        scheme => assert!(scheme.contains('.'), "{url}"),
    }
    assert!(registered.is_ascii() && !registered.bytes().any(|byte| byte.is_ascii_control()), "{registered:?}");
}

/// What was taken leads to where the registered one does.
fn check_same(registered: &str, presented: &str) {
    let (expected, mut found) = (parsed(registered), parsed(presented));
    if matches!(expected.host_str(), Some("127.0.0.1" | "[::1]")) && expected.scheme() == "http" {
        found.set_port(expected.port()).expect("http has a port");
    }
    assert_eq!(found, expected);
}

/// The answer goes there, and has nothing of ours that the state made up.
fn check_answer(redirect_uri: &str, state: &str) {
    let request = json!({
        "client_id": "web-app", "redirect_uri": redirect_uri, "scope": "", "state": state,
        "code_challenge": "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM",
    });
    let request: AuthorizationRequest = serde_json::from_value(request).expect("a request");
    let (mut expected, found) = (parsed(redirect_uri), parsed(&request.granted(ISSUER, "the code")));
    let pairs = |url: &Url| url.query_pairs().into_owned().collect::<Vec<(String, String)>>();
    let mut all = pairs(&expected);
    all.extend(
        [("code", "the code"), ("state", state), ("iss", ISSUER)].map(|(name, value)| (name.into(), value.into())),
    );
    assert_eq!(pairs(&found), all, "{found}");
    expected.set_query(found.query());
    assert_eq!(found, expected);
}
