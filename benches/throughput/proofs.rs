//! Clients that prove more than that they know a secret: assertions, DPoP proofs, tokens of other issuers.
//!
//! What they prove it by is signed before the measurement begins, each proof once, because the processors are those
//! of the mint.

use std::fmt::Write as _;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
use hdrhistogram::Histogram;
use mintkeep::clock::{Clock as _, SystemClock};
use mintkeep::entropy::{Entropy, SystemEntropy};
use mintkeep::jose::base64url;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::net::TcpStream;

use crate::beside::Beside;
use crate::load::{Connection, Measured, client_credentials_form, generated, post};
use crate::mint::{Changes, Mint};

/// Connections that ask for tokens.
const CONNECTIONS: [usize; 2] = [1, 64];

/// How many trust policies there are.
const FEW_POLICIES: u32 = 1;
pub const MANY_POLICIES: u32 = 10_000;

/// The client that signs assertions, the one that trust policies name, and the issuer that they trust.
pub const CLIENT: &str = "bench-signer";
const WORKLOAD: &str = "bench-workload";
pub const ISSUER: &str = "https://issuer.bench.example";

/// What a request for an access token proves itself by.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
enum Proof {
    /// `client_secret_post`: the measure of the others.
    Secret,
    /// `private_key_jwt`, ES256.
    Assertion,
    /// The secret, and a DPoP proof, ES256, with a nonce of the mint's.
    Dpop,
    /// The JWT bearer grant, ES256: the same token each time, as a workload presents it.
    TrustedToken,
}

/// A measurement to be made, by a process of its own.
#[derive(Deserialize, Serialize)]
struct Proving {
    address: String,
    issuer: String,
    secret_form: String,
    proof: Proof,
    /// A private key, PKCS #8.
    key: Vec<u8>,
    connections: usize,
    milliseconds: u64,
    /// How many are signed beforehand.
    most: usize,
}

/// A key pair of somebody who proves something.
pub struct Signer(EcdsaKeyPair);

impl Signer {
    fn generate() -> (Self, Vec<u8>) {
        let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).expect("a key");
        let document = pair.to_pkcs8v1().expect("PKCS #8").as_ref().to_vec();
        (Self(pair), document)
    }

    /// One that nobody else needs.
    pub fn new() -> Self {
        Self::generate().0
    }

    pub fn jwk(&self) -> Value {
        let (x, y) = self.0.public_key().as_ref()[1..].split_at(32);
        json!({"kty": "EC", "crv": "P-256", "x": base64url::encode(x), "y": base64url::encode(y)})
    }

    #[expect(clippy::disallowed_methods, reason = "a client has randomness of its own")]
    fn sign(&self, header: &Value, claims: &Value) -> String {
        let mut text = base64url::encode(header.to_string());
        text.push('.');
        base64url::encode_into(claims.to_string(), &mut text);
        let signature = self.0.sign(&SystemRandom::new(), text.as_bytes()).expect("a signature");
        text.push('.');
        base64url::encode_into(signature, &mut text);
        text
    }

    /// A client assertion (RFC 7523 §3).
    pub fn assertion(&self, issuer: &str, jti: &str) -> String {
        let claims = json!({
            "iss": CLIENT, "sub": CLIENT, "aud": issuer, "jti": jti, "iat": now(), "exp": now() + 300,
        });
        self.sign(&json!({"alg": "ES256", "typ": "JWT"}), &claims)
    }

    /// A DPoP proof (RFC 9449 §4.2).
    pub fn proof(&self, issuer: &str, nonce: &str, jti: &str) -> String {
        let header = json!({"typ": "dpop+jwt", "alg": "ES256", "jwk": self.jwk()});
        let url = format!("{issuer}/oauth/token");
        self.sign(&header, &json!({"jti": jti, "htm": "POST", "htu": url, "iat": now(), "nonce": nonce}))
    }

    /// What a platform such as GitHub Actions says of a job.
    pub fn trusted_token(&self, issuer: &str) -> String {
        let job = "octo-org/octo-repo/.github/workflows/deploy.yml@refs/heads/main";
        let claims = json!({
            "iss": ISSUER, "aud": issuer, "iat": now(), "nbf": now(), "exp": now() + 3600, "jti": random(),
            "sub": "repo:octo-org/octo-repo:ref:refs/heads/main", "ref": "refs/heads/main", "ref_type": "branch",
            // Of the first policy, whatever comes behind it.
            "repository": "octo-org/octo-repo", "repository_id": "0", "repository_owner": "octo-org",
            "repository_owner_id": "65", "workflow_ref": job, "job_workflow_ref": job, "event_name": "push",
            "actor": "octocat", "actor_id": "12", "run_id": "30433642", "runner_environment": "github-hosted",
        });
        self.sign(&json!({"alg": "ES256", "typ": "JWT", "kid": "platform"}), &claims)
    }
}

