//! A PKCS#11 module for tests: it stands in front of a real one, passes every call through, and misbehaves
//! where its script says so. It is an example of the package, so that `cargo test` builds it and no release has it.
//!
//! It reads these variables: `FAULTY_MODULE_VERSION`, `3` where it is to be a module of PKCS#11 3.0 with functions for
//! messages; `FAULTY_MODULE_REAL`, the module behind it; and `FAULTY_MODULE_FOLDER`, a folder with
//!
//! - `script`: what goes wrong, see [`script`]. A new one takes effect at the next call, and counts afresh;
//! - `calls`: written here; a line for each call when it begins, and one for each that failed.
//!
//! With `FAULTY_MODULE_PLAYS` nothing goes wrong, and there is no folder: see [`played`]. `FAULTY_MODULE_KEY` is a key that
//! it signs with itself: see [`own_key`].
#![expect(unsafe_code, reason = "it is the other side of a C interface")]
#![expect(non_snake_case, reason = "the functions have the names of the specification")]
#![expect(clippy::disallowed_methods, reason = "it emulates the time that a device takes")]
#![expect(unreachable_pub, reason = "the modules of a shared library have no outside")]

mod effects;
mod gcm;
mod latency;
mod own_key;
mod played;
mod script;

use std::ffi::c_void;
use std::sync::{LazyLock, OnceLock};

use cryptoki_sys::*;

use self::effects::{About, around, list_no_slots, point_bare, replace_key, spoil};
use self::script::Effect;

/// The module behind this one. It is never let go: its functions are called until the process ends.
struct Real {
    _module: Pkcs11,
    functions: CK_FUNCTION_LIST,
}

static REAL: LazyLock<Real> = LazyLock::new(|| {
    let path = std::env::var_os("FAULTY_MODULE_REAL").expect("FAULTY_MODULE_REAL names the real module");
    // SAFETY: loading a module runs its initializers, as loading it without this one in front would.
    let module = unsafe { Pkcs11::new(path) }.expect("the real module can be loaded");
    let mut list = std::ptr::null_mut();
    // SAFETY: PKCS#11 3.1 §5.4.4: may be called at any time, and writes one pointer to static data.
    let functions = unsafe {
        assert_eq!(module.C_GetFunctionList(&mut list), CKR_OK);
        *list
    };
    Real { _module: module, functions }
});

static LIST: OnceLock<CK_FUNCTION_LIST> = OnceLock::new();

/// A function of the module behind this one.
macro_rules! real {
    ($name:ident($($argument:expr),*)) => {
        // SAFETY: the caller's arguments are passed on as they came.
        unsafe { REAL.functions.$name.expect("the real module has every function")($($argument),*) }
    };
}
use real;

/// Functions that need nothing but what all have: counting, return codes, delays, ends.
macro_rules! passed_through {
    ($($about:expr => $name:ident($($argument:ident: $type:ty),*);)*) => {$(
        unsafe extern "C" fn $name($($argument: $type),*) -> CK_RV {
            around(stringify!($name), $about, |_| real!($name($($argument),*)))
        }
    )*};
}

