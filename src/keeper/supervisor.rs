//! Keeps one keeper running and connected: starts it, notices its end, waits, and starts the next.
//! A keeper that says it must not be tried again (a wrong PIN would lock the token) is not.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::admission::Admission;
use super::handle::Keeper;
use super::health::Health;
use super::known_keys::KnownKeys;
use super::launch::{Running, Settings, end, kill, launch};
use super::link::{Asked, Link, LinkFault, LinkedDevice, Patience};
use super::wire::{Refusal, Reply, Request, StartFailure};
use crate::clock::Clock;
use crate::hardware::PinTrust;

/// The pause before the second start in a row that fails; doubled up to [`LONGEST_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// A keeper that was ready, and died soon, is started anew no later: most of its clients still wait.
const LONGEST_PAUSE_AFTER_READY: Duration = Duration::from_millis(500);
/// A keeper that ran this long is not one of a row of failures.
const SETTLED_AFTER: Duration = Duration::from_secs(10);

/// A keeper that would sign with another key, or by other rules, than the mint was started for.
const CHANGED: &str = "the keeper came back without a key that is in use, or with another signing policy; restart mintkeep if that is intended";

/// Where the keeper is now.
#[derive(Clone)]
pub(super) enum Presence {
    /// It answers.
    Up(Arc<Link>, Option<u32>),
    /// It is being started again.
    Down {
        /// Since when.
        since: Instant,
        /// When it is tried next.
        next_try: Instant,
    },
    /// It must not be started again until somebody changed something.
    Refused(StartFailure),
}

/// A keeper that is kept from now on.
pub struct Kept {
    /// The handle; it works until `shutdown` says true.
    pub keeper: Keeper,
    /// How the first start went, which is not logged yet. After one that failed, and not for good, the next is tried
    /// in the background.
    pub first_start: Result<(), StartFailure>,
    /// Ends after `shutdown` said true, and after the keeper.
    pub task: JoinHandle<()>,
}

/// Starts or finds the keeper, and keeps it. `changed` is told whenever its keys or its presence change.
pub async fn start(
    settings: Settings,
    changed: watch::Sender<()>,
    clock: Arc<dyn Clock>,
    shutdown: watch::Receiver<bool>,
) -> Kept {
    let now = clock.instant();
    let (publish, presence) = watch::channel(Presence::Down { since: now, next_try: now });
    let mut supervisor = Supervisor {
        publish,
        changed: changed.clone(),
        device: LinkedDevice {
            name: settings.device.clone(),
            health: Arc::default(),
            counters: Arc::default(),
            admission: Admission::new(settings.sessions, settings.max_in_flight, Arc::clone(&clock)),
        },
        known_keys: Arc::default(),
        trust: PinTrust::Unproven,
        clock: Arc::clone(&clock),
        shutdown,
        settings,
    };
    let keeper = Keeper::new(
        presence,
        supervisor.device.clone(),
        Arc::clone(&supervisor.known_keys),
        changed,
        &supervisor.settings,
        clock,
    );
    let (first, first_start) = match supervisor.attempt().await {
        Ok(running) => (Some(running), Ok(())),
        Err(failure) => (None, Err(failure)),
    };
    if let Err(failure) = &first_start
        && failure.is_final
    {
        supervisor.tell(Presence::Refused(failure.clone()));
    }
    Kept { keeper, first_start, task: tokio::spawn(supervisor.run(first)) }
}

struct Supervisor {
    settings: Settings,
    publish: watch::Sender<Presence>,
    changed: watch::Sender<()>,
    device: LinkedDevice,
    known_keys: Arc<KnownKeys>,
    /// What is known of the PIN.
    trust: PinTrust,
    clock: Arc<dyn Clock>,
    shutdown: watch::Receiver<bool>,
}

impl Supervisor {
    async fn run(mut self, first: Option<Running>) {
        let mut pause = if first.is_some() { Duration::ZERO } else { FIRST_PAUSE };
        let mut current = first;
        loop {
            let mut running = match current.take() {
                Some(running) => running,
                None => match self.restart(&mut pause).await {
                    Some(running) => running,
                    None => return,
                },
            };
            let started = self.clock.instant();
            let reason = tokio::select! {
                reason = &mut running.driver => reason.unwrap_or("its driver panicked"),
                reason = prove(&self.device.health, &running.link, &self.settings, &self.clock) => reason,
                () = asked(&mut self.shutdown) => {
                    running.close();
                    self.down(Duration::ZERO);
                    end(running.child).await;
                    return;
                }
            };
            running.close();
            self.down(Duration::ZERO);
            tracing::warn!(device = self.settings.device, reason, "the keeper is gone; starting another");
            if let Some(child) = running.child {
                // It is gone or hangs: there is nothing left to ask it for.
                kill(child).await;
            }
            let has_settled = self.clock.instant() - started > SETTLED_AFTER;
            pause = if has_settled { Duration::ZERO } else { pause.min(LONGEST_PAUSE_AFTER_READY) };
        }
    }

