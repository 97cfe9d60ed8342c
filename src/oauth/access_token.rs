//! An access token of ours that somebody presents: verified in software once, and judged by the clock each time.

use std::sync::Arc;

use aws_lc_rs::digest::{SHA256, digest};
use moka::policy::EvictionPolicy;
use moka::sync::Cache;

use crate::clock::Timestamp;
use crate::jose::base64url;
use crate::jose::claims::{ACCESS_TOKEN_TYPE, ReadAccessTokenClaims};
use crate::jose::jws::PresentedJws;
use crate::keyring::{CurrentKeyring, Keyring};
use crate::store::{FamilyId, TokenId};

/// Verified tokens that are remembered: 850 bytes each, 14 MB in all, where claims are as long as those of the
/// example configuration.
const MOST_REMEMBERED: u64 = 16_384;

/// An access token that one of the published keys signed. Whether it was revoked only the store knows.
#[derive(Debug)]
pub struct VerifiedAccessToken {
    /// Its claims.
    pub claims: ReadAccessTokenClaims,
    /// Its name.
    pub jti: TokenId,
    /// The refresh family that it came from, where there is one.
    pub sid: Option<FamilyId>,
    /// The key that signed it.
    kid: String,
}

/// Verifies the access tokens of one issuer, and remembers those that it verified.
///
/// A signature over the same bytes by the same key comes out the same for ever, and takes 85 µs to verify; so it
/// is verified once. All that changes with time is looked at each time: the clock and the keys here, the store by the
/// caller. Only tokens that are good are remembered, so nobody pushes them out by made-up ones.
pub struct AccessTokenVerifier {
    keyring: CurrentKeyring,
    issuer: String,
    remembered: Cache<TokenHash, Arc<VerifiedAccessToken>>,
}

/// The SHA-256 of the whole text of a token, its signature included.
type TokenHash = [u8; 32];

impl AccessTokenVerifier {
    /// A verifier for the tokens of `issuer` that `keyring` signs.
    pub fn new(issuer: String, keyring: CurrentKeyring) -> Self {
        // The least recently used one goes: a token ends within minutes, however often it was used before.
        let remembered = Cache::builder().max_capacity(MOST_REMEMBERED).eviction_policy(EvictionPolicy::lru()).build();
        Self { keyring, issuer, remembered }
    }

    /// The issuer.
    pub fn issuer(&self) -> &str {
        &self.issuer
    }

    /// Verifies `text`; `None` for everything that is no access token of the issuer, or has ended by `now`.
    pub fn verify(&self, text: &str, now: Timestamp) -> Option<Arc<VerifiedAccessToken>> {
        let keyring = self.keyring.load();
        let is_live = |token: &Arc<VerifiedAccessToken>| now < token.claims.exp && keyring.publishes(&token.kid);
        let hash = hash_of(text);
        if let Some(token) = self.remembered.get(&hash) {
            return Some(token).filter(is_live);
        }
        let token = Some(Arc::new(self.verify_signature(&keyring, text)?)).filter(is_live)?;
        self.remembered.insert(hash, Arc::clone(&token));
        Some(token)
    }

    fn verify_signature(&self, keyring: &Keyring, text: &str) -> Option<VerifiedAccessToken> {
        let jws = PresentedJws::parse(text).ok()?;
        let header = jws.header().ok()?;
        if header.typ != ACCESS_TOKEN_TYPE || !keyring.verifies(&jws) {
            return None;
        }
        let claims: ReadAccessTokenClaims = jws.claims().ok()?;
        if claims.iss != self.issuer {
            return None;
        }
        let jti = TokenId(base64url::decode_array(&claims.jti).ok()?);
        let sid = match &claims.sid {
            Some(sid) => Some(FamilyId::parse(sid)?),
            None => None,
        };
        Some(VerifiedAccessToken { claims, jti, sid, kid: header.kid.to_owned() })
    }
}

