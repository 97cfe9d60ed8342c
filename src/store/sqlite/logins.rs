//! The statements of logins, and of requests that were pushed.

use rusqlite::{Connection, OptionalExtension as _, Row, named_params, params};

use super::families::{FAMILY_COLUMNS, family_of, insert_family};
use crate::clock::Timestamp;
use crate::store::login::{DevicePolling, LoginState, UsedCode};
use crate::store::{
    BegunLogin, CodeRedeemed, CodeUse, Decided, Decision, Family, FamilyId, LoginId, LoginKind, PendingLogin, Polled,
    PushedRequest, RevokedToken, TokenId, WaitingGrant,
};

const COLUMNS: &str =
    "handle, kind, client_id, request, user_code, created_at, expires_at, interval_seconds, polled_at,
    state, error, code, granted, code_expires_at, used_fid, used_jti, used_token_expires_at";

pub(super) fn begin(connection: &Connection, login: &PendingLogin, most: u32) -> rusqlite::Result<BegunLogin> {
    if by_handle(connection, login.handle)?.is_some_and(|found| found == *login) {
        return Ok(BegunLogin::Begun);
    }
    if waiting(connection, "login")? >= most {
        return Ok(BegunLogin::Full);
    }
    Ok(if insert(connection, login)? { BegunLogin::Begun } else { BegunLogin::UserCodeTaken })
}

/// Writes `login` where neither its handle, nor its user code, nor its code is there; says whether it did.
pub(super) fn insert(connection: &Connection, login: &PendingLogin) -> rusqlite::Result<bool> {
    let mut statement = connection.prepare_cached(&format!(
        "INSERT INTO login ({COLUMNS}, forgotten_at)
         VALUES (:handle, :kind, :client_id, :request, :user_code, :created_at, :expires_at, :interval_seconds,
                 :polled_at, :state, :error, :code, :granted, :code_expires_at, :used_fid, :used_jti,
                 :used_token_expires_at, :forgotten_at)
         ON CONFLICT DO NOTHING"
    ))?;
    let state = State::of(&login.state);
    let inserted = statement.execute(named_params! {
        ":handle": login.handle.0,
        ":kind": login.kind.name(),
        ":client_id": login.client_id,
        ":request": login.request,
        ":user_code": login.user_code.map(|code| code.0),
        ":created_at": login.created_at.unix_seconds(),
        ":expires_at": login.expires_at.unix_seconds(),
        ":interval_seconds": login.polling.interval_seconds,
        ":polled_at": login.polling.polled_at.map(Timestamp::unix_seconds),
        ":state": state.name,
        ":error": state.error,
        ":code": state.code,
        ":granted": state.granted,
        ":code_expires_at": state.code_expires_at,
        ":used_fid": state.used.map(|used| used.fid.0),
        ":used_jti": state.used.map(|used| used.jti.0),
        ":used_token_expires_at": state.used.map(|used| used.token_expires_at.unix_seconds()),
        ":forgotten_at": login.forgotten_at().unix_seconds(),
    })?;
    Ok(inserted == 1)
}

/// Writes what a step may change.
fn update(connection: &Connection, login: &PendingLogin) -> rusqlite::Result<()> {
    let mut statement = connection.prepare_cached(
        "UPDATE login
            SET interval_seconds = :interval_seconds, polled_at = :polled_at, state = :state, error = :error,
                code = :code, granted = :granted, code_expires_at = :code_expires_at, used_fid = :used_fid,
                used_jti = :used_jti, used_token_expires_at = :used_token_expires_at, forgotten_at = :forgotten_at
          WHERE handle = :handle",
    )?;
    let state = State::of(&login.state);
    statement.execute(named_params! {
        ":handle": login.handle.0,
        ":interval_seconds": login.polling.interval_seconds,
        ":polled_at": login.polling.polled_at.map(Timestamp::unix_seconds),
        ":state": state.name,
        ":error": state.error,
        ":code": state.code,
        ":granted": state.granted,
        ":code_expires_at": state.code_expires_at,
        ":used_fid": state.used.map(|used| used.fid.0),
        ":used_jti": state.used.map(|used| used.jti.0),
        ":used_token_expires_at": state.used.map(|used| used.token_expires_at.unix_seconds()),
        ":forgotten_at": login.forgotten_at().unix_seconds(),
    })?;
    Ok(())
}

/// The columns that a [`LoginState`] fills.
struct State<'a> {
    name: &'static str,
    error: Option<&'a str>,
    code: Option<[u8; 32]>,
    granted: Option<&'a str>,
    code_expires_at: Option<i64>,
    used: Option<UsedCode>,
}

