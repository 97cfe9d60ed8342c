//! Signing by whichever active key is best placed.

use serde::Serialize;

use super::{CurrentKeyring, Keyring};
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
        match self.sign_by(&self.keyring.load(), client, work, profile, typ, claims).await {
            // Another node put a key into use, in an emergency, that no device of this one was asked for yet.
            Err(KeeperError::UnknownKey(_)) => {
                self.sign_by(self.keyring.newer().await.as_ref(), client, work, profile, typ, claims).await
            }
            outcome => outcome,
        }
    }

    async fn sign_by(
        &self,
        keyring: &Keyring,
        client: &str,
        work: Work,
        profile: &str,
        typ: &str,
        claims: &impl Serialize,
    ) -> Result<String, KeeperError> {
        if keyring.signing().is_empty() {
            return Err(KeeperError::NoKey);
        }
        let signing_input = |kid: &str| SigningInput::new(typ, kid, claims);
        let signed = self.keepers.sign_by_any(keyring.signing(), client, work, profile, signing_input).await?;
        let SignedBy { kid, signing_input, signature } = signed;
        keyring.count_use(kid);
        Ok(signing_input.into_compact(&signature))
    }
}
