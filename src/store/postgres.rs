//! The cluster store: PostgreSQL, or what speaks its protocol and its SQL. Any number of nodes share it.
//!
//! What a request waits for goes in batches ([`batch`]): the family is read, and later swapped, together with
//! those of all other requests that wait ([`redeem`]). Nothing is kept between two steps, so every node knows at
//! once what another one committed.

mod batch;
mod claims;
mod families;
mod keys;
mod login_rows;
mod logins;
mod pool;
mod pushed_requests;
mod read;
mod redeem;
mod registered_clients;
mod rows;
mod schema;
mod secrets;
mod selection;
mod tokens;
mod url;

use std::sync::Arc;
use std::time::Duration;

use self::batch::Batches;
use self::claims::Claim;
use self::logins::{By, FindCode};
use self::pool::{LONG_LIMIT, Pool};
use self::read::{FindFamily, FindRevoked};
use self::redeem::Redeem;
use self::registered_clients::FindClient;
use super::{
    AddedClient, BegunLogin, ClaimId, Claimed, CodeRedeemed, CodeUse, Decided, Decision, Error, Family, FamilyId,
    KeyRecord, Life, LoginId, OnceClaim, Page, PendingLogin, Polled, PushedRequest, Records, Redeemed, Redemption,
    RegisteredClient, RevokedToken, Selection, SharedSecret, Step, Store, TokenId, WaitingGrant,
};
use crate::clock::Timestamp;

pub use self::url::PostgresUrl;

/// How far the clocks of two nodes may be apart.
const CLOCK_TOLERANCE: Duration = Duration::from_secs(5);

/// A family that a redemption holds just now is left for the next time, rather than waited for.
const PRUNE: [&str; 5] = [
    "DELETE FROM family WHERE fid IN
         (SELECT fid FROM family WHERE expires_at <= $1 ORDER BY expires_at LIMIT $2 FOR UPDATE SKIP LOCKED)",
    "DELETE FROM revoked_token WHERE jti IN
         (SELECT jti FROM revoked_token WHERE expires_at <= $1 ORDER BY expires_at LIMIT $2 FOR UPDATE SKIP LOCKED)",
    "DELETE FROM claimed WHERE id IN
         (SELECT id FROM claimed WHERE expires_at <= $1 ORDER BY expires_at LIMIT $2 FOR UPDATE SKIP LOCKED)",
    "WITH ended AS (
         SELECT handle FROM login WHERE forgotten_at <= $1 ORDER BY forgotten_at LIMIT $2 FOR UPDATE SKIP LOCKED
     ), gone AS (
         DELETE FROM login WHERE handle IN (SELECT handle FROM ended) RETURNING state
     ), counted AS (
         UPDATE waiting SET count = count - (SELECT count(*) FROM gone WHERE state = 'pending') WHERE name = 'login'
            AND EXISTS (SELECT 1 FROM gone WHERE state = 'pending')
     )
     SELECT 1 FROM gone",
    "WITH ended AS (
         SELECT id FROM pushed_request WHERE expires_at <= $1 ORDER BY expires_at LIMIT $2 FOR UPDATE SKIP LOCKED
     ), gone AS (
         DELETE FROM pushed_request WHERE id IN (SELECT id FROM ended) RETURNING id
     ), counted AS (
         UPDATE waiting SET count = count - (SELECT count(*) FROM gone) WHERE name = 'pushed_request'
            AND EXISTS (SELECT 1 FROM gone)
     )
     SELECT 1 FROM gone",
];

/// A store in a database that other nodes use too.
pub struct PostgresStore {
    pool: Pool,
    redemptions: Batches<Redeem>,
    claims: Batches<Claim>,
    family_reads: Batches<FindFamily>,
    client_reads: Batches<FindClient>,
    code_reads: Batches<FindCode>,
    revocation_reads: Batches<FindRevoked>,
}

impl PostgresStore {
    /// Connects to the database at `url`, whose schema must be this release's.
    ///
    /// # Errors
    /// [`Error::Open`] where the schema is another one, and says what to do; [`Error::Failed`] where there is no
    /// connection.
    pub async fn open(url: &PostgresUrl) -> Result<Self, Error> {
        if url.is_in_the_clear() {
            tracing::warn!(%url, "the connection to the database is not encrypted (sslmode=disable)");
        }
        let pool = Pool::new(url)?;
        schema::check(url, &pool).await.map_err(|error| at(url, error))?;
        Ok(Self {
            redemptions: Batches::start(&pool),
            claims: Batches::start(&pool),
            family_reads: Batches::start(&pool),
            client_reads: Batches::start(&pool),
            code_reads: Batches::start(&pool),
            revocation_reads: Batches::start(&pool),
            pool,
        })
    }

