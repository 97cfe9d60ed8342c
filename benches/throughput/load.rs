//! The load generator: keep-alive connections, each with one request under way, on one thread. It reads
//! answers with `httparse` and no more, so that as much of the machine as possible is left to the mint.

use std::io::Write as _;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::mint::{API, Mint};

/// What is asked for.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub enum Work {
    ClientCredentials,
    RefreshToken,
    Introspection,
}

/// One measurement to be made.
#[derive(Deserialize, Serialize)]
pub struct Load {
    address: String,
    milliseconds: u64,
    /// The first form of each connection.
    forms: Vec<String>,
    /// What the resource server proves itself by.
    credentials: String,
    work: Work,
}

/// What it came to.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Measured {
    pub tokens: u64,
    pub seconds: f64,
    pub p50_us: u64,
    pub p99_us: u64,
}

impl Measured {
    pub fn of(latencies: &Histogram<u64>, elapsed: Duration) -> Self {
        Self {
            tokens: latencies.len(),
            seconds: elapsed.as_secs_f64(),
            p50_us: latencies.value_at_quantile(0.5),
            p99_us: latencies.value_at_quantile(0.99),
        }
    }

    /// For [`generated`].
    pub fn print(&self) {
        println!("{}", serde_json::to_string(self).expect("JSON"));
    }

    pub fn rate(&self) -> f64 {
        self.tokens as f64 / self.seconds
    }
}

impl Load {
    pub fn new(mint: &Mint, work: Work, connections: usize, span: Duration) -> Self {
        let forms = match work {
            Work::ClientCredentials => {
                vec![client_credentials_form(mint); connections]
            }
            Work::RefreshToken | Work::Introspection => {
                mint.grants(connections).iter().map(|token| refresh_form(token)).collect()
            }
        };
        let milliseconds = span.as_millis().try_into().expect("a few seconds");
        let credentials = format!("client_id={API}&client_secret={}", mint.client_secret());
        Self { address: mint.address(), milliseconds, forms, credentials, work }
    }

    pub fn in_process_of_its_own(&self) -> Measured {
        generated("load", self)
    }
}

/// What this program measures as the load generator `name`, which reads `load` in JSON.
pub fn generated<Outcome: DeserializeOwned>(name: &str, load: &impl Serialize) -> Outcome {
    let program = std::env::current_exe().expect("this program");
    let mut generator = Command::new(program)
        .arg(name)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("this program starts");
    let mut input = generator.stdin.take().expect("its input is piped");
    input.write_all(&serde_json::to_vec(load).expect("JSON")).expect("it reads");
    drop(input);
    let output = generator.wait_with_output().expect("it ends");
    serde_json::from_slice(&output.stdout).expect("it measured")
}

pub fn client_credentials_form(mint: &Mint) -> String {
    format!("grant_type=client_credentials&client_id=billing-service&client_secret={}", mint.client_secret())
}

fn refresh_form(token: &str) -> String {
    format!("grant_type=refresh_token&client_id=ci-cd-pipeline-runner&refresh_token={token}")
}

/// The process that `in_process_of_its_own` starts.
#[tokio::main(flavor = "current_thread")]
pub async fn generate() {
    let load: Load = serde_json::from_reader(std::io::stdin().lock()).expect("a load in JSON");
    let mut connections = Vec::new();
    for form in &load.forms {
        let stream = TcpStream::connect(&load.address).await.expect("the mint listens");
        stream.set_nodelay(true).expect("an option");
        let mut connection = Connection::new(stream);
        let form = match load.work {
            Work::ClientCredentials | Work::RefreshToken => form.clone(),
            // Each connection asks about an access token of its own.
            Work::Introspection => {
                let tokens = connection.exchange("/oauth/token", form).await;
                format!("token={}&{}", member(tokens, "access_token"), load.credentials)
            }
        };
        connections.push((connection, form));
    }
    #[expect(clippy::disallowed_methods, reason = "a benchmark measures real time")]
    let start = Instant::now();
    let end = start + Duration::from_millis(load.milliseconds);
    let work = load.work;
    let running: Vec<_> =
        connections.into_iter().map(|(connection, form)| tokio::spawn(run(connection, form, work, end))).collect();
    let mut latencies = Histogram::<u64>::new(3).expect("three digits");
    for connection in running {
        latencies.add(connection.await.expect("no connection fails")).expect("the same kind");
    }
    Measured::of(&latencies, start.elapsed()).print();
}

