//! The keeper's side of the wire: connections in, jobs to the session threads, answers out.
//!
//! A reader thread per connection takes frames off it and queues them; the session threads answer. All
//! of it blocks; there is no runtime here, and no network.

mod outbox;
mod release;

mod answering;

use std::cell::Cell;
use std::io::Read as _;
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, unbounded};

use self::answering::{Answering, Job};
use self::outbox::{Asker, Outbox};
use self::release::ReleaseThreads;
use super::wire::{GREETING_ID, Greeting, Inbox, PREAMBLE, Refusal, Reply, Request, WireError, append_frame, decode};
use super::worker::Worker;
use crate::clock::Clock;
use crate::hardware::sessions::Sessions;
use crate::hardware::{Device, Error};

/// How long an orderly end may take; the mint waits a little longer before it kills its keeper.
const END_LIMIT: Duration = Duration::from_secs(1);

/// Connections at a time: one mint has one, and a restarted one may overlap with it.
const MOST_CONNECTIONS: usize = 8;

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
    connections: Arc<AtomicUsize>,
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
        let threads = ReleaseThreads::start(settings.sessions, &events.0)
            .map_err(|error| Error::Call { call: "starting a thread".to_owned(), reason: error.to_string() })?;
        let (threads, numbers) = (Arc::new(threads), Cell::new(0));
        let work = || {
            let number = numbers.replace(numbers.get() + 1);
            Answering::new(Arc::clone(&worker), Arc::clone(&clock), events.0.clone(), Arc::clone(&threads), number)
        };
        let sessions =
            Sessions::start(device.as_ref(), settings.sessions, settings.queue_capacity, Arc::clone(&clock), work)?;
        Ok(Self {
            device: Mutex::new(Some(device)),
            sessions: Arc::new(sessions),
            clock,
            hang_limit: settings.hang_limit,
            connections: Arc::default(),
            events,
        })
    }

    /// Tells the mint that is being `greeted` that all is ready, and serves it on a thread of its own.
    ///
    /// # Errors
    /// Where there are [`MOST_CONNECTIONS`], or the stream or a thread cannot be had.
    pub fn serve(&self, greeted: Greeter) -> std::io::Result<()> {
        let place = Place::take(&self.connections)
            .ok_or_else(|| std::io::Error::new(std::io::ErrorKind::QuotaExceeded, "too many connections"))?;
        greeted.say(&Greeting::Ready)?;
        let Greeter { stream, outbox } = greeted;
        let reader =
            Connection { outbox, sessions: Arc::clone(&self.sessions), clock: Arc::clone(&self.clock), _place: place };
        let closed = self.events.0.clone();
        std::thread::Builder::new().name("connection".to_owned()).spawn(move || {
            if let Err(error) = reader.run(stream) {
                tracing::warn!(%error, "closed a connection from the mint");
            }
            // Whatever of it is still queued is nobody's any more.
            reader.outbox.close();
            let _ = closed.send(Event::Closed);
        })?;
        Ok(())
    }

    /// Makes [`Self::wait`] return.
    pub fn ask_to_end(&self) {
        let _ = self.events.0.send(Event::Asked);
    }

    /// Lets the session threads finish, and then the device go. Says whether that went well: where a device
    /// is in the middle of a call after [`END_LIMIT`], the process must not run the module's destructors
    /// any more, which would take away what that call uses, or wait for it.
    pub fn close(&self) -> bool {
        let ended = self.sessions.end(END_LIMIT);
        let device = self.device.lock().unwrap_or_else(PoisonError::into_inner).take();
        match device {
            Some(device) if ended => device.close(),
            Some(_) => tracing::warn!("ending while the device is in the middle of a call"),
            None => {}
        }
        ended
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

/// A connection to a mint that is not served yet.
pub struct Greeter {
    stream: UnixStream,
    outbox: Arc<Outbox>,
}

impl Greeter {
    /// Speaks the preamble to the mint at the other end of `stream`.
    ///
    /// # Errors
    /// The stream's.
    pub fn new(stream: UnixStream) -> std::io::Result<Self> {
        let outbox = Outbox::new(stream.try_clone()?)?;
        outbox.queue(|buffer| {
            buffer.extend_from_slice(&PREAMBLE);
            Ok(())
        })?;
        outbox.flush()?;
        Ok(Self { stream, outbox: Arc::new(outbox) })
    }

    /// Tells the mint how far it is.
    ///
    /// # Errors
    /// The stream's.
    pub fn say(&self, greeting: &Greeting) -> std::io::Result<()> {
        self.outbox.queue(|buffer| append_frame(buffer, GREETING_ID, 0, greeting))?;
        self.outbox.flush()
    }
}

/// One of the [`MOST_CONNECTIONS`], given back when dropped.
struct Place(Arc<AtomicUsize>);

impl Place {
    fn take(taken: &Arc<AtomicUsize>) -> Option<Self> {
        let place = Self(Arc::clone(taken));
        (taken.fetch_add(1, Ordering::Relaxed) < MOST_CONNECTIONS).then_some(place)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The reading side of one connection.
struct Connection {
    outbox: Arc<Outbox>,
    sessions: Arc<Sessions<Job>>,
    clock: Arc<dyn Clock>,
    _place: Place,
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
                let asker = Asker { outbox: Arc::clone(&self.outbox), id: frame.id };
                let job = Job { asker, deadline, message: frame.message.to_vec() };
                if let Err(job) = self.sessions.submit(job) {
                    let _ = job.asker.queue(&Reply::Refused(Refusal::Busy)).and_then(|()| self.outbox.flush());
                }
            }
        }
        Ok(())
    }
}
