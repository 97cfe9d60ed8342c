//! Why a command failed, as the operator and the exit code learn it.

use crate::config::ConfigError;
use crate::hardware;
use crate::keeper::wire::StartFailure;
use crate::keyring::KeyError;
use crate::oauth::OAuthError;
use crate::store::{self, transfer::TransferError};

/// One line for the operator, and what it was about.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct Failure {
    /// What failed.
    pub kind: Kind,
    /// What was expected, what was found, what to do.
    pub message: String,
}

/// What failed; each has an exit code of its own.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Kind {
    /// Anything else: 1.
    Other,
    /// The configuration: 3.
    Configuration,
    /// Module, token or keeper, in a way that may pass: 4.
    Hardware,
    /// The store: 5.
    Store,
    /// An address or socket that cannot be listened at: 6.
    Listen,
    /// What was asked for is not allowed: 7.
    Refused,
    /// The PIN, a key or the keeper, refused until somebody changes something: 8. A service manager must not
    /// try again, because another wrong PIN may lock the token.
    HardwareForGood,
}

impl Kind {
    /// The exit code of the process. 2 is the command line's own.
    pub fn exit_code(self) -> u8 {
        match self {
            Self::Other => 1,
            Self::Configuration => 3,
            Self::Hardware => 4,
            Self::Store => 5,
            Self::Listen => 6,
            Self::Refused => 7,
            Self::HardwareForGood => 8,
        }
    }
}

impl Kind {
    /// What failed in a command that ended with `code`.
    pub(super) fn of_exit_code(code: Option<i32>) -> Self {
        let kinds =
            [Self::Configuration, Self::Hardware, Self::Store, Self::Listen, Self::Refused, Self::HardwareForGood];
        kinds.into_iter().find(|kind| code == Some(kind.exit_code().into())).unwrap_or(Self::Other)
    }

    fn of_hardware(is_final: bool) -> Self {
        if is_final { Self::HardwareForGood } else { Self::Hardware }
    }
}

impl Failure {
    /// A failure of `kind`.
    pub fn new(kind: Kind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into() }
    }

    /// For `map_err`: a failure of no particular kind, and what was being done.
    pub(super) fn while_doing<Cause: std::fmt::Display>(what: impl std::fmt::Display) -> impl FnOnce(Cause) -> Self {
        move |cause| Self::new(Kind::Other, format!("{what}: {cause}"))
    }
}

impl From<ConfigError> for Failure {
    fn from(error: ConfigError) -> Self {
        Self::new(Kind::Configuration, error.to_string())
    }
}

impl From<hardware::Error> for Failure {
    fn from(error: hardware::Error) -> Self {
        Self::new(Kind::of_hardware(error.is_final()), error.to_string())
    }
}

impl From<StartFailure> for Failure {
    fn from(failure: StartFailure) -> Self {
        Self::new(Kind::of_hardware(failure.is_final), failure.message)
    }
}

impl From<store::Error> for Failure {
    fn from(error: store::Error) -> Self {
        Self::new(Kind::Store, error.to_string())
    }
}

impl From<KeyError> for Failure {
    fn from(error: KeyError) -> Self {
        let kind = match &error {
            KeyError::Store(_) | KeyError::Damaged(_) => Kind::Store,
            KeyError::Device { .. } => Kind::Hardware,
            KeyError::Missing { .. } => Kind::HardwareForGood,
            KeyError::Unknown(_)
            | KeyError::UnknownDevice(_)
            | KeyError::NotReplaced(_)
            | KeyError::NotNow { .. }
            | KeyError::Raced(_) => Kind::Refused,
        };
        Self::new(kind, error.to_string())
    }
}

impl From<TransferError> for Failure {
    fn from(error: TransferError) -> Self {
        match error {
            TransferError::Store(error) => error.into(),
            TransferError::TargetInUse | TransferError::SourceInUse => Self::new(Kind::Refused, error.to_string()),
        }
    }
}

impl From<OAuthError> for Failure {
    fn from(error: OAuthError) -> Self {
        let kind = match error {
            OAuthError::TemporarilyUnavailable { .. } | OAuthError::ServerError => Kind::Other,
            _ => Kind::Refused,
        };
        Self::new(kind, format!("{}: {}", error.code(), error.description()))
    }
}
