//! A test in the place of the mint, at the other end of a keeper's connection.

use std::io::{Read as _, Write as _};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::process::{Child, Stdio};

use mintkeep::keeper::wire::{
    GREETING_ID, Greeting, Inbox, PREAMBLE, PublicKeys, Reply, Request, append_frame, decode,
};

use crate::support::Deployment;

pub struct Line {
    stream: UnixStream,
    inbox: Inbox,
}

impl Line {
    /// Speaks the preamble and waits until the keeper is ready.
    pub fn greeted(stream: UnixStream) -> Self {
        let mut line = Self { stream, inbox: Inbox::default() };
        line.send(&PREAMBLE);
        loop {
            let (id, greeting) = line.next_message().expect("a greeting");
            assert_eq!(id, GREETING_ID);
            match decode(&greeting).unwrap() {
                Greeting::Ready => return line,
                Greeting::LoggingIn | Greeting::LoggedIn => {}
                Greeting::Failed(failure) => panic!("{failure}"),
            }
        }
    }

    pub fn send(&mut self, bytes: &[u8]) {
        // The keeper may have closed the connection; what is read next tells.
        let _ = self.stream.write_all(bytes);
    }

    /// The id and the message of the next frame; `None` when the keeper closed the connection.
    pub fn next_message(&mut self) -> Option<(u64, Vec<u8>)> {
        loop {
            if let Some(frame) = self.inbox.next_frame().unwrap() {
                return Some((frame.id, frame.message.to_vec()));
            }
            let mut chunk = [0; 4096];
            match self.stream.read(&mut chunk) {
                Ok(length @ 1..) => self.inbox.extend(&chunk[..length]),
                Ok(0) | Err(_) => return None,
            }
        }
    }

    /// Puts `request` under `id`, to be answered within `milliseconds`.
    pub fn put(&mut self, id: u64, milliseconds: u32, request: &Request<'_>) {
        let mut frame = Vec::new();
        append_frame(&mut frame, id, milliseconds, request).unwrap();
        self.send(&frame);
    }

    /// The next answer and what it answers.
    pub fn answer(&mut self) -> (u64, Reply) {
        let (id, message) = self.next_message().expect("an answer");
        (id, decode(&message).unwrap())
    }

    pub fn ask(&mut self, request: &Request<'_>) -> Reply {
        self.put(1, 5_000, request);
        self.answer().1
    }

    pub fn close(&self) {
        let _ = self.stream.shutdown(std::net::Shutdown::Both);
    }
}

/// A real keeper, and a test in the place of its mint.
pub struct DirectLine {
    keeper: Child,
    pub line: Line,
}

impl DirectLine {
    pub fn to_keeper_of(deployment: &Deployment) -> Self {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let mut command = deployment.command(&["keeper", "--standard-input"]);
        let keeper = command.stdin(Stdio::from(OwnedFd::from(theirs))).spawn().unwrap();
        // The command keeps its end of the pair open, and the line would never close.
        drop(command);
        Self { keeper, line: Line::greeted(ours) }
    }

    pub fn ask(&mut self, request: &Request<'_>) -> Reply {
        self.line.ask(request)
    }

    /// What the keeper tells in answer to one of the requests that it answers so.
    pub fn keys_after(&mut self, request: &Request<'_>) -> PublicKeys {
        match self.ask(request) {
            Reply::PublicKeys(keys) => keys,
            other => panic!("{other:?}"),
        }
    }

    pub fn keys(&mut self) -> PublicKeys {
        self.keys_after(&Request::PublicKeys)
    }
}

impl Drop for DirectLine {
    fn drop(&mut self) {
        self.line.close();
        let _ = self.keeper.wait();
    }
}
