//! A mint with signing profiles and front-ends, and requests as clients of Vault make them.

use std::net::{SocketAddr, TcpStream};

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use p256::ecdsa::signature::hazmat::PrehashVerifier as _;
use p256::ecdsa::{Signature, VerifyingKey};
use p256::pkcs8::DecodePublicKey as _;
use serde_json::{Value, json};

use crate::support::process::succeed;
use crate::support::{Answer, Deployment, RunningMint};

/// Profiles and front-ends of all kinds. The token of a front-end is its name and `-token`.
const CONFIGURATION: &str = r#"
[listen.frontend]
address = "127.0.0.1:0"
socket = "frontend.sock"

[[signing_profile]]
name = "dex"
content = "jwt"
issuers = ["https://dex.example.com"]
max_lifetime = "10m"
prehashed_per_second = 1000

[[signing_profile]]
name = "documents"
content = "any"

[[signing_profile]]
name = "spire"
content = "any"
keys = "created"
prehashed_per_second = 1000

[[signing_profile]]
name = "elsewhere"
content = "any"
keys = "created"
"#;

const FRONTENDS: [(&str, &str); 7] = [
    ("dex", "profiles = [\"dex\"]\nprehashed = true"),
    ("dex-too", "profiles = [\"dex\"]\nprehashed = true"),
    ("notary", "profiles = [\"documents\", \"dex\"]"),
    ("spire", "profiles = [\"spire\"]\nprehashed = true\ncreates_keys = true"),
    ("reader", "profiles = [\"spire\", \"documents\"]\nprehashed = true"),
    ("narrow", "profiles = [\"dex\"]\naudiences = \"https://a.example.com\"\nmax_lifetime = \"1m\""),
    ("elsewhere", "profiles = [\"elsewhere\"]\ncreates_keys = true"),
];

pub struct Scene {
    pub deployment: Deployment,
    pub mint: RunningMint,
    pub address: SocketAddr,
}

impl Scene {
    pub fn new() -> Self {
        Self::with(|_| {})
    }

    /// With a configuration that `change` changes.
    pub fn with(change: impl FnOnce(&Deployment)) -> Self {
        let deployment = Deployment::without_keys();
        deployment.append(CONFIGURATION);
        for (name, lines) in FRONTENDS {
            let hash = hex(&sha256(format!("{name}-token").as_bytes()));
            deployment.append(&format!("[[frontend]]\nname = \"{name}\"\ntoken_sha256 = \"{hash}\"\n{lines}"));
        }
        deployment.allow_failed_attempts();
        change(&deployment);
        succeed(&mut deployment.command(&["keys", "init"]));
        let mint = deployment.serve();
        Self { address: address_of(&mint), mint, deployment }
    }

    /// The same, after the mint has ended and was started again.
    pub fn restart(self) -> Self {
        let Self { deployment, mint, .. } = self;
        assert!(mint.terminate().success());
        let mint = deployment.serve();
        Self { address: address_of(&mint), mint, deployment }
    }

    /// A request of the front-end `caller`, as Vault's own client makes it.
    #[track_caller]
    pub fn ask(&self, caller: &str, method: &str, path: &str, body: &Value) -> Answer {
        let token = format!("X-Vault-Token: {caller}-token");
        self.raw(&[&token, "X-Vault-Request: true"], method, path, body)
    }

    /// A request with these header lines.
    #[track_caller]
    pub fn raw(&self, headers: &[&str], method: &str, path: &str, body: &Value) -> Answer {
        let stream = TcpStream::connect(self.address).expect("the mint listens");
        Answer::exchange(stream, &request(headers, method, path, body))
    }

    /// What is told of a key.
    #[track_caller]
    pub fn key(&self, caller: &str, name: &str) -> Value {
        data(&self.ask(caller, "GET", &format!("/v1/transit/keys/{name}"), &Value::Null))
    }

    /// Has `body` signed; what came of it.
    #[track_caller]
    pub fn sign(&self, caller: &str, name: &str, body: &Value) -> Answer {
        self.ask(caller, "PUT", &format!("/v1/transit/sign/{name}"), body)
    }
}

