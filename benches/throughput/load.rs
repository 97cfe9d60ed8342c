//! The load generator: keep-alive connections, each with one request under way, on one thread. It reads
//! answers with `httparse` and no more, so that as much of the machine as possible is left to the mint.

use std::io::Write as _;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
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
        let program = std::env::current_exe().expect("this program");
        let mut generator = Command::new(program)
            .arg("load")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("this program starts");
        let mut input = generator.stdin.take().expect("its input is piped");
        input.write_all(&serde_json::to_vec(self).expect("JSON")).expect("it reads");
        drop(input);
        let output = generator.wait_with_output().expect("it ends");
        serde_json::from_slice(&output.stdout).expect("it measured")
    }
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
    let measured = Measured {
        tokens: latencies.len(),
        seconds: start.elapsed().as_secs_f64(),
        p50_us: latencies.value_at_quantile(0.5),
        p99_us: latencies.value_at_quantile(0.99),
    };
    println!("{}", serde_json::to_string(&measured).expect("JSON"));
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
pub struct Connection {
    stream: TcpStream,
    buffer: Vec<u8>,
}

impl Connection {
    pub fn new(stream: TcpStream) -> Self {
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
        let request = format!(
            "POST {path} HTTP/1.1\r\nHost: mint\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: {}\r\n\r\n{form}",
            form.len()
        );
        self.stream.write_all(request.as_bytes()).await.expect("the mint reads");
        answer(&mut self.stream, &mut self.buffer).await
    }
}

/// Reads one whole answer and returns its status and body.
async fn answer<'a>(stream: &mut TcpStream, buffer: &'a mut [u8]) -> (u16, &'a str) {
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
            let body = std::str::from_utf8(&buffer[head..length]).expect("UTF-8");
            return (status, body);
        }
    }
}

/// The string member `name` of a flat JSON object whose strings have no escapes.
fn member<'a>(json: &'a str, name: &str) -> &'a str {
    let start = json.find(&format!("\"{name}\":\"")).map_or(json.len(), |start| start + name.len() + 4);
    json[start..].split('"').next().unwrap_or_default()
}
