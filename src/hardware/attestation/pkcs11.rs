//! What a PKCS#11 module says of a key. Nothing in PKCS#11 proves any of it, and the document says so.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{Attestation, Base64Url, Expected, Flaw, Format, Nonce, Verified, check_kid};
use crate::clock::Timestamp;
use crate::hardware::{PinnedPublicKey, Provenance, Role};
use crate::jose::base64url;
use crate::jose::jwk::{BareJwk, P256PublicKey};

/// What the document is worth, in the document.
const STANDING: &str =
    "a claim of the PKCS#11 module and not a proof; whoever has the key signed_by made the document as it is";

/// Begins what is signed. A JWS signing input has letters, digits, `-`, `_` and one full stop, and no space: nothing
/// that begins like this is one, so that no signature made here is a token's.
const PREFIX: &[u8] = b"mintkeep attestation: ";

/// The attributes of a key as its module tells them.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Pkcs11Attestation {
    /// The version.
    pub format: Format,
    /// What this is worth, in words.
    pub standing: String,
    /// The key.
    pub kid: String,
    /// What it is for.
    pub role: Role,
    /// The public half, where there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub jwk: Option<BareJwk>,
    /// What whoever asked made up.
    pub nonce: Nonce,
    /// When, by the clock of the machine.
    pub created_at: Timestamp,
    /// `CK_INFO`.
    pub module: ModuleIdentity,
    /// `CK_TOKEN_INFO`.
    pub token: TokenIdentity,
    /// By their names in PKCS#11; without a value where the token does not have or tell one.
    pub attributes: BTreeMap<String, Option<AttributeValue>>,
    /// The key that signed: the key itself, or, where that cannot sign, a signing key of the same token.
    pub signed_by: BareJwk,
    /// ES256.
    pub signature: Base64Url,
}

/// Who made the module.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct ModuleIdentity {
    /// `manufacturerID`.
    pub manufacturer: String,
    /// `libraryDescription`.
    pub description: String,
    /// `libraryVersion`.
    pub version: String,
    /// `cryptokiVersion`.
    pub cryptoki_version: String,
}

/// Which token it is.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct TokenIdentity {
    /// `manufacturerID`.
    pub manufacturer: String,
    /// `model`.
    pub model: String,
    /// `serialNumber`.
    pub serial_number: String,
    /// `label`.
    pub label: String,
    /// `hardwareVersion`.
    pub hardware_version: String,
    /// `firmwareVersion`.
    pub firmware_version: String,
}

/// The value of an attribute.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(untagged)]
pub enum AttributeValue {
    /// `CK_BBOOL`.
    Bool(bool),
    /// A name of PKCS#11, text, or bytes in hexadecimal.
    Text(String),
}

/// What a module says of one key.
pub(in crate::hardware) struct Pkcs11Evidence {
    pub(in crate::hardware) kid: String,
    pub(in crate::hardware) role: Role,
    pub(in crate::hardware) public: Option<P256PublicKey>,
    pub(in crate::hardware) module: ModuleIdentity,
    pub(in crate::hardware) token: TokenIdentity,
    pub(in crate::hardware) attributes: BTreeMap<String, Option<AttributeValue>>,
}

impl Attestation {
    /// The document of `evidence`, which `signer` has yet to sign.
    pub(in crate::hardware) fn unsigned(
        evidence: Pkcs11Evidence,
        nonce: &Nonce,
        created_at: Timestamp,
        signer: &P256PublicKey,
    ) -> Self {
        Self::Pkcs11(Box::new(Pkcs11Attestation {
            format: Format::One,
            standing: STANDING.to_owned(),
            kid: evidence.kid,
            role: evidence.role,
            jwk: evidence.public.map(BareJwk::from),
            nonce: nonce.clone(),
            created_at,
            module: evidence.module,
            token: evidence.token,
            attributes: evidence.attributes,
            signed_by: (*signer).into(),
            signature: Base64Url::default(),
        }))
    }

    /// What is hashed and signed: the document with an empty signature, in canonical JSON (RFC 8785).
    pub(in crate::hardware) fn to_be_signed(&self) -> Vec<u8> {
        let mut unsigned = self.clone();
        unsigned.set_signature(Vec::new());
        [PREFIX, &unsigned.to_json()].concat()
    }

    /// The document with `signature`.
    pub(in crate::hardware) fn signed(mut self, signature: &[u8; 64]) -> Self {
        self.set_signature(signature.to_vec());
        self
    }

