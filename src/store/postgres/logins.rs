//! The logins' statements: each step reads the login, applies the rules to it here, and swaps in what came of it where
//! the record is still as it was read, together with all that goes with it.

use std::collections::HashMap;
use std::sync::Arc;

use deadpool_postgres::Object;
use tokio_postgres::Error as PostgresError;
use tokio_postgres::error::SqlState;
use tokio_postgres::types::ToSql;
use uuid::Uuid;

use super::batch::Batched;
use super::login_rows::{COLUMNS, Columns, login_of};
use super::pool::{LONG_LIMIT, Pool, Work};
use super::rows::{uuid_of, uuid_of_token};
use crate::clock::Timestamp;
use crate::store::{
    BegunLogin, CodeRedeemed, CodeUse, Decided, Decision, Error, LoginId, LoginKind, PendingLogin, Polled, UsedCode,
    WaitingGrant,
};

/// The count is looked at again where it was waited for, so the last place goes to one. Where a name is there already,
/// all of this fails, the count included.
const BEGIN: &str = "WITH place AS (
        UPDATE waiting SET count = count + 1 WHERE name = 'login' AND count < $19 RETURNING name
    )
    INSERT INTO login (handle, kind, client_id, request, user_code, created_at, expires_at, interval_seconds, polled_at,
                       state, error, code, granted, code_expires_at, used_fid, used_jti, used_token_expires_at,
                       forgotten_at)
    SELECT $1::bytea, $2::text, $3::text, $4::text, $5::bytea, $6::bigint, $7::bigint, $8::bigint, $9::bigint,
           $10::text, $11::text, $12::bytea, $13::text, $14::bigint, $15::uuid, $16::uuid, $17::bigint, $18::bigint
      FROM place";

const RESTORE: &str = "WITH added AS (
        INSERT INTO login (handle, kind, client_id, request, user_code, created_at, expires_at, interval_seconds,
                           polled_at, state, error, code, granted, code_expires_at, used_fid, used_jti,
                           used_token_expires_at, forgotten_at)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18)
        ON CONFLICT DO NOTHING RETURNING state
    )
    UPDATE waiting SET count = count + 1 WHERE name = 'login' AND EXISTS (SELECT 1 FROM added WHERE state = 'pending')";

/// The compare-and-swap of a decision or a poll: all that the rules go by and that changes is compared.
const SWAP: &str = "WITH swapped AS (
        UPDATE login
           SET interval_seconds = $2, polled_at = $3, state = $4, error = $5, code = $6, granted = $7,
               code_expires_at = $8, forgotten_at = $9
         WHERE handle = $1 AND interval_seconds = $10 AND polled_at IS NOT DISTINCT FROM $11 AND state = $12
     RETURNING handle
    ), counted AS (
        UPDATE waiting SET count = count - 1
         WHERE name = 'login' AND $12 = 'pending' AND $4 <> 'pending' AND EXISTS (SELECT 1 FROM swapped)
    )
    SELECT count(*) FROM swapped";

/// The first use of a code, and the family that begins with it.
const USE: &str = "WITH used AS (
        UPDATE login SET used_fid = $2, used_jti = $3, used_token_expires_at = $4, forgotten_at = $5
         WHERE handle = $1 AND state = 'accepted' AND used_fid IS NULL
     RETURNING handle
    ), began AS (
        INSERT INTO family (fid, client_id, subject, scope, generation, current_used, superseded_at, created_at,
                            last_used_at, expires_at, revoked_at, jkt, login, session)
        SELECT $2, $6::text, $7::text, $8::text, $9::bigint, $10::boolean, $11::bigint, $12::bigint, $13::bigint,
               $14::bigint, $15::bigint, $16::bytea, $17::text, $18::text
          FROM used
    )
    SELECT count(*) FROM used";

/// What another use takes back.
const REVOKE: &str = "WITH revoked AS (
        UPDATE family SET revoked_at = $1 WHERE fid = $2 AND revoked_at IS NULL
    )
    INSERT INTO revoked_token (jti, expires_at) VALUES ($3, $4) ON CONFLICT (jti) DO NOTHING";

/// What a login is found by.
#[derive(Clone, Copy)]
pub(super) enum By {
    Handle,
    UserCode,
    Code,
}

/// Finds what codes stand for, many in one round trip.
pub(super) struct FindCode;

impl Batched for FindCode {
    type Input = LoginId;
    type Output = Option<WaitingGrant>;

