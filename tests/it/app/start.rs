//! What can be wrong when a mint starts: one clear line that says what to do, an exit code, and nothing
//! changed.

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;

use toml_edit::value;

use crate::support::process::one_line_of_error;
use crate::support::spy::Spy;
use crate::support::{Deployment, RunningMint};

#[track_caller]
fn assert_refused(deployment: &Deployment, code: i32, expected: &[&str]) {
    let (before, had_store) = (token_files(deployment), deployment.path("mintkeep.db").exists());
    let error = one_line_of_error(&deployment.run(&["serve"]), code);
    for text in expected {
        assert!(error.contains(text), "{text:?} is not in {error}");
    }
    assert!(token_files(deployment) == before, "the token was changed");
    assert!(had_store || !deployment.path("mintkeep.db").exists(), "a store was made");
    assert!(!deployment.path("admin.sock").exists() || code == 6, "the socket was left behind");
}

/// Every file below the token's folder, with its content.
fn token_files(deployment: &Deployment) -> Vec<(String, Vec<u8>)> {
    let output = Command::new("find").arg(deployment.path("softhsm")).args(["-type", "f"]).output().unwrap();
    let paths = String::from_utf8(output.stdout).unwrap();
    let mut files: Vec<_> = paths
        .lines()
        // SoftHSM2 writes its locks, its count of generations and its memory of wrong PINs by itself.
        .filter(|path| !path.ends_with(".lock") && !path.ends_with("generation") && !path.ends_with("token.object"))
        .map(|path| (path.to_owned(), fs::read(path).unwrap()))
        .collect();
    files.sort();
    files
}

#[test]
fn a_module_that_is_not_there() {
    let deployment = Deployment::new();
    deployment.edit(|config| config["hardware"]["softhsm"]["module"] = value("/usr/lib/vendor/libpkcs11.so"));
    assert_refused(&deployment, 4, &["/usr/lib/vendor/libpkcs11.so", "set hardware.softhsm.module"]);
}

#[test]
fn a_module_that_is_none() {
    let deployment = Deployment::new();
    deployment.edit(|config| config["hardware"]["softhsm"]["module"] = value("/etc/hostname"));
    assert_refused(&deployment, 4, &["cannot load the PKCS#11 module /etc/hostname"]);
}

#[test]
fn a_token_that_is_not_there() {
    let deployment = Deployment::new();
    deployment.edit(|config| config["hardware"]["softhsm"]["token"]["label"] = value("other"));
    assert_refused(&deployment, 4, &["no token labelled \"other\"", "found: \"mintkeep\"", "hardware.softhsm.token"]);
}

#[test]
fn a_wrong_pin_is_tried_once() {
    let deployment = Deployment::new();
    let (spy, pin) = (Spy::on(&deployment), deployment.pin());
    fs::write(deployment.path("softhsm/pin"), "wrong").unwrap();
    assert_refused(&deployment, 8, &["the PIN is wrong", "will not be tried again", "softhsm/pin"]);
    assert_eq!(spy.count("C_Login"), 1);
    // The token remembers, and nobody tries again until somebody says that it was corrected.
    for words in [&["serve"][..], &["keys", "list"], &["keys", "init"]] {
        let error = one_line_of_error(&deployment.run(words), 8);
        assert!(error.contains("a wrong PIN was entered since the last login"), "{error}");
    }
    assert_eq!(deployment.run(&["check"]).status.code(), Some(8));
    assert_eq!(spy.count("C_Login"), 1);
    fs::write(deployment.path("softhsm/pin"), pin).unwrap();
    one_line_of_error(&deployment.run(&["serve"]), 8);
    assert!(deployment.run(&["keys", "list", "--pin-corrected"]).status.success());
    deployment.serve().client_credentials().text("access_token");
}

#[test]
fn a_pin_that_others_can_read_or_that_is_not_there() {
    let deployment = Deployment::new();
    let pin = deployment.path("softhsm/pin");
    fs::set_permissions(&pin, fs::Permissions::from_mode(0o644)).unwrap();
    assert_refused(&deployment, 8, &["others than its owner may read it", "chmod 600"]);
    fs::remove_file(&pin).unwrap();
    assert_refused(&deployment, 8, &["cannot read the PIN from the file", "softhsm/pin"]);
}

#[test]
fn a_pin_from_the_environment_stays_out_of_the_mint() {
    let deployment = Deployment::new();
    deployment.edit(|config| {
        let pin = config["hardware"]["softhsm"]["pin"].as_inline_table_mut().unwrap();
        pin.remove("file");
        pin.insert("env", "TEST_PIN".into());
    });
    let output = deployment.command(&["serve"]).env("TEST_PIN", deployment.pin()).output().unwrap();
    let error = one_line_of_error(&output, 3);
    assert!(error.contains("would put the PIN into the environment of the mint"), "{error}");
    // A command without a network has it from there.
    let listed = deployment.command(&["keys", "list"]).env("TEST_PIN", deployment.pin()).output().unwrap();
    assert!(listed.status.success());
}

