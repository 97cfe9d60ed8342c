//! Several keys of a role on a TPM, which has places for three.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::sync::Arc;

use aws_lc_rs::digest::{SHA256, digest};
use mintkeep::entropy::{Entropy, SystemEntropy};
use mintkeep::hardware::tpm::{Protection, TpmDevice, TpmSettings};
use mintkeep::hardware::{Device as _, DeviceKeys, Error, PinnedPublicKey, Provenance, Role, SealingKey, Session};
use mintkeep::jose::ecdh_es::seal;
use mintkeep::jose::jwe::{KeyManagement, PresentedJwe};
use mintkeep::secret_source::SecretSource;

use crate::support::Deployment;
use crate::support::process::{one_line_of_error, succeed};
use crate::support::tpm_proxy::TpmProxy;

const CREATE_PRIMARY: u32 = 0x131;
const LOAD: u32 = 0x157;
const CONTEXT_LOAD: u32 = 0x161;

pub(super) fn entropy() -> Arc<dyn Entropy> {
    Arc::new(SystemEntropy::new())
}

pub(super) fn settings(deployment: &Deployment, protection: Protection) -> TpmSettings {
    TpmSettings {
        name: "tpm".to_owned(),
        tcti: deployment.tcti(),
        keys: deployment.path("keys"),
        authorization: SecretSource::File(deployment.path("keys/auth")),
        protection,
        signing_label: "mintkeep-signing".to_owned(),
        sealing_label: "mintkeep-sealing".to_owned(),
        delegated_label: "mintkeep-delegated".to_owned(),
        profiles: Vec::new(),
        persistent_handles: None,
        provenance: Provenance::GeneratedInDevice,
    }
}

#[track_caller]
pub(super) fn assert_signs(session: &mut dyn Session, key: usize) {
    let key = PinnedPublicKey::new(session.keys().signing[key]).unwrap();
    let hash = digest(&SHA256, b"message");
    let signature = session.sign(key.kid(), hash.as_ref().try_into().unwrap()).unwrap();
    assert!(key.verifies(b"message", &signature));
}

#[track_caller]
pub(super) fn assert_opens(session: &mut dyn Session, key: usize) {
    let SealingKey::EcdhEs(key) = session.keys().sealing[key] else { panic!("not a key of a TPM") };
    let text = seal(&key, &[7; 16], b"content", entropy().as_ref()).unwrap();
    let sealed = PresentedJwe::parse(&text).unwrap();
    let KeyManagement::EcdhEs { epk } = sealed.key_management else { panic!("no epk") };
    let secret = session.agree(&sealed.kid, &epk).unwrap();
    let aad = sealed.protected_header.as_bytes();
    let opened = secret.content_key().decrypt(&sealed.nonce, aad, &sealed.ciphertext_and_tag);
    assert_eq!(opened.unwrap().as_slice(), b"content");
}

#[track_caller]
pub(super) fn assert_all_work(session: &mut dyn Session) {
    let DeviceKeys { signing, sealing, .. } = session.keys();
    // By turns, so that each is evicted in between.
    for index in 0..signing.len().max(sealing.len()) {
        assert_signs(session, index % signing.len());
        assert_opens(session, index % sealing.len());
    }
}

#[test]
fn five_keys_of_each_role_are_generated_and_used_and_found_after_a_restart() {
    for protection in [Protection::Plain, Protection::Encrypted] {
        let deployment = Deployment::on_tpm();
        let settings = settings(&deployment, protection);
        let device = TpmDevice::open(&settings, &entropy()).unwrap();
        let mut session = device.open_session().unwrap();
        let first = session.keys();
        for _ in 1..5 {
            for role in [Role::Signing, Role::Sealing] {
                session.generate(role).unwrap();
                assert_all_work(session.as_mut());
            }
        }
        let keys = session.keys();
        assert_eq!((keys.signing.len(), keys.sealing.len()), (5, 5));
        assert!(keys.signing.contains(&first.signing[0]) && keys.sealing.contains(&first.sealing[0]));
        assert_eq!(device.keys(), keys);
        assert_all_work(session.as_mut());
        assert_all_work(session.as_mut());
        drop((session, device));
        let device = TpmDevice::open(&settings, &entropy()).unwrap();
        let mut session = device.open_session().unwrap();
        assert_eq!(session.keys(), keys, "in the same order");
        assert_all_work(session.as_mut());
        let further = deployment.path(&format!("keys/mintkeep-signing.{}.pem", new_kid(&keys, &first)));
        assert_eq!(fs::metadata(further).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(deployment.path("keys")).unwrap().count(), 11, "no draft is left");
    }
}

/// A signing key that is not the first one.
pub(super) fn new_kid(keys: &DeviceKeys, first: &DeviceKeys) -> String {
    keys.signing.iter().find(|key| **key != first.signing[0]).unwrap().kid()
}

