//! The socket at which Kubernetes has tokens signed, from the configuration.

use std::sync::Arc;

use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::services::Services;
use super::{Failure, Kind};
use crate::config::Config;
use crate::http::listener::Limits;
use crate::kubernetes::{self, KubernetesSettings, Parts, Socket};

/// A socket that is listened at, and not served yet.
pub(super) struct KubernetesListener {
    settings: KubernetesSettings,
    socket: Socket,
}

impl KubernetesListener {
    /// Takes the socket, where one is configured.
    ///
    /// # Errors
    /// [`Failure`] where it cannot be had.
    pub(super) fn bind(config: &Config) -> Result<Option<Self>, Failure> {
        let Some(settings) = config.kubernetes.clone() else { return Ok(None) };
        let socket = Socket::bind(&settings.address)
            .map_err(|error| Failure::new(Kind::Listen, format!("cannot listen at {}: {error}", settings.address)))?;
        Ok(Some(Self { settings, socket }))
    }

    /// Serves it in a task of its own, which ends when `shutdown` says true and all calls are answered.
    pub(super) fn spawn(self, services: &Services, limits: Limits, shutdown: watch::Receiver<bool>) -> JoinHandle<()> {
        let parts = Parts {
            signer: services.delegated.clone(),
            frontends: Arc::clone(&services.frontends),
            registrations: services.registrations.clone(),
            clock: Arc::clone(&services.clock),
        };
        tracing::info!(socket = %self.settings.address, profile = self.settings.profile.as_str(), "signs for Kubernetes");
        tokio::spawn(kubernetes::serve(self.socket, self.settings, parts, limits, shutdown))
    }
}
