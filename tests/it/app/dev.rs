mod frontends;
mod workloads;

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Stdio};

use nix::sys::signal::Signal;
use serde_json::Value;
use tempfile::TempDir;

use crate::support::PROGRAM;
use crate::support::dev::{Dev, access_token, shell};
use crate::support::jose::claims_of;
use crate::support::process::{eventually, one_line_of_error, runs, signal, succeed};

#[test]
fn one_command_sets_everything_up_and_the_lines_that_it_prints_work() {
    let folder = TempDir::new().unwrap();
    let state = folder.path().join("state");
    let dev = Dev::start(&state);
    let issuer = dev.text("issuer");
    assert_eq!(dev.text("token_endpoint"), format!("{issuer}/oauth/token"));
    assert_eq!(dev.text("jwks_uri"), format!("{issuer}/.well-known/jwks.json"));
    assert!(Path::new(&dev.text("admin_socket")).exists());
    assert_eq!(dev.record["mint_pid"], dev.process.id());
    let keeper = u32::try_from(dev.record["keeper_pid"].as_u64().unwrap()).unwrap();
    assert!(runs(keeper));
    for (name, mode) in [("dev.json", 0o600), ("softhsm/pin", 0o600), ("mintkeep.db", 0o600), (".", 0o700)] {
        assert_eq!(fs::metadata(state.join(name)).unwrap().permissions().mode() & 0o777, mode, "{name}");
    }

    let commands = dev.commands();
    assert_eq!(commands.len(), 7, "{commands:?}");
    assert_eq!(shell(&commands[0])["scope"], "read:metrics write:deployments");
    let service = shell(&commands[1]);
    assert_eq!(service["expires_in"], 300);
    assert_eq!(claims_of(&access_token(&shell(&commands[2])))["sub"], "deploy-robot");
    assert_eq!(claims_of(&access_token(&shell(&commands[3])))["client_id"], "ci-job");
    let jwks = shell(&commands[6]).to_string();
    let token = service["access_token"].as_str().unwrap();
    let claims = crate::support::jose::verified_by_jwcrypto(&jwks, token).expect("the signature verifies");
    assert_eq!(claims["iss"], issuer.as_str());
    dev.interrupt();
    assert!(!runs(keeper));
}

#[test]
fn it_speaks_https_with_a_certificate_of_its_own_and_goes_on_to() {
    let folder = TempDir::new().unwrap();
    let dev = Dev::start_with(folder.path(), &["--listen", "127.0.0.1:0", "--tls"]);
    let issuer = dev.text("issuer");
    assert!(issuer.starts_with("https://127.0.0.1:"), "{issuer}");
    let ca_file = dev.text("ca_file");
    assert_eq!(Path::new(&ca_file), folder.path().canonicalize().unwrap().join("tls/certificate.pem"));
    for name in ["tls/key.pem", "tls/certificate.pem"] {
        assert_eq!(fs::metadata(folder.path().join(name)).unwrap().permissions().mode() & 0o777, 0o600, "{name}");
    }
    let commands = dev.commands();
    assert_eq!(commands.len(), 7, "{commands:?}");
    for command in &commands {
        shell(command);
    }
    // By its other names too.
    let jwks = format!("curl --cacert {ca_file} {}", dev.text("jwks_uri").replace("127.0.0.1", "localhost"));
    let jwks = shell(&jwks);
    dev.interrupt();
    // Without saying so again.
    let again = Dev::start_with(folder.path(), &[]);
    assert_eq!(again.text("issuer"), issuer);
    assert_eq!(shell(&again.jwks_command()), jwks);
    again.interrupt();
}

#[test]
fn a_mint_that_spoke_plain_http_is_left_as_it_is() {
    let folder = TempDir::new().unwrap();
    Dev::start(folder.path()).interrupt();
    let output = Command::new(PROGRAM).args(["dev", "--tls", "--state"]).arg(folder.path()).output();
    assert!(one_line_of_error(&output.unwrap(), 7).contains("speaks plain HTTP"));
    assert!(!folder.path().join("tls").exists());
}

/// The TPM in software that keeps its state below `state`.
#[cfg(feature = "tpm")]
fn swtpm_pid(state: &Path) -> u32 {
    fs::read_to_string(state.join("tpm/swtpm/pid")).unwrap().trim().parse().unwrap()
}

