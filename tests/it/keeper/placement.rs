//! The keeper by itself, under a user of its own: the two meet at a Unix socket and check each other.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use nix::sys::signal::Signal;
use nix::unistd::{Uid, User};
use toml_edit::value;

use crate::support::faulty::FaultyModule;
use crate::support::process::{one_line_of_error, signal};
use crate::support::{Deployment, PROGRAM, RunningMint};

struct KeeperByItself(Child);

impl Drop for KeeperByItself {
    fn drop(&mut self) {
        if matches!(self.0.try_wait(), Ok(None)) {
            signal(self.0.id(), Signal::SIGTERM);
        }
        let _ = self.0.wait();
    }
}

/// Two users that every Debian has; root can become them, anybody else is both.
fn users() -> (User, User) {
    let named = |name: &str| User::from_name(name).unwrap().unwrap();
    if Uid::effective().is_root() {
        (named("nobody"), named("daemon"))
    } else {
        let me = User::from_uid(Uid::effective()).unwrap().unwrap();
        (me.clone(), me)
    }
}

fn hand_over(path: &Path, user: &User) {
    chown(path, Some(user.uid.as_raw()), Some(user.gid.as_raw())).unwrap();
    if path.is_dir() {
        for entry in fs::read_dir(path).unwrap() {
            hand_over(&entry.unwrap().path(), user);
        }
    }
}

/// As [`Deployment::command`], by a copy of the program: its own folder may be closed to other users.
fn command(deployment: &Deployment, words: &[&str]) -> Command {
    let mut command = Command::new(deployment.path("program"));
    command.args(words).arg("--config").arg(deployment.config_path());
    command
}

fn run_as(mut command: Command, user: &User) -> Command {
    if Uid::effective().is_root() {
        command.uid(user.uid.as_raw()).gid(user.gid.as_raw());
    }
    command
}

/// A deployment whose token is the keeper's and whose folder for the mint is the mint's.
fn deployment(keeper: &User, mint: &User) -> Deployment {
    let deployment = Deployment::new();
    for name in ["keeper", "mint"] {
        fs::create_dir(deployment.path(name)).unwrap();
        fs::set_permissions(deployment.path(name), fs::Permissions::from_mode(0o755)).unwrap();
    }
    fs::set_permissions(deployment.path("."), fs::Permissions::from_mode(0o755)).unwrap();
    fs::copy(PROGRAM, deployment.path("program")).unwrap();
    hand_over(&deployment.path("softhsm"), keeper);
    hand_over(&deployment.path("keeper"), keeper);
    hand_over(&deployment.path("mint"), mint);
    deployment.edit(|config| {
        config["keeper"]["socket"] = value("keeper/keeper.sock");
        config["keeper"]["user"] = value(keeper.name.as_str());
        config["keeper"]["state"] = value("keeper");
        config["keeper"]["mint_user"] = value(mint.name.as_str());
        config["listen"]["admin"] = value("mint/admin.sock");
        config["store"]["url"] = value("sqlite:mint/mintkeep.db");
    });
    deployment
}

fn start_keeper(deployment: &Deployment, user: &User) -> KeeperByItself {
    // Where a killed keeper left its socket, the next one replaces it.
    let _ = fs::remove_file(deployment.path("keeper/keeper.sock"));
    let keeper = run_as(command(deployment, &["keeper"]), user).stderr(Stdio::null()).spawn().unwrap();
    while !deployment.path("keeper/keeper.sock").exists() {
        std::thread::sleep(Duration::from_millis(10));
    }
    KeeperByItself(keeper)
}

fn start_mint(deployment: &Deployment, user: &User) -> RunningMint {
    let command = run_as(command(deployment, &["serve"]), user);
    RunningMint::start(command, deployment.path("mint/admin.sock"), deployment.secret.clone())
}

