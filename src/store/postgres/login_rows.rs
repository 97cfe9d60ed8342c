//! Logins as rows.

use tokio_postgres::types::ToSql;
use tokio_postgres::{Error as PostgresError, Row};
use uuid::Uuid;

use super::rows::{Bytes32, uuid_of, uuid_of_token};
use crate::clock::Timestamp;
use crate::store::login::DevicePolling;
use crate::store::{FamilyId, LoginId, LoginKind, LoginState, PendingLogin, TokenId, UsedCode};

/// The columns of a login, in the order that [`login_of`] reads them.
pub(super) const COLUMNS: &str = "handle, kind, client_id, request, user_code, created_at, expires_at,
    interval_seconds, polled_at, state, error, code, granted, code_expires_at, used_fid, used_jti,
    used_token_expires_at";

/// A login as columns: [`COLUMNS`], and `forgotten_at`.
pub(super) struct Columns<'a> {
    pub(super) handle: &'a [u8],
    pub(super) kind: &'static str,
    pub(super) client_id: &'a str,
    pub(super) request: &'a str,
    pub(super) user_code: Option<&'a [u8]>,
    pub(super) created_at: i64,
    pub(super) expires_at: i64,
    pub(super) interval_seconds: i64,
    pub(super) polled_at: Option<i64>,
    pub(super) state: &'static str,
    pub(super) error: Option<&'a str>,
    pub(super) code: Option<&'a [u8]>,
    pub(super) granted: Option<&'a str>,
    pub(super) code_expires_at: Option<i64>,
    pub(super) used_fid: Option<Uuid>,
    pub(super) used_jti: Option<Uuid>,
    pub(super) used_token_expires_at: Option<i64>,
    pub(super) forgotten_at: i64,
}

impl<'a> Columns<'a> {
    pub(super) fn of(login: &'a PendingLogin) -> Self {
        let used = login.used();
        let mut columns = Self {
            handle: &login.handle.0,
            kind: login.kind.name(),
            client_id: &login.client_id,
            request: &login.request,
            user_code: login.user_code.as_ref().map(|code| code.0.as_slice()),
            created_at: login.created_at.unix_seconds(),
            expires_at: login.expires_at.unix_seconds(),
            interval_seconds: login.polling.interval_seconds.into(),
            polled_at: login.polling.polled_at.map(Timestamp::unix_seconds),
            state: "pending",
            error: None,
            code: None,
            granted: None,
            code_expires_at: None,
            used_fid: used.map(|used| uuid_of(used.fid)),
            used_jti: used.map(|used| uuid_of_token(used.jti)),
            used_token_expires_at: used.map(|used| used.token_expires_at.unix_seconds()),
            forgotten_at: login.forgotten_at().unix_seconds(),
        };
        match &login.state {
            LoginState::Pending => {}
            LoginState::Refused { error } => {
                columns.state = "refused";
                columns.error = Some(error);
            }
            LoginState::Accepted { code, grant, expires_at, used: _ } => {
                columns.state = "accepted";
                columns.code = Some(&code.0);
                columns.granted = Some(grant);
                columns.code_expires_at = Some(expires_at.unix_seconds());
            }
        }
        columns
    }

    /// All of them, `forgotten_at` last.
    pub(super) fn values(&self) -> Vec<&(dyn ToSql + Sync)> {
        vec![
            &self.handle,
            &self.kind,
            &self.client_id,
            &self.request,
            &self.user_code,
            &self.created_at,
            &self.expires_at,
            &self.interval_seconds,
            &self.polled_at,
            &self.state,
            &self.error,
            &self.code,
            &self.granted,
            &self.code_expires_at,
            &self.used_fid,
            &self.used_jti,
            &self.used_token_expires_at,
            &self.forgotten_at,
        ]
    }
}

/// A login from a row of [`COLUMNS`].
pub(super) fn login_of(row: &Row) -> Result<PendingLogin, PostgresError> {
    let time = |index| row.try_get(index).map(Timestamp::from_unix_seconds);
    let id = |index| row.try_get(index).map(|Bytes32(id)| LoginId(id));
    let state: String = row.try_get(9)?;
    Ok(PendingLogin {
        handle: id(0)?,
        // The columns' own checks leave nothing else.
        kind: LoginKind::named(row.try_get(1)?).unwrap_or(LoginKind::Logout),
        client_id: row.try_get(2)?,
        request: row.try_get(3)?,
        user_code: row.try_get::<_, Option<Bytes32>>(4)?.map(|Bytes32(id)| LoginId(id)),
        created_at: time(5)?,
        expires_at: time(6)?,
        polling: DevicePolling {
            interval_seconds: row.try_get::<_, i64>(7)?.try_into().unwrap_or(u32::MAX),
            polled_at: row.try_get::<_, Option<i64>>(8)?.map(Timestamp::from_unix_seconds),
        },
        state: match state.as_str() {
            "pending" => LoginState::Pending,
            "accepted" => LoginState::Accepted {
                code: id(11)?,
                grant: row.try_get(12)?,
                expires_at: time(13)?,
                used: used_of(row)?,
            },
            _ => LoginState::Refused { error: row.try_get(10)? },
        },
    })
}

fn used_of(row: &Row) -> Result<Option<UsedCode>, PostgresError> {
    let Some(fid) = row.try_get::<_, Option<Uuid>>(14)? else {
        return Ok(None);
    };
    Ok(Some(UsedCode {
        fid: FamilyId(fid.into_bytes()),
        jti: TokenId(row.try_get::<_, Uuid>(15)?.into_bytes()),
        token_expires_at: Timestamp::from_unix_seconds(row.try_get(16)?),
    }))
}
