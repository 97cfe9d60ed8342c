//! What a kube-apiserver looks at in what it is answered (pkg/serviceaccount/externaljwt/plugin of Kubernetes), and what
//! the specification asks for beyond.

use base64::Engine as _;
use base64::engine::general_purpose::{URL_SAFE, URL_SAFE_NO_PAD};
use p256::ecdsa::signature::Verifier as _;
use p256::ecdsa::{Signature, VerifyingKey};
use p256::pkcs8::DecodePublicKey as _;
use serde_json::{Value, json};
use toml_edit::value;

use super::api::{FetchKeysResponse, MetadataResponse, SignJwtResponse};
use super::{Apiserver, apiserver, claims, deployment, deployment_with, now};

/// Answers to one kube-apiserver.
#[derive(Clone)]
pub struct Seen {
    claims: String,
    signed: SignJwtResponse,
    keys: FetchKeysResponse,
    /// The keys, fetched another time.
    again: FetchKeysResponse,
    metadata: MetadataResponse,
}

impl Seen {
    pub fn by(apiserver: &Apiserver) -> Self {
        let claims = URL_SAFE_NO_PAD.encode(claims(3600).to_string());
        let keys = apiserver.fetch_keys().unwrap();
        let signed = apiserver.sign_encoded(claims.clone()).unwrap();
        let again = apiserver.fetch_keys().unwrap();
        Self { claims, signed, keys, again, metadata: apiserver.metadata().unwrap() }
    }

    fn header(&self) -> Option<Value> {
        serde_json::from_slice(&URL_SAFE_NO_PAD.decode(&self.signed.header).ok()?).ok()
    }

    fn has_header(&self, header: &Value) -> bool {
        self.header().as_ref() == Some(header)
    }

    pub fn kid(&self) -> Option<String> {
        self.header()?["kid"].as_str().map(str::to_owned)
    }

    /// Whether the token verifies by the key that its header names.
    fn verifies(&self) -> Option<bool> {
        let kid = self.kid()?;
        let key = self.keys.keys.iter().find(|key| key.key_id == kid)?;
        let key = VerifyingKey::from_public_key_der(&key.key).ok()?;
        let signature = Signature::from_slice(&URL_SAFE_NO_PAD.decode(&self.signed.signature).ok()?).ok()?;
        let input = format!("{}.{}", self.signed.header, self.claims);
        Some(key.verify(input.as_bytes(), &signature).is_ok())
    }

    fn set_header(&mut self, header: &Value) {
        self.signed.header = URL_SAFE_NO_PAD.encode(header.to_string());
    }
}

