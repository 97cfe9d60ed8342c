//! Why a device did not do what it was asked, as the mint knows it.

use std::time::Duration;

use super::health::Condition;
use crate::hardware::Fault;

/// Why the keeper did not do what it was asked.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum KeeperError {
    /// The device is slow, or hangs: the time is up, and no other device was asked.
    #[error("the keeper did not answer in time")]
    TimedOut,
    /// Keepers died while they had the request.
    #[error("the keeper was lost during the request")]
    Lost,
    /// The device is not asked now.
    #[error("the device is not asked now: {condition}")]
    Unavailable {
        /// Why.
        condition: Condition,
        /// When it may be asked again.
        retry_after: Duration,
    },
    /// The device has more to do than it could do in time; it was not asked.
    #[error("the device has too much to do")]
    Congested {
        /// When it may have less to do.
        retry_after: Duration,
    },
    /// More requests wait than may wait.
    #[error("the keeper is busy")]
    Busy,
    /// The keeper cannot be started until an operator acts.
    #[error("there is no keeper: {0}")]
    Refused(String),
    /// The signing policy forbids it.
    #[error("the signing policy refused: {0}")]
    Policy(String),
    /// What was to be opened was not sealed by this keeper's key, or was changed since.
    #[error("what was to be opened is not authentic")]
    NotAuthentic,
    /// No key may be used now: none is active, or nobody knows whether it still is.
    #[error("no key is active")]
    NoKey,
    /// No device that has answered has this key.
    #[error("no device has the key {0}")]
    UnknownKey(String),
    /// The hardware failed.
    #[error("the hardware failed: {1}")]
    Hardware(Fault, String),
    /// Mint and keeper do not understand each other.
    #[error("unexpected answer from the keeper")]
    Protocol,
}

/// What clients are told to wait for a device that was not there yet.
const NOT_YET: Duration = Duration::from_secs(5);

impl KeeperError {
    /// Of a device that did not answer since the mint started.
    pub(super) fn not_there_yet() -> Self {
        Self::Unavailable { condition: Condition::Gone, retry_after: NOT_YET }
    }

    /// Whether another device may do what this one did not: neither the request nor the mint is at fault.
    pub fn is_device_fault(&self) -> bool {
        match self {
            Self::Lost
            | Self::Unavailable { .. }
            | Self::Congested { .. }
            | Self::Busy
            | Self::Refused(_)
            | Self::UnknownKey(_)
            | Self::Hardware(..) => true,
            // With the time that is up, it is up for all.
            Self::TimedOut | Self::NoKey | Self::Policy(_) | Self::NotAuthentic | Self::Protocol => false,
        }
    }
}
