//! AES-GCM as other devices have it: with nonces of their own, by messages, or not at all.

use std::collections::HashMap;
use std::ffi::c_void;
use std::io::Read as _;
use std::sync::{LazyLock, Mutex};

use cryptoki_sys::*;

use super::effects::{About, around};
use super::script::Effect;
use super::{REAL, real};

const NONCE_BYTES: usize = 12;
const TAG_BYTES: usize = 16;

/// By session: the nonce that is to be appended to what it encrypts now.
static APPENDED: LazyLock<Mutex<HashMap<CK_SESSION_HANDLE, [u8; NONCE_BYTES]>>> = LazyLock::new(Mutex::default);

/// By session and direction: the key of the messages.
static MESSAGES: LazyLock<Mutex<HashMap<(CK_SESSION_HANDLE, Direction), CK_OBJECT_HANDLE>>> =
    LazyLock::new(Mutex::default);

#[derive(Clone, Copy, Eq, Hash, PartialEq)]
pub enum Direction {
    Encrypt,
    Decrypt,
}

fn random_nonce() -> [u8; NONCE_BYTES] {
    let mut nonce = [0; NONCE_BYTES];
    let mut source = std::fs::File::open("/dev/urandom").expect("the system has one");
    source.read_exact(&mut nonce).expect("it has no end");
    nonce
}

fn has(effects: &[Effect], wanted: fn(&Effect) -> bool) -> bool {
    effects.iter().any(wanted)
}

/// Whether `mechanism` is one that the device does not have.
pub fn is_hidden(effects: &[Effect], mechanism: CK_MECHANISM_TYPE) -> bool {
    mechanism == CKM_AES_GCM && has(effects, |effect| matches!(effect, Effect::HideGcm))
}

/// `C_GetMechanismList` of a device that hides some.
pub fn list_mechanisms(
    effects: &[Effect],
    slot: CK_SLOT_ID,
    list: *mut CK_MECHANISM_TYPE,
    count: *mut CK_ULONG,
) -> CK_RV {
    let code = real!(C_GetMechanismList(slot, list, count));
    if code == CKR_OK && !list.is_null() {
        // SAFETY: the real module has written so many.
        let all = unsafe { std::slice::from_raw_parts_mut(list, usize::try_from(*count).expect("64 bits")) };
        let mut shown = 0;
        for index in 0..all.len() {
            if !is_hidden(effects, all[index]) {
                all[shown] = all[index];
                shown += 1;
            }
        }
        // SAFETY: the caller gave it to be written.
        unsafe { *count = shown as CK_ULONG };
    }
    code
}

/// `C_EncryptInit`, after which the nonce is what the effects want it to be.
pub fn encrypt_init(
    effects: &[Effect],
    session: CK_SESSION_HANDLE,
    mechanism: *mut CK_MECHANISM,
    key: CK_OBJECT_HANDLE,
) -> CK_RV {
    // SAFETY: the caller gave a mechanism, with its parameters (PKCS#11 3.1 §6.13.3).
    let parameters = unsafe {
        ((*mechanism).mechanism == CKM_AES_GCM).then(|| &mut *(*mechanism).pParameter.cast::<CK_GCM_PARAMS>())
    };
    let Some(parameters) = parameters else { return real!(C_EncryptInit(session, mechanism, key)) };
    if is_hidden(effects, CKM_AES_GCM) {
        return CKR_MECHANISM_INVALID;
    }
    // SAFETY: it is a buffer of that length.
    let given = unsafe {
        std::slice::from_raw_parts_mut(parameters.pIv, usize::try_from(parameters.ulIvLen).expect("64 bits"))
    };
    if has(effects, |effect| matches!(effect, Effect::OverwriteZeros)) && *given != [0; NONCE_BYTES] {
        return CKR_MECHANISM_PARAM_INVALID;
    }
    if has(effects, |effect| matches!(effect, Effect::OverwriteNonce | Effect::OverwriteZeros)) {
        given.copy_from_slice(&random_nonce());
    }
    if has(effects, |effect| matches!(effect, Effect::AppendNonce)) {
        let mut nonce = random_nonce();
        APPENDED.lock().expect("no panic while it is held").insert(session, nonce);
        let mut own = *parameters;
        (own.pIv, own.ulIvLen) = (nonce.as_mut_ptr(), nonce.len() as CK_ULONG);
        return init(session, &mut own, key, Direction::Encrypt);
    }
    real!(C_EncryptInit(session, mechanism, key))
}