    /// Tries until a keeper runs; `None` where there is none to be had any more.
    async fn restart(&mut self, pause: &mut Duration) -> Option<Running> {
        loop {
            if matches!(&*self.publish.borrow(), Presence::Refused(_)) {
                asked(&mut self.shutdown).await;
                return None;
            }
            let mut shutdown = self.shutdown.clone();
            self.down(*pause);
            tokio::select! {
                () = tokio::time::sleep(*pause) => {}
                () = asked(&mut shutdown) => return None,
            }
            *pause = (*pause * 2).clamp(FIRST_PAUSE, LONGEST_PAUSE);
            let attempted = tokio::select! {
                attempted = self.attempt() => attempted,
                // A keeper that is being started is killed with its value.
                () = asked(&mut shutdown) => return None,
            };
            match attempted {
                Ok(running) => {
                    tracing::info!(device = self.settings.device, "the keeper is back");
                    return Some(running);
                }
                Err(failure) => self.failed(&failure),
            }
        }
    }

    /// One start, whose keeper is told of where it succeeds.
    async fn attempt(&mut self) -> Result<Running, StartFailure> {
        let (keys, running) = launch(&self.settings, self.trust, self.device.clone(), &self.clock).await?;
        if !self.known_keys.accept(keys) {
            running.close();
            return Err(StartFailure { message: CHANGED.to_owned(), is_final: true });
        }
        self.trust = PinTrust::WorkedBefore;
        self.device.counters.connected.increment();
        self.tell(Presence::Up(Arc::clone(&running.link), running.child.as_ref().and_then(tokio::process::Child::id)));
        Ok(running)
    }

    /// Says that there is no keeper, and that one is tried after `pause`.
    fn down(&self, pause: Duration) {
        let now = self.clock.instant();
        let since = match &*self.publish.borrow() {
            Presence::Down { since, .. } => *since,
            Presence::Up(..) | Presence::Refused(_) => now,
        };
        self.tell(Presence::Down { since, next_try: now + pause });
    }

    fn failed(&self, failure: &StartFailure) {
        let device = &self.settings.device;
        if failure.is_final {
            tracing::error!(device, error = %failure, "the keeper refused to start and is not tried again");
            self.tell(Presence::Refused(failure.clone()));
        } else {
            tracing::warn!(device, error = %failure, "the keeper did not start");
        }
    }

    fn tell(&self, presence: Presence) {
        self.device.health.present(matches!(presence, Presence::Up(..)));
        self.publish.send_replace(presence);
        self.changed.send_replace(());
    }
}

/// Tries out a device each time that it failed again and again, and closes its breaker where it works. Returns where it
/// does not: what ails a session, a login or a module ends with its keeper.
async fn prove(health: &Health, link: &Link, settings: &Settings, clock: &Arc<dyn Clock>) -> &'static str {
    let device = &settings.device;
    let mut pause = FIRST_PAUSE;
    loop {
        health.failing().await;
        tracing::warn!(device, "the device fails again and again, and is not asked any more until it works");
        loop {
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
            let asked = Asked { deadline: clock.instant() + settings.request_limit, patience: Patience::Stays };
            match link.exchange(&Request::Health, asked).await {
                Ok(Reply::Healthy) => break,
                Ok(Reply::Refused(Refusal::Busy | Refusal::TooLate)) | Err(LinkFault::Busy) => {}
                Ok(_) | Err(_) => return "the device fails, and did when it was tried out",
            }
        }
        health.proven();
        tracing::info!(device, "the device works again");
    }
}

/// Returns when the shutdown was asked for.
async fn asked(shutdown: &mut watch::Receiver<bool>) {
    // An error says that whoever could ask is gone, which asks for the same.
    let _ = shutdown.wait_for(|asked| *asked).await;
}
