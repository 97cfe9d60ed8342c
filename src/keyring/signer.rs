//! Signing by whichever active key is best placed.

use serde::Serialize;

use super::CurrentKeyring;
use crate::hardware::Role;
use crate::jose::jws::SigningInput;
use crate::keeper::{KeeperError, Keepers, SignedBy, Work};

/// Has the hardware sign. Clones share everything.
#[derive(Clone)]
pub struct Signer {
    keepers: Keepers,
    keyring: CurrentKeyring,
}

impl Signer {
    /// Signs through `keepers`, by the keys that `keyring` names.
    pub fn new(keepers: Keepers, keyring: CurrentKeyring) -> Self {
        Self { keepers, keyring }
    }

    /// The compact JWS of `claims`, of the type `typ`, signed on behalf of `client` under the signing profile
    /// `profile`. Where one device fails, the next is tried.
    ///
    /// # Errors
    /// [`KeeperError`]: of the last device that was tried.
    pub async fn sign(
        &self,
        client: &str,
        work: Work,
        profile: &str,
        typ: &str,
        claims: &impl Serialize,
    ) -> Result<String, KeeperError> {
        let mut keyring = self.keyring.load();
        let mut was_renewed = false;
        loop {
            let kids = keyring.active(Role::Signing);
            let signing_input = |kid: &str| SigningInput::new(typ, kid, claims);
            match self.keepers.sign_by_any(kids, client, work, profile, signing_input).await {
                Ok(SignedBy { kid, input, signature }) => {
                    keyring.count_use(kid);
                    return Ok(input.into_compact(&signature));
                }
                // Another node put a key into use, in an emergency, that no device of this one was asked for yet.
                Err(KeeperError::UnknownKey(_)) if !was_renewed => was_renewed = true,
                Err(error) => return Err(error),
            }
            keyring = self.keyring.newer().await;
        }
    }
}