    /// Moves the schema of the database at `url` to this release's, and makes it where there is none; says how many
    /// steps that took. Nodes of the release before must not be started after it.
    ///
    /// # Errors
    /// As [`Self::open`]; the schema is then as it was, or some of the steps were done.
    pub async fn migrate(url: &PostgresUrl) -> Result<usize, Error> {
        let pool = Pool::new(url)?;
        schema::migrate(url, &pool).await.map_err(|error| at(url, error))
    }
}

/// A failure to get at the database names it.
fn at(url: &PostgresUrl, error: Error) -> Error {
    match error {
        Error::Failed(reason) => Error::Open { path: url.to_string(), reason },
        other => other,
    }
}

impl Store for PostgresStore {
    fn begin_family(&self, family: Family) -> Step<'_, ()> {
        Box::pin(families::begin(&self.pool, family))
    }

    fn family(&self, fid: FamilyId) -> Step<'_, Option<Family>> {
        self.family_reads.step(fid)
    }

    fn redeem(&self, read: Family, redemption: Redemption) -> Step<'_, Option<Redeemed>> {
        self.redemptions.step((read, redemption))
    }

    fn families(&self, selection: Selection, page: Page) -> Step<'_, Vec<Family>> {
        Box::pin(async move { families::list(&self.pool, &selection, page).await })
    }

    fn revoke_families(&self, selection: Selection, now: Timestamp) -> Step<'_, usize> {
        Box::pin(async move { families::revoke(&self.pool, &selection, now).await })
    }

    fn revoke_token(&self, token: RevokedToken) -> Step<'_, ()> {
        Box::pin(async move {
            self.pool
                .step(|connection| {
                    Box::pin(async move { tokens::insert_tokens(connection, std::slice::from_ref(&token)).await })
                })
                .await
        })
    }

    fn is_revoked(&self, jti: TokenId, sid: Option<FamilyId>) -> Step<'_, bool> {
        self.revocation_reads.step((jti, sid))
    }

    fn prune(&self, now: Timestamp, limit: u32) -> Step<'_, usize> {
        Box::pin(async move {
            let removed = self
                .pool
                .within(LONG_LIMIT, |connection| {
                    Box::pin(async move {
                        let (now, limit) = (now.unix_seconds(), i64::from(limit));
                        let mut removed = 0;
                        for text in PRUNE {
                            removed += connection.execute(text, &[&now, &limit]).await?;
                        }
                        Ok(removed)
                    })
                })
                .await?;
            Ok(usize::try_from(removed).unwrap_or(usize::MAX))
        })
    }

    fn probe(&self) -> Step<'_, ()> {
        Box::pin(async move {
            self.pool
                .step(|connection| {
                    let probe = "UPDATE probe SET count = count + 1 WHERE id = 1";
                    Box::pin(async move { connection.execute(probe, &[]).await.map(drop) })
                })
                .await
        })
    }

    fn clock_tolerance(&self) -> Duration {
        CLOCK_TOLERANCE
    }

    fn revoked_tokens(&self, after: Option<TokenId>, limit: u32) -> Step<'_, Vec<RevokedToken>> {
        Box::pin(tokens::list(&self.pool, after, limit))
    }

    fn keys(&self) -> Step<'_, Vec<KeyRecord>> {
        Box::pin(async move { self.pool.step(|connection| Box::pin(keys::select_keys(connection))).await })
    }

    fn add_keys(&self, keys: Vec<KeyRecord>) -> Step<'_, ()> {
        Box::pin(async move {
            for key in &keys {
                self.pool
                    .step(|connection| {
                        let key = key.clone();
                        Box::pin(async move { keys::insert_key(connection, &key).await })
                    })
                    .await?;
            }
            Ok(())
        })
    }

    fn move_key(&self, kid: String, from: Life, to: Life, needed_until: Timestamp) -> Step<'_, bool> {
        Box::pin(async move {
            self.pool
                .step(|connection| {
                    let kid = kid.clone();
                    Box::pin(async move { keys::move_key(connection, &kid, from, to, needed_until).await })
                })
                .await
        })
    }

    fn note_key_use(&self, kid: String, uses: u64, needed_until: Timestamp) -> Step<'_, ()> {
        Box::pin(async move {
            self.pool
                .step(|connection| {
                    let kid = kid.clone();
                    Box::pin(async move { keys::note_use(connection, &kid, uses, needed_until).await })
                })
                .await
        })
    }

    fn claim(&self, claim: OnceClaim) -> Step<'_, Claimed> {
        self.claims.step(claim)
    }

    fn count_claims(&self, limit: u32) -> Step<'_, u32> {
        Box::pin(claims::count(&self.pool, limit))
    }

    fn claims(&self, after: Option<ClaimId>, limit: u32) -> Step<'_, Vec<OnceClaim>> {
        Box::pin(claims::list(&self.pool, after, limit))
    }

    fn shared_secret(&self, name: &'static str, candidate: [u8; 32]) -> Step<'_, [u8; 32]> {
        Box::pin(secrets::find_or_insert(&self.pool, name, candidate))
    }

    fn shared_secrets(&self, after: Option<String>, limit: u32) -> Step<'_, Vec<SharedSecret>> {
        Box::pin(secrets::list(&self.pool, after, limit))
    }

    fn add_client(&self, client: RegisteredClient, most: u32) -> Step<'_, AddedClient> {
        Box::pin(registered_clients::add(&self.pool, client, most))
    }

    fn client(&self, client_id: String) -> Step<'_, Option<RegisteredClient>> {
        self.client_reads.step(client_id)
    }

    fn replace_client(&self, expected_token_hash: [u8; 32], client: RegisteredClient) -> Step<'_, bool> {
        Box::pin(registered_clients::replace(&self.pool, expected_token_hash, client))
    }

    fn note_client_use(&self, client_id: String, used_at: Timestamp) -> Step<'_, ()> {
        Box::pin(registered_clients::note_use(&self.pool, client_id, used_at))
    }

    fn remove_client(&self, client_id: String, expected_token_hash: [u8; 32], now: Timestamp) -> Step<'_, bool> {
        Box::pin(registered_clients::remove(&self.pool, client_id, expected_token_hash, now))
    }

    fn clients(&self, after: Option<String>, limit: u32) -> Step<'_, Vec<RegisteredClient>> {
        Box::pin(registered_clients::list(&self.pool, after, limit))
    }

    fn begin_login(&self, login: PendingLogin, most: u32) -> Step<'_, BegunLogin> {
        Box::pin(logins::begin(&self.pool, login, most))
    }

    fn login(&self, handle: LoginId) -> Step<'_, Option<PendingLogin>> {
        Box::pin(logins::find(&self.pool, By::Handle, handle))
    }

    fn login_by_user_code(&self, user_code: LoginId) -> Step<'_, Option<PendingLogin>> {
        Box::pin(logins::find(&self.pool, By::UserCode, user_code))
    }

    fn decide_login(&self, handle: LoginId, decision: Decision, now: Timestamp) -> Step<'_, Decided> {
        Box::pin(logins::decide(&self.pool, handle, decision, now))
    }

    fn code(&self, code: LoginId) -> Step<'_, Option<WaitingGrant>> {
        self.code_reads.step(code)
    }

    fn redeem_code(&self, code: LoginId, using: CodeUse, now: Timestamp) -> Step<'_, CodeRedeemed> {
        Box::pin(logins::redeem(&self.pool, code, using, now))
    }

    fn poll_device(&self, device_code: LoginId, client_id: String, now: Timestamp) -> Step<'_, Polled> {
        Box::pin(logins::poll(&self.pool, device_code, client_id, now))
    }

    fn logins(&self, after: Option<LoginId>, limit: u32) -> Step<'_, Vec<PendingLogin>> {
        Box::pin(logins::list(&self.pool, after, limit))
    }

    fn push_request(&self, request: PushedRequest, most: u32) -> Step<'_, bool> {
        Box::pin(pushed_requests::push(&self.pool, request, most))
    }

    fn pushed_request(&self, id: LoginId) -> Step<'_, Option<PushedRequest>> {
        Box::pin(pushed_requests::find(&self.pool, id))
    }

    fn take_pushed_request(&self, id: LoginId, now: Timestamp) -> Step<'_, Option<PushedRequest>> {
        Box::pin(pushed_requests::take(&self.pool, id, now))
    }

    fn pushed_requests(&self, after: Option<LoginId>, limit: u32) -> Step<'_, Vec<PushedRequest>> {
        Box::pin(pushed_requests::list(&self.pool, after, limit))
    }

    fn revoke_session(&self, session: String, now: Timestamp) -> Step<'_, Vec<Family>> {
        Box::pin(families::revoke_session(&self.pool, session, now))
    }

    fn restore(&self, records: Records) -> Step<'_, ()> {
        let records = Arc::new(records);
        Box::pin(async move {
            self.pool
                .within(LONG_LIMIT, |connection| {
                    let records = Arc::clone(&records);
                    Box::pin(async move {
                        families::insert_families(connection, &records.families).await?;
                        tokens::insert_tokens(connection, &records.revoked_tokens).await?;
                        claims::insert_claims(connection, &records.claims).await?;
                        for secret in &records.shared_secrets {
                            secrets::insert_secret(connection, secret).await?;
                        }
                        for client in &records.clients {
                            registered_clients::restore(connection, client).await?;
                        }
                        for login in &records.logins {
                            logins::restore(connection, login).await?;
                        }
                        for request in &records.pushed_requests {
                            pushed_requests::restore(connection, request).await?;
                        }
                        Ok(())
                    })
                })
                .await
        })
    }
}
