//! Signing: two PKCS#11 calls, and what their output must look like.

use cryptoki::mechanism::Mechanism;
use cryptoki::object::ObjectHandle;
use cryptoki::session::Session as Pkcs11Session;

use super::calls::Calls;
use super::failed_call;
use crate::hardware::Error;
use crate::jose::jws::Signature;

pub(super) fn sign(
    session: &Pkcs11Session,
    calls: &Calls,
    key: ObjectHandle,
    digest: &[u8; 32],
) -> Result<Signature, Error> {
    let mut signature = [0; 64];
    match calls.sign(session, &Mechanism::Ecdsa, key, digest, &mut signature).map_err(failed_call)? {
        64 => Ok(signature),
        length => Err(Error::Call {
            call: "C_Sign".to_owned(),
            reason: format!("a signature of {length} bytes, expected 64"),
        }),
    }
}
