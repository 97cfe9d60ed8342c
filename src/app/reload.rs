//! Reading the registrations again while the mint runs: clients, resource servers, resources, front-ends and trust policies
//! are replaced as a whole, and what else is in the file stays as it was.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::clock::Clock;
use crate::config::{Config, ConfigError, RegistrationChanges, TrustFiles};
use crate::keeper::policy::{ClaimRules, Profile};
use crate::keyring::Caretaker;
use crate::oauth::attempts::FailedAttempts;
use crate::oauth::client_limits::ClientLimits;
use crate::oauth::frontend::FrontendAuthenticator;
use crate::oauth::metadata::CurrentMetadata;
use crate::oauth::registrations::CurrentRegistrations;

/// How often the trust directory is looked at. A change is taken up when it has lasted for one more look, because
/// several files may be written one after the other.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// The most names in one line of the log.
const MOST_NAMED: usize = 50;

/// Why the registrations stay as they were.
#[derive(Debug, thiserror::Error)]
pub(super) enum ReloadError {
    /// A file cannot be used.
    #[error(transparent)]
    Configuration(#[from] ConfigError),
    /// There is no way to the keys of somebody.
    #[error("{0}")]
    Keys(String),
    /// A keeper that comes back would read the same file, and would not be the keeper that the mint knows.
    #[error(
        "the keeper would need another signing policy: {0}; restart mint and keeper for that, or take it back: until then \
         a keeper that comes back by itself is refused"
    )]
    Policy(String),
}

/// Reads the registrations again.
pub(super) struct Reloader {
    /// What the mint began with.
    running: Config,
    state: Mutex<State>,
    parts: Parts,
}

/// Those who go by the registrations.
pub(super) struct Parts {
    /// Where everybody finds them.
    pub(super) registrations: CurrentRegistrations,
    /// What is published of them.
    pub(super) metadata: CurrentMetadata,
    /// Budgets by client and resource server.
    pub(super) attempts: Arc<FailedAttempts>,
    /// Limits by client.
    pub(super) client_limits: Arc<ClientLimits>,
    /// Limits by front-end.
    pub(super) frontends: Arc<FrontendAuthenticator>,
    /// Who keeps keys for as long as tokens live.
    pub(super) caretaker: Arc<Caretaker>,
    /// For the keys of others.
    pub(super) clock: Arc<dyn Clock>,
}

/// Held while files are read, so that of two readings the later one counts.
struct State {
    /// What the present registrations are from.
    current: Config,
    /// The trust directory that was taken up last, or was no good.
    tried: TrustFiles,
}

impl State {
    /// Whether `now` is to be taken up: a change that was there at the look `before` already, once.
    fn is_due(&mut self, now: &TrustFiles, before: Option<&TrustFiles>) -> bool {
        let is_due = *now != self.tried && before == Some(now);
        if is_due {
            self.tried = now.clone();
        }
        is_due
    }
}

impl Reloader {
    /// For a mint that began with `config`.
    pub(super) fn new(config: &Config, parts: Parts) -> Self {
        let state = State { current: config.clone(), tried: config.trust_files().clone() };
        Self { running: config.clone(), state: Mutex::new(state), parts }
    }

