//! Devices of other speeds than SoftHSM2's, played by the module of the fault tests: what a mint makes of each when it
//! is asked for as much as the device can do, and for more: over HTTP, and without it.
//!
//! A device of 20,000 signatures a second has more to do than two cores can ask for over HTTP. What stands in front of
//! it in the mint is asked in the same process then, [`inside`], by as much as is meant.

pub mod inside;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
use hdrhistogram::Histogram;
use mintkeep::config::{Config, Hardware};
use mintkeep::hardware::pkcs11::TokenName;
use mintkeep::jose::jwk::P256PublicKey;
use secrecy::ExposeSecret as _;
use serde::{Deserialize, Serialize};
use tokio::net::TcpStream;

use crate::load::{Connection, client_credentials_form, generated};
use crate::mint::Mint;
use crate::raw::{self, Sequence};

/// A device: how many operations it does at a time, and how long each takes.
pub struct Emulated {
    pub name: &'static str,
    pub sessions: usize,
    pub latency_us: u64,
}

/// What is measured.
pub const DEVICES: [Emulated; 4] = [
    Emulated { name: "USB HSM, 14/s", sessions: 1, latency_us: 71_428 },
    Emulated { name: "TPM, 5/s", sessions: 1, latency_us: 200_000 },
    Emulated { name: "cloud HSM, 3,000/s", sessions: 10, latency_us: 3_333 },
    Emulated { name: "network HSM, 20,000/s", sessions: 30, latency_us: 1_500 },
];

/// What is asked for, in what the device can do.
pub const LOADS: [u32; 4] = [1, 2, 5, 10];

/// The limit of the mint to one request to its keeper.
pub const DEADLINE: Duration = Duration::from_secs(2);

/// Before the measurement: the queue fills as far as it ever does.
const WARM_UP: Duration = Duration::from_secs(4);
const SPAN: Duration = Duration::from_secs(10);

/// Connections at the most, below what the mint takes at a time. Fast devices are asked by so many at a time, and no more.
const MOST_CONNECTIONS: f64 = 900.0;

/// Requests at a pace of their own, whatever becomes of them.
#[derive(Deserialize, Serialize)]
struct Paced {
    address: String,
    form: String,
    per_second: f64,
    connections: usize,
}

/// What came of them.
#[derive(Clone, Deserialize, Serialize)]
pub struct Outcome {
    /// Requests a second that were really sent.
    pub offered: f64,
    /// Tokens a second.
    pub served: f64,
    /// Answers 503 a second.
    pub refused: f64,
    /// From the request to its token.
    pub p99_ms: f64,
    /// From the request to its 503.
    pub refusal_p99_ms: f64,
}

/// The key of the played devices: its label, and the file that the module reads.
const LABEL: &str = "played-signing";
const KEY: &str = "played.key";

/// Puts the played device into the configuration in `state`.
fn play(state: &Path, device: &Emulated) {
    let module = program_folder().join("examples/libfaulty_module.so");
    assert!(module.exists(), "{} is built by `cargo build --release --examples`", module.display());
    let own = state.join("dev.toml");
    let text = std::fs::read_to_string(&own).expect("dev wrote it");
    let mut config: toml_edit::DocumentMut = text.parse().expect("TOML");
    let hardware = &mut config["hardware"]["softhsm"];
    let real = hardware["module"].as_str().expect("a path").to_owned();
    let plays = format!("C_Sign latency {}us {}", device.latency_us, device.sessions);
    hardware["environment"]["FAULTY_MODULE_REAL"] = toml_edit::value(real);
    hardware["environment"]["FAULTY_MODULE_PLAYS"] = toml_edit::value(plays);
    hardware["environment"]["FAULTY_MODULE_KEY"] = toml_edit::value(state.join(KEY).display().to_string());
    hardware["signing_key"] = toml_edit::value(LABEL);
    hardware["allow_imported"] = toml_edit::value(true);
    config["store"]["url"] = toml_edit::value("sqlite:played.db");
    let hardware = &mut config["hardware"]["softhsm"];
    hardware["module"] = toml_edit::value(module.display().to_string());
    hardware["sessions"] = toml_edit::value(i64::try_from(device.sessions).expect("a small number"));
    config["keeper"]["request_timeout"] = toml_edit::value(format!("{}s", DEADLINE.as_secs()));
    std::fs::write(state.join("mintkeep.toml"), config.to_string()).expect("the folder is writable");
}