fn init(
    session: CK_SESSION_HANDLE,
    parameters: &mut CK_GCM_PARAMS,
    key: CK_OBJECT_HANDLE,
    direction: Direction,
) -> CK_RV {
    let mut mechanism = CK_MECHANISM {
        mechanism: CKM_AES_GCM,
        pParameter: std::ptr::from_mut(parameters).cast(),
        ulParameterLen: size_of::<CK_GCM_PARAMS>() as CK_ULONG,
    };
    match direction {
        Direction::Encrypt => real!(C_EncryptInit(session, &raw mut mechanism, key)),
        Direction::Decrypt => real!(C_DecryptInit(session, &raw mut mechanism, key)),
    }
}

fn run(
    session: CK_SESSION_HANDLE,
    input: *mut CK_BYTE,
    input_length: CK_ULONG,
    output: &mut [u8],
    direction: Direction,
) -> CK_RV {
    let (output, mut length) = (output.as_mut_ptr(), output.len() as CK_ULONG);
    match direction {
        Direction::Encrypt => real!(C_Encrypt(session, input, input_length, output, &raw mut length)),
        Direction::Decrypt => real!(C_Decrypt(session, input, input_length, output, &raw mut length)),
    }
}

/// Appends the nonce where that is to be, after the real module has written `length` bytes to `output`.
pub fn append_nonce(session: CK_SESSION_HANDLE, output: *mut CK_BYTE, length: *mut CK_ULONG, room: CK_ULONG) -> CK_RV {
    let nonce = APPENDED.lock().expect("no panic while it is held").remove(&session);
    let Some(nonce) = nonce else { return CKR_OK };
    // SAFETY: the caller gave a buffer of `room` bytes, and the real module has told how many it used.
    unsafe {
        if *length + NONCE_BYTES as CK_ULONG > room {
            return CKR_BUFFER_TOO_SMALL;
        }
        output.add(usize::try_from(*length).expect("64 bits")).copy_from_nonoverlapping(nonce.as_ptr(), NONCE_BYTES);
        *length += NONCE_BYTES as CK_ULONG;
    }
    CKR_OK
}

/// The functions of PKCS#11 3.0 for messages, on top of a module of 2.40.
pub fn add_messages(list: &mut CK_FUNCTION_LIST_3_0) {
    list.C_MessageEncryptInit = Some(C_MessageEncryptInit);
    list.C_EncryptMessage = Some(C_EncryptMessage);
    list.C_MessageEncryptFinal = Some(C_MessageEncryptFinal);
    list.C_MessageDecryptInit = Some(C_MessageDecryptInit);
    list.C_DecryptMessage = Some(C_DecryptMessage);
    list.C_MessageDecryptFinal = Some(C_MessageDecryptFinal);
}

macro_rules! messages {
    ($direction:expr => $init:ident, $final:ident) => {
        unsafe extern "C" fn $init(
            session: CK_SESSION_HANDLE,
            mechanism: *mut CK_MECHANISM,
            key: CK_OBJECT_HANDLE,
        ) -> CK_RV {
            around(stringify!($init), About::Key(session), |_| {
                // SAFETY: the caller gave a mechanism.
                if unsafe { (*mechanism).mechanism } != CKM_AES_GCM {
                    return CKR_MECHANISM_INVALID;
                }
                let mut messages = MESSAGES.lock().expect("no panic while it is held");
                match messages.insert((session, $direction), key) {
                    Some(_) => CKR_OPERATION_ACTIVE,
                    None => CKR_OK,
                }
            })
        }

        unsafe extern "C" fn $final(session: CK_SESSION_HANDLE) -> CK_RV {
            around(stringify!($final), About::Session(session), |_| {
                match MESSAGES.lock().expect("no panic while it is held").remove(&(session, $direction)) {
                    Some(_) => CKR_OK,
                    None => CKR_OPERATION_NOT_INITIALIZED,
                }
            })
        }
    };
}

messages!(Direction::Encrypt => C_MessageEncryptInit, C_MessageEncryptFinal);
messages!(Direction::Decrypt => C_MessageDecryptInit, C_MessageDecryptFinal);

