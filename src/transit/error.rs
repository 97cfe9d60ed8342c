//! Why a transit request is not served.

use std::time::Duration;

use crate::keeper::KeeperError;
use crate::keeper::policy::Rule;
use crate::keyring::delegated::DelegatedError;
use crate::oauth::frontend::FrontendError;

/// What a client is told to wait where nobody knows better.
pub(super) const RETRY_AFTER: Duration = Duration::from_secs(1);

/// Why a request is not served. What is said is for the developer of the client: nothing of it is secret.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum TransitError {
    /// There is nothing of that name that the caller may know of: HTTP 404, and no word more.
    #[error("not found")]
    NotFound,
    /// The request cannot be served as it is: HTTP 400.
    #[error("{0}")]
    Invalid(String),
    /// The caller may not have that: HTTP 403.
    #[error("permission denied: {0}")]
    Forbidden(&'static str),
    /// More is asked for than may be: HTTP 429.
    #[error("rate limit quota exceeded")]
    TooMany(Duration),
    /// The device or the store cannot serve it now: HTTP 503.
    #[error("the key cannot be used now; try again")]
    Unavailable(Duration),
    /// mintkeep contradicts itself: HTTP 500.
    #[error("internal error")]
    Internal,
}

impl TransitError {
    pub(super) fn invalid(reason: impl Into<String>) -> Self {
        Self::Invalid(reason.into())
    }
}

impl From<FrontendError> for TransitError {
    fn from(error: FrontendError) -> Self {
        match error {
            FrontendError::Unknown => Self::Forbidden("the caller is no front-end"),
            FrontendError::Forbidden(reason) => Self::Forbidden(reason),
            FrontendError::TooMany(retry_after) => Self::TooMany(retry_after),
        }
    }
}

impl From<DelegatedError> for TransitError {
    fn from(error: DelegatedError) -> Self {
        match error {
            // It was there a moment ago.
            DelegatedError::UnknownKey => Self::invalid("signing key not found"),
            DelegatedError::Refused(rule) => refused(rule),
            DelegatedError::Exists => Self::invalid("the key exists already"),
            DelegatedError::Keeper(error) => error.into(),
            DelegatedError::Store(error) => {
                tracing::warn!(%error, "answering 503");
                Self::Unavailable(RETRY_AFTER)
            }
        }
    }
}

impl From<KeeperError> for TransitError {
    fn from(error: KeeperError) -> Self {
        match error {
            KeeperError::Policy(rule) => refused(rule),
            KeeperError::TimedOut
            | KeeperError::Lost
            | KeeperError::Busy
            | KeeperError::Refused(_)
            | KeeperError::NoKey
            | KeeperError::UnknownKey(_)
            | KeeperError::Hardware(..) => {
                tracing::warn!(%error, "answering 503");
                Self::Unavailable(RETRY_AFTER)
            }
            KeeperError::Unavailable { retry_after, .. } | KeeperError::Congested { retry_after } => {
                tracing::warn!(%error, "answering 503");
                Self::Unavailable(retry_after)
            }
            KeeperError::NotAuthentic | KeeperError::Protocol => {
                tracing::error!(%error, "mint and keeper disagree");
                Self::Internal
            }
        }
    }
}

/// What the keeper refused by its rule `rule`, which comes as text.
fn refused(rule: String) -> TransitError {
    if rule == Rule::Rate.to_string() {
        TransitError::TooMany(RETRY_AFTER)
    } else if rule == Rule::Digest.to_string() {
        TransitError::Forbidden("the signing profile signs no digests")
    } else {
        TransitError::Invalid(format!("the signing policy refused: {rule}"))
    }
}
