//! The signals that end a mint, or have it read its files again.

use std::io::{self, IsTerminal as _};

use tokio::signal::unix::{Signal, SignalKind, signal};

use super::Failure;

/// What a signal asks for.
pub(super) enum Asked {
    End,
    Reload,
}

/// The signals, caught before anything is started that would have to be ended.
pub(super) struct Signals {
    interrupt: Signal,
    terminate: Signal,
    hang_up: Signal,
    had_terminal: bool,
}

impl Signals {
    pub(super) fn catch() -> Result<Self, Failure> {
        let catch = |kind| signal(kind).map_err(Failure::while_doing("cannot catch signals"));
        Ok(Self {
            interrupt: catch(SignalKind::interrupt())?,
            terminate: catch(SignalKind::terminate())?,
            hang_up: catch(SignalKind::hangup())?,
            had_terminal: io::stdin().is_terminal(),
        })
    }

    pub(super) async fn next(&mut self) -> Asked {
        tokio::select! {
            _ = self.interrupt.recv() => Asked::End,
            _ = self.terminate.recv() => Asked::End,
            // Who closed the terminal meant no reload.
            _ = self.hang_up.recv() => {
                if self.had_terminal && !io::stdin().is_terminal() { Asked::End } else { Asked::Reload }
            }
        }
    }

    /// Waits until the end is asked for: what is not read yet needs no reload.
    pub(super) async fn end(&mut self) {
        while let Asked::Reload = self.next().await {}
    }
}
