//! A TPM in software: the rate of a bare `Esys_Sign`, and that of tokens from a mint on the same TPM.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use tss_esapi::attributes::{ObjectAttributesBuilder, SessionAttributesBuilder};
use tss_esapi::constants::SessionType;
use tss_esapi::constants::tss::{TPM2_RH_NULL, TPM2_ST_HASHCHECK};
use tss_esapi::handles::KeyHandle;
use tss_esapi::interface_types::algorithm::{HashingAlgorithm, PublicAlgorithm};
use tss_esapi::interface_types::ecc::EccCurve;
use tss_esapi::interface_types::resource_handles::Hierarchy;
use tss_esapi::interface_types::session_handles::AuthSession;
use tss_esapi::structures::{
    Auth, Digest, EccPoint, EccScheme, HashScheme, HashcheckTicket, KeyDerivationFunctionScheme, Public, PublicBuilder,
    PublicEccParametersBuilder, Signature, SignatureScheme, SymmetricDefinition, SymmetricDefinitionObject,
};
use tss_esapi::tss2_esys::TPMT_TK_HASHCHECK;
use tss_esapi::{Context, TctiNameConf};

use crate::load::{Load, Work};
use crate::mint::{self, Mint};
use crate::report::Report;
use crate::support::swtpm::Swtpm;

/// Connections that ask for tokens.
const CONNECTIONS: [usize; 3] = [2, 16, 64];

/// What a listener learns: `hardware.NAME.session`.
const SESSIONS: [&str; 2] = ["plain", "encrypted"];

/// A mint's files, and the TPM that they are of.
pub struct OnTpm {
    state: PathBuf,
    tpm: Swtpm,
}

impl OnTpm {
    pub fn set_up(state: &Path) -> Self {
        mint::set_up(state, "tpm");
        Self { state: state.to_owned(), tpm: Swtpm::start(&state.join("tpm/swtpm")) }
    }

    /// One after the other, because a TPM in software has one user at a time.
    pub fn measure(&self, report: &mut Report, span: Duration) {
        for session in SESSIONS {
            self.configure(session);
            for connections in CONNECTIONS {
                let bare = in_process_of_its_own(&self.tpm.tcti(), session);
                let mint = Mint::start(&self.state, true);
                let measured = Load::new(&mint, Work::ClientCredentials, connections, span).in_process_of_its_own();
                report.tpm(session, connections, bare, &measured);
            }
        }
    }

    fn configure(&self, session: &str) {
        let path = self.state.join("mintkeep.toml");
        let text = std::fs::read_to_string(&path).expect("dev wrote it");
        let lines = text.lines().filter(|line| !line.starts_with("session = ")).map(|line| match line {
            line if line.starts_with("tcti = ") => format!("tcti = {:?}\nsession = {session:?}\n", self.tpm.tcti()),
            line => format!("{line}\n"),
        });
        std::fs::write(&path, lines.collect::<String>()).expect("the folder is writable");
    }
}

fn in_process_of_its_own(tcti: &str, session: &str) -> f64 {
    let program = std::env::current_exe().expect("this program");
    let output = Command::new(program).args(["esys", tcti, session]).output().expect("this program starts");
    let rate = String::from_utf8(output.stdout).expect("a number");
    rate.trim().parse().unwrap_or_else(|_| panic!("{}", String::from_utf8_lossy(&output.stderr)))
}

/// The process that [`in_process_of_its_own`] starts: signatures per second by a key like ours, in a session like ours.
#[expect(clippy::disallowed_methods, reason = "a benchmark measures real time")]
pub fn run(tcti: &str, session: &str, span: Duration) {
    let mut context = Context::new(tcti.parse::<TctiNameConf>().expect("a TCTI")).expect("the TPM is there");
    let primary = context.execute_with_session(Some(AuthSession::Password), |context| {
        context.create_primary(Hierarchy::Owner, storage_key(), None, None, None, None)
    });
    let primary = primary.expect("TPM2_CreatePrimary").key_handle;
    let session = match session {
        "encrypted" => salted(&mut context, primary),
        _ => AuthSession::Password,
    };
    context.set_sessions((Some(session), None, None));
    let auth = Auth::try_from(vec![b'a'; 32]).expect("32 bytes");
    let made = context.create(primary, signing_key(), Some(auth.clone()), None, None, None).expect("TPM2_Create");
    let key = context.load(primary, made.out_private, made.out_public).expect("TPM2_Load");
    context.tr_set_auth(key.into(), auth).expect("it is a key");
    let scheme = SignatureScheme::EcDsa { hash_scheme: HashScheme::new(HashingAlgorithm::Sha256) };
    let mut digest = [7; 32];
    let mut signatures = 0;
    let start = Instant::now();
    while start.elapsed() < span {
        let asked = Digest::try_from(digest.as_slice()).expect("32 bytes");
        let Ok(Signature::EcDsa(made)) = context.sign(key, asked, scheme, no_ticket()) else { panic!("TPM2_Sign") };
        digest[..8].copy_from_slice(&made.signature_r()[..8]);
        signatures += 1;
    }
    let seconds = start.elapsed().as_secs_f64();
    println!("{}", f64::from(signatures) / seconds);
}

fn salted(context: &mut Context, primary: KeyHandle) -> AuthSession {
    let (cipher, hash) = (SymmetricDefinition::AES_128_CFB, HashingAlgorithm::Sha256);
    let session = context.start_auth_session(Some(primary), None, None, SessionType::Hmac, cipher, hash);
    let session = session.expect("TPM2_StartAuthSession").expect("a session");
    let attributes = SessionAttributesBuilder::new().with_continue_session(true).with_decrypt(true).with_encrypt(true);
    let (attributes, mask) = attributes.build();
    context.tr_sess_set_attributes(session, attributes, mask).expect("it is a session");
    session
}

fn no_ticket() -> HashcheckTicket {
    let ticket = TPMT_TK_HASHCHECK { tag: TPM2_ST_HASHCHECK, hierarchy: TPM2_RH_NULL, digest: Default::default() };
    ticket.try_into().expect("the ticket of nothing")
}

fn unmovable() -> ObjectAttributesBuilder {
    let attributes = ObjectAttributesBuilder::new().with_fixed_tpm(true).with_fixed_parent(true);
    attributes.with_sensitive_data_origin(true).with_user_with_auth(true).with_no_da(true)
}

fn storage_key() -> Public {
    let cipher = SymmetricDefinitionObject::AES_128_CFB;
    let parameters = PublicEccParametersBuilder::new_restricted_decryption_key(cipher, EccCurve::NistP256);
    ecc(unmovable().with_restricted(true).with_decrypt(true), parameters)
}

fn signing_key() -> Public {
    let parameters = PublicEccParametersBuilder::new()
        .with_curve(EccCurve::NistP256)
        .with_ecc_scheme(EccScheme::EcDsa(HashScheme::new(HashingAlgorithm::Sha256)))
        .with_key_derivation_function_scheme(KeyDerivationFunctionScheme::Null)
        .with_is_signing_key(true);
    ecc(unmovable().with_sign_encrypt(true), parameters)
}

fn ecc(attributes: ObjectAttributesBuilder, parameters: PublicEccParametersBuilder) -> Public {
    PublicBuilder::new()
        .with_public_algorithm(PublicAlgorithm::Ecc)
        .with_name_hashing_algorithm(HashingAlgorithm::Sha256)
        .with_object_attributes(attributes.build().expect("they go together"))
        .with_ecc_parameters(parameters.build().expect("they go together"))
        .with_ecc_unique_identifier(EccPoint::default())
        .build()
        .expect("a template")
}
