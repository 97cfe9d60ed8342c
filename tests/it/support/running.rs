//! A running mint, ended with its value.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use base64::Engine as _;
use crossbeam_channel::{Receiver, RecvTimeoutError, unbounded};
use nix::sys::signal::Signal;
use serde_json::Value;
use tokio::net::TcpSocket;

use super::process::{child_of, signal};
use super::{Answer, SERVICE, WORKLOAD};

/// How long a test waits for something that must happen; only a failing test waits that long.
const PATIENCE: Duration = Duration::from_secs(60);

/// A mint that is ready.
pub struct RunningMint {
    process: Child,
    address: SocketAddr,
    admin: PathBuf,
    secret: String,
    log: Arc<Mutex<Vec<String>>>,
    lines: Receiver<String>,
}

impl RunningMint {
    pub fn start(command: Command, admin: PathBuf, secret: String) -> Self {
        Self::try_start(command, admin, secret).unwrap_or_else(|(status, log)| panic!("{status}: {log}"))
    }

    /// As [`Self::start`]; how it ended, and what it said, where it did before it was ready.
    pub fn try_start(mut command: Command, admin: PathBuf, secret: String) -> Result<Self, (ExitStatus, String)> {
        let mut process = command.stdin(Stdio::null()).stderr(Stdio::piped()).spawn().expect("mintkeep starts");
        let stderr = BufReader::new(process.stderr.take().expect("it is piped"));
        let log = Arc::new(Mutex::new(Vec::new()));
        let (sender, lines) = unbounded();
        let kept = Arc::clone(&log);
        std::thread::spawn(move || {
            for line in stderr.lines().map_while(Result::ok) {
                kept.lock().expect("no panic while it is held").push(line.clone());
                let _ = sender.send(line);
            }
        });
        let address = ([127, 0, 0, 1], 0).into();
        let mut mint = Self { process, address, admin, secret, log, lines };
        let Some(ready) = mint.next("mintkeep is ready") else {
            let status = mint.process.wait().expect("it can be waited for");
            return Err((status, mint.log()));
        };
        let listen = ready["fields"]["listen"].as_str().expect("the address is logged").to_owned();
        mint.address = listen.parse().expect("an address");
        Ok(mint)
    }

    /// Waits until the mint, or its keeper, logs an event with `message`.
    #[track_caller]
    pub fn wait_for(&self, message: &str) -> Value {
        self.next(message).unwrap_or_else(|| panic!("{message:?} was not logged, but {}", self.log()))
    }

    /// As [`Self::wait_for`]; `None` where all ended without it.
    #[track_caller]
    fn next(&self, message: &str) -> Option<Value> {
        loop {
            let line = match self.lines.recv_timeout(PATIENCE) {
                Ok(line) => line,
                Err(RecvTimeoutError::Disconnected) => return None,
                Err(RecvTimeoutError::Timeout) => panic!("{message:?} was not logged in time, but {}", self.log()),
            };
            let event: Value = serde_json::from_str(&line).unwrap_or_default();
            if event["fields"]["message"] == message {
                return Some(event);
            }
        }
    }

    /// All that was logged until now.
    pub fn log(&self) -> String {
        self.log.lock().expect("no panic while it is held").join("\n")
    }

    pub fn pid(&self) -> u32 {
        self.process.id()
    }

