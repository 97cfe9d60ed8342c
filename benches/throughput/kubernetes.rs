//! Signatures for Kubernetes over its socket, beside the same ones asked of the library in one process with it: what is
//! between the two is what the socket, gRPC and the look at the caller cost.

use std::fmt::Write as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use hyper_util::rt::TokioIo;
use mintkeep::app::services::Services;
use mintkeep::cli::worker_threads;
use mintkeep::clock::{Clock as _, SystemClock};
use mintkeep::config::Config;
use mintkeep::hardware::KeyName;
use mintkeep::jose::base64url;
use mintkeep::keyring::delegated::DelegatedSigner;
use mintkeep::oauth::delegated::encoded_header;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::runtime::Builder;
use tonic::transport::{Channel, Endpoint};

use self::api::SignJwtRequest;
use self::api::external_jwt_signer_client::ExternalJwtSignerClient;
use crate::load::{Measured, generated};
use crate::mint::{Changes, Cpu, Mint, PROGRAM, configure};
use crate::report::{Sample, median};

#[rustfmt::skip]
#[path = "../../tests/it/kubernetes/api.rs"]
mod api;

/// Calls at a time, on one connection: a kube-apiserver has one.
const CALLS: usize = 64;

/// As the development mint has them.
const PROFILE: &str = "kubernetes";
const ISSUER: &str = "https://kubernetes.default.svc.cluster.local";
const SOCKET: &str = "kubernetes.sock";

/// Where signatures are asked for.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
enum Asked {
    /// Of `DelegatedSigner`, which asks a keeper.
    Library,
    /// Of a mint, at the socket.
    Socket,
}

/// A measurement to be made, by a process of its own.
#[derive(Deserialize, Serialize)]
struct Signing {
    asked: Asked,
    config: PathBuf,
    socket: PathBuf,
    milliseconds: u64,
}

/// What is told of it.
#[derive(Default)]
pub struct Kubernetes {
    library: [Vec<Sample>; 2],
    socket: [Vec<Sample>; 2],
}

impl Kubernetes {
    /// Measures both, one right after the other, without and with a look at each signature.
    pub fn measure(&mut self, state: &Path, span: Duration) {
        for verify in [false, true] {
            let config = configure(state, verify, &Changes::default()).0;
            let signing = |asked| Signing {
                asked,
                config: config.clone(),
                socket: state.join(SOCKET),
                milliseconds: span.as_millis().try_into().expect("a few seconds"),
            };
            let library: Measured = generated("sign", &signing(Asked::Library));
            let unknown = Cpu { mint: Duration::ZERO, keeper: Duration::ZERO };
            self.library[usize::from(verify)].push(Sample::of(&library, unknown));
            let mint = Mint::start(state, verify);
            let before = mint.cpu();
            let socket: Measured = generated("sign", &signing(Asked::Socket));
            self.socket[usize::from(verify)].push(Sample::of(&socket, mint.cpu().since(before)));
        }
    }

    pub fn is_empty(&self) -> bool {
        self.socket.iter().all(Vec::is_empty)
    }

