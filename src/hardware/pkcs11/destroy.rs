//! Destroying one key for good, by an operator's hand only.

use cryptoki::session::Session;

use super::keys::{candidate, kid_of, labelled, public_objects};
use super::{Pkcs11Settings, failed};
use crate::hardware::{Error, Role};

/// Destroys the key `kid` of whichever role. It need not be acceptable: a key that mintkeep refuses is one to be
/// destroyed.
pub(super) fn destroy(session: &Session, settings: &Pkcs11Settings, kid: &str) -> Result<(), Error> {
    let mut found = Vec::new();
    for role in [Role::Signing, Role::Sealing] {
        for (form, handle) in labelled(session, role, settings.label(role))? {
            // One that is ambiguous, or whose public half is not there, has no name to be called by.
            let Ok(key) = candidate(session, form, handle) else { continue };
            if kid_of(session, &key).is_ok_and(|name| name == kid) {
                found.push(key);
            }
        }
    }
    let [key] = found.as_slice() else {
        return Err(match found.len() {
            0 => Error::UnknownKey(kid.to_owned()),
            count => Error::KeyAmbiguous { what: format!("keys that are {kid}"), count },
        });
    };
    // The public half last: without it nobody could name what is left.
    let public = public_objects(session, key)?;
    session.destroy_object(key.handle).map_err(failed)?;
    public.into_iter().try_for_each(|half| session.destroy_object(half).map_err(failed))
}