passed_through! {
    About::Module => C_Initialize(arguments: *mut c_void);
    About::Module => C_Finalize(reserved: *mut c_void);
    About::Module => C_GetInfo(info: *mut CK_INFO);
    About::Session(session) => C_CloseSession(session: CK_SESSION_HANDLE);
    About::Session(session) => C_GetSessionInfo(session: CK_SESSION_HANDLE, info: *mut CK_SESSION_INFO);
    About::Session(session) => C_Logout(session: CK_SESSION_HANDLE);
    About::Session(session) => C_FindObjectsInit(
        session: CK_SESSION_HANDLE, template: *mut CK_ATTRIBUTE, count: CK_ULONG
    );
    About::Session(session) => C_FindObjects(
        session: CK_SESSION_HANDLE, objects: *mut CK_OBJECT_HANDLE, most: CK_ULONG, count: *mut CK_ULONG
    );
    About::Session(session) => C_FindObjectsFinal(session: CK_SESSION_HANDLE);
    About::Session(session) => C_SetAttributeValue(
        session: CK_SESSION_HANDLE, object: CK_OBJECT_HANDLE, template: *mut CK_ATTRIBUTE, count: CK_ULONG
    );
    About::Key(session) => C_CopyObject(
        session: CK_SESSION_HANDLE, object: CK_OBJECT_HANDLE, template: *mut CK_ATTRIBUTE, count: CK_ULONG,
        copy: *mut CK_OBJECT_HANDLE
    );
    About::Session(session) => C_DestroyObject(session: CK_SESSION_HANDLE, object: CK_OBJECT_HANDLE);
    About::Key(session) => C_GenerateKey(
        session: CK_SESSION_HANDLE, mechanism: *mut CK_MECHANISM, template: *mut CK_ATTRIBUTE, count: CK_ULONG,
        key: *mut CK_OBJECT_HANDLE
    );
    About::Key(session) => C_GenerateKeyPair(
        session: CK_SESSION_HANDLE, mechanism: *mut CK_MECHANISM, public_template: *mut CK_ATTRIBUTE,
        public_count: CK_ULONG, private_template: *mut CK_ATTRIBUTE, private_count: CK_ULONG,
        public: *mut CK_OBJECT_HANDLE, private: *mut CK_OBJECT_HANDLE
    );
}

unsafe extern "C" fn C_GetSlotList(present: CK_BBOOL, list: *mut CK_SLOT_ID, count: *mut CK_ULONG) -> CK_RV {
    around("C_GetSlotList", About::Module, |_| match effects::token_is_removed() {
        true => list_no_slots(count),
        false => real!(C_GetSlotList(present, list, count)),
    })
}

unsafe extern "C" fn C_GetTokenInfo(slot: CK_SLOT_ID, info: *mut CK_TOKEN_INFO) -> CK_RV {
    around("C_GetTokenInfo", About::Token, |effects| {
        let code = real!(C_GetTokenInfo(slot, info));
        for effect in effects {
            if let Effect::Flags(flags) = effect
                && code == CKR_OK
            {
                // SAFETY: the real module has filled it in.
                unsafe { (*info).flags |= flags };
            }
        }
        code
    })
}

unsafe extern "C" fn C_OpenSession(
    slot: CK_SLOT_ID,
    flags: CK_FLAGS,
    application: *mut c_void,
    notify: CK_NOTIFY,
    session: *mut CK_SESSION_HANDLE,
) -> CK_RV {
    around("C_OpenSession", About::Token, |_| {
        let code = real!(C_OpenSession(slot, flags, application, notify, session));
        if code == CKR_OK {
            // SAFETY: the real module has written the handle.
            effects::session_opened(unsafe { *session });
        }
        code
    })
}

unsafe extern "C" fn C_Login(
    session: CK_SESSION_HANDLE,
    user: CK_USER_TYPE,
    pin: *mut CK_UTF8CHAR,
    length: CK_ULONG,
) -> CK_RV {
    around("C_Login", About::Session(session), |_| {
        let was_logged_out = effects::logged_in_again();
        match real!(C_Login(session, user, pin, length)) {
            // The module behind does not know that the login was lost.
            CKR_USER_ALREADY_LOGGED_IN if was_logged_out => CKR_OK,
            code => code,
        }
    })
}

unsafe extern "C" fn C_GetAttributeValue(
    session: CK_SESSION_HANDLE,
    object: CK_OBJECT_HANDLE,
    template: *mut CK_ATTRIBUTE,
    count: CK_ULONG,
) -> CK_RV {
    around("C_GetAttributeValue", About::Session(session), |effects| {
        if effects.iter().any(|effect| matches!(effect, Effect::RawPoint)) {
            return point_bare(session, object, template, count);
        }
        real!(C_GetAttributeValue(session, object, template, count))
    })
}

