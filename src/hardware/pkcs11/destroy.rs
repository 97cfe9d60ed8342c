//! Destroying one key for good, by an operator's hand only.

use cryptoki::session::Session;

use super::keys::{candidate, labelled, public_half, public_objects};
use super::{Pkcs11Settings, failed};
use crate::hardware::{Error, Role};
use crate::jose::base64url;

/// Destroys the key `kid` of whichever role. It need not be acceptable: a key that mintkeep refuses is one to be
/// destroyed.
pub(super) fn destroy(session: &Session, settings: &Pkcs11Settings, kid: &str) -> Result<(), Error> {
    let mut found = Vec::new();
    for role in [Role::Signing, Role::Sealing] {
        for handle in labelled(session, role, settings.label(role))? {
            // One that is ambiguous, or whose public half is not there, has no name to be called by.
            let Ok(object) = candidate(session, role, handle) else { continue };
            let name = match role {
                Role::Signing => public_half(session, &object.id).map(|public| public.kid()),
                Role::Sealing => Ok(base64url::encode(&object.id)),
            };
            if name.is_ok_and(|name| name == kid) {
                found.push((role, object));
            }
        }
    }
    let [(role, object)] = found.as_slice() else {
        return Err(match found.len() {
            0 => Error::UnknownKey(kid.to_owned()),
            count => Error::KeyAmbiguous { what: format!("keys that are {kid}"), count },
        });
    };
    // The public half last: without it nobody could name what is left.
    let public = if *role == Role::Signing { public_objects(session, &object.id)? } else { Vec::new() };
    session.destroy_object(object.handle).map_err(failed)?;
    public.into_iter().try_for_each(|half| session.destroy_object(half).map_err(failed))
}