#[test]
fn the_keys_in_use_stay_loaded_and_others_are_loaded_without_the_storage_key() {
    let deployment = Deployment::on_tpm();
    let proxy = TpmProxy::before(&deployment);
    let settings = TpmSettings { tcti: proxy.tcti.clone(), ..settings(&deployment, Protection::Encrypted) };
    let device = TpmDevice::open(&settings, &entropy()).unwrap();
    let mut session = device.open_session().unwrap();
    proxy.commands();
    for _ in 0..5 {
        assert_signs(session.as_mut(), 0);
        assert_opens(session.as_mut(), 0);
    }
    assert_eq!(proxy.commands().len(), 10, "nothing but signatures and agreements");
    session.generate(Role::Sealing).unwrap();
    proxy.commands();
    for _ in 0..3 {
        assert_signs(session.as_mut(), 0);
        assert_opens(session.as_mut(), 0);
        assert_signs(session.as_mut(), 0);
        assert_opens(session.as_mut(), 1);
    }
    let commands = proxy.commands();
    let count = |code| commands.iter().filter(|command| **command == code).count();
    assert_eq!((count(CREATE_PRIMARY), count(LOAD)), (0, 0), "{commands:x?}");
    // The signing key stays. So does whichever of the sealing keys is there at the beginning.
    assert!((5..=7).contains(&count(CONTEXT_LOAD)), "{commands:x?}");
}

#[test]
fn keys_whose_files_appear_or_go_are_found_by_looking_again() {
    let deployment = Deployment::on_tpm();
    let settings = settings(&deployment, Protection::Encrypted);
    let device = TpmDevice::open(&settings, &entropy()).unwrap();
    let mut session = device.open_session().unwrap();
    let first = session.keys();
    session.generate(Role::Signing).unwrap();
    session.generate(Role::Sealing).unwrap();
    let both = session.keys();
    // As an operator may put them in order.
    let kid = new_kid(&both, &first);
    let (there, aside) = (format!("keys/mintkeep-signing.{kid}.pem"), "keys/aside");
    fs::rename(deployment.path(&there), deployment.path(aside)).unwrap();
    session.look_again().unwrap();
    assert_eq!(
        session.keys(),
        DeviceKeys { signing: first.signing.clone(), sealing: both.sealing.clone(), ..DeviceKeys::default() }
    );
    assert!(matches!(session.sign(&kid, &[0; 32]), Err(Error::UnknownKey(_))));
    fs::rename(deployment.path(aside), deployment.path(&there)).unwrap();
    session.look_again().unwrap();
    assert_eq!((session.keys(), device.keys()), (both.clone(), both.clone()));
    assert_all_work(session.as_mut());
    // The same key twice, or none, changes nothing.
    let copy = deployment.path("keys/mintkeep-signing.AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA.pem");
    fs::copy(deployment.path(&there), &copy).unwrap();
    assert!(matches!(session.look_again(), Err(Error::KeyAmbiguous { count: 2, .. })));
    fs::write(&copy, "hello").unwrap();
    assert!(matches!(session.look_again(), Err(Error::KeyFile { .. })));
    assert_eq!(session.keys(), both);
    assert_all_work(session.as_mut());
}

#[test]
fn a_key_is_destroyed_with_its_file_and_no_other_key_is() {
    let deployment = Deployment::on_tpm();
    let settings = settings(&deployment, Protection::Encrypted);
    let device = TpmDevice::open(&settings, &entropy()).unwrap();
    let mut session = device.open_session().unwrap();
    let first = session.keys();
    session.generate(Role::Signing).unwrap();
    let both = session.keys();
    drop((session, device));
    one_line_of_error(&deployment.run(&["keys", "destroy", "unknown"]), 4);
    let kid = first.signing[0].kid();
    succeed(&mut deployment.command(&["keys", "destroy", &kid]));
    one_line_of_error(&deployment.run(&["keys", "destroy", &kid]), 4);
    assert!(!deployment.path("keys/mintkeep-signing.pem").exists());
    let left = TpmDevice::open(&settings, &entropy()).unwrap().keys();
    assert_eq!(left.signing.iter().map(|key| key.kid()).collect::<Vec<_>>(), [new_kid(&both, &first)]);
    assert_eq!(left.sealing, first.sealing);
    // There is a key of each role.
    let keys = deployment.run_json(&["keys", "init"]);
    assert_eq!((&keys["keys"][0]["generated"], &keys["keys"][1]["generated"]), (&false.into(), &false.into()));
}

#[test]
fn no_more_than_thirty_two_keys_of_a_role_are_generated() {
    let deployment = Deployment::on_tpm();
    let device = TpmDevice::open(&settings(&deployment, Protection::Plain), &entropy()).unwrap();
    let mut session = device.open_session().unwrap();
    for _ in 1..32 {
        session.generate(Role::Sealing).unwrap();
    }
    assert!(matches!(session.generate(Role::Sealing), Err(Error::KeysFull { role: "sealing", most: 32 })));
    session.generate(Role::Signing).unwrap();
    assert_all_work(session.as_mut());
}
