//! Front-ends: programs of the operator's that log people in, or have keys here sign for them, and what each of them may.

mod authentication;
mod signing;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use url::Url;

use super::authentication::CertificateSubject;
use super::client::RequestLimits;
use super::secret::SecretHash;
use crate::jose::thumbprint::Thumbprint;

pub use self::authentication::{CallingFrontend, FrontendAuthenticator, PresentedCaller};

/// A front-end as the operator registered it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Frontend {
    /// Its name: 1 to 64 of `A-Z a-z 0-9 . _ -`.
    pub name: String,
    /// How it proves itself.
    pub proof: FrontendProof,
    /// The clients whose logins it decides, and that it may have tokens issued for. Each is one front-end's.
    pub clients: Vec<String>,
    /// Where it shows what.
    pub pages: Pages,
    /// What it may have signed.
    pub signing: SigningRights,
    /// How many of its requests are served.
    pub limits: RequestLimits,
}

/// How a front-end proves itself: one way, as registered.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum FrontendProof {
    /// By the user that it runs under, on a Unix socket.
    Uid(u32),
    /// By a bearer token.
    Token {
        /// Those that are good now.
        hashes: Vec<SecretHash>,
    },
    /// By a certificate that one of the authorities of the listener vouches for.
    Certificate {
        /// The name that it has to have.
        subject: CertificateSubject,
    },
    /// By a certificate that it made itself.
    SelfSignedCertificate {
        /// Those of its certificates that are good.
        certificates: Vec<Thumbprint>,
    },
}

/// The pages of a front-end that browsers are sent to.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Pages {
    /// Where people log in.
    pub login: Option<Url>,
    /// Where they type the code of a device.
    pub device: Option<Url>,
    /// Where they confirm that they log out.
    pub logout: Option<Url>,
}

/// What a front-end may have signed. The keeper knows nothing of it: the limits of the profile hold all the same.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct SigningRights {
    /// The profiles that it may use.
    pub profiles: Vec<String>,
    /// The only values that `iss` may have; `None`: those of the profile.
    pub issuers: Option<Vec<String>>,
    /// The only values that `aud` may have; `None`: those of the profile.
    pub audiences: Option<Vec<String>>,
    /// The most that `exp` may be after `iat`; `None`: what the profile allows.
    pub max_lifetime: Option<Duration>,
    /// Whether it may have digests signed, whose content nobody sees.
    pub prehashed: bool,
    /// Whether it may create and destroy keys under its profiles.
    pub creates_keys: bool,
}

/// Why a front-end is not served. Details are for the log.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum FrontendError {
    /// The caller proves to be no front-end: HTTP 401.
    #[error("the caller is no front-end")]
    Unknown,
    /// It may not have what it asks for: HTTP 403.
    #[error("{0}")]
    Forbidden(&'static str),
    /// It asks more often than it may: HTTP 429, and how long to wait.
    #[error("over the front-end's limit; try again after {} s", .0.as_secs())]
    TooMany(Duration),
}

impl Frontend {
    /// Fails where the logins and tokens of the client `client_id` are not this front-end's.
    ///
    /// # Errors
    /// [`FrontendError::Forbidden`].
    pub fn check_client(&self, client_id: &str) -> Result<(), FrontendError> {
        if self.clients.iter().any(|known| known == client_id) {
            return Ok(());
        }
        Err(FrontendError::Forbidden("the client is not one of this front-end's"))
    }
}

/// All front-ends.
#[derive(Clone, Debug, Default)]
pub struct Frontends {
    all: Vec<Arc<Frontend>>,
    by_client: HashMap<String, Arc<Frontend>>,
}

impl Frontends {
    /// The one called `name`.
    pub fn find(&self, name: &str) -> Option<&Arc<Frontend>> {
        self.all.iter().find(|frontend| frontend.name == name)
    }

    /// The one that decides the logins of the client `client_id`.
    pub fn of_client(&self, client_id: &str) -> Option<&Arc<Frontend>> {
        self.by_client.get(client_id)
    }

    /// Each of them, in the order of the file.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Frontend>> {
        self.all.iter()
    }
}

impl FromIterator<Frontend> for Frontends {
    fn from_iter<All: IntoIterator<Item = Frontend>>(all: All) -> Self {
        let all: Vec<Arc<Frontend>> = all.into_iter().map(Arc::new).collect();
        let of_each = |frontend: &Arc<Frontend>| {
            let frontend = Arc::clone(frontend);
            frontend.clients.clone().into_iter().map(move |client| (client, Arc::clone(&frontend)))
        };
        let by_client = all.iter().flat_map(of_each).collect();
        Self { all, by_client }
    }
}
