//! `mintkeep sessions list` and `sessions revoke`: through the running mint where there is one; on the store
//! itself otherwise. Neither needs the hardware.

use super::{Failure, admin_client, store};
use crate::clock::{Clock as _, SystemClock};
use crate::config::Config;
use crate::http::admin::sessions::{
    ListRequest, REVOKE_PATH, Revoked, SESSIONS_PATH, Session, SessionFilter, SessionList, list_sessions,
    revoke_sessions,
};

/// All sessions that `filter` matches.
///
/// # Errors
/// [`Failure`].
pub async fn list(config: &Config, filter: SessionFilter) -> Result<Vec<Session>, Failure> {
    let mut sessions = Vec::new();
    let mut request = ListRequest::first(filter);
    loop {
        let query = serde_urlencoded::to_string(&request).map_err(Failure::while_doing("cannot write the request"))?;
        let path = format!("{SESSIONS_PATH}?{query}");
        let list: SessionList = match admin_client::get(&config.listen.admin, &path).await? {
            Some(list) => list,
            None => list_sessions(store::open(&config.store).await?.as_ref(), request.clone()).await?,
        };
        sessions.extend(list.sessions);
        if list.next.is_none() {
            return Ok(sessions);
        }
        request.after = list.next;
    }
}

/// Revokes the sessions that `filter` matches.
///
/// # Errors
/// [`Failure`].
pub async fn revoke(config: &Config, filter: SessionFilter) -> Result<Revoked, Failure> {
    match admin_client::post(&config.listen.admin, REVOKE_PATH, &filter).await? {
        Some(revoked) => Ok(revoked),
        None => Ok(revoke_sessions(store::open(&config.store).await?.as_ref(), filter, SystemClock.now()).await?),
    }
}