    fn set_signature(&mut self, signature: Vec<u8>) {
        match self {
            Self::Tpm(document) => document.signature = Base64Url(signature),
            Self::Pkcs11(document) => document.signature = Base64Url(signature),
        }
    }
}

impl Pkcs11Attestation {
    pub(super) fn verify(&self, whole: &Attestation, expected: &Expected) -> Result<Verified, Flaw> {
        if expected.attestation_key.is_some() {
            return Err(Flaw::NoAttestationKey);
        }
        if self.standing != STANDING {
            return Err(Flaw::Standing);
        }
        let signer = P256PublicKey::try_from(self.signed_by.clone()).map_err(|_| Flaw::Jwk)?;
        let signer = PinnedPublicKey::new(signer).map_err(|_| Flaw::Jwk)?;
        let signature = self.signature.0.as_slice().try_into().map_err(|_| Flaw::Signature)?;
        if !signer.verifies(&whole.to_be_signed(), signature) {
            return Err(Flaw::Signature);
        }
        self.check_names(signer.kid())?;
        for (attribute, value) in [("CKA_EXTRACTABLE", false), ("CKA_SENSITIVE", true)] {
            self.require(attribute, &AttributeValue::Bool(value))?;
        }
        let history = ["CKA_LOCAL", "CKA_ALWAYS_SENSITIVE", "CKA_NEVER_EXTRACTABLE"];
        let missing = history.into_iter().find(|name| self.value(name) != Some(&AttributeValue::Bool(true)));
        if let Some(attribute) = missing
            && expected.provenance == Provenance::GeneratedInDevice
        {
            return Err(Flaw::Imported { attribute: attribute.to_owned(), found: self.told(attribute) });
        }
        let claim = match missing {
            None => "that the key was generated in the token and cannot leave it, and that there is such a token: the module says so".to_owned(),
            Some(attribute) => format!(
                "that the key cannot leave the token now: the module says so; that it was never outside, the module does not even say ({attribute} is {})",
                self.told(attribute)
            ),
        };
        Ok(Verified {
            kid: self.kid.clone(),
            role: self.role,
            standing: "claim",
            proven: vec![format!("whoever has the key {} made the document as it is", signer.kid())],
            not_proven: vec![claim, "what else is in it".to_owned()],
            signed_by: self.signed_by.clone(),
        })
    }

    /// A key with a public half is named by that, and signs for itself where it can; another one is named by its
    /// `CKA_ID`.
    fn check_names(&self, signer: &str) -> Result<(), Flaw> {
        match &self.jwk {
            Some(jwk) => drop(check_kid(&self.kid, jwk)?),
            None => {
                let id = base64url::decode(&self.kid).map_err(|_| Flaw::Base64)?;
                let id = id.iter().map(|byte| format!("{byte:02x}")).collect();
                self.require("CKA_ID", &AttributeValue::Text(id))?;
            }
        }
        let use_of_role = match (self.role, &self.jwk) {
            (Role::Signing | Role::Delegated(_), _) => "CKA_SIGN",
            (Role::Sealing, Some(_)) => "CKA_DERIVE",
            (Role::Sealing, None) => "CKA_DECRYPT",
        };
        self.require(use_of_role, &AttributeValue::Bool(true))?;
        if self.role.signs() && signer != self.kid {
            return Err(Flaw::Kid { found: signer.to_owned(), expected: self.kid.clone() });
        }
        Ok(())
    }

    fn require(&self, attribute: &str, expected: &AttributeValue) -> Result<(), Flaw> {
        if self.value(attribute) == Some(expected) {
            return Ok(());
        }
        let (found, expected) = (self.told(attribute), shown(Some(expected)));
        Err(Flaw::Attribute { whose: "the key", attribute: attribute.to_owned(), found, expected })
    }

    fn value(&self, attribute: &str) -> Option<&AttributeValue> {
        self.attributes.get(attribute)?.as_ref()
    }

    fn told(&self, attribute: &str) -> String {
        shown(self.value(attribute))
    }
}

