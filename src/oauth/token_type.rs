//! How an access token is presented (RFC 6749 §7.1).

use serde::{Serialize, Serializer};
use utoipa::ToSchema;

use crate::jose::claims::Confirmation;

/// The value of `token_type`.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ToSchema)]
pub enum TokenType {
    /// By itself, or with a client certificate in the TLS connection (RFC 6750, RFC 8705 §3).
    Bearer,
    /// With a proof of its key (RFC 9449 §5).
    #[schema(rename = "DPoP")]
    Dpop,
}

impl TokenType {
    /// That of a token that is bound so.
    pub fn of(confirmation: Option<Confirmation>) -> Self {
        match confirmation {
            Some(Confirmation::Key(_)) => Self::Dpop,
            Some(Confirmation::Certificate(_)) | None => Self::Bearer,
        }
    }

    /// The value as it is written.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Bearer => "Bearer",
            Self::Dpop => "DPoP",
        }
    }
}

impl Serialize for TokenType {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}
