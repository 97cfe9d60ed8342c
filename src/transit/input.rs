//! What is signed: a message that is hashed where it is signed, or a digest that hides what it was made of.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use serde_json::{Map, Value};

use super::TransitError;
use super::parameters::Item;
use crate::jose::base64url;
use crate::jose::foreign::json::{self, Bounds};

/// How much of a JWT is read.
const BOUNDS: Bounds = Bounds { depth: 16, members: 1024 };

const NOT_BASE64: &str = "unable to decode input as base64: expected the standard alphabet, with padding";

/// What is signed.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Input {
    Message(Vec<u8>),
    /// A SHA-256 that the caller made.
    Digest([u8; 32]),
}

impl Input {
    /// What `item` brings. Base64 is taken in its one spelling only: with padding, no line ends, no bits left over.
    pub(super) fn of(item: &Item, prehashed: bool) -> Result<Self, TransitError> {
        let text = item.input.as_deref().ok_or_else(|| TransitError::invalid("missing input"))?;
        let input = STANDARD.decode(text).map_err(|_| TransitError::invalid(NOT_BASE64))?;
        if item.context.as_deref().is_some_and(|context| STANDARD.decode(context).is_err()) {
            return Err(TransitError::invalid("failed to base64-decode context"));
        }
        if !prehashed {
            return Ok(Self::Message(input));
        }
        let length = input.len();
        <[u8; 32]>::try_from(input)
            .map(Self::Digest)
            .map_err(|_| TransitError::Invalid(format!("prehashed input has {length} bytes; a sha2-256 digest has 32")))
    }
}

/// What stands in a message that is the signing input of a JWT (RFC 7519 §3): each member once, at every level.
pub(super) struct Jwt {
    pub(super) header: Map<String, Value>,
    pub(super) claims: Map<String, Value>,
}

impl Jwt {
    /// Reads `message`; `None` where it is anything else.
    pub(super) fn read(message: &[u8]) -> Option<Self> {
        let (header, claims) = std::str::from_utf8(message).ok()?.split_once('.')?;
        let object = |part| json::object(&base64url::decode(part).ok()?, BOUNDS).ok();
        Some(Self { header: object(header)?, claims: object(claims)? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_jwt_is_read_in_one_way_or_not_at_all() {
        let input = |header: &str, claims: &str| format!("{}.{}", base64url::encode(header), base64url::encode(claims));
        let jwt = Jwt::read(input(r#"{"kid":"k"}"#, r#"{"iss":"i"}"#).as_bytes()).unwrap();
        assert_eq!((&jwt.header["kid"], &jwt.claims["iss"]), (&Value::from("k"), &Value::from("i")));
        for other in [
            String::new(),
            "a document".to_owned(),
            input("{}", r#"{"iss":"i","iss":"j"}"#),
            input("{}", r#"["iss"]"#),
            input("[]", "{}"),
            format!("{}.e30", input("{}", "{}")),
            "e30=.e30".to_owned(),
        ] {
            assert!(Jwt::read(other.as_bytes()).is_none(), "{other}");
        }
        assert!(Jwt::read(b"\xff.\xff").is_none());
    }

    fn of(input: &str, prehashed: bool) -> Result<Input, String> {
        let item = Item { input: Some(input.to_owned()), ..Item::default() };
        Input::of(&item, prehashed).map_err(|error| error.to_string())
    }

    #[test]
    fn base64_has_one_spelling() {
        assert_eq!(of("bWludA==", false), Ok(Input::Message(b"mint".to_vec())));
        assert_eq!(of("", false), Ok(Input::Message(Vec::new())));
        for text in ["bWludA", "bWludA=", "bWludB==", "bWlu\ndA==", " bWludA==", "bWlu-A==", "bWludA===", "!", "mint!"]
        {
            assert_eq!(of(text, false), Err(NOT_BASE64.to_owned()), "{text:?}");
        }
        let item = Item { input: Some(String::new()), context: Some("%".to_owned()), ..Item::default() };
        assert_eq!(Input::of(&item, false).unwrap_err().to_string(), "failed to base64-decode context");
        assert_eq!(Input::of(&Item::default(), true).unwrap_err().to_string(), "missing input");
    }

    #[test]
    fn a_digest_has_32_bytes() {
        assert_eq!(of(&STANDARD.encode([7; 32]), true), Ok(Input::Digest([7; 32])));
        for length in [0, 20, 31, 33, 48, 64] {
            let expected = format!("prehashed input has {length} bytes; a sha2-256 digest has 32");
            assert_eq!(of(&STANDARD.encode(vec![7; length]), true), Err(expected));
        }
    }
}
