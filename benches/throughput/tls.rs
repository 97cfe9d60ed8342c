//! HTTPS beside plain HTTP: on connections that are kept, and on one for each request.
//!
//! Client and mint share the processors, and a handshake costs both of them. So the client verifies nothing, and what
//! the mint itself took is told beside the rate.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::body::Bytes;
use hdrhistogram::Histogram;
use http_body_util::{BodyExt as _, Full};
use hyper::Request;
use hyper::client::conn::http2::{SendRequest, handshake};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rcgen::{CertificateParams, KeyPair};
use rustls::client::Resumption;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, HandshakeKind, SignatureScheme};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::beside::Beside;
use crate::load::{Connection, Measured, client_credentials_form, generated, post};
use crate::mint::{Changes, Mint};

/// Connections at a time.
const CONNECTIONS: [usize; 2] = [1, 64];

/// How requests travel.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
enum Travel {
    /// Plain HTTP/1.1: the measure of the others.
    Http,
    /// HTTP/1.1 over TLS.
    Https,
    /// HTTP/2 over TLS.
    Http2,
    /// HTTP/2 over TLS, all on one connection.
    OneHttp2,
}

/// What becomes of a connection after a request.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
enum Then {
    Kept,
    /// The next one begins anew.
    Closed,
    /// The next one resumes its session.
    Resumed,
}

/// A measurement to be made, by a process of its own.
#[derive(Deserialize, Serialize)]
struct Asking {
    address: String,
    /// The form to get a token by; without one the published keys are asked for.
    form: Option<String>,
    travel: Travel,
    then: Then,
    at_a_time: usize,
    milliseconds: u64,
}

/// What is told of HTTPS.
#[derive(Default)]
pub struct Https {
    kept: Beside,
    closed: Beside,
}

impl Https {
    /// Measures each way right after plain HTTP.
    pub fn measure(&mut self, state: &Path, span: Duration) {
        let plain_mint = Mint::start(state, true);
        write_certificate(state);
        let tables = "\n[listen.tls]\ncertificate = \"tls-certificate.pem\"\nkey = \"tls-key.pem\"\n";
        let secure_mint = Mint::start_changed(state, true, &Changes { tables, is_second: true, ..Changes::default() });
        let form = client_credentials_form(&plain_mint);
        let milliseconds = span.as_millis().try_into().expect("a few seconds");
        let measure = |is_token: bool, travel, then, at_a_time| {
            let mint = if travel == Travel::Http { &plain_mint } else { &secure_mint };
            let form = is_token.then(|| form.clone());
            let asking = Asking { address: mint.address(), form, travel, then, at_a_time, milliseconds };
            let before = mint.cpu();
            let measured: Measured = generated("secure", &asking);
            (measured, mint.cpu().since(before))
        };
        for at_a_time in CONNECTIONS {
            for (is_token, what) in [(true, "client_credentials"), (false, "published keys")] {
                let ways: [(Travel, &str); 3] = [
                    (Travel::Https, "HTTPS, HTTP/1.1"),
                    (Travel::Http2, "HTTPS, HTTP/2"),
                    (Travel::OneHttp2, "HTTPS, HTTP/2, requests on one connection"),
                ];
                for (travel, how) in ways {
                    if travel == Travel::OneHttp2 && at_a_time == 1 {
                        continue;
                    }
                    let (plain, cpu) = measure(is_token, Travel::Http, Then::Kept, at_a_time);
                    self.kept.add(&format!("{what}, plain HTTP"), at_a_time, None, &plain, cpu);
                    let (measured, cpu) = measure(is_token, travel, Then::Kept, at_a_time);
                    self.kept.add(&format!("{what}, {how}"), at_a_time, Some(&plain), &measured, cpu);
                }
                for (then, how) in [(Then::Closed, "full handshake"), (Then::Resumed, "resumed")] {
                    let (plain, cpu) = measure(is_token, Travel::Http, Then::Closed, at_a_time);
                    self.closed.add(&format!("{what}, plain HTTP"), at_a_time, None, &plain, cpu);
                    let (measured, cpu) = measure(is_token, Travel::Https, then, at_a_time);
                    self.closed.add(&format!("{what}, {how}"), at_a_time, Some(&plain), &measured, cpu);
                }
            }
        }
    }

    pub fn is_empty(&self) -> bool {
        self.kept.is_empty()
    }

    pub fn write_tables(&self, text: &mut String) {
        self.kept.write_table("requests on connections that are kept", text);
        self.closed.write_table("requests, each on a connection of its own", text);
    }

    pub fn json(&self) -> Value {
        json!({ "kept": self.kept.json(), "closed": self.closed.json() })
    }
}

fn write_certificate(state: &Path) {
    let key = KeyPair::generate().expect("a key");
    let parameters = CertificateParams::new(["localhost".to_owned()]).expect("a name");
    let certificate = parameters.self_signed(&key).expect("a certificate");
    std::fs::write(state.join("tls-certificate.pem"), certificate.pem()).expect("the folder is writable");
    let path = state.join("tls-key.pem");
    std::fs::write(&path, key.serialize_pem()).expect("the folder is writable");
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).expect("it is ours");
}

