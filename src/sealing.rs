//! The refresh-token envelope: a JWE whose content only the hardware can read.

use std::sync::Arc;

use aws_lc_rs::digest::{Context, SHA256};
use secrecy::zeroize::Zeroizing;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::entropy::Entropy;
use crate::hardware::{Role, SealingKey};
use crate::jose::jwe::{FAMILY_BYTES, KeyManagement, PresentedJwe, ProtectedHeader};
use crate::jose::{Malformed, base64url, ecdh_es};
use crate::keeper::{KeeperError, Keepers};
use crate::keyring::CurrentKeyring;
use crate::store::FamilyId;

/// No refresh token of mintkeep's is longer; what is, is not looked at.
pub const MAX_TOKEN_LENGTH: usize = 2048;

/// Seals and opens refresh tokens through the keepers.
#[derive(Clone)]
pub struct Sealer {
    keepers: Keepers,
    keyring: CurrentKeyring,
    entropy: Arc<dyn Entropy>,
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
    /// What proves that a token is of its family, where everybody could seal one. Families of the first release have none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret: Option<FamilySecret>,
}

/// What only the tokens of one family carry; the family's handle is a hash of it.
///
/// Everybody who knows a public key can seal to it (RFC 7518 §4.6 authenticates no sender), and `sid` in access
/// tokens tells the handle of a family. Without this, whoever knows both could make refresh tokens.
#[derive(Clone, Eq, PartialEq)]
pub struct FamilySecret(Zeroizing<[u8; 32]>);

impl FamilySecret {
    /// The handle of the family that has this secret.
    fn fid(&self) -> FamilyId {
        let mut hash = Context::new(&SHA256);
        hash.update(b"mintkeep refresh family\0");
        hash.update(self.0.as_slice());
        let mut fid = [0; FAMILY_BYTES];
        fid.copy_from_slice(&hash.finish().as_ref()[..FAMILY_BYTES]);
        FamilyId(fid)
    }
}

impl std::fmt::Debug for FamilySecret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("FamilySecret")
    }
}

impl Serialize for FamilySecret {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&Zeroizing::new(base64url::encode(self.0.as_slice())))
    }
}

impl<'de> Deserialize<'de> for FamilySecret {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Zeroizing::new(String::deserialize(deserializer)?);
        base64url::decode_array(text.as_str())
            .map(|secret| Self(Zeroizing::new(secret)))
            .map_err(serde::de::Error::custom)
    }
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
    /// Seals through `keepers`, by the keys that `keyring` names.
    pub fn new(keepers: Keepers, keyring: CurrentKeyring, entropy: Arc<dyn Entropy>) -> Self {
        Self { keepers, keyring, entropy }
    }

    /// The handle of a new family, and the secret that its tokens carry.
    pub fn new_family(&self) -> (FamilyId, FamilySecret) {
        let secret = FamilySecret(Zeroizing::new(self.entropy.bytes()));
        (secret.fid(), secret)
    }

    /// A refresh token of the family `fid`. To a public key it is sealed here, without the hardware. Where one device
    /// fails, the next is tried.
    ///
    /// # Errors
    /// [`KeeperError`]: of the last device that was tried.
    pub async fn seal(&self, fid: FamilyId, content: &Content) -> Result<String, KeeperError> {
        let keyring = self.keyring.load();
        let plaintext = Zeroizing::new(serde_json::to_vec(content).expect("numbers and strings are JSON"));
        let mut passed_over: Vec<&str> = Vec::new();
        let mut failure = KeeperError::NoKey;
        while let Some(kid) = self.keepers.choose(keyring.active(Role::Sealing), &passed_over) {
            let sealed = match keyring.opener(kid) {
                Some(SealingKey::Direct(_)) => self.seal_directly(kid, fid, content, &plaintext).await,
                Some(SealingKey::EcdhEs(recipient)) if content.secret.is_some() => {
                    ecdh_es::seal(recipient, &fid.0, &plaintext, self.entropy.as_ref())
                        .map_err(|_| KeeperError::Protocol)
                }
                // A family that began when tokens had no secret stays with keys that need none.
                Some(SealingKey::EcdhEs(_)) | None => Err(KeeperError::UnknownKey(kid.to_owned())),
            };
            match sealed {
                Ok(token) => {
                    keyring.count_use(kid);
                    return Ok(token);
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

    async fn seal_directly(
        &self,
        kid: &str,
        fid: FamilyId,
        content: &Content,
        plaintext: &[u8],
    ) -> Result<String, KeeperError> {
        let header = ProtectedHeader::new(kid, KeyManagement::Direct, &fid.0);
        let sealed = self.keepers.seal(kid, &content.client_id, header.as_bytes(), plaintext).await?;
        header.into_compact(&sealed.nonce, &sealed.ciphertext_and_tag).map_err(|_| KeeperError::Protocol)
    }

    /// What is inside `presented`.
    ///
    /// # Errors
    /// [`KeeperError::NotAuthentic`] where it was not sealed here, or was changed since; the keeper's
    /// other errors are no statement about the token.
    pub async fn open(&self, client_id: &str, presented: &PresentedRefreshToken) -> Result<Content, KeeperError> {
        let needs_secret = match (self.may_open(&presented.0.kid).await?, presented.0.key_management) {
            (SealingKey::Direct(_), KeyManagement::Direct) => false,
            (SealingKey::EcdhEs(_), KeyManagement::EcdhEs { .. }) => true,
            _ => return Err(KeeperError::NotAuthentic),
        };
        let plaintext = match self.keepers.open(client_id, &presented.0).await {
            Err(KeeperError::UnknownKey(_)) => {
                self.keyring.newer().await;
                self.keepers.open(client_id, &presented.0).await?
            }
            outcome => outcome?,
        };
        let content: Content = serde_json::from_slice(&plaintext).map_err(|_| KeeperError::NotAuthentic)?;
        let is_proven = match &content.secret {
            Some(secret) => secret.fid() == presented.fid(),
            None => !needs_secret,
        };
        if is_proven { Ok(content) } else { Err(KeeperError::NotAuthentic) }
    }

    /// The key `kid`, where tokens that it sealed are good. Another key's token is nobody's here, and not worth a
    /// question to the hardware; but another node may have begun to use a key that this one has not heard of.
    async fn may_open(&self, kid: &str) -> Result<SealingKey, KeeperError> {
        if let Some(key) = self.keyring.load().opener(kid) {
            return Ok(key.clone());
        }
        self.keyring.newer().await.opener(kid).cloned().ok_or(KeeperError::NotAuthentic)
    }
}
