//! Evidence of where keys live: made by real devices, checked without one.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Output};

use mintkeep::hardware::Provenance;
use mintkeep::hardware::attestation::{Attestation, Expected, Nonce};
use mintkeep::jose::base64url;
use serde_json::{Value, json};
use toml_edit::value;

use super::keys::import_signing_key;
use crate::support::Deployment;
use crate::support::process::{one_line_of_error, succeed};

const NONCE: &str = "-V4tZdqk3ve0ZAn-mJ2p_g";

/// What `keys attest WORDS` writes.
fn attest(deployment: &Deployment, words: &[&str]) -> Value {
    let mut command = deployment.command_without_config(&[&["keys", "attest"], words].concat());
    // A name may begin with a hyphen and come last, behind `--`.
    let output = succeed(command.env("MINTKEEP_CONFIG", deployment.config_path()));
    serde_json::from_slice(&output.stdout).unwrap()
}

fn written(deployment: &Deployment, document: &Value) -> PathBuf {
    let path = deployment.path("evidence.json");
    fs::write(&path, document.to_string()).unwrap();
    path
}

/// `keys verify-attestation WORDS` on `document`.
fn verify(deployment: &Deployment, document: &Value, words: &[&str]) -> Output {
    let mut command = deployment.command_without_config(&["keys", "verify-attestation"]);
    command.arg(written(deployment, document)).args(words).output().unwrap()
}

