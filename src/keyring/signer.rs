//! Signing by whichever active key is best placed.

use serde::Serialize;

use super::CurrentKeyring;
use crate::jose::jws::SigningInput;
use crate::keeper::{KeeperError, Keepers};

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
        profile: &str,
        typ: &str,
        claims: &impl Serialize,
    ) -> Result<String, KeeperError> {
        let keyring = self.keyring.load();
        let mut passed_over: Vec<&str> = Vec::new();
        let mut failure = KeeperError::NoKey;
        while let Some(kid) = self.keepers.choose(keyring.signing(), &passed_over) {
            let signing_input = SigningInput::new(typ, kid, claims);
            match self.keepers.sign(kid, client, profile, &signing_input).await {
                Ok(signature) => {
                    keyring.count_use(kid);
                    return Ok(signing_input.into_compact(&signature));
                }
                Err(error) if error.is_device_fault() => {
                    passed_over.push(kid);
                    failure = error;
                }
                Err(error) => return Err(error),
            }
        }
        Err(failure)
    }
}
