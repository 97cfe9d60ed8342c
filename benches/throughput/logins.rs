//! The token step of a login: codes that a front-end granted are redeemed, beside `client_credentials`. Each code is made
//! before the clock runs, by an authorization request and its acceptance.

use std::path::Path;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio::net::TcpStream;

use crate::MOST_CONNECTIONS;
use crate::beside::Beside;
use crate::load::{Connection, Load, Measured, Work, generated, member, post};
use crate::mint::{Mint, record};

/// Codes of each connection; a code lives a minute.
const CODES: usize = 120;

/// RFC 7636, appendix B.
const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
const CHALLENGE: &str = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";
const REDIRECT_URI: &str = "http%3A%2F%2F127.0.0.1%2Fcallback";

/// The codes to be redeemed, by a process of its own.
#[derive(Deserialize, Serialize)]
struct Redemptions {
    public: String,
    frontend: String,
    frontend_token: String,
    scope: String,
}

/// What is told of it.
#[derive(Default)]
pub struct Logins(pub Beside);

impl Logins {
    /// Measures the development mint.
    pub fn measure(&mut self, state: &Path, span: Duration) {
        let dev = record(state);
        let text = |name: &str| dev[name].as_str().unwrap_or_else(|| panic!("no {name}")).to_owned();
        let frontend = text("admin_url").trim_start_matches("http://").to_owned();
        let mint = Mint::start(state, true);
        let before = mint.cpu();
        let plain = Load::new(&mint, Work::ClientCredentials, MOST_CONNECTIONS, span).in_process_of_its_own();
        self.0.add("client_credentials", MOST_CONNECTIONS, None, &plain, mint.cpu().since(before));
        for (scope, name) in
            [("read%3Ainvoices", "authorization_code"), ("openid", "authorization_code with an ID token")]
        {
            let redemptions = Redemptions {
                public: mint.address(),
                frontend: frontend.clone(),
                frontend_token: text("frontend_token"),
                scope: scope.to_owned(),
            };
            // The making of the codes is in the processor time, and not in the rate.
            let before = mint.cpu();
            let measured: Measured = generated("redeem", &redemptions);
            self.0.add(name, MOST_CONNECTIONS, Some(&plain), &measured, mint.cpu().since(before));
        }
    }
}

/// The process that `generated` starts.
#[tokio::main(flavor = "current_thread")]
#[expect(clippy::disallowed_methods, reason = "a benchmark measures real time")]
pub async fn generate() {
    let redemptions: Redemptions = serde_json::from_reader(std::io::stdin().lock()).expect("a measurement in JSON");
    let mut making = Vec::new();
    for _ in 0..MOST_CONNECTIONS {
        let [public, frontend] = [connect(&redemptions.public).await, connect(&redemptions.frontend).await];
        let (token, scope) = (redemptions.frontend_token.clone(), redemptions.scope.clone());
        making.push(tokio::spawn(make(public, frontend, token, scope)));
    }
    let mut made = Vec::new();
    for codes in making {
        made.push(codes.await.expect("no login fails"));
    }
    let start = Instant::now();
    let running: Vec<_> = made.into_iter().map(|(public, codes)| tokio::spawn(redeem(public, codes))).collect();
    let mut latencies = Histogram::<u64>::new(3).expect("three digits");
    for connection in running {
        latencies.add(connection.await.expect("no connection fails")).expect("the same kind");
    }
    Measured::of(&latencies, start.elapsed()).print();
}

async fn connect(address: &str) -> Connection {
    let stream = TcpStream::connect(address).await.expect("the mint listens");
    stream.set_nodelay(true).expect("an option");
    Connection::new(stream)
}

/// Codes, and the connection to redeem them over.
async fn make(
    mut public: Connection,
    mut frontend: Connection,
    token: String,
    scope: String,
) -> (Connection, Vec<String>) {
    let authorize = format!(
        "GET /oauth/authorize?client_id=web-app&response_type=code&redirect_uri={REDIRECT_URI}&scope={scope}&code_challenge={CHALLENGE}&code_challenge_method=S256 HTTP/1.1\r\nHost: mint\r\n\r\n"
    );
    let said = json!({"subject": "ada"}).to_string();
    let mut codes = Vec::with_capacity(CODES);
    for _ in 0..CODES {
        let headers = public.headers_of(authorize.as_bytes()).await;
        let handle = headers.split("login=").nth(1).expect("a handle").split(['&', '\r']).next().expect("its end");
        let accept = format!(
            "POST /admin/v1/logins/{handle}/accept HTTP/1.1\r\nHost: mint\r\nAuthorization: Bearer {token}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{said}",
            said.len()
        );
        let (status, body) = frontend.try_send(accept.as_bytes()).await;
        assert_eq!(status, 200, "{body}");
        let back = member(body, "redirect_to");
        let code = back.split("code=").nth(1).expect("a code").split('&').next().expect("its end");
        codes.push(code.to_owned());
    }
    (public, codes)
}

#[expect(clippy::disallowed_methods, reason = "a benchmark measures real time")]
async fn redeem(mut public: Connection, codes: Vec<String>) -> Histogram<u64> {
    let mut latencies = Histogram::new(3).expect("three digits");
    for code in codes {
        let form = format!(
            "grant_type=authorization_code&client_id=web-app&code={code}&redirect_uri={REDIRECT_URI}&code_verifier={VERIFIER}"
        );
        let begun = Instant::now();
        let (status, body) = public.try_send(post("/oauth/token", "", &form).as_bytes()).await;
        assert!(status == 200 && !member(body, "access_token").is_empty(), "{status}: {body}");
        latencies.record(begun.elapsed().as_micros().try_into().expect("microseconds")).expect("any value");
    }
    latencies
}