#[track_caller]
fn verified(deployment: &Deployment, document: &Value, words: &[&str]) -> Value {
    let output = verify(deployment, document, &[words, &["--json"]].concat());
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

#[track_caller]
fn refused(deployment: &Deployment, document: &Value, words: &[&str]) -> String {
    one_line_of_error(&verify(deployment, document, words), 7)
}

/// Whether a sentence of `list` has the words `part`.
fn says(verified: &Value, list: &str, part: &str) -> bool {
    verified[list].as_array().unwrap().iter().any(|text| text.as_str().unwrap().contains(part))
}

/// Every document of `documents` with one bit of one member flipped is refused, whatever is allowed.
fn assert_no_bit_can_change(documents: &Value, members: &[&str]) {
    let expected = Expected {
        nonce: Some(Nonce::parse(NONCE).unwrap()),
        attestation_key: None,
        provenance: Provenance::ImportedAllowed,
    };
    let accepts = |document: &Value| {
        Attestation::parse(document.to_string().as_bytes()).is_ok_and(|document| document.verify(&expected).is_ok())
    };
    let mut changed = 0;
    for document in documents.as_array().unwrap() {
        assert!(accepts(document));
        for member in members {
            let Some(text) = document.pointer(member).and_then(Value::as_str) else { continue };
            let sound = base64url::decode(text).unwrap();
            for bit in 0..sound.len() * 8 {
                let mut bytes = sound.clone();
                bytes[bit / 8] ^= 1 << (bit % 8);
                let mut document = document.clone();
                *document.pointer_mut(member).unwrap() = json!(base64url::encode(bytes));
                assert!(!accepts(&document), "bit {bit} of {member}");
                changed += 1;
            }
        }
    }
    assert!(changed > 1000, "{changed}");
}

/// Python's word for it, which shares no code with ours: "good", or an exception.
fn judged_by_python(deployment: &Deployment, document: &Value) -> bool {
    let script = include_str!("attestation.py");
    let path = written(deployment, document);
    let output = Command::new("python3").args(["-c", script]).arg(path).output().unwrap();
    String::from_utf8_lossy(&output.stdout).trim() == "good"
}

#[test]
fn what_a_pkcs11_module_says_is_a_claim_signed_by_the_token() {
    let deployment = Deployment::new();
    let keys = deployment.run_json(&["keys", "list"]);
    let documents = attest(&deployment, &["--nonce", NONCE]);
    assert_eq!(documents.as_array().unwrap().len(), 2);
    for (document, role) in documents.as_array().unwrap().iter().zip(["signing", "sealing"]) {
        assert_eq!((&document["kind"], &document["role"]), (&json!("pkcs11-attributes"), &json!(role)));
        assert!(document["standing"].as_str().unwrap().starts_with("a claim of the PKCS#11 module and not a proof"));
        assert_eq!(document["signed_by"], documents[0]["jwk"]);
        assert_eq!(document["token"]["label"], "mintkeep");
        assert_eq!(document["attributes"]["CKA_NEVER_EXTRACTABLE"], true);
        assert!(judged_by_python(&deployment, document), "{document}");
    }
    assert_eq!(documents[0]["attributes"]["CKA_KEY_GEN_MECHANISM"], "CKM_EC_KEY_PAIR_GEN");
    assert_eq!(documents[1]["attributes"]["CKA_KEY_TYPE"], "CKK_AES");
    let found = verified(&deployment, &documents, &["--nonce", NONCE]);
    for index in 0..2 {
        assert_eq!(found[index]["kid"], keys["keys"][index]["kid"]);
        assert_eq!(found[index]["standing"], "claim");
        assert!(says(&found[index], "not_proven", "cannot leave it"), "{found}");
        assert!(says(&found[index], "proven", "after the nonce was chosen"), "{found}");
    }
    assert!(refused(&deployment, &documents, &["--nonce", "AAAAAAAAAAAAAAAAAAAAAA"]).contains("the nonce is another"));
    let mut changed = documents[0].clone();
    changed["token"]["serial_number"] = json!("another");
    assert!(refused(&deployment, &changed, &[]).contains("the signature does not verify"));
    assert!(!judged_by_python(&deployment, &changed));
    assert_no_bit_can_change(&documents, &["/signature", "/nonce", "/jwk/x", "/jwk/y", "/signed_by/x", "/signed_by/y"]);
}

#[test]
fn evidence_of_an_imported_key_says_so() {
    let deployment = Deployment::without_keys();
    import_signing_key(&deployment);
    deployment.edit(|config| config["hardware"]["softhsm"]["allow_imported"] = value(true));
    succeed(&mut deployment.command(&["keys", "init"]));
    let kid = deployment.run_json(&["keys", "list"])["keys"][0]["kid"].as_str().unwrap().to_owned();
    let document = attest(&deployment, &["--nonce", NONCE, "--", &kid]);
    assert_eq!(document["attributes"]["CKA_LOCAL"], false);
    let message = refused(&deployment, &document, &[]);
    assert!(message.contains("CKA_LOCAL is false") && message.contains("--allow-imported"), "{message}");
    let found = verified(&deployment, &document, &["--allow-imported"]);
    assert!(says(&found[0], "not_proven", "CKA_LOCAL is false"), "{found}");
}

#[test]
fn a_running_mint_makes_evidence_and_goes_on() {
    let deployment = Deployment::new();
    let mint = deployment.serve();
    let documents = attest(&deployment, &[]);
    let found = verified(&deployment, &documents, &[]);
    assert_eq!(found.as_array().unwrap().len(), 2);
    assert!(says(&found[0], "not_proven", "when it was made"));
    let kid = found[1]["kid"].as_str().unwrap();
    let one = attest(&deployment, &["--nonce", NONCE, "--", kid]);
    assert_eq!((&one["kid"], &one["nonce"]), (&json!(kid), &json!(NONCE)));
    verified(&deployment, &one, &["--nonce", NONCE]);
    let nobody = deployment.run(&["keys", "attest", "nobody"]);
    assert!(one_line_of_error(&nobody, 7).contains("no device has a key of this name"));
    for path in [
        "/admin/v1/attestations",
        "/admin/v1/attestations?nonce=AAAA",
        "/admin/v1/attestations?nonce=AAAAAAAAAAAAAAAA&kid=x",
    ] {
        assert_eq!(mint.admin(path).status, 400, "{path}");
    }
    mint.client_credentials().text("access_token");
    assert!(mint.terminate().success());
    assert!(one_line_of_error(&deployment.run(&["keys", "attest", "nobody"]), 7).contains("has no key nobody"));
}

#[test]
fn evidence_goes_to_a_file_and_is_told_in_words() {
    let deployment = Deployment::new();
    succeed(&mut deployment.command(&["keys", "attest", "--output", "all.json"]));
    let mut command = deployment.command_without_config(&["keys", "verify-attestation", "all.json"]);
    let output = String::from_utf8(succeed(&mut command).stdout).unwrap();
    assert_eq!(output.lines().filter(|line| line.ends_with(": a claim")).count(), 2, "{output}");
    for (text, flaw) in [("[]", "it is an empty list"), ("{}", "missing field"), ("", "EOF")] {
        fs::write(deployment.path("all.json"), text).unwrap();
        let output = deployment.command_without_config(&["keys", "verify-attestation", "all.json"]).output().unwrap();
        assert!(one_line_of_error(&output, 7).contains(flaw), "{text}");
    }
    let output = deployment.command_without_config(&["keys", "verify-attestation", "none.json"]).output().unwrap();
    assert!(one_line_of_error(&output, 1).contains("cannot read none.json"));
    let output = deployment.run(&["keys", "attest", "--nonce", "AAAA"]);
    assert!(one_line_of_error(&output, 7).contains("a nonce of 3 bytes, expected 8 to 32"));
}

#[cfg(feature = "tpm")]
mod on_tpm {
    use tss_esapi::attributes::NvIndexAttributesBuilder;
    use tss_esapi::handles::NvIndexTpmHandle;
    use tss_esapi::interface_types::algorithm::HashingAlgorithm;
    use tss_esapi::interface_types::resource_handles::{NvAuth, Provision};
    use tss_esapi::interface_types::session_handles::AuthSession;
    use tss_esapi::structures::NvPublicBuilder;
    use tss_esapi::{Context, TctiNameConf};

    use super::*;

    #[test]
    fn what_a_tpm_certifies_is_proven_and_no_bit_can_change() {
        let deployment = Deployment::on_tpm();
        let keys = deployment.run_json(&["keys", "list"]);
        let documents = attest(&deployment, &["--nonce", NONCE]);
        for (document, role) in documents.as_array().unwrap().iter().zip(["signing", "sealing"]) {
            assert_eq!((&document["kind"], &document["role"]), (&json!("tpm2-certify"), &json!(role)));
            assert!(judged_by_python(&deployment, document), "{document}");
        }
        assert_eq!(documents[0]["attestation_key"], documents[1]["attestation_key"]);
        let found = verified(&deployment, &documents, &["--nonce", NONCE]);
        for index in 0..2 {
            assert_eq!(found[index]["kid"], keys["keys"][index]["kid"]);
            assert_eq!(found[index]["standing"], "proof");
            assert!(says(&found[index], "proven", "cannot leave it (fixedTPM, fixedParent)"), "{found}");
            assert!(says(&found[index], "not_proven", "anybody can make one in software"), "{found}");
        }
        let mut changed = documents[0].clone();
        changed["attested"] = documents[1]["attested"].clone();
        assert!(refused(&deployment, &changed, &[]).contains("another key than the one that the TPM certified"));
        assert!(!judged_by_python(&deployment, &changed));
        let members = ["/attested", "/signature", "/public", "/attestation_key", "/nonce", "/jwk/x", "/jwk/y"];
        assert_no_bit_can_change(&documents, &members);
    }

    #[test]
    fn the_attestation_key_stays_and_is_another_one_in_another_tpm() {
        let mut deployment = Deployment::on_tpm();
        let first = verified(&deployment, &attest(&deployment, &[]), &[]);
        let attestation_key = deployment.path("attestation-key.jwk");
        fs::write(&attestation_key, first[0]["signed_by"].to_string()).unwrap();
        let attestation_key = attestation_key.to_str().unwrap();
        for session in ["encrypted", "plain"] {
            deployment.edit(|config| config["hardware"]["tpm"]["session"] = value(session));
            let mint = deployment.serve();
            let documents = attest(&deployment, &["--nonce", NONCE]);
            let words = ["--nonce", NONCE, "--attestation-key", attestation_key];
            let found = verified(&deployment, &documents, &words);
            assert!(says(&found[0], "proven", "the attestation key is the expected one"), "{found}");
            assert!(!says(&found[0], "not_proven", "in software"), "{found}");
            // The three places of the TPM: two keys, and what comes and goes.
            for _ in 0..4 {
                attest(&deployment, &[]);
                mint.client_credentials().text("access_token");
            }
            assert!(mint.terminate().success());
        }
        deployment.replace_tpm("another");
        fs::remove_dir_all(deployment.path("keys")).unwrap();
        succeed(&mut deployment.command(&["keys", "init"]));
        let documents = attest(&deployment, &[]);
        verified(&deployment, &documents, &[]);
        let message = refused(&deployment, &documents, &["--attestation-key", attestation_key]);
        assert!(message.contains("the statement comes from another TPM, or from none"), "{message}");
    }

    #[test]
    fn certificates_that_the_manufacturer_left_are_in_the_evidence() {
        let deployment = Deployment::on_tpm();
        assert_eq!(attest(&deployment, &[])[0]["endorsement_certificates"], json!([]));
        // A swtpm has none, so this is one that is only called so, longer than what is read at once.
        let certificate: Vec<u8> = (0..1500_u16).map(|number| number.to_le_bytes()[0]).collect();
        leave(&deployment, 0x01c0_000a, &certificate);
        let document = &attest(&deployment, &[])[0];
        let expected = json!([{ "index": "0x01c0000a", "certificate": base64url::encode(&certificate) }]);
        assert_eq!(document["endorsement_certificates"], expected);
        let found = verified(&deployment, document, &[]);
        assert!(says(&found[0], "not_proven", "endorsement_certificates"), "{found}");
    }

    fn leave(deployment: &Deployment, index: u32, content: &[u8]) {
        let tcti: TctiNameConf = deployment.tcti().parse().unwrap();
        let mut context = Context::new(tcti).unwrap();
        context.set_sessions((Some(AuthSession::Password), None, None));
        let attributes = NvIndexAttributesBuilder::new()
            .with_owner_write(true)
            .with_auth_read(true)
            .with_no_da(true)
            .build()
            .unwrap();
        let public = NvPublicBuilder::new()
            .with_nv_index(NvIndexTpmHandle::new(index).unwrap())
            .with_index_name_algorithm(HashingAlgorithm::Sha256)
            .with_index_attributes(attributes)
            .with_data_area_size(content.len())
            .build()
            .unwrap();
        let handle = context.nv_define_space(Provision::Owner, None, public).unwrap();
        for (number, part) in content.chunks(500).enumerate() {
            let offset = u16::try_from(number * 500).unwrap();
            context.nv_write(NvAuth::Owner, handle, part.try_into().unwrap(), offset).unwrap();
        }
    }
}
