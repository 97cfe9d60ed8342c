//! Signatures for front-ends, over HTTP: in the form of Vault's transit engine, of digests as Dex has them signed and of whole
//! messages; and of claims, in the form of our own.

use std::fmt::Write as _;
use std::path::Path;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::net::TcpStream;

use crate::MOST_CONNECTIONS;
use crate::load::{Connection, Measured, generated};
use crate::mint::{Mint, record};
use crate::report::{Sample, median};

/// What is signed; as long as a token of an IdP.
const MESSAGE: [u8; 500] = [b'm'; 500];

/// What one request asks for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Asked {
    /// A digest, of which each signature is logged.
    Digest,
    /// A message, which the keeper hashes.
    Message,
    /// Claims, which the keeper holds against a profile.
    Claims,
}

const ASKED: [(Asked, &str); 3] = [
    (Asked::Digest, "a digest, by transit"),
    (Asked::Message, "a message of 500 bytes, by transit"),
    (Asked::Claims, "claims, by /admin/v1/sign"),
];

impl Asked {
    /// The request to the front-end listener of the mint that `dev` is the record of.
    fn request(self, dev: &Value) -> String {
        let text = |name: &str| dev[name].as_str().unwrap_or_else(|| panic!("no {name}"));
        let transit = |input: String, is_digest: bool| {
            let body = json!({
                "input": input, "prehashed": is_digest, "hash_algorithm": "sha2-256", "marshaling_algorithm": "jws",
                "signature_algorithm": "pkcs1v15",
            });
            let path = format!("/v1/transit/sign/{}", text("transit_key"));
            (path, format!("X-Vault-Token: {}", text("transit_token")), body)
        };
        let (path, token, body) = match self {
            Self::Digest => transit(STANDARD.encode([7; 32]), true),
            Self::Message => transit(STANDARD.encode(MESSAGE), false),
            Self::Claims => {
                let claims = json!({"sub": "ada", "aud": "https://api.example.com", "groups": ["admin", "staff"]});
                let token = format!("Authorization: Bearer {}", text("frontend_token"));
                ("/admin/v1/sign".to_owned(), token, json!({"profile": "frontend", "claims": claims}))
            }
        };
        let body = body.to_string();
        let length = body.len();
        format!(
            "POST {path} HTTP/1.1\r\nHost: mint\r\n{token}\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}"
        )
    }
}

/// A measurement to be made, by a process of its own.
#[derive(Deserialize, Serialize)]
struct Signing {
    address: String,
    request: String,
    milliseconds: u64,
}

/// What is told of it: by what was asked, without and with a look at each signature.
#[derive(Default)]
pub struct Transit {
    samples: [[Vec<Sample>; 2]; 3],
}

impl Transit {
    /// Measures the key of the development mint.
    pub fn measure(&mut self, state: &Path, span: Duration) {
        lift_limit(state);
        let dev = record(state);
        let url = dev["transit_url"].as_str().expect("a mint with front-ends");
        let address = url.strip_prefix("http://").expect("no TLS").trim_end_matches('/').to_owned();
        for verify in [false, true] {
            let mint = Mint::start(state, verify);
            for (number, (asked, _)) in ASKED.into_iter().enumerate() {
                let request = asked.request(&dev);
                let milliseconds = span.as_millis().try_into().expect("a few seconds");
                let before = mint.cpu();
                let signing = Signing { address: address.clone(), request, milliseconds };
                let measured: Measured = generated("ask-transit", &signing);
                self.samples[number][usize::from(verify)].push(Sample::of(&measured, mint.cpu().since(before)));
            }
        }
    }

    pub fn is_empty(&self) -> bool {
        self.samples.iter().flatten().all(Vec::is_empty)
    }

    /// Against `ceiling`, what the module itself signs.
    pub fn write_table(&self, ceiling: f64, text: &mut String) {
        text.push_str(
            "\n| signatures for front-ends, 64 connections | verified | per second | against the ceiling | p50 ms | p99 ms | mint µs | keeper µs |\n|---|---|---:|---:|---:|---:|---:|---:|\n",
        );
        for ((_, name), samples) in ASKED.into_iter().zip(&self.samples) {
            for (verified, samples) in ["no", "yes"].into_iter().zip(samples) {
                let of = |figure: fn(&Sample) -> f64| median(samples.iter().map(figure));
                let _ = writeln!(
                    text,
                    "| {name} | {verified} | {:.0} | {:.2} × | {:.2} | {:.2} | {:.0} | {:.0} |",
                    of(|sample| sample.rate),
                    of(|sample| sample.rate) / ceiling,
                    of(|sample| sample.p50_us) / 1000.0,
                    of(|sample| sample.p99_us) / 1000.0,
                    of(|sample| sample.mint_us),
                    of(|sample| sample.keeper_us),
                );
            }
        }
    }

    pub fn json(&self) -> Value {
        let rows = ASKED.into_iter().zip(&self.samples).flat_map(|((_, name), samples)| {
            let row = move |(verify, samples): (usize, &Vec<Sample>)| json!({ "asked": name, "verify": verify == 1, "connections": MOST_CONNECTIONS, "measured": Sample::all(samples) });
            samples.iter().enumerate().map(row)
        });
        rows.collect::<Vec<_>>().into()
    }
}

/// Has the limit on digests be none.
fn lift_limit(state: &Path) {
    let path = state.join("mintkeep.toml");
    let text = std::fs::read_to_string(&path).expect("dev wrote it");
    let mut config: toml_edit::DocumentMut = text.parse().expect("TOML");
    let profiles = config["signing_profile"].as_array_of_tables_mut().expect("dev has some");
    let profile = profiles.iter_mut().find(|profile| profile["name"].as_str() == Some("transit"));
    profile.expect("the one of the key")["prehashed_per_second"] = toml_edit::value(1_000_000);
    std::fs::write(&path, config.to_string()).expect("the folder is writable");
}

/// The process that `generated` starts.
#[tokio::main(flavor = "current_thread")]
#[expect(clippy::disallowed_methods, reason = "a benchmark measures real time")]
pub async fn generate() {
    let signing: Signing = serde_json::from_reader(std::io::stdin().lock()).expect("a measurement in JSON");
    let start = Instant::now();
    let end = start + Duration::from_millis(signing.milliseconds);
    let mut running = Vec::new();
    for _ in 0..MOST_CONNECTIONS {
        let stream = TcpStream::connect(&signing.address).await.expect("the mint listens");
        stream.set_nodelay(true).expect("an option");
        running.push(tokio::spawn(run(Connection::new(stream), signing.request.clone(), end)));
    }
    let mut latencies = Histogram::<u64>::new(3).expect("three digits");
    for connection in running {
        latencies.add(connection.await.expect("no connection fails")).expect("the same kind");
    }
    Measured::of(&latencies, start.elapsed()).print();
}

#[expect(clippy::disallowed_methods, reason = "a benchmark measures real time")]
async fn run(mut connection: Connection, request: String, end: Instant) -> Histogram<u64> {
    let mut latencies = Histogram::new(3).expect("three digits");
    let mut now = Instant::now();
    while now < end {
        let (status, body) = connection.try_send(request.as_bytes()).await;
        let is_signed = ["\"signature\":\"vault:v1:", "\"jws\":\""].iter().any(|member| body.contains(member));
        assert!(status == 200 && is_signed, "{status}: {body}");
        let done = Instant::now();
        latencies.record((done - now).as_micros().try_into().expect("microseconds")).expect("any value");
        now = done;
    }
    latencies
}
