//! Keys that a TPM keeps at persistent handles, which files name.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use mintkeep::hardware::tpm::{Protection, TpmDevice, TpmSettings};
use mintkeep::hardware::{Device as _, Error, Fault, KeyName, Role, SealingKey, Session};
use mintkeep::jose::base64url;
use nix::sys::signal::Signal;
use serde_json::{Value, json};
use toml_edit::value;
use tss_esapi::attributes::ObjectAttributesBuilder;
use tss_esapi::constants::CapabilityType;
use tss_esapi::handles::PersistentTpmHandle;
use tss_esapi::interface_types::algorithm::{HashingAlgorithm, PublicAlgorithm};
use tss_esapi::interface_types::dynamic_handles::Persistent;
use tss_esapi::interface_types::ecc::EccCurve;
use tss_esapi::interface_types::resource_handles::{Hierarchy, Provision};
use tss_esapi::interface_types::session_handles::AuthSession;
use tss_esapi::structures::{
    Auth, CapabilityData, EccPoint, EccScheme, HashScheme, KeyDerivationFunctionScheme, Public, PublicBuilder,
    PublicEccParametersBuilder,
};
use tss_esapi::{Context, TctiNameConf};

use super::several_in_tpm::{assert_all_work, assert_opens, assert_signs, entropy, settings};
use crate::support::Deployment;
use crate::support::jose::verified;
use crate::support::process::{eventually, one_line_of_error, signal, succeed};
use crate::support::tpm_proxy::{TpmProxy, code, refusal};

const RANGE: &str = "0x81100000-0x8110000f";
const FIRST: u32 = 0x8110_0000;
const AUDIENCE: &str = "https://api.example.com";

const EVICT_CONTROL: u32 = 0x120;
const SIGN: u32 = 0x15d;
const FLUSH_CONTEXT: u32 = 0x165;
const READ_PUBLIC: u32 = 0x173;

fn deployment() -> Deployment {
    Deployment::on_tpm_with_persistent_keys(RANGE)
}

fn persistent(deployment: &Deployment, protection: Protection) -> TpmSettings {
    TpmSettings { persistent_handles: Some(RANGE.parse().unwrap()), ..settings(deployment, protection) }
}

fn set_range(deployment: &Deployment, range: &str) {
    deployment.edit(|config| config["hardware"]["tpm"]["persistent_handles"] = value(range));
}

/// The TPM without us between; no process of ours is connected.
fn tpm(deployment: &Deployment) -> Context {
    let tcti: TctiNameConf = deployment.tcti().parse().unwrap();
    let mut context = Context::new(tcti).unwrap();
    context.set_sessions((Some(AuthSession::Password), None, None));
    context
}

fn of_tpm(handle: u32) -> PersistentTpmHandle {
    PersistentTpmHandle::new(handle).unwrap()
}

/// The persistent handles at which the TPM has something, as numbers from [`FIRST`].
fn handles(deployment: &Deployment) -> Vec<u32> {
    let mut context = tpm(deployment);
    context.clear_sessions();
    let (handles, more) = context.get_capability(CapabilityType::Handles, 0x8100_0000, 254).unwrap();
    assert!(!more);
    let CapabilityData::Handles(handles) = handles else { panic!("no handles") };
    handles.into_inner().into_iter().map(|handle| u32::from(handle) - FIRST).collect()
}

/// Makes a key as an operator may, and has the TPM keep it at `handles`.
fn provision(deployment: &Deployment, does_sign: bool, auth: &str, handles: &[u32]) {
    let mut context = tpm(deployment);
    let public = || operators_key(does_sign);
    let auth = Some(Auth::try_from(auth.as_bytes()).unwrap());
    let made = context.create_primary(Hierarchy::Owner, public(), auth, None, None, None).unwrap();
    for handle in handles {
        let persistent = Persistent::Persistent(of_tpm(*handle));
        context.evict_control(Provision::Owner, made.key_handle.into(), persistent).unwrap();
    }
    context.flush_context(made.key_handle.into()).unwrap();
}

