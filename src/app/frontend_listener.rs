//! Where front-ends come in: a Unix socket that everybody can open, an address, both or neither.

use std::sync::Arc;

use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::{Failure, Kind};
use crate::clock::SystemClock;
use crate::config::{Config, FrontendListen};
use crate::http::frontend::{self, FrontendApi};
use crate::http::listener::{Limits, UnixSocket, serve};
use crate::http::tls::Certificates;

/// Whoever can connect: a caller has to prove who it is.
const EVERYBODY: u32 = 0o666;

/// The listeners of front-ends, bound and not served yet.
pub(super) struct FrontendListeners {
    socket: Option<UnixSocket>,
    address: Option<TcpListener>,
    /// The certificate of the address, where it speaks TLS.
    pub(super) certificates: Option<Arc<Certificates>>,
}

impl FrontendListeners {
    /// Takes what is configured.
    ///
    /// # Errors
    /// [`Failure`] of the configuration, or that something listens there.
    pub(super) async fn bind(config: &Config) -> Result<Self, Failure> {
        let certificates = certificates(config)?.map(Arc::new);
        let Some(FrontendListen { socket, address, tls: _ }) = &config.listen.frontend else {
            return Ok(Self { socket: None, address: None, certificates });
        };
        let socket = socket.as_deref().map(|path| {
            UnixSocket::bind_with_mode(path, EVERYBODY)
                .map_err(|error| Failure::new(Kind::Listen, format!("cannot listen at {}: {error}", path.display())))
        });
        let socket = socket.transpose()?;
        let address = match address {
            None => None,
            Some(address) => Some(TcpListener::bind(address).await.map_err(|error| {
                let message = format!(
                    "cannot listen at {address}: {error}; choose another listen.frontend.address, or end what listens there"
                );
                Failure::new(Kind::Listen, message)
            })?),
        };
        let chosen = address.as_ref().and_then(|listener| listener.local_addr().ok());
        tracing::info!(address = chosen.map(tracing::field::display), "listening for front-ends");
        Ok(Self { socket, address, certificates })
    }

    /// Serves `api` until `stopped` says true.
    pub(super) fn serve(self, api: &Arc<FrontendApi>, limits: Limits, stopped: &watch::Receiver<bool>) -> JoinSet<()> {
        let router = frontend::router(Arc::clone(api));
        let mut serving = JoinSet::new();
        if let Some(socket) = self.socket {
            serving.spawn(serve(socket, None, router.clone(), limits, stopped.clone()));
        }
        if let Some(address) = self.address {
            serving.spawn(serve(address, self.certificates, router, limits, stopped.clone()));
        }
        serving
    }
}

/// How many of them there are.
pub(super) fn count(config: &Config) -> usize {
    let Some(listen) = &config.listen.frontend else { return 0 };
    usize::from(listen.socket.is_some()) + usize::from(listen.address.is_some())
}

/// The certificate of the address, where it speaks TLS.
///
/// # Errors
/// [`Failure`] of the configuration.
pub(super) fn certificates(config: &Config) -> Result<Option<Certificates>, Failure> {
    let settings = config.listen.frontend.as_ref().and_then(|listen| listen.tls.clone());
    let load = |settings| Certificates::load(settings, Arc::new(SystemClock));
    settings.map(load).transpose().map_err(|error| Failure::new(Kind::Configuration, error.to_string()))
}
