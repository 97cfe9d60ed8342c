//! `mintkeep serve`: the process that talks to the network.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::watch;

use super::frontend_listener::{self, FrontendListeners};
use super::kubernetes::KubernetesListener;
use super::reload::{self, Parts, Reloader};
use super::services::Services;
use super::session_ends::Ending;
use super::signals::{Asked, Signals};
use super::{Failure, Kind, descriptors};
use crate::clock::{Clock, SystemClock};
use crate::config::Config;
use crate::entropy::{Entropy, SystemEntropy};
use crate::http::admin::{self, AdminApi};
use crate::http::forwarded::TrustedProxies;
use crate::http::frontend::FrontendApi;
use crate::http::listener::{Limits, UnixSocket, serve};
use crate::http::public::failures::FailureAnswers;
use crate::http::public::{self, PublicApi};
use crate::http::tls::Certificates;
use crate::http::transit::TransitApi;
use crate::keyring::Signer;
use crate::kubernetes;
use crate::oauth::attempts::FailedAttempts;
use crate::oauth::authorization::{AuthorizationEndpoint, IdTokenHints};
use crate::oauth::beginnings::Beginnings;
use crate::oauth::device::{DeviceEndpoint, Devices};
use crate::oauth::introspection::IntrospectionEndpoint;
use crate::oauth::login::Logins;
use crate::oauth::logout::{LogoutEndpoint, Logouts};
use crate::oauth::metadata::{CurrentMetadata, PUSHED_REQUEST_PATH, REGISTRATION_PATH, TOKEN_PATH, USERINFO_PATH};
use crate::oauth::registration::RegistrationEndpoint;
use crate::oauth::revocation::RevocationEndpoint;
use crate::oauth::userinfo::UserinfoEndpoint;
use crate::sealing::Sealer;
use crate::store::Store;
use crate::telemetry;
use crate::transit::Transit;

/// How often what has ended is removed, and how many families at a time.
const PRUNE_EVERY: Duration = Duration::from_secs(60);
const PRUNE_LIMIT: u32 = 1000;
const PRUNE_PAUSE: Duration = Duration::from_millis(20);

/// Connections to the admin socket at a time.
const ADMIN_CONNECTIONS: usize = 32;

/// A mint that listens and does not serve yet.
pub struct Mint {
    /// What answers requests.
    pub services: Services,
    public: TcpListener,
    certificates: Option<Arc<Certificates>>,
    admin: UnixSocket,
    frontends: FrontendListeners,
    kubernetes: Option<KubernetesListener>,
    public_api: PublicApi,
    frontend_api: Arc<FrontendApi>,
    ending: Ending,
    attempts: Arc<FailedAttempts>,
    beginnings: Arc<Beginnings>,
    reloader: Arc<Reloader>,
    limits: Limits,
    signals: Signals,
}

