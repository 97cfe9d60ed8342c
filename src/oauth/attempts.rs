//! Attempts that failed, counted against the budgets of where they come from and of whom they name.
//!
//! A budget never decides whether a request is good: a request is judged first, and only one that failed is
//! counted. Otherwise anybody could lock a client out by failing in its name.

use std::collections::HashMap;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Instant;

use arc_swap::ArcSwap;
use governor::middleware::NoOpMiddleware;
use governor::state::keyed::HashMapStateStore;
use governor::{Quota, RateLimiter};

use super::OAuthError;
use super::registration::is_client_id;
use super::registrations::Registrations;
use super::source::Source;
use super::source_budgets::SourceBudgets;
use crate::budget::{Budget, Ticks};
use crate::clock::Clock;
use crate::keeper::counters::Counter;

/// Clients that registered themselves, or might have, and have a budget of their own at a time.
const MOST_SELF_REGISTERED: usize = 16_384;

/// How many failed attempts are answered at once: that many in a row, and that many a minute.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct AttemptLimits {
    /// Of one source, whomever they name.
    pub per_source: NonZeroU32,
    /// Of all that name one client or resource server, wherever they come from.
    pub per_client: NonZeroU32,
}

/// Whom an attempt says that it comes from.
#[derive(Clone, Copy, Debug)]
pub enum Claimed<'a> {
    /// The client of this id.
    Client(&'a str),
    /// The resource server of this id.
    ResourceServer(&'a str),
}

/// Whether a failed attempt was within the budgets.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Verdict {
    /// It is answered like any other.
    Within,
    /// A budget is used up: who fails so often is to slow down.
    Over,
}

/// The failed attempts of all endpoints.
pub struct FailedAttempts {
    sources: SourceBudgets,
    named: ArcSwap<NamedBudgets>,
    limits: AttemptLimits,
    clock: Arc<dyn Clock>,
    /// Where clients may register themselves. Whether one did, only the store knows: names that somebody makes up take
    /// room here, up to [`MOST_SELF_REGISTERED`].
    self_registered: RateLimiter<String, HashMapStateStore<String>, Ticks, NoOpMiddleware<Instant>>,
    /// A flood must not flood the log.
    reports: Budget,
    failed: Counter,
    over: Counter,
}

/// One for each that is registered, and for nobody else: names that somebody makes up take no room.
#[derive(Default)]
struct NamedBudgets {
    clients: HashMap<String, Arc<Budget>>,
    resource_servers: HashMap<String, Arc<Budget>>,
    /// Whether clients may register themselves.
    has_further_clients: bool,
}

impl FailedAttempts {
    /// None yet.
    pub fn new(limits: AttemptLimits, registered: &Registrations, clock: Arc<dyn Clock>) -> Self {
        let attempts = Self {
            sources: SourceBudgets::per_minute(limits.per_source, &clock),
            named: ArcSwap::default(),
            self_registered: RateLimiter::hashmap_with_clock(
                Quota::per_minute(limits.per_client),
                Ticks(Arc::clone(&clock)),
            ),
            limits,
            reports: Budget::per_minute(NonZeroU32::MIN, &clock),
            failed: Counter::default(),
            over: Counter::default(),
            clock,
        };
        attempts.follow(registered);
        attempts
    }

    /// Has a budget for each that is `registered`: who was before keeps theirs, used up as it is. One call at a time.
    pub fn follow(&self, registered: &Registrations) {
        let before = self.named.load();
        let kept = |known: &HashMap<String, Arc<Budget>>, id: &String| {
            let new = || Arc::new(Budget::per_minute(self.limits.per_client, &self.clock));
            (id.clone(), known.get(id).cloned().unwrap_or_else(new))
        };
        let clients = registered.clients.iter().map(|client| kept(&before.clients, &client.id));
        let servers = registered.resource_servers.iter().map(|server| kept(&before.resource_servers, &server.id));
        self.named.store(Arc::new(NamedBudgets {
            clients: clients.collect(),
            resource_servers: servers.collect(),
            has_further_clients: registered.registration.is_some(),
        }));
    }

    /// Counts the attempt that failed by `error`, where it is one that a guess or a stolen token makes.
    pub fn count(&self, error: &OAuthError, source: Option<Source>, claimed: Option<Claimed<'_>>) -> Verdict {
        if !is_counted(error) {
            return Verdict::Within;
        }
        self.failed.increment();
        let named = self.named.load();
        let registered = claimed.and_then(|claimed| named.of(claimed));
        // Both are used, also where the first is used up already.
        let source_is_over = source.is_some_and(|source| !self.sources.take(source));
        let client_is_over = match registered {
            Some((_, budget)) => !budget.take(),
            None => claimed.is_some_and(|claimed| self.self_registered_is_over(&named, claimed)),
        };
        if !source_is_over && !client_is_over {
            return Verdict::Within;
        }
        self.over.increment();
        if self.reports.take() {
            tracing::warn!(
                source = source.map(tracing::field::display),
                source_is_over,
                client = registered.map(|(id, _)| id),
                client_is_over,
                over_until_now = self.over.value(),
                "failed attempts are over a limit; their answers are held back"
            );
        }
        Verdict::Over
    }

