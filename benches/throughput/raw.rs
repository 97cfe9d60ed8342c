//! The ceilings: what a token, and what a refresh exchange, asks of the hardware, in a loop, straight against the
//! module, nothing else in the process.
#![expect(unsafe_code, reason = "the ceiling is what the module itself gives, without a binding in between")]

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use cryptoki::context::{CInitializeArgs, CInitializeFlags, Pkcs11};
use cryptoki::mechanism::Mechanism;
use cryptoki::mechanism::aead::GcmParams;
use cryptoki::object::{Attribute, ObjectClass, ObjectHandle};
use cryptoki::session::{Session, UserType};
use cryptoki_sys::{CK_BYTE_PTR, CK_MECHANISM, CK_OBJECT_HANDLE, CK_RV, CK_SESSION_HANDLE, CK_ULONG, CKR_OK};
use mintkeep::config::{Config, Hardware};

/// What is done in the loop.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Sequence {
    /// `C_SignInit`, `C_Sign`.
    Token,
    /// `C_DecryptInit`, `C_Decrypt`, `C_EncryptInit`, `C_Encrypt`, `C_SignInit`, `C_Sign`.
    Exchange,
}

impl Sequence {
    fn word(self) -> &'static str {
        match self {
            Self::Token => "token",
            Self::Exchange => "exchange",
        }
    }
}

/// Loops per second of `threads` threads with the keys in the `token`, or with session `copies` of them.
pub fn in_process_of_its_own(state: &Path, sequence: Sequence, threads: usize, keys: &str) -> f64 {
    let config_path = state.join("mintkeep.toml");
    let config = Config::load(&config_path).expect("dev wrote a good configuration");
    let output = Command::new(std::env::current_exe().expect("this program"))
        .args(["raw", config_path.to_str().expect("a path in UTF-8"), sequence.word(), &threads.to_string(), keys])
        .envs(config.hardware[0].environment())
        .output()
        .expect("this program starts");
    let rate = String::from_utf8(output.stdout).expect("a number");
    rate.trim().parse().unwrap_or_else(|_| panic!("{}", String::from_utf8_lossy(&output.stderr)))
}

type Init = unsafe extern "C" fn(CK_SESSION_HANDLE, *mut CK_MECHANISM, CK_OBJECT_HANDLE) -> CK_RV;
type Run = unsafe extern "C" fn(CK_SESSION_HANDLE, CK_BYTE_PTR, CK_ULONG, CK_BYTE_PTR, *mut CK_ULONG) -> CK_RV;

/// The functions of the loaded module.
#[derive(Clone, Copy)]
struct Functions {
    sign: (Init, Run),
    encrypt: (Init, Run),
    decrypt: (Init, Run),
}

/// One session with its keys, and what it works on.
struct Worker {
    functions: Functions,
    session: Session,
    signing: ObjectHandle,
    sealing: ObjectHandle,
    digest: [u8; 32],
    nonce: [u8; 12],
    plaintext: Vec<u8>,
    ciphertext: Vec<u8>,
}

/// As long as the protected header, and what is sealed, of a refresh token are.
const AAD: [u8; 150] = [b'h'; 150];
const PLAINTEXT: [u8; 48] = [b'c'; 48];

impl Worker {
    fn call(
        &self,
        (init, run): (Init, Run),
        mechanism: &Mechanism<'_>,
        key: ObjectHandle,
        data: &[u8],
        output: &mut [u8],
    ) {
        let mut mechanism = CK_MECHANISM::from(mechanism);
        let mut length = output.len() as CK_ULONG;
        // SAFETY: the session is this thread's; every buffer outlives its call and has the length given.
        unsafe {
            assert_eq!(init(self.session.handle(), &raw mut mechanism, key.handle()), CKR_OK);
            let data = (data.as_ptr().cast_mut(), data.len() as CK_ULONG);
            assert_eq!(run(self.session.handle(), data.0, data.1, output.as_mut_ptr(), &raw mut length), CKR_OK);
        }
    }

    fn sign(&mut self) {
        let mut signature = [0_u8; 64];
        self.call(self.functions.sign, &Mechanism::Ecdsa, self.signing, &self.digest, &mut signature);
        self.digest[..8].copy_from_slice(&signature[..8]);
    }

