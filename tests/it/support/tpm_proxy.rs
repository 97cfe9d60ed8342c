//! Between us and a TPM in software, to see which commands it is given, and to meddle with them.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use super::Deployment;

/// Changes a command on its way, or answers it in the place of the TPM.
type Meddler = Box<dyn FnMut(&mut [u8]) -> Option<Vec<u8>> + Send>;

/// A proxy in front of the TPM of a deployment.
pub struct TpmProxy {
    /// How libtss2 reaches it.
    pub tcti: String,
    commands: Arc<Mutex<Vec<u32>>>,
    meddler: Arc<Mutex<Option<Meddler>>>,
}

impl TpmProxy {
    /// One that only looks on.
    pub fn before(deployment: &Deployment) -> Self {
        let port: u16 = deployment.tcti().rsplit_once('=').unwrap().1.parse().unwrap();
        let commands = Arc::new(Mutex::new(Vec::new()));
        let meddler = Arc::new(Mutex::new(None::<Meddler>));
        // The control channel is at the next port, by libtss2's convention.
        let (first, second) = loop {
            let first = TcpListener::bind("127.0.0.1:0").unwrap();
            let next = first.local_addr().unwrap().port().wrapping_add(1);
            if let Ok(second) = TcpListener::bind(("127.0.0.1", next)) {
                break (first, second);
            }
        };
        let tcti = format!("swtpm:host=127.0.0.1,port={}", first.local_addr().unwrap().port());
        let (seen, meddling) = (Arc::clone(&commands), Arc::clone(&meddler));
        forward(first, port, move |bytes| {
            seen.lock().unwrap().push(code(bytes));
            meddling.lock().unwrap().as_mut().and_then(|meddle| meddle(bytes))
        });
        forward(second, port + 1, |_| None);
        Self { tcti, commands, meddler }
    }

    /// The codes of the commands since this was asked last.
    pub fn commands(&self) -> Vec<u32> {
        std::mem::take(&mut self.commands.lock().unwrap())
    }

    /// From now on `meddler` has each command first.
    pub fn meddle(&self, meddler: impl FnMut(&mut [u8]) -> Option<Vec<u8>> + Send + 'static) {
        *self.meddler.lock().unwrap() = Some(Box::new(meddler));
    }
}

/// Which command `bytes` are: tag, size, code (TPM 2.0 Part 1 §18).
pub fn code(bytes: &[u8]) -> u32 {
    u32::from_be_bytes(bytes[6..10].try_into().unwrap())
}

/// What a TPM answers that says `code` and nothing else.
pub fn refusal(code: u32) -> Vec<u8> {
    // TPM_ST_NO_SESSIONS, ten bytes.
    [&[0x80, 0x01, 0, 0, 0, 10][..], &code.to_be_bytes()].concat()
}

/// Passes on what comes to `listener`; each command is sent in one piece, and answered before the next.
fn forward(listener: TcpListener, port: u16, meddle: impl Fn(&mut [u8]) -> Option<Vec<u8>> + Send + Sync + 'static) {
    let meddle = Arc::new(meddle);
    std::thread::spawn(move || {
        for client in listener.incoming().map_while(Result::ok) {
            let server = TcpStream::connect(("127.0.0.1", port)).unwrap();
            let (to, from) = (server.try_clone().unwrap(), client.try_clone().unwrap());
            let meddle = Arc::clone(&meddle);
            std::thread::spawn(move || pump(from, to, |bytes| meddle(bytes)));
            std::thread::spawn(move || pump(server, client, |_| None));
        }
    });
}

/// What `answer` gives goes back.
fn pump(mut from: TcpStream, mut to: TcpStream, answer: impl Fn(&mut [u8]) -> Option<Vec<u8>>) {
    let mut buffer = [0; 8192];
    while let Ok(length @ 1..) = from.read(&mut buffer) {
        let sent = match answer(&mut buffer[..length]) {
            Some(answer) => from.write_all(&answer),
            None => to.write_all(&buffer[..length]),
        };
        if sent.is_err() {
            break;
        }
    }
    let _ = to.shutdown(Shutdown::Both);
}
