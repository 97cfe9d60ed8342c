//! Why a call is not answered, and what its caller learns: a code, and a text that is the same each time. Details go to
//! the log.

use tonic::{Code, Status};

use super::{claims, deadline};
use crate::keeper::KeeperError;
use crate::keyring::delegated::DelegatedError;
use crate::oauth::frontend::FrontendError;

/// Why a call is not answered.
#[derive(Debug, thiserror::Error)]
pub(super) enum CallError {
    /// The caller is no front-end, or may not have what it asks for.
    #[error(transparent)]
    Frontend(#[from] FrontendError),
    /// The claims have no good form.
    #[error(transparent)]
    Claims(#[from] claims::Malformed),
    /// The caller says that it waits for a time that is none.
    #[error("grpc-timeout: expected one to eight digits and a unit")]
    Timeout,
    /// The caller does not wait any longer.
    #[error("the caller's time is up")]
    TooLate,
    /// There is no key yet.
    #[error("the signing profile has no key; `mintkeep keys init` makes it")]
    NoKey,
    /// No signature was made.
    #[error(transparent)]
    Signing(#[from] DelegatedError),
}

impl From<deadline::Malformed> for CallError {
    fn from(deadline::Malformed: deadline::Malformed) -> Self {
        Self::Timeout
    }
}

impl CallError {
    fn code(&self) -> Code {
        match self {
            Self::Claims(_) | Self::Timeout => Code::InvalidArgument,
            Self::Frontend(FrontendError::Unknown | FrontendError::Forbidden(_)) => Code::PermissionDenied,
            Self::Frontend(FrontendError::TooMany(_)) => Code::ResourceExhausted,
            Self::TooLate => Code::DeadlineExceeded,
            Self::NoKey => Code::Unavailable,
            Self::Signing(error) => match error {
                DelegatedError::Refused(_) => Code::PermissionDenied,
                DelegatedError::UnknownKey | DelegatedError::Store(_) => Code::Unavailable,
                // Nobody asked for a key here.
                DelegatedError::Exists => Code::Internal,
                DelegatedError::Keeper(error) => of_keeper(error),
            },
        }
    }

    fn text(&self) -> &'static str {
        match self {
            Self::Claims(claims::Malformed::Base64) => "claims: expected base64url without padding",
            Self::Claims(claims::Malformed::Json) => "claims: expected a JSON object",
            Self::Timeout => "grpc-timeout: expected one to eight digits and a unit",
            Self::Frontend(FrontendError::Unknown) => {
                "expected the uid of a front-end that may use the signing profile"
            }
            Self::Frontend(FrontendError::Forbidden(reason)) => reason,
            Self::Frontend(FrontendError::TooMany(_)) => "the front-end is over a limit of its own; try again later",
            Self::Signing(DelegatedError::Refused(_)) => "the signing profile does not allow these claims",
            Self::TooLate => "the time is up",
            Self::NoKey | Self::Signing(_) => "the hardware does not sign now; try again later",
        }
    }
}

/// What has to do with the hardware.
fn of_keeper(error: &KeeperError) -> Code {
    match error {
        KeeperError::TimedOut => Code::DeadlineExceeded,
        KeeperError::Congested { .. } | KeeperError::Busy => Code::ResourceExhausted,
        KeeperError::Policy(_) => Code::PermissionDenied,
        KeeperError::Lost
        | KeeperError::Unavailable { .. }
        | KeeperError::Refused(_)
        | KeeperError::NoKey
        | KeeperError::UnknownKey(_)
        | KeeperError::Hardware(..) => Code::Unavailable,
        KeeperError::NotAuthentic | KeeperError::Protocol => Code::Internal,
    }
}

impl From<&CallError> for Status {
    fn from(error: &CallError) -> Self {
        Self::new(error.code(), error.text())
    }
}
