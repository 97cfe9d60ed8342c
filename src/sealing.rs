//! The refresh-token envelope: a JWE whose content only the hardware can read.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::jose::Malformed;
use crate::jose::jwe::{PresentedJwe, ProtectedHeader};
use crate::keeper::{Keeper, KeeperError};
use crate::keyring::Keyring;
use crate::store::FamilyId;

/// No refresh token of mintkeep's is longer; what is, is not looked at.
pub const MAX_TOKEN_LENGTH: usize = 2048;

/// Seals and opens refresh tokens through the keeper.
#[derive(Clone)]
pub struct Sealer {
    keeper: Keeper,
    keyring: Arc<Keyring>,
}

/// What is inside a refresh token: what the store's record of its family does not hold.
#[derive(Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Content {
    /// The generation of the family that this token is.
    #[serde(rename = "gen")]
    pub generation: u32,
    /// The client that it was given to.
    pub client_id: String,
}

/// A refresh token as a client presented it: its family is a claim, and nothing in it is proven.
#[derive(Debug)]
pub struct PresentedRefreshToken(PresentedJwe);

impl PresentedRefreshToken {
    /// Reads the envelope, without the hardware.
    ///
    /// # Errors
    /// [`Malformed`] where it is not one.
    pub fn parse(text: &str) -> Result<Self, Malformed> {
        if text.len() > MAX_TOKEN_LENGTH {
            return Err(Malformed::Length { expected: MAX_TOKEN_LENGTH });
        }
        PresentedJwe::parse(text).map(Self)
    }

    /// The family that it claims. It is looked up before the hardware is asked to open anything.
    pub fn fid(&self) -> FamilyId {
        FamilyId(self.0.fid)
    }
}

impl Sealer {
    /// Seals through `keeper`, by the key that `keyring` names.
    pub fn new(keeper: Keeper, keyring: Arc<Keyring>) -> Self {
        Self { keeper, keyring }
    }

    /// A refresh token of the family `fid`.
    ///
    /// # Errors
    /// [`KeeperError`].
    pub async fn seal(&self, fid: FamilyId, content: &Content) -> Result<String, KeeperError> {
        let kid = self.keyring.sealing_kid();
        let header = ProtectedHeader::new(kid, &fid.0);
        let plaintext = serde_json::to_vec(content).expect("a number and a string are JSON");
        let sealed = self.keeper.seal(&content.client_id, kid, header.as_bytes(), &plaintext).await?;
        header.into_compact(&sealed.nonce, &sealed.ciphertext_and_tag).map_err(|_| KeeperError::Protocol)
    }

    /// What is inside `presented`.
    ///
    /// # Errors
    /// [`KeeperError::NotAuthentic`] where it was not sealed here, or was changed since; the keeper's
    /// other errors are no statement about the token.
    pub async fn open(&self, client_id: &str, presented: &PresentedRefreshToken) -> Result<Content, KeeperError> {
        // Another key's token is nobody's here, and not worth a question to the hardware.
        if presented.0.kid != self.keyring.sealing_kid() {
            return Err(KeeperError::NotAuthentic);
        }
        let plaintext = self.keeper.open(client_id, &presented.0).await?;
        serde_json::from_slice(&plaintext).map_err(|_| KeeperError::NotAuthentic)
    }
}