/// A whole request; without a body where `body` is null.
pub fn request(headers: &[&str], method: &str, path: &str, body: &Value) -> Vec<u8> {
    let body = if body.is_null() { String::new() } else { body.to_string() };
    let headers: String = headers.iter().map(|header| format!("{header}\r\n")).collect();
    let length = body.len();
    format!("{method} {path} HTTP/1.1\r\nHost: vault\r\nConnection: close\r\nContent-Length: {length}\r\n{headers}\r\n{body}")
        .into_bytes()
}

/// Where `mint` listens for front-ends, as it logged.
fn address_of(mint: &RunningMint) -> SocketAddr {
    let log = mint.log();
    let mut events = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let event = events.find(|event| event["fields"]["message"] == "listening for front-ends").expect("it was logged");
    event["fields"]["address"].as_str().expect("an address").parse().expect("an address")
}

/// The data of a good answer, whose envelope is Vault's.
#[track_caller]
pub fn data(answer: &Answer) -> Value {
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(answer.header("content-type"), Some("application/json"), "{answer:?}");
    assert_eq!(answer.header("cache-control"), Some("no-store"), "{answer:?}");
    let mut whole = answer.json();
    let data = whole["data"].take();
    let request_id = whole["request_id"].take();
    assert!(is_uuid(request_id.as_str().expect("text")), "{request_id}");
    let expected = json!({
        "request_id": null, "lease_id": "", "renewable": false, "lease_duration": 0, "data": null, "wrap_info": null,
        "warnings": whole["warnings"], "auth": null,
    });
    assert_eq!(whole, expected);
    data
}

fn is_uuid(text: &str) -> bool {
    let lengths: Vec<usize> = text.split('-').map(str::len).collect();
    lengths == [8, 4, 4, 4, 12] && text.as_bytes()[14] == b'4'
}

/// Asserts that `answer` is Vault's form of an error, and says just this.
#[track_caller]
pub fn assert_refused(answer: &Answer, status: u16, errors: &[&str]) {
    assert_eq!((answer.status, answer.json()), (status, json!({ "errors": errors })), "{answer:?}");
    assert_eq!(answer.header("content-type"), Some("application/json"), "{answer:?}");
    assert_eq!(answer.header("cache-control"), Some("no-store"), "{answer:?}");
}

/// The key of the version `version` in what is told of a key, read by a library that is not ours.
pub fn public_key(key: &Value, version: u32) -> VerifyingKey {
    let pem = key["keys"][version.to_string()]["public_key"].as_str().expect("PEM");
    VerifyingKey::from_public_key_pem(pem).expect("a public key")
}

/// The signature in `answer` and the version that made it, which it says twice.
#[track_caller]
pub fn signature(answer: &Answer, is_jws: bool) -> (Signature, u32) {
    let data = data(answer);
    let version = u32::try_from(data["key_version"].as_u64().expect("a number")).expect("a version");
    let text = data["signature"].as_str().expect("text").to_owned();
    assert_eq!(data, json!({ "signature": text, "key_version": version }), "and nothing else");
    let written = text.strip_prefix(&format!("vault:v{version}:")).expect("the version of the key");
    let signature = if is_jws {
        Signature::from_slice(&URL_SAFE_NO_PAD.decode(written).expect("base64url")).expect("r and s")
    } else {
        Signature::from_der(&STANDARD.decode(written).expect("base64")).expect("DER")
    };
    (signature, version)
}

/// Whether `signature` is that of `key` over the SHA-256 `digest`.
pub fn verifies(key: &VerifyingKey, digest: &[u8], signature: &Signature) -> bool {
    key.verify_prehash(digest, signature).is_ok()
}

pub fn sha256(message: &[u8]) -> [u8; 32] {
    digest(&SHA256, message).as_ref().try_into().expect("32 bytes")
}

pub fn base64(bytes: impl AsRef<[u8]>) -> String {
    STANDARD.encode(bytes)
}

/// Something to sign where it does not matter what.
pub fn document_digest() -> String {
    base64(sha256(b"a document"))
}

pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
