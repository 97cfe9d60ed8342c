//! Compact JWS (RFC 7515 §7.1) signed with ES256 (RFC 7518 §3.4).

use serde::{Deserialize, Serialize};

use super::{Malformed, base64url};

/// The one signature algorithm of mintkeep's own tokens: ECDSA on P-256 with SHA-256.
pub const ES256: &str = "ES256";

/// An ES256 signature: `r` and `s`, 32 bytes each, big-endian (RFC 7518 §3.4).
pub type Signature = [u8; 64];

/// The protected header of a JWS that mintkeep signs. No other parameter is ever allowed in one:
/// a `jku`, `x5c` or `crit` would change how somebody else verifies it.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Header<'a> {
    /// The signature algorithm, always [`ES256`].
    #[serde(borrow)]
    pub alg: &'a str,
    /// The media type, such as `at+jwt` (RFC 9068 §2.1).
    #[serde(borrow)]
    pub typ: &'a str,
    /// The signing key: the RFC 7638 thumbprint of its public half.
    #[serde(borrow)]
    pub kid: &'a str,
}

/// What an ES256 signature is made over: `BASE64URL(header) || '.' || BASE64URL(claims)`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct SigningInput(String);

impl SigningInput {
    /// The signing input of `claims` under a header with `typ` and `kid`.
    ///
    /// # Panics
    /// Where `claims` cannot be written as JSON, which no claims type of this crate does.
    pub fn new(typ: &str, kid: &str, claims: &impl Serialize) -> Self {
        let header = serde_json::to_vec(&Header { alg: ES256, typ, kid }).expect("strings are JSON");
        let claims = serde_json::to_vec(claims).expect("claims are JSON");
        // The signature (86 characters and a full stop) is appended in place.
        let mut text = String::with_capacity((header.len() + claims.len()) * 4 / 3 + 96);
        base64url::encode_into(header, &mut text);
        text.push('.');
        base64url::encode_into(claims, &mut text);
        Self(text)
    }

    /// The bytes that are hashed and signed.
    pub fn as_bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }

    /// The compact JWS that carries `signature`.
    pub fn into_compact(self, signature: &Signature) -> String {
        let mut text = self.0;
        text.push('.');
        base64url::encode_into(signature, &mut text);
        text
    }
}

/// A signing input that somebody else assembled, taken apart and not yet judged.
#[derive(Debug)]
pub struct PresentedSigningInput {
    header: Vec<u8>,
    claims: Vec<u8>,
}

impl PresentedSigningInput {
    /// Takes `text` apart at its one full stop.
    ///
    /// # Errors
    /// [`Malformed`] where it is not two base64url parts.
    pub fn parse(text: &[u8]) -> Result<Self, Malformed> {
        let mut parts = text.split(|byte| *byte == b'.');
        let (Some(header), Some(claims), None) = (parts.next(), parts.next(), parts.next()) else {
            return Err(Malformed::Parts { expected: 2 });
        };
        Ok(Self { header: base64url::decode(header)?, claims: base64url::decode(claims)? })
    }

    /// The header.
    ///
    /// # Errors
    /// [`Malformed::Json`] where it has other members than `alg`, `typ` and `kid`, or lacks one.
    pub fn header(&self) -> Result<Header<'_>, Malformed> {
        object(&self.header)
    }

    /// The JSON of the header, for who reads it as something else.
    pub(crate) fn header_json(&self) -> &[u8] {
        &self.header
    }

    /// The claims, as the type that the reader expects.
    ///
    /// # Errors
    /// [`Malformed::Json`] where they do not fit it, or name a claim twice.
    pub fn claims<'a, Claims: Deserialize<'a>>(&'a self) -> Result<Claims, Malformed> {
        object(&self.claims)
    }

    /// The claims as they stand, for a reader that is stricter than a type can be.
    pub(crate) fn claims_json(&self) -> &[u8] {
        &self.claims
    }
}

/// Reads a JSON object. Not just any JSON: serde takes an array for the members of a type in their order,
/// and no other reader does.
fn object<'a, Value: Deserialize<'a>>(json: &'a [u8]) -> Result<Value, Malformed> {
    if json.first() != Some(&b'{') {
        return Err(Malformed::Json);
    }
    serde_json::from_slice(json).map_err(|_| Malformed::Json)
}

/// A compact JWS as somebody presented it: taken apart, and its signature not verified.
#[derive(Debug)]
pub struct PresentedJws<'a> {
    signing_input: &'a str,
    parts: PresentedSigningInput,
    signature: Signature,
}

impl<'a> PresentedJws<'a> {
    /// Takes `text` apart.
    ///
    /// # Errors
    /// [`Malformed`] where it is not three base64url parts, the last of them 64 bytes.
    pub fn parse(text: &'a str) -> Result<Self, Malformed> {
        let (signing_input, signature) = text.rsplit_once('.').ok_or(Malformed::Parts { expected: 3 })?;
        let parts = PresentedSigningInput::parse(signing_input.as_bytes())?;
        Ok(Self { signing_input, parts, signature: base64url::decode_array(signature)? })
    }

    /// The bytes that the signature is over.
    pub fn signing_input(&self) -> &'a [u8] {
        self.signing_input.as_bytes()
    }

    /// The signature.
    pub fn signature(&self) -> &Signature {
        &self.signature
    }

    /// The header.
    ///
    /// # Errors
    /// As [`PresentedSigningInput::header`].
    pub fn header(&self) -> Result<Header<'_>, Malformed> {
        self.parts.header()
    }

    /// The claims.
    ///
    /// # Errors
    /// As [`PresentedSigningInput::claims`].
    pub fn claims<'b, Claims: Deserialize<'b>>(&'b self) -> Result<Claims, Malformed> {
        self.parts.claims()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_assembled_is_what_is_parsed() {
        let input = SigningInput::new("at+jwt", "key-1", &serde_json::json!({"sub": "robot"}));
        let presented = PresentedSigningInput::parse(input.as_bytes()).unwrap();
        assert_eq!(presented.header().unwrap(), Header { alg: "ES256", typ: "at+jwt", kid: "key-1" });
        assert_eq!(presented.claims::<serde_json::Value>().unwrap()["sub"], "robot");
        assert_eq!(input.into_compact(&[0; 64]).split('.').count(), 3);
    }

    #[test]
    fn a_header_with_more_than_its_three_members_is_malformed() {
        let header = base64url::encode(br#"{"alg":"ES256","typ":"at+jwt","kid":"k","jku":"https://evil"}"#);
        let presented = PresentedSigningInput::parse(format!("{header}.e30").as_bytes()).unwrap();
        assert_eq!(presented.header(), Err(Malformed::Json));
    }

    #[test]
    fn other_than_two_parts_are_malformed() {
        for text in ["", "e30", "e30.e30.e30", "e30=.e30", "e 30.e30"] {
            assert!(PresentedSigningInput::parse(text.as_bytes()).is_err(), "{text}");
        }
    }
}
