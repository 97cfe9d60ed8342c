//! An access token of ours that somebody presents: verified in software, and judged by the clock.

use crate::clock::Timestamp;
use crate::jose::base64url;
use crate::jose::claims::{ACCESS_TOKEN_TYPE, ReadAccessTokenClaims};
use crate::jose::jws::PresentedJws;
use crate::keyring::Keyring;
use crate::store::{FamilyId, TokenId};

/// An access token that one of the published keys signed, and that has not ended by itself. Whether it was
/// revoked only the store knows.
#[derive(Debug)]
pub struct VerifiedAccessToken {
    /// Its claims.
    pub claims: ReadAccessTokenClaims,
    /// Its name.
    pub jti: TokenId,
    /// The refresh family that it came from, where there is one.
    pub sid: Option<FamilyId>,
}

impl VerifiedAccessToken {
    /// Verifies `text`; `None` for everything that is not such a token.
    pub fn verify(text: &str, keyring: &Keyring, issuer: &str, now: Timestamp) -> Option<Self> {
        let jws = PresentedJws::parse(text).ok()?;
        if jws.header().ok()?.typ != ACCESS_TOKEN_TYPE || !keyring.verifies(&jws) {
            return None;
        }
        let claims: ReadAccessTokenClaims = jws.claims().ok()?;
        if claims.iss != issuer || now >= claims.exp {
            return None;
        }
        let jti = TokenId(base64url::decode_array(&claims.jti).ok()?);
        let sid = match &claims.sid {
            Some(sid) => Some(FamilyId::parse(sid)?),
            None => None,
        };
        Some(Self { claims, jti, sid })
    }
}