impl Mint {
    /// Takes the addresses, starts the keeper and opens the store; in this order, so that nothing is touched
    /// where another mint is running already, and no store is made for hardware that does not work.
    ///
    /// # Errors
    /// [`Failure`], with all that was started ended.
    pub async fn start(config_path: &Path, config: &Config) -> Result<Self, Failure> {
        let mut signals = Signals::catch()?;
        let listen = &config.listen;
        let certificates = certificates(config)?.map(Arc::new);
        let listeners = 1 + frontend_listener::count(config);
        let for_kubernetes = if config.kubernetes.is_some() { kubernetes::CONNECTIONS } else { 0 };
        descriptors::make_room_for(listeners * listen.limits.max_connections + ADMIN_CONNECTIONS + for_kubernetes)?;
        let public = TcpListener::bind(listen.public).await.map_err(|error| {
            Failure::new(
                Kind::Listen,
                format!(
                    "cannot listen at {}: {error}; choose another listen.public, or end what listens there",
                    listen.public
                ),
            )
        })?;
        let admin = UnixSocket::bind(&listen.admin).map_err(|error| {
            Failure::new(Kind::Listen, format!("cannot listen at {}: {error}", listen.admin.display()))
        })?;
        let frontends = FrontendListeners::bind(config).await?;
        let kubernetes = KubernetesListener::bind(config)?;
        let services = tokio::select! {
            started = Services::start(config_path, config) => started?,
            // A keeper that is being started is killed with its value.
            () = signals.end() => return Err(Failure::new(Kind::Other, "asked to end before it was ready")),
        };
        let Services { registrations, clock, .. } = &services;
        let attempts = FailedAttempts::new(config.attempt_limits, &registrations.load(), Arc::clone(clock));
        let attempts = Arc::new(attempts);
        let beginnings = Arc::new(Beginnings::new(config.logins_per_source, clock));
        let metadata =
            CurrentMetadata::new(config.issuer.as_str(), &registrations.load(), config.listen.takes_certificates());
        let parts = Parts {
            registrations: registrations.clone(),
            metadata: metadata.clone(),
            attempts: Arc::clone(&attempts),
            client_limits: Arc::clone(&services.client_limits),
            frontends: Arc::clone(&services.frontends),
            caretaker: Arc::clone(&services.caretaker),
            clock: Arc::clone(clock),
        };
        let reloader = Arc::new(Reloader::new(config, parts));
        let ending = Ending::of(config, &services);
        let frontend_api = Arc::new(frontend_api(config, &services, &ending, Arc::clone(&attempts)));
        let public_api = public_api(config, &services, Arc::clone(&attempts), &beginnings, metadata);
        let limits = listen.limits;
        Ok(Self {
            services,
            public,
            certificates,
            admin,
            frontends,
            kubernetes,
            public_api,
            frontend_api,
            ending,
            attempts,
            beginnings,
            reloader,
            limits,
            signals,
        })
    }

    /// Where it listens: the configured address, with the port that the system chose where that is 0.
    ///
    /// # Errors
    /// [`Failure`] where the system does not tell.
    pub fn public_address(&self) -> Result<SocketAddr, Failure> {
        self.public.local_addr().map_err(Failure::while_doing("cannot tell the address"))
    }

    /// Serves until SIGINT or SIGTERM, reads the certificate and the registrations again at SIGHUP, lets the requests
    /// under way finish, and ends the keeper.
    pub async fn run(self) {
        let Self { services, public, certificates, admin, frontends, kubernetes, public_api, .. } = self;
        let Self { frontend_api, ending, attempts, beginnings, reloader, limits, mut signals, .. } = self;
        let client_limits = Arc::clone(&services.client_limits);
        let admin_api = AdminApi {
            token_endpoint: Arc::clone(&services.token_endpoint),
            keepers: services.keepers.clone(),
            store: Arc::clone(&services.store),
            registrations: services.registrations.clone(),
            clock: Arc::clone(&services.clock),
            caretaker: Arc::clone(&services.caretaker),
            frontend: Arc::clone(&frontend_api),
            metrics: telemetry::metrics(
                services.keepers.clone(),
                Arc::clone(&attempts),
                Arc::clone(&beginnings),
                client_limits,
            ),
        };
        let (stop, stopped) = watch::channel(false);
        let public_router = public::router(public_api);
        let public = tokio::spawn(serve(public, certificates.clone(), public_router, limits, stopped.clone()));
        let mut following = tokio::task::JoinSet::new();
        following.spawn(Arc::clone(&reloader).follow());
        following.spawn(ending.run());
        let certificates: Vec<_> = certificates.into_iter().chain(frontends.certificates.clone()).collect();
        for certificates in &certificates {
            following.spawn(Arc::clone(certificates).follow());
        }
        let frontends = frontends.serve(&frontend_api, limits, &stopped);
        // Operators are few, and must get in when clients are many.
        let admin_limits = Limits { max_connections: ADMIN_CONNECTIONS, ..limits };
        let admin = tokio::spawn(serve(admin, None, admin::router(admin_api), admin_limits, stopped.clone()));
        let kubernetes = kubernetes.map(|listener| listener.spawn(&services, limits, stopped));
        let forget = move || {
            attempts.prune();
            beginnings.prune();
        };
        let pruning = tokio::spawn(prune(Arc::clone(&services.store), Arc::clone(&services.clock), forget));
        let caretaker = Arc::clone(&services.caretaker);
        let caring = tokio::spawn(async move { caretaker.run().await });
        while let Asked::Reload = signals.next().await {
            reload(certificates.clone(), Arc::clone(&reloader)).await;
        }
        tracing::info!("ending");
        stop.send_replace(true);
        let _ = tokio::join!(public, admin, frontends.join_all());
        if let Some(kubernetes) = kubernetes {
            let _ = kubernetes.await;
        }
        following.abort_all();
        pruning.abort();
        caring.abort();
        services.caretaker.end().await;
        services.stop().await;
    }
}