    fn seal(&mut self) {
        self.nonce[..8].copy_from_slice(&self.digest[..8]);
        let (mut nonce, mut ciphertext) = (self.nonce, vec![0; self.plaintext.len() + 16]);
        let mechanism = Mechanism::AesGcm(GcmParams::new(&mut nonce, &AAD, 128.into()).expect("good parameters"));
        self.call(self.functions.encrypt, &mechanism, self.sealing, &self.plaintext, &mut ciphertext);
        self.ciphertext = ciphertext;
    }

    fn open(&mut self) {
        let (mut nonce, mut plaintext) = (self.nonce, vec![0; self.ciphertext.len()]);
        let mechanism = Mechanism::AesGcm(GcmParams::new(&mut nonce, &AAD, 128.into()).expect("good parameters"));
        self.call(self.functions.decrypt, &mechanism, self.sealing, &self.ciphertext, &mut plaintext);
        plaintext.truncate(self.plaintext.len());
        assert_eq!(plaintext, self.plaintext);
    }
}

/// The process that [`in_process_of_its_own`] starts.
#[expect(clippy::disallowed_methods, reason = "a benchmark measures real time")]
pub fn measure(config: &str, sequence: &str, threads: &str, keys: &str, span: Duration) {
    let config = Config::load(Path::new(config)).expect("a good configuration");
    let threads: usize = threads.parse().expect("a number of threads");
    let [Hardware::Pkcs11(token)] = &config.hardware[..] else { panic!("dev wrote a configuration for SoftHSM2") };
    let settings = &token.device;
    let pin = settings.pin.read().expect("the PIN");
    let context = Pkcs11::new(&settings.module).expect("the module");
    context.initialize(CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK)).expect("C_Initialize");
    let slot = context.get_slots_with_initialized_token().expect("slots")[0];
    let anchor = context.open_ro_session(slot).expect("a session");
    anchor.login(UserType::User, Some(&pin)).expect("the PIN is right");
    let find = |class, label: &str| {
        let template = [Attribute::Class(class), Attribute::Label(label.as_bytes().to_vec())];
        anchor.find_objects(&template).expect("a search")[0]
    };
    let signing = find(ObjectClass::PRIVATE_KEY, &settings.signing_label);
    let sealing = find(ObjectClass::SECRET_KEY, &settings.sealing_label);
    // SAFETY: as in `mintkeep::hardware::pkcs11`'s own calls.
    let module = unsafe { cryptoki_sys::Pkcs11::new(&settings.module) }.expect("the module");
    let functions = functions(&module);
    let worker = |_| {
        let session = context.open_ro_session(slot).expect("a session");
        let key = |key| match keys {
            "copies" => session.copy_object(key, &[Attribute::Token(false)]).expect("C_CopyObject"),
            _ => key,
        };
        let (signing, sealing) = (key(signing), key(sealing));
        let (digest, nonce, plaintext) = ([7; 32], [7; 12], PLAINTEXT.to_vec());
        let mut worker =
            Worker { functions, session, signing, sealing, digest, nonce, plaintext, ciphertext: Vec::new() };
        worker.seal();
        worker
    };
    let workers: Vec<Worker> = (0..threads).map(worker).collect();
    let start = Instant::now();
    let counts: Vec<u64> = std::thread::scope(|scope| {
        let run = |mut worker: Worker| {
            let mut count = 0;
            while start.elapsed() < span {
                if sequence == Sequence::Exchange.word() {
                    worker.open();
                    worker.seal();
                }
                worker.sign();
                count += 1;
            }
            count
        };
        let threads: Vec<_> = workers.into_iter().map(|worker| scope.spawn(move || run(worker))).collect();
        threads.into_iter().map(|thread| thread.join().expect("the thread ends well")).collect()
    });
    let seconds = start.elapsed().as_secs_f64();
    println!("{}", counts.iter().sum::<u64>() as f64 / seconds);
}

fn functions(module: &cryptoki_sys::Pkcs11) -> Functions {
    let mut list = std::ptr::null_mut();
    // SAFETY: C_GetFunctionList writes one pointer to static data of the module.
    let list = unsafe {
        assert_eq!(module.C_GetFunctionList(&raw mut list), CKR_OK);
        *list
    };
    Functions {
        sign: (list.C_SignInit.expect("C_SignInit"), list.C_Sign.expect("C_Sign")),
        encrypt: (list.C_EncryptInit.expect("C_EncryptInit"), list.C_Encrypt.expect("C_Encrypt")),
        decrypt: (list.C_DecryptInit.expect("C_DecryptInit"), list.C_Decrypt.expect("C_Decrypt")),
    }
}
