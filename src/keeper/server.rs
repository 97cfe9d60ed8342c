//! The keeper's side of the wire: connections in, jobs to the session threads, answers out.
//!
//! A reader thread per connection takes frames off it and queues them; the session threads answer. All
//! of it blocks; there is no runtime here, and no network.

mod answering;
mod outbox;

use std::io::Read as _;
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, unbounded};

use self::answering::{Answering, Job};
use self::outbox::Outbox;
use super::wire::{
    GREETING_ID, Greeting, Inbox, PREAMBLE, Refusal, Reply, Request, StartFailure, WireError, append_frame, decode,
};
use super::worker::Worker;
use crate::clock::Clock;
use crate::hardware::sessions::Sessions;
use crate::hardware::{Device, Error};

/// How long an orderly end may take; the mint waits a little longer before it kills its keeper.
const END_LIMIT: Duration = Duration::from_secs(1);

/// How a keeper runs.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct ServerSettings {
    /// Sessions with the device, each on a thread of its own.
    pub sessions: usize,
    /// Requests that may wait for a session; one more is answered [`Refusal::Busy`].
    pub queue_capacity: usize,
    /// How long one call into the device may take before the keeper gives itself up.
    pub hang_limit: Duration,
}

/// A running keeper.
pub struct Server {
    /// Kept open: its login is what the sessions live on.
    device: Mutex<Option<Box<dyn Device>>>,
    sessions: Arc<Sessions<Job>>,
    clock: Arc<dyn Clock>,
    hang_limit: Duration,
    events: (Sender<Event>, Receiver<Event>),
}

/// Why a keeper ends.
#[derive(Debug)]
pub enum Ending {
    /// The mint closed its connection, or a signal asked for it.
    Asked,
    /// The device has to be opened anew.
    Lost(Error),
    /// A call into the device did not return; nothing in this process can be relied on.
    Hung(Duration),
}

enum Event {
    Asked,
    Closed,
    Lost(Error),
}

impl Server {
    /// Opens the sessions of `device` and starts their threads.
    ///
    /// # Errors
    /// The device's.
    pub fn start(
        device: Box<dyn Device>,
        worker: Worker,
        settings: ServerSettings,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, Error> {
        let worker = Arc::new(worker);
        let events = unbounded();
        let work = || Answering::new(Arc::clone(&worker), Arc::clone(&clock), events.0.clone());
        let sessions =
            Sessions::start(device.as_ref(), settings.sessions, settings.queue_capacity, Arc::clone(&clock), work)?;
        Ok(Self {
            device: Mutex::new(Some(device)),
            sessions: Arc::new(sessions),
            clock,
            hang_limit: settings.hang_limit,
            events,
        })
    }

    /// Greets the mint at the other end of `stream` and serves it on a thread of its own.
    ///
    /// # Errors
    /// Where the stream or a thread cannot be had.
    pub fn serve(&self, stream: UnixStream) -> std::io::Result<()> {
        let reader = Connection {
            outbox: Arc::new(Outbox::new(stream.try_clone()?)?),
            sessions: Arc::clone(&self.sessions),
            clock: Arc::clone(&self.clock),
        };
        greet(&reader.outbox, &Greeting::Ready)?;
        let closed = self.events.0.clone();
        std::thread::Builder::new().name("connection".to_owned()).spawn(move || {
            if let Err(error) = reader.run(stream) {
                tracing::warn!(%error, "closed a connection from the mint");
            }
            let _ = closed.send(Event::Closed);
        })?;
        Ok(())
    }

    /// Makes [`Self::wait`] return.
    pub fn ask_to_end(&self) {
        let _ = self.events.0.send(Event::Asked);
    }

    /// Lets the session threads finish, and then the device go. A device that is in the middle of a call
    /// after [`END_LIMIT`] is left to the end of the process.
    pub fn close(&self) {
        let ended = self.sessions.end(END_LIMIT);
        let device = self.device.lock().unwrap_or_else(PoisonError::into_inner).take();
        match device {
            Some(device) if ended => device.close(),
            Some(_) => tracing::warn!("ending while the device is in the middle of a call"),
            None => {}
        }
    }

    /// Waits until there is a reason to end. With `until_closed` the end of a connection is one.
    pub fn wait(&self, until_closed: bool) -> Ending {
        loop {
            match self.events.1.recv_timeout(self.hang_limit / 10) {
                Ok(Event::Asked) => return Ending::Asked,
                Ok(Event::Closed) if until_closed => return Ending::Asked,
                Ok(Event::Closed) | Err(_) => {}
                Ok(Event::Lost(error)) => return Ending::Lost(error),
            }
            let longest = self.sessions.longest_running();
            if longest > self.hang_limit {
                return Ending::Hung(longest);
            }
        }
    }
}

/// Tells the mint at the other end of `stream` why there will be no keeper.
pub fn refuse(stream: UnixStream, failure: StartFailure) -> std::io::Result<()> {
    greet(&Outbox::new(stream)?, &Greeting::Failed(failure))
}

fn greet(outbox: &Outbox, greeting: &Greeting) -> std::io::Result<()> {
    outbox.queue(|buffer| {
        buffer.extend_from_slice(&PREAMBLE);
        append_frame(buffer, GREETING_ID, 0, greeting)
    })?;
    outbox.flush()
}

/// The reading side of one connection.
struct Connection {
    outbox: Arc<Outbox>,
    sessions: Arc<Sessions<Job>>,
    clock: Arc<dyn Clock>,
}

impl Connection {
    /// Queues what arrives until the mint closes the connection.
    fn run(&self, mut stream: UnixStream) -> Result<(), WireError> {
        let mut inbox = Inbox::default();
        let mut chunk = vec![0; 64 * 1024];
        // A read error is the end of the connection like its orderly close.
        while let Ok(length @ 1..) = stream.read(&mut chunk) {
            inbox.extend(&chunk[..length]);
            let now = self.clock.instant();
            while let Some(frame) = inbox.next_frame()? {
                let deadline = now + Duration::from_millis(frame.milliseconds_allowed.into());
                // Needs no session, and must not wait for one.
                if decode(frame.message) == Ok(Request::Cancel) {
                    self.outbox.cancel(frame.id);
                    continue;
                }
                let (outbox, message) = (Arc::clone(&self.outbox), frame.message.to_vec());
                let job = Job { outbox, id: frame.id, deadline, message };
                if let Err(job) = self.sessions.submit(job) {
                    let _ = job.queue(&Reply::Refused(Refusal::Busy)).and_then(|()| job.outbox.flush());
                }
            }
        }
        self.outbox.close();
        Ok(())
    }
}
