//! A TPM as the device: its keys in files, its tokens sealed to a public key.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;

use mintkeep::entropy::SystemEntropy;
use mintkeep::jose::base64url;
use mintkeep::jose::ecdh_es::seal;
use mintkeep::jose::jwk::P256PublicKey;
use nix::sys::signal::Signal;
use p256::pkcs8::DecodePublicKey as _;
use serde_json::{Value, json};
use toml_edit::value;

use crate::support::jose::{verified, verified_by_jwcrypto};
use crate::support::process::{one_line_of_error, signal, succeed};
use crate::support::{Deployment, WORKLOAD};

const AUDIENCE: &str = "https://api.example.com";

fn header(token: &str) -> Value {
    serde_json::from_slice(&base64url::decode(token.split('.').next().unwrap()).unwrap()).unwrap()
}

/// `openssl` with tpm2-openssl on the TPM of `deployment`.
fn openssl(deployment: &Deployment, words: &[&str]) -> Command {
    let mut command = Command::new("openssl");
    command.env("TPM2OPENSSL_TCTI", deployment.tcti()).env("TSS2_LOG", "all+NONE").current_dir(deployment.path("keys"));
    command.args(words).args(["-provider", "tpm2", "-provider", "default", "-passin", "file:auth"]);
    command
}

/// The public key in the file `name`, read by openssl.
fn public_key(deployment: &Deployment, name: &str) -> P256PublicKey {
    let output = succeed(&mut openssl(deployment, &["pkey", "-in", name, "-pubout"]));
    let key = p256::PublicKey::from_public_key_pem(&String::from_utf8(output.stdout).unwrap()).unwrap();
    P256PublicKey::from_uncompressed(&key.to_sec1_bytes()).unwrap()
}

#[test]
fn tokens_are_issued_renewed_and_verified_by_others() {
    for session in ["plain", "encrypted"] {
        let deployment = Deployment::on_tpm();
        deployment.edit(|config| config["hardware"]["tpm"]["session"] = value(session));
        let mint = deployment.serve();
        let token = deployment.grant();
        let first = mint.refresh(&token);
        let claims = verified(&mint, &first.text("access_token"), AUDIENCE);
        assert_eq!(claims["sub"], "deploy@example.com");
        let jwks = mint.get("/.well-known/jwks.json").body;
        assert!(verified_by_jwcrypto(&jwks, &first.text("access_token")).is_some());
        mint.refresh(&first.text("refresh_token")).text("access_token");
        mint.client_credentials().text("access_token");
        assert!(mint.terminate().success());
    }
}

#[test]
fn a_replay_ends_the_family_and_so_does_a_revocation() {
    let deployment = Deployment::on_tpm();
    let mint = deployment.serve();
    let first = deployment.grant();
    let second = mint.refresh(&first).text("refresh_token");
    let third = mint.refresh(&second).text("refresh_token");
    mint.refresh(&first).assert_error(400, "invalid_grant");
    mint.refresh(&third).assert_error(400, "invalid_grant");
    let other = deployment.grant();
    let form = format!("client_id={WORKLOAD}&token={other}");
    assert_eq!(mint.post_form_to("/oauth/revoke", &[], &form).status, 200);
    mint.refresh(&other).assert_error(400, "invalid_grant");
}

#[test]
fn a_refresh_token_has_the_header_of_rfc_7518_and_is_sealed_without_the_hardware() {
    let deployment = Deployment::on_tpm();
    let keys = deployment.run_json(&["keys", "list"]);
    assert_eq!(keys["keys"][1]["algorithm"], "ECDH-ES");
    let mint = deployment.serve();
    let (first, second) = (header(&deployment.grant()), header(&deployment.grant()));
    assert_eq!((&first["alg"], &first["enc"]), (&json!("ECDH-ES"), &json!("A256GCM")));
    assert_eq!(first["kid"], keys["keys"][1]["kid"]);
    assert_eq!((&first["epk"]["kty"], &first["epk"]["crv"]), (&json!("EC"), &json!("P-256")));
    assert_ne!(first["epk"], second["epk"], "each has an ephemeral key of its own");
    assert_eq!(mint.metric("mintkeep_keeper_seals_requested_total"), 0, "the keeper was not asked");
}