fn hash_of(text: &str) -> TokenHash {
    digest(&SHA256, text.as_bytes()).as_ref().try_into().expect("SHA-256 gives 32 bytes")
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use p256::ecdsa::SigningKey;
    use p256::ecdsa::signature::Signer as _;

    use super::*;
    use crate::hardware::Role;
    use crate::jose::claims::{AccessTokenClaims, Audience, INTROSPECTION_TYPE};
    use crate::jose::jwk::P256PublicKey;
    use crate::jose::jws::SigningInput;
    use crate::store::{KeyRecord, Life};

    const START: Timestamp = Timestamp::from_unix_seconds(1_000_000);
    const ISSUER: &str = "https://mint.example.com";

    /// A key, and the verifier of what it signs.
    struct Bench {
        key: SigningKey,
        public_key: P256PublicKey,
        kid: String,
        keyring: CurrentKeyring,
        verifier: AccessTokenVerifier,
    }

    impl Bench {
        fn new() -> Self {
            let key = SigningKey::from_slice(&[7; 32]).unwrap();
            let point = key.verifying_key().to_sec1_point(false);
            let public_key = P256PublicKey::from_uncompressed(point.as_bytes()).unwrap();
            let keyring = CurrentKeyring::default();
            let verifier = AccessTokenVerifier::new(ISSUER.to_owned(), keyring.clone());
            let bench = Self { key, public_key, kid: public_key.kid(), keyring, verifier };
            bench.live(Life { published_at: Some(START), ..Life::default() });
            bench
        }

        /// The key has come so far.
        fn live(&self, life: Life) {
            let record = KeyRecord {
                kid: self.kid.clone(),
                role: Role::Signing,
                device: "hsm".to_owned(),
                public_key: Some(self.public_key),
                found_at: START,
                life,
                needed_until: START,
                uses: 0,
            };
            self.keyring.replace(Keyring::new(&[record], &self.keyring.load()).unwrap());
        }

        fn sign(&self, typ: &str, iss: &str, number: u8) -> String {
            let claims = AccessTokenClaims {
                iss,
                sub: "deploy@example.com",
                aud: &Audience::One("https://api.example.com".to_owned()),
                client_id: "ci-cd-pipeline-runner",
                scope: "read:metrics write:deployments",
                iat: START,
                exp: START.plus(Duration::from_secs(300)),
                jti: &base64url::encode([number; 16]),
                sid: Some(&base64url::encode([number; 16])),
                cnf: None,
                act: None,
                auth_time: None,
                acr: None,
                amr: &[],
            };
            let input = SigningInput::new(typ, &self.kid, &claims);
            let signature: p256::ecdsa::Signature = self.key.sign(input.as_bytes());
            input.into_compact(&signature.to_bytes().into())
        }

        fn token(&self, number: u8) -> String {
            self.sign(ACCESS_TOKEN_TYPE, ISSUER, number)
        }

        fn remembered(&self) -> u64 {
            self.verifier.remembered.run_pending_tasks();
            self.verifier.remembered.entry_count()
        }
    }

    #[test]
    fn a_token_is_verified_once_while_it_lives_and_no_longer_good_when_it_ended() {
        let bench = Bench::new();
        let text = bench.token(1);
        let first = bench.verifier.verify(&text, START).expect("it is good");
        let again = bench.verifier.verify(&text, START.plus(Duration::from_secs(299))).expect("it is good still");
        assert!(Arc::ptr_eq(&first, &again), "the second time it was remembered");
        assert!(bench.verifier.verify(&text, START.plus(Duration::from_secs(300))).is_none());
        // A clock that was put back does not matter either.
        assert!(bench.verifier.verify(&text, START).is_some());
    }

    #[test]
    fn a_token_that_differs_in_one_byte_is_another_token() {
        let bench = Bench::new();
        let text = bench.token(1);
        bench.verifier.verify(&text, START).expect("it is good");
        for place in 0..text.len() {
            let mut changed = text.clone().into_bytes();
            changed[place] = if changed[place] == b'A' { b'B' } else { b'A' };
            let changed = String::from_utf8(changed).unwrap();
            assert!(bench.verifier.verify(&changed, START).is_none(), "byte {place}");
        }
        for other in [format!("{text} "), format!("{text}="), text[..text.len() - 1].to_owned()] {
            assert!(bench.verifier.verify(&other, START).is_none(), "{other}");
        }
        assert_eq!(bench.remembered(), 1);
    }

    #[test]
    fn a_token_is_good_for_as_long_as_its_key_is_published() {
        let bench = Bench::new();
        let text = bench.token(1);
        let published = Life { published_at: Some(START), ..Life::default() };
        for life in [
            published,
            Life { activated_at: Some(START), ..published },
            Life { activated_at: Some(START), retired_at: Some(START), ..published },
        ] {
            bench.live(life);
            assert!(bench.verifier.verify(&text, START).is_some(), "{life:?}");
        }
        // It is remembered, and worthless all the same.
        bench.live(Life { removed_at: Some(START), is_revoked: true, ..published });
        assert!(bench.verifier.verify(&text, START).is_none());
        bench.live(Life::default());
        assert!(bench.verifier.verify(&text, START).is_none(), "nobody knows a key that is pending");
    }

    #[test]
    fn only_good_tokens_are_remembered() {
        let bench = Bench::new();
        let token = bench.token(1);
        let (signing_input, _) = token.rsplit_once('.').unwrap();
        let unsigned = format!("{signing_input}.{}", base64url::encode([1; 64]));
        let answer = bench.sign(INTROSPECTION_TYPE, ISSUER, 2);
        let foreign = bench.sign(ACCESS_TOKEN_TYPE, "https://mint.example.org", 3);
        for text in ["", "x", &unsigned, &answer, &foreign] {
            assert!(bench.verifier.verify(text, START).is_none(), "{text}");
        }
        let ended = bench.token(4);
        assert!(bench.verifier.verify(&ended, START.plus(Duration::from_secs(300))).is_none());
        assert_eq!(bench.remembered(), 0);
        bench.verifier.verify(&bench.token(5), START).expect("it is good");
        assert_eq!(bench.remembered(), 1);
    }
}
