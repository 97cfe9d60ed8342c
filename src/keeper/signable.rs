//! What a mint has signed: something that its keeper can look at, or a digest.

use super::wire::Request;
use crate::jose::jws::SigningInput;

/// What a key is asked to sign.
pub trait Signable {
    /// The request to have the key `kid` sign it on behalf of `client`, under the signing profile `profile`.
    fn request<'a>(&'a self, client: &'a str, kid: &'a str, profile: &'a str) -> Request<'a>;
}

/// A JWT that the mint makes.
impl Signable for SigningInput {
    fn request<'a>(&'a self, client: &'a str, kid: &'a str, profile: &'a str) -> Request<'a> {
        Request::Sign { client, kid, profile, signing_input: self.as_bytes() }
    }
}

/// What a front-end brings.
impl Signable for Vec<u8> {
    fn request<'a>(&'a self, client: &'a str, kid: &'a str, profile: &'a str) -> Request<'a> {
        Request::Sign { client, kid, profile, signing_input: self }
    }
}

/// The SHA-256 of what a front-end does not show.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct PresentedDigest(pub [u8; 32]);

impl Signable for PresentedDigest {
    fn request<'a>(&'a self, client: &'a str, kid: &'a str, profile: &'a str) -> Request<'a> {
        Request::SignDigest { client, kid, profile, digest: self.0 }
    }
}
