//! `/admin/v1/sessions`: what workloads hold refresh tokens, and taking them back. A session is a refresh
//! family.

use std::sync::Arc;

use axum::Json;
use axum::extract::rejection::{JsonRejection, QueryRejection};
use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::response::Response;
use serde::{Deserialize, Serialize};

use super::AdminApi;
use crate::clock::Timestamp;
use crate::http::render::{not_stored, oauth_error};
use crate::oauth::OAuthError;
use crate::store::{Family, FamilyId, Page, Selection, Store};

/// The path where sessions are listed.
pub const SESSIONS_PATH: &str = "/admin/v1/sessions";
/// The path where sessions are revoked.
pub const REVOKE_PATH: &str = "/admin/v1/sessions/revoke";

const DEFAULT_LIMIT: u32 = 100;
const MOST: u32 = 1000;

/// Which sessions: all that match every member that is given.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct SessionFilter {
    /// That one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub family: Option<String>,
    /// Those of this client.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_id: Option<String>,
    /// Those that speak for this subject.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<String>,
    /// Those that began before this (RFC 3339).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub issued_before: Option<String>,
    /// Every one: what has to be said where nothing else is.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub all: bool,
}

/// A part of the list: the members of [`SessionFilter`] in a query string, and which part. Written out,
/// because serde cannot refuse unknown members of a type inside another.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct ListRequest {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    family: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    client_id: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    subject: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    issued_before: Option<String>,
    /// Begin behind this family.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<String>,
    /// At the most this many, up to 1000.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<u32>,
}

impl ListRequest {
    /// The first part of what `filter` matches, as long as one can be.
    pub fn first(filter: SessionFilter) -> Self {
        let SessionFilter { family, client_id, subject, issued_before, all: _ } = filter;
        Self { family, client_id, subject, issued_before, after: None, limit: Some(MOST) }
    }

    fn filter(self) -> SessionFilter {
        let Self { family, client_id, subject, issued_before, .. } = self;
        SessionFilter { family, client_id, subject, issued_before, all: false }
    }
}

/// A session, as operators see it. Times are seconds since the epoch.
#[derive(Debug, Deserialize, Serialize)]
pub struct Session {
    /// The handle of its family: `sid` in access tokens.
    pub family: String,
    /// Whose it is.
    pub client_id: String,
    /// Who it speaks for.
    pub subject: String,
    /// What it may.
    pub scope: String,
    /// When it began.
    pub created_at: Timestamp,
    /// When it was last used.
    pub last_used_at: Timestamp,
    /// When it ends by age.
    pub expires_at: Timestamp,
    /// When it was revoked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revoked_at: Option<Timestamp>,
}

/// A part of the list, and where the next one begins.
#[derive(Debug, Deserialize, Serialize)]
pub struct SessionList {
    /// The sessions, in the order of their families.
    pub sessions: Vec<Session>,
    /// What to put into `after` for the next part, which may be empty; absent at the end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

/// What a revocation came to.
#[derive(Debug, Deserialize, Serialize)]
pub struct Revoked {
    /// Sessions that were not revoked before.
    pub revoked: usize,
}

impl SessionFilter {
    fn selection(self) -> Result<Selection, OAuthError> {
        let fid = self.family.map(|text| family_id(&text)).transpose()?;
        let time = |text: String| {
            Timestamp::parse(&text)
                .ok_or(OAuthError::InvalidRequest("issued_before: expected a time such as 2026-11-23T22:00:00Z"))
        };
        let issued_before = self.issued_before.map(time).transpose()?;
        Ok(Selection { fid, client_id: self.client_id, subject: self.subject, issued_before })
    }
}

fn family_id(text: &str) -> Result<FamilyId, OAuthError> {
    FamilyId::parse(text).ok_or(OAuthError::InvalidRequest("family: expected 22 characters of base64url"))
}

impl From<Family> for Session {
    fn from(family: Family) -> Self {
        Self {
            family: family.fid.to_string(),
            client_id: family.client_id,
            subject: family.subject,
            scope: family.scope,
            created_at: family.created_at,
            last_used_at: family.last_used_at,
            expires_at: family.expires_at,
            revoked_at: family.revoked_at,
        }
    }
}

/// A part of the list of sessions in `store`.
///
/// # Errors
/// [`OAuthError`]: of the request or of the store.
pub async fn list_sessions(store: &dyn Store, request: ListRequest) -> Result<SessionList, OAuthError> {
    let after = request.after.as_deref().map(family_id).transpose()?;
    let limit = request.limit.unwrap_or(DEFAULT_LIMIT);
    if !(1..=MOST).contains(&limit) {
        return Err(OAuthError::InvalidRequest("limit: expected a number from 1 to 1000"));
    }
    let families = store.families(request.filter().selection()?, Page { after, limit }).await?;
    let is_full = families.len() == limit as usize;
    let next = families.last().filter(|_| is_full).map(|family| family.fid.to_string());
    Ok(SessionList { sessions: families.into_iter().map(Session::from).collect(), next })
}

/// Revokes the sessions in `store` that `filter` matches.
///
/// # Errors
/// [`OAuthError`]: of the request or of the store.
pub async fn revoke_sessions(store: &dyn Store, filter: SessionFilter, now: Timestamp) -> Result<Revoked, OAuthError> {
    let all = filter.all;
    let selection = filter.selection()?;
    if selection.is_everything() != all {
        return Err(OAuthError::InvalidRequest(
            "expected at least one of family, client_id, subject and issued_before; or all",
        ));
    }
    let revoked = store.revoke_families(selection.clone(), now).await?;
    tracing::warn!(revoked, ?selection, "sessions were revoked by an operator");
    Ok(Revoked { revoked })
}

pub(super) async fn list(
    State(api): State<Arc<AdminApi>>,
    request: Result<Query<ListRequest>, QueryRejection>,
) -> Response {
    let Ok(Query(request)) = request else {
        return oauth_error(&OAuthError::InvalidRequest(
            "expected family, client_id, subject, issued_before, after and limit at the most",
        ));
    };
    match list_sessions(api.store.as_ref(), request).await {
        Ok(list) => not_stored(StatusCode::OK, &list),
        Err(error) => oauth_error(&error),
    }
}

pub(super) async fn revoke(
    State(api): State<Arc<AdminApi>>,
    request: Result<Json<SessionFilter>, JsonRejection>,
) -> Response {
    let Ok(Json(filter)) = request else {
        return oauth_error(&OAuthError::InvalidRequest(
            "expected JSON with family, client_id, subject, issued_before or all",
        ));
    };
    match revoke_sessions(api.store.as_ref(), filter, api.clock.now()).await {
        Ok(revoked) => not_stored(StatusCode::OK, &revoked),
        Err(error) => oauth_error(&error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_that_cannot_be_read_is_refused() {
        let filter = |family: &str, time: &str| SessionFilter {
            family: Some(family.to_owned()),
            issued_before: Some(time.to_owned()),
            ..SessionFilter::default()
        };
        let good = filter("AAAAAAAAAAAAAAAAAAAAAA", "2026-11-23T22:00:00Z").selection().unwrap();
        assert_eq!(good.fid, Some(FamilyId([0; 16])));
        assert_eq!(good.issued_before.unwrap().to_string(), "2026-11-23T22:00:00Z");
        assert!(filter("x", "2026-11-23T22:00:00Z").selection().is_err());
        assert!(filter("AAAAAAAAAAAAAAAAAAAAAA", "yesterday").selection().is_err());
    }
}