#[test]
fn what_was_changed_or_names_a_point_off_the_curve_is_invalid_and_no_fault() {
    let deployment = Deployment::on_tpm();
    let mint = deployment.serve();
    let token = deployment.grant();
    let keeper = mint.keeper_pid();
    let mut parts: Vec<String> = token.split('.').map(str::to_owned).collect();
    let mut off_curve = header(&token);
    off_curve["epk"]["y"] = off_curve["epk"]["x"].clone();
    let mut another = header(&token);
    another["epk"] = header(&deployment.grant())["epk"].clone();
    let sound = parts[0].clone();
    for changed in [off_curve, another] {
        parts[0] = base64url::encode(changed.to_string());
        mint.refresh(&parts.join(".")).assert_error(400, "invalid_grant");
    }
    parts[0] = sound;
    parts[3] = base64url::encode(base64url::decode(&parts[3]).unwrap().iter().map(|byte| byte ^ 1).collect::<Vec<_>>());
    // More than the faults in a row that would end a keeper.
    for _ in 0..8 {
        mint.refresh(&parts.join(".")).assert_error(400, "invalid_grant");
    }
    mint.refresh(&token).text("access_token");
    assert_eq!(mint.keeper_pid(), keeper);
}

/// Everybody who knows the public key can seal to it, and `sid` tells the family.
#[test]
fn a_token_that_somebody_else_sealed_to_the_public_key_is_refused_and_ends_nothing() {
    let deployment = Deployment::on_tpm();
    let recipient = public_key(&deployment, "mintkeep-sealing.pem");
    let mint = deployment.serve();
    let token = deployment.grant();
    let fid = base64url::decode_array(header(&token)["fid"].as_str().unwrap()).unwrap();
    let forge = |content: Value| seal(&recipient, &fid, content.to_string().as_bytes(), &SystemEntropy::new()).unwrap();
    let secret = base64url::encode([7; 32]);
    for content in
        [json!({"gen": 0, "client_id": WORKLOAD}), json!({"gen": 0, "client_id": WORKLOAD, "secret": secret})]
    {
        mint.refresh(&forge(content)).assert_error(400, "invalid_grant");
    }
    mint.refresh(&token).text("access_token");
}

#[test]
fn other_programs_read_the_key_files_and_sign_with_them() {
    let deployment = Deployment::on_tpm();
    let keys = deployment.run_json(&["keys", "list"]);
    for (index, name) in ["mintkeep-signing.pem", "mintkeep-sealing.pem"].into_iter().enumerate() {
        assert_eq!(public_key(&deployment, name).kid(), keys["keys"][index]["kid"], "{name}");
    }
    // The storage key that openssl makes for itself unwraps ours.
    fs::write(deployment.path("keys/message"), "message").unwrap();
    let words = ["pkeyutl", "-sign", "-inkey", "mintkeep-signing.pem", "-rawin", "-digest", "sha256"];
    let words = [&words[..], &["-in", "message", "-out", "signature", "-propquery", "?provider=tpm2"]].concat();
    succeed(&mut openssl(&deployment, &words));
    let pem = succeed(&mut openssl(&deployment, &["pkey", "-in", "mintkeep-signing.pem", "-pubout"])).stdout;
    fs::write(deployment.path("keys/public.pem"), pem).unwrap();
    let mut verify = Command::new("openssl");
    verify.current_dir(deployment.path("keys"));
    succeed(verify.args(["dgst", "-sha256", "-verify", "public.pem", "-signature", "signature", "message"]));
}

#[test]
fn a_key_whose_failures_would_lock_the_whole_tpm_is_refused() {
    let deployment = Deployment::on_tpm();
    let auth = fs::read_to_string(deployment.path("keys/auth")).unwrap();
    fs::remove_file(deployment.path("keys/mintkeep-signing.pem")).unwrap();
    let option = format!("user-auth:{auth}");
    let mut generate = Command::new("openssl");
    generate.env("TPM2OPENSSL_TCTI", deployment.tcti()).env("TSS2_LOG", "all+NONE").args([
        "genpkey",
        "-provider",
        "tpm2",
    ]);
    generate.args(["-algorithm", "EC", "-pkeyopt", "group:P-256", "-pkeyopt", &option, "-out"]);
    succeed(generate.arg(deployment.path("keys/mintkeep-signing.pem")));
    // As tpm2-openssl makes keys.
    assert!(refusal(&deployment).contains("noDA is false, expected true"));
}