    /// Reads the file again, and all that it names. Where that is no good, all stays as it was, and the caller tells
    /// why. It blocks for as long as the file system does.
    ///
    /// # Errors
    /// [`ReloadError`].
    pub(super) fn reload(&self) -> Result<(), ReloadError> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let read = state.current.read_again()?;
        self.take_up(&mut state, read)?;
        let settings = self.running.fixed_settings_that_differ(&state.current);
        if !settings.is_empty() {
            let settings = settings.join(", ");
            tracing::warn!(settings, "some settings are not what the mint runs with; restart it to have it go by them");
        }
        Ok(())
    }

    /// Reads the trust directory again whenever something in it changed, for as long as it is polled. What is no good
    /// is logged, once.
    pub(super) async fn follow(self: Arc<Self>) {
        let mut ticks = tokio::time::interval(LOOK_EVERY);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut before = None;
        loop {
            ticks.tick().await;
            let reloader = Arc::clone(&self);
            // A file system may take its time.
            let look = tokio::task::spawn_blocking(move || reloader.look(before.as_ref()));
            let Ok((files, outcome)) = look.await else { return };
            if let Some(Err(error)) = outcome {
                report(&error);
            }
            before = Some(files);
        }
    }

    /// What is there now, and what came of taking it up where that was due.
    fn look(&self, before: Option<&TrustFiles>) -> (TrustFiles, Option<Result<(), ReloadError>>) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let now = state.current.trust_files().look_again();
        if !state.is_due(&now, before) {
            return (now, None);
        }
        let outcome = state.current.read_trust_again().map_err(ReloadError::from);
        (now, Some(outcome.and_then(|read| self.take_up(&mut state, read))))
    }

    fn take_up(&self, state: &mut State, read: Config) -> Result<(), ReloadError> {
        same_policy(&self.running.token_profiles(), &read.token_profiles())?;
        let Parts { registrations, metadata, attempts, client_limits, frontends, caretaker, clock } = &self.parts;
        let registered = read.registrations().with_keys(&registrations.load().key_sets, clock);
        let registered = registered.map_err(ReloadError::Keys)?;
        // Before anybody is served by it.
        caretaker.keep_for(&read.keys);
        attempts.follow(&registered);
        client_limits.follow(&registered);
        frontends.follow(&registered);
        metadata.follow(&registered);
        registrations.replace(registered);
        let known_warnings = state.current.warnings();
        let changes = RegistrationChanges::between(&state.current, &read);
        state.tried = read.trust_files().clone();
        state.current = read;
        let current = &state.current;
        tracing::info!(
            clients = current.clients.len(),
            resource_servers = current.resource_servers.len(),
            frontends = current.frontends.len(),
            trust_policies = current.trust.iter().count(),
            added = some_of(&changes.added),
            removed = some_of(&changes.removed),
            changed = some_of(&changes.changed),
            "the registrations were read again"
        );
        for warning in current.warnings().iter().filter(|warning| !known_warnings.contains(warning)) {
            tracing::warn!("{warning}");
        }
        Ok(())
    }
}

/// Says that all stays as it was, and why.
pub(super) fn report(error: &ReloadError) {
    tracing::warn!(%error, "the registrations stay as they were");
}

/// Refuses what the keepers, which run on, would not sign for, or would sign for without need. A less strict policy
/// could stay, but for the next keeper: it reads the new file, and the mint knows the old policy.
fn same_policy(running: &[Profile], wanted: &[Profile]) -> Result<(), ReloadError> {
    let find = |profiles: &'_ [Profile], name: &str| profiles.iter().position(|profile| profile.name == name);
    for profile in running {
        let name = &profile.name;
        match find(wanted, name).map(|position| &wanted[position]) {
            Some(same) if same == profile => {}
            Some(other) => return Err(ReloadError::Policy(difference(profile, other))),
            None => return Err(ReloadError::Policy(format!("nobody needs {name} signatures any more"))),
        }
    }
    match wanted.iter().find(|profile| find(running, &profile.name).is_none()) {
        Some(new) => Err(ReloadError::Policy(format!("nobody needed {} signatures before", new.name))),
        None => Ok(()),
    }
}

fn difference(running: &Profile, wanted: &Profile) -> String {
    match (running.rules, wanted.rules) {
        _ if running.issuer != wanted.issuer => format!("the issuer was {} before", running.issuer),
        (ClaimRules::AccessToken { max_lifetime: before }, ClaimRules::AccessToken { max_lifetime: after }) => format!(
            "the longest access token lives {} now, and lived {} before",
            humantime::format_duration(after),
            humantime::format_duration(before)
        ),
        _ => format!("{} signatures have other rules", running.name),
    }
}

