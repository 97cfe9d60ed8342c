//! The configuration file: parsed once, into types that cannot be wrong. Nothing below this module
//! knows that it exists.

mod changes;
mod client;
mod file;
mod frontend;
mod devices;
mod hardware;
mod issuer;
mod keys;
mod kubernetes;
mod listen;
mod problem;
mod proof;
mod registration;
mod resource;
mod resource_server;
mod signing_profile;
mod tls;
mod token_profile;
mod trust;
mod values;

use std::fmt;
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use crate::keeper::policy::DelegatedProfile;
use crate::keyring::Schedule;
use crate::kubernetes::KubernetesSettings;
use crate::oauth::attempts::AttemptLimits;
use crate::oauth::client::{Client, GrantType};
use crate::oauth::frontend::{Frontend, FrontendProof};
use crate::oauth::key_sets::KeySets;
use crate::oauth::registration::RegistrationRules;
use crate::oauth::registrations::Registrations;
use crate::oauth::resource_server::ResourceServer;
use crate::oauth::target::ResourceScopes;
use crate::oauth::trust::{TrustPolicies, TrustPolicy, TrustedIssuer};
use crate::secret_source::SecretSource;
use crate::store::postgres::PostgresUrl;
use crate::telemetry::LogFormat;

pub use self::changes::RegistrationChanges;
#[cfg(feature = "tpm")]
pub use self::hardware::TpmHardware;
pub use self::hardware::{DevicePlace, Hardware, Pkcs11Hardware};
pub use self::issuer::IssuerIdentifier;
use self::issuer::is_loopback;
pub use self::listen::{FrontendListen, Listen};
pub use self::problem::ConfigError;
pub use self::trust::TrustFiles;

/// A whole configuration.
#[derive(Clone, Debug)]
pub struct Config {
    /// Who issues.
    pub issuer: IssuerIdentifier,
    /// Where requests come in.
    pub listen: Listen,
    /// How many failed attempts are answered at once.
    pub attempt_limits: AttemptLimits,
    /// How many logins, logouts and devices one source may begin a minute.
    pub logins_per_source: NonZeroU32,
    /// How mint and keepers work together.
    pub keeper: KeeperConfig,
    /// The devices, at least one, in the order of their names.
    pub hardware: Vec<Hardware>,
    /// When keys are replaced.
    pub keys: Schedule,
    /// What front-ends may have signed.
    pub signing_profiles: Vec<DelegatedProfile>,
    /// How long others may keep the published keys.
    pub jwks_max_age: Duration,
    /// How tokens are signed for Kubernetes, where they are.
    pub kubernetes: Option<KubernetesSettings>,
    /// The store.
    pub store: StoreLocation,
    /// The log.
    pub log: LogConfig,
    /// The registered clients.
    pub clients: Vec<Client>,
    /// The resource servers that may ask about tokens.
    pub resource_servers: Vec<ResourceServer>,
    /// The front-ends.
    pub frontends: Vec<Frontend>,
    /// What scope each protected resource knows.
    pub resources: ResourceScopes,
    /// How clients register themselves, where they may.
    pub registration: Option<RegistrationRules>,
    /// Which tokens of which issuers are trusted.
    pub trust: TrustPolicies,
    /// Those issuers, each once, and any that no policy names.
    pub trusted_issuers: Vec<TrustedIssuer>,
    read: Read,
}

/// What a configuration is of.
#[derive(Clone)]
struct Read {
    path: PathBuf,
    text: String,
    trust_files: TrustFiles,
}

/// Not the texts.
impl fmt::Debug for Read {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.path.fmt(f)
    }
}

/// How mint and keepers work together.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct KeeperConfig {
    /// How long one request to the keeper may take.
    pub request_limit: Duration,
    /// How long the keeper may take to open the device.
    pub start_limit: Duration,
    /// How long one call into the device may take before the keeper gives itself up.
    pub hang_limit: Duration,
    /// Requests that may wait for the keeper.
    pub queue_capacity: usize,
    /// Whether each signature is verified before it is released.
    pub verify_signatures: bool,
}

