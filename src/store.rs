//! What mintkeep remembers, and the [`Store`] trait: atomic steps of the protocol, not
//! create-read-update-delete. Nobody finds a record, changes it, and writes it back.

pub mod claim;
pub mod family;
pub mod key;
pub mod login;
pub mod postgres;
pub mod registered_client;
pub mod revocation;
pub mod shared_secret;
pub mod sqlite;
pub mod transfer;

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use crate::clock::Timestamp;

pub use claim::{ClaimId, Claimed, OnceClaim};
pub use family::{Family, FamilyId, Redeemed, Redemption};
pub use key::{KeyRecord, KeyState, Life};
pub use login::{
    BegunLogin, CodeRedeemed, CodeUse, Decided, Decision, LoginId, LoginKind, LoginState, PendingLogin, Polled,
    PushedRequest, UsedCode, WaitingGrant,
};
pub use registered_client::{AddedClient, RegisteredClient};
pub use revocation::{Page, RevokedToken, Selection, TokenId};
pub use shared_secret::SharedSecret;

/// A step under way. Dropping it does not undo it: a step that was begun may still be carried out.
pub type Step<'a, Value> = Pin<Box<dyn Future<Output = Result<Value, Error>> + Send + 'a>>;

/// Durable memory.
///
/// A step that changes something is durable when its future ends with `Ok`: after that neither a
/// kill of this process nor a loss of power undoes it. Steps from any number of tasks, and from other
/// processes on the same store, are as if they had happened one after the other. A step that ended with
/// an error may or may not have happened, and is safe to repeat.
pub trait Store: Send + Sync {
    /// Begins a refresh family.
    fn begin_family(&self, family: Family) -> Step<'_, ()>;

    /// The family, as it was last committed; `None` where there is none, or none any more.
    fn family(&self, fid: FamilyId) -> Step<'_, Option<Family>>;

    /// Applies [`Family::redeem`] to the family as it is at that moment: the compare-and-swap of
    /// rotation. `None` where there is no such family. `read` is the family as the caller found it: where it is
    /// still like that, a store need not read it again.
    fn redeem(&self, read: Family, redemption: Redemption) -> Step<'_, Option<Redeemed>>;

    /// The families that `selection` matches, revoked and ended ones included, as far as they were not
    /// pruned.
    fn families(&self, selection: Selection, page: Page) -> Step<'_, Vec<Family>>;

    /// Revokes at `now` the families that `selection` matches and that were not revoked before; says how
    /// many.
    fn revoke_families(&self, selection: Selection, now: Timestamp) -> Step<'_, usize>;

    /// Revokes one access token, and remembers it until it ends by itself.
    fn revoke_token(&self, token: RevokedToken) -> Step<'_, ()>;

    /// Whether the access token `jti` was revoked, by itself or with the family `sid` that it came from. A
    /// family that is not there counts as revoked: none is pruned before its access tokens ended.
    fn is_revoked(&self, jti: TokenId, sid: Option<FamilyId>) -> Step<'_, bool>;

    /// Removes up to `limit` families, and as many revoked access tokens, claims, logins and pushed requests, that
    /// ended by `now`; says how many in all.
    fn prune(&self, now: Timestamp, limit: u32) -> Step<'_, usize>;

    /// Commits something that changes nothing: ends well where a real step would.
    fn probe(&self) -> Step<'_, ()>;

    /// How far the clocks of those who share the store may be apart; zero where all have the same one. Who judges
    /// by the clock whether something ended allows for that much.
    fn clock_tolerance(&self) -> Duration;

    /// The access tokens that are revoked one by one, in the order of their names, at the most `limit` of them
    /// behind `after`.
    fn revoked_tokens(&self, after: Option<TokenId>, limit: u32) -> Step<'_, Vec<RevokedToken>>;

    /// All keys that are in use, were, or are to be, in the order of their names.
    fn keys(&self) -> Step<'_, Vec<KeyRecord>>;

    /// Adds keys. One that is there already stays as it is.
    fn add_keys(&self, keys: Vec<KeyRecord>) -> Step<'_, ()>;

    /// Moves a key on in its life: a compare-and-swap. `false` where its life is not `from`, or there is no such key.
    fn move_key(&self, kid: String, from: Life, to: Life, needed_until: Timestamp) -> Step<'_, bool>;

    /// Notes that a key made `uses` more tokens, the last of which ends by `needed_until`. A step that failed may
    /// have counted.
    fn note_key_use(&self, kid: String, uses: u64, needed_until: Timestamp) -> Step<'_, ()>;

    /// Claims something that may be used once. Of all that claim the same, whenever and wherever, one is
    /// [`Claimed::First`] at the most; nobody is where the answer to the first one was lost on its way from the store.
    /// A claim holds until it is pruned, and nothing else makes room: how many there may be is for the caller to limit.
    fn claim(&self, claim: OnceClaim) -> Step<'_, Claimed>;

    /// How many claims are kept, counted up to `limit`: for one who starts, and counts for itself from then on.
    fn count_claims(&self, limit: u32) -> Step<'_, u32>;

    /// The claims, in the order of their names, at the most `limit` of them behind `after`.
    fn claims(&self, after: Option<ClaimId>, limit: u32) -> Step<'_, Vec<OnceClaim>>;

