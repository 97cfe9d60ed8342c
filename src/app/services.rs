//! The mint without its listeners: keeper, store and protocol, started in that order and ended in the
//! other. `serve` listens with it; `check` and `grant issue` use it as it is.

use std::ffi::OsString;
use std::path::Path;
use std::sync::Arc;

use tokio::sync::watch;

use super::{Failure, Kind, environment, store};
use crate::clock::{Clock, SystemClock};
use crate::config::{Config, Hardware, KeeperPlacement};
use crate::entropy::{Entropy, SystemEntropy};
use crate::keeper::launch::{Launcher, Settings};
use crate::keeper::{Keepers, Standing};
use crate::keyring::delegated::DelegatedSigner;
use crate::keyring::{Caretaker, CurrentKeyring};
use crate::oauth::access_token::AccessTokenVerifier;
use crate::oauth::authentication::Authenticator;
use crate::oauth::client_limits::ClientLimits;
use crate::oauth::delegated::DelegatedSigning;
use crate::oauth::dpop::Proofs;
use crate::oauth::frontend::FrontendAuthenticator;
use crate::oauth::issuer::Issuer;
use crate::oauth::key_sets::KeySets;
use crate::oauth::metadata::TOKEN_PATH;
use crate::oauth::once::UsedOnce;
use crate::oauth::registrations::CurrentRegistrations;
use crate::oauth::token_endpoint::TokenEndpoint;
use crate::oauth::trusted_token::TrustedTokens;
use crate::store::Store;

/// The name of the key of DPoP nonces among what nodes share.
const DPOP_NONCE_KEY: &str = "dpop-nonce";

/// The keepers and their keys.
pub struct KeptKeys {
    /// The way to the keepers.
    pub keepers: Keepers,
    /// The clock that the keepers are waited for by.
    pub clock: Arc<dyn Clock>,
    supervisors: Vec<tokio::task::JoinHandle<()>>,
    stop: watch::Sender<bool>,
}

/// What answers requests.
pub struct Services {
    /// The way to the keepers.
    pub keepers: Keepers,
    /// The keys in use.
    pub keyring: CurrentKeyring,
    /// Who looks after them.
    pub caretaker: Arc<Caretaker>,
    /// The store.
    pub store: Arc<dyn Store>,
    /// The clock that everything here goes by.
    pub clock: Arc<dyn Clock>,
    /// The registered clients and resource servers.
    pub registrations: CurrentRegistrations,
    /// Who has them prove themselves.
    pub authenticator: Arc<Authenticator>,
    /// Verifies what was issued here.
    pub access_tokens: Arc<AccessTokenVerifier>,
    /// The limits of the clients.
    pub client_limits: Arc<ClientLimits>,
    /// Who has front-ends prove themselves.
    pub frontends: Arc<FrontendAuthenticator>,
    /// Has keys sign for front-ends.
    pub signing: Arc<DelegatedSigning>,
    /// Who judges proofs of possession.
    pub proofs: Arc<Proofs>,
    /// What was used once.
    pub used: Arc<UsedOnce>,
    /// The protocol.
    pub token_endpoint: Arc<TokenEndpoint>,
    /// Signs what front-ends bring.
    pub delegated: DelegatedSigner,
    kept_keys: KeptKeys,
}

impl KeptKeys {
    /// Starts, or finds, the keeper of each device.
    ///
    /// # Errors
    /// [`Failure`] of the hardware, where none opens, or one must not be tried again.
    pub async fn start(config_path: &Path, config: &Config) -> Result<Self, Failure> {
        environment::refuse_pin_in_mint(config)?;
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let (stop, _) = watch::channel(false);
        let settings = |hardware| keeper_settings(config_path, config, hardware);
        let devices = config.hardware.iter().map(settings).collect::<Result<_, _>>()?;
        let (keepers, supervisors) = Keepers::start(devices, Arc::clone(&clock), &stop).await?;
        Ok(Self { keepers, clock, supervisors, stop })
    }

    /// Ends the keepers that are this process's children, and waits for them.
    pub async fn stop(self) {
        self.stop.send_replace(true);
        for supervisor in self.supervisors {
            let _ = supervisor.await;
        }
    }
}