/// Who starts the keeper.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum KeeperPlacement {
    /// The mint, as its child under the same user.
    Child,
    /// Somebody else, under another user; they meet at a Unix socket and check each other's uid.
    Socket {
        /// The socket.
        path: PathBuf,
        /// The uid of the keeper.
        keeper_uid: u32,
        /// The uid of the mint.
        mint_uid: u32,
    },
}

/// The store.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum StoreLocation {
    /// `sqlite:PATH`.
    Sqlite(PathBuf),
    /// `postgres://…`.
    Postgres(Box<PostgresLocation>),
}

/// A database, and where the password for it is kept.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct PostgresLocation {
    /// The database.
    pub url: PostgresUrl,
    /// Where the password is, unless none is needed.
    pub password: Option<SecretSource>,
}

impl StoreLocation {
    /// Reads `sqlite:PATH`, relative to `folder`, or `postgres://…`.
    ///
    /// # Errors
    /// What was expected, for the operator.
    pub fn parse(url: &str, folder: &Path) -> Result<Self, String> {
        if url.starts_with("postgres://") || url.starts_with("postgresql://") {
            return Ok(Self::Postgres(Box::new(PostgresLocation { url: PostgresUrl::parse(url)?, password: None })));
        }
        match url.strip_prefix("sqlite:") {
            Some(path) if !path.is_empty() => Ok(Self::Sqlite(folder.join(path))),
            // Not repeated: what has the form of neither may have a password in it.
            _ => Err("expected \"sqlite:PATH\" or \"postgres://USER@HOST:PORT/DATABASE\"".to_owned()),
        }
    }

    /// The same with the password in `source`.
    ///
    /// # Errors
    /// What was expected, where this store takes none or has one already.
    pub fn with_password(self, source: SecretSource) -> Result<Self, &'static str> {
        match self {
            Self::Sqlite(_) => Err("a file has no password; remove store.password"),
            Self::Postgres(database) if database.url.has_password() => {
                Err("store.url has a password too; remove it there")
            }
            Self::Postgres(mut database) => {
                database.password = Some(source);
                Ok(Self::Postgres(database))
            }
        }
    }
}

impl fmt::Display for StoreLocation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sqlite(path) => write!(f, "sqlite:{}", path.display()),
            Self::Postgres(database) => database.url.fmt(f),
        }
    }
}

/// The log.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct LogConfig {
    /// How a line is written.
    pub format: LogFormat,
    /// The least severe level that is written.
    pub level: String,
}