#[expect(clippy::disallowed_methods, reason = "a benchmark measures real time")]
async fn run(mut connection: Connection, mut form: String, work: Work, end: Instant) -> Histogram<u64> {
    let mut latencies = Histogram::new(3).expect("three digits");
    let mut now = Instant::now();
    while now < end {
        match work {
            Work::ClientCredentials => {
                let tokens = connection.exchange("/oauth/token", &form).await;
                assert!(!member(tokens, "access_token").is_empty());
            }
            Work::RefreshToken => {
                let tokens = connection.exchange("/oauth/token", &form).await;
                assert!(!member(tokens, "access_token").is_empty());
                form = refresh_form(member(tokens, "refresh_token"));
            }
            Work::Introspection => {
                let answer = connection.exchange("/oauth/introspect", &form).await;
                assert!(answer.starts_with("{\"active\":true"), "{answer}");
            }
        }
        let done = Instant::now();
        latencies.record((done - now).as_micros().try_into().expect("microseconds")).expect("any value");
        now = done;
    }
    latencies
}

/// A keep-alive connection with one request under way at a time.
pub struct Connection<Stream = TcpStream> {
    stream: Stream,
    buffer: Vec<u8>,
}

impl<Stream: AsyncRead + AsyncWrite + Unpin> Connection<Stream> {
    pub fn new(stream: Stream) -> Self {
        Self { stream, buffer: vec![0; 16 * 1024] }
    }

    /// Sends a form and returns the body of the answer, which is a good one.
    async fn exchange(&mut self, path: &str, form: &str) -> &str {
        let (status, body) = self.try_exchange(path, form).await;
        assert_eq!(status, 200, "{body}");
        body
    }

    /// Sends a form and returns status and body of the answer.
    pub async fn try_exchange(&mut self, path: &str, form: &str) -> (u16, &str) {
        self.try_send(post(path, "", form).as_bytes()).await
    }

    /// Sends a whole request and returns status and body of the answer.
    pub async fn try_send(&mut self, request: &[u8]) -> (u16, &str) {
        self.stream.write_all(request).await.expect("the mint reads");
        // What TLS keeps back.
        self.stream.flush().await.expect("the mint reads");
        let (status, _, body) = answer(&mut self.stream, &mut self.buffer).await;
        (status, body)
    }

    /// Sends a whole request and returns the headers of the answer.
    pub async fn headers_of(&mut self, request: &[u8]) -> &str {
        self.stream.write_all(request).await.expect("the mint reads");
        answer(&mut self.stream, &mut self.buffer).await.1
    }

    pub fn stream(&self) -> &Stream {
        &self.stream
    }
}

/// A request with a form, and `headers` each of which ends its line.
pub fn post(path: &str, headers: &str, form: &str) -> String {
    format!(
        "POST {path} HTTP/1.1\r\nHost: mint\r\nContent-Type: application/x-www-form-urlencoded\r\n{headers}Content-Length: {}\r\n\r\n{form}",
        form.len()
    )
}

/// Reads one whole answer and returns its status, headers and body.
async fn answer<'a, Stream: AsyncRead + Unpin>(stream: &mut Stream, buffer: &'a mut [u8]) -> (u16, &'a str, &'a str) {
    let mut length = 0;
    loop {
        let read = stream.read(&mut buffer[length..]).await.expect("the mint answers");
        assert!(read > 0, "the mint closed the connection");
        length += read;
        let mut headers = [httparse::EMPTY_HEADER; 16];
        let mut response = httparse::Response::new(&mut headers);
        let httparse::Status::Complete(head) = response.parse(&buffer[..length]).expect("HTTP") else { continue };
        let status = response.code.expect("a status");
        let content_length = response.headers.iter().find(|header| header.name.eq_ignore_ascii_case("content-length"));
        let content_length: usize = content_length
            .and_then(|header| std::str::from_utf8(header.value).ok()?.parse().ok())
            .expect("an answer with a length");
        if length == head + content_length {
            let text = std::str::from_utf8(&buffer[..length]).expect("UTF-8");
            return (status, &text[..head], &text[head..]);
        }
    }
}

/// The string member `name` of a flat JSON object whose strings have no escapes.
pub fn member<'a>(json: &'a str, name: &str) -> &'a str {
    let start = json.find(&format!("\"{name}\":\"")).map_or(json.len(), |start| start + name.len() + 4);
    json[start..].split('"').next().unwrap_or_default()
}
