//! Telling clients that a session ended (OpenID Connect Back-Channel Logout 1.0), in the background: whoever ends a session
//! waits for none of them.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Mutex, Semaphore, mpsc};
use tokio::task::JoinSet;
use url::{Url, form_urlencoded};

use crate::clock::Clock;
use crate::entropy::Entropy;
use crate::fetch::{FormDelivery, HttpsSettings, HttpsSource};
use crate::jose::base64url;
use crate::jose::logout_token::{LOGOUT_TOKEN_TYPE, LogoutEvents, LogoutTokenClaims};
use crate::keeper::Work;
use crate::keeper::policy::{LOGOUT_TOKEN_LIFETIME, LOGOUT_TOKEN_PROFILE};
use crate::keyring::Signer;
use crate::store::FamilyId;

/// Notices that may wait; one more is dropped, and the log says so.
const QUEUE: usize = 4096;
/// Notices that are on their way at a time.
const AT_A_TIME: usize = 16;
/// The pauses before the second and each further attempt: all of them pass while the token is good.
const PAUSES: [Duration; 3] = [Duration::from_secs(1), Duration::from_secs(5), Duration::from_secs(20)];

/// That a session ended, for one client.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct LogoutNotice {
    /// The client.
    pub client_id: String,
    /// Where it is told.
    pub url: Url,
    /// How that is connected to.
    pub settings: HttpsSettings,
    /// Who logged out.
    pub subject: String,
    /// The session, as the client's ID tokens name it.
    pub sid: FamilyId,
}

/// The queue of notices. Clones share it.
#[derive(Clone)]
pub struct LogoutNotices {
    queue: mpsc::Sender<LogoutNotice>,
}

/// Who takes notices to clients.
pub struct LogoutMessenger {
    issuer: String,
    signer: Signer,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
    /// The ways out, one for each settings: what they trust is read once.
    ways: Mutex<HashMap<HttpsSettings, Arc<dyn FormDelivery>>>,
    places: Semaphore,
}

impl LogoutNotices {
    /// A queue, and where it ends.
    pub fn new() -> (Self, mpsc::Receiver<LogoutNotice>) {
        let (queue, waiting) = mpsc::channel(QUEUE);
        (Self { queue }, waiting)
    }

    /// Has `notice` taken to its client, some time soon.
    pub fn send(&self, notice: LogoutNotice) {
        if let Err(error) = self.queue.try_send(notice) {
            let (reason, notice) = match error {
                mpsc::error::TrySendError::Full(notice) => ("too many wait", notice),
                mpsc::error::TrySendError::Closed(notice) => ("the mint ends", notice),
            };
            tracing::warn!(client = notice.client_id, sid = %notice.sid, reason, "a client is not told of a logout");
        }
    }
}

impl LogoutMessenger {
    /// One for the issuer `issuer`, whose tokens `signer` has signed.
    pub fn new(issuer: String, signer: Signer, clock: Arc<dyn Clock>, entropy: Arc<dyn Entropy>) -> Self {
        let (ways, places) = (Mutex::default(), Semaphore::new(AT_A_TIME));
        Self { issuer, signer, clock, entropy, ways, places }
    }

    /// Takes what comes out of the queue, until that is closed and empty, or the future is dropped.
    pub async fn run(self: Arc<Self>, mut waiting: mpsc::Receiver<LogoutNotice>) {
        let mut under_way = JoinSet::new();
        while let Some(notice) = waiting.recv().await {
            while under_way.try_join_next().is_some() {}
            while under_way.len() >= QUEUE {
                under_way.join_next().await;
            }
            let messenger = Arc::clone(&self);
            under_way.spawn(async move { messenger.deliver(&notice).await });
        }
        while under_way.join_next().await.is_some() {}
    }

    async fn deliver(&self, notice: &LogoutNotice) {
        let LogoutNotice { client_id, sid, .. } = notice;
        let mut pauses = PAUSES.into_iter();
        loop {
            let reason = match self.attempt(notice).await {
                Ok(()) => {
                    tracing::info!(client = client_id, %sid, "told a client of a logout");
                    return;
                }
                Err(reason) => reason,
            };
            let Some(pause) = pauses.next() else {
                tracing::warn!(client = client_id, %sid, reason, "could not tell a client of a logout");
                return;
            };
            tracing::debug!(client = client_id, %sid, reason, "could not tell a client of a logout yet");
            tokio::time::sleep(pause).await;
        }
    }

    /// Each attempt is by a token of its own, so that a client that remembers their names takes it.
    async fn attempt(&self, notice: &LogoutNotice) -> Result<(), String> {
        let Ok(_place) = self.places.acquire().await else {
            return Err("the mint ends".to_owned());
        };
        let way = self.way(&notice.settings).await?;
        let now = self.clock.now();
        let claims = LogoutTokenClaims {
            iss: &self.issuer,
            sub: &notice.subject,
            aud: &notice.client_id,
            iat: now,
            exp: now.plus(LOGOUT_TOKEN_LIFETIME),
            jti: &base64url::encode(self.entropy.bytes::<16>()),
            sid: &notice.sid.to_string(),
            events: LogoutEvents::default(),
        };
        let token =
            self.signer.sign(&notice.client_id, Work::New, LOGOUT_TOKEN_PROFILE, LOGOUT_TOKEN_TYPE, &claims).await;
        let token = token.map_err(|error| error.to_string())?;
        let form = form_urlencoded::Serializer::new(String::new()).append_pair("logout_token", &token).finish();
        way.post(&notice.url, form).await.map_err(|error| error.to_string())
    }

    async fn way(&self, settings: &HttpsSettings) -> Result<Arc<dyn FormDelivery>, String> {
        let mut ways = self.ways.lock().await;
        if let Some(way) = ways.get(settings) {
            return Ok(Arc::clone(way));
        }
        let way: Arc<dyn FormDelivery> = Arc::new(HttpsSource::new(settings)?);
        ways.insert(settings.clone(), Arc::clone(&way));
        Ok(way)
    }
}
