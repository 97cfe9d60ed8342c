//! Software keys in files, and what they sign: the assertion of a client, the token of a local issuer. For development,
//! and for trying policies out. **None is a key of the mint**: those are in the hardware, and nothing here can reach them.

use std::path::{Path, PathBuf};
use std::time::Duration;

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::{Map, Value, json};

use super::Failure;
use crate::clock::Timestamp;
use crate::entropy::Entropy;
use crate::jose::base64url;
use crate::jose::jwk::P256PublicKey;
use crate::jose::jws::SigningInput;
use crate::oauth::trust::claim::ClaimName;
use crate::secret_source::SecretSource;

/// How long an assertion is good: it is used at once, and once.
const ASSERTION_LIFETIME: Duration = Duration::from_secs(60);
/// How long a token is good: as that of a platform, it may be shown more than once.
const TOKEN_LIFETIME: Duration = Duration::from_secs(300);
/// The `typ` of a client assertion (RFC 10070).
const ASSERTION_MEDIA_TYPE: &str = "client-authentication+jwt";
/// What the subject of a token is called that has no other.
const SUBJECT: &str = "workload";

/// The P-256 key of a client or of a local issuer, as it was read from its file.
pub struct DevelopmentKey {
    pair: EcdsaKeyPair,
    public: P256PublicKey,
    kid: String,
}

/// A claim that somebody wants in a token.
#[derive(Clone, Debug)]
pub struct WantedClaim {
    /// Its name, as in a trust policy.
    pub name: ClaimName,
    /// Its value.
    pub value: Value,
}

impl DevelopmentKey {
    /// A new key, in PEM (PKCS#8).
    ///
    /// # Errors
    /// [`Failure`].
    pub fn generate_pem() -> Result<SecretString, Failure> {
        let key = rcgen::KeyPair::generate().map_err(Failure::while_doing("making a key"))?;
        Ok(SecretString::from(key.serialize_pem()))
    }

    /// The key in the file at `path`, PEM with PKCS#8; its `kid` is its thumbprint (RFC 7638).
    ///
    /// # Errors
    /// [`Failure`] where others than its owner may read the file, or another kind of key is in it. Nothing of the file is
    /// in it.
    pub fn read(path: &Path) -> Result<Self, Failure> {
        let wrong = format!("cannot use the key {}", path.display());
        let pem = SecretSource::File(PathBuf::from(path)).read().map_err(Failure::while_doing(&wrong))?;
        Self::parse(&pem).ok_or("expected a P-256 private key in PEM (PKCS#8)").map_err(Failure::while_doing(&wrong))
    }

    fn parse(pem: &SecretString) -> Option<Self> {
        let key = rcgen::KeyPair::from_pem(pem.expose_secret()).ok()?;
        let pair = EcdsaKeyPair::from_private_key_der(&ECDSA_P256_SHA256_FIXED_SIGNING, key.serialized_der()).ok()?;
        let public = P256PublicKey::from_uncompressed(pair.public_key().as_ref()).ok()?;
        Some(Self { pair, kid: public.kid(), public })
    }

    /// The same key under the name `kid`, where there is one.
    #[must_use]
    pub fn named(self, kid: Option<String>) -> Self {
        Self { kid: kid.unwrap_or(self.kid), ..self }
    }

    /// Its public half.
    pub fn public(&self) -> &P256PublicKey {
        &self.public
    }

    /// What its signatures name it by.
    pub fn kid(&self) -> &str {
        &self.kid
    }

    /// A client assertion of `client` for the mint `issuer` (RFC 7523 §3), good for a minute and for one use.
    ///
    /// # Errors
    /// [`Failure`].
    pub fn client_assertion(
        &self,
        client: &str,
        issuer: &str,
        now: Timestamp,
        entropy: &dyn Entropy,
    ) -> Result<String, Failure> {
        let claims = json!({
            "iss": client,
            "sub": client,
            "aud": issuer,
            "iat": now.unix_seconds(),
            "exp": now.plus(ASSERTION_LIFETIME).unix_seconds(),
            "jti": random(entropy),
        });
        self.sign(ASSERTION_MEDIA_TYPE, &claims)
    }

    /// A token as the platform `issuer` gives its workloads, for `audience`, good for five minutes. A wanted claim takes
    /// the place of one that every token has.
    ///
    /// # Errors
    /// [`Failure`].
    pub fn token(
        &self,
        issuer: &str,
        audience: &str,
        wanted: Vec<WantedClaim>,
        now: Timestamp,
        entropy: &dyn Entropy,
    ) -> Result<String, Failure> {
        let standard = [
            ("iss", json!(issuer)),
            ("sub", json!(SUBJECT)),
            ("aud", json!(audience)),
            ("iat", json!(now.unix_seconds())),
            ("exp", json!(now.plus(TOKEN_LIFETIME).unix_seconds())),
            ("jti", json!(random(entropy))),
        ];
        let mut claims: Map<String, Value> =
            standard.map(|(name, value)| (name.to_owned(), value)).into_iter().collect();
        for claim in wanted {
            claim.name.put(&mut claims, claim.value);
        }
        self.sign("JWT", &Value::Object(claims))
    }