fn shown(value: Option<&AttributeValue>) -> String {
    match value {
        Some(AttributeValue::Bool(value)) => value.to_string(),
        Some(AttributeValue::Text(text)) => text.clone(),
        None => "absent".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use p256::ecdsa::signature::Signer as _;
    use p256::ecdsa::{Signature, SigningKey};

    use super::*;
    use crate::jose::jws::PresentedSigningInput;

    /// The document of a module that says all it should, but for `changes`.
    fn document(changes: &[(&str, Option<bool>)]) -> Attestation {
        let signing = SigningKey::from_slice(&[9; 32]).unwrap();
        let public = P256PublicKey::from_uncompressed(signing.verifying_key().to_sec1_point(false).as_bytes()).unwrap();
        let mut attributes: BTreeMap<String, Option<AttributeValue>> = [
            ("CKA_EXTRACTABLE", false),
            ("CKA_SENSITIVE", true),
            ("CKA_LOCAL", true),
            ("CKA_ALWAYS_SENSITIVE", true),
            ("CKA_NEVER_EXTRACTABLE", true),
            ("CKA_SIGN", true),
        ]
        .into_iter()
        .map(|(name, value)| (name.to_owned(), Some(AttributeValue::Bool(value))))
        .collect();
        for (name, value) in changes {
            attributes.insert((*name).to_owned(), value.map(AttributeValue::Bool));
        }
        let text = || "text with \u{1}, \"quotes\" and ü".to_owned();
        let evidence = Pkcs11Evidence {
            kid: public.kid(),
            role: Role::Signing,
            public: Some(public),
            module: ModuleIdentity {
                manufacturer: text(),
                description: text(),
                version: text(),
                cryptoki_version: text(),
            },
            token: TokenIdentity {
                manufacturer: text(),
                model: text(),
                serial_number: text(),
                label: text(),
                hardware_version: text(),
                firmware_version: text(),
            },
            attributes,
        };
        let nonce = Nonce::new(&[3; 8]).unwrap();
        let unsigned = Attestation::unsigned(evidence, &nonce, Timestamp::from_unix_seconds(7), &public);
        let signature: Signature = signing.sign(&unsigned.to_be_signed());
        unsigned.signed(&signature.to_bytes().into())
    }

    fn verify(document: &Attestation, provenance: Provenance) -> Result<Verified, Flaw> {
        document.verify(&Expected { nonce: None, attestation_key: None, provenance })
    }

    #[test]
    fn what_is_signed_is_no_signing_input_of_a_token() {
        assert!(PresentedSigningInput::parse(&document(&[]).to_be_signed()).is_err());
        assert!(PresentedSigningInput::parse(PREFIX).is_err());
        let of_tokens = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_.".contains(byte);
        assert!(!PREFIX.iter().all(of_tokens));
    }

    #[test]
    fn a_document_is_the_same_after_it_was_written_and_read() {
        let document = document(&[("CKA_COPYABLE", None)]);
        let read = Attestation::parse(&document.to_json()).unwrap();
        assert_eq!(read, document);
        let verified = verify(&read, Provenance::GeneratedInDevice).unwrap();
        assert_eq!(verified.standing, "claim");
        assert_eq!(verified.proven.len(), 1);
    }

    #[test]
    fn a_key_that_can_leave_or_cannot_sign_is_refused_whatever_is_allowed() {
        for provenance in [Provenance::GeneratedInDevice, Provenance::ImportedAllowed] {
            for change in [
                ("CKA_EXTRACTABLE", Some(true)),
                ("CKA_EXTRACTABLE", None),
                ("CKA_SENSITIVE", Some(false)),
                ("CKA_SENSITIVE", None),
                ("CKA_SIGN", Some(false)),
            ] {
                match verify(&document(&[change]), provenance) {
                    Err(Flaw::Attribute { attribute, .. }) => assert_eq!(attribute, change.0),
                    other => panic!("{other:?}"),
                }
            }
        }
    }

    #[test]
    fn a_key_that_may_have_been_outside_is_refused_unless_that_is_allowed_and_then_said() {
        for name in ["CKA_LOCAL", "CKA_ALWAYS_SENSITIVE", "CKA_NEVER_EXTRACTABLE"] {
            for value in [Some(false), None] {
                let document = document(&[(name, value)]);
                let refused = verify(&document, Provenance::GeneratedInDevice).unwrap_err();
                assert!(matches!(refused, Flaw::Imported { attribute, .. } if attribute == name));
                let verified = verify(&document, Provenance::ImportedAllowed).unwrap();
                assert!(verified.not_proven[0].contains(name), "{:?}", verified.not_proven);
            }
        }
    }

    #[test]
    fn an_attestation_key_is_not_expected_of_a_module() {
        let attestation_key = P256PublicKey::from_uncompressed(&[4; 65]).ok();
        let expected = Expected { nonce: None, attestation_key, provenance: Provenance::GeneratedInDevice };
        assert_eq!(document(&[]).verify(&expected).unwrap_err(), Flaw::NoAttestationKey);
    }
}