    /// Forgets the sources whose budgets are whole again.
    pub fn prune(&self) {
        self.sources.prune();
        self.self_registered.retain_recent();
        self.self_registered.shrink_to_fit();
    }

    /// Attempts that failed, and how many of them were over a limit, since the start.
    pub fn totals(&self) -> (u64, u64) {
        (self.failed.value(), self.over.value())
    }

    /// Whether the budget of a client is used up that, by the form of its id, registered itself. Beyond
    /// [`MOST_SELF_REGISTERED`] there is only that of the source.
    fn self_registered_is_over(&self, named: &NamedBudgets, claimed: Claimed<'_>) -> bool {
        match claimed {
            Claimed::Client(id) => {
                named.has_further_clients
                    && is_client_id(id)
                    && self.self_registered.len() < MOST_SELF_REGISTERED
                    && self.self_registered.check_key(&id.to_owned()).is_err()
            }
            Claimed::ResourceServer(_) => false,
        }
    }
}

impl NamedBudgets {
    /// The id and the budget of one that is registered. What else is claimed is anybody's text, and is not
    /// even for the log.
    fn of(&self, claimed: Claimed<'_>) -> Option<(&str, &Budget)> {
        let found = match claimed {
            Claimed::Client(id) => self.clients.get_key_value(id),
            Claimed::ResourceServer(id) => self.resource_servers.get_key_value(id),
        };
        found.map(|(id, budget)| (id.as_str(), budget.as_ref()))
    }
}