fn public_api(
    config: &Config,
    services: &Services,
    attempts: Arc<FailedAttempts>,
    beginnings: &Arc<Beginnings>,
    metadata: CurrentMetadata,
) -> PublicApi {
    let Services { keepers, keyring, store, clock, registrations, authenticator, access_tokens, .. } = services;
    let issuer = config.issuer.as_str();
    let listen = &config.listen;
    PublicApi {
        token_endpoint: Arc::clone(&services.token_endpoint),
        authorization_endpoint: AuthorizationEndpoint {
            registrations: registrations.clone(),
            authenticator: Arc::clone(authenticator),
            proofs: Arc::clone(&services.proofs),
            used: Arc::clone(&services.used),
            hints: IdTokenHints::new(issuer.to_owned(), keyring.clone()),
            beginnings: Arc::clone(beginnings),
            store: Arc::clone(store),
            clock: Arc::clone(clock),
            entropy: Arc::new(SystemEntropy::new()),
            issuer: issuer.to_owned(),
            pushed_url: config.issuer.endpoint(PUSHED_REQUEST_PATH),
        },
        device_endpoint: DeviceEndpoint {
            authenticator: Arc::clone(authenticator),
            beginnings: Arc::clone(beginnings),
            store: Arc::clone(store),
            clock: Arc::clone(clock),
            entropy: Arc::new(SystemEntropy::new()),
        },
        logout_endpoint: LogoutEndpoint {
            registrations: registrations.clone(),
            hints: IdTokenHints::new(issuer.to_owned(), keyring.clone()),
            beginnings: Arc::clone(beginnings),
            store: Arc::clone(store),
            clock: Arc::clone(clock),
            entropy: Arc::new(SystemEntropy::new()),
        },
        revocation_endpoint: RevocationEndpoint::new(
            Arc::clone(authenticator),
            Sealer::new(keepers.clone(), keyring.clone(), Arc::new(SystemEntropy::new())),
            Arc::clone(access_tokens),
            Arc::clone(store),
            Arc::clone(clock),
            &config.issuer.endpoint(TOKEN_PATH),
        ),
        introspection_endpoint: IntrospectionEndpoint::new(
            Arc::clone(authenticator),
            Signer::new(keepers.clone(), keyring.clone()),
            Arc::clone(access_tokens),
            Arc::clone(store),
            Arc::clone(clock),
        ),
        registration_endpoint: RegistrationEndpoint::new(
            registrations.clone(),
            Arc::clone(store),
            Arc::clone(clock),
            Arc::new(SystemEntropy::new()),
            format!("{issuer}{REGISTRATION_PATH}"),
        ),
        userinfo_endpoint: UserinfoEndpoint::new(
            Arc::clone(access_tokens),
            Arc::clone(authenticator),
            Arc::clone(&services.proofs),
            Arc::clone(store),
            Arc::clone(clock),
            config.issuer.endpoint(USERINFO_PATH),
        ),
        signing: Arc::clone(&services.signing),
        failures: FailureAnswers::new(attempts, listen.trusted_proxies.clone(), listen.limits),
        trusted_proxies: listen.trusted_proxies.clone(),
        keyring: keyring.clone(),
        metadata,
        max_age: config.jwks_max_age,
        issuer_path: config.issuer.path().to_owned(),
    }
}