/// Gives the token a signing key that the module has too: what a device of its own would do costs this machine next to
/// nothing then.
fn import_key(state: &Path) {
    let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).expect("a key");
    let pkcs8 = pair.to_pkcs8v1().expect("a key in DER");
    let public = P256PublicKey::from_uncompressed(pair.public_key().as_ref());
    let id = public.expect("a point").thumbprint();
    std::fs::write(state.join(KEY), [&id[..], pkcs8.as_ref()].concat()).expect("the folder is writable");
    let pem = der::pem::encode_string("PRIVATE KEY", der::pem::LineEnding::LF, pkcs8.as_ref()).expect("a PEM file");
    let path = state.join("played.pem");
    std::fs::write(&path, pem).expect("the folder is writable");
    let config = Config::load(&state.join("mintkeep.toml")).expect("dev wrote a good configuration");
    let [Hardware::Pkcs11(token)] = &config.hardware[..] else { panic!("dev wrote a configuration for SoftHSM2") };
    let TokenName::Label(label) = &token.device.token else { panic!("dev wrote the label of the token") };
    let pin = token.device.pin.read().expect("the PIN");
    let id: String = id.iter().map(|byte| format!("{byte:02x}")).collect();
    let imported = Command::new("softhsm2-util")
        .args(["--token", label, "--label", LABEL, "--id", &id, "--pin", pin.expose_secret(), "--import"])
        .arg(&path)
        .envs(config.hardware[0].environment())
        .output()
        .expect("softhsm2-util is installed");
    assert!(imported.status.success(), "{}", String::from_utf8_lossy(&imported.stderr));
}

/// `target/release` or its like.
fn program_folder() -> PathBuf {
    Path::new(env!("CARGO_BIN_EXE_mintkeep")).parent().expect("it is in a folder").to_owned()
}

/// Measures every device at every load, and prints two lines for each.
pub fn measure(state: &Path) {
    std::fs::copy(state.join("mintkeep.toml"), state.join("dev.toml")).expect("the folder is writable");
    import_key(state);
    println!("| device | it can do | asked | for | tokens/s | of what it can | p99 | refused/s | p99 of refusals |");
    println!("| --- | --- | --- | --- | --- | --- | --- | --- | --- |");
    for device in &DEVICES {
        play(state, device);
        // Keys in the token: their handles are what every session has.
        let ceiling = raw::in_process_of_its_own(state, Sequence::Token, device.sessions, "token");
        for load in LOADS {
            let asked_for = ceiling * f64::from(load);
            let mint = Mint::start(state, true);
            wait_until_ready(&mint);
            let over_http = offer(&mint, asked_for);
            drop(mint);
            for (asked, outcome) in [("over HTTP", over_http), ("inside", inside::offer(state, asked_for))] {
                println!(
                    "| {} | {ceiling:.1}/s | {asked} | {load} × ({:.0}/s sent) | {:.1} | {:.3} | {:.0} ms | {:.0} | {:.0} ms |",
                    device.name,
                    outcome.offered,
                    outcome.served,
                    outcome.served / ceiling,
                    outcome.p99_ms,
                    outcome.refused,
                    outcome.refusal_p99_ms
                );
            }
        }
    }
    println!("\nEach request may take the mint {} s; p99 is of requests that got a token.", DEADLINE.as_secs());
}

/// A slow device takes its time to try its keys: the first token says that it is done.
fn wait_until_ready(mint: &Mint) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let form = client_credentials_form(mint);
    let is_ready = runtime.block_on(async {
        let stream = TcpStream::connect(mint.address()).await.expect("the mint listens");
        Connection::new(stream).try_exchange("/oauth/token", &form).await.0 == 200
    });
    assert!(is_ready, "there is no first token");
}

