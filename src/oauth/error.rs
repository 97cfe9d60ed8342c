//! The errors of the token endpoint (RFC 6749 §5.2), and the one mapping of every cause to them.

use std::time::Duration;

use super::frontend::FrontendError;
use super::once::OnceError;
use crate::keeper::KeeperError;
use crate::keyring::KeyError;
use crate::store;

/// What a client is told to wait before it tries again.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// Said where something that is needed cannot be had now.
pub(super) const UNAVAILABLE: OAuthError = OAuthError::TemporarilyUnavailable { retry_after: RETRY_AFTER };

/// Said of every refresh token that is not good, so that it tells nothing about why.
pub(super) const INVALID_REFRESH_TOKEN: OAuthError =
    OAuthError::InvalidGrant("the refresh token is invalid, expired or revoked");

/// An error as a client learns it. The description is fixed text: what went wrong inside, and whose
/// token it was, is for the log.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum OAuthError {
    /// `invalid_request`: a parameter is missing, repeated or malformed.
    #[error("invalid_request: {0}")]
    InvalidRequest(&'static str),
    /// `invalid_client`: the client did not prove itself.
    #[error("invalid_client: {0}")]
    InvalidClient(&'static str),
    /// `invalid_grant`: the refresh token is invalid, expired, revoked, or another client's.
    #[error("invalid_grant: {0}")]
    InvalidGrant(&'static str),
    /// `authorization_pending`: nobody decided on the device yet (RFC 8628 §3.5).
    #[error("authorization_pending")]
    AuthorizationPending,
    /// `slow_down`: the same, and the device has to wait five seconds longer between polls from now on.
    #[error("slow_down")]
    SlowDown,
    /// `access_denied`: nobody allowed it (RFC 8628 §3.5).
    #[error("access_denied: {0}")]
    AccessDenied(&'static str),
    /// `expired_token`: the device code has ended (RFC 8628 §3.5).
    #[error("expired_token")]
    ExpiredToken,
    /// `unauthorized_client`: the client is not registered for this grant.
    #[error("unauthorized_client: {0}")]
    UnauthorizedClient(&'static str),
    /// `unsupported_response_type`: the authorization endpoint answers with codes only (RFC 6749 §4.1.2.1).
    #[error("unsupported_response_type: {0}")]
    UnsupportedResponseType(&'static str),
    /// `invalid_request_object`: the signed request is not good (RFC 9101 §6).
    #[error("invalid_request_object: {0}")]
    InvalidRequestObject(&'static str),
    /// `invalid_request_uri`: nobody pushed such a request, or it was used, or has ended (RFC 9101 §6, RFC 9126 §4).
    #[error("invalid_request_uri: {0}")]
    InvalidRequestUri(&'static str),
    /// `unsupported_grant_type`.
    #[error("unsupported_grant_type: {0}")]
    UnsupportedGrantType(&'static str),
    /// `invalid_scope`: malformed, or more than was granted.
    #[error("invalid_scope: {0}")]
    InvalidScope(&'static str),
    /// `invalid_target`: no token for this resource (RFC 8707 §2).
    #[error("invalid_target: {0}")]
    InvalidTarget(&'static str),
    /// `invalid_client_metadata`: what a client may not register (RFC 7591 §3.2.2).
    #[error("invalid_client_metadata: {0}")]
    InvalidClientMetadata(&'static str),
    /// `invalid_token`: the bearer token is not good for what was asked (RFC 6750 §3.1).
    #[error("invalid_token: {0}")]
    InvalidToken(&'static str),
    /// `access_denied`, HTTP 403: a front-end asks for what it was given no right to.
    #[error("access_denied: {0}")]
    Forbidden(&'static str),
    /// `invalid_dpop_proof` (RFC 9449 §5).
    #[error("invalid_dpop_proof: {0}")]
    InvalidDpopProof(&'static str),
    /// `use_dpop_nonce`: the proof lacks a nonce of ours that is young enough (RFC 9449 §8).
    #[error("use_dpop_nonce")]
    UseDpopNonce,
    /// `temporarily_unavailable`, HTTP 429: the client is over the limit that it is registered with.
    #[error("temporarily_unavailable: over the client's limit")]
    OverLimit,
    /// `temporarily_unavailable`, HTTP 429: a source begins more logins than it may.
    #[error("temporarily_unavailable: over the source's limit; try again after {} s", retry_after.as_secs())]
    TooManyBegun {
        /// For `Retry-After`.
        retry_after: Duration,
    },
    /// `temporarily_unavailable`, HTTP 503: hardware, keeper or store cannot serve this now.
    #[error("temporarily_unavailable: try again after {} s", retry_after.as_secs())]
    TemporarilyUnavailable {
        /// For `Retry-After`.
        retry_after: Duration,
    },
    /// `server_error`, HTTP 500: mintkeep contradicts itself.
    #[error("server_error")]
    ServerError,
}

impl OAuthError {
    /// The `error` code.
    pub fn code(&self) -> &'static str {
        match self {
            Self::InvalidRequest(_) => "invalid_request",
            Self::InvalidClient(_) => "invalid_client",
            Self::InvalidGrant(_) => "invalid_grant",
            Self::AuthorizationPending => "authorization_pending",
            Self::SlowDown => "slow_down",
            Self::ExpiredToken => "expired_token",
            Self::UnauthorizedClient(_) => "unauthorized_client",
            Self::UnsupportedResponseType(_) => "unsupported_response_type",
            Self::InvalidRequestObject(_) => "invalid_request_object",
            Self::InvalidRequestUri(_) => "invalid_request_uri",
            Self::UnsupportedGrantType(_) => "unsupported_grant_type",
            Self::InvalidScope(_) => "invalid_scope",
            Self::InvalidTarget(_) => "invalid_target",
            Self::InvalidClientMetadata(_) => "invalid_client_metadata",
            Self::InvalidToken(_) => "invalid_token",
            Self::AccessDenied(_) | Self::Forbidden(_) => "access_denied",
            Self::InvalidDpopProof(_) => "invalid_dpop_proof",
            Self::UseDpopNonce => "use_dpop_nonce",
            Self::OverLimit | Self::TooManyBegun { .. } | Self::TemporarilyUnavailable { .. } => {
                "temporarily_unavailable"
            }
            Self::ServerError => "server_error",
        }
    }

    /// The `error_description`.
    pub fn description(&self) -> &'static str {
        match self {
            Self::InvalidRequest(text)
            | Self::InvalidClient(text)
            | Self::InvalidGrant(text)
            | Self::UnauthorizedClient(text)
            | Self::UnsupportedResponseType(text)
            | Self::InvalidRequestObject(text)
            | Self::InvalidRequestUri(text)
            | Self::UnsupportedGrantType(text)
            | Self::InvalidScope(text)
            | Self::InvalidTarget(text)
            | Self::InvalidClientMetadata(text)
            | Self::InvalidToken(text)
            | Self::AccessDenied(text)
            | Self::Forbidden(text)
            | Self::InvalidDpopProof(text) => text,
            Self::AuthorizationPending => "nobody has decided yet; poll again after the interval",
            Self::SlowDown => "polled too early; wait five seconds longer between polls from now on",
            Self::ExpiredToken => "the device code has ended; begin anew",
            Self::UseDpopNonce => "the DPoP proof needs the nonce of the DPoP-Nonce header",
            Self::OverLimit => "the client makes more requests than it is registered for; try again later",
            Self::TooManyBegun { .. } => "more is begun from your address than may be; try again later",
            Self::TemporarilyUnavailable { .. } => "the server cannot serve this request now; try again",
            Self::ServerError => "the server met an unexpected condition",
        }
    }
}

impl From<KeeperError> for OAuthError {
    fn from(error: KeeperError) -> Self {
        match error {
            KeeperError::NotAuthentic => INVALID_REFRESH_TOKEN,
            KeeperError::TimedOut
            | KeeperError::Lost
            | KeeperError::Busy
            | KeeperError::Refused(_)
            | KeeperError::NoKey
            | KeeperError::UnknownKey(_)
            | KeeperError::Hardware(..) => {
                tracing::warn!(%error, "answering 503");
                Self::TemporarilyUnavailable { retry_after: RETRY_AFTER }
            }
            KeeperError::Unavailable { retry_after, .. } | KeeperError::Congested { retry_after } => {
                tracing::warn!(%error, "answering 503");
                Self::TemporarilyUnavailable { retry_after: whole_seconds(retry_after) }
            }
            KeeperError::Policy(_) | KeeperError::Protocol => {
                tracing::error!(%error, "mint and keeper disagree");
                Self::ServerError
            }
        }
    }
}

impl From<FrontendError> for OAuthError {
    fn from(error: FrontendError) -> Self {
        match error {
            FrontendError::Unknown => {
                Self::InvalidToken("expected the proof of a front-end: its token, certificate or uid")
            }
            FrontendError::Forbidden(reason) => Self::Forbidden(reason),
            FrontendError::TooMany(_) => Self::OverLimit,
        }
    }
}

impl From<KeyError> for OAuthError {
    fn from(error: KeyError) -> Self {
        match error {
            KeyError::Store(error) => error.into(),
            KeyError::Device { .. }
            | KeyError::Missing { .. }
            | KeyError::Damaged(_)
            | KeyError::Unknown(_)
            | KeyError::UnknownDevice(_)
            | KeyError::NotReplaced(_)
            | KeyError::NotNow { .. }
            | KeyError::Raced(_) => {
                tracing::warn!(%error, "answering 503");
                UNAVAILABLE
            }
        }
    }
}

impl From<OnceError> for OAuthError {
    fn from(error: OnceError) -> Self {
        match error {
            OnceError::Replayed => Self::InvalidRequest("what may be used once was used before"),
            OnceError::Full => {
                tracing::warn!(%error, "answering 503");
                UNAVAILABLE
            }
            OnceError::Store(error) => error.into(),
        }
    }
}

/// `Retry-After` has no fractions (RFC 9110 §10.2.3): rounded up, so that nobody comes too early.
fn whole_seconds(duration: Duration) -> Duration {
    Duration::from_secs(duration.as_secs() + u64::from(duration.subsec_nanos() > 0))
}

impl From<store::Error> for OAuthError {
    fn from(error: store::Error) -> Self {
        match error {
            store::Error::Open { .. } | store::Error::Failed(_) | store::Error::Busy => {
                tracing::warn!(%error, "answering 503");
                Self::TemporarilyUnavailable { retry_after: RETRY_AFTER }
            }
        }
    }
}
