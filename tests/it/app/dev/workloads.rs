//! The workloads of a development mint that hold no secret of it.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Output};

use p256::ecdsa::SigningKey;
use p256::ecdsa::signature::Signer as _;
use p256::pkcs8::DecodePrivateKey as _;
use serde_json::{Value, json};
use tempfile::TempDir;
use toml_edit::DocumentMut;

use crate::support::PROGRAM;
use crate::support::client_key::{encode, now, random};
use crate::support::dev::{Dev, access_token, shell};
use crate::support::jose::claims_of;
use crate::support::process::{one_line_of_error, succeed};

const JWT_BEARER: &str = "urn:ietf:params:oauth:grant-type:jwt-bearer";
const ASSERTION_TYPE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

fn robot(dev: &Dev) -> Value {
    let clients = dev.record["clients"].as_array().unwrap();
    clients.iter().find(|client| client["client_id"] == "deploy-robot").unwrap().clone()
}

fn text<'a>(value: &'a Value, name: &str) -> &'a str {
    value[name].as_str().unwrap_or_else(|| panic!("no {name} in {value}"))
}

/// What the robot and the job get by the lines that it printed.
fn served(dev: &Dev) -> [Value; 2] {
    let commands = dev.commands();
    [2, 3].map(|command| claims_of(&access_token(&shell(&commands[command]))))
}

fn config(state: &Path) -> String {
    fs::read_to_string(state.join("mintkeep.toml")).unwrap()
}

/// `trust token` with the key of the platform that `dev` made up.
fn trust_token(dev: &Dev, words: &[&str]) -> String {
    let mut command = Command::new(PROGRAM);
    command.args(["trust", "token", "--key", &dev.text("trust_key_file"), "--issuer", &dev.text("trust_issuer")]);
    let output = succeed(command.args(["--audience", &dev.text("trust_audience")]).args(words));
    String::from_utf8(output.stdout).unwrap().trim_end().to_owned()
}

#[test]
fn the_record_has_what_signs_for_them_and_no_key() {
    let folder = TempDir::new().unwrap();
    let state = folder.path().canonicalize().unwrap();
    let dev = Dev::start(&state);
    served(&dev);
    let issuer = dev.text("issuer");
    let robot = robot(&dev);
    assert_eq!(text(&robot, "private_key_file"), state.join("deploy-robot.pem").to_str().unwrap());
    assert_eq!(dev.text("trust_key_file"), state.join("trust-issuer.pem").to_str().unwrap());
    assert_eq!(dev.text("trust_issuer"), "https://issuer.dev.example");
    assert_eq!(dev.text("trust_audience"), issuer);
    assert_eq!(dev.text("trust_client"), "ci-job");
    assert_eq!(dev.record["trust_match"], json!({"repository_id": "123456", "ref": "refs/heads/main"}));
    assert!(config(&state).contains(text(&robot, "kid")));
    let jwks = fs::read_to_string(state.join("trust-issuer.jwks.json")).unwrap();
    let jwks: Value = serde_json::from_str(&jwks).unwrap();
    assert_eq!(jwks["keys"][0]["kid"], dev.text("trust_kid"));
    assert_eq!(jwks["keys"][0].get("d"), None);

    let printed = dev.printed();
    let log = dev.interrupt();
    assert!(log.contains("INFO"), "{log}");
    for name in ["deploy-robot.pem", "trust-issuer.pem"] {
        let file = state.join(name);
        assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600, "{name}");
        let pem = fs::read_to_string(&file).unwrap();
        let scalar = SigningKey::from_pkcs8_pem(&pem).unwrap().to_bytes();
        let secrets = pem.lines().filter(|line| !line.starts_with("-----")).map(str::to_owned);
        for secret in secrets.chain([encode(scalar)]) {
            let record = fs::read_to_string(state.join("dev.json")).unwrap();
            for (place, text) in [("log", &log), ("output", &printed), ("record", &record), ("config", &config(&state))]
            {
                assert!(!text.contains(&secret), "{name} in the {place}");
            }
        }
    }
}

