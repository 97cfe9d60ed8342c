//! The ceiling: `C_SignInit` and `C_Sign` in a loop, straight against the module, nothing else in the
//! process.
#![expect(unsafe_code, reason = "the ceiling is what the module itself gives, without a binding in between")]

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use cryptoki::context::{CInitializeArgs, CInitializeFlags, Pkcs11};
use cryptoki::mechanism::Mechanism;
use cryptoki::object::{Attribute, ObjectClass};
use cryptoki::session::UserType;
use cryptoki_sys::{CK_MECHANISM, CKR_OK};
use mintkeep::config::{Config, Hardware};
use mintkeep::secret_source::SecretSource;

/// Signatures per second of `threads` threads on `object`: the key in the `token`, or a session `copy`.
pub fn in_process_of_its_own(state: &Path, threads: usize, object: &str) -> f64 {
    let config_path = state.join("mintkeep.toml");
    let config = Config::load(&config_path).expect("dev wrote a good configuration");
    let output = Command::new(std::env::current_exe().expect("this program"))
        .args(["raw", config_path.to_str().expect("a path in UTF-8"), &threads.to_string(), object])
        .envs(config.hardware.environment())
        .output()
        .expect("this program starts");
    let rate = String::from_utf8(output.stdout).expect("a number");
    rate.trim().parse().unwrap_or_else(|_| panic!("{}", String::from_utf8_lossy(&output.stderr)))
}

#[expect(clippy::disallowed_methods, reason = "a benchmark measures real time")]
pub fn measure(config: &str, threads: &str, object: &str, span: Duration) {
    let config = Config::load(Path::new(config)).expect("a good configuration");
    let threads: usize = threads.parse().expect("a number of threads");
    #[cfg_attr(not(feature = "tpm"), expect(irrefutable_let_patterns, reason = "there is one kind of device then"))]
    let Hardware::Pkcs11(token) = &config.hardware else { panic!("dev wrote a configuration for SoftHSM2") };
    let settings = &token.device;
    let SecretSource::File(pin_path) = &settings.pin else { panic!("dev keeps the PIN in a file") };
    let pin = std::fs::read_to_string(pin_path).expect("the PIN");
    let context = Pkcs11::new(&settings.module).expect("the module");
    context.initialize(CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK)).expect("C_Initialize");
    let slot = context.get_slots_with_initialized_token().expect("slots")[0];
    let anchor = context.open_ro_session(slot).expect("a session");
    anchor.login(UserType::User, Some(&pin.trim().into())).expect("the PIN is right");
    let template =
        [Attribute::Class(ObjectClass::PRIVATE_KEY), Attribute::Label(settings.signing_label.clone().into_bytes())];
    let key = anchor.find_objects(&template).expect("a search")[0];
    // SAFETY: as in `mintkeep::hardware::pkcs11`'s own calls.
    let module = unsafe { cryptoki_sys::Pkcs11::new(&settings.module) }.expect("the module");
    let mut list = std::ptr::null_mut();
    // SAFETY: C_GetFunctionList writes one pointer to static data of the module.
    let list = unsafe {
        assert_eq!(module.C_GetFunctionList(&raw mut list), CKR_OK);
        *list
    };
    let (init, sign) = (list.C_SignInit.expect("C_SignInit"), list.C_Sign.expect("C_Sign"));
    let sessions: Vec<_> = (0..threads).map(|_| context.open_ro_session(slot).expect("a session")).collect();
    let start = Instant::now();
    let counts: Vec<u64> = std::thread::scope(|scope| {
        let run = |session: cryptoki::session::Session| {
            let key = match object {
                "copy" => session.copy_object(key, &[Attribute::Token(false)]).expect("C_CopyObject"),
                _ => key,
            };
            let mut digest = [7_u8; 32];
            let mut count = 0_u64;
            while start.elapsed() < span {
                let mut mechanism = CK_MECHANISM::from(&Mechanism::Ecdsa);
                let mut signature = [0_u8; 64];
                let mut length = 64;
                // SAFETY: the session is this thread's; every buffer outlives its call and has the length given.
                unsafe {
                    assert_eq!(init(session.handle(), &raw mut mechanism, key.handle()), CKR_OK);
                    assert_eq!(
                        sign(session.handle(), digest.as_mut_ptr(), 32, signature.as_mut_ptr(), &raw mut length),
                        CKR_OK
                    );
                }
                digest[..8].copy_from_slice(&signature[..8]);
                count += 1;
            }
            count
        };
        let threads: Vec<_> = sessions.into_iter().map(|session| scope.spawn(move || run(session))).collect();
        threads.into_iter().map(|thread| thread.join().expect("the thread ends well")).collect()
    });
    let seconds = start.elapsed().as_secs_f64();
    println!("{}", counts.iter().sum::<u64>() as f64 / seconds);
}
