//! Why a policy does not match, as an operator reads it.

use std::fmt;

use serde_json::Value;

use super::claim::ClaimMatch;

/// What one policy says of a token.
#[derive(Clone, Debug, PartialEq)]
pub struct Explanation<'a> {
    /// The name of the policy.
    pub policy: &'a str,
    /// The first thing that is not as the policy wants it, where there is one.
    pub outcome: Result<(), Mismatch<'a>>,
}

/// The first thing that is not as a policy wants it. It tells claims of the token, which are no secret to whoever holds
/// the token; a client is told none of this.
#[derive(Clone, Debug, PartialEq)]
pub enum Mismatch<'a> {
    /// The policy is for another client than the one that asks.
    Client {
        /// The policy's.
        expected: &'a str,
        /// The one that asks.
        found: &'a str,
    },
    /// The policy is for another issuer.
    Issuer {
        /// The policy's.
        expected: &'a str,
        /// The token's.
        found: &'a str,
    },
    /// The token is not for the one audience of the policy alone.
    Audience {
        /// The policy's.
        expected: &'a str,
        /// The token's, in order.
        found: &'a [String],
    },
    /// A claim is not what it has to be.
    Claim {
        /// What it has to be.
        expected: &'a ClaimMatch,
        /// What it is, where it is there.
        found: Option<&'a Value>,
    },
}

impl fmt::Display for Mismatch<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Client { expected, found } => write!(f, "the client is {found:?} and not {expected:?}"),
            Self::Issuer { expected, found } => write!(f, "the issuer is {found:?} and not {expected:?}"),
            Self::Audience { expected, found } => match found {
                [] => write!(f, "the token has no audience, and should have {expected:?}"),
                [found] => write!(f, "the audience is {found:?} and not {expected:?}"),
                several => {
                    write!(f, "the token has several audiences, {several:?}, and should have {expected:?} alone")
                }
            },
            Self::Claim { expected: ClaimMatch { claim, expected }, found } => {
                write!(f, "claim {:?} is ", claim.as_str())?;
                match found {
                    None => f.write_str("absent"),
                    Some(Value::Array(_)) => f.write_str("a list, which no policy matches"),
                    Some(Value::Object(_)) => f.write_str("an object, which no policy matches"),
                    // Not its JSON: this form also escapes what would move the cursor of a terminal.
                    Some(Value::String(text)) => write!(f, "{text:?} and not {expected}"),
                    Some(other) => write!(f, "{other} and not {expected}"),
                }
            }
        }
    }
}
