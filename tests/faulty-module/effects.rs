//! How the effects of a script come about.

use std::fs;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, LazyLock, Mutex, PoisonError};
use std::time::Duration;

use cryptoki_sys::*;

use super::played::played;
use super::script::{Effect, Script, age};
use super::{REAL, real};

static SCRIPT: LazyLock<Mutex<Script>> = LazyLock::new(|| Mutex::new(Script::of_environment()));

/// The newest session, and the newest of those that are lost. Handles only grow, in SoftHSM2.
static NEWEST_SESSION: AtomicU64 = AtomicU64::new(0);
static NEWEST_LOST: AtomicU64 = AtomicU64::new(0);
static LOGGED_OUT: AtomicBool = AtomicBool::new(false);

/// What a call is about, which decides how it fails when that is gone.
#[derive(Clone, Copy)]
pub enum About {
    Module,
    Token,
    Session(CK_SESSION_HANDLE),
    /// Needs the login too.
    Key(CK_SESSION_HANDLE),
    /// The end of an operation that was begun, which ends also where it fails (PKCS#11 3.1 §5.13.2).
    Operation(CK_SESSION_HANDLE),
}

/// Makes the call `function` with what the script has for it.
pub fn around(function: &str, about: About, call: impl FnOnce(&[Effect]) -> CK_RV) -> CK_RV {
    if let Some(device) = played() {
        return device.make(function, || call(&[]));
    }
    let effects = with_script(|script| script.begin(function));
    let code = match happen(&effects).or_else(|| standing(about)) {
        None => within_latency(&effects, || call(&effects)),
        Some(code) => {
            // A buffer that is too small is the one failure that leaves the operation active.
            if matches!(about, About::Operation(_)) && code != CKR_BUFFER_TOO_SMALL {
                call(&[]);
            }
            code
        }
    };
    if code != CKR_OK {
        with_script(|script| script.note(&format!("! {function} {code:#x}")));
    }
    code
}

fn with_script<Value>(act: impl FnOnce(&mut Script) -> Value) -> Value {
    act(&mut SCRIPT.lock().unwrap_or_else(PoisonError::into_inner))
}

/// What happens before the call; the code by which it fails instead.
fn happen(effects: &[Effect]) -> Option<CK_RV> {
    let mut code = None;
    for effect in effects {
        match effect {
            Effect::Return(failure) => code = Some(*failure),
            Effect::Delay(by) => std::thread::sleep(*by),
            Effect::Hang => loop {
                std::thread::sleep(Duration::from_secs(3600));
            },
            Effect::Abort => std::process::abort(),
            Effect::Segfault => {
                // SAFETY: there is none: this ends the process, which is what is asked for. Nothing is ever
                // mapped there.
                unsafe { std::ptr::without_provenance_mut::<u8>(8).write_volatile(0) }
            }
            Effect::LoseSessions => NEWEST_LOST.store(NEWEST_SESSION.load(Ordering::SeqCst), Ordering::SeqCst),
            Effect::LogOut => LOGGED_OUT.store(true, Ordering::SeqCst),
            Effect::RemoveToken(limit) => {
                let text = limit.as_millis().to_string();
                fs::write(removed(), text).expect("a folder that can be written");
            }
            Effect::Latency(..)
            | Effect::FlipBit
            | Effect::Length(_)
            | Effect::OtherKey(_)
            | Effect::RawPoint
            | Effect::OverwriteNonce
            | Effect::OverwriteZeros
            | Effect::AppendNonce
            | Effect::TakeNonce
            | Effect::HideGcm
            | Effect::Flags(_) => {}
        }
    }
    code
}

/// How a call fails while token, sessions or login are gone.
fn standing(about: About) -> Option<CK_RV> {
    let is_removed = token_is_removed();
    match about {
        About::Module => None,
        About::Token => is_removed.then_some(CKR_TOKEN_NOT_PRESENT),
        About::Session(session) | About::Key(session) | About::Operation(session) => {
            if is_removed {
                return Some(CKR_DEVICE_REMOVED);
            }
            if session <= NEWEST_LOST.load(Ordering::SeqCst) {
                return Some(CKR_SESSION_HANDLE_INVALID);
            }
            let needs_login = !matches!(about, About::Session(_));
            (needs_login && LOGGED_OUT.load(Ordering::SeqCst)).then_some(CKR_USER_NOT_LOGGED_IN)
        }
    }
}

fn removed() -> PathBuf {
    with_script(|script| script.folder().join("removed"))
}