unsafe extern "C" fn C_SignInit(
    session: CK_SESSION_HANDLE,
    mechanism: *mut CK_MECHANISM,
    key: CK_OBJECT_HANDLE,
) -> CK_RV {
    around("C_SignInit", About::Key(session), |effects| {
        let key = replace_key(effects, session, key);
        own_key::begin(session, key).unwrap_or_else(|| real!(C_SignInit(session, mechanism, key)))
    })
}

unsafe extern "C" fn C_DeriveKey(
    session: CK_SESSION_HANDLE,
    mechanism: *mut CK_MECHANISM,
    key: CK_OBJECT_HANDLE,
    template: *mut CK_ATTRIBUTE,
    count: CK_ULONG,
    derived: *mut CK_OBJECT_HANDLE,
) -> CK_RV {
    around("C_DeriveKey", About::Key(session), |effects| {
        let key = replace_key(effects, session, key);
        real!(C_DeriveKey(session, mechanism, key, template, count, derived))
    })
}

unsafe extern "C" fn C_EncryptInit(
    session: CK_SESSION_HANDLE,
    mechanism: *mut CK_MECHANISM,
    key: CK_OBJECT_HANDLE,
) -> CK_RV {
    around("C_EncryptInit", About::Key(session), |effects| gcm::encrypt_init(effects, session, mechanism, key))
}

unsafe extern "C" fn C_DecryptInit(
    session: CK_SESSION_HANDLE,
    mechanism: *mut CK_MECHANISM,
    key: CK_OBJECT_HANDLE,
) -> CK_RV {
    around("C_DecryptInit", About::Key(session), |effects| {
        // SAFETY: the caller gave a mechanism.
        match gcm::is_hidden(effects, unsafe { (*mechanism).mechanism }) {
            true => CKR_MECHANISM_INVALID,
            false => real!(C_DecryptInit(session, mechanism, key)),
        }
    })
}

unsafe extern "C" fn C_GetMechanismList(slot: CK_SLOT_ID, list: *mut CK_MECHANISM_TYPE, count: *mut CK_ULONG) -> CK_RV {
    around("C_GetMechanismList", About::Token, |effects| gcm::list_mechanisms(effects, slot, list, count))
}

unsafe extern "C" fn C_GetMechanismInfo(
    slot: CK_SLOT_ID,
    kind: CK_MECHANISM_TYPE,
    info: *mut CK_MECHANISM_INFO,
) -> CK_RV {
    around("C_GetMechanismInfo", About::Token, |effects| match gcm::is_hidden(effects, kind) {
        true => CKR_MECHANISM_INVALID,
        false => real!(C_GetMechanismInfo(slot, kind, info)),
    })
}

/// Functions that end what an `…Init` began, with an output that can be spoilt.
macro_rules! with_output {
    ($($name:ident $(or $own:expr)?),*) => {$(
        unsafe extern "C" fn $name(
            session: CK_SESSION_HANDLE,
            input: *mut CK_BYTE,
            input_length: CK_ULONG,
            output: *mut CK_BYTE,
            output_length: *mut CK_ULONG,
        ) -> CK_RV {
            around(stringify!($name), About::Operation(session), |effects| {
                // SAFETY: the caller said how much room there is.
                let room = unsafe { *output_length };
                let own = None$(.or_else(|| $own(session, (input, input_length), output, output_length)))?;
                let mut code =
                    own.unwrap_or_else(|| real!($name(session, input, input_length, output, output_length)));
                if code == CKR_OK && effects.iter().any(|effect| matches!(effect, Effect::AppendNonce)) {
                    code = gcm::append_nonce(session, output, output_length, room);
                }
                if code == CKR_OK {
                    spoil(effects, output, output_length);
                }
                code
            })
        }
    )*};
}

with_output!(C_Sign or own_key::sign, C_Encrypt, C_Decrypt);

/// PKCS#11 3.1 §5.4.4.
///
/// # Safety
/// `list` is valid to write one pointer to.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn C_GetFunctionList(list: *mut *mut CK_FUNCTION_LIST) -> CK_RV {
    // SAFETY: the caller's duty; nobody writes through the pointer (§3.6).
    unsafe { *list = std::ptr::from_ref(ours()).cast_mut() };
    CKR_OK
}

