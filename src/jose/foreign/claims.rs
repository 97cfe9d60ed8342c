//! The claims of somebody else's JWT (RFC 7519 §4).

use std::time::Duration;

use serde_json::{Map, Value};

use super::json::{self, Bounds};
use super::text_of;
use crate::clock::Timestamp;
use crate::jose::Malformed;

const BOUNDS: Bounds = Bounds { depth: 16, members: 256 };
/// Bytes of a `jti`, because somebody has to remember it.
const MAX_JTI_LENGTH: usize = 256;
/// 9999-12-31T23:59:59Z. A later time is no time but a mistake, such as milliseconds.
const LAST_SECOND: i64 = 253_402_300_799;

/// The claims: registered ones as what they are, and all of them as JSON. Absent ones are `None`, and which have to be
/// there is the reader's rule.
#[derive(Clone, Debug, PartialEq)]
pub struct ForeignClaims {
    /// `iss`, not empty.
    pub iss: Option<String>,
    /// `sub`, not empty.
    pub sub: Option<String>,
    /// `aud`, one value or several; empty where it is absent, and only then.
    pub aud: Vec<String>,
    /// `exp`.
    pub exp: Option<Timestamp>,
    /// `nbf`.
    pub nbf: Option<Timestamp>,
    /// `iat`.
    pub iat: Option<Timestamp>,
    /// `jti`, 1 to 256 bytes.
    pub jti: Option<String>,
    /// All claims, the registered ones among them.
    pub all: Map<String, Value>,
}

/// Why a JWT does not hold now.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Untimely {
    /// `exp` has come (RFC 7519 §4.1.4).
    #[error("it has expired")]
    Expired,
    /// `nbf` has not come (§4.1.5).
    #[error("it does not hold yet")]
    NotYetValid,
    /// `iat` is to come (§4.1.6).
    #[error("it was issued in the future")]
    IssuedInFuture,
    /// There is no `exp`.
    #[error("it has no exp")]
    NoExpiry,
}

impl ForeignClaims {
    pub(super) fn parse(json: &[u8]) -> Result<Self, Malformed> {
        let all = json::object(json, BOUNDS)?;
        let mut registered = all.clone();
        Ok(Self {
            iss: name(&mut registered, "iss")?,
            sub: name(&mut registered, "sub")?,
            aud: audience(registered.remove("aud"))?,
            exp: date(registered.remove("exp"))?,
            nbf: date(registered.remove("nbf"))?,
            iat: date(registered.remove("iat"))?,
            jti: name(&mut registered, "jti")?.map(short).transpose()?,
            all,
        })
    }

    /// Checks that the JWT holds at `now`, where its signer's clock may differ by `leeway`. One without `exp` never
    /// does.
    ///
    /// # Errors
    /// [`Untimely`].
    pub fn check_times(&self, now: Timestamp, leeway: Duration) -> Result<(), Untimely> {
        let is_to_come = |time: Option<Timestamp>| time.is_some_and(|time| time > now.plus(leeway));
        match self.exp {
            None => Err(Untimely::NoExpiry),
            Some(exp) if now >= exp.plus(leeway) => Err(Untimely::Expired),
            Some(_) if is_to_come(self.nbf) => Err(Untimely::NotYetValid),
            Some(_) if is_to_come(self.iat) => Err(Untimely::IssuedInFuture),
            Some(_) => Ok(()),
        }
    }
}

fn name(claims: &mut Map<String, Value>, claim: &str) -> Result<Option<String>, Malformed> {
    match text_of(claims, claim)? {
        Some(text) if text.is_empty() => Err(Malformed::Json),
        text => Ok(text),
    }
}

fn short(jti: String) -> Result<String, Malformed> {
    if jti.len() > MAX_JTI_LENGTH { Err(Malformed::TooLong { most: MAX_JTI_LENGTH }) } else { Ok(jti) }
}

fn audience(aud: Option<Value>) -> Result<Vec<String>, Malformed> {
    let values = match aud {
        None => return Ok(Vec::new()),
        Some(Value::Array(values)) => values,
        Some(value) => vec![value],
    };
    if values.is_empty() {
        return Err(Malformed::Json);
    }
    let recipient = |value| match value {
        Value::String(text) if !text.is_empty() => Ok(text),
        _ => Err(Malformed::Json),
    };
    values.into_iter().map(recipient).collect()
}

/// A `NumericDate`, which may have parts of a second (RFC 7519 §2).
fn date(value: Option<Value>) -> Result<Option<Timestamp>, Malformed> {
    let Some(value) = value else { return Ok(None) };
    let Value::Number(number) = value else { return Err(Malformed::Json) };
    let seconds = match (number.as_i64(), number.as_f64()) {
        (Some(seconds), _) => seconds,
        #[expect(clippy::cast_possible_truncation, reason = "truncated is what is meant; the cast saturates")]
        (None, Some(seconds)) => seconds as i64,
        (None, None) => return Err(Malformed::Json),
    };
    if !(0..=LAST_SECOND).contains(&seconds) {
        return Err(Malformed::Json);
    }
    Ok(Some(Timestamp::from_unix_seconds(seconds)))
}