impl<'a> State<'a> {
    fn of(state: &'a LoginState) -> Self {
        let none = Self { name: "pending", error: None, code: None, granted: None, code_expires_at: None, used: None };
        match state {
            LoginState::Pending => none,
            LoginState::Refused { error } => Self { name: "refused", error: Some(error), ..none },
            LoginState::Accepted { code, grant, expires_at, used } => Self {
                name: "accepted",
                code: Some(code.0),
                granted: Some(grant),
                code_expires_at: Some(expires_at.unix_seconds()),
                used: *used,
                ..none
            },
        }
    }
}

pub(super) fn by_handle(connection: &Connection, handle: LoginId) -> rusqlite::Result<Option<PendingLogin>> {
    by(connection, "handle", handle)
}

pub(super) fn by_user_code(connection: &Connection, user_code: LoginId) -> rusqlite::Result<Option<PendingLogin>> {
    by(connection, "user_code", user_code)
}

pub(super) fn grant(connection: &Connection, code: LoginId) -> rusqlite::Result<Option<WaitingGrant>> {
    let login = by(connection, "code", code)?;
    Ok(login.filter(|login| login.kind == LoginKind::Authorization).and_then(|login| login.waiting_grant()))
}

fn by(connection: &Connection, column: &str, id: LoginId) -> rusqlite::Result<Option<PendingLogin>> {
    let text = format!("SELECT {COLUMNS} FROM login WHERE {column} = ?1");
    connection.prepare_cached(&text)?.query_row([id.0], login_of).optional()
}

pub(super) fn list(connection: &Connection, after: Option<LoginId>, limit: u32) -> rusqlite::Result<Vec<PendingLogin>> {
    let mut statement = connection.prepare_cached(&format!(
        "SELECT {COLUMNS} FROM login WHERE ?1 IS NULL OR handle > ?1 ORDER BY handle LIMIT ?2"
    ))?;
    statement.query_map(params![after.map(|handle| handle.0), limit], login_of)?.collect()
}

pub(super) fn decide(
    connection: &Connection,
    handle: LoginId,
    decision: Decision,
    now: Timestamp,
) -> rusqlite::Result<Decided> {
    let decided = change(connection, by_handle(connection, handle)?, |login| login.decide(decision, now))?;
    Ok(decided.map_or(Decided::Unknown, |(_, decided)| decided))
}

pub(super) fn poll(
    connection: &Connection,
    handle: LoginId,
    client_id: &str,
    now: Timestamp,
) -> rusqlite::Result<Polled> {
    let polled = change(connection, by_handle(connection, handle)?, |login| login.poll(client_id, now))?;
    Ok(polled.map_or(Polled::Unknown, |(_, polled)| polled))
}

pub(super) fn redeem(
    connection: &Connection,
    code: LoginId,
    using: &CodeUse,
    now: Timestamp,
) -> rusqlite::Result<CodeRedeemed> {
    let used = by(connection, "code", code)?;
    let before = used.as_ref().and_then(PendingLogin::used);
    let Some((login, redeemed)) = change(connection, used, |login| login.redeem(&using.used(), now))? else {
        return Ok(CodeRedeemed::Unknown);
    };
    match redeemed {
        CodeRedeemed::Granted if before.is_none() => insert_family(connection, &using.family)?,
        CodeRedeemed::Replayed => {
            if let Some(used) = login.used() {
                revoke(connection, used, now)?;
            }
        }
        CodeRedeemed::Granted | CodeRedeemed::Unknown => {}
    }
    Ok(redeemed)
}

fn revoke(connection: &Connection, used: UsedCode, now: Timestamp) -> rusqlite::Result<()> {
    connection
        .prepare_cached("UPDATE family SET revoked_at = ?2 WHERE fid = ?1 AND revoked_at IS NULL")?
        .execute(params![used.fid.0, now.unix_seconds()])?;
    super::insert_token(connection, RevokedToken { jti: used.jti, expires_at: used.token_expires_at })
}

/// Applies `step` to `login`, and writes it where it changed.
fn change<Outcome>(
    connection: &Connection,
    login: Option<PendingLogin>,
    step: impl FnOnce(&mut PendingLogin) -> Outcome,
) -> rusqlite::Result<Option<(PendingLogin, Outcome)>> {
    let Some(mut login) = login else {
        return Ok(None);
    };
    let before = login.clone();
    let outcome = step(&mut login);
    if login != before {
        update(connection, &login)?;
    }
    Ok(Some((login, outcome)))
}

