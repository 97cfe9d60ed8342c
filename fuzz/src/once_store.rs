//! A store that remembers what was used, and nothing else.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use mintkeep::clock::Timestamp;
use mintkeep::oauth::once::UsedOnce;
use mintkeep::store::{
    AddedClient, BegunLogin, ClaimId, Claimed, CodeRedeemed, CodeUse, Decided, Decision, Error, Family, FamilyId,
    KeyRecord, Life, LoginId, OnceClaim, Page, PendingLogin, Polled, PushedRequest, Records, Redeemed, Redemption,
    RegisteredClient, RevokedToken, Selection, SharedSecret, Step, Store, TokenId, WaitingGrant,
};

use super::scene::{clock, finished};

/// Nothing was used yet.
pub fn nothing_used() -> Arc<UsedOnce> {
    let used = finished(UsedOnce::new(Arc::new(OnceStore::default()), clock()));
    Arc::new(used.expect("an empty store can be counted"))
}

/// A store of its own for who only reads it.
pub fn store() -> Arc<dyn Store> {
    Arc::new(OnceStore::default())
}

#[derive(Default)]
struct OnceStore(Mutex<BTreeSet<ClaimId>>);

/// Steps that nobody who is fuzzed takes.
macro_rules! refused {
    ($($step:ident($($argument:ty),*) -> $value:ty;)*) => {
        $(fn $step(&self, $(_: $argument),*) -> Step<'_, $value> {
            Box::pin(async { Err(Error::Busy) })
        })*
    };
}

impl Store for OnceStore {
    fn claim(&self, claim: OnceClaim) -> Step<'_, Claimed> {
        let is_first = self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(claim.id);
        Box::pin(async move { Ok(if is_first { Claimed::First } else { Claimed::Replayed }) })
    }

    fn count_claims(&self, _limit: u32) -> Step<'_, u32> {
        Box::pin(async { Ok(0) })
    }

    fn clock_tolerance(&self) -> Duration {
        Duration::ZERO
    }

    refused! {
        begin_family(Family) -> ();
        family(FamilyId) -> Option<Family>;
        redeem(Family, Redemption) -> Option<Redeemed>;
        families(Selection, Page) -> Vec<Family>;
        revoke_families(Selection, Timestamp) -> usize;
        revoke_token(RevokedToken) -> ();
        is_revoked(TokenId, Option<FamilyId>) -> bool;
        prune(Timestamp, u32) -> usize;
        probe() -> ();
        revoked_tokens(Option<TokenId>, u32) -> Vec<RevokedToken>;
        keys() -> Vec<KeyRecord>;
        add_keys(Vec<KeyRecord>) -> ();
        move_key(String, Life, Life, Timestamp) -> bool;
        note_key_use(String, u64, Timestamp) -> ();
        claims(Option<ClaimId>, u32) -> Vec<OnceClaim>;
        shared_secret(&'static str, [u8; 32]) -> [u8; 32];
        shared_secrets(Option<String>, u32) -> Vec<SharedSecret>;
        add_client(RegisteredClient, u32) -> AddedClient;
        client(String) -> Option<RegisteredClient>;
        replace_client([u8; 32], RegisteredClient) -> bool;
        note_client_use(String, Timestamp) -> ();
        remove_client(String, [u8; 32], Timestamp) -> bool;
        clients(Option<String>, u32) -> Vec<RegisteredClient>;
        begin_login(PendingLogin, u32) -> BegunLogin;
        login(LoginId) -> Option<PendingLogin>;
        login_by_user_code(LoginId) -> Option<PendingLogin>;
        decide_login(LoginId, Decision, Timestamp) -> Decided;
        code(LoginId) -> Option<WaitingGrant>;
        redeem_code(LoginId, CodeUse, Timestamp) -> CodeRedeemed;
        poll_device(LoginId, String, Timestamp) -> Polled;
        logins(Option<LoginId>, u32) -> Vec<PendingLogin>;
        push_request(PushedRequest, u32) -> bool;
        pushed_request(LoginId) -> Option<PushedRequest>;
        take_pushed_request(LoginId, Timestamp) -> Option<PushedRequest>;
        pushed_requests(Option<LoginId>, u32) -> Vec<PushedRequest>;
        revoke_session(String, Timestamp) -> Vec<Family>;
        restore(Records) -> ();
    }
}
