//! A form with the credentials of an `Authorization: Basic` header before it, on a line of its own.

use std::str;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use mintkeep::oauth::authentication::{PresentedBasic, claimed_id};
use mintkeep::oauth::parameters::PresentedParameters;
use mintkeep::oauth::request::PresentedRequest;
use mintkeep::oauth::scope::Scope;

use super::reading::first_line;

/// Reads the credentials and the form.
pub fn run(data: &[u8]) -> bool {
    let (credentials, body) = first_line(data);
    let parse_basic = || str::from_utf8(credentials).ok().and_then(|text| PresentedBasic::parse(text).ok());
    let Ok(parameters) = PresentedParameters::parse(body) else { return false };
    let pairs = pairs(body);
    check_parameters(&parameters, &pairs);
    if let Some(Ok(scope)) = parameters.find("scope").map(Scope::parse) {
        check_scope(&scope);
    }
    let value = |name: &str| {
        let (_, value) = pairs.iter().find(|(known, _)| known == name)?;
        (!value.is_empty()).then_some(value.as_str())
    };
    let places = ["client_secret", "client_assertion"].iter().filter(|name| value(name).is_some()).count();
    let named = value("client_id");
    let request = PresentedRequest { parameters, basic: parse_basic(), ..PresentedRequest::default() };
    let claimed = claimed_id(&request);
    let places = places + usize::from(request.basic.is_some());
    assert!(places <= 1 || claimed.is_none(), "credentials in {places} places");
    assert!(claimed.is_none() || named.is_none() || claimed.as_deref() == named, "{claimed:?} and {named:?}");
    if request.basic.is_some() && places == 1 && named.is_none() {
        check_basic(claimed.as_deref().expect("there is a name in the header"));
    }
    claimed.is_some()
}

fn check_parameters(parameters: &PresentedParameters<'_>, pairs: &[(String, String)]) {
    assert!(pairs.len() <= 32, "{} parameters", pairs.len());
    for (name, _) in pairs {
        let all: Vec<&str> = pairs.iter().filter(|(known, _)| known == name).map(|(_, value)| value.as_str()).collect();
        let not_empty: Vec<&str> = all.iter().copied().filter(|value| !value.is_empty()).collect();
        assert_eq!(parameters.find_all(name).collect::<Vec<_>>(), not_empty);
        if !["resource", "audience"].contains(&name.as_str()) {
            assert_eq!(all.len(), 1, "{name:?} is there several times");
            assert_eq!(parameters.find(name), not_empty.first().copied());
        }
    }
}

/// Who is named can be named in a header again.
fn check_basic(id: &str) {
    let encoded: String = form_urlencoded::byte_serialize(id.as_bytes()).collect();
    let basic = PresentedBasic::parse(&STANDARD.encode(format!("{encoded}:"))).expect("what is encoded is good");
    let request = PresentedRequest { basic: Some(basic), ..PresentedRequest::default() };
    assert_eq!(claimed_id(&request).as_deref(), Some(id));
}

fn check_scope(scope: &Scope) {
    let values: Vec<&str> = scope.values().collect();
    assert!(values.len() <= 128, "{} values", values.len());
    assert!(values.iter().enumerate().all(|(index, value)| !values[..index].contains(value)), "{values:?}");
    assert_eq!(Scope::parse(scope.as_str()).as_ref(), Ok(scope));
    assert_eq!(scope.narrowed(Some(scope.as_str())).as_ref(), Ok(scope));
    assert_eq!(values.join(" "), scope.as_str());
}

/// The parameters of a form that was taken (URL Standard §5.1), by hand.
fn pairs(body: &[u8]) -> Vec<(String, String)> {
    let pieces = body.split(|&byte| byte == b'&').filter(|piece| !piece.is_empty());
    let pair = |piece: &[u8]| {
        let (name, value) = match piece.iter().position(|&byte| byte == b'=') {
            Some(at) => (&piece[..at], &piece[at + 1..]),
            None => (piece, &b""[..]),
        };
        (decoded(name), decoded(value))
    };
    pieces.map(pair).collect()
}

fn decoded(text: &[u8]) -> String {
    let digit = |at: usize| text.get(at).and_then(|&byte| char::from(byte).to_digit(16));
    let (mut bytes, mut at) = (Vec::new(), 0);
    while let Some(&byte) = text.get(at) {
        at += 1;
        match (byte, digit(at), digit(at + 1)) {
            (b'%', Some(high), Some(low)) => {
                bytes.extend(u8::try_from(high * 16 + low));
                at += 2;
            }
            (b'+', ..) => bytes.push(b' '),
            _ => bytes.push(byte),
        }
    }
    String::from_utf8(bytes).expect("what was taken is UTF-8")
}