pub(super) fn revoke_session(connection: &Connection, session: &str, now: Timestamp) -> rusqlite::Result<Vec<Family>> {
    let text = format!(
        "UPDATE family SET revoked_at = ?2 WHERE session = ?1 AND revoked_at IS NULL
         RETURNING {FAMILY_COLUMNS}"
    );
    connection.prepare_cached(&text)?.query_map(params![session, now.unix_seconds()], family_of)?.collect()
}

/// How many of those wait.
fn waiting(connection: &Connection, name: &str) -> rusqlite::Result<u32> {
    connection.prepare_cached("SELECT count FROM waiting WHERE name = ?1")?.query_row([name], |row| row.get(0))
}

pub(super) fn push(connection: &Connection, request: &PushedRequest, most: u32) -> rusqlite::Result<bool> {
    if pushed(connection, request.id)?.is_some_and(|found| found == *request) {
        return Ok(true);
    }
    if waiting(connection, "pushed_request")? >= most {
        return Ok(false);
    }
    insert_pushed(connection, request)
}

/// Writes `request` where there is none of its name; says whether it did.
pub(super) fn insert_pushed(connection: &Connection, request: &PushedRequest) -> rusqlite::Result<bool> {
    let mut statement = connection.prepare_cached(
        "INSERT INTO pushed_request (id, client_id, request, expires_at) VALUES (?1, ?2, ?3, ?4)
         ON CONFLICT DO NOTHING",
    )?;
    let PushedRequest { id, client_id, request, expires_at } = request;
    Ok(statement.execute(params![id.0, client_id, request, expires_at.unix_seconds()])? == 1)
}

pub(super) fn pushed(connection: &Connection, id: LoginId) -> rusqlite::Result<Option<PushedRequest>> {
    let mut statement =
        connection.prepare_cached("SELECT id, client_id, request, expires_at FROM pushed_request WHERE id = ?1")?;
    statement.query_row([id.0], pushed_of).optional()
}

pub(super) fn take_pushed(
    connection: &Connection,
    id: LoginId,
    now: Timestamp,
) -> rusqlite::Result<Option<PushedRequest>> {
    let mut statement = connection
        .prepare_cached("DELETE FROM pushed_request WHERE id = ?1 RETURNING id, client_id, request, expires_at")?;
    let taken = statement.query_row([id.0], pushed_of).optional()?;
    Ok(taken.filter(|request| now < request.expires_at))
}

pub(super) fn list_pushed(
    connection: &Connection,
    after: Option<LoginId>,
    limit: u32,
) -> rusqlite::Result<Vec<PushedRequest>> {
    let mut statement = connection.prepare_cached(
        "SELECT id, client_id, request, expires_at FROM pushed_request WHERE ?1 IS NULL OR id > ?1 ORDER BY id LIMIT ?2",
    )?;
    statement.query_map(params![after.map(|id| id.0), limit], pushed_of)?.collect()
}

fn pushed_of(row: &Row<'_>) -> rusqlite::Result<PushedRequest> {
    Ok(PushedRequest {
        id: LoginId(row.get(0)?),
        client_id: row.get(1)?,
        request: row.get(2)?,
        expires_at: Timestamp::from_unix_seconds(row.get(3)?),
    })
}

/// A login from a row of [`COLUMNS`].
fn login_of(row: &Row<'_>) -> rusqlite::Result<PendingLogin> {
    let time = |index| row.get(index).map(Timestamp::from_unix_seconds);
    let state: String = row.get(9)?;
    Ok(PendingLogin {
        handle: LoginId(row.get(0)?),
        // The columns' own checks leave nothing else.
        kind: LoginKind::named(&row.get::<_, String>(1)?).unwrap_or(LoginKind::Logout),
        client_id: row.get(2)?,
        request: row.get(3)?,
        user_code: row.get::<_, Option<_>>(4)?.map(LoginId),
        created_at: time(5)?,
        expires_at: time(6)?,
        polling: DevicePolling {
            interval_seconds: row.get(7)?,
            polled_at: row.get::<_, Option<_>>(8)?.map(Timestamp::from_unix_seconds),
        },
        state: match state.as_str() {
            "pending" => LoginState::Pending,
            "accepted" => LoginState::Accepted {
                code: LoginId(row.get(11)?),
                grant: row.get(12)?,
                expires_at: time(13)?,
                used: used_of(row)?,
            },
            _ => LoginState::Refused { error: row.get(10)? },
        },
    })
}

fn used_of(row: &Row<'_>) -> rusqlite::Result<Option<UsedCode>> {
    let Some(fid) = row.get::<_, Option<_>>(14)? else {
        return Ok(None);
    };
    let token_expires_at = Timestamp::from_unix_seconds(row.get(16)?);
    Ok(Some(UsedCode { fid: FamilyId(fid), jti: TokenId(row.get(15)?), token_expires_at }))
}
