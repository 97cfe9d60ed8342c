//! The answers to attempts that failed: at once while their budgets last, and late after that.

use std::sync::Arc;
use std::time::Duration;

use axum::http::header::CONNECTION;
use axum::http::{HeaderMap, HeaderValue};
use axum::response::Response;
use tokio::sync::Semaphore;

use crate::http::forwarded::TrustedProxies;
use crate::http::listener::{Limits, Peer};
use crate::http::render::{oauth_error, over_limit};
use crate::oauth::OAuthError;
use crate::oauth::attempts::{Claimed, FailedAttempts, Verdict};

/// How long an answer is held back: who waits for answers then makes one attempt a second on a connection.
const DELAY: Duration = Duration::from_secs(1);

/// One in this many connections is left to clients whose requests are good; the others may wait for an answer
/// that is held back. A flood that has so many could also occupy them by sending nothing.
const ONE_LEFT_IN: usize = 4;

/// Answers attempts that failed. A request that is good never comes here, so that nobody's failures slow it.
pub struct FailureAnswers {
    attempts: Arc<FailedAttempts>,
    trusted_proxies: TrustedProxies,
    places: Semaphore,
    delay: Duration,
}

impl FailureAnswers {
    /// Answers as many as `attempts` allows at once, on a listener that has `limits`.
    pub fn new(attempts: Arc<FailedAttempts>, trusted_proxies: TrustedProxies, limits: Limits) -> Self {
        let places = Semaphore::new(limits.max_connections / ONE_LEFT_IN * (ONE_LEFT_IN - 1));
        // The answer has to be out before the listener ends the request.
        let delay = DELAY.min(limits.request_limit / 2);
        Self { attempts, trusted_proxies, places, delay }
    }

    /// The answer to a request of `peer` that failed by `error`, once its time has come.
    pub(in crate::http) async fn answer(
        &self,
        peer: &Peer,
        headers: &HeaderMap,
        claimed: Option<Claimed<'_>>,
        error: &OAuthError,
    ) -> Response {
        self.answer_as(peer, headers, claimed, error, oauth_error(error)).await
    }

    /// The same, where an answer that is within its budget is `response`.
    pub(in crate::http) async fn answer_as(
        &self,
        peer: &Peer,
        headers: &HeaderMap,
        claimed: Option<Claimed<'_>>,
        error: &OAuthError,
        response: Response,
    ) -> Response {
        let source = peer.address.map(|address| self.trusted_proxies.source(address, headers));
        match self.attempts.count(error, source, claimed) {
            Verdict::Within => return response,
            Verdict::Over => {}
        }
        let mut response = over_limit(response);
        match self.places.try_acquire() {
            Ok(_place) => tokio::time::sleep(self.delay).await,
            // The next attempt then costs a connection at least; on HTTP/2 the listener sees to it.
            Err(_) => {
                response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
            }
        }
        response
    }
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr};
    use std::num::NonZeroU32;
    use std::pin::pin;
    use std::task::{Context, Poll, Waker};

    use axum::http::StatusCode;

    use super::*;
    use crate::clock::SystemClock;
    use crate::oauth::attempts::AttemptLimits;
    use crate::oauth::registrations::Registrations;

    const ERROR: OAuthError = OAuthError::InvalidGrant("");

    fn answers(max_connections: usize) -> FailureAnswers {
        let once = AttemptLimits { per_source: NonZeroU32::MIN, per_client: NonZeroU32::MIN };
        let attempts = FailedAttempts::new(once, &Registrations::default(), Arc::new(SystemClock));
        let hour = Duration::from_secs(60 * 60);
        let limits = Limits { max_connections, header_limit: hour, request_limit: hour, drain_limit: hour };
        FailureAnswers::new(Arc::new(attempts), TrustedProxies::default(), limits)
    }

    /// Answers that are there at the first look were not held back.
    #[tokio::test]
    async fn no_more_answers_are_held_back_than_there_are_places() {
        let answers = answers(ONE_LEFT_IN + 1);
        let peer = Peer { address: Some(IpAddr::V4(Ipv4Addr::LOCALHOST)), uid: None, certificate: None };
        let headers = HeaderMap::new();
        let ask = || answers.answer(&peer, &headers, None, &ERROR);
        let mut look = Context::from_waker(Waker::noop());
        let Poll::Ready(within) = pin!(ask()).poll(&mut look) else { panic!("it is within its budget") };
        assert_eq!(within.status(), StatusCode::BAD_REQUEST);
        {
            let mut waiting = [pin!(ask()), pin!(ask()), pin!(ask())];
            assert!(waiting.iter_mut().all(|answer| answer.as_mut().poll(&mut look).is_pending()));
            let Poll::Ready(further) = pin!(ask()).poll(&mut look) else { panic!("all places are taken") };
            assert_eq!(further.status(), StatusCode::TOO_MANY_REQUESTS);
            assert_eq!(further.headers()[CONNECTION], "close");
        }
        // Clients that went away leave their places.
        assert!(pin!(ask()).poll(&mut look).is_pending());
    }
}