fn now() -> i64 {
    SystemClock.now().unix_seconds()
}

/// A name that nothing else has.
fn random() -> String {
    let entropy: &dyn Entropy = &SystemEntropy::new();
    base64url::encode(entropy.bytes::<16>())
}

/// What is told of the proofs.
#[derive(Default)]
pub struct Proofs(Beside);

impl Proofs {
    /// Measures each kind of proof right after the secret.
    pub fn measure(&mut self, state: &Path, span: Duration) {
        let (signer, key) = Signer::generate();
        for policies in [FEW_POLICIES, MANY_POLICIES] {
            let tables = configure(state, &signer, policies);
            let mint = Mint::start_changed(state, true, &Changes { tables: &tables, ..Changes::default() });
            let prove = |proof, connections, most| Proving {
                address: mint.address(),
                issuer: mint.issuer(),
                secret_form: client_credentials_form(&mint),
                proof,
                key: key.clone(),
                connections,
                milliseconds: span.as_millis().try_into().expect("a few seconds"),
                most,
            };
            let kinds: &[(Proof, &str)] = match policies {
                FEW_POLICIES => &[
                    (Proof::Assertion, "private_key_jwt"),
                    (Proof::Dpop, "client_secret_post with DPoP"),
                    (Proof::TrustedToken, "jwt-bearer, 1 trust policy"),
                ],
                _ => &[(Proof::TrustedToken, "jwt-bearer, 10,000 trust policies")],
            };
            for connections in CONNECTIONS {
                for (proof, name) in kinds {
                    let before = mint.cpu();
                    let plain: Measured = generated("prove", &prove(Proof::Secret, connections, 0));
                    self.0.add("client_secret_post", connections, None, &plain, mint.cpu().since(before));
                    // None is as fast as the secret.
                    let most = usize::try_from(plain.tokens).expect("some thousands") * 5 / 4;
                    let before = mint.cpu();
                    let measured: Measured = generated("prove", &prove(*proof, connections, most));
                    self.0.add(name, connections, Some(&plain), &measured, mint.cpu().since(before));
                }
            }
        }
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn write_table(&self, text: &mut String) {
        self.0.write_table("tokens over HTTP, signatures verified, by what the client proves", text);
    }

    pub fn json(&self) -> Value {
        self.0.json()
    }
}

/// The tables of the clients and of so many trust policies, whose issuer's keys are written into `state`.
pub fn configure(state: &Path, signer: &Signer, policies: u32) -> String {
    let jwk = signer.jwk();
    let mut published = jwk.clone();
    published["kid"] = "platform".into();
    std::fs::write(state.join("platform.jwks.json"), json!({ "keys": [published] }).to_string()).expect("a file");
    std::fs::write(state.join("signer.jwks.json"), json!({ "keys": [jwk] }).to_string()).expect("a file");
    let mut text = format!(
        r#"
[[client]]
id = "{CLIENT}"
authentication = "private_key_jwt"
jwks_file = "signer.jwks.json"
grants = ["client_credentials"]
scope = "read:invoices write:invoices"
audience = "https://billing.example.com"

[[client]]
id = "{WORKLOAD}"
authentication = "none"
grants = ["urn:ietf:params:oauth:grant-type:jwt-bearer"]
scope = "read:invoices write:invoices"
audience = "https://billing.example.com"

[[trusted_issuer]]
issuer = "{ISSUER}"
jwks_file = "platform.jwks.json"
"#
    );
    let issuer = crate::mint::issuer(state);
    for number in 0..policies {
        let _ = write!(
            text,
            r#"
[[trust]]
name = "repository-{number}"
issuer = "{ISSUER}"
audience = "{issuer}"
match = {{ repository_id = "{number}", ref = "refs/heads/main" }}
client = "{WORKLOAD}"
"#
        );
    }
    text
}

/// Requests that were made beforehand.
enum Requests {
    Same(Vec<u8>),
    /// Each of them once.
    Each(Vec<Vec<u8>>, AtomicUsize),
}

impl Requests {
    fn next(&self) -> Option<&[u8]> {
        match self {
            Self::Same(request) => Some(request),
            Self::Each(requests, next) => requests.get(next.fetch_add(1, Ordering::Relaxed)).map(Vec::as_slice),
        }
    }
}

impl Proving {
    async fn requests(&self) -> Requests {
        let signer = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &self.key).map(Signer);
        let signer = signer.expect("a key");
        let token = |headers: &str, form: &str| post("/oauth/token", headers, form).into_bytes();
        // Distinct from those of all other processes.
        let run = random();
        let each = |request: &dyn Fn(&str) -> Vec<u8>| {
            let requests = (0..self.most).map(|number| request(&format!("{run}{number}"))).collect();
            Requests::Each(requests, AtomicUsize::new(0))
        };
        match self.proof {
            Proof::Secret => Requests::Same(token("", &self.secret_form)),
            Proof::Assertion => each(&|jti| {
                let assertion = signer.assertion(&self.issuer, jti);
                let kind = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";
                token(
                    "",
                    &format!("grant_type=client_credentials&client_assertion_type={kind}&client_assertion={assertion}"),
                )
            }),
            Proof::Dpop => {
                let nonce = self.nonce(&signer).await;
                each(&|jti| {
                    let proof = signer.proof(&self.issuer, &nonce, jti);
                    token(&format!("DPoP: {proof}\r\n"), &self.secret_form)
                })
            }
            Proof::TrustedToken => {
                let grant = "urn:ietf:params:oauth:grant-type:jwt-bearer";
                let assertion = signer.trusted_token(&self.issuer);
                Requests::Same(token("", &format!("grant_type={grant}&assertion={assertion}")))
            }
        }
    }

