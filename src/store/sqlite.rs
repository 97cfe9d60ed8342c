//! The embedded store: one SQLite file, its statements here, its threads in [`threads`].
//!
//! Writes go through one thread that commits many steps at once; reads have a thread of their own.

mod fault;
mod open;
mod claims;
mod copy;
mod families;
mod keys;
mod logins;
mod queue;
mod registered_clients;
mod group_commit;
mod threads;

/// What synchronises the queue; `tests/loom.rs` puts loom's in the place of these.
mod sync {
    pub(super) use std::sync::{Arc, Condvar, Mutex, MutexGuard};
}

use std::fs::File;
use std::path::Path;
use std::time::Duration;

use rusqlite::{Connection, Row, params, params_from_iter};

pub use self::copy::back_up;
use self::families::{FAMILY_COLUMNS, Query, family_of, insert_family, select_family, update_family};
use self::open::{Connections, open, open_alone};
use self::threads::{Reader, Writer};
use super::{
    AddedClient, BegunLogin, ClaimId, Claimed, CodeRedeemed, CodeUse, Decided, Decision, Error, Family, FamilyId,
    KeyRecord, Life, LoginId, OnceClaim, Page, PendingLogin, Polled, PushedRequest, Records, Redeemed, Redemption,
    RegisteredClient, RevokedToken, Selection, SharedSecret, Step, Store, TokenId, WaitingGrant,
};
use crate::clock::Timestamp;

/// Tables whose rows end, the column that names a row, and the one that says when it ends.
const ENDING: [(&str, &str, &str); 5] = [
    ("family", "fid", "expires_at"),
    ("revoked_token", "jti", "expires_at"),
    ("claimed", "id", "expires_at"),
    ("login", "handle", "forgotten_at"),
    ("pushed_request", "id", "expires_at"),
];

/// A store in one file.
pub struct SqliteStore {
    writer: Writer,
    reader: Reader,
    /// Held by who must be alone.
    _lock: Option<File>,
}

impl SqliteStore {
    /// Opens the store at `path`, and makes it, readable by its owner only, where there is none.
    ///
    /// # Errors
    /// [`Error::Open`] names the path and what to do.
    pub fn open(path: &Path) -> Result<Self, Error> {
        Self::with(path, open(path)?, None)
    }

    /// Opens the store at `path`, which must be there, and keeps everybody else out for as long as it is open.
    ///
    /// # Errors
    /// [`Error::Open`], also where another process has it open.
    pub fn open_alone(path: &Path) -> Result<Self, Error> {
        let (connections, lock) = open_alone(path)?;
        Self::with(path, connections, Some(lock))
    }

    fn with(path: &Path, connections: Connections, lock: Option<File>) -> Result<Self, Error> {
        let failed =
            |error: std::io::Error| Error::Open { path: path.display().to_string(), reason: error.to_string() };
        let Connections { writing, reading } = connections;
        Ok(Self {
            writer: Writer::start(writing).map_err(failed)?,
            reader: Reader::start(reading).map_err(failed)?,
            _lock: lock,
        })
    }
}