/// What has to be, whether it is, and how to have it not be.
type Check = (&'static str, fn(&Seen) -> bool, fn(&mut Seen));

const CHECKS: &[Check] = &[
    (
        "the header is in unpadded URL-safe base64",
        |seen| URL_SAFE_NO_PAD.decode(&seen.signed.header).is_ok(),
        |seen| seen.signed.header = URL_SAFE.encode(r#"{"alg":"ES256","kid":"k","typ":"JWT"} "#),
    ),
    (
        "the signature is in unpadded URL-safe base64, 64 bytes of it",
        |seen| URL_SAFE_NO_PAD.decode(&seen.signed.signature).is_ok_and(|bytes| bytes.len() == 64),
        |seen| seen.signed.signature.push('='),
    ),
    (
        "the header has alg, kid and typ, and nothing else",
        |seen| {
            let header = seen.header();
            let members = header.as_ref().and_then(Value::as_object).map(|header| header.keys().cloned().collect());
            members == Some(vec!["alg".to_owned(), "kid".to_owned(), "typ".to_owned()])
        },
        |seen| seen.set_header(&json!({"alg": "ES256", "kid": "k", "typ": "JWT", "jku": "https://evil"})),
    ),
    (
        "typ is JWT",
        |seen| seen.header().is_some_and(|header| header["typ"] == "JWT"),
        |seen| seen.set_header(&json!({"alg": "ES256", "kid": "k", "typ": "jwt"})),
    ),
    (
        "alg is one that a kube-apiserver knows",
        |seen| seen.header().is_some_and(|header| header["alg"] == "ES256"),
        |seen| seen.set_header(&json!({"alg": "none", "kid": "k", "typ": "JWT"})),
    ),
    (
        "kid has 1 to 1024 bytes",
        |seen| seen.kid().is_some_and(|kid| (1..=1024).contains(&kid.len())),
        |seen| seen.set_header(&json!({"alg": "ES256", "kid": "k".repeat(1025), "typ": "JWT"})),
    ),
    (
        "kid names a key that is in the discovery documents",
        |seen| {
            let kid = seen.kid();
            seen.keys.keys.iter().any(|key| Some(&key.key_id) == kid.as_ref() && !key.exclude_from_oidc_discovery)
        },
        |seen| seen.keys.keys.iter_mut().for_each(|key| key.exclude_from_oidc_discovery = true),
    ),
    ("there are keys", |seen| !seen.keys.keys.is_empty(), |seen| seen.keys.keys.clear()),
    (
        "the kid of each key has 1 to 1024 bytes",
        |seen| seen.keys.keys.iter().all(|key| (1..=1024).contains(&key.key_id.len())),
        |seen| seen.keys.keys[0].key_id.clear(),
    ),
    (
        "each key is PKIX",
        |seen| seen.keys.keys.iter().all(|key| VerifyingKey::from_public_key_der(&key.key).is_ok()),
        |seen| seen.keys.keys[0].key.truncate(90),
    ),
    ("the hint is positive", |seen| seen.keys.refresh_hint_seconds > 0, |seen| seen.keys.refresh_hint_seconds = 0),
    (
        "the time of the keys is one, and past",
        |seen| {
            let time = seen.keys.data_timestamp.as_ref();
            time.is_some_and(|time| (1..=now()).contains(&time.seconds) && (0..1_000_000_000).contains(&time.nanos))
        },
        |seen| seen.keys.data_timestamp = None,
    ),
    (
        "the time of the keys stays the same as long as they do",
        |seen| seen.keys == seen.again,
        |seen| seen.again.data_timestamp.as_mut().unwrap().seconds += 1,
    ),
    (
        "the longest lifetime is ten minutes at least",
        |seen| seen.metadata.max_token_expiration_seconds >= 600,
        |seen| seen.metadata.max_token_expiration_seconds = 599,
    ),
    (
        "the token verifies by the key that was fetched",
        |seen| seen.verifies() == Some(true),
        |seen| seen.claims.insert(4, 'A'),
    ),
];

#[track_caller]
pub fn check_all(seen: &Seen) {
    for (what, is_so, _) in CHECKS {
        assert!(is_so(seen), "{what}");
    }
}

/// Each check by itself, and that it would find what it is for.
#[test]
fn a_kube_apiserver_takes_what_it_is_answered() {
    let deployment = deployment();
    let mint = deployment.serve();
    let seen = Seen::by(&apiserver(&deployment, &mint));
    check_all(&seen);
    for (what, is_so, spoil) in CHECKS {
        let mut spoilt = seen.clone();
        spoil(&mut spoilt);
        assert!(!is_so(&spoilt), "{what}");
    }
    let kid = seen.kid().unwrap();
    assert!(seen.has_header(&json!({"alg": "ES256", "kid": kid, "typ": "JWT"})));
    assert_eq!(seen.keys.refresh_hint_seconds, 60, "the default");
    assert_eq!(seen.metadata.max_token_expiration_seconds, 3600, "the profile's");
}

#[test]
fn the_abstract_namespace_does_as_well() {
    let name = format!("@mintkeep-test-{}", std::process::id());
    let deployment = deployment_with(|config| {
        config["kubernetes"]["socket"] = value(name.as_str());
        config["kubernetes"]["refresh_hint"] = value("5m");
    });
    let _mint = deployment.serve();
    let seen = Seen::by(&Apiserver::at(&name));
    check_all(&seen);
    assert_eq!(seen.keys.refresh_hint_seconds, 300);
    assert!(!deployment.path(&name).exists());
}