/// Whether the token is gone. With it go the sessions.
pub fn token_is_removed() -> bool {
    if played().is_some() {
        return false;
    }
    let file = removed();
    let limit = fs::read_to_string(&file).ok().and_then(|text| text.parse().ok()).map(Duration::from_millis);
    let is_removed = match (age(&file), limit) {
        (Some(age), Some(limit)) => age < limit,
        (Some(_), None) => true,
        (None, _) => false,
    };
    if is_removed {
        NEWEST_LOST.store(NEWEST_SESSION.load(Ordering::SeqCst), Ordering::SeqCst);
    }
    is_removed
}

pub fn session_opened(session: CK_SESSION_HANDLE) {
    NEWEST_SESSION.fetch_max(session, Ordering::SeqCst);
}

/// Says whether the login was lost before.
pub fn logged_in_again() -> bool {
    LOGGED_OUT.swap(false, Ordering::SeqCst)
}

fn within_latency(effects: &[Effect], call: impl FnOnce() -> CK_RV) -> CK_RV {
    let latency = effects.iter().find_map(|effect| match effect {
        Effect::Latency(least, places) => Some((*least, Arc::clone(places))),
        _ => None,
    });
    match latency {
        Some((least, places)) => places.make_within(least, call),
        None => call(),
    }
}

pub fn list_no_slots(count: *mut CK_ULONG) -> CK_RV {
    // SAFETY: the caller of `C_GetSlotList` gave it to be written.
    unsafe { *count = 0 };
    CKR_OK
}

/// Spoils an output that the real module has written.
pub fn spoil(effects: &[Effect], output: *mut CK_BYTE, length: *mut CK_ULONG) {
    // A query for the length has no output.
    if output.is_null() {
        return;
    }
    for effect in effects {
        // SAFETY: the real module has just written `length` bytes, more than none, to `output`.
        match effect {
            Effect::FlipBit => unsafe { *output.add(usize::try_from(*length).expect("64 bits") / 2) ^= 1 },
            Effect::Length(bytes) => unsafe { *length = *bytes },
            _ => {}
        }
    }
}

/// The first private key with the label that an effect names, in the place of `key`.
pub fn replace_key(effects: &[Effect], session: CK_SESSION_HANDLE, key: CK_OBJECT_HANDLE) -> CK_OBJECT_HANDLE {
    let Some(label) = effects.iter().find_map(|effect| match effect {
        Effect::OtherKey(label) => Some(label),
        _ => None,
    }) else {
        return key;
    };
    let mut class = CKO_PRIVATE_KEY;
    let mut label = label.clone().into_bytes();
    let mut template = [
        attribute(CKA_CLASS, (&raw mut class).cast(), size_of::<CK_OBJECT_CLASS>()),
        attribute(CKA_LABEL, label.as_mut_ptr(), label.len()),
    ];
    let (mut found, mut count) = (0, 0);
    let codes = [
        real!(C_FindObjectsInit(session, template.as_mut_ptr(), template.len() as CK_ULONG)),
        real!(C_FindObjects(session, &raw mut found, 1, &raw mut count)),
        real!(C_FindObjectsFinal(session)),
    ];
    assert_eq!((codes, count), ([CKR_OK; 3], 1), "the other key is there");
    found
}

fn attribute(kind: CK_ATTRIBUTE_TYPE, value: *mut u8, length: usize) -> CK_ATTRIBUTE {
    CK_ATTRIBUTE { type_: kind, pValue: value.cast(), ulValueLen: length as CK_ULONG }
}

/// DER of an octet string of 65 bytes begins so.
const DER_PREFIX: usize = 2;

/// `C_GetAttributeValue` of a module that does not wrap points.
pub fn point_bare(
    session: CK_SESSION_HANDLE,
    object: CK_OBJECT_HANDLE,
    template: *mut CK_ATTRIBUTE,
    count: CK_ULONG,
) -> CK_RV {
    // SAFETY: the caller gave an array of so many attributes.
    let attributes = unsafe { std::slice::from_raw_parts_mut(template, usize::try_from(count).expect("64 bits")) };
    let mut last = CKR_OK;
    for asked in attributes {
        if asked.type_ != CKA_EC_POINT {
            last = last.max(real!(C_GetAttributeValue(session, object, asked, 1)));
            continue;
        }
        let mut wrapped = [0; 128];
        let mut own = attribute(CKA_EC_POINT, wrapped.as_mut_ptr(), wrapped.len());
        last = last.max(real!(C_GetAttributeValue(session, object, &raw mut own, 1)));
        let bare = &wrapped[DER_PREFIX..usize::try_from(own.ulValueLen).expect("64 bits")];
        if !asked.pValue.is_null() {
            // SAFETY: the caller asked for the length before, which is that of the bare point.
            unsafe { asked.pValue.cast::<u8>().copy_from_nonoverlapping(bare.as_ptr(), bare.len()) };
        }
        asked.ulValueLen = bare.len() as CK_ULONG;
    }
    last
}