    /// The one that proofs have to carry, which the answer to a proof without it tells (RFC 9449 §8).
    async fn nonce(&self, signer: &Signer) -> String {
        let proof = signer.proof(&self.issuer, "none yet", &random());
        let request = post("/oauth/token", &format!("DPoP: {proof}\r\n"), &self.secret_form);
        let stream = TcpStream::connect(&self.address).await.expect("the mint listens");
        let mut connection = Connection::new(stream);
        let headers = connection.headers_of(request.as_bytes()).await;
        let line = headers.lines().find_map(|line| line.strip_prefix("dpop-nonce: ")).expect("a nonce");
        line.to_owned()
    }
}

/// The process that [`Proofs::measure`] starts.
#[expect(clippy::disallowed_methods, reason = "a benchmark measures real time")]
#[tokio::main(flavor = "current_thread")]
pub async fn generate() {
    let proving: Proving = serde_json::from_reader(std::io::stdin().lock()).expect("JSON");
    let requests = Arc::new(proving.requests().await);
    let mut connections = Vec::new();
    for _ in 0..proving.connections {
        let stream = TcpStream::connect(&proving.address).await.expect("the mint listens");
        stream.set_nodelay(true).expect("an option");
        connections.push(Connection::new(stream));
    }
    let start = Instant::now();
    let end = start + Duration::from_millis(proving.milliseconds);
    let run = |connection| tokio::spawn(run(connection, Arc::clone(&requests), end));
    let running: Vec<_> = connections.into_iter().map(run).collect();
    let mut latencies = Histogram::<u64>::new(3).expect("three digits");
    for connection in running {
        latencies.add(connection.await.expect("no connection fails")).expect("the same kind");
    }
    Measured::of(&latencies, start.elapsed()).print();
}

/// Until `end`, or until nothing is left to send.
#[expect(clippy::disallowed_methods, reason = "a benchmark measures real time")]
async fn run(mut connection: Connection, requests: Arc<Requests>, end: Instant) -> Histogram<u64> {
    let mut latencies = Histogram::new(3).expect("three digits");
    let mut now = Instant::now();
    while now < end {
        let Some(request) = requests.next() else { break };
        let (status, body) = connection.try_send(request).await;
        assert_eq!(status, 200, "{body}");
        let done = Instant::now();
        latencies.record((done - now).as_micros().try_into().expect("microseconds")).expect("any value");
        now = done;
    }
    latencies
}
