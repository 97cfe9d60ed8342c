//! The transit engine of Vault, as far as it signs: whoever has Vault sign has mintkeep sign with a setting changed.
//!
//! This is names, versions, rights and forms; what stands in HTTP is [`crate::http`]'s. A key of the profile `P` that is
//! replaced in time is the transit key `P`; a key `P/NAME` that a front-end had made is the transit key `NAME`, and has
//! one version for ever. A caller knows the keys of its own profiles, and those only.

mod description;
mod error;
mod input;
mod keys;
mod parameters;
mod scalar;
mod signature;
mod signing;
mod told;

use std::collections::BTreeSet;
use std::sync::Arc;

use self::told::{Reading, ToldVersions};
use crate::clock::Clock;
use crate::hardware::{KeyName, ProfileKeys};
use crate::keeper::policy::DelegatedProfile;
use crate::keyring::delegated::{DelegatedSigner, VersionedKey};
use crate::oauth::frontend::Frontend;

pub use self::description::KeyDescription;
pub use self::error::TransitError;
pub use self::keys::Written;
pub use self::parameters::{KeyParameters, SigningParameters, read};
pub use self::signing::{Signed, Verified};

/// The keys that front-ends sign by, in the manner of Vault.
pub struct Transit {
    signer: DelegatedSigner,
    profiles: Vec<ProfileKeys>,
    told: ToldVersions,
    clock: Arc<dyn Clock>,
}

/// A key that a caller may know of.
struct FoundKey {
    name: KeyName,
    /// The oldest one first; at least one.
    versions: Vec<VersionedKey>,
}

impl FoundKey {
    /// The version that signs now; of a key that does not sign yet, the newest one.
    fn latest_version(&self) -> u32 {
        let newest = |keys: &mut dyn Iterator<Item = &VersionedKey>| keys.map(|key| key.version).max();
        let active = newest(&mut self.versions.iter().filter(|key| key.is_active));
        active.or_else(|| newest(&mut self.versions.iter())).unwrap_or(1)
    }

    fn has(&self, version: u32) -> bool {
        self.versions.iter().any(|key| key.version == version)
    }

    fn is_created(&self) -> bool {
        self.name.created_name().is_some()
    }
}

impl Transit {
    /// For the keys of `profiles`, by which `signer` signs.
    pub fn new(signer: DelegatedSigner, profiles: &[DelegatedProfile], clock: Arc<dyn Clock>) -> Self {
        let profiles = profiles.iter().map(DelegatedProfile::its_keys).collect();
        Self { signer, profiles, told: ToldVersions::default(), clock }
    }

    /// What `caller` calls its keys, in order.
    pub fn list(&self, caller: &Frontend) -> Vec<String> {
        let names = self.signer.names().into_iter().filter(|name| caller.signing.check_profile(name.profile()).is_ok());
        let names: BTreeSet<String> = names.map(|name| transit_name(&name).to_owned()).collect();
        names.into_iter().collect()
    }

    /// What is to be known of the key `name`. The version that `caller` is told to be the latest signs for it from now on,
    /// where it names none.
    ///
    /// # Errors
    /// [`TransitError::NotFound`].
    pub async fn describe(&self, caller: &Frontend, name: &str) -> Result<KeyDescription, TransitError> {
        let mut key = self.find(caller, name).await.ok_or(TransitError::NotFound)?;
        if key.is_created() {
            return self.description(caller, name, &key);
        }
        let read = |key: &FoundKey| {
            let may_sign = |version| key.has(version);
            self.told.read(&caller.name, key.name, key.latest_version(), may_sign, self.clock.instant())
        };
        // The second reading is told in any case but that another one came between the two.
        while let Reading::Wait(time) = read(&key) {
            tokio::time::sleep(time).await;
            key = self.find(caller, name).await.ok_or(TransitError::NotFound)?;
        }
        self.description(caller, name, &key)
    }

    fn description(&self, caller: &Frontend, name: &str, key: &FoundKey) -> Result<KeyDescription, TransitError> {
        let deletion_allowed = key.is_created() && caller.signing.creates_keys;
        KeyDescription::new(name, &key.versions, key.latest_version(), deletion_allowed)
    }

    /// The key that `caller` calls `name`: of its profiles in their order, the first that has one. Where none has, the store
    /// is asked once more: SPIRE makes a key at one node and reads it at another.
    async fn find(&self, caller: &Frontend, name: &str) -> Option<FoundKey> {
        if let Some(found) = self.known(caller, name) {
            return Some(found);
        }
        // What is no name is nowhere.
        KeyName::parse(name).ok()?;
        self.signer.look_again().await;
        self.known(caller, name)
    }

    fn known(&self, caller: &Frontend, name: &str) -> Option<FoundKey> {
        caller.signing.profiles.iter().find_map(|profile| {
            let own = KeyName::parse(profile).ok().filter(|_| profile == name);
            let created = KeyName::created(profile, name).ok();
            [own, created].into_iter().flatten().find_map(|name| {
                let versions = self.signer.keys(&name);
                (!versions.is_empty()).then_some(FoundKey { name, versions })
            })
        })
    }
}

/// What callers call the key `name`.
fn transit_name(name: &KeyName) -> &str {
    name.created_name().unwrap_or_else(|| name.profile())
}
