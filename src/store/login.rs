//! Logins under way: what a client asked for, what a front-end decided, and the code that it became, as pure functions.
//!
//! What travels is random; what is kept is its SHA-256. Nothing that ended is granted, whether or not it was removed.

use std::time::Duration;

use aws_lc_rs::digest::{SHA256, digest};

use crate::clock::Timestamp;
use crate::store::{Family, FamilyId, TokenId};

/// A secret that travels, by its SHA-256: a handle, an authorization code, a device code, a user code, a `request_uri`.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct LoginId(pub [u8; 32]);

impl LoginId {
    /// The name of what travels as `secret`.
    pub fn of(secret: &str) -> Self {
        Self(digest(&SHA256, secret.as_bytes()).as_ref().try_into().expect("SHA-256 gives 32 bytes"))
    }
}

/// What a front-end decides on.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum LoginKind {
    /// An authorization request (RFC 6749 §4.1.1).
    Authorization,
    /// A device authorization request (RFC 8628 §3.1).
    Device,
    /// A logout that a client asked for (OpenID Connect RP-Initiated Logout 1.0 §2).
    Logout,
}

impl LoginKind {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Authorization => "authorization",
            Self::Device => "device",
            Self::Logout => "logout",
        }
    }

    pub(crate) fn named(name: &str) -> Option<Self> {
        [Self::Authorization, Self::Device, Self::Logout].into_iter().find(|kind| kind.name() == name)
    }
}

/// A request that a front-end decides on, and what became of it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct PendingLogin {
    /// The handle that the front-end has, or the device code that the client polls by.
    pub handle: LoginId,
    /// See [`LoginKind`].
    pub kind: LoginKind,
    /// The client that asked.
    pub client_id: String,
    /// What it asked for, a JSON object.
    pub request: String,
    /// What the person types, of a device (RFC 8628 §6.1).
    pub user_code: Option<LoginId>,
    /// When it was asked for.
    pub created_at: Timestamp,
    /// Until when it may be decided, and a device may poll.
    pub expires_at: Timestamp,
    /// How a device polls.
    pub polling: DevicePolling,
    /// What was decided.
    pub state: LoginState,
}

/// How often a device asks (RFC 8628 §3.5).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct DevicePolling {
    /// The time that it has to leave between two polls.
    pub interval_seconds: u32,
    /// When it last asked.
    pub polled_at: Option<Timestamp>,
}

impl DevicePolling {
    /// The interval at the start, and what each poll that comes too early adds to it (RFC 8628 §3.2, §3.5).
    pub const STEP_SECONDS: u32 = 5;
}

impl Default for DevicePolling {
    fn default() -> Self {
        Self { interval_seconds: Self::STEP_SECONDS, polled_at: None }
    }
}

/// How far a login is.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum LoginState {
    /// Nobody decided yet.
    Pending,
    /// The front-end refused it, with this error (RFC 6749 §4.1.2.1).
    Refused {
        /// The code of the error.
        error: String,
    },
    /// The front-end accepted it.
    Accepted {
        /// What the client redeems.
        code: LoginId,
        /// What was granted, a JSON object.
        grant: String,
        /// When the code ends.
        expires_at: Timestamp,
        /// What it gave, once it was redeemed.
        used: Option<UsedCode>,
    },
}

/// What a code gave: what its second use takes back.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct UsedCode {
    /// The family.
    pub fid: FamilyId,
    /// The access token.
    pub jti: TokenId,
    /// When that token ends.
    pub token_expires_at: Timestamp,
}

/// What a front-end decides.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Decision {
    /// It accepts.
    Accepted {
        /// The name of a code that nobody had before, also where no client ever sees one.
        code: LoginId,
        /// What it grants, a JSON object.
        grant: String,
        /// When the code ends.
        expires_at: Timestamp,
    },
    /// It refuses.
    Refused {
        /// The code of the error.
        error: String,
    },
}

/// What became of a login that was to be begun.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum BegunLogin {
    /// It waits for its front-end.
    Begun,
    /// Another one has its user code.
    UserCodeTaken,
    /// As many wait as may wait.
    Full,
}

/// What a decision came to.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Decided {
    /// It holds.
    Done,
    /// Somebody decided before.
    AlreadyDecided,
    /// There is no such login, or none any more.
    Unknown,
}

/// A code that was given out, and what it stands for.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct WaitingGrant {
    /// The code.
    pub code: LoginId,
    /// The client that it was made for.
    pub client_id: String,
    /// What was asked for, a JSON object.
    pub request: String,
    /// What was granted, a JSON object.
    pub grant: String,
    /// When the code ends.
    pub expires_at: Timestamp,
    /// What it gave already.
    pub used: Option<UsedCode>,
}

/// What a code is redeemed for.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct CodeUse {
    /// The family that begins.
    pub family: Family,
    /// The access token.
    pub jti: TokenId,
    /// When that token ends.
    pub token_expires_at: Timestamp,
}

impl CodeUse {
    /// What is remembered of it.
    pub fn used(&self) -> UsedCode {
        UsedCode { fid: self.family.fid, jti: self.jti, token_expires_at: self.token_expires_at }
    }
}

/// What redeeming a code came to.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum CodeRedeemed {
    /// The family began.
    Granted,
    /// The code was used before: what it gave is revoked (RFC 6749 §4.1.2).
    Replayed,
    /// There is no such code, or none any more.
    Unknown,
}

/// What a poll came to (RFC 8628 §3.5).
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Polled {
    /// Nobody decided yet.
    Pending,
    /// As [`Self::Pending`], and it came too early.
    SlowDown,
    /// The front-end refused, with this error.
    Refused(String),
    /// The front-end accepted.
    Accepted(WaitingGrant),
    /// The device code, or what it was accepted for, ended.
    Expired,
    /// This client has no such device code, or none any more.
    Unknown,
}

