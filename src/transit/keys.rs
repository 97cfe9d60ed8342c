//! Making keys, and ending them.

use super::error::RETRY_AFTER;
use super::parameters::quoted;
use super::{FoundKey, KeyDescription, KeyParameters, Transit, TransitError};
use crate::hardware::{DelegatedKeys, KeyName};
use crate::keyring::delegated::DelegatedError;
use crate::oauth::frontend::Frontend;

/// What a key is after something was asked of it.
pub struct Written {
    /// The key.
    pub key: KeyDescription,
    /// What is to be said beside.
    pub warning: Option<String>,
}

impl Transit {
    /// Makes the key `name` under the first of the caller's profiles whose keys are made by front-ends. One that is there
    /// already stays as it is.
    ///
    /// # Errors
    /// [`TransitError`].
    pub async fn create(
        &self,
        caller: &Frontend,
        name: &str,
        parameters: &KeyParameters,
    ) -> Result<Written, TransitError> {
        caller.signing.check_creates_keys()?;
        match parameters.key_type.as_deref() {
            Some(super::description::KEY_TYPE) => {}
            // Vault would make an AES key.
            None => return Err(TransitError::invalid("missing key type: expected ecdsa-p256")),
            Some(other) => {
                let message = format!("unknown key type {}: keys are of the type ecdsa-p256 here", quoted(other));
                return Err(TransitError::Invalid(message));
            }
        }
        parameters.check_possible()?;
        if let Some(existing) = self.find(caller, name).await {
            return self.existing(caller, name, &existing);
        }
        let profile = caller.signing.profiles.iter().find(|profile| self.has_created_keys(profile));
        let profile =
            profile.ok_or(TransitError::Forbidden("no signing profile of the front-end has keys that it makes"))?;
        let key_name = KeyName::created(profile, name)
            .map_err(|error| TransitError::Invalid(format!("invalid name {}: {error}", quoted(name))))?;
        match self.signer.create(key_name).await {
            Ok(key) => {
                let key = self.description(caller, name, &FoundKey { name: key_name, versions: vec![key] })?;
                Ok(Written { key, warning: None })
            }
            // Somebody else was quicker.
            Err(DelegatedError::Exists) => match self.find(caller, name).await {
                Some(existing) => self.existing(caller, name, &existing),
                None => Err(TransitError::Unavailable(RETRY_AFTER)),
            },
            Err(error) => Err(error.into()),
        }
    }

    fn existing(&self, caller: &Frontend, name: &str, key: &FoundKey) -> Result<Written, TransitError> {
        let key = self.description(caller, name, key)?;
        Ok(Written { key, warning: Some(format!("key {name} already existed")) })
    }

    fn has_created_keys(&self, profile: &str) -> bool {
        self.profiles.iter().any(|known| known.profile.as_str() == profile && known.keys == DelegatedKeys::Created)
    }

    /// Sets what can be set of the key `name`, which is nothing: what is asked has to be so already. A key may be deleted
    /// where a front-end had it made, by those that may make keys; this follows from the configuration, and is nowhere
    /// remembered.
    ///
    /// # Errors
    /// [`TransitError`].
    pub async fn configure(
        &self,
        caller: &Frontend,
        name: &str,
        parameters: &KeyParameters,
    ) -> Result<Written, TransitError> {
        caller.signing.check_creates_keys()?;
        let missing = || TransitError::Invalid(format!("no existing key named {} could be found", quoted(name)));
        let key = self.find(caller, name).await.ok_or_else(missing)?;
        parameters.check_possible()?;
        match (parameters.deletion_allowed.map(|flag| flag.0), key.is_created()) {
            (None, _) | (Some(true), true) | (Some(false), false) => {}
            (Some(true), false) => {
                return Err(TransitError::invalid("cannot set deletion_allowed: the key is the operator's"));
            }
            (Some(false), true) => {
                let message =
                    "cannot unset deletion_allowed: a key that was made here can be deleted by whoever may make keys";
                return Err(TransitError::invalid(message));
            }
        }
        Ok(Written { key: self.description(caller, name, &key)?, warning: None })
    }

    /// Destroys the key `name` for good.
    ///
    /// # Errors
    /// [`TransitError`].
    pub async fn delete(&self, caller: &Frontend, name: &str) -> Result<(), TransitError> {
        caller.signing.check_creates_keys()?;
        let refused = |reason| TransitError::Invalid(format!("error deleting policy {name}: {reason}"));
        let key = self.find(caller, name).await.ok_or_else(|| refused("could not delete key; not found"))?;
        if !key.is_created() {
            return Err(refused("deletion is not allowed for this key"));
        }
        match self.signer.destroy(&key.name).await {
            Err(DelegatedError::UnknownKey) => Err(refused("could not delete key; not found")),
            outcome => outcome.map_err(TransitError::from),
        }
    }

    /// Why no other version is put in the place of the key `name`: one that was made here has one version for ever, and the
    /// others are the operator's.
    pub async fn refuse_rotation(&self, caller: &Frontend, name: &str) -> TransitError {
        TransitError::invalid(match self.find(caller, name).await {
            None => "key not found",
            Some(key) if key.is_created() => {
                "cannot rotate the key: one that was made here has one version; make another key"
            }
            Some(_) => "cannot rotate the key: the operator's configuration says when keys are replaced",
        })
    }
}
