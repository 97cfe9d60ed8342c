//! Ending sessions, and the task that tells clients of it.

use std::sync::Arc;

use tokio::sync::mpsc::Receiver;

use super::services::Services;
use crate::config::Config;
use crate::entropy::SystemEntropy;
use crate::keyring::Signer;
use crate::oauth::backchannel_logout::{LogoutMessenger, LogoutNotice, LogoutNotices};
use crate::oauth::session_end::SessionEnds;

/// The way to end sessions, and who tells clients once it runs.
pub(super) struct Ending {
    pub(super) ends: Arc<SessionEnds>,
    messenger: Arc<LogoutMessenger>,
    waiting: Receiver<LogoutNotice>,
}

impl Ending {
    pub(super) fn of(config: &Config, services: &Services) -> Self {
        let Services { keepers, keyring, store, clock, registrations, .. } = services;
        let (notices, waiting) = LogoutNotices::new();
        let ends = SessionEnds::new(Arc::clone(store), Arc::clone(clock), registrations.clone(), notices);
        let messenger = LogoutMessenger::new(
            config.issuer.as_str().to_owned(),
            Signer::new(keepers.clone(), keyring.clone()),
            Arc::clone(clock),
            Arc::new(SystemEntropy::new()),
        );
        Self { ends: Arc::new(ends), messenger: Arc::new(messenger), waiting }
    }

    /// Tells clients, until it is dropped.
    pub(super) async fn run(self) {
        self.messenger.run(self.waiting).await;
    }
}