#[test]
fn mint_and_keeper_run_under_two_users() {
    let (keeper_user, mint_user) = users();
    let deployment = deployment(&keeper_user, &mint_user);
    let keeper = start_keeper(&deployment, &keeper_user);
    let mint = start_mint(&deployment, &mint_user);
    mint.client_credentials().text("access_token");
    // The keeper ends and comes back; the mint finds it again.
    drop(keeper);
    let _keeper = start_keeper(&deployment, &keeper_user);
    mint.wait_for("the keeper is back");
    mint.client_credentials().text("access_token");
}

#[test]
fn a_keeper_whose_device_does_not_let_go_ends_all_the_same() {
    let (keeper_user, mint_user) = users();
    let deployment = deployment(&keeper_user, &mint_user);
    let faulty = FaultyModule::before(&deployment);
    hand_over(&deployment.path("faulty"), &keeper_user);
    let mut keeper = start_keeper(&deployment, &keeper_user);
    let mint = start_mint(&deployment, &mint_user);
    faulty.script("C_SignInit 1 lose-sessions\nC_Finalize 1 hang");
    mint.client_credentials();
    // By SIGKILL, which its service manager takes for a failure, and starts it anew.
    let status = keeper.0.wait().unwrap();
    assert!(!status.success(), "{status}");
    let _keeper = start_keeper(&deployment, &keeper_user);
    mint.wait_for("the keeper is back");
    mint.client_credentials().text("access_token");
}

#[test]
fn a_keeper_that_hangs_in_its_login_ends_and_the_next_one_does_not_try_again() {
    let (keeper_user, mint_user) = users();
    let deployment = deployment(&keeper_user, &mint_user);
    let faulty = FaultyModule::before(&deployment);
    hand_over(&deployment.path("faulty"), &keeper_user);
    deployment.edit(|config| config["keeper"]["start_timeout"] = value("2s"));
    faulty.script("C_Login 1 hang");
    let keeper = || run_as(command(&deployment, &["keeper"]), &keeper_user).output().unwrap();
    assert_eq!(keeper().status.code(), None, "it ends by a signal");
    assert_eq!(faulty.count("C_Login"), 1);
    let error = one_line_of_error(&keeper(), 8);
    assert!(error.contains("this PIN was tried on this token before"), "{error}");
    assert_eq!(faulty.count("C_Login"), 1);
}

#[test]
fn the_keepers_memory_is_closed_to_debuggers_of_its_user() {
    if !Uid::effective().is_root() {
        eprintln!("needs root, to be another user than the keeper's");
        return;
    }
    let (keeper_user, mint_user) = users();
    let deployment = deployment(&keeper_user, &mint_user);
    let keeper = start_keeper(&deployment, &keeper_user);
    let mint = start_mint(&deployment, &mint_user);
    let owner = |pid: u32| fs::metadata(format!("/proc/{pid}/mem")).unwrap().uid();
    // What cannot be dumped is root's (proc(5)).
    assert_eq!(owner(keeper.0.id()), 0);
    assert_eq!(owner(mint.pid()), mint_user.uid.as_raw());
}

#[test]
fn each_turns_a_stranger_away() {
    if !Uid::effective().is_root() {
        eprintln!("needs root, to be two users");
        return;
    }
    let (keeper_user, mint_user) = users();
    let deployment = deployment(&keeper_user, &mint_user);
    let _keeper = start_keeper(&deployment, &keeper_user);
    // Root is a stranger too: it is not the mint's user.
    deployment.edit(|config| config["store"]["url"] = value("sqlite:root.db"));
    let output = deployment.run(&["serve"]);
    deployment.edit(|config| config["store"]["url"] = value("sqlite:mint/mintkeep.db"));
    assert_eq!(output.status.code(), Some(4), "{}", String::from_utf8_lossy(&output.stderr));
    // And a mint that expects another user at the socket does not speak to this one.
    deployment.edit(|config| config["keeper"]["user"] = value("daemon"));
    let output = run_as(command(&deployment, &["serve"]), &mint_user).output().unwrap();
    let error = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(8), "{error}");
    assert!(error.contains("check keeper.user"), "{error}");
}
