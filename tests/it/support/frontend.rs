//! Front-ends: how they are registered, and how they reach a mint.

use std::net::{SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use mintkeep::oauth::secret::SecretHash;
use serde_json::Value;
use toml_edit::{Item, Table, value};

use super::{Answer, Deployment, RunningMint};

/// The user that tests run under.
pub fn own_uid() -> u32 {
    nix::unistd::geteuid().as_raw()
}

/// The line of a front-end that proves itself by any of `tokens`.
pub fn token_line(tokens: &[&str]) -> String {
    let hashes: Vec<String> =
        tokens.iter().map(|token| format!("\"{}\"", SecretHash::of(token).hexadecimal())).collect();
    format!("token_sha256 = [{}]", hashes.join(", "))
}

impl Deployment {
    /// Has front-ends come in at the socket `frontend.sock`, and at an address of the mint's choice.
    pub fn listen_for_frontends(&self) {
        self.edit(|config| {
            let mut listen = Table::new();
            listen["socket"] = value("frontend.sock");
            listen["address"] = value("127.0.0.1:0");
            config["listen"]["frontend"] = Item::Table(listen);
        });
    }

    /// Registers the front-end `name`, with these lines.
    pub fn add_frontend(&self, name: &str, lines: &str) {
        self.append(&format!("[[frontend]]\nname = \"{name}\"\n{lines}"));
    }

    /// A request to the socket of front-ends.
    #[track_caller]
    pub fn ask_socket(&self, request: &FrontendRequest<'_>) -> Answer {
        Answer::exchange(self.connect_socket("frontend.sock"), &request.bytes())
    }

    /// A request to the admin socket.
    #[track_caller]
    pub fn ask_admin(&self, request: &FrontendRequest<'_>) -> Answer {
        Answer::exchange(self.connect_socket("admin.sock"), &request.bytes())
    }

    /// A connection to a socket of the mint.
    #[track_caller]
    pub fn connect_socket(&self, name: &str) -> UnixStream {
        let stream = UnixStream::connect(self.path(name)).expect("the mint listens");
        stream.set_read_timeout(Some(Duration::from_secs(60))).expect("an option");
        stream
    }
}

impl RunningMint {
    /// The address of front-ends.
    #[track_caller]
    pub fn frontend_address(&self) -> SocketAddr {
        let log = self.log();
        let events = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        let mut addresses = events.filter_map(|event| {
            let fields = &event["fields"];
            let listens = fields["message"] == "listening for front-ends";
            listens.then(|| fields["address"].as_str()?.parse().ok())?
        });
        addresses.next().unwrap_or_else(|| panic!("no address in {log}"))
    }

    /// A request to the address of front-ends.
    #[track_caller]
    pub fn ask_frontend_address(&self, request: &FrontendRequest<'_>) -> Answer {
        let stream = TcpStream::connect(self.frontend_address()).expect("the mint listens");
        stream.set_read_timeout(Some(Duration::from_secs(60))).expect("an option");
        Answer::exchange(stream, &request.bytes())
    }
}

/// A request of a front-end, by default without a token or a body.
#[derive(Clone, Copy)]
pub struct FrontendRequest<'a> {
    pub method: &'a str,
    pub path: &'a str,
    /// Whole header lines.
    pub headers: &'a [&'a str],
    pub body: &'a str,
}

impl<'a> FrontendRequest<'a> {
    pub fn get(path: &'a str) -> Self {
        Self { method: "GET", path, headers: &[], body: "" }
    }

    /// A body of JSON.
    pub fn post(path: &'a str, body: &'a str) -> Self {
        Self { method: "POST", path, headers: &["Content-Type: application/json"], body }
    }

    pub fn headers(self, headers: &'a [&'a str]) -> Self {
        Self { headers, ..self }
    }

    pub fn bytes(&self) -> Vec<u8> {
        let Self { method, path, headers, body } = self;
        let headers: String = headers.iter().map(|header| format!("{header}\r\n")).collect();
        let length = body.len();
        format!("{method} {path} HTTP/1.1\r\nHost: mint\r\nConnection: close\r\nContent-Length: {length}\r\n{headers}\r\n{body}")
            .into_bytes()
    }
}