    pub fn keeper_pid(&self) -> u32 {
        child_of(self.process.id()).expect("the mint has a keeper")
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Sends bytes to the public listener.
    pub fn raw(&self, request: &[u8]) -> Answer {
        let stream = TcpStream::connect(self.address).expect("the mint listens");
        stream.set_read_timeout(Some(PATIENCE)).expect("an option");
        Answer::exchange(stream, request)
    }

    /// `POST /oauth/token` with further header lines and a form as it stands.
    pub fn post_form(&self, headers: &[&str], form: &str) -> Answer {
        self.post_form_to("/oauth/token", headers, form)
    }

    /// A form to another endpoint.
    pub fn post_form_to(&self, path: &str, headers: &[&str], form: &str) -> Answer {
        self.raw(&post(path, headers, form))
    }

    /// As [`Self::post_form`], from another address of the loopback network.
    pub fn post_form_from(&self, source: Ipv4Addr, headers: &[&str], form: &str) -> Answer {
        let stream = connect_from(source, self.address);
        stream.set_read_timeout(Some(PATIENCE)).expect("an option");
        Answer::exchange(stream, &post("/oauth/token", headers, form))
    }

    /// A request with a bearer token, where there is one, and JSON, where there is some.
    pub fn bear(&self, method: &str, path: &str, token: Option<&str>, json: Option<&Value>) -> Answer {
        self.raw(&bearing(method, path, token, json.map(Value::to_string)))
    }

    /// As [`Self::bear`], to the admin socket.
    pub fn bear_to_admin(&self, method: &str, path: &str, token: Option<&str>, json: Option<&Value>) -> Answer {
        self.raw_to_admin(&bearing(method, path, token, json.map(Value::to_string)))
    }

    /// A request as it stands, to the admin socket.
    pub fn raw_to_admin(&self, request: &[u8]) -> Answer {
        let stream = UnixStream::connect(&self.admin).expect("the admin socket listens");
        stream.set_read_timeout(Some(PATIENCE)).expect("an option");
        Answer::exchange(stream, request)
    }

    /// A connection for many requests.
    pub fn connect(&self) -> Kept {
        let stream = TcpStream::connect(self.address).expect("the mint listens");
        stream.set_read_timeout(Some(PATIENCE)).expect("an option");
        stream.set_nodelay(true).expect("an option");
        Kept(stream)
    }

    pub fn get(&self, path: &str) -> Answer {
        self.raw(format!("GET {path} HTTP/1.1\r\nHost: mint\r\nConnection: close\r\n\r\n").as_bytes())
    }

    /// A request to the admin socket.
    pub fn admin(&self, path: &str) -> Answer {
        self.raw_to_admin(format!("GET {path} HTTP/1.1\r\nHost: mint\r\nConnection: close\r\n\r\n").as_bytes())
    }

    /// One number of `/metrics`.
    pub fn metric(&self, name: &str) -> u64 {
        let metrics = self.admin("/metrics").body;
        let line = metrics.lines().find(|line| line.starts_with(&format!("{name} ")));
        let number = line.and_then(|line| line.split(' ').nth(1)?.parse().ok());
        number.unwrap_or_else(|| panic!("no {name} in {metrics}"))
    }

    /// The refresh token grant of [`WORKLOAD`].
    pub fn refresh(&self, refresh_token: &str) -> Answer {
        self.refresh_of(WORKLOAD, refresh_token)
    }

    /// The refresh token grant of a public client.
    pub fn refresh_of(&self, client: &str, refresh_token: &str) -> Answer {
        self.post_form(
            &[],
            &form(&[("grant_type", "refresh_token"), ("client_id", client), ("refresh_token", refresh_token)]),
        )
    }

    /// The client credentials grant of [`SERVICE`].
    pub fn client_credentials(&self) -> Answer {
        self.post_form(&[&self.basic()], "grant_type=client_credentials")
    }

    /// The `Authorization` header of [`SERVICE`].
    pub fn basic(&self) -> String {
        basic(SERVICE, &self.secret)
    }

    /// Asks the mint to end, as an operator or systemd would, and waits for it.
    pub fn terminate(self) -> ExitStatus {
        signal(self.process.id(), Signal::SIGTERM);
        self.ended()
    }

    /// Waits for a mint that was asked to end.
    pub fn ended(mut self) -> ExitStatus {
        self.process.wait().expect("it can be waited for")
    }

    /// Kills the mint as a power cut would, leaving it no time for anything.
    pub fn kill(mut self) {
        self.process.kill().expect("it runs");
        self.process.wait().expect("it can be waited for");
    }
}

impl Drop for RunningMint {
    fn drop(&mut self) {
        let keeper = child_of(self.process.id());
        if matches!(self.process.try_wait(), Ok(Some(_))) {
            return;
        }
        signal(self.process.id(), Signal::SIGTERM);
        for _ in 0..100 {
            if matches!(self.process.try_wait(), Ok(Some(_))) {
                return;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        let _ = self.process.kill();
        let _ = self.process.wait();
        if let Some(keeper) = keeper.filter(|keeper| super::process::runs(*keeper)) {
            signal(keeper, Signal::SIGKILL);
        }
    }
}

/// A connection that is kept from one request to the next.
pub struct Kept(TcpStream);

impl Kept {
    /// `POST /oauth/token` with further header lines and a form.
    #[track_caller]
    pub fn post_form(&mut self, headers: &[&str], form: &str) -> Answer {
        let request = String::from_utf8(post("/oauth/token", headers, form)).expect("UTF-8");
        let request = request.replacen("Connection: close\r\n", "", 1);
        self.0.write_all(request.as_bytes()).expect("the connection is there");
        Answer::next(&mut self.0).expect("the connection goes on")
    }
}

/// A whole request with a bearer token, where there is one, and JSON, where there is some.
pub fn bearing(method: &str, path: &str, token: Option<&str>, json: Option<String>) -> Vec<u8> {
    let authorization = token.map(|token| format!("Authorization: Bearer {token}\r\n")).unwrap_or_default();
    let body = json.unwrap_or_default();
    let length = body.len();
    format!("{method} {path} HTTP/1.1\r\nHost: mint\r\nConnection: close\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n{authorization}\r\n{body}")
        .into_bytes()
}

/// A whole request with a form.
pub fn post(path: &str, headers: &[&str], form: &str) -> Vec<u8> {
    let headers: String = headers.iter().map(|header| format!("{header}\r\n")).collect();
    let length = form.len();
    format!("POST {path} HTTP/1.1\r\nHost: mint\r\nConnection: close\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: {length}\r\n{headers}\r\n{form}")
        .into_bytes()
}

/// A connection whose own address is `source`, which the standard library cannot choose.
fn connect_from(source: Ipv4Addr, address: SocketAddr) -> TcpStream {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build().expect("a runtime");
    let stream = runtime.block_on(async {
        let socket = TcpSocket::new_v4().expect("a socket");
        socket.bind((source, 0).into()).expect("an address of this machine");
        socket.connect(address).await.expect("the mint listens").into_std().expect("a socket")
    });
    stream.set_nonblocking(false).expect("an option");
    stream
}

/// The refresh token grant of [`WORKLOAD`]; `None` where the mint at `address` is gone before it answered.
pub fn try_refresh_at(address: SocketAddr, token: &str) -> Option<Answer> {
    let form = form(&[("grant_type", "refresh_token"), ("client_id", WORKLOAD), ("refresh_token", token)]);
    try_post(address, "/oauth/token", &form)
}

/// A form; `None` where the mint at `address` is gone before it answered.
pub fn try_post(address: SocketAddr, path: &str, form: &str) -> Option<Answer> {
    let stream = TcpStream::connect(address).ok()?;
    stream.set_read_timeout(Some(PATIENCE)).expect("an option");
    Answer::try_exchange(stream, &post(path, &[], form))
}

/// `application/x-www-form-urlencoded`.
pub fn form(parameters: &[(&str, &str)]) -> String {
    form_urlencoded::Serializer::new(String::new()).extend_pairs(parameters).finish()
}

/// An `Authorization: Basic` header line.
pub fn basic(id: &str, secret: &str) -> String {
    let credentials = base64::engine::general_purpose::STANDARD.encode(format!("{id}:{secret}"));
    format!("Authorization: Basic {credentials}")
}
