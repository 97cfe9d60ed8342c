//! Moves the bytes of one connection.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};

use super::Link;
use crate::keeper::wire::{Greeting, Inbox, decode};

/// How often a link is looked at.
const TICK: Duration = Duration::from_millis(100);

/// What moves the bytes of one [`Link`]; the link works while this runs.
pub(in crate::keeper) struct Driver {
    pub(super) link: Arc<Link>,
    pub(super) incoming: Incoming,
    pub(super) writer: OwnedWriteHalf,
}

impl Driver {
    /// Runs until the keeper closes the connection, breaks the protocol, or is silent for too long.
    /// Every request still waiting is then lost.
    pub(in crate::keeper) async fn run(self) -> &'static str {
        let Self { link, incoming, writer } = self;
        let reason = tokio::select! {
            reason = incoming.deliver_to(&link) => reason,
            _ = write_queued(&link, writer) => "writing to it failed",
            () = silence(&link) => "it did not answer in time",
        };
        link.close();
        reason
    }
}

/// Returns when the keeper is silent though it was asked, even by clients that did not wait for it.
async fn silence(link: &Link) {
    let mut ticks = tokio::time::interval(TICK);
    loop {
        ticks.tick().await;
        if link.is_silent() {
            return;
        }
    }
}

async fn write_queued(link: &Link, mut writer: OwnedWriteHalf) -> io::Result<()> {
    let mut writing = Vec::new();
    loop {
        link.queued.notified().await;
        // Behind the other tasks that are ready now, so that what they are about to ask leaves too.
        tokio::task::yield_now().await;
        std::mem::swap(&mut writing, &mut link.lock().buffer);
        writer.write_all(&writing).await?;
        writing.clear();
    }
}

pub(super) struct Incoming {
    reader: OwnedReadHalf,
    inbox: Inbox,
    chunk: Vec<u8>,
}

impl Incoming {
    pub(super) fn new(reader: OwnedReadHalf) -> Self {
        Self { reader, inbox: Inbox::default(), chunk: vec![0; 64 * 1024] }
    }

    pub(super) async fn greeting(&mut self) -> io::Result<Greeting> {
        loop {
            if let Some(frame) = self.inbox.next_frame().map_err(io::Error::other)? {
                return decode(frame.message).map_err(io::Error::other);
            }
            if self.receive().await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
    }

    async fn deliver_to(mut self, link: &Link) -> &'static str {
        loop {
            match self.receive().await {
                Ok(0) => return "it closed the connection",
                Ok(_) => {}
                Err(_) => return "reading from it failed",
            }
            let broken = loop {
                match self.inbox.next_frame() {
                    Ok(Some(frame)) => {
                        if link.deliver(&frame).is_err() {
                            break Some("it sent a message that does not decode");
                        }
                    }
                    Ok(None) => break None,
                    Err(_) => break Some("it broke the protocol"),
                }
            };
            // Behind the delivery: only then is it known who is still waiting.
            link.received();
            if let Some(reason) = broken {
                return reason;
            }
        }
    }

    async fn receive(&mut self) -> io::Result<usize> {
        let length = self.reader.read(&mut self.chunk).await?;
        self.inbox.extend(&self.chunk[..length]);
        Ok(length)
    }
}
