//! STUB of part KEYS, dropped when that is merged.
#![expect(missing_docs, reason = "a stub")]

use std::num::NonZeroU32;
use std::time::Duration;

use crate::clock::Timestamp;
use crate::jose::jwk::P256PublicKey;
use crate::jose::jws::Signature;
use crate::keeper::KeeperError;

#[derive(Clone, Debug, Eq, PartialEq)]
pub struct KeyName(String);

impl KeyName {
    pub fn parse(text: &str) -> Result<Self, ()> {
        Ok(Self(text.to_owned()))
    }
    pub fn created(profile: &str, name: &str) -> Result<Self, ()> {
        Ok(Self(format!("{profile}/{name}")))
    }
    pub fn profile(&self) -> &str {
        self.0.split('/').next().unwrap_or_default()
    }
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum DelegatedKeys {
    One,
    Created,
}

#[derive(Clone, Debug, Eq, PartialEq)]
pub struct DelegatedProfile {
    pub name: String,
    pub content: Content,
    pub prehashed_per_second: Option<NonZeroU32>,
    pub keys: DelegatedKeys,
}

#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Content {
    Jwt { issuers: Vec<String>, audiences: Option<Vec<String>>, types: Vec<String>, max_lifetime: Duration },
    Any,
}

pub struct VersionedKey {
    pub version: u32,
    pub kid: String,
    pub public_key: P256PublicKey,
    pub created_at: Timestamp,
    pub is_active: bool,
}

#[derive(Clone)]
pub struct DelegatedSigner;

pub struct DelegatedSignature {
    pub version: u32,
    pub kid: String,
    pub input: Vec<u8>,
    pub signature: Signature,
}

#[derive(Debug)]
pub enum DelegatedError {
    UnknownKey,
    Refused(String),
    Exists,
    Keeper(KeeperError),
    Store(crate::store::Error),
}

impl DelegatedSigner {
    pub fn names(&self) -> Vec<KeyName> {
        Vec::new()
    }
    pub fn keys(&self, _: &KeyName) -> Vec<VersionedKey> {
        Vec::new()
    }
    pub async fn sign(
        &self,
        _: &str,
        _: &str,
        _: &KeyName,
        _: Option<u32>,
        _: impl Fn(&str) -> Vec<u8>,
    ) -> Result<DelegatedSignature, DelegatedError> {
        Err(DelegatedError::UnknownKey)
    }
}