fn frontend_api(config: &Config, services: &Services, ending: &Ending, attempts: Arc<FailedAttempts>) -> FrontendApi {
    let (store, clock) = (&services.store, &services.clock);
    let entropy: Arc<dyn Entropy> = Arc::new(SystemEntropy::new());
    FrontendApi {
        frontends: Arc::clone(&services.frontends),
        // No proxy stands between a front-end and its listener.
        failures: FailureAnswers::new(attempts, TrustedProxies::default(), config.listen.limits),
        signing: Arc::clone(&services.signing),
        devices: Devices::new(Arc::clone(store), Arc::clone(clock), Arc::clone(&entropy)),
        logouts: Logouts::new(Arc::clone(store), Arc::clone(clock), entropy, Arc::clone(&ending.ends)),
        session_ends: Arc::clone(&ending.ends),
        logins: Logins::new(
            config.issuer.as_str().to_owned(),
            Arc::clone(&services.store),
            Arc::clone(&services.clock),
            Arc::new(SystemEntropy::new()),
        ),
        token_endpoint: Arc::clone(&services.token_endpoint),
        max_age: config.jwks_max_age,
        transit: TransitApi {
            engine: Transit::new(services.delegated.clone(), &config.signing_profiles, Arc::clone(&services.clock)),
            keepers: services.keepers.clone(),
            clock: Arc::clone(&services.clock),
            entropy: Arc::new(SystemEntropy::new()),
        },
    }
}

/// The certificate of the public listener, where it speaks TLS.
///
/// # Errors
/// [`Failure`] of the configuration.
pub(super) fn certificates(config: &Config) -> Result<Option<Certificates>, Failure> {
    let load = |settings| Certificates::load(settings, Arc::new(SystemClock));
    let loaded = config.listen.tls.clone().map(load).transpose();
    loaded.map_err(|error| Failure::new(Kind::Configuration, error.to_string()))
}

/// What SIGHUP asks for.
async fn reload(certificates: Vec<Arc<Certificates>>, reloader: Arc<Reloader>) {
    let reading = move || {
        for error in certificates.iter().filter_map(|certificates| certificates.reload().err()) {
            tracing::warn!(%error, "the certificate stays as it was");
        }
        if let Err(error) = reloader.reload() {
            reload::report(&error);
        }
    };
    // A file system may take its time.
    if let Err(error) = tokio::task::spawn_blocking(reading).await {
        tracing::error!(%error, "not all was read again");
    }
}

/// Removes what ended from the store, and has the budgets `forget` what is whole again.
async fn prune(store: Arc<dyn Store>, clock: Arc<dyn Clock>, forget: impl Fn() + Send) {
    let mut ticks = tokio::time::interval(PRUNE_EVERY);
    loop {
        ticks.tick().await;
        forget();
        // What ended by this clock may not have ended by another node's.
        let ended = clock.now().minus(store.clock_tolerance());
        let mut total = 0;
        loop {
            match store.prune(ended, PRUNE_LIMIT).await {
                Ok(0) => break,
                Ok(removed) => total += removed,
                Err(error) => {
                    tracing::warn!(%error, "cannot remove what ended");
                    break;
                }
            }
            // Requests come in between.
            tokio::time::sleep(PRUNE_PAUSE).await;
        }
        if total != 0 {
            tracing::info!(removed = total, "removed families, revoked access tokens and claims that ended");
        }
    }
}