/// A wrong secret or a token that is not good; and not what an honest client's own mistakes or our faults are.
fn is_counted(error: &OAuthError) -> bool {
    match error {
        OAuthError::InvalidClient(_) | OAuthError::InvalidGrant(_) | OAuthError::InvalidToken(_) => true,
        OAuthError::InvalidRequest(_)
        | OAuthError::AuthorizationPending
        | OAuthError::SlowDown
        | OAuthError::AccessDenied(_)
        | OAuthError::ExpiredToken
        | OAuthError::UnauthorizedClient(_)
        | OAuthError::UnsupportedResponseType(_)
        | OAuthError::InvalidRequestObject(_)
        | OAuthError::InvalidRequestUri(_)
        | OAuthError::UnsupportedGrantType(_)
        | OAuthError::InvalidScope(_)
        | OAuthError::InvalidTarget(_)
        | OAuthError::InvalidClientMetadata(_)
        | OAuthError::Forbidden(_)
        | OAuthError::InvalidDpopProof(_)
        | OAuthError::UseDpopNonce
        | OAuthError::OverLimit
        | OAuthError::TooManyBegun { .. }
        | OAuthError::TemporarilyUnavailable { .. }
        | OAuthError::ServerError => false,
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;
    use std::time::Duration;

    use super::*;
    use crate::clock::{FrozenClock, Timestamp};
    use crate::oauth::client::ClientAuthentication;
    use crate::oauth::client::tests::client;
    use crate::oauth::resource_server::ResourceServer;

    const ERROR: OAuthError = OAuthError::InvalidGrant("");

    fn attempts(per_source: u32, per_client: u32) -> (FailedAttempts, Arc<FrozenClock>) {
        let clock = FrozenClock::at(Timestamp::from_unix_seconds(0));
        let limits = AttemptLimits {
            per_source: NonZeroU32::new(per_source).unwrap(),
            per_client: NonZeroU32::new(per_client).unwrap(),
        };
        let api =
            ResourceServer { id: "api".to_owned(), authentication: ClientAuthentication::None, audiences: Vec::new() };
        let ours: Arc<dyn Clock> = Arc::clone(&clock) as _;
        let registered = Registrations { resource_servers: vec![Arc::new(api)], ..Registrations::default() };
        (FailedAttempts::new(limits, &registered, ours), clock)
    }

    fn source(number: u32) -> Option<Source> {
        Some(Source::V4(Ipv4Addr::from_bits(number)))
    }

    #[test]
    fn a_budget_fills_up_again_with_time() {
        let (attempts, clock) = attempts(60, 600);
        for _ in 0..60 {
            assert_eq!(attempts.count(&ERROR, source(1), None), Verdict::Within);
        }
        assert_eq!(attempts.count(&ERROR, source(1), None), Verdict::Over);
        assert_eq!(attempts.count(&ERROR, source(2), None), Verdict::Within);
        clock.advance(Duration::from_secs(1));
        assert_eq!(attempts.count(&ERROR, source(1), None), Verdict::Within);
        assert_eq!(attempts.count(&ERROR, source(1), None), Verdict::Over);
        assert_eq!(attempts.totals(), (64, 2));
    }

    #[test]
    fn a_client_has_a_budget_where_it_is_registered_and_under_its_own_kind() {
        let (attempts, _) = attempts(1, 2);
        let mut sources = (0..).map(source);
        let mut count = |claimed| attempts.count(&ERROR, sources.next().unwrap(), Some(claimed));
        let api = Claimed::ResourceServer("api");
        assert_eq!([count(api), count(api), count(api)], [Verdict::Within, Verdict::Within, Verdict::Over]);
        for made_up in [Claimed::Client("api"), Claimed::ResourceServer("nobody")] {
            assert_eq!([count(made_up), count(made_up), count(made_up)], [Verdict::Within; 3]);
        }
    }

    #[test]
    fn a_client_that_may_have_registered_itself_has_a_budget_where_that_is_on() {
        let (off, _) = attempts(1000, 1);
        let (on, _) = attempts(1000, 1);
        on.named.store(Arc::new(NamedBudgets { has_further_clients: true, ..NamedBudgets::default() }));
        let one = Claimed::Client("dcr_AAAAAAAAAAAAAAAAAAAAAA");
        let count = |attempts: &FailedAttempts, claimed| [(); 2].map(|()| attempts.count(&ERROR, None, Some(claimed)));
        assert_eq!(count(&off, one), [Verdict::Within; 2]);
        assert_eq!(count(&on, one), [Verdict::Within, Verdict::Over]);
        assert_eq!(count(&on, Claimed::Client("dcr_BAAAAAAAAAAAAAAAAAAAAA")), [Verdict::Within, Verdict::Over]);
        for other in [Claimed::Client("dcr_x"), Claimed::ResourceServer("dcr_AAAAAAAAAAAAAAAAAAAAAA")] {
            assert_eq!(count(&on, other), [Verdict::Within; 2]);
        }
    }

    #[test]
    fn who_stays_registered_keeps_the_budget_and_who_is_new_has_a_whole_one() {
        let (attempts, _) = attempts(1, 1);
        let mut sources = (0..).map(source);
        let mut count = |claimed| attempts.count(&ERROR, sources.next().unwrap(), Some(claimed));
        let (api, robot) = (Claimed::ResourceServer("api"), Claimed::Client("robot"));
        assert_eq!([count(api), count(api)], [Verdict::Within, Verdict::Over]);
        let api_server =
            ResourceServer { id: "api".to_owned(), authentication: ClientAuthentication::None, audiences: Vec::new() };
        attempts.follow(&Registrations {
            clients: [client("robot")].into_iter().collect(),
            resource_servers: vec![Arc::new(api_server)],
            ..Registrations::default()
        });
        assert_eq!([count(api), count(robot), count(robot)], [Verdict::Over, Verdict::Within, Verdict::Over]);
        attempts.follow(&Registrations::default());
        assert_eq!([count(api), count(robot)], [Verdict::Within; 2], "they are nobody now");
    }

    #[test]
    fn only_what_guesses_and_stolen_tokens_come_to_is_counted() {
        let (attempts, _) = attempts(1, 1);
        for error in [
            OAuthError::InvalidRequest(""),
            OAuthError::UnauthorizedClient(""),
            OAuthError::UnsupportedGrantType(""),
            OAuthError::InvalidScope(""),
            OAuthError::InvalidTarget(""),
            OAuthError::InvalidClientMetadata(""),
            OAuthError::Forbidden(""),
            OAuthError::InvalidDpopProof(""),
            OAuthError::UseDpopNonce,
            OAuthError::OverLimit,
            OAuthError::TooManyBegun { retry_after: Duration::from_secs(1) },
            OAuthError::TemporarilyUnavailable { retry_after: Duration::from_secs(1) },
            OAuthError::ServerError,
        ] {
            assert_eq!([(); 2].map(|()| attempts.count(&error, source(1), None)), [Verdict::Within; 2]);
        }
        assert_eq!(attempts.totals(), (0, 0));
        assert_eq!(attempts.count(&OAuthError::InvalidClient(""), source(1), None), Verdict::Within);
        assert_eq!(attempts.count(&OAuthError::InvalidGrant(""), source(1), None), Verdict::Over);
    }
}
