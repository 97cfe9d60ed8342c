//! What every device must do, whatever it is: the same tests on SoftHSM2, on SoftHSM2 behind a module that could
//! misbehave and does not, on that without AES-GCM, and on a TPM with its keys in files and at persistent handles.
//!
//! A PKCS#11 module reads its environment when it is loaded, and is loaded once a process. So each device is
//! judged in a process of its own, which this program starts.

use std::process::Command;
use std::sync::Arc;

use aws_lc_rs::digest::{SHA256, digest};
use mintkeep::clock::{Clock, SystemClock, Timestamp};
use mintkeep::config::{Config, Hardware};
use mintkeep::entropy::{Entropy, SystemEntropy};
use mintkeep::hardware::attestation::{Expected, Nonce};
use mintkeep::hardware::pkcs11::Pkcs11Device;
#[cfg(feature = "tpm")]
use mintkeep::hardware::tpm::TpmDevice;
use mintkeep::hardware::{
    Device, DeviceKeys, Error, KeyName, PinTrust, PinnedPublicKey, Provenance, Role, SealingKey, Session,
};
use mintkeep::jose::ecdh_es::seal;
use mintkeep::jose::jwe::{KeyManagement, PresentedJwe};
use mintkeep::jose::jwk::P256PublicKey;

use crate::support::Deployment;
use crate::support::faulty::FaultyModule;
use crate::support::process::succeed;

const CONFIG: &str = "MINTKEEP_TEST_CONTRACT";

#[test]
fn softhsm_keeps_the_contract() {
    judge(&Deployment::new());
}

#[test]
fn softhsm_behind_another_module_keeps_the_contract() {
    let deployment = Deployment::new();
    let faulty = FaultyModule::before(&deployment);
    faulty.script("");
    judge(&deployment);
    assert!(faulty.count("C_Sign") > 50 && faulty.count("C_GenerateKeyPair") == 6, "the wrapper was not asked");
}

/// A token of this kind opens by an agreement, as a TPM does.
#[test]
fn a_token_without_aes_gcm_keeps_the_contract() {
    let deployment = Deployment::without_keys();
    let faulty = FaultyModule::before(&deployment);
    faulty.script("any 1+ hide-gcm");
    succeed(&mut deployment.command(&["keys", "init"]));
    judge(&deployment);
    assert!(faulty.count("C_DeriveKey") > 50 && faulty.count("C_Decrypt") == 0, "AES-GCM was used");
}

#[cfg(feature = "tpm")]
#[test]
fn a_tpm_keeps_the_contract() {
    for session in ["plain", "encrypted"] {
        let deployment = Deployment::on_tpm();
        deployment.edit(|config| config["hardware"]["tpm"]["session"] = toml_edit::value(session));
        judge(&deployment);
    }
}

#[cfg(feature = "tpm")]
#[test]
fn a_tpm_with_persistent_keys_keeps_the_contract() {
    for session in ["plain", "encrypted"] {
        let deployment = Deployment::on_tpm_with_persistent_keys("0x81100000-0x8110000f");
        deployment.edit(|config| config["hardware"]["tpm"]["session"] = toml_edit::value(session));
        judge(&deployment);
        assert!(!deployment.path("keys/mintkeep-signing.pem").exists(), "there is a key in a file");
    }
}

/// Has a process of its own judge the device of `deployment`.
#[track_caller]
fn judge(deployment: &Deployment) {
    deployment.append(
        "[[signing_profile]]\nname = \"dex\"\ncontent = \"any\"\n[[signing_profile]]\nname = \"spire\"\ncontent = \"any\"\nkeys = \"created\"",
    );
    let config = Config::load(&deployment.config_path()).unwrap();
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "hardware::contract::of_the_device_that_is_named", "--ignored", "--nocapture"]);
    command.env(CONFIG, deployment.config_path()).envs(config.hardware[0].environment());
    let output = command.output().unwrap();
    let said = [output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).into_owned()).concat();
    assert!(output.status.success() && said.contains("1 passed"), "{said}");
}

