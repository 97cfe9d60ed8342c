//! The requests on one connection of HTTP/2, which come and go beside each other, and when they are reason to end it.

use std::time::Duration;

use tokio::sync::watch;

/// How many more requests than were answered may be broken off. Each of them costs its client a frame and us a
/// request (CVE-2023-44487); what is broken off before it is looked at, the library counts itself.
const MOST_BROKEN_OFF: usize = 100;

/// The requests of a connection.
#[derive(Clone, Default)]
pub(super) struct Streams(watch::Sender<Counts>);

#[derive(Default)]
struct Counts {
    under_way: usize,
    broken_off: usize,
    is_asked: bool,
}

/// Why a connection ends.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Reason {
    /// There was no request for too long.
    Idle,
    /// An answer asked for it.
    Asked,
    /// The client breaks its requests off.
    BrokenOff,
}

/// A request under way; one that is dropped before it was finished was broken off.
pub(super) struct Stream {
    streams: Streams,
    is_finished: bool,
}

impl Streams {
    /// Counts a request.
    pub(super) fn begin(&self) -> Stream {
        self.0.send_modify(|counts| counts.under_way += 1);
        Stream { streams: self.clone(), is_finished: false }
    }

    /// Waits for a reason to end; an idle connection has one after `idle_limit`.
    pub(super) async fn reason_to_end(&self, idle_limit: Duration) -> Reason {
        let reason = |counts: &Counts| match counts {
            Counts { broken_off, .. } if *broken_off > MOST_BROKEN_OFF => Some(Reason::BrokenOff),
            Counts { is_asked: true, .. } => Some(Reason::Asked),
            Counts { .. } => None,
        };
        let mut counts = self.0.subscribe();
        tokio::select! {
            () = self.idle(idle_limit) => Reason::Idle,
            // The sender is here, so never an error.
            counts = counts.wait_for(|counts| reason(counts).is_some()) => {
                counts.ok().and_then(|counts| reason(&counts)).unwrap_or(Reason::Idle)
            }
        }
    }

    /// Waits until there was no request for `limit`.
    pub(super) async fn idle(&self, limit: Duration) {
        let mut counts = self.0.subscribe();
        loop {
            // The sender is here, so never an error.
            let _ = counts.wait_for(|counts| counts.under_way == 0).await;
            if tokio::time::timeout(limit, counts.changed()).await.is_err() {
                return;
            }
        }
    }
}

impl Stream {
    /// Ends the connection once the requests under way are answered.
    pub(super) fn close_connection(&self) {
        self.streams.0.send_modify(|counts| counts.is_asked = true);
    }

    /// It is answered.
    pub(super) fn finish(mut self) {
        self.is_finished = true;
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        let is_finished = self.is_finished;
        self.streams.0.send_modify(|counts| {
            counts.under_way -= 1;
            counts.broken_off = if is_finished { counts.broken_off.saturating_sub(1) } else { counts.broken_off + 1 };
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_secs(60 * 60);
    /// Long enough for what would happen at once.
    const LOOK: Duration = Duration::from_millis(20);

    #[tokio::test]
    async fn a_connection_is_idle_when_nothing_is_under_way_for_long_enough() {
        let streams = Streams::default();
        assert_eq!(streams.reason_to_end(Duration::ZERO).await, Reason::Idle);
        assert!(tokio::time::timeout(LOOK, streams.reason_to_end(HOUR)).await.is_err(), "not long enough");
        let stream = streams.begin();
        let waiting = tokio::time::timeout(LOOK, streams.reason_to_end(Duration::ZERO)).await;
        assert!(waiting.is_err(), "a request is under way");
        stream.finish();
        assert_eq!(streams.reason_to_end(Duration::ZERO).await, Reason::Idle);
    }

    #[tokio::test]
    async fn a_client_that_only_breaks_off_is_let_go() {
        let streams = Streams::default();
        for _ in 0..MOST_BROKEN_OFF {
            drop(streams.begin());
        }
        streams.begin().finish();
        drop(streams.begin());
        assert_eq!(
            streams.reason_to_end(Duration::ZERO).await,
            Reason::Idle,
            "as many as it may, with one that was answered"
        );
        drop(streams.begin());
        assert_eq!(streams.reason_to_end(HOUR).await, Reason::BrokenOff);
    }

    #[tokio::test]
    async fn an_answer_may_ask_for_the_end() {
        let streams = Streams::default();
        let stream = streams.begin();
        stream.close_connection();
        assert_eq!(streams.reason_to_end(HOUR).await, Reason::Asked);
    }
}
