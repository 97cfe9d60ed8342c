//! Made-up refresh tokens, as fast as they are answered, for as long as somebody else is measured.

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
        let flood = Command::new(program).args(["flood", &mint.address(), &connections]).spawn();
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
pub async fn run(address: &str, connections: &str) {
    let connections: usize = connections.parse().expect("a number");
    let running: Vec<_> = (0..connections).map(|_| tokio::spawn(attempt_for_ever(address.to_owned()))).collect();
    for connection in running {
        connection.await.expect("no connection ends");
    }
}

async fn attempt_for_ever(address: String) {
    let form = "grant_type=refresh_token&client_id=ci-cd-pipeline-runner&refresh_token=made-up";
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