impl Services {
    /// Starts, or finds, the keeper, and then opens the store: one is made only where the hardware works.
    ///
    /// # Errors
    /// [`Failure`]: of the hardware or of the store.
    pub async fn start(config_path: &Path, config: &Config) -> Result<Self, Failure> {
        let kept_keys = KeptKeys::start(config_path, config).await?;
        let caretaker = match care(config, &kept_keys).await {
            Ok(caretaker) => caretaker,
            Err(failure) => {
                kept_keys.stop().await;
                return Err(failure);
            }
        };
        let registered = config.registrations().with_keys(&KeySets::default(), &kept_keys.clock);
        let registered = match registered {
            Ok(registered) => registered,
            Err(reason) => {
                kept_keys.stop().await;
                return Err(Failure::new(Kind::Configuration, reason));
            }
        };
        let (keepers, keyring) = (kept_keys.keepers.clone(), caretaker.keyring().clone());
        let (store, clock) = (Arc::clone(caretaker.store()), Arc::clone(&kept_keys.clock));
        let entropy: Arc<dyn Entropy> = Arc::new(SystemEntropy::new());
        let remembered = async {
            let nonce_key = store.shared_secret(DPOP_NONCE_KEY, entropy.bytes()).await?;
            Ok((nonce_key, Arc::new(UsedOnce::new(Arc::clone(&store), Arc::clone(&clock)).await?)))
        };
        let (nonce_key, used) = match remembered.await {
            Ok(remembered) => remembered,
            Err(error) => {
                let error: crate::store::Error = error;
                kept_keys.stop().await;
                return Err(error.into());
            }
        };
        let issuer = Issuer::new(
            config.issuer.as_str().to_owned(),
            keepers.clone(),
            keyring.clone(),
            Arc::clone(&store),
            Arc::clone(&clock),
            entropy,
        );
        let client_limits = Arc::new(ClientLimits::new(&registered, Arc::clone(&clock)));
        let registrations = CurrentRegistrations::new(registered);
        let authenticator = Arc::new(Authenticator::new(
            registrations.clone(),
            config.issuer.as_str().to_owned(),
            Arc::clone(&used),
            Arc::clone(&store),
            Arc::clone(&clock),
        ));
        let frontends = Arc::new(FrontendAuthenticator::new(registrations.clone(), Arc::clone(&clock)));
        let delegated = DelegatedSigner::new(keepers.clone(), Arc::clone(&caretaker), Arc::clone(&clock));
        let signing = DelegatedSigning::new(delegated.clone(), config.signing_profiles.clone(), Arc::clone(&clock));
        let access_tokens = Arc::new(AccessTokenVerifier::new(config.issuer.as_str().to_owned(), keyring.clone()));
        let proofs = Arc::new(Proofs::new(&nonce_key, Arc::clone(&used), Arc::clone(&clock)));
        let token_endpoint = Arc::new(TokenEndpoint::new(
            registrations.clone(),
            Arc::clone(&authenticator),
            Arc::clone(&proofs),
            TrustedTokens::new(Arc::clone(&access_tokens), Arc::clone(&store), Arc::clone(&clock)),
            Arc::clone(&client_limits),
            issuer,
            config.issuer.endpoint(TOKEN_PATH),
        ));
        Ok(Self {
            keepers,
            keyring,
            caretaker,
            store,
            clock,
            registrations,
            authenticator,
            access_tokens,
            client_limits,
            frontends,
            signing: Arc::new(signing),
            proofs,
            used,
            token_endpoint,
            delegated,
            kept_keys,
        })
    }

    /// Ends the keeper, where it is this process's child, and waits for it.
    pub async fn stop(self) {
        self.kept_keys.stop().await;
    }
}

/// Opens the store, and finds the keys in it that the devices must have.
async fn care(config: &Config, kept_keys: &KeptKeys) -> Result<Arc<Caretaker>, Failure> {
    let store = store::open(&config.store).await?;
    let caretaker = Caretaker::new(kept_keys.keepers.clone(), store, config.keys.clone(), Arc::clone(&kept_keys.clock));
    caretaker.begin().await?;
    Ok(Arc::new(caretaker))
}

/// How the mint uses the keeper of `hardware`.
fn keeper_settings(config_path: &Path, config: &Config, hardware: &Hardware) -> Result<(Standing, Settings), Failure> {
    let place = hardware.place();
    let launcher = match &place.keeper {
        KeeperPlacement::Child => Launcher::Spawn {
            program: std::env::current_exe().map_err(Failure::while_doing("cannot find this program"))?,
            arguments: keeper_arguments(config_path, config, hardware),
            pin_worked: "--pin-worked".into(),
        },
        KeeperPlacement::Socket { path, keeper_uid, .. } => {
            Launcher::Connect { socket: path.clone(), uid: *keeper_uid }
        }
    };
    let settings = Settings {
        device: hardware.name().to_owned(),
        launcher,
        sessions: hardware.sessions(),
        start_limit: config.keeper.start_limit,
        request_limit: config.keeper.request_limit,
        // What would not fit the keeper's queue would only be refused there.
        max_in_flight: config.keeper.queue_capacity,
    };
    Ok((place.standing, settings))
}

fn keeper_arguments(config_path: &Path, config: &Config, hardware: &Hardware) -> Vec<OsString> {
    let mut arguments = vec!["keeper".into(), "--config".into(), config_path.into(), "--standard-input".into()];
    arguments.extend(["--log-level".into(), config.log.level.clone().into()]);
    if config.hardware.len() > 1 {
        arguments.extend(["--device".into(), hardware.name().into()]);
    }
    arguments
}
