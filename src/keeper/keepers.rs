//! All the keepers of a mint, one a device.

use std::sync::Arc;

use secrecy::zeroize::Zeroizing;

use super::{Keeper, KeeperError};
use crate::hardware::Sealed;
use crate::hardware::attestation::Nonce;
use crate::jose::jwe::PresentedJwe;
use crate::jose::jws::{Signature, SigningInput};

/// Finds for each key the device that has it. Clones share all connections.
#[derive(Clone)]
pub struct Keepers {
    members: Arc<[Member]>,
}

/// A device and the way to it.
pub struct Member {
    /// The device's name in the configuration.
    pub name: String,
    /// The way to it.
    pub keeper: Keeper,
}

impl Keepers {
    /// The keepers of a mint.
    pub fn new(members: Vec<Member>) -> Self {
        Self { members: members.into() }
    }

    /// All of them.
    pub fn members(&self) -> &[Member] {
        &self.members
    }

    /// Signs by the key `kid`, on behalf of `client`, under the signing profile `profile`.
    ///
    /// # Errors
    /// [`KeeperError`]; [`KeeperError::Policy`] names the rule.
    pub async fn sign(
        &self,
        kid: &str,
        client: &str,
        profile: &str,
        signing_input: &SigningInput,
    ) -> Result<Signature, KeeperError> {
        self.of(kid)?.sign(kid, client, profile, signing_input).await
    }

    /// Seals `plaintext` by the key `kid` on behalf of `client`.
    ///
    /// # Errors
    /// [`KeeperError`].
    pub async fn seal(&self, kid: &str, client: &str, aad: &[u8], plaintext: &[u8]) -> Result<Sealed, KeeperError> {
        self.of(kid)?.seal(kid, client, aad, plaintext).await
    }

    /// Opens `presented` on behalf of `client`.
    ///
    /// # Errors
    /// [`KeeperError`]; [`KeeperError::NotAuthentic`] for anything that its key did not seal.
    pub async fn open(&self, client: &str, presented: &PresentedJwe) -> Result<Zeroizing<Vec<u8>>, KeeperError> {
        self.of(&presented.kid)?.open(client, presented).await
    }

    /// Evidence of where the key `kid` lives, made for `nonce`: a document in JSON.
    ///
    /// # Errors
    /// [`KeeperError`].
    pub async fn attest(&self, kid: &str, nonce: &Nonce) -> Result<Vec<u8>, KeeperError> {
        self.of(kid)?.attest(kid, nonce).await
    }

    /// Has each device make a signature and verifies it.
    ///
    /// # Errors
    /// The first [`KeeperError`].
    pub async fn probe(&self) -> Result<(), KeeperError> {
        for member in self.members.iter() {
            member.keeper.probe().await?;
        }
        Ok(())
    }

    fn of(&self, kid: &str) -> Result<&Keeper, KeeperError> {
        let has = |member: &&Member| member.keeper.public_keys().keys.kids().any(|known| known == kid);
        self.members
            .iter()
            .find(has)
            .map(|member| &member.keeper)
            .ok_or_else(|| KeeperError::UnknownKey(kid.to_owned()))
    }
}
