//! Forged refresh tokens, as fast as they are answered, for as long as somebody else is measured. Their family is a
//! live one, so each costs a read of the store and a trial of the hardware.

use std::process::{Child, Command};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::mint::Mint;

/// A flood that ends with its value.
pub struct Flood(Child);

impl Flood {
    pub fn start(mint: &Mint, connections: usize) -> Self {
        let program = std::env::current_exe().expect("this program");
        let connections = connections.to_string();
        let token = mint.grants(1).remove(0);
        // One bit of the tag, which is the last part, is another one.
        let last = if token.ends_with('A') { 'Q' } else { 'A' };
        let forged = format!("{}{last}", &token[..token.len() - 1]);
        let flood = Command::new(program).args(["flood", &mint.address(), &connections, &forged]).spawn();
        // What is within the budget is answered at once; that is over when the measurement begins.
        std::thread::sleep(Duration::from_secs(1));
        Self(flood.expect("this program starts"))
    }
}

impl Drop for Flood {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The process that [`Flood::start`] starts.
#[tokio::main(flavor = "current_thread")]
pub async fn run(address: &str, connections: &str, token: &str) {
    let connections: usize = connections.parse().expect("a number");
    let attempt = || tokio::spawn(attempt_for_ever(address.to_owned(), token.to_owned()));
    let running: Vec<_> = (0..connections).map(|_| attempt()).collect();
    for connection in running {
        connection.await.expect("no connection ends");
    }
}

async fn attempt_for_ever(address: String, token: String) {
    let form = format!("grant_type=refresh_token&client_id=ci-cd-pipeline-runner&refresh_token={token}");
    let request = format!(
        "POST /oauth/token HTTP/1.1\r\nHost: mint\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: {}\r\n\r\n{form}",
        form.len()
    );
    let mut buffer = [0; 4096];
    loop {
        let Ok(mut stream) = TcpStream::connect(&address).await else { continue };
        // An answer is one small packet. The mint ends the connection where it is too busy to hold it back.
        while stream.write_all(request.as_bytes()).await.is_ok() {
            if !matches!(stream.read(&mut buffer).await, Ok(1..)) {
                break;
            }
        }
    }
}
