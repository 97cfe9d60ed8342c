//! Kubernetes: keys of ours sign the tokens of service accounts, as `ExternalJWTSigner` v1 has it (KEP-740).
//!
//! A kube-apiserver that was given `--service-account-signing-endpoint` speaks gRPC on a Unix socket. Who is at its other
//! end is said by the kernel, so there is neither TLS nor a token: the uid has to be that of a front-end which may use
//! the signing profile. What is signed is judged twice: here by the rights of the front-end, and by the keeper.

// The code is as it was generated: tests/it/kubernetes/generated.rs.
#[rustfmt::skip]
#[expect(clippy::allow_attributes, unreachable_pub, reason = "generated code allows itself what it may need")]
mod api;
mod claims;
mod deadline;
mod error;
mod service;
mod socket;

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use self::api::external_jwt_signer_server::ExternalJwtSignerServer;
use self::service::Service;
use self::socket::Entrance;
use crate::clock::Clock;
use crate::hardware::KeyName;
use crate::http::listener::{self, Limits};
use crate::keyring::delegated::DelegatedSigner;
use crate::oauth::frontend::FrontendAuthenticator;
use crate::oauth::registrations::CurrentRegistrations;

pub use self::socket::{Address, Socket};

/// The shortest lifetime that a kube-apiserver takes for the longest of its tokens.
pub const LEAST_LIFETIME: Duration = Duration::from_secs(600);

/// The `typ` of every token that is signed here.
pub const TOKEN_TYPE: &str = "JWT";

/// The most bytes of a message: the claims of a token with some hundred audiences.
const MESSAGE_BYTES: usize = 32 * 1024;

/// Connections of front-ends at a time; a kube-apiserver has one.
pub const CONNECTIONS: usize = 32;

/// How long a connection may have no call: longer than a kube-apiserver, which fetches the keys in between, usually has
/// none.
const IDLE_LIMIT: Duration = Duration::from_secs(15 * 60);

/// How tokens of service accounts are signed.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct KubernetesSettings {
    /// Where a kube-apiserver finds us.
    pub address: Address,
    /// The signing profile, which is also the name of its key.
    pub profile: KeyName,
    /// How long a token may live: the longest of the profile, at least [`LEAST_LIFETIME`].
    pub max_lifetime: Duration,
    /// How long a kube-apiserver may keep the keys that it fetched: whole seconds, at least one. The profile publishes
    /// a key at least as long before it signs.
    pub refresh_hint: Duration,
}

/// What calls are answered with.
pub struct Parts {
    /// Signs, and knows the keys.
    pub signer: DelegatedSigner,
    /// Knows the front-ends.
    pub frontends: Arc<FrontendAuthenticator>,
    /// The same, for connections.
    pub registrations: CurrentRegistrations,
    /// Says when something was refused.
    pub clock: Arc<dyn Clock>,
}

/// Answers calls on `socket` until `shutdown` says true, and then lets those under way finish. Of `limits`, the times for
/// a request and for the end hold here too.
pub async fn serve(
    socket: Socket,
    settings: KubernetesSettings,
    parts: Parts,
    limits: Limits,
    shutdown: watch::Receiver<bool>,
) {
    let entrance = Entrance::new(socket, parts.registrations.clone());
    let server = ExternalJwtSignerServer::new(Service::new(settings, parts)).max_decoding_message_size(MESSAGE_BYTES);
    let limits = Limits { max_connections: CONNECTIONS, header_limit: IDLE_LIMIT, ..limits };
    listener::serve(entrance, None, listener::answered_by(server), limits, shutdown).await;
}
