//! Between us and a TPM in software, to see which commands it is given, and to meddle with them.

use std::io::{self, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
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
    tpm: Arc<Tpm>,
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
        let tpm = forward(first, port, move |bytes| {
            seen.lock().unwrap().push(code(bytes));
            meddling.lock().unwrap().as_mut().and_then(|meddle| meddle(bytes))
        });
        forward(second, port + 1, |_| None);
        Self { tcti, commands, meddler, tpm }
    }

    /// Lets go of the TPM, which serves one at a time, until the next command. Whoever uses this does not notice.
    pub fn let_go(&self) {
        *self.tpm.connection.lock().unwrap() = None;
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

/// What commands are passed on to, and what it is connected by.
struct Tpm {
    port: u16,
    connection: Mutex<Option<TcpStream>>,
}

impl Tpm {
    /// Its answer; each command is sent in one piece, and so is what is answered.
    fn ask(&self, command: &[u8]) -> io::Result<Vec<u8>> {
        let mut connection = self.connection.lock().unwrap();
        if connection.is_none() {
            *connection = Some(TcpStream::connect(("127.0.0.1", self.port))?);
        }
        let stream = connection.as_mut().unwrap();
        stream.write_all(command)?;
        let mut answer = vec![0; 8192];
        let length = stream.read(&mut answer)?;
        answer.truncate(length);
        Ok(answer)
    }
}

/// Passes on what comes to `listener` from one client after the other. What `meddle` gives goes back.
fn forward(
    listener: TcpListener,
    port: u16,
    meddle: impl Fn(&mut [u8]) -> Option<Vec<u8>> + Send + 'static,
) -> Arc<Tpm> {
    let tpm = Arc::new(Tpm { port, connection: Mutex::new(None) });
    let passing = Arc::clone(&tpm);
    std::thread::spawn(move || {
        for mut client in listener.incoming().map_while(Result::ok) {
            let mut buffer = [0; 8192];
            while let Ok(length @ 1..) = client.read(&mut buffer) {
                let command = &mut buffer[..length];
                let answer = meddle(command).map_or_else(|| passing.ask(command), Ok);
                if !answer.is_ok_and(|answer| !answer.is_empty() && client.write_all(&answer).is_ok()) {
                    break;
                }
            }
            *passing.connection.lock().unwrap() = None;
        }
    });
    tpm
}