/// By a library that is not ours, which shows that the file is what it is said to be.
#[test]
fn whoever_has_the_key_file_is_the_robot() {
    let folder = TempDir::new().unwrap();
    let dev = Dev::start(folder.path());
    let robot = robot(&dev);
    let pem = fs::read_to_string(text(&robot, "private_key_file")).unwrap();
    let key = SigningKey::from_pkcs8_pem(&pem).unwrap();
    let claims = json!({
        "iss": "deploy-robot", "sub": "deploy-robot", "aud": dev.text("issuer"), "jti": random(), "exp": now() + 60,
    });
    let header = json!({"alg": "ES256", "kid": robot["kid"]});
    let input = format!("{}.{}", encode(header.to_string()), encode(claims.to_string()));
    let signature: p256::ecdsa::Signature = key.sign(input.as_bytes());
    let answer = shell(&format!(
        "curl {} -d grant_type=client_credentials -d client_assertion_type={ASSERTION_TYPE} -d client_assertion={input}.{}",
        dev.text("token_endpoint"),
        encode(signature.to_bytes())
    ));
    let claims = claims_of(&access_token(&answer));
    assert_eq!((&claims["sub"], &claims["scope"]), (&json!("deploy-robot"), &json!("write:deployments")));
    assert_eq!(claims["aud"], "https://api.example.com");
    dev.interrupt();
}

#[test]
fn a_token_of_the_platform_is_good_by_both_grants_where_the_policy_matches() {
    let folder = TempDir::new().unwrap();
    let dev = Dev::start(folder.path());
    let endpoint = dev.text("token_endpoint");
    let claims = ["--claim", "sub=repo:octo-org", "--claim", "repository_id=123456"];
    let good = trust_token(&dev, &[&claims[..], &["--claim", "ref=refs/heads/main"]].concat());
    let bearer = format!("curl {endpoint} -d grant_type={JWT_BEARER} -d assertion=");
    let exchange = format!(
        "curl {endpoint} -d grant_type=urn:ietf:params:oauth:grant-type:token-exchange \
         -d subject_token_type=urn:ietf:params:oauth:token-type:jwt -d subject_token="
    );
    for command in [&bearer, &exchange] {
        let claims = claims_of(&access_token(&shell(&format!("{command}{good}"))));
        assert_eq!((&claims["sub"], &claims["client_id"]), (&json!("repo:octo-org"), &json!("ci-job")));
    }
    // Without a claim, with one of another type, and too late.
    let number = ["--json-claim", "repository_id=123456", "--claim", "ref=refs/heads/main"];
    let ended = [&claims[..], &["--claim", "ref=refs/heads/main", "--json-claim", "exp=1"]].concat();
    for words in [&claims[..], &number, &ended] {
        let refused =
            format!("{bearer}{} --silent --output /dev/null --write-out '%{{http_code}}'", trust_token(&dev, words));
        let status = succeed(Command::new("sh").args(["-c", &refused])).stdout;
        assert_eq!(String::from_utf8(status).unwrap(), "400", "{words:?}");
    }
    dev.interrupt();
}

