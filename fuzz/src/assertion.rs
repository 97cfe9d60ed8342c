//! A client assertion (RFC 7523 §2.2): the header on a line, then the claims. They are signed as they stand, and
//! presented by nobody but the assertion itself.

use std::sync::LazyLock;

use mintkeep::oauth::OAuthError;
use mintkeep::oauth::authentication::{ASSERTION_TYPE, Authenticator};
use mintkeep::oauth::parameters::PresentedParameters;
use mintkeep::oauth::registrations::CurrentRegistrations;
use mintkeep::oauth::request::PresentedRequest;
use serde_json::{Map, Value};

use super::once_store::{nothing_used, store};
use super::reading::{audience, first_line, is_typed, object, seconds, text};
use super::scene::{CLIENT, ISSUER, NOW, clock, configuration, finished, sign};

/// How far the client's clock may be off.
const LEEWAY: i64 = 30;

static REGISTERED: LazyLock<CurrentRegistrations> =
    LazyLock::new(|| CurrentRegistrations::new(configuration().registrations()));

/// Has the client prove itself, twice.
pub fn run(data: &[u8]) -> bool {
    let (header, claims) = first_line(data);
    let authenticator = Authenticator::new(REGISTERED.clone(), ISSUER.to_owned(), nothing_used(), store(), clock());
    let mut form = form_urlencoded::Serializer::new(String::new());
    form.append_pair("client_assertion_type", ASSERTION_TYPE).append_pair("client_assertion", &sign(header, claims));
    let form = form.finish();
    let parameters = PresentedParameters::parse(form.as_bytes()).expect("a form");
    let request = PresentedRequest { parameters, ..PresentedRequest::default() };
    match finished(authenticator.client(&request)) {
        Ok(proven) => assert_eq!(proven.client().id, CLIENT),
        Err(OAuthError::InvalidClient(_)) => return false,
        Err(other) => panic!("{other} says nothing of the assertion"),
    }
    check(&object(header), &object(claims));
    let again = finished(authenticator.client(&request));
    assert!(matches!(again, Err(OAuthError::InvalidClient(_))), "it was good twice");
    true
}

fn check(header: &Map<String, Value>, claims: &Map<String, Value>) {
    let is_typed = |typ| is_typed(header, typ);
    assert!(!header.contains_key("typ") || is_typed("jwt") || is_typed("client-authentication+jwt"), "typ");
    for claim in ["iss", "sub"] {
        assert_eq!(text(claims, claim), Some(CLIENT), "{claim}");
    }
    assert_eq!(audience(claims), [ISSUER]);
    assert!(text(claims, "jti").is_some_and(|jti| (1..=256).contains(&jti.len())), "jti");
    let ends = seconds(claims, "exp").expect("exp is there");
    assert!((NOW - LEEWAY + 1..=NOW + 3600 - LEEWAY).contains(&ends), "exp is {ends}");
    for claim in ["nbf", "iat"] {
        assert!(seconds(claims, claim).is_none_or(|time| time <= NOW + LEEWAY), "{claim}");
    }
}