/// The names, as many as fit a line.
fn some_of(names: &[String]) -> String {
    let mut text = names.iter().take(MOST_NAMED).map(String::as_str).collect::<Vec<_>>().join(", ");
    if let Some(more) = names.len().checked_sub(MOST_NAMED).filter(|more| *more > 0) {
        text.push_str(&format!(" and {more} more"));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keeper::policy::{ACCESS_TOKEN_PROFILE, INTROSPECTION_PROFILE};

    fn profile(name: &str, rules: ClaimRules) -> Profile {
        Profile { name: name.to_owned(), issuer: "https://mint.example".to_owned(), typ: "jwt".to_owned(), rules }
    }

    fn access_token(minutes: u64) -> Profile {
        profile(ACCESS_TOKEN_PROFILE, ClaimRules::AccessToken { max_lifetime: Duration::from_secs(60 * minutes) })
    }

    #[test]
    fn only_the_same_signing_policy_goes_on() {
        let introspection = || profile(INTROSPECTION_PROFILE, ClaimRules::Introspection);
        let refused = |running: &[Profile], wanted: &[Profile]| same_policy(running, wanted).unwrap_err().to_string();
        for profiles in [&[access_token(5)][..], &[access_token(5), introspection()]] {
            same_policy(profiles, profiles).unwrap();
        }
        let longer = refused(&[access_token(5)], &[access_token(10)]);
        assert!(longer.contains("lives 10m now, and lived 5m before"), "{longer}");
        assert!(longer.contains("restart mint and keeper"), "{longer}");
        let shorter = refused(&[access_token(10)], &[access_token(5)]);
        assert!(shorter.contains("lives 5m now, and lived 10m before"), "{shorter}");
        let first = refused(&[access_token(5)], &[access_token(5), introspection()]);
        assert!(first.contains("nobody needed token-introspection signatures before"), "{first}");
        let last = refused(&[access_token(5), introspection()], &[access_token(5)]);
        assert!(last.contains("nobody needs token-introspection signatures any more"), "{last}");
        let other = Profile { issuer: "https://other.example".to_owned(), ..access_token(5) };
        let issuer = refused(&[access_token(5)], &[other]);
        assert!(issuer.contains("the issuer was https://mint.example before"), "{issuer}");
        let typ = refused(&[access_token(5)], &[Profile { typ: "at+jwt".to_owned(), ..access_token(5) }]);
        assert!(typ.contains("another signing policy"), "{typ}");
    }

    #[test]
    fn a_change_of_the_trust_directory_is_taken_up_when_it_has_lasted_and_once() {
        let folder = tempfile::TempDir::new().unwrap();
        let text = "issuer = \"https://mint.example\"\ntrust_directory = \".\"\n\
            listen = { public = \"127.0.0.1:0\", admin = \"a\" }\nstore = { url = \"sqlite:s\" }\n\
            [hardware.hsm]\nkind = \"pkcs11\"\nmodule = \"m\"\ntoken = { label = \"t\" }\npin = { file = \"p\" }\n";
        let current = Config::parse(&folder.path().join("mintkeep.conf"), text).unwrap();
        let mut state = State { tried: current.trust_files().clone(), current };
        let began = state.tried.clone();
        let mut look = |before: &TrustFiles| {
            let now = state.current.trust_files().look_again();
            (state.is_due(&now, Some(before)), now)
        };
        assert_eq!(look(&began), (false, began.clone()), "nothing changed");
        std::fs::write(folder.path().join("one.toml"), "nonsense").unwrap();
        let (is_due, changed) = look(&began);
        assert!(!is_due, "somebody may be writing still");
        assert!(look(&changed).0);
        assert!(!look(&changed).0, "once, whatever came of it");
        std::fs::remove_file(folder.path().join("one.toml")).unwrap();
        assert_eq!(look(&changed), (false, began.clone()));
        assert!(look(&began).0, "also back to what it was");
    }

    #[test]
    fn a_line_of_the_log_names_so_many() {
        let names: Vec<String> = (0..=MOST_NAMED).map(|number| number.to_string()).collect();
        assert_eq!(some_of(&names[..2]), "0, 1");
        assert!(some_of(&names[..MOST_NAMED]).ends_with(", 49"));
        assert!(some_of(&names).ends_with(", 49 and 1 more"));
    }
}
