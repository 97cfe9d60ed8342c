//! A key that this module signs with itself, so that the device that is played takes next to nothing of the machine's own
//! processor time: the work of a network HSM is done elsewhere.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{LazyLock, PoisonError, RwLock};

use aws_lc_rs::digest::{Digest, SHA256};
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair};
use cryptoki_sys::*;

use super::{REAL, real};

/// `FAULTY_MODULE_KEY`: a file with the `CKA_ID` of the key, 32 bytes, and the key in PKCS #8. The token has it too.
static KEY: LazyLock<Option<OwnKey>> = LazyLock::new(|| {
    let file = std::fs::read(std::env::var_os("FAULTY_MODULE_KEY")?).expect("FAULTY_MODULE_KEY names a file");
    let (id, pkcs8) = file.split_at_checked(32).expect("FAULTY_MODULE_KEY: an id and a key");
    let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, pkcs8).expect("FAULTY_MODULE_KEY: a key");
    let begun = (0..SESSIONS).map(|_| AtomicBool::new(false)).collect();
    Some(OwnKey { id: id.to_owned(), pair, handles: RwLock::default(), begun })
});

/// Session handles of SoftHSM2 are small and only grow.
const SESSIONS: usize = 4096;

struct OwnKey {
    id: Vec<u8>,
    pair: EcdsaKeyPair,
    /// Whether an object is this key.
    handles: RwLock<HashMap<CK_OBJECT_HANDLE, bool>>,
    /// The sessions that are about to sign with it.
    begun: Vec<AtomicBool>,
}

impl OwnKey {
    fn is(&self, session: CK_SESSION_HANDLE, object: CK_OBJECT_HANDLE) -> bool {
        if let Some(known) = self.handles.read().unwrap_or_else(PoisonError::into_inner).get(&object) {
            return *known;
        }
        let mut id = [0_u8; 32];
        let length = id.len() as CK_ULONG;
        let mut attribute = CK_ATTRIBUTE { type_: CKA_ID, pValue: id.as_mut_ptr().cast(), ulValueLen: length };
        let code = real!(C_GetAttributeValue(session, object, &raw mut attribute, 1));
        let is = code == CKR_OK && attribute.ulValueLen == length && id[..] == self.id[..];
        self.handles.write().unwrap_or_else(PoisonError::into_inner).insert(object, is);
        is
    }

    fn begun(&self, session: CK_SESSION_HANDLE) -> &AtomicBool {
        &self.begun[usize::try_from(session).expect("64 bits") % SESSIONS]
    }
}

/// Begins a signature, where `object` is the key.
pub fn begin(session: CK_SESSION_HANDLE, object: CK_OBJECT_HANDLE) -> Option<CK_RV> {
    let key = KEY.as_ref().filter(|key| key.is(session, object))?;
    key.begun(session).store(true, Ordering::Relaxed);
    Some(CKR_OK)
}

/// Makes the signature that was begun: the data is a SHA-256 digest.
pub fn sign(
    session: CK_SESSION_HANDLE,
    data: (*const CK_BYTE, CK_ULONG),
    output: *mut CK_BYTE,
    output_length: *mut CK_ULONG,
) -> Option<CK_RV> {
    let key = KEY.as_ref()?;
    if !key.begun(session).swap(false, Ordering::Relaxed) {
        return None;
    }
    // SAFETY: the caller of C_Sign gave so many bytes to be read.
    let digest = unsafe { std::slice::from_raw_parts(data.0, usize::try_from(data.1).expect("64 bits")) };
    let digest = Digest::import_less_safe(digest, &SHA256).expect("a SHA-256 digest");
    let signature = key.pair.sign_digest(&digest).expect("a signature");
    // SAFETY: the caller gave both to be written, and so much room.
    unsafe {
        if *output_length < 64 {
            return Some(CKR_BUFFER_TOO_SMALL);
        }
        std::ptr::copy_nonoverlapping(signature.as_ref().as_ptr(), output, 64);
        *output_length = 64;
    }
    Some(CKR_OK)
}
