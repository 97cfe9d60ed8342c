//! The one module with `unsafe`: six PKCS#11 functions called without the length query that the
//! safe binding adds, so that a signature takes two calls and not three.
//!
//! Audited against PKCS#11 3.1: §5.13.1–2 (`C_SignInit`, `C_Sign`), §5.8.2–3 (`C_EncryptInit`,
//! `C_Encrypt`), §5.10.2–3 (`C_DecryptInit`, `C_Decrypt`), and §5.2 (a buffer's length goes in, the
//! length written comes out; a buffer that is too small is an error and is not written past).
#![expect(unsafe_code, reason = "calls through the module's function list; see above")]

use cryptoki::error::{Rv, RvError};
use cryptoki::mechanism::Mechanism;
use cryptoki::object::ObjectHandle;
use cryptoki::session::Session;
use cryptoki_sys::{
    CK_BYTE_PTR, CK_C_Decrypt, CK_C_DecryptInit, CK_C_Encrypt, CK_C_EncryptInit, CK_C_Sign, CK_C_SignInit,
    CK_MECHANISM, CK_OBJECT_HANDLE, CK_RV, CK_SESSION_HANDLE, CK_ULONG,
};

/// The call that looks at a ciphertext.
pub(super) const DECRYPT: &str = "C_Decrypt";

/// A call that failed: the function and what it returned.
pub(super) type Failed = (&'static str, RvError);

type Init = unsafe extern "C" fn(CK_SESSION_HANDLE, *mut CK_MECHANISM, CK_OBJECT_HANDLE) -> CK_RV;
type Run = unsafe extern "C" fn(CK_SESSION_HANDLE, CK_BYTE_PTR, CK_ULONG, CK_BYTE_PTR, *mut CK_ULONG) -> CK_RV;

/// An operation of two calls: `C_…Init` and the single-part function that follows it.
#[derive(Clone, Copy)]
struct Operation {
    init_name: &'static str,
    init: Init,
    run_name: &'static str,
    run: Run,
}

/// The three operations of a loaded module. The module stays loaded as long as this lives.
pub(super) struct Calls {
    sign: Operation,
    encrypt: Operation,
    decrypt: Operation,
    _module: cryptoki_sys::Pkcs11,
}

impl Calls {
    /// Takes the functions from the function list of the module at `path`, which `cryptoki` has
    /// loaded already: the loader gives the same instance again.
    pub(super) fn of_module(path: &std::path::Path) -> Result<Self, String> {
        // SAFETY: loading runs the module's initializers, which `cryptoki` did before; no other
        // code is run by loading it again.
        let module = unsafe { cryptoki_sys::Pkcs11::new(path) }.map_err(|error| error.to_string())?;
        let mut list = std::ptr::null_mut();
        // SAFETY: §5.4.4: C_GetFunctionList may be called at any time and writes one pointer.
        let code = unsafe { module.C_GetFunctionList(&mut list) };
        if code != cryptoki_sys::CKR_OK || list.is_null() {
            return Err(format!("C_GetFunctionList returned {code:#x}"));
        }
        // SAFETY: the list is static data of the module (§3.6), which `_module` keeps loaded.
        let list = unsafe { *list };
        Ok(Self {
            sign: Operation::new("C_SignInit", list.C_SignInit, "C_Sign", list.C_Sign)?,
            encrypt: Operation::new("C_EncryptInit", list.C_EncryptInit, "C_Encrypt", list.C_Encrypt)?,
            decrypt: Operation::new("C_DecryptInit", list.C_DecryptInit, DECRYPT, list.C_Decrypt)?,
            _module: module,
        })
    }

    /// `C_SignInit`, `C_Sign`: writes the signature to `output` and returns its length.
    pub(super) fn sign(
        &self,
        session: &Session,
        mechanism: &Mechanism<'_>,
        key: ObjectHandle,
        data: &[u8],
        output: &mut [u8],
    ) -> Result<usize, Failed> {
        self.sign.call(session, mechanism, key, data, output)
    }

    /// `C_EncryptInit`, `C_Encrypt`: writes the ciphertext to `output` and returns its length.
    pub(super) fn encrypt(
        &self,
        session: &Session,
        mechanism: &Mechanism<'_>,
        key: ObjectHandle,
        data: &[u8],
        output: &mut [u8],
    ) -> Result<usize, Failed> {
        self.encrypt.call(session, mechanism, key, data, output)
    }

    /// `C_DecryptInit`, `C_Decrypt`: writes the plaintext to `output` and returns its length.
    pub(super) fn decrypt(
        &self,
        session: &Session,
        mechanism: &Mechanism<'_>,
        key: ObjectHandle,
        data: &[u8],
        output: &mut [u8],
    ) -> Result<usize, Failed> {
        self.decrypt.call(session, mechanism, key, data, output)
    }
}

impl Operation {
    fn new(
        init_name: &'static str,
        init: Option<Init>,
        run_name: &'static str,
        run: Option<Run>,
    ) -> Result<Self, String> {
        let missing = |name| format!("the module has no {name}");
        Ok(Self {
            init_name,
            init: init.ok_or_else(|| missing(init_name))?,
            run_name,
            run: run.ok_or_else(|| missing(run_name))?,
        })
    }

    fn call(
        &self,
        session: &Session,
        mechanism: &Mechanism<'_>,
        key: ObjectHandle,
        data: &[u8],
        output: &mut [u8],
    ) -> Result<usize, Failed> {
        let mut mechanism = CK_MECHANISM::from(mechanism);
        // SAFETY: the session is open and owned by this thread (`Session` is not `Sync`); the
        // mechanism and what it points to outlive both calls.
        let code = unsafe { (self.init)(session.handle(), &raw mut mechanism, key.handle()) };
        succeeded(self.init_name, code)?;
        let mut written = output.len() as CK_ULONG;
        // SAFETY: `data` is read only (the pointer is mutable in C alone, §2.1); `output` is
        // writable for `written` bytes, and the function writes no more than that (§5.2).
        let code = unsafe {
            (self.run)(
                session.handle(),
                data.as_ptr().cast_mut(),
                data.len() as CK_ULONG,
                output.as_mut_ptr(),
                &raw mut written,
            )
        };
        succeeded(self.run_name, code)?;
        // A module that claims more than there was room for is not believed.
        usize::try_from(written)
            .ok()
            .filter(|length| *length <= output.len())
            .ok_or((self.run_name, RvError::GeneralError))
    }
}

fn succeeded(name: &'static str, code: CK_RV) -> Result<(), Failed> {
    match Rv::from(code) {
        Rv::Ok => Ok(()),
        Rv::Error(error) => Err((name, error)),
    }
}

// The aliases above are the function-pointer types of the binding; this fails to compile if they
// ever come apart.
const _: fn(Init) -> [CK_C_SignInit; 3] =
    |init| [Some(init) as CK_C_SignInit, Some(init) as CK_C_EncryptInit, Some(init) as CK_C_DecryptInit];
const _: fn(Run) -> [CK_C_Sign; 3] =
    |run| [Some(run) as CK_C_Sign, Some(run) as CK_C_Encrypt, Some(run) as CK_C_Decrypt];