#[test]
fn a_token_by_its_serial_number_and_a_pin_from_systemd() {
    let deployment = Deployment::new();
    let device = deployment.run_json(&["keys", "list"])["device"].as_str().unwrap().to_owned();
    let serial = device.split("serial number ").nth(1).unwrap().split(',').next().unwrap().to_owned();
    deployment.edit(|config| {
        let hardware = &mut config["hardware"]["softhsm"];
        let token = hardware["token"].as_inline_table_mut().unwrap();
        token.remove("label");
        token.insert("serial", serial.as_str().into());
        let pin = hardware["pin"].as_inline_table_mut().unwrap();
        pin.remove("file");
        pin.insert("systemd-credential", "pin".into());
    });
    let with_credentials = |folder: &str| {
        deployment.command(&["check"]).env("CREDENTIALS_DIRECTORY", deployment.path(folder)).output().unwrap()
    };
    assert!(with_credentials("softhsm").status.success());
    assert_eq!(with_credentials("elsewhere").status.code(), Some(8));
    let error =
        String::from_utf8(deployment.command(&["check"]).env_remove("CREDENTIALS_DIRECTORY").output().unwrap().stdout);
    assert!(error.unwrap().contains("LoadCredential="));
}

#[test]
fn a_store_that_cannot_be_written() {
    let deployment = Deployment::new();
    deployment.edit(|config| config["store"]["url"] = value("sqlite:/nowhere/mintkeep.db"));
    assert_refused(
        &deployment,
        5,
        &["cannot open the store /nowhere/mintkeep.db", "the folder must exist and be writable"],
    );
    deployment.edit(|config| config["store"]["url"] = value("sqlite:/proc/mintkeep.db"));
    assert_refused(&deployment, 5, &["cannot open the store /proc/mintkeep.db"]);
}

#[test]
fn an_address_that_is_taken() {
    let deployment = Deployment::new();
    let other = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = other.local_addr().unwrap().to_string();
    deployment.edit(|config| config["listen"]["public"] = value(address.as_str()));
    assert_refused(&deployment, 6, &[&address, "choose another listen.public, or end what listens there"]);
    assert!(!deployment.path("mintkeep.db").exists());
}

#[test]
fn a_second_mint_of_one_configuration() {
    let deployment = Deployment::new();
    let mint = deployment.serve();
    assert_refused(&deployment, 6, &["admin.sock", "another process listens there"]);
    mint.client_credentials().text("access_token");
    assert_eq!(mint.admin("/healthz").status, 200, "the first keeps its socket");
}

#[test]
fn a_file_in_the_place_of_the_admin_socket_is_left_alone() {
    let deployment = Deployment::new();
    fs::write(deployment.path("notes.txt"), "precious").unwrap();
    deployment.edit(|config| config["listen"]["admin"] = value("notes.txt"));
    assert_refused(&deployment, 6, &["notes.txt", "something else than a socket is there"]);
    assert_eq!(fs::read_to_string(deployment.path("notes.txt")).unwrap(), "precious");
}

/// `mintkeep serve` under limits that the shell sets.
fn serve_under(deployment: &Deployment, limits: &str) -> Command {
    let mut command = Command::new("sh");
    command.args(["-c", &format!("{limits} && exec \"$0\" serve --config \"$1\""), crate::support::PROGRAM]);
    command.arg(deployment.config_path());
    command
}

#[test]
fn more_connections_than_files_may_be_open() {
    let deployment = Deployment::new();
    let error = one_line_of_error(&serve_under(&deployment, "ulimit -n 500").output().unwrap(), 3);
    assert!(error.contains("listen.max_connections needs 1184 open files, and this process may have 500"), "{error}");
    assert!(!deployment.path("mintkeep.db").exists());
    // A soft limit is raised.
    let (admin, secret) = (deployment.path("admin.sock"), deployment.secret.clone());
    let mint = RunningMint::start(serve_under(&deployment, "ulimit -S -n 500"), admin, secret);
    let limits = fs::read_to_string(format!("/proc/{}/limits", mint.pid())).unwrap();
    let line = limits.lines().find(|line| line.starts_with("Max open files")).unwrap();
    assert_eq!(line.split_whitespace().nth(3), Some("1184"), "{line}");
}

#[test]
fn a_store_is_not_made_in_the_place_of_its_user() {
    if !nix::unistd::Uid::effective().is_root() {
        eprintln!("needs root, to be another user than the folder's");
        return;
    }
    let deployment = Deployment::new();
    fs::create_dir(deployment.path("store")).unwrap();
    std::os::unix::fs::chown(deployment.path("store"), Some(65_534), Some(65_534)).unwrap();
    deployment.edit(|config| config["store"]["url"] = value("sqlite:store/mintkeep.db"));
    assert_refused(&deployment, 5, &["its folder belongs to another user", "start the mint as that user first"]);
    assert_eq!(fs::read_dir(deployment.path("store")).unwrap().count(), 0);
}

#[test]
fn the_command_line_is_wrong() {
    let output = Command::new(crate::support::PROGRAM).arg("serv").output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8(output.stderr).unwrap().contains("serve"), "it suggests the command that was meant");
}