impl Store for SqliteStore {
    fn begin_family(&self, family: Family) -> Step<'_, ()> {
        self.writer.step(move |connection| insert_family(connection, &family))
    }

    fn family(&self, fid: FamilyId) -> Step<'_, Option<Family>> {
        self.reader.step(move |connection| select_family(connection, fid))
    }

    fn redeem(&self, read: Family, redemption: Redemption) -> Step<'_, Option<Redeemed>> {
        self.writer.step(move |connection| {
            // Within the transaction, where a read costs next to nothing.
            let Some(before) = select_family(connection, read.fid)? else {
                return Ok(None);
            };
            let mut family = before.clone();
            let redeemed = family.redeem(&redemption);
            if family != before {
                update_family(connection, &family)?;
            }
            Ok(Some(redeemed))
        })
    }

    fn families(&self, selection: Selection, page: Page) -> Step<'_, Vec<Family>> {
        self.reader.step(move |connection| {
            let mut query = Query::of(&selection);
            if let Some(after) = page.after {
                query.and("fid > ", after.0.to_vec());
            }
            let Query { conditions, mut values } = query;
            values.push(page.limit.into());
            let text = format!("SELECT {FAMILY_COLUMNS} FROM family WHERE {conditions} ORDER BY fid LIMIT ?");
            connection.prepare_cached(&text)?.query_map(params_from_iter(values), family_of)?.collect()
        })
    }

    fn revoke_families(&self, selection: Selection, now: Timestamp) -> Step<'_, usize> {
        self.writer.step(move |connection| {
            let Query { conditions, mut values } = Query::of(&selection);
            values.insert(0, now.unix_seconds().into());
            let text = format!("UPDATE family SET revoked_at = ? WHERE {conditions} AND revoked_at IS NULL");
            connection.prepare_cached(&text)?.execute(params_from_iter(values))
        })
    }

    fn revoke_token(&self, token: RevokedToken) -> Step<'_, ()> {
        self.writer.step(move |connection| insert_token(connection, token))
    }

    fn is_revoked(&self, jti: TokenId, sid: Option<FamilyId>) -> Step<'_, bool> {
        self.reader.step(move |connection| {
            let mut statement = connection.prepare_cached(
                "SELECT EXISTS (SELECT 1 FROM revoked_token WHERE jti = ?1)
                     OR ?2 IS NOT NULL AND NOT EXISTS (SELECT 1 FROM family WHERE fid = ?2 AND revoked_at IS NULL)",
            )?;
            statement.query_row(params![jti.0, sid.map(|sid| sid.0)], |row| row.get(0))
        })
    }

    fn prune(&self, now: Timestamp, limit: u32) -> Step<'_, usize> {
        self.writer.step(move |connection| {
            let mut removed = 0;
            for (table, name, end) in ENDING {
                let mut statement = connection.prepare_cached(&format!(
                    "DELETE FROM {table} WHERE {name} IN
                         (SELECT {name} FROM {table} WHERE {end} <= ?1 ORDER BY {end} LIMIT ?2)"
                ))?;
                removed += statement.execute(params![now.unix_seconds(), limit])?;
            }
            Ok(removed)
        })
    }

    fn probe(&self) -> Step<'_, ()> {
        self.writer.step(|connection| {
            connection.prepare_cached("UPDATE probe SET count = count + 1 WHERE id = 1")?.execute([]).map(drop)
        })
    }

    fn clock_tolerance(&self) -> Duration {
        Duration::ZERO
    }

    fn revoked_tokens(&self, after: Option<TokenId>, limit: u32) -> Step<'_, Vec<RevokedToken>> {
        self.reader.step(move |connection| {
            let mut statement = connection.prepare_cached(
                "SELECT jti, expires_at FROM revoked_token WHERE ?1 IS NULL OR jti > ?1 ORDER BY jti LIMIT ?2",
            )?;
            let token = |row: &Row<'_>| {
                Ok(RevokedToken { jti: TokenId(row.get(0)?), expires_at: Timestamp::from_unix_seconds(row.get(1)?) })
            };
            statement.query_map(params![after.map(|jti| jti.0), limit], token)?.collect()
        })
    }

    fn keys(&self) -> Step<'_, Vec<KeyRecord>> {
        self.reader.step(keys::select_keys)
    }

    fn add_keys(&self, keys: Vec<KeyRecord>) -> Step<'_, ()> {
        self.writer.step(move |connection| keys.iter().try_for_each(|key| keys::insert_key(connection, key)))
    }

    fn move_key(&self, kid: String, from: Life, to: Life, needed_until: Timestamp) -> Step<'_, bool> {
        self.writer.step(move |connection| keys::move_key(connection, &kid, from, to, needed_until))
    }

    fn note_key_use(&self, kid: String, uses: u64, needed_until: Timestamp) -> Step<'_, ()> {
        self.writer.step(move |connection| keys::note_use(connection, &kid, uses, needed_until))
    }

    fn claim(&self, claim: OnceClaim) -> Step<'_, Claimed> {
        self.writer.step(move |connection| claims::insert_claim(connection, claim))
    }

    fn count_claims(&self, limit: u32) -> Step<'_, u32> {
        self.reader.step(move |connection| claims::count_claims(connection, limit))
    }

    fn claims(&self, after: Option<ClaimId>, limit: u32) -> Step<'_, Vec<OnceClaim>> {
        self.reader.step(move |connection| claims::select_claims(connection, after, limit))
    }

    fn shared_secret(&self, name: &'static str, candidate: [u8; 32]) -> Step<'_, [u8; 32]> {
        Box::pin(async move {
            // What is there is found also where nothing can be written.
            if let Some(value) = self.reader.step(|connection| claims::select_secret(connection, name)).await? {
                return Ok(value);
            }
            let step = self.writer.step(move |connection| {
                claims::insert_secret(connection, name, candidate)?;
                claims::select_secret(connection, name)
            });
            step.await?.ok_or_else(|| Error::Failed("a shared secret was removed".to_owned()))
        })
    }

    fn shared_secrets(&self, after: Option<String>, limit: u32) -> Step<'_, Vec<SharedSecret>> {
        self.reader.step(move |connection| claims::select_secrets(connection, after, limit))
    }

    fn add_client(&self, client: RegisteredClient, most: u32) -> Step<'_, AddedClient> {
        self.writer.step(move |connection| registered_clients::add(connection, &client, most))
    }

    fn client(&self, client_id: String) -> Step<'_, Option<RegisteredClient>> {
        self.reader.step(move |connection| registered_clients::select(connection, &client_id))
    }

    fn replace_client(&self, expected_token_hash: [u8; 32], client: RegisteredClient) -> Step<'_, bool> {
        self.writer.step(move |connection| registered_clients::replace(connection, expected_token_hash, &client))
    }

    fn note_client_use(&self, client_id: String, used_at: Timestamp) -> Step<'_, ()> {
        self.writer.step(move |connection| registered_clients::note_use(connection, &client_id, used_at))
    }

    fn remove_client(&self, client_id: String, expected_token_hash: [u8; 32], now: Timestamp) -> Step<'_, bool> {
        self.writer.step(move |connection| registered_clients::remove(connection, &client_id, expected_token_hash, now))
    }

    fn clients(&self, after: Option<String>, limit: u32) -> Step<'_, Vec<RegisteredClient>> {
        self.reader.step(move |connection| registered_clients::list(connection, after, limit))
    }

    fn begin_login(&self, login: PendingLogin, most: u32) -> Step<'_, BegunLogin> {
        self.writer.step(move |connection| logins::begin(connection, &login, most))
    }

    fn login(&self, handle: LoginId) -> Step<'_, Option<PendingLogin>> {
        self.reader.step(move |connection| logins::by_handle(connection, handle))
    }

    fn login_by_user_code(&self, user_code: LoginId) -> Step<'_, Option<PendingLogin>> {
        self.reader.step(move |connection| logins::by_user_code(connection, user_code))
    }

    fn decide_login(&self, handle: LoginId, decision: Decision, now: Timestamp) -> Step<'_, Decided> {
        self.writer.step(move |connection| logins::decide(connection, handle, decision, now))
    }

    fn code(&self, code: LoginId) -> Step<'_, Option<WaitingGrant>> {
        self.reader.step(move |connection| logins::grant(connection, code))
    }

    fn redeem_code(&self, code: LoginId, using: CodeUse, now: Timestamp) -> Step<'_, CodeRedeemed> {
        self.writer.step(move |connection| logins::redeem(connection, code, &using, now))
    }

    fn poll_device(&self, device_code: LoginId, client_id: String, now: Timestamp) -> Step<'_, Polled> {
        self.writer.step(move |connection| logins::poll(connection, device_code, &client_id, now))
    }

    fn logins(&self, after: Option<LoginId>, limit: u32) -> Step<'_, Vec<PendingLogin>> {
        self.reader.step(move |connection| logins::list(connection, after, limit))
    }

    fn push_request(&self, request: PushedRequest, most: u32) -> Step<'_, bool> {
        self.writer.step(move |connection| logins::push(connection, &request, most))
    }

    fn pushed_request(&self, id: LoginId) -> Step<'_, Option<PushedRequest>> {
        self.reader.step(move |connection| logins::pushed(connection, id))
    }

    fn take_pushed_request(&self, id: LoginId, now: Timestamp) -> Step<'_, Option<PushedRequest>> {
        self.writer.step(move |connection| logins::take_pushed(connection, id, now))
    }

    fn pushed_requests(&self, after: Option<LoginId>, limit: u32) -> Step<'_, Vec<PushedRequest>> {
        self.reader.step(move |connection| logins::list_pushed(connection, after, limit))
    }

    fn revoke_session(&self, session: String, now: Timestamp) -> Step<'_, Vec<Family>> {
        self.writer.step(move |connection| logins::revoke_session(connection, &session, now))
    }

    fn restore(&self, records: Records) -> Step<'_, ()> {
        self.writer.step(move |connection| {
            let Records { families, revoked_tokens, claims, shared_secrets, clients, logins, pushed_requests } =
                records;
            for family in &families {
                if select_family(connection, family.fid)?.is_none() {
                    insert_family(connection, family)?;
                }
            }
            revoked_tokens.iter().try_for_each(|token| insert_token(connection, *token))?;
            claims.iter().try_for_each(|claim| claims::insert_claim(connection, *claim).map(drop))?;
            shared_secrets
                .iter()
                .try_for_each(|secret| claims::insert_secret(connection, &secret.name, secret.value))?;
            clients.iter().try_for_each(|client| registered_clients::insert(connection, client))?;
            logins.iter().try_for_each(|login| logins::insert(connection, login).map(drop))?;
            pushed_requests.iter().try_for_each(|request| logins::insert_pushed(connection, request).map(drop))
        })
    }
}

fn insert_token(connection: &Connection, token: RevokedToken) -> rusqlite::Result<()> {
    connection
        .prepare_cached("INSERT INTO revoked_token (jti, expires_at) VALUES (?1, ?2) ON CONFLICT DO NOTHING")?
        .execute(params![token.jti.0, token.expires_at.unix_seconds()])
        .map(drop)
}