    /// The secret of that name, the same for all who ask: the `candidate` of whoever came first. One that is there is
    /// found also where the store takes no writes.
    fn shared_secret(&self, name: &'static str, candidate: [u8; 32]) -> Step<'_, [u8; 32]>;

    /// The shared secrets, in the order of their names, at the most `limit` of them behind `after`.
    fn shared_secrets(&self, after: Option<String>, limit: u32) -> Step<'_, Vec<SharedSecret>>;

    /// Adds a client that registered itself, where fewer than `most` are there. One that is there just like that counts
    /// as added.
    fn add_client(&self, client: RegisteredClient, most: u32) -> Step<'_, AddedClient>;

    /// The client of that name, among those that registered themselves.
    fn client(&self, client_id: String) -> Step<'_, Option<RegisteredClient>>;

    /// Puts the document and the token of `client` in the place of its present ones, and leaves its times as they are: a
    /// compare-and-swap. `false` where its token is not the expected one, or there is no such client.
    fn replace_client(&self, expected_token_hash: [u8; 32], client: RegisteredClient) -> Step<'_, bool>;

    /// Notes when a client was used. The latest time stays.
    fn note_client_use(&self, client_id: String, used_at: Timestamp) -> Step<'_, ()>;

    /// Removes a client, and with that revokes at `now` the families that it has. `false` where its token is not the
    /// expected one, or there is no such client.
    fn remove_client(&self, client_id: String, expected_token_hash: [u8; 32], now: Timestamp) -> Step<'_, bool>;

    /// The clients that registered themselves, in the order of their names, at the most `limit` of them behind `after`.
    fn clients(&self, after: Option<String>, limit: u32) -> Step<'_, Vec<RegisteredClient>>;

    /// Keeps a request until a front-end decides on it, where fewer than `most` wait for that. The same one once more
    /// counts as begun.
    fn begin_login(&self, login: PendingLogin, most: u32) -> Step<'_, BegunLogin>;

    /// The login of that handle, whether or not it ended or was decided.
    fn login(&self, handle: LoginId) -> Step<'_, Option<PendingLogin>>;

    /// The device's login of that user code, whether or not it ended or was decided.
    fn login_by_user_code(&self, user_code: LoginId) -> Step<'_, Option<PendingLogin>>;

    /// Applies [`PendingLogin::decide`]: a compare-and-swap. Of two decisions one is [`Decided::Done`].
    fn decide_login(&self, handle: LoginId, decision: Decision, now: Timestamp) -> Step<'_, Decided>;

    /// What an authorization code stands for, whether or not it ended or was used. A device's is no such code.
    fn code(&self, code: LoginId) -> Step<'_, Option<WaitingGrant>>;

    /// Applies [`PendingLogin::redeem`] to the login whose code that is: the first time the family of `using` begins, and
    /// any other time the family and the access token that the first one gave are revoked, in the same transaction.
    fn redeem_code(&self, code: LoginId, using: CodeUse, now: Timestamp) -> Step<'_, CodeRedeemed>;

    /// Applies [`PendingLogin::poll`] to the login whose device code that is.
    fn poll_device(&self, device_code: LoginId, client_id: String, now: Timestamp) -> Step<'_, Polled>;

    /// The logins, in the order of their handles, at the most `limit` of them behind `after`.
    fn logins(&self, after: Option<LoginId>, limit: u32) -> Step<'_, Vec<PendingLogin>>;

    /// Keeps a request that was pushed, where fewer than `most` are kept; `false` where there is no room. The same one
    /// once more counts as kept.
    fn push_request(&self, request: PushedRequest, most: u32) -> Step<'_, bool>;

    /// The pushed request of that name, whether or not it ended.
    fn pushed_request(&self, id: LoginId) -> Step<'_, Option<PushedRequest>>;

    /// Takes the pushed request of that name out, so that nobody else gets it; none where it ended by `now`.
    fn take_pushed_request(&self, id: LoginId, now: Timestamp) -> Step<'_, Option<PushedRequest>>;

    /// The pushed requests, in the order of their names, at the most `limit` of them behind `after`.
    fn pushed_requests(&self, after: Option<LoginId>, limit: u32) -> Step<'_, Vec<PushedRequest>>;

    /// Revokes at `now` the families of a front-end's session that lived; gives them, as they are then.
    fn revoke_session(&self, session: String, now: Timestamp) -> Step<'_, Vec<Family>>;

    /// Adds what another store held, as it was there. What is there already stays as it is.
    fn restore(&self, records: Records) -> Step<'_, ()>;
}

/// What is carried from one store to another, beside the keys ([`Store::add_keys`]).
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Records {
    /// Refresh families.
    pub families: Vec<Family>,
    /// Access tokens that were revoked one by one.
    pub revoked_tokens: Vec<RevokedToken>,
    /// What was used and may not be again.
    pub claims: Vec<OnceClaim>,
    /// Values that all nodes share.
    pub shared_secrets: Vec<SharedSecret>,
    /// Clients that registered themselves, however many.
    pub clients: Vec<RegisteredClient>,
    /// Logins under way, however many.
    pub logins: Vec<PendingLogin>,
    /// Requests that were pushed, however many.
    pub pushed_requests: Vec<PushedRequest>,
}

/// Why a step failed.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Error {
    /// The store could not be opened.
    #[error("cannot open the store {path}: {reason}")]
    Open {
        /// Where it should be.
        path: String,
        /// What went wrong, and what to do.
        reason: String,
    },
    /// The store did not carry out the step: its disk is full, read-only or failing.
    #[error("the store failed: {0}")]
    Failed(String),
    /// More steps wait than may wait.
    #[error("the store is busy")]
    Busy,
}
