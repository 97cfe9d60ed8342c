//! What can go wrong with a call.

use std::fmt;

use cryptoki_sys::*;

/// A fault, as the script of the faulty module has it.
#[derive(Clone, Debug)]
pub struct Fault(String);

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Fault {
    /// The code that it makes the call return, where it does.
    pub fn code(&self) -> Option<CK_RV> {
        let digits = self.0.strip_prefix("return 0x")?;
        CK_RV::from_str_radix(digits, 16).ok()
    }

    /// Whether a login that ended so may have cost the token one of its tries.
    pub fn may_cost_a_try(&self) -> bool {
        match self.code() {
            Some(code) => !HARMLESS_AT_LOGIN.contains(&code),
            None => ["hang", "abort", "segfault"].contains(&self.0.as_str()),
        }
    }
}

/// Codes by which a token says that it did not look at the PIN, or that it needs none.
const HARMLESS_AT_LOGIN: &[CK_RV] = &[
    CKR_USER_ALREADY_LOGGED_IN,
    CKR_DEVICE_REMOVED,
    CKR_TOKEN_NOT_PRESENT,
    CKR_SESSION_CLOSED,
    CKR_SESSION_HANDLE_INVALID,
    CKR_CRYPTOKI_NOT_INITIALIZED,
    CKR_HOST_MEMORY,
    CKR_DEVICE_MEMORY,
];

/// What every function may return (PKCS#11 3.1 §5.1.1), and one of a vendor's own.
const ALL: &[CK_RV] =
    &[CKR_GENERAL_ERROR, CKR_HOST_MEMORY, CKR_FUNCTION_FAILED, CKR_ARGUMENTS_BAD, CKR_VENDOR_DEFINED | 0x2a];

/// What functions that reach the device may return (§5.1.1 to §5.1.3).
const DEVICE: &[CK_RV] = &[CKR_DEVICE_ERROR, CKR_DEVICE_MEMORY, CKR_DEVICE_REMOVED, CKR_CRYPTOKI_NOT_INITIALIZED];

const SESSION: &[CK_RV] = &[CKR_SESSION_HANDLE_INVALID, CKR_SESSION_CLOSED];

const KEY: &[CK_RV] = &[
    CKR_USER_NOT_LOGGED_IN,
    CKR_KEY_HANDLE_INVALID,
    CKR_OBJECT_HANDLE_INVALID,
    CKR_OPERATION_ACTIVE,
    CKR_KEY_FUNCTION_NOT_PERMITTED,
    CKR_MECHANISM_INVALID,
    CKR_PIN_EXPIRED,
];

/// What functions that make objects, or change them, may return (§5.7.7, §5.18).
const CREATION: &[CK_RV] = &[
    CKR_ACTION_PROHIBITED,
    CKR_ATTRIBUTE_READ_ONLY,
    CKR_ATTRIBUTE_VALUE_INVALID,
    CKR_MECHANISM_INVALID,
    CKR_OBJECT_HANDLE_INVALID,
    CKR_SESSION_READ_ONLY,
    CKR_TEMPLATE_INCONSISTENT,
    CKR_TOKEN_WRITE_PROTECTED,
    CKR_USER_NOT_LOGGED_IN,
];

const OPERATION: &[CK_RV] = &[
    CKR_USER_NOT_LOGGED_IN,
    CKR_OPERATION_NOT_INITIALIZED,
    CKR_BUFFER_TOO_SMALL,
    CKR_DATA_LEN_RANGE,
    CKR_DATA_INVALID,
    CKR_FUNCTION_CANCELED,
];

/// Every fault that the sweep makes of a call to `function`.
pub fn faults_of(function: &str) -> Vec<Fault> {
    let parts: &[&[CK_RV]] = match function {
        "C_Initialize" => &[ALL, &[CKR_CANT_LOCK, CKR_NEED_TO_CREATE_THREADS]],
        "C_Finalize" | "C_GetInfo" => &[ALL, &[CKR_CRYPTOKI_NOT_INITIALIZED]],
        "C_GetSlotList" => &[ALL, &[CKR_CRYPTOKI_NOT_INITIALIZED, CKR_BUFFER_TOO_SMALL]],
        "C_GetTokenInfo" | "C_GetMechanismList" | "C_GetMechanismInfo" => {
            &[ALL, DEVICE, &[CKR_SLOT_ID_INVALID, CKR_TOKEN_NOT_PRESENT, CKR_TOKEN_NOT_RECOGNIZED]]
        }
        "C_OpenSession" => &[ALL, DEVICE, &[CKR_SESSION_COUNT, CKR_TOKEN_NOT_PRESENT, CKR_SLOT_ID_INVALID]],
        "C_Login" => &[
            ALL,
            DEVICE,
            SESSION,
            &[
                CKR_PIN_INCORRECT,
                CKR_PIN_LOCKED,
                CKR_PIN_EXPIRED,
                CKR_PIN_LEN_RANGE,
                CKR_USER_PIN_NOT_INITIALIZED,
                CKR_USER_ALREADY_LOGGED_IN,
                CKR_USER_ANOTHER_ALREADY_LOGGED_IN,
                CKR_USER_TOO_MANY_TYPES,
                CKR_FUNCTION_CANCELED,
                CKR_OPERATION_NOT_INITIALIZED,
            ],
        ],
        "C_GetAttributeValue" => &[ALL, DEVICE, SESSION, &[CKR_OBJECT_HANDLE_INVALID]],
        "C_CopyObject" => {
            &[ALL, DEVICE, SESSION, &[CKR_OBJECT_HANDLE_INVALID, CKR_ACTION_PROHIBITED, CKR_USER_NOT_LOGGED_IN]]
        }
        "C_DestroyObject" => &[ALL, DEVICE, SESSION, &[CKR_OBJECT_HANDLE_INVALID, CKR_ACTION_PROHIBITED]],
        "C_SignInit" | "C_EncryptInit" | "C_DecryptInit" => &[ALL, DEVICE, SESSION, KEY],
        "C_Sign" | "C_Encrypt" => &[ALL, DEVICE, SESSION, OPERATION],
        "C_Decrypt" => &[ALL, DEVICE, SESSION, OPERATION, &[CKR_ENCRYPTED_DATA_INVALID, CKR_ENCRYPTED_DATA_LEN_RANGE]],
        "C_GenerateKey" | "C_GenerateKeyPair" | "C_SetAttributeValue" => &[ALL, DEVICE, SESSION, CREATION],
        _ => &[ALL, DEVICE, SESSION, &[CKR_OPERATION_ACTIVE, CKR_OPERATION_NOT_INITIALIZED]],
    };
    let mut faults: Vec<Fault> =
        parts.iter().flat_map(|codes| codes.iter()).map(|code| Fault(format!("return {code:#x}"))).collect();
    let further: &[&str] = match function {
        "C_Sign" => &["flip-bit", "length 63", "length 65"],
        // A sealed token with a flipped bit is one that the client loses: the device alone could know.
        "C_Encrypt" | "C_Decrypt" => &["length 1", "length 4096"],
        "C_EncryptInit" => &["overwrite-nonce"],
        _ => &[],
    };
    let everywhere = ["hang", "abort", "segfault", "lose-sessions", "log-out", "remove-token 300ms"];
    faults.extend(further.iter().chain(&everywhere).map(|fault| Fault((*fault).to_owned())));
    faults
}