#[test]
#[ignore = "the others start it, each in a process of its own"]
fn of_the_device_that_is_named() {
    let path = std::env::var_os(CONFIG).expect("the others say where the configuration is");
    let config = Config::load(path.as_ref()).unwrap();
    let device = open(&config.hardware[0]);
    let first = device.keys();
    assert_eq!((first.signing.len(), first.sealing.len(), first.delegated.len()), (1, 1, 0));
    assert!(!device.description().is_empty());
    let mut sessions = sessions(device.as_ref(), config.hardware[0].sessions());
    for session in &mut sessions {
        assert_eq!(session.keys(), first);
        assert_does_everything(session.as_mut());
    }
    assert_all_work_at_the_same_time(&mut sessions);
    assert_generates(&mut sessions, &first);
    assert_generates_for_front_ends(&mut sessions);
    let all = sessions[0].keys();
    assert_eq!(device.keys(), all);
    sessions[0].look_again().unwrap();
    assert_eq!(sessions[0].keys(), all, "looking again finds the same");
    assert_does_everything(sessions[0].as_mut());
    drop(sessions);
    device.close();
    let again = open(&config.hardware[0]);
    assert_eq!(again.keys(), all, "the keys are there after a restart");
    assert_does_everything(again.open_session().unwrap().as_mut());
    again.close();
}

fn open(hardware: &Hardware) -> Box<dyn Device> {
    let (clock, entropy): (Arc<dyn Clock>, Arc<dyn Entropy>) = (Arc::new(SystemClock), Arc::new(SystemEntropy::new()));
    match hardware {
        Hardware::Pkcs11(token) => {
            let opened = Pkcs11Device::open(&token.device, PinTrust::Unproven, &mut |_| {}, &clock, &entropy);
            Box::new(opened.unwrap())
        }
        #[cfg(feature = "tpm")]
        Hardware::Tpm(tpm) => Box::new(TpmDevice::open(&tpm.device, &entropy).unwrap()),
    }
}

/// As many as a keeper has.
fn sessions(device: &dyn Device, count: usize) -> Vec<Box<dyn Session>> {
    (0..count).map(|_| device.open_session().unwrap()).collect()
}

/// Everything that a session is asked, with each of its keys.
fn assert_does_everything(session: &mut dyn Session) {
    let DeviceKeys { signing, sealing, delegated } = session.keys();
    for key in signing.iter().chain(delegated.iter().map(|key| &key.public_key)) {
        assert_signs(session, key);
    }
    for key in &sealing {
        match key {
            SealingKey::Direct(kid) => assert_encrypts(session, kid),
            SealingKey::EcdhEs(key) => assert_agrees(session, key),
        }
    }
    assert_knows_no_other_key(session);
    assert_attests(session);
    // Nothing of this was the end of it.
    assert_signs(session, &signing[0]);
}

#[track_caller]
fn assert_signs(session: &mut dyn Session, key: &P256PublicKey) {
    let pinned = PinnedPublicKey::new(*key).unwrap();
    for message in [&b"one"[..], b"another", b""] {
        let hash = digest(&SHA256, message);
        let signature = session.sign(pinned.kid(), hash.as_ref().try_into().unwrap()).unwrap();
        assert!(pinned.verifies(message, &signature));
        assert!(!pinned.verifies(b"a third", &signature));
    }
}