impl Config {
    /// Reads the file at `path`. Relative paths in it are relative to its folder.
    ///
    /// # Errors
    /// [`ConfigError`]: file, line, what was expected.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        let text = std::fs::read_to_string(path).map_err(|error| ConfigError::unreadable(path, &error))?;
        Self::parse(path, &text)
    }

    /// Reads `text`, the content of the file at `path`.
    ///
    /// # Errors
    /// As [`Self::load`].
    pub fn parse(path: &Path, text: &str) -> Result<Self, ConfigError> {
        file::parse(path, text).map_err(|problem| problem.locate(path, text))
    }

    /// Reads the file, and all that it names, again.
    ///
    /// # Errors
    /// As [`Self::load`].
    pub fn read_again(&self) -> Result<Self, ConfigError> {
        Self::load(&self.read.path)
    }

    /// Reads what the file names again, the trust directory above all. The file itself is taken as it was: what
    /// somebody may be writing there is for when it is asked for.
    ///
    /// # Errors
    /// As [`Self::load`].
    pub fn read_trust_again(&self) -> Result<Self, ConfigError> {
        Self::parse(&self.read.path, &self.read.text)
    }

    /// The trust directory as it was when this was read.
    pub fn trust_files(&self) -> &TrustFiles {
        &self.read.trust_files
    }

    /// The device called `name`.
    pub fn device(&self, name: &str) -> Option<&Hardware> {
        self.hardware.iter().find(|hardware| hardware.name() == name)
    }

    /// Everybody who is registered.
    pub fn registrations(&self) -> Registrations {
        Registrations {
            clients: self.clients.iter().cloned().collect(),
            resource_servers: self.resource_servers.iter().cloned().map(Arc::new).collect(),
            resources: self.resources.clone(),
            frontends: self.frontends.iter().cloned().collect(),
            trust: self.trust.clone(),
            issuers: self.trusted_issuers.iter().map(|issuer| (issuer.issuer.clone(), issuer.place())).collect(),
            registration: self.registration.clone().map(Arc::new),
            key_sets: KeySets::default(),
        }
    }

    /// What is allowed, and an operator should think twice about: one line each.
    pub fn warnings(&self) -> Vec<String> {
        let is_named = |issuer: &TrustedIssuer| self.trust.iter().any(|policy| policy.issuer == issuer.issuer);
        let unnamed = self.trusted_issuers.iter().filter(|issuer| !is_named(issuer));
        let unnamed = unnamed.map(|issuer| format!("no trust policy names the trusted issuer {:?}", issuer.issuer));
        let out = self.frontends.iter().flat_map(|frontend| self.warnings_of(frontend));
        let nobody = self.clients.iter().filter_map(|client| self.warning_of_client(client));
        let uncalled = self.kubernetes.as_ref().and_then(|settings| self.warning_of_kubernetes(settings));
        let warnings = self.trust.iter().flat_map(TrustPolicy::warnings).chain(unnamed).chain(out).chain(nobody);
        warnings.chain(uncalled).collect()
    }

    /// That nobody could ever log in to `client`, where it is so.
    fn warning_of_client(&self, client: &Client) -> Option<String> {
        let logs_in =
            |frontend: &&Frontend| frontend.pages.login.is_some() && frontend.check_client(&client.id).is_ok();
        if !client.may_use(GrantType::AuthorizationCode) || self.frontends.iter().any(|frontend| logs_in(&frontend)) {
            return None;
        }
        Some(format!(
            "nobody can log in to the client {:?}; it needs a [[frontend]] with a login_url that has it among its clients",
            client.id
        ))
    }

    /// That nobody may call, where it is so. No mistake: who may is read again while the mint runs.
    fn warning_of_kubernetes(&self, settings: &KubernetesSettings) -> Option<String> {
        let profile = settings.profile.as_str();
        let may_call = |frontend: &Frontend| {
            matches!(frontend.proof, FrontendProof::Uid(_)) && frontend.signing.check_profile(profile).is_ok()
        };
        (!self.frontends.iter().any(may_call)).then(|| {
            format!("[kubernetes]: no front-end has a uid and the signing profile {profile:?}, so nobody may call")
        })
    }

    /// That nobody could ever prove to be `frontend`, and that its limits do not hold for all that it has signed.
    fn warnings_of(&self, frontend: &Frontend) -> impl Iterator<Item = String> {
        let listen = self.listen.frontend.as_ref();
        let missing = match &frontend.proof {
            FrontendProof::Token { .. } if listen.is_none() => Some("[listen.frontend]"),
            FrontendProof::Certificate { .. } | FrontendProof::SelfSignedCertificate { .. }
                if !listen.is_some_and(FrontendListen::takes_certificates) =>
            {
                Some("[listen.frontend.tls] with client_certificates = \"optional\"")
            }
            // The admin socket and that of Kubernetes tell uids too.
            _ => None,
        };
        let name = &frontend.name;
        let missing = missing
            .map(|missing| format!("the front-end {name:?} has no listener to prove itself at; it needs {missing}"));
        let has_blind_spot = frontend.signing.prehashed && frontend.signing.limits_claims();
        let blind = has_blind_spot.then(|| {
            format!(
                "the front-end {name:?} may have digests signed, and nobody sees whether their claims keep to its issuers, audiences and max_lifetime"
            )
        });
        missing.into_iter().chain(blind)
    }
}
