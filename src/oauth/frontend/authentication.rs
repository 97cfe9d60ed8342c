//! Who a caller is among the front-ends.

use std::num::NonZeroU32;
use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

use subtle::Choice;

use super::{Frontend, FrontendError, FrontendProof};
use crate::budget::Budget;
use crate::clock::Clock;
use crate::oauth::authentication::is_registered;
use crate::oauth::certificate::PresentedCertificate;
use crate::oauth::registrations::{CurrentRegistrations, Registrations};
use crate::oauth::request_limits::{LimitedCallers, Place, Reached};
use crate::oauth::secret::SecretHash;

/// What a front-end that is over a limit is told to wait.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// What a caller presents.
#[derive(Clone, Copy, Default)]
pub struct PresentedCaller<'a> {
    /// The user at the other end of a Unix socket, as the kernel says.
    pub uid: Option<u32>,
    /// The certificate of the connection.
    pub certificate: Option<&'a PresentedCertificate>,
    /// A bearer token.
    pub token: Option<&'a str>,
}

/// A front-end that proved itself, and the place of its request. Only [`FrontendAuthenticator`] makes one.
#[derive(Debug)]
pub struct CallingFrontend {
    frontend: Arc<Frontend>,
    registered: Arc<Registrations>,
    _place: Place,
}

impl CallingFrontend {
    /// The registration, to keep.
    pub fn frontend(&self) -> &Arc<Frontend> {
        &self.frontend
    }

    /// All that was registered when it called: what else its request needs is from there.
    pub fn registered(&self) -> &Arc<Registrations> {
        &self.registered
    }
}

impl Deref for CallingFrontend {
    type Target = Frontend;

    fn deref(&self) -> &Frontend {
        &self.frontend
    }
}

/// Has front-ends prove themselves, and counts their requests. A request counts when its caller has proven itself, so
/// nobody else can use up what is a front-end's.
pub struct FrontendAuthenticator {
    registrations: CurrentRegistrations,
    callers: LimitedCallers,
    clock: Arc<dyn Clock>,
    /// A flood must not flood the log.
    reports: Budget,
}

impl FrontendAuthenticator {
    /// For those that are registered at the time of each request.
    pub fn new(registrations: CurrentRegistrations, clock: Arc<dyn Clock>) -> Self {
        let reports = Budget::per_minute(NonZeroU32::MIN, &clock);
        let authenticator = Self { callers: LimitedCallers::new(Arc::clone(&clock)), registrations, clock, reports };
        authenticator.follow(&authenticator.registrations.load());
        authenticator
    }

    /// Goes by the limits of those that are `registered` from now on. One call at a time.
    pub fn follow(&self, registered: &Registrations) {
        self.callers.follow(registered.frontends.iter().map(|frontend| (frontend.name.as_str(), frontend.limits)));
    }

    /// The front-end that `caller` proves to be. A token that is presented decides: where it is no good, nothing else is
    /// looked at.
    ///
    /// # Errors
    /// [`FrontendError::Unknown`], or [`FrontendError::TooMany`] where it is over a limit of its own.
    pub fn authenticate(&self, caller: &PresentedCaller<'_>) -> Result<CallingFrontend, FrontendError> {
        let registered = self.registrations.load();
        let found = match caller.token {
            Some(token) => of_token(&registered, token),
            None => registered.frontends.iter().find(|frontend| self.proves(caller, &frontend.proof)),
        };
        let frontend = Arc::clone(found.ok_or(FrontendError::Unknown)?);
        let place = self.callers.admit(&frontend.name).map_err(|reached| self.refuse(&frontend.name, &reached))?;
        Ok(CallingFrontend { frontend, registered, _place: place })
    }

    /// Whether `caller`, who presents no token, has what `proof` asks for.
    fn proves(&self, caller: &PresentedCaller<'_>, proof: &FrontendProof) -> bool {
        match proof {
            FrontendProof::Uid(uid) => caller.uid == Some(*uid),
            FrontendProof::Token { .. } => false,
            FrontendProof::Certificate { subject } => {
                caller.certificate.is_some_and(|certificate| subject.is_of(certificate))
            }
            FrontendProof::SelfSignedCertificate { certificates } => {
                caller.certificate.is_some_and(|certificate| is_registered(certificate, certificates, self.clock.now()))
            }
        }
    }

    fn refuse(&self, frontend: &str, Reached(limit): &Reached) -> FrontendError {
        if self.reports.take() {
            tracing::warn!(frontend, limit, "a front-end is over a limit of its own");
        }
        FrontendError::TooMany(RETRY_AFTER)
    }
}

/// The front-end whose token `token` is. All hashes are compared, each in a time that does not depend on the outcome.
fn of_token<'a>(registered: &'a Registrations, token: &str) -> Option<&'a Arc<Frontend>> {
    let presented = SecretHash::of(token);
    let has_token = |frontend: &&Arc<Frontend>| match &frontend.proof {
        FrontendProof::Token { hashes } => {
            hashes.iter().fold(Choice::from(0), |any, hash| any | hash.matches(&presented)).into()
        }
        FrontendProof::Uid(_) | FrontendProof::Certificate { .. } | FrontendProof::SelfSignedCertificate { .. } => {
            false
        }
    };
    // The last one, and not the first, so that nobody's place in the file shows.
    registered.frontends.iter().filter(has_token).last()
}