#[test]
fn the_key_files_and_the_authorization_value_are_their_owners_alone() {
    let deployment = Deployment::on_tpm();
    for (name, mode) in [("", 0o700), ("auth", 0o600), ("mintkeep-signing.pem", 0o600), ("mintkeep-sealing.pem", 0o600)]
    {
        let path = deployment.path("keys").join(name);
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, mode, "{name}");
    }
    assert_eq!(fs::read_to_string(deployment.path("keys/auth")).unwrap().len(), 32);
    assert_eq!(fs::read_dir(deployment.path("keys")).unwrap().count(), 3, "no draft is left");
}

#[test]
fn generating_again_changes_nothing_and_generates_what_is_missing() {
    let deployment = Deployment::on_tpm();
    let first = deployment.run_json(&["keys", "list"]);
    assert_eq!(deployment.run_json(&["keys", "init"]), first);
    fs::remove_file(deployment.path("keys/mintkeep-sealing.pem")).unwrap();
    let again = deployment.run_json(&["keys", "init"]);
    assert_eq!(again["keys"][0], first["keys"][0]);
    assert_eq!(again["keys"][1]["generated"], true);
    assert_ne!(again["keys"][1]["kid"], first["keys"][1]["kid"]);
}

#[test]
fn it_checks_and_says_what_it_found() {
    let deployment = Deployment::on_tpm();
    let found = deployment.run_json(&["check"]);
    assert_eq!(found["ok"], true, "{found}");
    assert!(found["findings"][2]["found"].as_str().unwrap().starts_with("TPM 2.0 "), "{found}");
}

/// What the keeper says of a TPM that it refuses.
#[track_caller]
fn refusal(deployment: &Deployment) -> String {
    let serving = one_line_of_error(&deployment.run(&["serve"]), 8);
    assert_eq!(one_line_of_error(&deployment.run(&["keys", "list"]), 8), serving);
    serving
}

#[test]
fn a_missing_key_is_named_with_what_to_do() {
    let message = refusal(&Deployment::on_tpm_without_keys());
    assert!(
        message.contains("keys/mintkeep-signing.pem: the signing key is not there; run `mintkeep keys init`"),
        "{message}"
    );
}

#[test]
fn a_wrong_authorization_value_is_refused_for_good() {
    let deployment = Deployment::on_tpm();
    fs::write(deployment.path("keys/auth"), "wrong").unwrap();
    assert!(refusal(&deployment).contains("the TPM refused the authorization value of a key"));
    fs::write(deployment.path("keys/auth"), "x".repeat(33)).unwrap();
    assert!(refusal(&deployment).contains("it has 33 bytes, expected at the most 32"));
    fs::remove_file(deployment.path("keys/auth")).unwrap();
    let message = one_line_of_error(&deployment.run(&["keys", "init"]), 8);
    assert!(message.contains("cannot read the authorization value"), "{message}");
}

#[test]
fn a_key_of_another_tpm_is_refused() {
    let mut deployment = Deployment::on_tpm();
    deployment.replace_tpm("another");
    let message = refusal(&deployment);
    assert!(message.contains("it was made by another TPM, or this one was cleared since"), "{message}");
}

#[test]
fn a_key_of_the_other_role_and_a_file_that_is_no_key_are_refused() {
    let deployment = Deployment::on_tpm();
    fs::copy(deployment.path("keys/mintkeep-sealing.pem"), deployment.path("keys/mintkeep-signing.pem")).unwrap();
    assert!(refusal(&deployment).contains("sign is false, expected true"));
    fs::write(deployment.path("keys/mintkeep-signing.pem"), "hello").unwrap();
    assert!(refusal(&deployment).contains("not a TSS2 PRIVATE KEY"));
}

#[test]
fn a_tpm_that_is_not_there_is_named() {
    let deployment = Deployment::on_tpm();
    deployment.edit(|config| config["hardware"]["tpm"]["tcti"] = value("swtpm:host=127.0.0.1,port=1"));
    let message = one_line_of_error(&deployment.run(&["keys", "list"]), 4);
    assert!(message.contains("cannot reach the TPM at swtpm:host=127.0.0.1,port=1"), "{message}");
}

/// Without a resource manager, what a killed process had loaded stays in the three places for keys and the
/// three for sessions.
#[test]
fn processes_that_are_killed_leave_room_for_the_next() {
    let deployment = Deployment::on_tpm();
    for _ in 0..4 {
        let mint = deployment.serve();
        signal(mint.keeper_pid(), Signal::SIGKILL);
        // The next keeper of the same mint.
        mint.client_credentials().text("access_token");
        signal(mint.keeper_pid(), Signal::SIGKILL);
        mint.kill();
    }
    deployment.serve().client_credentials().text("access_token");
}