fn key_of(session: CK_SESSION_HANDLE, direction: Direction) -> Option<CK_OBJECT_HANDLE> {
    MESSAGES.lock().expect("no panic while it is held").get(&(session, direction)).copied()
}

/// The parameters of a message as those of a whole ciphertext.
fn whole(message: &CK_GCM_MESSAGE_PARAMS, aad: *mut CK_BYTE, aad_length: CK_ULONG) -> CK_GCM_PARAMS {
    CK_GCM_PARAMS {
        pIv: message.pIv,
        ulIvLen: message.ulIvLen,
        ulIvBits: message.ulIvLen * 8,
        pAAD: aad,
        ulAADLen: aad_length,
        ulTagBits: message.ulTagBits,
    }
}

unsafe extern "C" fn C_EncryptMessage(
    session: CK_SESSION_HANDLE,
    parameters: *mut c_void,
    _parameters_length: CK_ULONG,
    aad: *mut CK_BYTE,
    aad_length: CK_ULONG,
    text: *mut CK_BYTE,
    text_length: CK_ULONG,
    output: *mut CK_BYTE,
    output_length: *mut CK_ULONG,
) -> CK_RV {
    around("C_EncryptMessage", About::Key(session), |effects| {
        let Some(key) = key_of(session, Direction::Encrypt) else { return CKR_OPERATION_NOT_INITIALIZED };
        // SAFETY: what the caller gave is as PKCS#11 3.1 §5.9.2 says; tag and ciphertext have room for what is
        // written to them.
        unsafe {
            *output_length = text_length;
            if output.is_null() {
                return CKR_OK;
            }
            let message = &*parameters.cast::<CK_GCM_MESSAGE_PARAMS>();
            let takes_nonce = has(effects, |effect| matches!(effect, Effect::TakeNonce));
            if message.ivGenerator == CKG_GENERATE && !takes_nonce {
                message.pIv.copy_from_nonoverlapping(random_nonce().as_ptr(), NONCE_BYTES);
            }
            let code = init(session, &mut whole(message, aad, aad_length), key, Direction::Encrypt);
            if code != CKR_OK {
                return code;
            }
            let length = usize::try_from(text_length).expect("64 bits");
            let mut sealed = vec![0; length + TAG_BYTES];
            let code = run(session, text, text_length, &mut sealed, Direction::Encrypt);
            if code == CKR_OK {
                output.copy_from_nonoverlapping(sealed.as_ptr(), length);
                message.pTag.copy_from_nonoverlapping(sealed[length..].as_ptr(), TAG_BYTES);
            }
            code
        }
    })
}

unsafe extern "C" fn C_DecryptMessage(
    session: CK_SESSION_HANDLE,
    parameters: *mut c_void,
    _parameters_length: CK_ULONG,
    aad: *mut CK_BYTE,
    aad_length: CK_ULONG,
    ciphertext: *mut CK_BYTE,
    ciphertext_length: CK_ULONG,
    output: *mut CK_BYTE,
    output_length: *mut CK_ULONG,
) -> CK_RV {
    around("C_DecryptMessage", About::Key(session), |_| {
        let Some(key) = key_of(session, Direction::Decrypt) else { return CKR_OPERATION_NOT_INITIALIZED };
        // SAFETY: as above.
        unsafe {
            *output_length = ciphertext_length;
            if output.is_null() {
                return CKR_OK;
            }
            let message = &*parameters.cast::<CK_GCM_MESSAGE_PARAMS>();
            let code = init(session, &mut whole(message, aad, aad_length), key, Direction::Decrypt);
            if code != CKR_OK {
                return code;
            }
            let length = usize::try_from(ciphertext_length).expect("64 bits");
            let mut sealed = std::slice::from_raw_parts(ciphertext, length).to_vec();
            sealed.extend_from_slice(std::slice::from_raw_parts(message.pTag, TAG_BYTES));
            // The real module wants room for the tag too.
            let mut text = vec![0; sealed.len()];
            let input_length = sealed.len() as CK_ULONG;
            let code = run(session, sealed.as_mut_ptr(), input_length, &mut text, Direction::Decrypt);
            if code == CKR_OK {
                output.copy_from_nonoverlapping(text.as_ptr(), length);
            }
            code
        }
    })
}
