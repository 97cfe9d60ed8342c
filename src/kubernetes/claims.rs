//! The claims that a kube-apiserver brings: encoded already, and signed exactly as they came.

use serde_json::{Map, Value};

use super::TOKEN_TYPE;
use crate::jose::base64url;
use crate::oauth::delegated::encoded_header;

/// Claims as they were presented: well-formed, and not judged.
#[derive(Debug)]
pub(super) struct PresentedClaims {
    encoded: String,
    object: Map<String, Value>,
}

/// What is wrong with the form of claims.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub(super) enum Malformed {
    /// They are not in base64url, or in more than one way.
    #[error("claims: expected base64url without padding")]
    Base64,
    /// They are no JSON object.
    #[error("claims: expected a JSON object")]
    Json,
}

impl PresentedClaims {
    /// Reads `encoded`. What another decoder would take for other bytes, or for the same ones, is refused: padding, the
    /// standard alphabet, white space, bits that are left over.
    pub(super) fn parse(encoded: String) -> Result<Self, Malformed> {
        let json = base64url::decode(&encoded).map_err(|_| Malformed::Base64)?;
        match serde_json::from_slice(&json) {
            Ok(Value::Object(object)) => Ok(Self { encoded, object }),
            Ok(_) | Err(_) => Err(Malformed::Json),
        }
    }

    /// The claims. One that is there twice is there once here; the keeper refuses that.
    pub(super) fn object(&self) -> &Map<String, Value> {
        &self.object
    }

    /// What the key `kid` signs.
    pub(super) fn signing_input(&self, kid: &str) -> Vec<u8> {
        let mut text = encoded_header(TOKEN_TYPE, kid);
        text.reserve(1 + self.encoded.len());
        text.push('.');
        text.push_str(&self.encoded);
        text.into_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_signed_is_what_came() {
        // White space and the order of members are the caller's.
        let encoded = base64url::encode(r#"{ "sub":"b",  "iss":"a" }"#);
        let claims = PresentedClaims::parse(encoded.clone()).unwrap();
        assert_eq!(claims.object()["iss"], "a");
        let input = String::from_utf8(claims.signing_input("key-1")).unwrap();
        let (header, rest) = input.split_once('.').unwrap();
        assert_eq!(rest, encoded);
        assert_eq!(base64url::decode(header).unwrap(), br#"{"alg":"ES256","kid":"key-1","typ":"JWT"}"#);
    }

    #[test]
    fn what_could_be_read_in_another_way_is_refused() {
        for text in [
            "eyJhIjoxfQ==", // Padding.
            "eyJhIjoiPz8-Pz8_In0=",
            "eyJhIjoiPz8+Pz8/In0", // The standard alphabet.
            " eyJhIjoxfQ",
            "eyJhIjoxfQ\n",
            "eyJh IjoxfQ",
            "eyJhIjoxfR", // Bits left over.
            "eyJhIjoxf",  // No whole byte.
            "eyJhIjoxfQ.",
        ] {
            assert_eq!(PresentedClaims::parse(text.to_owned()).unwrap_err(), Malformed::Base64, "{text}");
        }
        for json in ["", "{", "[]", "\"a\"", "null", "1", "{\"a\":1}{", "{'a':1}", "{\"a\":\"\u{0}\"}"] {
            let encoded = base64url::encode(json);
            assert_eq!(PresentedClaims::parse(encoded).unwrap_err(), Malformed::Json, "{json}");
        }
        let not_utf8 = base64url::encode(b"{\"a\":\"\xff\"}");
        assert_eq!(PresentedClaims::parse(not_utf8).unwrap_err(), Malformed::Json);
    }
}
