//! What comes of a request that is not granted.

use std::time::Duration;

/// Why there is no answer, or not the one that was hoped for. Neither tokens nor claims are in it.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum ClientError {
    /// The client cannot be made, or the request cannot be written: what was expected.
    #[error("{0}")]
    Settings(String),
    /// The mint was not reached, or broke off. Whether it did what was asked is not known.
    #[error("the mint does not answer: {0}")]
    Unreachable(String),
    /// The mint refuses.
    #[error("{error} (HTTP {status}): {description}")]
    Refused {
        /// The status of HTTP: 400, 401, 403, 404 or 409.
        status: u16,
        /// Its code, such as `access_denied`.
        error: String,
        /// What was wrong, for the developer.
        description: String,
    },
    /// The mint cannot serve the request now (HTTP 429 or 503).
    #[error("the mint cannot serve this now; try again after {} s", retry_after.as_secs())]
    Unavailable {
        /// How long to wait.
        retry_after: Duration,
    },
    /// The answer is not what a mint of this version says.
    #[error("the answer of the mint is not understood: {0}")]
    Answer(String),
}
