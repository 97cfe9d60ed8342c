//! The end of a front-end's session: its families are revoked, and their clients told.

use std::sync::Arc;

use super::OAuthError;
use super::acceptance::session_name;
use super::backchannel_logout::{LogoutNotice, LogoutNotices};
use super::frontend::Frontend;
use super::registrations::{CurrentRegistrations, Registrations};
use crate::clock::Clock;
use crate::store::{Family, FamilyId, Selection, Store};

/// Ends sessions.
pub struct SessionEnds {
    store: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
    registrations: CurrentRegistrations,
    notices: LogoutNotices,
}

impl SessionEnds {
    /// Ends those in `store`, and tells clients by `notices`.
    pub fn new(
        store: Arc<dyn Store>,
        clock: Arc<dyn Clock>,
        registrations: CurrentRegistrations,
        notices: LogoutNotices,
    ) -> Self {
        Self { store, clock, registrations, notices }
    }

    /// Ends what is `session` to `frontend`; says how many families lived.
    ///
    /// # Errors
    /// What the store failed by. Where it is not known whether they ended, nobody is told.
    pub async fn end(&self, frontend: &Frontend, session: &str) -> Result<usize, OAuthError> {
        let families = self.store.revoke_session(session_name(frontend, session), self.clock.now()).await?;
        self.tell(&families);
        tracing::info!(frontend = frontend.name, families = families.len(), "a session ended");
        Ok(families.len())
    }

    /// Ends the one family `fid`, which belongs to no session.
    ///
    /// # Errors
    /// What the store failed by.
    pub async fn end_family(&self, fid: FamilyId) -> Result<usize, OAuthError> {
        let Some(family) = self.store.family(fid).await? else { return Ok(0) };
        let ended = self.store.revoke_families(Selection::of_family(fid), self.clock.now()).await?;
        if ended != 0 {
            self.tell(std::slice::from_ref(&family));
        }
        Ok(ended)
    }

    fn tell(&self, families: &[Family]) {
        let registered = self.registrations.load();
        for notice in families.iter().filter_map(|family| notice(family, &registered)) {
            self.notices.send(notice);
        }
    }
}

/// What the client of `family` is told, where it wants to be.
fn notice(family: &Family, registered: &Registrations) -> Option<LogoutNotice> {
    let client = registered.clients.find(&family.client_id)?;
    Some(LogoutNotice {
        client_id: client.id.clone(),
        url: client.backchannel_logout_uri.clone()?,
        settings: client.backchannel_logout_settings.clone(),
        subject: family.subject.clone(),
        sid: family.fid,
    })
}
