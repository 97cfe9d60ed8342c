//! A client's own P-256 key, and what it signs: as it should be, and as an attacker would.

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use p256::ecdsa::SigningKey;
use p256::ecdsa::signature::Signer as _;
use serde_json::{Value, json};

use super::Answer;

/// The token endpoint of a test deployment.
pub const TOKEN_ENDPOINT: &str = "https://mint.example.com/oauth/token";

/// A key pair that depends on a number only.
pub struct ClientKey(SigningKey);

impl ClientKey {
    pub fn new(number: u8) -> Self {
        Self(SigningKey::from_slice(&[number; 32]).expect("a scalar of P-256"))
    }

    /// The public key.
    pub fn jwk(&self) -> Value {
        let point = self.0.verifying_key().to_sec1_point(false);
        let (x, y) = point.as_bytes()[1..].split_at(32);
        json!({"kty": "EC", "crv": "P-256", "x": encode(x), "y": encode(y)})
    }

    /// The private key.
    pub fn private_jwk(&self) -> Value {
        let mut jwk = self.jwk();
        jwk["d"] = encode(self.0.to_bytes()).into();
        jwk
    }

    /// RFC 7638.
    pub fn thumbprint(&self) -> String {
        let jwk = self.jwk();
        let canonical = format!(r#"{{"crv":"P-256","kty":"EC","x":{},"y":{}}}"#, jwk["x"], jwk["y"]);
        encode(digest(&SHA256, canonical.as_bytes()))
    }

    /// A compact JWS.
    pub fn sign(&self, header: &Value, claims: &Value) -> String {
        self.sign_texts(&header.to_string(), &claims.to_string())
    }

    /// A compact JWS of texts as they stand.
    pub fn sign_texts(&self, header: &str, claims: &str) -> String {
        let input = format!("{}.{}", encode(header), encode(claims));
        let signature: p256::ecdsa::Signature = self.0.sign(input.as_bytes());
        format!("{input}.{}", encode(signature.to_bytes()))
    }

    /// A DPoP proof for the token endpoint, as `change` wants it.
    pub fn proof(&self, nonce: &str, change: impl FnOnce(&mut Value, &mut Value)) -> String {
        let mut header = json!({"typ": "dpop+jwt", "alg": "ES256", "jwk": self.jwk()});
        let mut claims = json!({"jti": random(), "htm": "POST", "htu": TOKEN_ENDPOINT, "iat": now(), "nonce": nonce});
        change(&mut header, &mut claims);
        self.sign(&header, &claims)
    }

    /// The answer to what `send` sends with a good proof in a `DPoP` header line, made with the nonce that the server
    /// asks for.
    #[track_caller]
    pub fn with_proof(&self, send: impl Fn(&str) -> Answer) -> Answer {
        let line = |nonce: &str| format!("DPoP: {}", self.proof(nonce, |_, _| {}));
        let first = send(&line("none yet"));
        first.assert_error(400, "use_dpop_nonce");
        send(&line(first.header("dpop-nonce").expect("a nonce")))
    }

    /// A client assertion of `client`, as `change` wants it.
    pub fn assertion(&self, client: &str, change: impl FnOnce(&mut Value, &mut Value)) -> String {
        let mut header = json!({"alg": "ES256"});
        let mut claims = json!({
            "iss": client, "sub": client, "aud": "https://mint.example.com", "jti": random(), "iat": now(), "exp": now() + 60,
        });
        change(&mut header, &mut claims);
        self.sign(&header, &claims)
    }
}

pub fn encode(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// Seconds since the epoch.
pub fn now() -> i64 {
    use mintkeep::clock::{Clock as _, SystemClock};
    SystemClock.now().unix_seconds()
}

/// A name that nothing else has.
pub fn random() -> String {
    use mintkeep::entropy::{Entropy, SystemEntropy};
    let entropy: &dyn Entropy = &SystemEntropy::new();
    encode(entropy.bytes::<16>())
}