    fn carry_out(connection: &Object, codes: Arc<[LoginId]>) -> Work<'_, Vec<Self::Output>> {
        Box::pin(async move {
            let found = select(connection, By::Code, &codes).await?;
            let found: HashMap<LoginId, WaitingGrant> = found
                .iter()
                .filter(|login| login.kind == LoginKind::Authorization)
                .filter_map(PendingLogin::waiting_grant)
                .map(|grant| (grant.code, grant))
                .collect();
            Ok(codes.iter().map(|code| found.get(code).cloned()).collect())
        })
    }
}

/// Begins `login` where fewer than `most` wait.
pub(super) async fn begin(pool: &Pool, login: PendingLogin, most: u32) -> Result<BegunLogin, Error> {
    let login = Arc::new(login);
    let step = pool.step(|connection| {
        let login = Arc::clone(&login);
        Box::pin(async move {
            let refused = match insert(connection, &login, most).await {
                Ok(true) => return Ok(BegunLogin::Begun),
                Ok(false) => BegunLogin::Full,
                Err(error) if error.code() == Some(&SqlState::UNIQUE_VIOLATION) => BegunLogin::UserCodeTaken,
                Err(error) => return Err(error),
            };
            // It is this one where the answer to a first attempt was lost.
            let found = select(connection, By::Handle, &[login.handle]).await?;
            Ok(if found.first() == Some(&*login) { BegunLogin::Begun } else { refused })
        })
    });
    step.await
}

async fn insert(connection: &Object, login: &PendingLogin, most: u32) -> Result<bool, PostgresError> {
    let columns = Columns::of(login);
    let most = i64::from(most);
    let mut values = columns.values();
    values.push(&most);
    let statement = connection.prepare_cached(BEGIN).await?;
    Ok(connection.execute(&statement, &values).await? == 1)
}

/// Writes `login` where neither its handle, nor its user code, nor its code is there.
pub(super) async fn restore(connection: &Object, login: &PendingLogin) -> Result<(), PostgresError> {
    let statement = connection.prepare_cached(RESTORE).await?;
    connection.execute(&statement, &Columns::of(login).values()).await.map(drop)
}

/// The login of that name.
pub(super) async fn find(pool: &Pool, by: By, id: LoginId) -> Result<Option<PendingLogin>, Error> {
    let step = pool.step(|connection| Box::pin(async move { Ok(select(connection, by, &[id]).await?.pop()) }));
    step.await
}

/// Decides on the login of that handle.
pub(super) async fn decide(pool: &Pool, handle: LoginId, decision: Decision, now: Timestamp) -> Result<Decided, Error> {
    let decision = Arc::new(decision);
    let step = pool.step(|connection| {
        let decision = Arc::clone(&decision);
        Box::pin(async move {
            let decided = change(connection, handle, |login| login.decide(Decision::clone(&decision), now)).await?;
            Ok(decided.unwrap_or(Decided::Unknown))
        })
    });
    step.await
}

/// Notes that the device of that code polled.
pub(super) async fn poll(pool: &Pool, handle: LoginId, client_id: String, now: Timestamp) -> Result<Polled, Error> {
    let step = pool.step(|connection| {
        let client_id = client_id.clone();
        Box::pin(async move {
            let polled = change(connection, handle, |login| login.poll(&client_id, now)).await?;
            Ok(polled.unwrap_or(Polled::Unknown))
        })
    });
    step.await
}

/// Applies `rule` to the login of that handle, until what came of it is swapped in. Each round in which that fails is
/// one in which somebody else's did not.
async fn change<Outcome>(
    connection: &Object,
    handle: LoginId,
    mut rule: impl FnMut(&mut PendingLogin) -> Outcome,
) -> Result<Option<Outcome>, PostgresError> {
    loop {
        let Some(before) = select(connection, By::Handle, &[handle]).await?.pop() else {
            return Ok(None);
        };
        let mut after = before.clone();
        let outcome = rule(&mut after);
        if after == before || swap(connection, &before, &after).await? {
            return Ok(Some(outcome));
        }
    }
}

async fn swap(connection: &Object, before: &PendingLogin, after: &PendingLogin) -> Result<bool, PostgresError> {
    let (before, after) = (Columns::of(before), Columns::of(after));
    let statement = connection.prepare_cached(SWAP).await?;
    let values: [&(dyn ToSql + Sync); 12] = [
        &after.handle,
        &after.interval_seconds,
        &after.polled_at,
        &after.state,
        &after.error,
        &after.code,
        &after.granted,
        &after.code_expires_at,
        &after.forgotten_at,
        &before.interval_seconds,
        &before.polled_at,
        &before.state,
    ];
    is_one(connection, &statement, &values).await
}