#[cfg(feature = "tpm")]
#[test]
fn it_runs_on_a_tpm_in_software_that_ends_with_it_however_it_ends() {
    let folder = TempDir::new().unwrap();
    let state = folder.path();
    let dev = Dev::start_with(state, &["--listen", "127.0.0.1:0", "--hardware", "tpm"]);
    for name in ["tpm/keys/auth", "tpm/keys/mintkeep-signing.pem"] {
        assert_eq!(fs::metadata(state.join(name)).unwrap().permissions().mode() & 0o777, 0o600, "{name}");
    }
    let jwks = shell(&dev.jwks_command());
    assert_eq!(shell(&dev.commands()[0])["scope"], "read:metrics write:deployments");
    let token = shell(&dev.commands()[1])["access_token"].as_str().unwrap().to_owned();
    assert!(crate::support::jose::verified_by_jwcrypto(&jwks.to_string(), &token).is_some());
    let tpm = swtpm_pid(state);
    assert!(runs(tpm));
    dev.interrupt();
    assert!(!runs(tpm));
    // The same keys again, without saying which hardware; and this time it is killed.
    let mut again = Dev::start_with(state, &[]);
    assert_eq!(shell(&again.jwks_command()), jwks);
    let tpm = swtpm_pid(state);
    again.process.kill().unwrap();
    again.process.wait().unwrap();
    while runs(tpm) {
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    let mut other = Command::new(PROGRAM);
    other.args(["dev", "--hardware", "softhsm", "--state"]).arg(state);
    assert!(one_line_of_error(&other.output().unwrap(), 7).contains("has other hardware"));
}

#[test]
fn a_later_run_reuses_everything() {
    let folder = TempDir::new().unwrap();
    let first = Dev::start(folder.path());
    let (jwks, clients) = (shell(&first.jwks_command()), first.record["clients"].clone());
    let kept = || {
        let names = ["mintkeep.toml", "deploy-robot.pem", "trust-issuer.pem", "trust-issuer.jwks.json"];
        names.map(|name| fs::read_to_string(folder.path().join(name)).unwrap())
    };
    let (before, kid) = (kept(), first.text("trust_kid"));
    first.interrupt();
    // It listens where it did, and its unused refresh token is still the one in the record.
    let second = Dev::start_with(folder.path(), &[]);
    assert_eq!(second.record["clients"], clients);
    assert_eq!(second.text("trust_kid"), kid);
    assert_eq!(kept(), before);
    assert_eq!(shell(&second.jwks_command()), jwks);
    shell(&second.commands()[0]);
    second.interrupt();
    // A used one would look like a replay: there is a new one, and the rest is as it was.
    let third = Dev::start_with(folder.path(), &[]);
    assert_ne!(third.record["clients"][0]["refresh_token"], clients[0]["refresh_token"]);
    assert_eq!(third.record["clients"][1], clients[1]);
    shell(&third.commands()[0]);
    third.interrupt();
}

#[test]
fn what_it_wrote_is_an_ordinary_configuration() {
    let folder = TempDir::new().unwrap();
    let dev = Dev::start(folder.path());
    let command = dev.commands()[1].clone();
    dev.interrupt();
    let config = folder.path().join("mintkeep.toml");
    succeed(Command::new(PROGRAM).args(["check", "--config"]).arg(&config));
    let mut serve =
        Command::new(PROGRAM).args(["serve", "--config"]).arg(&config).stderr(Stdio::piped()).spawn().unwrap();
    let log = BufReader::new(serve.stderr.take().unwrap());
    assert!(log.lines().map_while(Result::ok).any(|line| line.contains("mintkeep is ready")));
    assert_eq!(shell(&command)["token_type"], "Bearer");
    signal(serve.id(), Signal::SIGTERM);
    assert!(serve.wait().unwrap().success());
}

#[test]
fn the_record_follows_the_keeper() {
    let folder = TempDir::new().unwrap();
    let dev = Dev::start(folder.path());
    let keeper = u32::try_from(dev.record["keeper_pid"].as_u64().unwrap()).unwrap();
    signal(keeper, Signal::SIGKILL);
    let path = folder.path().join("dev.json");
    loop {
        let record: Value = serde_json::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
        if record["keeper_pid"].as_u64().is_some_and(|pid| pid != u64::from(keeper)) {
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    shell(&dev.commands()[1]);
    dev.interrupt();
}

/// Closing the terminal ends it, though SIGHUP reads the certificate again otherwise.
#[test]
fn it_ends_with_its_terminal() {
    let folder = TempDir::new().unwrap();
    let line = format!("{PROGRAM} dev --listen 127.0.0.1:0 --tls --state {}", folder.path().display());
    // util-linux's, which gives it a terminal of its own.
    let mut terminal = Command::new("script");
    terminal.args(["--quiet", "--command", &line, "/dev/null"]).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut terminal = terminal.spawn().unwrap();
    let screen = BufReader::new(terminal.stdout.take().unwrap());
    assert!(screen.lines().map_while(Result::ok).any(|line| line.contains("mintkeep is ready")));
    let record: Value = serde_json::from_str(&fs::read_to_string(folder.path().join("dev.json")).unwrap()).unwrap();
    let mint = u32::try_from(record["mint_pid"].as_u64().unwrap()).unwrap();
    signal(mint, Signal::SIGHUP);
    let jwks = format!("curl --cacert {} {}", record["ca_file"], record["jwks_uri"]);
    shell(&jwks);
    terminal.kill().unwrap();
    terminal.wait().unwrap();
    eventually(|| !runs(mint));
}

#[test]
fn a_set_up_that_was_interrupted_is_taken_up() {
    let folder = TempDir::new().unwrap();
    Dev::start(folder.path()).interrupt();
    // As if it had ended between the token and the rest.
    for name in ["dev.json", "mintkeep.db"] {
        fs::remove_file(folder.path().join(name)).unwrap();
    }
    let again = Dev::start_with(folder.path(), &[]);
    shell(&again.commands()[0]);
    shell(&again.commands()[1]);
    again.interrupt();
}

#[test]
fn a_port_that_is_taken_is_named() {
    let folder = TempDir::new().unwrap();
    let first = Dev::start(folder.path());
    let address = first.text("issuer").replace("http://", "");
    let other = TempDir::new().unwrap();
    let output =
        Command::new(PROGRAM).args(["dev", "--listen", &address, "--state"]).arg(other.path()).output().unwrap();
    assert!(one_line_of_error(&output, 6).contains(&address));
    first.interrupt();
}

#[test]
fn a_second_one_in_the_same_folder_changes_nothing() {
    let folder = TempDir::new().unwrap();
    let first = Dev::start(folder.path());
    let config = fs::read_to_string(folder.path().join("mintkeep.toml")).unwrap();
    let mut second = Command::new(PROGRAM);
    second.args(["dev", "--listen", "127.0.0.1:0", "--state"]).arg(folder.path());
    assert!(one_line_of_error(&second.output().unwrap(), 6).contains("another mint runs in"));
    assert_eq!(fs::read_to_string(folder.path().join("mintkeep.toml")).unwrap(), config);
    shell(&first.commands()[1]);
    first.interrupt();
}

#[test]
fn every_address_of_the_machine_is_named_by_its_loopback_and_another_one_is_refused() {
    let folder = TempDir::new().unwrap();
    let dev = Dev::start_with(folder.path(), &["--listen", "0.0.0.0:0"]);
    assert!(dev.text("issuer").starts_with("http://127.0.0.1:"), "{}", dev.text("issuer"));
    shell(&dev.commands()[1]);
    dev.interrupt();
    let other = TempDir::new().unwrap();
    let output = Command::new(PROGRAM).args(["dev", "--listen", "192.0.2.1:80", "--state"]).arg(other.path()).output();
    assert!(one_line_of_error(&output.unwrap(), 6).contains("loopback"));
}

#[test]
fn tokens_of_somebody_else_are_left_alone() {
    let folder = TempDir::new().unwrap();
    let tokens = folder.path().join("softhsm/tokens");
    fs::create_dir_all(&tokens).unwrap();
    fs::write(tokens.join("theirs"), "precious").unwrap();
    let output = Command::new(PROGRAM).args(["dev", "--listen", "127.0.0.1:0", "--state"]).arg(folder.path()).output();
    assert!(one_line_of_error(&output.unwrap(), 4).contains("not from this script"));
    assert_eq!(fs::read_to_string(tokens.join("theirs")).unwrap(), "precious");
}

#[test]
fn a_folder_that_others_may_write_is_refused() {
    let folder = TempDir::new().unwrap();
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o777)).unwrap();
    let output = Command::new(PROGRAM).args(["dev", "--listen", "127.0.0.1:0", "--state"]).arg(folder.path()).output();
    assert!(one_line_of_error(&output.unwrap(), 7).contains("not this user's alone to write"));
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
}
