//! `id_token_hint`: an ID token of ours that says whom a client means (OpenID Connect Core §3.1.2.1, RP-Initiated Logout §2).

use serde::Deserialize;

use crate::jose::claims::Audience;
use crate::jose::jws::PresentedJws;
use crate::keyring::CurrentKeyring;

/// The type of an ID token. Nothing else that the signing keys sign has it.
const TYPE: &str = "JWT";

/// Reads the hints of one issuer.
#[derive(Clone)]
pub struct IdTokenHints {
    keyring: CurrentKeyring,
    issuer: String,
}

/// What a hint says: that a client was once told of a person, and not that this person is there.
#[derive(Clone, Debug, Deserialize, PartialEq)]
pub struct IdTokenHint {
    iss: String,
    /// The person.
    pub sub: String,
    aud: Audience,
    /// The session.
    pub sid: Option<String>,
}

impl IdTokenHints {
    /// Those of `issuer`, signed by keys of `keyring`.
    pub fn new(issuer: String, keyring: CurrentKeyring) -> Self {
        Self { keyring, issuer }
    }

    /// What `text` says, where one of the published keys signed it. An ID token that has ended is a hint all the same;
    /// one whose key is gone is none any more.
    pub fn read(&self, text: &str) -> Option<IdTokenHint> {
        let jws = PresentedJws::parse(text).ok()?;
        if jws.header().ok()?.typ != TYPE || !self.keyring.load().verifies(&jws) {
            return None;
        }
        let hint: IdTokenHint = jws.claims().ok()?;
        (hint.iss == self.issuer).then_some(hint)
    }
}

impl IdTokenHint {
    /// Whether it was made for `client_id`.
    pub fn is_for(&self, client_id: &str) -> bool {
        self.aud.values().iter().any(|audience| audience == client_id)
    }

    /// The client that it was made for, where it is one.
    pub fn only_audience(&self) -> Option<&str> {
        match self.aud.values() {
            [one] => Some(one),
            _ => None,
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use p256::ecdsa::SigningKey;
    use p256::ecdsa::signature::Signer as _;
    use serde_json::{Value, json};

    use super::*;
    use crate::clock::Timestamp;
    use crate::hardware::Role;
    use crate::jose::jwk::P256PublicKey;
    use crate::jose::jws::SigningInput;
    use crate::keyring::Keyring;
    use crate::store::{KeyRecord, Life};

    const ISSUER: &str = "https://mint.example.com";

    fn signed(key: &SigningKey, typ: &str, claims: &Value) -> String {
        let point = key.verifying_key().to_sec1_point(false);
        let kid = P256PublicKey::from_uncompressed(point.as_bytes()).unwrap().kid();
        let input = SigningInput::new(typ, &kid, claims);
        let signature: p256::ecdsa::Signature = key.sign(input.as_bytes());
        input.into_compact(&signature.to_bytes().into())
    }

    #[test]
    fn a_hint_is_an_id_token_of_ours_however_old() {
        let start = Timestamp::from_unix_seconds(1_000_000);
        let key = SigningKey::from_slice(&[7; 32]).unwrap();
        let public_key = P256PublicKey::from_uncompressed(key.verifying_key().to_sec1_point(false).as_bytes()).unwrap();
        let record = KeyRecord {
            kid: public_key.kid(),
            role: Role::Signing,
            device: "hsm".to_owned(),
            public_key: Some(public_key),
            found_at: start,
            life: Life { published_at: Some(start), ..Life::default() },
            needed_until: start,
            uses: 0,
        };
        let keyring = CurrentKeyring::default();
        keyring.replace(Keyring::new(&[record], &keyring.load()).unwrap());
        let hints = IdTokenHints::new(ISSUER.to_owned(), keyring);
        let claims = json!({ "iss": ISSUER, "sub": "ada", "aud": "web", "exp": 1, "iat": 0, "sid": "s" });
        let hint = hints.read(&signed(&key, "JWT", &claims)).unwrap();
        assert_eq!((hint.sub.as_str(), hint.sid.as_deref()), ("ada", Some("s")));
        assert!(hint.is_for("web") && !hint.is_for("we"));
        let several = json!({ "iss": ISSUER, "sub": "ada", "aud": ["web", "app"] });
        assert!(hints.read(&signed(&key, "JWT", &several)).unwrap().is_for("app"));
        for (typ, claims) in [
            ("at+jwt", claims.clone()),
            ("logout+jwt", claims.clone()),
            ("JWT", json!({ "iss": "https://other.example.com", "sub": "ada", "aud": "web" })),
            ("JWT", json!({ "iss": ISSUER, "aud": "web" })),
        ] {
            assert_eq!(hints.read(&signed(&key, typ, &claims)), None, "{typ} {claims}");
        }
        let stranger = SigningKey::from_slice(&[8; 32]).unwrap();
        assert_eq!(hints.read(&signed(&stranger, "JWT", &claims)), None);
        assert_eq!(hints.read("x.y.z"), None);
    }
}