/// Redeems `code`.
pub(super) async fn redeem(pool: &Pool, code: LoginId, using: CodeUse, now: Timestamp) -> Result<CodeRedeemed, Error> {
    let using = Arc::new(using);
    let step = pool.step(|connection| {
        let using = Arc::clone(&using);
        Box::pin(async move {
            loop {
                let Some(before) = select(connection, By::Code, &[code]).await?.pop() else {
                    return Ok(CodeRedeemed::Unknown);
                };
                let mut after = before.clone();
                let redeemed = after.redeem(&using.used(), now);
                match (redeemed, before.used()) {
                    (CodeRedeemed::Granted, None) if !begin_family(connection, &after, &using).await? => continue,
                    (CodeRedeemed::Replayed, Some(used)) => revoke(connection, used, now).await?,
                    (CodeRedeemed::Granted | CodeRedeemed::Replayed | CodeRedeemed::Unknown, _) => {}
                }
                return Ok(redeemed);
            }
        })
    });
    step.await
}

/// Uses the code of `login`, where nobody did, and begins the family; says whether it did.
async fn begin_family(connection: &Object, login: &PendingLogin, using: &CodeUse) -> Result<bool, PostgresError> {
    let CodeUse { family, jti, token_expires_at } = using;
    let seconds = |time: Option<Timestamp>| time.map(Timestamp::unix_seconds);
    let statement = connection.prepare_cached(USE).await?;
    let values: [&(dyn ToSql + Sync); 18] = [
        &login.handle.0.as_slice(),
        &uuid_of(family.fid),
        &uuid_of_token(*jti),
        &token_expires_at.unix_seconds(),
        &login.forgotten_at().unix_seconds(),
        &family.client_id,
        &family.subject,
        &family.scope,
        &i64::from(family.generation),
        &family.current_used,
        &seconds(family.superseded_at),
        &family.created_at.unix_seconds(),
        &family.last_used_at.unix_seconds(),
        &family.expires_at.unix_seconds(),
        &seconds(family.revoked_at),
        &family.jkt.map(|jkt| jkt.0.to_vec()),
        &family.login,
        &family.session,
    ];
    is_one(connection, &statement, &values).await
}

async fn is_one(
    connection: &Object,
    statement: &tokio_postgres::Statement,
    values: &[&(dyn ToSql + Sync)],
) -> Result<bool, PostgresError> {
    Ok(connection.query_one(statement, values).await?.try_get::<_, i64>(0)? == 1)
}

async fn revoke(connection: &Object, used: UsedCode, now: Timestamp) -> Result<(), PostgresError> {
    let (fid, jti): (Uuid, Uuid) = (uuid_of(used.fid), uuid_of_token(used.jti));
    let statement = connection.prepare_cached(REVOKE).await?;
    let values: [&(dyn ToSql + Sync); 4] = [&now.unix_seconds(), &fid, &jti, &used.token_expires_at.unix_seconds()];
    connection.execute(&statement, &values).await.map(drop)
}

/// At the most `limit` logins behind `after`.
pub(super) async fn list(pool: &Pool, after: Option<LoginId>, limit: u32) -> Result<Vec<PendingLogin>, Error> {
    let step = pool.within(LONG_LIMIT, |connection| {
        Box::pin(async move {
            let text =
                format!("SELECT {COLUMNS} FROM login WHERE $1::bytea IS NULL OR handle > $1 ORDER BY handle LIMIT $2");
            let after = after.as_ref().map(|id| id.0.as_slice());
            let rows = connection.query(&text, &[&after, &i64::from(limit)]).await?;
            rows.iter().map(login_of).collect()
        })
    });
    step.await
}

/// The logins of `ids` that there are, in no order.
async fn select(connection: &Object, by: By, ids: &[LoginId]) -> Result<Vec<PendingLogin>, PostgresError> {
    let column = match by {
        By::Handle => "handle",
        By::UserCode => "user_code",
        By::Code => "code",
    };
    let text = format!("SELECT {COLUMNS} FROM login WHERE {column} = ANY ($1::bytea[])");
    let statement = connection.prepare_cached(&text).await?;
    let ids: Vec<&[u8]> = ids.iter().map(|id| id.0.as_slice()).collect();
    connection.query(&statement, &[&ids]).await?.iter().map(login_of).collect()
}