fn operators_key(does_sign: bool) -> Public {
    let attributes = ObjectAttributesBuilder::new()
        .with_fixed_tpm(true)
        .with_fixed_parent(true)
        .with_sensitive_data_origin(true)
        .with_user_with_auth(true)
        .with_no_da(true)
        .with_sign_encrypt(does_sign)
        .with_decrypt(!does_sign);
    let scheme = EccScheme::EcDsa(HashScheme::new(HashingAlgorithm::Sha256));
    let parameters = PublicEccParametersBuilder::new()
        .with_curve(EccCurve::NistP256)
        .with_ecc_scheme(if does_sign { scheme } else { EccScheme::Null })
        .with_key_derivation_function_scheme(KeyDerivationFunctionScheme::Null)
        .with_is_signing_key(does_sign)
        .with_is_decryption_key(!does_sign);
    PublicBuilder::new()
        .with_public_algorithm(PublicAlgorithm::Ecc)
        .with_name_hashing_algorithm(HashingAlgorithm::Sha256)
        .with_object_attributes(attributes.build().unwrap())
        .with_ecc_parameters(parameters.build().unwrap())
        .with_ecc_unique_identifier(EccPoint::default())
        .build()
        .unwrap()
}

/// As `tpm2_evictcontrol -c HANDLE`.
fn evict(deployment: &Deployment, handle: u32) {
    let mut context = tpm(deployment);
    let found = context.execute_without_session(|context| context.tr_from_tpm_public(of_tpm(handle).into())).unwrap();
    context.evict_control(Provision::Owner, found, Persistent::Persistent(of_tpm(handle))).unwrap();
}

fn auth(deployment: &Deployment) -> String {
    fs::read_to_string(deployment.path("keys/auth")).unwrap()
}

/// What the file `name` says: the handle, and the key's `kid`.
fn named(deployment: &Deployment, name: &str) -> (String, String) {
    let text = fs::read_to_string(deployment.path("keys").join(name)).unwrap();
    let (handle, kid) = text.split_once('\n').unwrap();
    (handle.to_owned(), kid.trim_end().to_owned())
}

/// The files of keys, the authorization value aside.
fn files(deployment: &Deployment) -> Vec<String> {
    let entries = fs::read_dir(deployment.path("keys")).unwrap();
    let mut names: Vec<String> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.retain(|name| name != "auth");
    names.sort();
    names
}

/// What every command says of keys that it refuses.
#[track_caller]
fn refused(deployment: &Deployment) -> String {
    let said = one_line_of_error(&deployment.run(&["keys", "list"]), 8);
    assert_eq!(one_line_of_error(&deployment.run(&["serve"]), 8), said);
    assert_eq!(one_line_of_error(&deployment.run(&["keys", "init"]), 8), said);
    said
}

