//! Why a document proves nothing.

/// What is wrong with the evidence.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Flaw {
    /// It is not a document of this format.
    #[error("not a mintkeep attestation: {0}")]
    Document(String),
    /// A member that is not base64url.
    #[error("expected base64url without padding")]
    Base64,
    /// A nonce of another length.
    #[error("a nonce of {0} bytes, expected 8 to 32")]
    NonceLength(usize),
    /// It was made for somebody else's question, or is an old one.
    #[error("the nonce is another one than was asked with")]
    Nonce,
    /// The JWK is not a public key on P-256.
    #[error("jwk: expected a public key on P-256")]
    Jwk,
    /// `kid` does not name the key.
    #[error("kid is {found}, expected the thumbprint of jwk, {expected}")]
    Kid {
        /// What it is.
        found: String,
        /// The thumbprint.
        expected: String,
    },
    /// A structure of the TPM that cannot be read.
    #[error("{structure}: {reason}")]
    Structure {
        /// The member of the document.
        structure: &'static str,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// `public` is not the key that the TPM certified.
    #[error("public is another key than the one that the TPM certified")]
    Name,
    /// `public` is not the key of `jwk`.
    #[error("public is another key than jwk")]
    Point,
    /// `attestation_key` is not the key that made the statement.
    #[error("attestation_key is not the key of the endorsement hierarchy that made the statement")]
    Signer,
    /// The attestation key is not the one that was expected.
    #[error("the attestation key is {found}, expected {expected}: the statement comes from another TPM, or from none")]
    AttestationKey {
        /// Its thumbprint.
        found: String,
        /// That of the expected one.
        expected: String,
    },
    /// The document has no attestation key.
    #[error("an attestation key is expected, and what a PKCS#11 module says is signed by none")]
    NoAttestationKey,
    /// An attribute that a key must not have.
    #[error("{whose}: {attribute} is {found}, expected {expected}")]
    Attribute {
        /// The key.
        whose: &'static str,
        /// The attribute.
        attribute: String,
        /// Its value.
        found: String,
        /// The value that it must have.
        expected: String,
    },
    /// The key was outside.
    #[error(
        "the key may have been outside of the device: {attribute} is {found}, expected true; where that is known, say --allow-imported"
    )]
    Imported {
        /// The attribute that says so.
        attribute: String,
        /// Its value.
        found: String,
    },
    /// The words that say what the document is were changed.
    #[error("standing: expected the words of this format")]
    Standing,
    /// Something was changed after it was signed.
    #[error("the signature does not verify: something was changed")]
    Signature,
}