    fn sign(&self, typ: &str, claims: &Value) -> Result<String, Failure> {
        let input = SigningInput::new(typ, &self.kid, claims);
        // By its digest: it takes no generator, which AWS-LC would ignore.
        let signature = self.pair.sign_digest(&digest(&SHA256, input.as_bytes()));
        let signature = signature.map_err(Failure::while_doing("signing"))?;
        Ok(input.into_compact(&signature.as_ref().try_into().expect("r and s have 32 bytes each")))
    }
}

fn random(entropy: &dyn Entropy) -> String {
    base64url::encode(entropy.bytes::<16>())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entropy::SystemEntropy;
    use crate::jose::foreign::{ForeignKeySet, PresentedForeignJws};
    use crate::jose::jwk::JwkSet;

    const NOW: Timestamp = Timestamp::from_unix_seconds(1_800_000_000);

    fn key() -> DevelopmentKey {
        DevelopmentKey::parse(&DevelopmentKey::generate_pem().unwrap()).unwrap()
    }

    /// The claims of `jwt`, which `key` signed under its thumbprint.
    fn verified(key: &DevelopmentKey, jwt: &str) -> Map<String, Value> {
        let keys = serde_json::to_vec(&JwkSet::of_signing_keys([key.public()])).unwrap();
        let jws = PresentedForeignJws::parse(jwt).unwrap();
        assert_eq!(jws.kid(), Some(key.kid()));
        ForeignKeySet::parse(&keys).unwrap().verify(&jws).unwrap();
        jws.claims().unwrap().all
    }

    fn claim(name: &str, value: Value) -> WantedClaim {
        WantedClaim { name: ClaimName::parse(name).unwrap(), value }
    }

    #[test]
    fn an_assertion_is_of_its_client_for_its_mint_and_never_the_same_twice() {
        let (key, entropy) = (key(), SystemEntropy::new());
        let sign = || key.client_assertion("robot", "https://mint.example.com", NOW, &entropy).unwrap();
        let mut claims = verified(&key, &sign());
        assert_eq!(claims.remove("jti").unwrap().as_str().unwrap().len(), 22);
        let expected = json!({
            "iss": "robot", "sub": "robot", "aud": "https://mint.example.com", "iat": 1_800_000_000, "exp": 1_800_000_060,
        });
        assert_eq!(Value::Object(claims), expected);
        assert_ne!(verified(&key, &sign())["jti"], verified(&key, &sign())["jti"]);
    }

    #[test]
    fn a_token_has_the_claims_that_are_wanted_and_those_that_every_token_has() {
        let (key, entropy) = (key(), SystemEntropy::new());
        let sign = |wanted| key.token("https://issuer.example", "https://mint.example.com", wanted, NOW, &entropy);
        let mut claims = verified(&key, &sign(vec![]).unwrap());
        claims.remove("jti");
        let standard = json!({
            "iss": "https://issuer.example", "sub": "workload", "aud": "https://mint.example.com",
            "iat": 1_800_000_000, "exp": 1_800_000_300,
        });
        assert_eq!(Value::Object(claims), standard);
        let wanted = vec![
            claim("sub", json!("pod")),
            claim("exp", json!(1)),
            claim("/kubernetes.io/namespace", json!("payments")),
            claim("/kubernetes.io/serviceaccount/uid", json!("0c9f")),
        ];
        let claims = verified(&key, &sign(wanted).unwrap());
        assert_eq!((&claims["sub"], &claims["exp"]), (&json!("pod"), &json!(1)));
        let nested = json!({"namespace": "payments", "serviceaccount": {"uid": "0c9f"}});
        assert_eq!(claims["kubernetes.io"], nested);
    }

    #[test]
    fn a_key_can_have_another_name() {
        let key = key().named(Some("first".to_owned()));
        let jwt = key.token("i", "a", vec![], NOW, &SystemEntropy::new()).unwrap();
        assert_eq!(PresentedForeignJws::parse(&jwt).unwrap().kid(), Some("first"));
        assert_eq!(key.named(None).kid(), "first");
    }

    #[test]
    fn another_kind_of_key_is_refused_and_the_failure_has_nothing_of_it() {
        let p384 = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P384_SHA384).unwrap().serialize_pem();
        for pem in [p384.as_str(), "no PEM", "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"] {
            let file = tempfile::NamedTempFile::new().unwrap();
            std::fs::write(file.path(), pem).unwrap();
            let message = DevelopmentKey::read(file.path()).err().unwrap().to_string();
            let path = file.path().display();
            assert_eq!(message, format!("cannot use the key {path}: expected a P-256 private key in PEM (PKCS#8)"));
        }
    }
}