    /// Against `ceiling`, what the module itself signs.
    pub fn write_table(&self, ceiling: f64, text: &mut String) {
        text.push_str(
            "\n| signatures for Kubernetes, 64 calls at a time | verified | per second | against the ceiling | p50 ms | p99 ms | p99 added ms | mint µs | keeper µs |\n|---|---|---:|---:|---:|---:|---:|---:|---:|\n",
        );
        for (verified, (library, socket)) in ["no", "yes"].into_iter().zip(self.library.iter().zip(&self.socket)) {
            let pairs = socket.iter().zip(library);
            let added = median(pairs.map(|(socket, library)| socket.p99_us - library.p99_us)) / 1000.0;
            for (name, samples, added) in
                [("in one process", library, "–".to_owned()), ("over the socket", socket, format!("{added:.2}"))]
            {
                let of = |figure: fn(&Sample) -> f64| median(samples.iter().map(figure));
                let _ = writeln!(
                    text,
                    "| {name} | {verified} | {:.0} | {:.2} × | {:.2} | {:.2} | {added} | {:.0} | {:.0} |",
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
        let of = |asked: &str, samples: &[Vec<Sample>; 2]| -> Vec<Value> {
            let row = |(verify, samples): (usize, &Vec<Sample>)| json!({ "asked": asked, "verify": verify == 1, "calls": CALLS, "measured": Sample::all(samples) });
            samples.iter().enumerate().map(row).collect()
        };
        [of("library", &self.library), of("socket", &self.socket)].concat().into()
    }
}

/// The keeper of the process that asks the library: the library starts its own program for it, which is this one.
pub fn be_keeper() -> ! {
    let error = Command::new(PROGRAM).args(std::env::args_os().skip(1)).exec();
    panic!("{PROGRAM}: {error}");
}

/// Claims as of a pod, in base64url.
fn claims() -> String {
    let now = SystemClock.now().unix_seconds();
    let claims = json!({
        "aud": [ISSUER], "exp": now + 3600, "iat": now, "iss": ISSUER, "jti": "0b1cbbbb-3d9b-4d7c-8d8b-0c2c9d1b2a55",
        "kubernetes.io": {
            "namespace": "default",
            "node": {"name": "node-1", "uid": "44ec4b24-6e4a-4b0b-8a8c-6d6f7a2d0f3e"},
            "pod": {"name": "web-0", "uid": "5e0bd49b-f040-43b0-99b7-22765a53f7f3"},
            "serviceaccount": {"name": "web", "uid": "14ee3fa4-a7e2-420f-9f9a-dbc4507c3798"},
            "warnafter": now + 3607,
        },
        "nbf": now, "sub": "system:serviceaccount:default:web",
    });
    base64url::encode(claims.to_string())
}

/// The process that `generated` starts.
pub fn generate() {
    let signing: Signing = serde_json::from_reader(std::io::stdin().lock()).expect("a measurement in JSON");
    let span = Duration::from_millis(signing.milliseconds);
    let measured = match signing.asked {
        // As many threads as the mint has.
        Asked::Library => {
            let runtime = Builder::new_multi_thread().worker_threads(worker_threads()).enable_all().build();
            let runtime = runtime.expect("a runtime");
            runtime.block_on(of_library(&signing.config, span))
        }
        Asked::Socket => {
            let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime");
            runtime.block_on(of_socket(&signing.socket, span))
        }
    };
    measured.print();
}

async fn of_library(config_path: &Path, span: Duration) -> Measured {
    let config = Config::load(config_path).expect("a good configuration");
    let services = Services::start(config_path, &config).await.expect("the keeper starts");
    let key = KeyName::parse(PROFILE).expect("a name");
    let measured = measured(&Caller::Library(Box::new(services.delegated.clone()), key), span).await;
    services.stop().await;
    measured
}

async fn of_socket(socket: &Path, span: Duration) -> Measured {
    let path = socket.to_owned();
    let connector = tower::service_fn(move |_: axum::http::Uri| {
        let path = path.clone();
        async move { tokio::net::UnixStream::connect(path).await.map(TokioIo::new) }
    });
    let channel = Endpoint::from_static("http://localhost").connect_with_connector_lazy(connector);
    let mut client = ExternalJwtSignerClient::new(channel);
    // The mint listens before its keeper is there.
    while client.sign(SignJwtRequest { claims: claims() }).await.is_err() {
        tokio::time::sleep(Duration::from_millis(25)).await;
    }
    measured(&Caller::Socket(client), span).await
}

/// Somebody who wants signatures, one after the other.
#[derive(Clone)]
enum Caller {
    Library(Box<DelegatedSigner>, KeyName),
    Socket(ExternalJwtSignerClient<Channel>),
}

impl Caller {
    async fn call(&mut self) {
        let claims = claims();
        match self {
            Self::Library(signer, key) => {
                let input = |kid: &str| format!("{}.{claims}", encoded_header("JWT", kid)).into_bytes();
                signer.sign(PROFILE, PROFILE, key, None, input).await.expect("a signature");
            }
            Self::Socket(client) => {
                client.sign(SignJwtRequest { claims }).await.expect("a signature");
            }
        }
    }
}

/// What as many callers as `caller` come to, all at a time.
async fn measured(caller: &Caller, span: Duration) -> Measured {
    #[expect(clippy::disallowed_methods, reason = "a benchmark measures real time")]
    let start = Instant::now();
    let calling: Vec<_> = (0..CALLS).map(|_| tokio::spawn(run(caller.clone(), start + span))).collect();
    let mut latencies = Histogram::<u64>::new(3).expect("three digits");
    for of_caller in calling {
        latencies.add(of_caller.await.expect("no call fails")).expect("the same kind");
    }
    Measured::of(&latencies, start.elapsed())
}

#[expect(clippy::disallowed_methods, reason = "a benchmark measures real time")]
async fn run(mut caller: Caller, end: Instant) -> Histogram<u64> {
    let mut latencies = Histogram::new(3).expect("three digits");
    let mut now = Instant::now();
    while now < end {
        caller.call().await;
        let done = Instant::now();
        latencies.record((done - now).as_micros().try_into().expect("microseconds")).expect("any value");
        now = done;
    }
    latencies
}
