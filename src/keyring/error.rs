//! Why keys cannot be used, or moved on.

use crate::hardware::Role;
use crate::jose::jwk::NotOnCurve;
use crate::keeper::KeeperError;
use crate::store;

/// Why the keys cannot be used, or moved on.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// The store failed.
    #[error(transparent)]
    Store(#[from] store::Error),
    /// A device did not do what it was asked.
    #[error("the device {device} did not generate a key: {error}")]
    Device {
        /// Its name in the configuration.
        device: String,
        /// What it failed by.
        error: KeeperError,
    },
    /// The store says that a key is in use, and no device has it.
    #[error(
        "the store says that the {role} key {kid} of the device {device} is {state}, and no device has it: is this the right device, and the right store? Where the key is lost for good, run `mintkeep keys revoke {kid}`"
    )]
    Missing {
        /// Its `kid`.
        kid: String,
        /// What it is for.
        role: Box<Role>,
        /// The device that it should be in.
        device: String,
        /// What it is good for.
        state: &'static str,
    },
    /// What the store says is no key.
    #[error("the store is damaged: {0}")]
    Damaged(#[from] NotOnCurve),
    /// There is no such key.
    #[error("no key {0} is known; `mintkeep keys states` lists them")]
    Unknown(String),
    /// There is no such device.
    #[error("no device is called {0}; see [hardware] in the configuration")]
    UnknownDevice(String),
    /// Keys of this role do not follow one another.
    #[error(
        "no keys of the role {0} are replaced; expected signing, sealing, or delegated: and the name of a [[signing_profile]] that has one key"
    )]
    NotReplaced(Box<Role>),
    /// The key is not in a state in which that can be done.
    #[error("the key {kid} is {found}; {expected}")]
    NotNow {
        /// Its `kid`.
        kid: String,
        /// Its state.
        found: &'static str,
        /// What it would have to be, or what to do.
        expected: String,
    },
    /// Somebody else moved the key on at the same moment.
    #[error("the key {0} was changed by another node at this moment; look at `mintkeep keys states`, and try again")]
    Raced(String),
}