/// The process that [`Https::measure`] starts.
#[expect(clippy::disallowed_methods, reason = "a benchmark measures real time")]
#[tokio::main(flavor = "current_thread")]
pub async fn generate() {
    let asking: Asking = serde_json::from_reader(std::io::stdin().lock()).expect("JSON");
    let asking = Arc::new(asking);
    let mut clients = Vec::new();
    let shared = match asking.travel {
        Travel::OneHttp2 => Some(http2(&asking).await),
        Travel::Http | Travel::Https | Travel::Http2 => None,
    };
    for _ in 0..asking.at_a_time {
        clients.push(match (asking.travel, asking.then, &shared) {
            (_, _, Some(shared)) => Client::Http2(shared.clone()),
            (Travel::Http2, _, _) => Client::Http2(http2(&asking).await),
            (Travel::Http, Then::Kept, _) => Client::Http(Connection::new(connect(&asking).await)),
            (_, Then::Kept, _) => Client::Https(Box::new(Connection::new(secure(&asking, &connector(&asking)).await))),
            (_, Then::Closed | Then::Resumed, _) => Client::Anew(connector(&asking)),
        });
    }
    let start = Instant::now();
    let end = start + Duration::from_millis(asking.milliseconds);
    let running: Vec<_> =
        clients.into_iter().map(|client| tokio::spawn(run(client, Arc::clone(&asking), end))).collect();
    let mut latencies = Histogram::<u64>::new(3).expect("three digits");
    for client in running {
        latencies.add(client.await.expect("no connection fails")).expect("the same kind");
    }
    Measured::of(&latencies, start.elapsed()).print();
}

/// Who makes one request after the other.
enum Client {
    Http(Connection),
    Https(Box<Connection<TlsStream<TcpStream>>>),
    Http2(SendRequest<Full<Bytes>>),
    /// On a connection of its own for each. What is remembered of sessions is its own too.
    Anew(TlsConnector),
}

#[expect(clippy::disallowed_methods, reason = "a benchmark measures real time")]
async fn run(mut client: Client, asking: Arc<Asking>, end: Instant) -> Histogram<u64> {
    let mut latencies = Histogram::new(3).expect("three digits");
    let request = asking.request();
    let mut is_first = true;
    let mut now = Instant::now();
    while now < end {
        let status = match &mut client {
            Client::Http(connection) => connection.try_send(&request).await.0,
            Client::Https(connection) => connection.try_send(&request).await.0,
            Client::Http2(sender) => asking.send(sender).await,
            Client::Anew(_) if asking.travel == Travel::Http => {
                Connection::new(connect(&asking).await).try_send(&request).await.0
            }
            Client::Anew(connector) => {
                let mut connection = Connection::new(secure(&asking, connector).await);
                let status = connection.try_send(&request).await.0;
                let kind = connection.stream().get_ref().1.handshake_kind();
                let is_resumed = kind == Some(HandshakeKind::Resumed);
                assert_eq!(is_resumed, asking.then == Then::Resumed && !is_first, "{kind:?}");
                status
            }
        };
        is_first = false;
        assert_eq!(status, 200);
        let done = Instant::now();
        latencies.record((done - now).as_micros().try_into().expect("microseconds")).expect("any value");
        now = done;
    }
    latencies
}

const KEYS: &str = "/.well-known/jwks.json";
const TOKENS: &str = "/oauth/token";

impl Asking {
    /// In HTTP/1.1.
    fn request(&self) -> Vec<u8> {
        let request = match &self.form {
            Some(form) => post(TOKENS, "", form),
            None => format!("GET {KEYS} HTTP/1.1\r\nHost: mint\r\n\r\n"),
        };
        request.into_bytes()
    }

    /// In HTTP/2.
    async fn send(&self, sender: &mut SendRequest<Full<Bytes>>) -> u16 {
        let request = match &self.form {
            Some(form) => Request::post(format!("https://mint{TOKENS}"))
                .header("content-type", "application/x-www-form-urlencoded")
                .body(Full::from(form.clone())),
            None => Request::get(format!("https://mint{KEYS}")).body(Full::default()),
        };
        let answer = sender.send_request(request.expect("a request")).await.expect("an answer");
        let status = answer.status().as_u16();
        answer.into_body().collect().await.expect("all of it");
        status
    }
}

async fn connect(asking: &Asking) -> TcpStream {
    let stream = TcpStream::connect(&asking.address).await.expect("the mint listens");
    stream.set_nodelay(true).expect("an option");
    stream
}

async fn secure(asking: &Asking, connector: &TlsConnector) -> TlsStream<TcpStream> {
    let name = ServerName::try_from("localhost").expect("a name");
    connector.connect(name, connect(asking).await).await.expect("the handshake succeeds")
}

async fn http2(asking: &Asking) -> SendRequest<Full<Bytes>> {
    let stream = TokioIo::new(secure(asking, &connector(asking)).await);
    let (sender, connection) = handshake(TokioExecutor::new(), stream).await.expect("HTTP/2");
    tokio::spawn(connection);
    sender
}

fn connector(asking: &Asking) -> TlsConnector {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider)).with_safe_default_protocol_versions();
    let builder = builder.expect("versions that there are").dangerous();
    let mut config = builder.with_custom_certificate_verifier(Arc::new(Anybody(provider))).with_no_client_auth();
    let is_http2 = matches!(asking.travel, Travel::Http2 | Travel::OneHttp2);
    config.alpn_protocols = vec![if is_http2 { b"h2".to_vec() } else { b"http/1.1".to_vec() }];
    if asking.then != Then::Resumed {
        config.resumption = Resumption::disabled();
    }
    Arc::new(config).into()
}

/// Takes any certificate, and any signature with it.
#[derive(Debug)]
struct Anybody(Arc<CryptoProvider>);

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