/// A request that its client pushed (RFC 9126).
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct PushedRequest {
    /// The `request_uri` that the client was given.
    pub id: LoginId,
    /// The client.
    pub client_id: String,
    /// What it asks for, a JSON object.
    pub request: String,
    /// When it ends.
    pub expires_at: Timestamp,
}

impl PendingLogin {
    /// A login that nobody decided yet.
    pub fn new(kind: LoginKind, handle: LoginId, client_id: String, request: String, now: Timestamp) -> Self {
        Self {
            handle,
            kind,
            client_id,
            request,
            user_code: None,
            created_at: now,
            expires_at: now,
            polling: DevicePolling::default(),
            state: LoginState::Pending,
        }
    }

    /// The same, ending `lifetime` after its beginning.
    pub fn lasting(mut self, lifetime: Duration) -> Self {
        self.expires_at = self.created_at.plus(lifetime);
        self
    }

    /// Whether it may be decided at `now`.
    pub fn is_open(&self, now: Timestamp) -> bool {
        self.state == LoginState::Pending && now < self.expires_at
    }

    /// Applies `decision`, where nobody decided before. The same code once more is the same decision: its answer was
    /// lost.
    pub fn decide(&mut self, decision: Decision, now: Timestamp) -> Decided {
        let decided_by = |decision: &Decision, code: &LoginId| matches!(decision, Decision::Accepted { code: given, .. } if given == code);
        match &self.state {
            LoginState::Accepted { code, .. } if decided_by(&decision, code) => return Decided::Done,
            LoginState::Accepted { .. } | LoginState::Refused { .. } if now < self.expires_at => {
                return Decided::AlreadyDecided;
            }
            LoginState::Pending if now < self.expires_at => {}
            LoginState::Accepted { .. } | LoginState::Refused { .. } | LoginState::Pending => return Decided::Unknown,
        }
        self.state = match decision {
            Decision::Refused { error } => LoginState::Refused { error },
            Decision::Accepted { code, grant, expires_at } => {
                LoginState::Accepted { code, grant, expires_at, used: None }
            }
        };
        Decided::Done
    }

    /// Notes that `client_id` polled. Another client's device code is unknown to it, and its poll changes nothing.
    pub fn poll(&mut self, client_id: &str, now: Timestamp) -> Polled {
        if self.kind != LoginKind::Device || self.client_id != client_id {
            return Polled::Unknown;
        }
        let is_over = now >= self.expires_at;
        match &self.state {
            LoginState::Accepted { expires_at, used: None, .. } if now >= *expires_at => Polled::Expired,
            LoginState::Accepted { .. } => self.waiting_grant().map_or(Polled::Unknown, Polled::Accepted),
            LoginState::Refused { .. } | LoginState::Pending if is_over => Polled::Expired,
            LoginState::Refused { error } => Polled::Refused(error.clone()),
            LoginState::Pending => {
                let DevicePolling { interval_seconds, polled_at } = self.polling;
                let interval = Duration::from_secs(interval_seconds.into());
                let is_early = polled_at.is_some_and(|polled_at| now < polled_at.plus(interval));
                self.polling.polled_at = Some(now);
                if is_early {
                    self.polling.interval_seconds = interval_seconds.saturating_add(DevicePolling::STEP_SECONDS);
                    return Polled::SlowDown;
                }
                Polled::Pending
            }
        }
    }

    /// Redeems its code. Where that is granted, the family of `used` is to begin in the same transaction, if the login
    /// changed; where it is a replay, what [`Self::used`] names is to be revoked.
    pub fn redeem(&mut self, using: &UsedCode, now: Timestamp) -> CodeRedeemed {
        let is_logout = self.kind == LoginKind::Logout;
        match &mut self.state {
            LoginState::Accepted { .. } if is_logout => CodeRedeemed::Unknown,
            // Its own answer was lost.
            LoginState::Accepted { used: Some(used), .. } if used == using => CodeRedeemed::Granted,
            LoginState::Accepted { used: Some(_), .. } => CodeRedeemed::Replayed,
            LoginState::Accepted { expires_at, used, .. } if now < *expires_at => {
                *used = Some(*using);
                CodeRedeemed::Granted
            }
            LoginState::Accepted { .. } | LoginState::Refused { .. } | LoginState::Pending => CodeRedeemed::Unknown,
        }
    }

    /// What its code gave.
    pub fn used(&self) -> Option<UsedCode> {
        match self.state {
            LoginState::Accepted { used, .. } => used,
            LoginState::Refused { .. } | LoginState::Pending => None,
        }
    }

    /// Its code, and what that stands for.
    pub fn waiting_grant(&self) -> Option<WaitingGrant> {
        let LoginState::Accepted { code, grant, expires_at, used } = &self.state else {
            return None;
        };
        Some(WaitingGrant {
            code: *code,
            client_id: self.client_id.clone(),
            request: self.request.clone(),
            grant: grant.clone(),
            expires_at: *expires_at,
            used: *used,
        })
    }

    /// When nobody can do anything with it any more: until then a code that is presented again revokes what it gave.
    /// A device code stays for as long again as it was good, to be told apart from one that never was.
    pub fn forgotten_at(&self) -> Timestamp {
        let end = match self.kind {
            LoginKind::Device => self.expires_at.plus(self.expires_at.since(self.created_at)),
            LoginKind::Authorization | LoginKind::Logout => self.expires_at,
        };
        match &self.state {
            LoginState::Accepted { expires_at, used, .. } => {
                let token_end = used.map_or(end, |used| used.token_expires_at);
                end.max(*expires_at).max(token_end)
            }
            LoginState::Refused { .. } | LoginState::Pending => end,
        }
    }
}
