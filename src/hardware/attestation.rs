//! Evidence of where a key lives and what it may do: the document that a device makes of itself, and how it is
//! checked far from the device, without one.

mod flaw;
pub mod pkcs11;
mod structures;
pub mod tpm;

use serde::{Deserialize, Serialize};

use super::{Provenance, Role};
use crate::jose::base64url;
use crate::jose::jwk::{BareJwk, P256PublicKey};

pub use self::flaw::Flaw;
use self::pkcs11::Pkcs11Attestation;
use self::tpm::TpmAttestation;

/// What a document is, by its member `kind`.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(tag = "kind")]
pub enum Attestation {
    /// What a TPM certifies of a key: a proof, as far as its attestation key is known.
    #[serde(rename = "tpm2-certify")]
    Tpm(Box<TpmAttestation>),
    /// What a PKCS#11 module says of a key: a claim.
    #[serde(rename = "pkcs11-attributes")]
    Pkcs11(Box<Pkcs11Attestation>),
}

/// The version of the documents.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub enum Format {
    /// The first.
    #[serde(rename = "mintkeep-attestation-1")]
    One,
}

/// What whoever asks for evidence makes up, so that it is known to be younger than the question.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(try_from = "String", into = "String")]
pub struct Nonce(Vec<u8>);

impl Nonce {
    /// The nonce of `bytes`.
    ///
    /// # Errors
    /// [`Flaw::NonceLength`] unless there are 8 to 32. A TPM takes as many as its largest hash has, and SHA-256 is
    /// all that every TPM has.
    pub fn new(bytes: &[u8]) -> Result<Self, Flaw> {
        match bytes.len() {
            8..=32 => Ok(Self(bytes.to_vec())),
            length => Err(Flaw::NonceLength(length)),
        }
    }

    /// The nonce that `text` writes in base64url.
    ///
    /// # Errors
    /// [`Flaw::Base64`], or as [`Self::new`].
    pub fn parse(text: &str) -> Result<Self, Flaw> {
        Self::new(&base64url::decode(text).map_err(|_| Flaw::Base64)?)
    }

    /// Its bytes, 8 to 32.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl TryFrom<String> for Nonce {
    type Error = Flaw;

    fn try_from(text: String) -> Result<Self, Flaw> {
        Self::parse(&text)
    }
}

impl From<Nonce> for String {
    fn from(nonce: Nonce) -> Self {
        base64url::encode(nonce.0)
    }
}

/// Bytes that are written in base64url.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(try_from = "String", into = "String")]
pub struct Base64Url(pub Vec<u8>);

impl TryFrom<String> for Base64Url {
    type Error = Flaw;

    fn try_from(text: String) -> Result<Self, Flaw> {
        base64url::decode(text).map(Self).map_err(|_| Flaw::Base64)
    }
}

impl From<Base64Url> for String {
    fn from(bytes: Base64Url) -> Self {
        base64url::encode(bytes.0)
    }
}

/// What whoever checks a document knows beforehand, and accepts.
#[derive(Clone, Debug)]
pub struct Expected {
    /// The nonce that was asked with.
    pub nonce: Option<Nonce>,
    /// The attestation key of the TPM, from when it was set up.
    pub attestation_key: Option<P256PublicKey>,
    /// Which past of a key is accepted.
    pub provenance: Provenance,
}

/// What a document comes to that has no flaw.
#[derive(Clone, Debug, Serialize)]
pub struct Verified {
    /// The key.
    pub kid: String,
    /// What it is for.
    pub role: Role,
    /// `proof` or `claim`.
    pub standing: &'static str,
    /// What the document proves, a sentence each.
    pub proven: Vec<String>,
    /// What it does not, whatever is written in it.
    pub not_proven: Vec<String>,
    /// The key that signed the document.
    pub signed_by: BareJwk,
}

impl Attestation {
    /// The document that `json` is.
    ///
    /// # Errors
    /// [`Flaw::Document`].
    pub fn parse(json: &[u8]) -> Result<Self, Flaw> {
        serde_json::from_slice(json).map_err(|error| Flaw::Document(error.to_string()))
    }

    /// The document in JSON, its members in order and without white space (RFC 8785: names and whole numbers are
    /// all that has to be canonical here).
    ///
    /// # Panics
    /// Never: strings, numbers and lists of them are JSON.
    pub fn to_json(&self) -> Vec<u8> {
        // A `Value` has its members in order.
        let value = serde_json::to_value(self).expect("strings, numbers and lists of them are JSON");
        value.to_string().into_bytes()
    }

    /// Checks the document, and says what it proves.
    ///
    /// # Errors
    /// The first [`Flaw`]; the document proves nothing then.
    pub fn verify(&self, expected: &Expected) -> Result<Verified, Flaw> {
        let nonce = match self {
            Self::Tpm(document) => &document.nonce,
            Self::Pkcs11(document) => &document.nonce,
        };
        if expected.nonce.as_ref().is_some_and(|expected| expected != nonce) {
            return Err(Flaw::Nonce);
        }
        let mut verified = match self {
            Self::Tpm(document) => document.verify(expected)?,
            Self::Pkcs11(document) => document.verify(self, expected)?,
        };
        match expected.nonce {
            Some(_) => verified.proven.push("it was made after the nonce was chosen".to_owned()),
            None => {
                verified.not_proven.push("when it was made: nobody said which nonce it was asked for with".to_owned())
            }
        }
        Ok(verified)
    }
}

/// Whether `kid` is the thumbprint of the key (RFC 7638).
fn check_kid(kid: &str, jwk: &BareJwk) -> Result<P256PublicKey, Flaw> {
    let key = P256PublicKey::try_from(jwk.clone()).map_err(|_| Flaw::Jwk)?;
    if key.kid() == kid { Ok(key) } else { Err(Flaw::Kid { found: kid.to_owned(), expected: key.kid() }) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_nonce_has_as_many_bytes_as_every_tpm_takes() {
        for (length, is_good) in [(0, false), (7, false), (8, true), (32, true), (33, false)] {
            assert_eq!(Nonce::new(&vec![1; length]).is_ok(), is_good, "{length}");
            assert_eq!(Nonce::parse(&base64url::encode(vec![1; length])).is_ok(), is_good, "{length}");
        }
        assert_eq!(Nonce::parse("not base64url"), Err(Flaw::Base64));
    }

    #[test]
    fn another_document_is_refused() {
        for text in
            ["", "[]", "{}", r#"{"kind":"tpm2-certify"}"#, r#"{"kind":"other","format":"mintkeep-attestation-1"}"#]
        {
            assert!(matches!(Attestation::parse(text.as_bytes()), Err(Flaw::Document(_))), "{text}");
        }
    }
}