#[test]
fn keys_stay_in_the_tpm_through_restarts_of_it_and_of_the_keeper() {
    let mut deployment = deployment();
    assert_eq!(files(&deployment), ["mintkeep-sealing.handle", "mintkeep-signing.handle"]);
    assert_eq!(handles(&deployment), [0, 1]);
    let keys = deployment.run_json(&["keys", "list"]);
    for (index, name) in ["mintkeep-signing.handle", "mintkeep-sealing.handle"].into_iter().enumerate() {
        let (handle, kid) = named(&deployment, name);
        assert_eq!((handle, json!(kid)), (format!("0x8110000{index}"), keys["keys"][index]["kid"].clone()));
        let mode = fs::metadata(deployment.path("keys").join(name)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{name}");
    }
    assert_eq!(deployment.run_json(&["keys", "init"])["keys"], keys["keys"], "generating again changes nothing");
    let mut held = deployment.grant();
    for session in ["encrypted", "plain"] {
        deployment.edit(|config| config["hardware"]["tpm"]["session"] = value(session));
        let mint = deployment.serve();
        let answer = mint.refresh(&held);
        assert_eq!(verified(&mint, &answer.text("access_token"), AUDIENCE)["sub"], "deploy@example.com");
        // What a killed keeper leaves in the TPM is flushed, and persistent keys are none of that.
        signal(mint.keeper_pid(), Signal::SIGKILL);
        mint.client_credentials().text("access_token");
        held = mint.refresh(&answer.text("refresh_token")).text("refresh_token");
        assert!(mint.terminate().success());
        // The same TPM, after a reset.
        deployment.replace_tpm("swtpm");
    }
    assert_eq!(deployment.run_json(&["keys", "list"])["keys"], keys["keys"]);
    assert_eq!(handles(&deployment), [0, 1]);
}

#[test]
fn a_running_keeper_finds_them_again_after_a_reset_of_the_tpm() {
    let deployment = deployment();
    let proxy = TpmProxy::before(&deployment);
    deployment.edit(|config| config["hardware"]["tpm"]["tcti"] = value(proxy.tcti.as_str()));
    let mint = deployment.serve();
    let (keeper, token) = (mint.keeper_pid(), deployment.grant());
    let mut is_reset = false;
    proxy.meddle(move |command| {
        // TPM_RC_INITIALIZE.
        (code(command) == SIGN && !std::mem::replace(&mut is_reset, true)).then(|| refusal(0x100))
    });
    eventually(|| mint.client_credentials().status == 200 && mint.keeper_pid() != keeper);
    mint.refresh(&token).text("access_token");
}

#[test]
fn rotation_makes_further_ones_beside_keys_in_files() {
    let deployment = Deployment::on_tpm();
    set_range(&deployment, RANGE);
    deployment.edit(|config| {
        for role in ["signing", "sealing"] {
            config["keys"][role]["publish_ahead"] = value("1s");
        }
        config["tokens"]["jwks_max_age"] = value("1s");
    });
    let mint = deployment.serve();
    let held = deployment.grant();
    let first = mint.client_credentials().text("access_token");
    succeed(&mut deployment.command(&["keys", "rotate"]));
    let kid = |token: &str| {
        let header: Value =
            serde_json::from_slice(&base64url::decode(token.split('.').next().unwrap()).unwrap()).unwrap();
        header["kid"].as_str().unwrap().to_owned()
    };
    eventually(|| kid(&mint.client_credentials().text("access_token")) != kid(&first));
    let new = mint.client_credentials().text("access_token");
    eventually(|| kid(&deployment.grant()) != kid(&held));
    let answer = mint.refresh(&held);
    assert_ne!(kid(&answer.text("refresh_token")), kid(&held), "a persistent key seals what one in a file has opened");
    verified(&mint, &answer.text("access_token"), AUDIENCE);
    assert!(mint.terminate().success());
    let made = files(&deployment);
    assert_eq!(made.len(), 4, "{made:?}");
    for name in ["mintkeep-sealing.pem", "mintkeep-signing.pem", &format!("mintkeep-signing.{}.handle", kid(&new))] {
        assert!(made.iter().any(|one| one == name), "{name} is not in {made:?}");
    }
    assert_eq!(handles(&deployment), [0, 1]);
}

/// Persistent keys take a place only while they are used, and there are three.
#[test]
fn many_of_both_kinds_are_used_by_turns() {
    for protection in [Protection::Plain, Protection::Encrypted] {
        let deployment = Deployment::on_tpm();
        let wrapped = TpmDevice::open(&settings(&deployment, protection), &entropy()).unwrap();
        let mut session = wrapped.open_session().unwrap();
        for role in [Role::Signing, Role::Sealing] {
            session.generate(role).unwrap();
        }
        drop((session, wrapped));
        let device = TpmDevice::open(&persistent(&deployment, protection), &entropy()).unwrap();
        let mut session = device.open_session().unwrap();
        for _ in 0..2 {
            for role in [Role::Signing, Role::Sealing] {
                session.generate(role).unwrap();
                assert_all_work(session.as_mut());
            }
        }
        session.look_again().unwrap();
        let keys = session.keys();
        assert_eq!((keys.signing.len(), keys.sealing.len()), (4, 4));
        for _ in 0..3 {
            assert_all_work(session.as_mut());
        }
        drop((session, device));
        assert_eq!(handles(&deployment), [0, 1, 2, 3]);
        // Without the setting they are used as well.
        let device = TpmDevice::open(&settings(&deployment, protection), &entropy()).unwrap();
        assert_eq!(device.keys(), keys);
        assert_all_work(device.open_session().unwrap().as_mut());
    }
}

#[test]
fn evidence_of_them_is_a_proof() {
    let deployment = deployment();
    let keys = deployment.run_json(&["keys", "list"]);
    let mint = deployment.serve();
    for _ in 0..3 {
        let output = succeed(&mut deployment.command(&["keys", "attest"]));
        fs::write(deployment.path("evidence.json"), output.stdout).unwrap();
        let mut verify = deployment.command_without_config(&["keys", "verify-attestation", "evidence.json", "--json"]);
        let found: Value = serde_json::from_slice(&succeed(&mut verify).stdout).unwrap();
        for index in 0..2 {
            assert_eq!(found[index]["kid"], keys["keys"][index]["kid"]);
            assert_eq!(found[index]["standing"], "proof");
        }
        mint.client_credentials().text("access_token");
    }
}

#[test]
fn a_key_that_an_operator_provisioned_is_used_when_its_file_says_which_it_is() {
    let deployment = Deployment::on_tpm();
    let handle = 0x8150_0000;
    provision(&deployment, true, &auth(&deployment), &[handle]);
    fs::remove_file(deployment.path("keys/mintkeep-signing.pem")).unwrap();
    let path = deployment.path("keys/mintkeep-signing.handle");
    fs::write(&path, "0x81500000\n").unwrap();
    let said = refused(&deployment);
    let kid = said.split("the TPM has ").nth(1).unwrap().split(' ').next().unwrap();
    assert!(said.contains(&format!("the TPM has {kid} there: write that, if it is the key that you put")), "{said}");
    fs::write(&path, format!("0x81500000\n{kid}\n")).unwrap();
    let keys = deployment.run_json(&["keys", "list"]);
    assert_eq!(keys["keys"][0]["kid"], kid);
    let mint = deployment.serve();
    verified(&mint, &mint.refresh(&deployment.grant()).text("access_token"), AUDIENCE);
    assert!(mint.terminate().success());
    // Keys are held to the same rules wherever they are.
    fs::rename(&path, deployment.path("keys/mintkeep-sealing.handle")).unwrap();
    fs::remove_file(deployment.path("keys/mintkeep-sealing.pem")).unwrap();
    let said = one_line_of_error(&deployment.run(&["keys", "init"]), 8);
    assert!(said.contains("sign is true, expected false"), "{said}");
    fs::write(deployment.path("keys/mintkeep-sealing.handle"), "0x81800000\n").unwrap();
    let said = one_line_of_error(&deployment.run(&["keys", "init"]), 8);
    assert!(said.contains("line 1: \"0x81800000\" is none that mintkeep uses"), "{said}");
}

#[test]
fn a_wrong_authorization_value_is_refused() {
    let deployment = Deployment::on_tpm();
    provision(&deployment, true, "another", &[FIRST]);
    fs::remove_file(deployment.path("keys/mintkeep-signing.pem")).unwrap();
    fs::write(deployment.path("keys/mintkeep-signing.handle"), "0x81100000\n").unwrap();
    let said = one_line_of_error(&deployment.run(&["keys", "list"]), 8);
    let kid = said.split("the TPM has ").nth(1).unwrap().split(' ').next().unwrap();
    fs::write(deployment.path("keys/mintkeep-signing.handle"), format!("0x81100000\n{kid}\n")).unwrap();
    let said = one_line_of_error(&deployment.run(&["keys", "list"]), 8);
    assert!(said.contains("the TPM refused the authorization value of a key"), "{said}");
}

#[test]
fn another_key_at_the_handle_or_none_is_refused() {
    let deployment = deployment();
    let (_, kid) = named(&deployment, "mintkeep-signing.handle");
    evict(&deployment, FIRST);
    assert!(refused(&deployment).contains("the TPM has no key at 0x81100000; it was evicted, or the TPM cleared"));
    // Of the same role, with the same authorization value.
    provision(&deployment, true, &auth(&deployment), &[FIRST]);
    let said = refused(&deployment);
    assert!(said.contains(&format!(" at 0x81100000, expected {kid}; the one that was there is gone")), "{said}");
    // It is not ours to destroy; our file of it is.
    succeed(&mut deployment.command(&["keys", "destroy", "--unneeded", &kid]));
    assert_eq!(files(&deployment), ["mintkeep-sealing.handle"]);
    assert_eq!(handles(&deployment), [0, 1]);
    deployment.run_json(&["keys", "init"]);
    assert_eq!(named(&deployment, "mintkeep-signing.handle").0, "0x81100002");
}

/// What is at a handle changes while a session is open.
#[test]
fn a_key_that_is_replaced_while_it_is_used_is_gone_and_not_another_one() {
    for protection in [Protection::Plain, Protection::Encrypted] {
        let deployment = deployment();
        let value = auth(&deployment);
        provision(&deployment, true, &value, &[FIRST + 8]);
        provision(&deployment, false, &value, &[FIRST + 9]);
        let proxy = TpmProxy::before(&deployment);
        let settings = TpmSettings { tcti: proxy.tcti.clone(), ..persistent(&deployment, protection) };
        // First another key at each handle, then none.
        for offset in [8, 12] {
            let device = TpmDevice::open(&settings, &entropy()).unwrap();
            let mut session = device.open_session().unwrap();
            assert_all_work(session.as_mut());
            proxy.meddle(move |command| {
                let handles = [FIRST, FIRST + 1].map(u32::to_be_bytes);
                if let Some(handle) =
                    command.get_mut(10..14).filter(|handle| handles.iter().any(|one| *one == **handle))
                {
                    handle[3] += offset;
                }
                None
            });
            let signing = session.keys().signing[0].kid();
            let SealingKey::EcdhEs(sealing) = session.keys().sealing[0] else { panic!("not a key of a TPM") };
            let is_gone = |error: Error| assert_eq!(error.fault(), Some(Fault::KeyGone), "{protection:?}: {error}");
            is_gone(session.sign(&signing, &[0; 32]).unwrap_err());
            is_gone(session.agree(&sealing.kid(), &sealing).map(drop).unwrap_err());
            is_gone(session.look_again().unwrap_err());
            proxy.meddle(|_| None);
            assert_all_work(session.as_mut());
        }
    }
}

/// As the test before, by who else can reach the TPM: what is left of the former key on our side is of no use.
#[test]
fn a_key_that_is_replaced_in_the_tpm_is_gone() {
    for protection in [Protection::Plain, Protection::Encrypted] {
        let deployment = deployment();
        let (_, signing) = named(&deployment, "mintkeep-signing.handle");
        let proxy = TpmProxy::before(&deployment);
        let settings = TpmSettings { tcti: proxy.tcti.clone(), ..persistent(&deployment, protection) };
        let device = TpmDevice::open(&settings, &entropy()).unwrap();
        let mut session = device.open_session().unwrap();
        assert_all_work(session.as_mut());
        proxy.let_go();
        evict(&deployment, FIRST);
        // Of the same role, with the same authorization value.
        provision(&deployment, true, &auth(&deployment), &[FIRST]);
        for what in ["another key", "no key"] {
            for _ in 0..2 {
                let error = session.sign(&signing, &[0; 32]).unwrap_err();
                assert_eq!(error.fault(), Some(Fault::KeyGone), "{protection:?}: {error}");
                assert!(error.to_string().contains(&format!("the TPM has {what} at 0x81100000")), "{error}");
            }
            assert_opens(session.as_mut(), 0);
            proxy.let_go();
            if what == "another key" {
                evict(&deployment, FIRST);
            }
        }
    }
}

#[test]
fn the_handle_of_a_key_that_others_have_evicted_is_free() {
    for protection in [Protection::Plain, Protection::Encrypted] {
        let deployment = deployment();
        let (_, former) = named(&deployment, "mintkeep-signing.handle");
        let proxy = TpmProxy::before(&deployment);
        let settings = TpmSettings { tcti: proxy.tcti.clone(), ..persistent(&deployment, protection) };
        let device = TpmDevice::open(&settings, &entropy()).unwrap();
        let mut session = device.open_session().unwrap();
        proxy.let_go();
        evict(&deployment, FIRST);
        fs::remove_file(deployment.path("keys/mintkeep-signing.handle")).unwrap();
        session.generate(Role::Signing).unwrap();
        let next = session.keys().signing.iter().position(|key| key.kid() != former).unwrap();
        let kid = session.keys().signing[next].kid();
        assert_eq!(named(&deployment, &format!("mintkeep-signing.{kid}.handle")).0, "0x81100000");
        for _ in 0..2 {
            assert_signs(session.as_mut(), next);
            assert_eq!(session.sign(&former, &[0; 32]).unwrap_err().fault(), Some(Fault::KeyGone));
        }
    }
}

/// The keeper's view: it does not take that for a wrong authorization value, which it would not try again.
#[test]
fn a_keeper_whose_key_is_replaced_says_that_it_is_gone() {
    for session in ["plain", "encrypted"] {
        let deployment = deployment();
        let handle = 0x8150_0000;
        provision(&deployment, true, &auth(&deployment), &[handle]);
        let proxy = TpmProxy::before(&deployment);
        deployment.edit(|config| {
            config["hardware"]["tpm"]["tcti"] = value(proxy.tcti.as_str());
            config["hardware"]["tpm"]["session"] = value(session);
        });
        let mint = deployment.serve();
        mint.client_credentials().text("access_token");
        proxy.meddle(move |command| {
            if command.get(10..14) == Some(&FIRST.to_be_bytes()) {
                command[10..14].copy_from_slice(&handle.to_be_bytes());
            }
            None
        });
        assert_ne!(mint.client_credentials().status, 200, "{session}");
        let faults =
            |fault: &str| mint.metric(&format!("mintkeep_device_faults_total{{device=\"tpm\",fault=\"{fault}\"}}"));
        assert!(faults("key_gone") > 0, "{session}");
        proxy.meddle(|_| None);
        eventually(|| mint.client_credentials().status == 200);
        assert!(mint.terminate().success());
    }
}

/// Where the session binds names, the TPM compares them itself.
#[test]
fn a_use_is_one_command_and_without_a_session_that_binds_names_two() {
    for (protection, expected) in [(Protection::Encrypted, &[SIGN][..]), (Protection::Plain, &[READ_PUBLIC, SIGN])] {
        let deployment = deployment();
        let proxy = TpmProxy::before(&deployment);
        let settings = TpmSettings { tcti: proxy.tcti.clone(), ..persistent(&deployment, protection) };
        let device = TpmDevice::open(&settings, &entropy()).unwrap();
        let mut session = device.open_session().unwrap();
        let is_as_expected = |session: &mut dyn Session| {
            proxy.commands();
            for _ in 0..10 {
                assert_signs(session, 0);
            }
            assert_eq!(proxy.commands(), expected.repeat(10), "{protection:?}");
        };
        is_as_expected(session.as_mut());
        proxy.commands();
        session.look_again().unwrap();
        let read = proxy.commands().into_iter().filter(|command| *command == READ_PUBLIC).count();
        assert_eq!(read, 2, "each key is looked for");
        is_as_expected(session.as_mut());
    }
}

#[test]
fn a_full_range_and_a_full_tpm_are_errors_that_say_so() {
    let deployment = Deployment::on_tpm_without_keys();
    set_range(&deployment, "0x81100000-0x81100000");
    let said = one_line_of_error(&deployment.run(&["keys", "init"]), 8);
    let expected = "cannot keep a new sealing key in the TPM: no handle of 0x81100000-0x81100000 is free";
    assert!(said.contains(expected), "{said}");
    assert!(said.contains("widen hardware.tpm.persistent_handles"), "{said}");
    // What was made is taken up by the next.
    let first = named(&deployment, "mintkeep-signing.handle");
    set_range(&deployment, "0x81100000-0x81100001");
    deployment.run_json(&["keys", "init"]);
    assert_eq!(named(&deployment, "mintkeep-signing.handle"), first);
    let settings = TpmSettings {
        persistent_handles: Some("0x81100000-0x81100001".parse().unwrap()),
        ..persistent(&deployment, Protection::Plain)
    };
    let device = TpmDevice::open(&settings, &entropy()).unwrap();
    let mut session = device.open_session().unwrap();
    for role in [Role::Signing, Role::Sealing] {
        assert!(matches!(session.generate(role), Err(Error::HandlesFull { .. })));
        assert_all_work(session.as_mut());
    }
    drop((session, device));
    assert_eq!(files(&deployment).len(), 2);
    // The mint stays as it is: it is no fault of the device.
    let mint = deployment.serve();
    let rotated = deployment.run(&["keys", "rotate", "--role", "signing"]);
    let said = String::from_utf8(rotated.stderr).unwrap();
    assert!(said.contains("no handle of 0x81100000-0x81100001 is free"), "{said}");
    mint.client_credentials().text("access_token");
    for fault in Fault::ALL {
        let metric = format!("mintkeep_device_faults_total{{device=\"tpm\",fault=\"{}\"}}", fault.name());
        assert_eq!(mint.metric(&metric), 0, "{metric}");
    }
    assert!(mint.terminate().success());
    // As many as there is memory for.
    let mut filled = Vec::new();
    let filling = |number: u32| 0x8160_0000 + number;
    while filled.len() < 250 {
        let number = u32::try_from(filled.len()).unwrap();
        let kept = std::panic::catch_unwind(|| provision(&deployment, true, "", &[filling(number)]));
        if kept.is_err() {
            break;
        }
        filled.push(number);
    }
    set_range(&deployment, RANGE);
    fs::remove_file(deployment.path("keys/mintkeep-sealing.handle")).unwrap();
    let said = one_line_of_error(&deployment.run(&["keys", "init"]), 8);
    assert!(said.contains("no memory left for another persistent key (TPM_RC_NV_SPACE)"), "{said}");
    assert_eq!(files(&deployment), ["mintkeep-signing.handle"]);
    evict(&deployment, filling(0));
    deployment.run_json(&["keys", "init"]);
}

#[test]
fn a_destroyed_key_frees_its_handle() {
    let deployment = deployment();
    let device = TpmDevice::open(&persistent(&deployment, Protection::Encrypted), &entropy()).unwrap();
    let mut session = device.open_session().unwrap();
    let name = KeyName::parse("spire/x509-CA-A").unwrap();
    session.generate(Role::Signing).unwrap();
    drop((session, device));
    assert_eq!(handles(&deployment), [0, 1, 2]);
    let (_, kid) = named(&deployment, "mintkeep-signing.handle");
    succeed(&mut deployment.command(&["keys", "destroy", "--unneeded", &kid]));
    assert_eq!((handles(&deployment), files(&deployment).len()), (vec![1, 2], 2));
    one_line_of_error(&deployment.run(&["keys", "destroy", "--unneeded", &kid]), 4);
    // One that a front-end had made, by the session, and the next at its handle.
    for protection in [Protection::Plain, Protection::Encrypted] {
        let mut settings = persistent(&deployment, protection);
        settings.profiles = vec![mintkeep::hardware::ProfileKeys {
            profile: KeyName::parse("spire").unwrap(),
            keys: mintkeep::hardware::DelegatedKeys::Created,
        }];
        let device = TpmDevice::open(&settings, &entropy()).unwrap();
        let mut session = device.open_session().unwrap();
        for _ in 0..2 {
            session.generate(Role::Delegated(name)).unwrap();
            let made = session.keys().delegated[0].public_key.kid();
            let file = format!("mintkeep-delegated:spire:x509-CA-A.{made}.handle");
            assert_eq!(named(&deployment, &file).0, "0x81100000");
            session.sign(&made, &[0; 32]).unwrap();
            session.destroy(&made).unwrap();
            assert!(matches!(session.sign(&made, &[0; 32]), Err(Error::UnknownKey(_))));
        }
        session.look_again().unwrap();
        assert_all_work(session.as_mut());
        drop((session, device));
        assert_eq!((handles(&deployment), files(&deployment).len()), (vec![1, 2], 2));
    }
}

/// What a process leaves that is ended in between.
#[test]
fn what_was_cut_short_is_ended_by_the_next() {
    let deployment = deployment();
    let keys = deployment.path("keys");
    let unfinished = keys.join("mintkeep-signing.handle.unfinished");
    let (_, kid) = named(&deployment, "mintkeep-signing.handle");
    // A key that was made and has no file yet, or whose destruction has begun: it is none.
    fs::rename(keys.join("mintkeep-signing.handle"), &unfinished).unwrap();
    let said = one_line_of_error(&deployment.run(&["serve"]), 8);
    assert!(said.contains("the signing key is not there"), "{said}");
    deployment.run_json(&["keys", "init"]);
    assert_eq!(files(&deployment), ["mintkeep-sealing.handle", "mintkeep-signing.handle"]);
    assert_eq!(handles(&deployment), [0, 1]);
    assert_ne!(named(&deployment, "mintkeep-signing.handle"), ("0x81100000".to_owned(), kid.clone()));
    // One that was not made yet, and one at whose handle another key is; also when the keys are only opened.
    fs::write(&unfinished, format!("0x8110000a\n{kid}\n")).unwrap();
    fs::write(keys.join(format!("mintkeep-sealing.{kid}.handle.unfinished")), format!("0x81100001\n{kid}\n")).unwrap();
    let mint = deployment.serve();
    mint.client_credentials().text("access_token");
    assert!(mint.terminate().success());
    assert_eq!(files(&deployment), ["mintkeep-sealing.handle", "mintkeep-signing.handle"]);
    assert_eq!(handles(&deployment), [0, 1]);
    // A handle that any file names is nobody else's, whatever became of its key.
    fs::write(keys.join(format!("mintkeep-delegated:former.{kid}.handle")), format!("0x81100002\n{kid}\n")).unwrap();
    fs::remove_file(keys.join("mintkeep-sealing.handle")).unwrap();
    deployment.run_json(&["keys", "init"]);
    assert_eq!(named(&deployment, "mintkeep-sealing.handle").0, "0x81100003");
}

#[test]
fn a_tpm_that_refuses_to_keep_a_key_leaves_nothing_behind() {
    let deployment = deployment();
    let proxy = TpmProxy::before(&deployment);
    let settings = TpmSettings { tcti: proxy.tcti.clone(), ..persistent(&deployment, Protection::Encrypted) };
    let device = TpmDevice::open(&settings, &entropy()).unwrap();
    let mut session = device.open_session().unwrap();
    let before = session.keys();
    // TPM_RC_NV_DEFINED: somebody else was quicker.
    proxy.meddle(|command| (code(command) == EVICT_CONTROL).then(|| refusal(0x14c)));
    assert!(matches!(session.generate(Role::Signing), Err(Error::Call { .. })));
    assert_eq!(session.keys(), before);
    assert_eq!(files(&deployment).len(), 2);
    proxy.meddle(|_| None);
    session.generate(Role::Signing).unwrap();
    assert_all_work(session.as_mut());
    drop((session, device));
    assert_eq!(handles(&deployment), [0, 1, 2]);
}

#[test]
fn where_others_take_places_ours_are_given_up_for_a_persistent_key() {
    let deployment = Deployment::on_tpm();
    let proxy = TpmProxy::before(&deployment);
    let settings = TpmSettings { tcti: proxy.tcti.clone(), ..persistent(&deployment, Protection::Plain) };
    let device = TpmDevice::open(&settings, &entropy()).unwrap();
    let mut session = device.open_session().unwrap();
    session.generate(Role::Signing).unwrap();
    let (first, second) = (session.keys().signing[0], session.keys().signing[1]);
    let name = files(&deployment).into_iter().find(|name| name.ends_with(".handle")).unwrap();
    let kept = if named(&deployment, &name).1 == first.kid() { 0 } else { 1 };
    assert_ne!(first, second);
    assert_signs(session.as_mut(), 1 - kept);
    assert_opens(session.as_mut(), 0);
    proxy.commands();
    let full = Arc::new(AtomicU32::new(2));
    let left = Arc::clone(&full);
    proxy.meddle(move |command| {
        // TPM_RC_OBJECT_MEMORY.
        let is_full = code(command) == SIGN
            && left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)).is_ok();
        is_full.then(|| refusal(0x902))
    });
    assert_signs(session.as_mut(), kept);
    assert_eq!(full.load(Ordering::SeqCst), 0);
    assert_eq!(proxy.commands().iter().filter(|command| **command == FLUSH_CONTEXT).count(), 2);
    // Where there is nothing left to give up it is an error, and not for ever.
    full.store(1, Ordering::SeqCst);
    let kid = session.keys().signing[kept].kid();
    assert!(matches!(session.sign(&kid, &[0; 32]), Err(Error::PlacesFull { .. })));
    assert_all_work(session.as_mut());
}

#[test]
fn keys_in_the_range_that_no_file_names_are_warned_of_and_left_alone() {
    let deployment = deployment();
    provision(&deployment, true, "", &[FIRST + 5, 0x8150_0000]);
    let mint = deployment.serve();
    let said = mint.log();
    assert!(said.contains("the TPM has keys at handles of persistent_handles that no file"), "{said}");
    assert!(said.contains("\"handles\":\"0x81100005\""), "{said}");
    assert!(mint.terminate().success());
    assert_eq!(handles(&deployment), [0, 1, 5, 0x40_0000]);
}