/// AES-256-GCM in the device: what it sealed it opens, and nothing else.
fn assert_encrypts(session: &mut dyn Session, kid: &str) {
    for plaintext in [&b""[..], b"x", &[7; 1000]] {
        let sealed = session.encrypt(kid, &[3; 12], b"aad", plaintext).unwrap();
        assert_eq!(sealed.ciphertext_and_tag.len(), plaintext.len() + 16);
        let sound = sealed.ciphertext_and_tag;
        assert_eq!(session.decrypt(kid, &sealed.nonce, b"aad", &sound).unwrap(), plaintext);
        let mut refuses = |nonce: &[u8; 12], aad: &[u8], ciphertext: &[u8]| {
            let answer = session.decrypt(kid, nonce, aad, ciphertext);
            assert!(matches!(answer, Err(Error::NotAuthentic)), "{answer:?}");
        };
        let mut changed = sound.clone();
        *changed.last_mut().unwrap() ^= 1;
        refuses(&sealed.nonce, b"aad", &changed);
        changed = sound.clone();
        changed[0] ^= 0x80;
        refuses(&sealed.nonce, b"aad", &changed);
        refuses(&sealed.nonce, b"AAD", &sound);
        refuses(&[4; 12], b"aad", &sound);
        refuses(&sealed.nonce, b"aad", &sound[..sound.len() - 1]);
        // The device works, and forgeries have not changed what it opens.
        assert_eq!(session.decrypt(kid, &sealed.nonce, b"aad", &sound).unwrap(), plaintext);
    }
    let agreed = session.agree(kid, &P256PublicKey::from_uncompressed(&on_curve()).unwrap());
    assert!(matches!(agreed, Err(Error::UnknownKey(_))), "it is no key for an agreement");
}

/// ECDH in the device: it opens what was sealed to its public half, and no point off the curve reaches it.
fn assert_agrees(session: &mut dyn Session, key: &P256PublicKey) {
    let kid = key.kid();
    for plaintext in [&b"x"[..], &[7; 300]] {
        let text = seal(key, &[7; 16], plaintext, &SystemEntropy::new()).unwrap();
        let sealed = PresentedJwe::parse(&text).unwrap();
        let KeyManagement::EcdhEs { epk } = sealed.key_management else { panic!("no epk") };
        let mut open = |epk: &P256PublicKey| {
            let secret = session.agree(&kid, epk)?;
            let aad = sealed.protected_header.as_bytes();
            Ok::<_, Error>(secret.content_key().decrypt(&sealed.nonce, aad, &sealed.ciphertext_and_tag))
        };
        assert_eq!(open(&epk).unwrap().unwrap().as_slice(), plaintext);
        let mut off_curve = *epk.as_uncompressed();
        off_curve[64] ^= 1;
        for point in [off_curve, [4; 65]] {
            let answer = open(&P256PublicKey::from_uncompressed(&point).unwrap());
            assert!(matches!(answer, Err(Error::NotAuthentic)));
        }
        // Another point that is good gives another secret.
        assert!(open(&P256PublicKey::from_uncompressed(&on_curve()).unwrap()).unwrap().is_none());
        assert_eq!(open(&epk).unwrap().unwrap().as_slice(), plaintext);
    }
    let encrypted = session.encrypt(&kid, &[0; 12], b"", b"");
    assert!(matches!(encrypted, Err(Error::UnknownKey(_))), "it is no key that encrypts");
}

/// A point of somebody else's.
fn on_curve() -> [u8; 65] {
    let key = p256::SecretKey::from_slice(&[9; 32]).unwrap().public_key();
    key.to_sec1_bytes().as_ref().try_into().unwrap()
}

fn assert_knows_no_other_key(session: &mut dyn Session) {
    let DeviceKeys { signing, sealing, .. } = session.keys();
    let point = P256PublicKey::from_uncompressed(&on_curve()).unwrap();
    let is_unknown = |answer: Result<(), Error>, kid: &str| match answer {
        Err(Error::UnknownKey(told)) => assert_eq!(told, kid),
        other => panic!("{other:?}"),
    };
    let (signing, sealing) = (signing[0].kid(), sealing[0].kid());
    // A key of the other role is no key either.
    for kid in ["", "nobody", &sealing] {
        is_unknown(session.sign(kid, &[0; 32]).map(drop), kid);
    }
    for kid in ["", "nobody", &signing] {
        is_unknown(session.encrypt(kid, &[0; 12], b"", b"").map(drop), kid);
        is_unknown(session.decrypt(kid, &[0; 12], b"", &[0; 16]).map(drop), kid);
        is_unknown(session.agree(kid, &point).map(drop), kid);
    }
    let nonce = Nonce::new(&[1; 8]).unwrap();
    is_unknown(session.attest("nobody", &nonce, Timestamp::from_unix_seconds(0)).map(drop), "nobody");
}