fn ours() -> &'static CK_FUNCTION_LIST {
    LIST.get_or_init(|| CK_FUNCTION_LIST {
        C_Initialize: Some(C_Initialize),
        C_Finalize: Some(C_Finalize),
        C_GetInfo: Some(C_GetInfo),
        C_GetFunctionList: Some(C_GetFunctionList),
        C_GetSlotList: Some(C_GetSlotList),
        C_GetTokenInfo: Some(C_GetTokenInfo),
        C_GetMechanismList: Some(C_GetMechanismList),
        C_GetMechanismInfo: Some(C_GetMechanismInfo),
        C_OpenSession: Some(C_OpenSession),
        C_CloseSession: Some(C_CloseSession),
        C_GetSessionInfo: Some(C_GetSessionInfo),
        C_Login: Some(C_Login),
        C_Logout: Some(C_Logout),
        C_FindObjectsInit: Some(C_FindObjectsInit),
        C_FindObjects: Some(C_FindObjects),
        C_FindObjectsFinal: Some(C_FindObjectsFinal),
        C_GetAttributeValue: Some(C_GetAttributeValue),
        C_SetAttributeValue: Some(C_SetAttributeValue),
        C_CopyObject: Some(C_CopyObject),
        C_DestroyObject: Some(C_DestroyObject),
        C_SignInit: Some(C_SignInit),
        C_Sign: Some(C_Sign),
        C_EncryptInit: Some(C_EncryptInit),
        C_Encrypt: Some(C_Encrypt),
        C_DecryptInit: Some(C_DecryptInit),
        C_Decrypt: Some(C_Decrypt),
        C_DeriveKey: Some(C_DeriveKey),
        C_GenerateKey: Some(C_GenerateKey),
        C_GenerateKeyPair: Some(C_GenerateKeyPair),
        ..REAL.functions
    })
}

/// What `C_GetInterface` tells, and the functions in it.
struct Interface {
    interface: CK_INTERFACE,
    _functions: Box<CK_FUNCTION_LIST_3_0>,
}

// SAFETY: what the pointers in it point to is written once, before there is one, and only read then.
unsafe impl Send for Interface {}
// SAFETY: likewise.
unsafe impl Sync for Interface {}

static INTERFACE: LazyLock<Interface> = LazyLock::new(|| {
    let mut functions = Box::new(CK_FUNCTION_LIST_3_0::default());
    // SAFETY: a list of a later version begins with those before it (PKCS#11 3.1 §3.6).
    unsafe { std::ptr::from_mut(functions.as_mut()).cast::<CK_FUNCTION_LIST>().write(*ours()) };
    if std::env::var_os("FAULTY_MODULE_VERSION").is_some_and(|version| version == "3") {
        functions.version = CK_VERSION { major: 3, minor: 0 };
        functions.C_GetInterface = Some(C_GetInterface);
        gcm::add_messages(&mut functions);
    }
    let interface = CK_INTERFACE {
        pInterfaceName: c"PKCS 11".as_ptr().cast_mut().cast(),
        pFunctionList: std::ptr::from_mut(functions.as_mut()).cast(),
        flags: 0,
    };
    Interface { interface, _functions: functions }
});

/// PKCS#11 3.1 §5.4.6. Without being asked for version 3 this module is one of version 2.40, as before.
///
/// # Safety
/// `interface` is valid to write one pointer to.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn C_GetInterface(
    _name: *mut CK_UTF8CHAR,
    _version: *mut CK_VERSION,
    interface: *mut *mut CK_INTERFACE,
    _flags: CK_FLAGS,
) -> CK_RV {
    // SAFETY: the caller's duty; nobody writes through the pointer.
    unsafe { *interface = std::ptr::from_ref(&INTERFACE.interface).cast_mut() };
    CKR_OK
}