fn offer(mint: &Mint, per_second: f64) -> Outcome {
    // As many as are under way where each waits as long as it may.
    let most_waiting = (per_second * (DEADLINE.as_secs_f64() + 0.5)).clamp(16.0, MOST_CONNECTIONS);
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "between 16 and 900")]
    let connections = most_waiting as usize;
    let form = client_credentials_form(mint);
    let paced = Paced { address: mint.address(), form, per_second, connections };
    generated("paced", &paced)
}

/// What the connections came to, of what was answered within the measurement.
struct Tally {
    sent: u64,
    tokens: Histogram<u64>,
    refusals: Histogram<u64>,
}

/// The process that [`offer`] starts.
#[expect(clippy::disallowed_methods, reason = "a benchmark measures real time")]
#[tokio::main(flavor = "current_thread")]
pub async fn generate() {
    let paced: Paced = serde_json::from_reader(std::io::stdin().lock()).expect("a pace in JSON");
    let mut connections = Vec::new();
    for _ in 0..paced.connections {
        let stream = TcpStream::connect(&paced.address).await.expect("the mint listens");
        stream.set_nodelay(true).expect("an option");
        connections.push(Connection::new(stream));
    }
    let start = Instant::now();
    let next = std::rc::Rc::new(std::cell::Cell::new(0_u32));
    let local = tokio::task::LocalSet::new();
    let tallies = local
        .run_until(async {
            let running: Vec<_> = connections
                .into_iter()
                .map(|connection| {
                    let (next, form) = (std::rc::Rc::clone(&next), paced.form.clone());
                    tokio::task::spawn_local(run(connection, form, paced.per_second, next, start))
                })
                .collect();
            let mut tallies = Vec::new();
            for connection in running {
                tallies.push(connection.await.expect("no connection fails"));
            }
            tallies
        })
        .await;
    let mut all = Tally::new();
    for tally in tallies {
        all.sent += tally.sent;
        all.tokens.add(tally.tokens).expect("the same kind");
        all.refusals.add(tally.refusals).expect("the same kind");
    }
    all.print();
}

impl Tally {
    fn new() -> Self {
        let histogram = || Histogram::new(3).expect("three digits");
        Self { sent: 0, tokens: histogram(), refusals: histogram() }
    }

    /// For [`generated`].
    fn print(&self) {
        let per_second = |count: u64| count as f64 / SPAN.as_secs_f64();
        let p99_ms = |times: &Histogram<u64>| times.value_at_quantile(0.99) as f64 / 1000.0;
        let outcome = Outcome {
            offered: per_second(self.sent),
            served: per_second(self.tokens.len()),
            refused: per_second(self.refusals.len()),
            p99_ms: p99_ms(&self.tokens),
            refusal_p99_ms: p99_ms(&self.refusals),
        };
        println!("{}", serde_json::to_string(&outcome).expect("JSON"));
    }
}

/// One connection: takes the next request of all, waits for its time, and for its answer.
#[expect(clippy::disallowed_methods, reason = "a benchmark measures real time")]
async fn run(
    mut connection: Connection,
    form: String,
    per_second: f64,
    next: std::rc::Rc<std::cell::Cell<u32>>,
    start: Instant,
) -> Tally {
    let mut tally = Tally::new();
    loop {
        let number = next.get();
        next.set(number + 1);
        let due = start + Duration::from_secs_f64(f64::from(number) / per_second);
        if due > start + WARM_UP + SPAN {
            return tally;
        }
        // Late ones go at once. Milliseconds are what the runtime's timer has.
        if due > Instant::now() + Duration::from_millis(1) {
            tokio::time::sleep_until(due.into()).await;
        }
        let sent = Instant::now();
        if sent > start + WARM_UP + SPAN {
            return tally;
        }
        let (status, _) = connection.try_exchange("/oauth/token", &form).await;
        let answered = Instant::now();
        if answered < start + WARM_UP || answered > start + WARM_UP + SPAN {
            continue;
        }
        tally.sent += 1;
        let times = match status {
            200 => &mut tally.tokens,
            503 => &mut tally.refusals,
            other => panic!("HTTP {other}"),
        };
        times.record((answered - sent).as_micros().try_into().expect("microseconds")).expect("any value");
    }
}