fn assert_attests(session: &mut dyn Session) {
    let nonce = Nonce::new(&[1; 32]).unwrap();
    for kid in session.keys().kids() {
        let document = session.attest(&kid, &nonce, Timestamp::from_unix_seconds(1_800_000_000)).unwrap();
        let provenance = Provenance::GeneratedInDevice;
        let expected = Expected { nonce: Some(nonce.clone()), attestation_key: None, provenance };
        assert_eq!(document.verify(&expected).unwrap().kid, kid);
    }
}

fn assert_all_work_at_the_same_time(sessions: &mut [Box<dyn Session>]) {
    std::thread::scope(|scope| {
        for session in sessions {
            scope.spawn(|| {
                for _ in 0..10 {
                    assert_does_everything(session.as_mut());
                }
            });
        }
    });
}

/// What one session generates, all of them use.
fn assert_generates(sessions: &mut [Box<dyn Session>], first: &DeviceKeys) {
    for _ in 0..2 {
        for role in [Role::Signing, Role::Sealing] {
            sessions.last_mut().unwrap().generate(role).unwrap();
        }
    }
    for session in sessions.iter_mut() {
        let keys = session.keys();
        assert_eq!((keys.signing.len(), keys.sealing.len()), (3, 3));
        assert!(keys.signing.contains(&first.signing[0]) && keys.sealing.contains(&first.sealing[0]));
        let mut kids: Vec<String> = keys.kids().collect();
        kids.sort();
        kids.dedup();
        assert_eq!(kids.len(), 6, "each is another one");
        assert_does_everything(session.as_mut());
    }
    assert_all_work_at_the_same_time(sessions);
}

/// Keys for front-ends are used as others are; those that a front-end had made can be destroyed, and no others.
fn assert_generates_for_front_ends(sessions: &mut [Box<dyn Session>]) {
    let [dex, made] = ["dex", "spire/x509-CA-A"].map(|name| KeyName::parse(name).unwrap());
    for name in [dex, dex, made] {
        sessions[0].generate(Role::Delegated(name)).unwrap();
    }
    let taken = sessions.last_mut().unwrap().generate(Role::Delegated(made));
    assert!(matches!(taken, Err(Error::KeyTaken(name)) if *name == *made.as_str()));
    let keys = sessions[0].keys();
    let mut names: Vec<KeyName> = keys.delegated.iter().map(|key| key.name).collect();
    names.sort();
    assert_eq!(names, [dex, dex, made]);
    for session in sessions.iter_mut() {
        assert_eq!(session.keys(), keys);
        assert_does_everything(session.as_mut());
    }
    let kid_of = |name| keys.delegated.iter().find(|key| key.name == name).unwrap().public_key.kid();
    let is_unknown = |answer: Result<(), Error>| assert!(matches!(answer, Err(Error::UnknownKey(_))));
    for kid in [kid_of(dex), keys.signing[0].kid(), keys.sealing[0].kid(), "nobody".to_owned()] {
        is_unknown(sessions[0].destroy(&kid));
    }
    sessions.last_mut().unwrap().destroy(&kid_of(made)).unwrap();
    for session in sessions.iter_mut() {
        is_unknown(session.sign(&kid_of(made), &[0; 32]).map(drop));
        is_unknown(session.destroy(&kid_of(made)));
        assert_eq!(session.keys().delegated.len(), 2);
        assert_does_everything(session.as_mut());
    }
    // The name is free again.
    sessions[0].generate(Role::Delegated(made)).unwrap();
    let again = sessions[0].keys().delegated.into_iter().find(|key| key.name == made).unwrap();
    assert_ne!(again.public_key.kid(), kid_of(made));
}
