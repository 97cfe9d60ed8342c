//! Proofs of possession (RFC 9449): what a client shows of the key that its tokens are bound to.

mod nonce;

use std::sync::Arc;
use std::time::Duration;

use subtle::ConstantTimeEq as _;
use url::Url;

use self::nonce::Nonces;
use super::OAuthError;
use super::once::{OnceError, UsedOnce};
use crate::clock::{Clock, Timestamp};
use crate::jose::foreign::{PresentedForeignJws, VerificationKey};
use crate::jose::thumbprint::Thumbprint;

/// The `typ` of a proof (§4.2).
const TYPE: &str = "dpop+jwt";

/// How long after its `iat` a proof is good, and how far its signer's clock may be ahead.
const GOOD_FOR: Duration = Duration::from_secs(300);
const AHEAD: Duration = Duration::from_secs(60);

/// Judges proofs for the endpoints of one issuer.
pub struct Proofs {
    nonces: Nonces,
    used: Arc<UsedOnce>,
    clock: Arc<dyn Clock>,
}

/// A key that somebody proved to hold. It is for one use: [`Proofs::use_up`].
#[derive(Debug)]
pub struct ProvenKey {
    /// Its thumbprint (RFC 7638).
    pub thumbprint: Thumbprint,
    jti: String,
    good_until: Timestamp,
    /// The hash of the access token that the proof goes with, where it names one.
    ath: Option<Thumbprint>,
}

impl Proofs {
    /// Judges by nonces under `nonce_key`.
    pub fn new(nonce_key: &[u8; 32], used: Arc<UsedOnce>, clock: Arc<dyn Clock>) -> Self {
        Self { nonces: Nonces::new(nonce_key), used, clock }
    }

    /// The nonce that the next proof has to carry.
    pub fn nonce(&self) -> String {
        self.nonces.at(self.clock.now())
    }

    /// The key that `proof` proves the possession of, for a POST to `endpoint`.
    ///
    /// # Errors
    /// As [`Self::verify_for`].
    pub fn verify(&self, proof: &str, endpoint: &Url) -> Result<ProvenKey, OAuthError> {
        self.verify_for(proof, "POST", endpoint)
    }

    /// The key that `proof` proves the possession of, for a request of `method` to `endpoint`. The checks are those of
    /// §4.3, whose first the reader of the headers makes.
    ///
    /// # Errors
    /// [`OAuthError::InvalidDpopProof`]; [`OAuthError::UseDpopNonce`] where only the nonce is wanting or old.
    pub fn verify_for(&self, proof: &str, method: &str, endpoint: &Url) -> Result<ProvenKey, OAuthError> {
        let now = self.clock.now();
        // Checks 2 and 5: well-formed, signed by an algorithm of ours, which is asymmetric.
        let jws = PresentedForeignJws::parse_with_embedded_key(proof).map_err(|_| {
            invalid("expected a JWT with typ, alg and jwk in its header and nothing that must be understood")
        })?;
        // Check 4.
        require(jws.is_of_type(TYPE), "expected typ to be dpop+jwt")?;
        // Checks 7 and 6.
        let jwk = jws.jwk().ok_or(invalid("expected a jwk in the header"))?;
        let key = VerificationKey::from_jwk(jwk).map_err(|_| invalid("expected jwk to be a public key of alg"))?;
        key.verify(&jws).map_err(|_| invalid("the signature is not that of the key in jwk"))?;
        // Check 3.
        let claims = jws.claims().map_err(|_| invalid("expected JSON claims, each once"))?;
        let text = |name: &str| claims.all.get(name).and_then(|value| value.as_str());
        let jti = claims.jti.as_deref().ok_or(invalid("expected a jti"))?;
        let issued_at = claims.iat.ok_or(invalid("expected an iat"))?;
        // Checks 8 and 9.
        require(text("htm") == Some(method), "expected htm to be the method of this request")?;
        require(text("htu").is_some_and(|htu| is_same(htu, endpoint)), "expected htu to be the URL of this endpoint")?;
        // Check 11.
        require(issued_at <= now.plus(AHEAD), "iat is in the future")?;
        let good_until = issued_at.plus(GOOD_FOR);
        require(now < good_until, "iat is too long ago")?;
        // Check 12 where the token is at hand: `goes_with`.
        let ath = match claims.all.get("ath") {
            None => None,
            Some(ath) => Some(
                ath.as_str().and_then(Thumbprint::parse).ok_or(invalid("expected ath to be a SHA-256 in base64url"))?,
            ),
        };
        // Check 10, the last one: a client that gets a nonce did everything else right.
        if !text("nonce").is_some_and(|nonce| self.nonces.verifies(nonce, now)) {
            return Err(OAuthError::UseDpopNonce);
        }
        Ok(ProvenKey { thumbprint: Thumbprint(*key.thumbprint()), jti: jti.to_owned(), good_until, ath })
    }

    /// Uses the proof up: it proves nothing a second time (§11.1).
    ///
    /// # Errors
    /// [`OAuthError::InvalidDpopProof`] where it was used before; [`OAuthError::TemporarilyUnavailable`] where that
    /// cannot be known.
    pub async fn use_up(&self, key: ProvenKey) -> Result<(), OAuthError> {
        let ProvenKey { thumbprint, jti, good_until, .. } = key;
        match self.used.claim("dpop", &thumbprint.0, &jti, good_until).await {
            Ok(()) => Ok(()),
            Err(OnceError::Replayed) => Err(invalid("the proof was used before")),
            Err(error) => Err(error.into()),
        }
    }
}

impl ProvenKey {
    /// Whether the proof is for `access_token`, or names none (§4.3 check 12).
    pub fn goes_with(&self, access_token: &str) -> bool {
        self.ath.is_none() || self.is_for(access_token)
    }

    /// Whether the proof is for `access_token`, as at a protected resource it has to be (§7.1).
    pub fn is_for(&self, access_token: &str) -> bool {
        self.ath.is_some_and(|ath| ath.0.ct_eq(Thumbprint::of(access_token.as_bytes()).0.as_slice()).into())
    }
}

fn invalid(reason: &'static str) -> OAuthError {
    OAuthError::InvalidDpopProof(reason)
}

fn require(holds: bool, expected: &'static str) -> Result<(), OAuthError> {
    if holds { Ok(()) } else { Err(invalid(expected)) }
}

/// Whether `htu` is `endpoint`, normalized, without query and fragment (§4.3 check 9).
fn is_same(htu: &str, endpoint: &Url) -> bool {
    Url::parse(htu).is_ok_and(|mut url| {
        url.set_query(None);
        url.set_fragment(None);
        url == *endpoint
    })
}
