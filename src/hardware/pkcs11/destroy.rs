//! Destroying one key for good: by an operator's hand, or one that a front-end had made.

use cryptoki::session::Session;

use super::keys::{Candidate, all_delegated, candidate, kid_of, labelled, public_objects};
use super::{Pkcs11Settings, failed};
use crate::hardware::{Error, Role};

/// Destroys the key `kid` of whichever role. It need not be acceptable: a key that mintkeep refuses is one to be
/// destroyed.
pub(super) fn destroy(session: &Session, settings: &Pkcs11Settings, kid: &str) -> Result<(), Error> {
    let mut labelled_so = Vec::new();
    for role in [Role::Signing, Role::Sealing] {
        let keys = labelled(session, role, &settings.label(role))?;
        labelled_so.extend(keys.into_iter().map(|(form, handle)| (role, form, handle)));
    }
    let delegated = all_delegated(session, settings)?.into_iter();
    labelled_so.extend(delegated.map(|(name, form, handle)| (Role::Delegated(name), form, handle)));
    // One that is ambiguous, or whose public half is not there, has no name to be called by.
    let keys = labelled_so.into_iter().filter_map(|(role, form, handle)| candidate(session, role, form, handle).ok());
    let found: Vec<_> = keys.filter(|key| kid_of(session, key).is_ok_and(|name| name == kid)).collect();
    let [key] = found.as_slice() else {
        return Err(match found.len() {
            0 => Error::UnknownKey(kid.to_owned()),
            count => Error::KeyAmbiguous { what: format!("keys that are {kid}"), count },
        });
    };
    destroy_pair(session, key)
}

/// Destroys both halves of a key.
pub(super) fn destroy_pair(session: &Session, key: &Candidate) -> Result<(), Error> {
    // The public half last: without it nobody could name what is left.
    let public = public_objects(session, key)?;
    session.destroy_object(key.handle).map_err(failed)?;
    public.into_iter().try_for_each(|half| session.destroy_object(half).map_err(failed))
}