#[test]
fn a_folder_of_the_release_before_gets_them_once_and_keeps_what_was_written_into_it() {
    let folder = TempDir::new().unwrap();
    let state = folder.path();
    let before = Dev::start(state);
    let secret = before.record["clients"][1].clone();
    before.interrupt();
    // What that release knew nothing of.
    let mut document: DocumentMut = config(state).parse().unwrap();
    for name in ["trust", "trusted_issuer", "frontend", "signing_profile", "kubernetes"] {
        document.remove(name);
    }
    document["listen"].as_table_mut().unwrap().remove("frontend");
    document["client"]
        .as_array_of_tables_mut()
        .unwrap()
        .retain(|client| !matches!(client["id"].as_str(), Some("deploy-robot" | "ci-job" | "web-app")));
    let old = format!("{document}access_token_lifetime = \"2m\" # Ours.\n# And this is the end.\n");
    fs::write(state.join("mintkeep.toml"), &old).unwrap();
    let mut record: Value = serde_json::from_str(&fs::read_to_string(state.join("dev.json")).unwrap()).unwrap();
    record["clients"].as_array_mut().unwrap().truncate(2);
    record.as_object_mut().unwrap().retain(|name, _| {
        !["trust_", "frontend_", "transit_", "kubernetes_", "admin_url"].iter().any(|added| name.starts_with(added))
    });
    fs::write(state.join("dev.json"), record.to_string()).unwrap();
    for name in ["deploy-robot.pem", "trust-issuer.pem", "trust-issuer.jwks.json"] {
        fs::remove_file(state.join(name)).unwrap();
    }

    let upgraded = Dev::start_with(state, &[]);
    served(&upgraded);
    assert_eq!(upgraded.record["clients"][1], secret);
    upgraded.interrupt();
    let new = config(state);
    for line in old.lines().chain(["id = \"deploy-robot\"", "name = \"deploy-from-main\"", "id = \"web-app\""]) {
        assert!(new.contains(line), "{line} is not in\n{new}");
    }
    let again = Dev::start_with(state, &[]);
    served(&again);
    again.interrupt();
    assert_eq!(config(state), new);
}

#[test]
fn another_address_is_another_audience() {
    let folder = TempDir::new().unwrap();
    let first = Dev::start(folder.path());
    let before = first.text("issuer");
    first.interrupt();
    let second = Dev::start_with(folder.path(), &["--listen", "127.0.0.1:0"]);
    let issuer = second.text("issuer");
    assert_ne!(issuer, before);
    assert_eq!(second.text("trust_audience"), issuer);
    for claims in served(&second) {
        assert_eq!(claims["iss"], issuer.as_str());
    }
    second.interrupt();
}

#[test]
fn a_key_that_was_removed_is_followed_by_another() {
    let folder = TempDir::new().unwrap();
    let first = Dev::start(folder.path());
    let before = [text(&robot(&first), "kid").to_owned(), first.text("trust_kid")];
    first.interrupt();
    for name in ["deploy-robot.pem", "trust-issuer.pem"] {
        fs::remove_file(folder.path().join(name)).unwrap();
    }
    let second = Dev::start_with(folder.path(), &[]);
    served(&second);
    let kids = [text(&robot(&second), "kid").to_owned(), second.text("trust_kid")];
    assert!(kids.iter().zip(&before).all(|(new, old)| new != old), "{kids:?}");
    second.interrupt();
}

/// Runs `client assertion` with the key in a file of `mode`.
fn assertion(mode: u32, words: &[&str]) -> Output {
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("key.pem");
    // As `openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256` writes it.
    let key = rcgen::KeyPair::generate().unwrap().serialize_pem();
    fs::write(&file, key).unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(mode)).unwrap();
    let mut command = Command::new(PROGRAM);
    command.args(["client", "assertion", "--client", "robot", "--issuer", "https://mint.example.com", "--key"]);
    command.arg(file).args(words).output().unwrap()
}

#[test]
fn an_assertion_is_the_only_output_and_a_key_that_others_can_read_is_not_used() {
    let output = assertion(0o600, &["--kid", "-first"]);
    let printed = String::from_utf8(output.stdout).unwrap();
    let [jwt] = printed.lines().collect::<Vec<_>>()[..] else { panic!("{printed}") };
    let header = jwt.split('.').next().unwrap();
    assert_eq!(header, encode(r#"{"alg":"ES256","typ":"client-authentication+jwt","kid":"-first"}"#));
    let claims = claims_of(jwt);
    assert_eq!(claims["exp"].as_i64().unwrap() - claims["iat"].as_i64().unwrap(), 60);
    assert!((claims["iat"].as_i64().unwrap() - now()).abs() < 60);
    assert!(one_line_of_error(&assertion(0o644, &[]), 1).contains("chmod 600"));
}
