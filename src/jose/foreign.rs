//! A compact JWS that somebody else signed (RFC 7515): a client's assertion, a DPoP proof, another issuer's token.
//!
//! Everything in it is the sender's word until [`VerificationKey::verify`] says otherwise, and the header is so even
//! then: it picks among the keys and algorithms that the reader trusts already, and never adds one.

mod algorithm;
mod claims;
pub(crate) mod json;
mod key;
mod key_set;

use serde_json::{Map, Value};

pub use algorithm::SignatureAlgorithm;
pub use claims::{ForeignClaims, Untimely};
pub use key::{JwkError, VerificationKey};
pub use key_set::{ForeignKeySet, KeySetError, MAX_KEY_SET_LENGTH, MAX_KEYS};

use super::{Malformed, base64url};
use json::Bounds;

/// The longest JWS that is read, in bytes.
pub const MAX_JWS_LENGTH: usize = 16 * 1024;

const HEADER_BOUNDS: Bounds = Bounds { depth: 8, members: 256 };

/// Parameters that bring a key, or say where one is (RFC 7515 §4.1.2 to §4.1.6). A reader who knows its keys uses
/// none of them; that one is there says that somebody hopes otherwise. A thumbprint (`x5t`) does neither, and some
/// platforms' tokens have one beside `kid`: it is not looked at.
const KEY_PARAMETERS: [&str; 3] = ["jku", "x5u", "x5c"];

/// Parameters that change what a signature means: `crit` (RFC 7515 §4.1.11), `b64` (RFC 7797), and `zip`, which only
/// a JWE has (RFC 7516 §4.1.3).
const REFUSED_PARAMETERS: [&str; 3] = ["crit", "b64", "zip"];

/// Why no trusted key vouches for a JWS.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum NotVerified {
    /// The set has no key of that `kid`, or none of that algorithm where there is no `kid`.
    #[error("no key of the set has that kid or algorithm")]
    UnknownKey,
    /// More keys could have made it than are tried.
    #[error("expected a kid: too many keys of the set could have signed this")]
    Ambiguous,
    /// The key is not one for the header's algorithm.
    #[error("the key is not for the algorithm that the header names")]
    Algorithm,
    /// The key did not make the signature.
    #[error("the signature is not the key's")]
    Signature,
}

/// A compact JWS as somebody presented it: taken apart, and its signature not verified.
#[derive(Debug)]
pub struct PresentedForeignJws<'a> {
    signing_input: &'a str,
    algorithm: SignatureAlgorithm,
    typ: Option<String>,
    kid: Option<String>,
    jwk: Option<Value>,
    payload: Vec<u8>,
    signature: Vec<u8>,
}

impl<'a> PresentedForeignJws<'a> {
    /// Takes `text` apart.
    ///
    /// # Errors
    /// [`Malformed`] where it is not three base64url parts, [`MAX_JWS_LENGTH`] bytes at most, with a header that
    /// names one of our algorithms, brings no key, and has no parameter that would have to be understood.
    pub fn parse(text: &'a str) -> Result<Self, Malformed> {
        let jws = Self::parse_with_embedded_key(text)?;
        if jws.jwk.is_some() { Err(Malformed::Parameter) } else { Ok(jws) }
    }

    /// Takes `text` apart, and lets it bring the key that it is signed with, as a DPoP proof does
    /// (RFC 9449 §4.2). **Such a signature proves possession of that key and nothing else.**
    ///
    /// # Errors
    /// As [`PresentedForeignJws::parse`], but for a `jwk`.
    pub fn parse_with_embedded_key(text: &'a str) -> Result<Self, Malformed> {
        if text.len() > MAX_JWS_LENGTH {
            return Err(Malformed::TooLong { most: MAX_JWS_LENGTH });
        }
        let mut parts = text.split('.');
        let (Some(header), Some(payload), Some(signature), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(Malformed::Parts { expected: 3 });
        };
        let mut header = json::object(&base64url::decode(header)?, HEADER_BOUNDS)?;
        if KEY_PARAMETERS.iter().chain(&REFUSED_PARAMETERS).any(|&name| header.contains_key(name)) {
            return Err(Malformed::Parameter);
        }
        let algorithm = SignatureAlgorithm::parse(&text_of(&mut header, "alg")?.ok_or(Malformed::Json)?)?;
        let jwk = header.remove("jwk");
        if jwk.as_ref().is_some_and(|jwk| !jwk.is_object()) {
            return Err(Malformed::Json);
        }
        let (payload, signature) = (base64url::decode(payload)?, base64url::decode(signature)?);
        if signature.is_empty() {
            return Err(Malformed::Parts { expected: 3 });
        }
        let signing_input = text.rsplit_once('.').map(|(input, _)| input).ok_or(Malformed::Parts { expected: 3 })?;
        let (typ, kid) = (text_of(&mut header, "typ")?, text_of(&mut header, "kid")?);
        Ok(Self { signing_input, algorithm, typ, kid, jwk, payload, signature })
    }

    /// `alg`.
    pub fn algorithm(&self) -> SignatureAlgorithm {
        self.algorithm
    }

    /// `typ`, as it is written: media types are compared without regard to case, and `application/` may be left out
    /// (RFC 7515 §4.1.9). [`PresentedForeignJws::is_of_type`] does so.
    pub fn typ(&self) -> Option<&str> {
        self.typ.as_deref()
    }

    /// Whether `typ` is there and names the media type `application/{expected}`.
    pub fn is_of_type(&self, expected: &str) -> bool {
        let Some(typ) = &self.typ else { return false };
        let short = match typ.get(..12) {
            Some(prefix) if prefix.eq_ignore_ascii_case("application/") => &typ[12..],
            _ => typ,
        };
        short.eq_ignore_ascii_case(expected)
    }

    /// `kid`.
    pub fn kid(&self) -> Option<&str> {
        self.kid.as_deref()
    }

    /// The key that it brought, an object, for [`VerificationKey::from_jwk`]; `None` unless that was allowed.
    pub fn jwk(&self) -> Option<&Value> {
        self.jwk.as_ref()
    }

    /// The bytes that the signature is over.
    pub fn signing_input(&self) -> &'a [u8] {
        self.signing_input.as_bytes()
    }

    /// The signature, of whatever length.
    pub fn signature(&self) -> &[u8] {
        &self.signature
    }

    /// The claims. Whoever reads them before the signature was verified reads them to find the key, and for nothing
    /// else.
    ///
    /// # Errors
    /// [`Malformed`] where they are no JSON object, name a member twice at any level, go too deep, have too many
    /// members, or a registered claim (RFC 7519 §4.1) is not what it has to be.
    pub fn claims(&self) -> Result<ForeignClaims, Malformed> {
        ForeignClaims::parse(&self.payload)
    }
}

/// The text of the member `name`, where it is there.
fn text_of(object: &mut Map<String, Value>, name: &str) -> Result<Option<String>, Malformed> {
    match object.remove(name) {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(_) => Err(Malformed::Json),
    }
}

#[cfg(test)]
mod tests;
