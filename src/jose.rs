//! JOSE formats: compact JWS and JWE, JWK, thumbprints, claims, and what others signed (`foreign`). Formats only: no
//! private key is ever here but the ephemeral one of a token that is being sealed (`ecdh_es`).

pub mod base64url;
pub mod claims;
pub mod ecdh_es;
pub mod foreign;
pub mod id_token;
pub mod jwe;
pub mod jwk;
pub mod jws;
pub mod logout_token;
pub mod public_key_info;
pub mod thumbprint;

/// Why a piece of untrusted text is not the JOSE object it should be.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Malformed {
    /// Not the right number of parts separated by full stops.
    #[error("expected {expected} parts separated by full stops")]
    Parts {
        /// Three for a JWS, five for a JWE.
        expected: usize,
    },
    /// A part is not unpadded base64url (RFC 7515 §2).
    #[error("expected unpadded base64url")]
    Base64,
    /// A part is not the JSON object it should be, or has members that are not allowed there.
    #[error("expected a JSON object with exactly the members of its kind")]
    Json,
    /// A fixed-size part has another size.
    #[error("expected {expected} bytes")]
    Length {
        /// The size in bytes.
        expected: usize,
    },
    /// The text, or a value in it, is longer than any that is read.
    #[error("expected at most {most} bytes")]
    TooLong {
        /// The limit in bytes.
        most: usize,
    },
    /// A header has a parameter that must not be there: it would bring a key, or change what the signature means.
    #[error("expected a header without crit, b64, zip, jwk, jku, x5u and x5c")]
    Parameter,
    /// A header names an algorithm that mintkeep does not use there.
    #[error("expected another algorithm")]
    Algorithm,
}
