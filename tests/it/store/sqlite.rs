use std::fs;
use std::io::{BufRead as _, BufReader};
use std::os::unix::fs::PermissionsExt as _;
use std::process::Stdio;
use std::sync::Arc;

use mintkeep::store::sqlite::SqliteStore;
use mintkeep::store::{ClaimId, Claimed, Error, OnceClaim, Store as _};

use super::contract::claims::claim;
use super::contract::contract;
use crate::support::Deployment;
use crate::support::process::{one_line_of_error, succeed};

#[tokio::test(flavor = "multi_thread")]
async fn it_keeps_the_contract() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store.db");
    contract(&|| Arc::new(SqliteStore::open(&path).unwrap())).await;
}

#[test]
fn the_library_has_the_fix_of_the_wal_reset_bug() {
    assert!(rusqlite::version_number() >= 3_051_003, "{}", rusqlite::version());
}

#[test]
fn its_files_are_its_owners_only() {
    let folder = tempfile::tempdir().unwrap();
    let store = SqliteStore::open(&folder.path().join("store.db")).unwrap();
    for entry in fs::read_dir(folder.path()).unwrap() {
        let entry = entry.unwrap();
        assert_eq!(entry.metadata().unwrap().permissions().mode() & 0o077, 0, "{:?}", entry.file_name());
    }
    drop(store);
}

/// Names the store of the process that is killed.
const KILLED_STORE: &str = "MINTKEEP_TEST_KILLED_STORE";

/// The process that is killed is this test again: it claims one after the other, and says which was the first.
#[tokio::test]
async fn a_claim_that_was_first_is_replayed_after_a_kill() {
    let nth = |number: u32| {
        let mut id = [0; 32];
        id[..4].copy_from_slice(&number.to_le_bytes());
        OnceClaim { id: ClaimId(id), ..claim(0, 1000) }
    };
    if let Some(path) = std::env::var_os(KILLED_STORE) {
        let store = SqliteStore::open(path.as_ref()).unwrap();
        for number in 0.. {
            assert_eq!(store.claim(nth(number)).await.unwrap(), Claimed::First);
            println!("first: {number}");
        }
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store.db");
    let mut itself = std::process::Command::new(std::env::current_exe().unwrap());
    itself.args(["--exact", "store::sqlite::a_claim_that_was_first_is_replayed_after_a_kill", "--nocapture"]);
    let mut child = itself.env(KILLED_STORE, &path).stdout(Stdio::piped()).spawn().unwrap();
    let mut firsts = Vec::new();
    for line in BufReader::new(child.stdout.take().unwrap()).lines() {
        if let Some((_, number)) = line.unwrap().rsplit_once("first: ") {
            firsts.push(number.parse::<u32>().unwrap());
        }
        if firsts.len() == 100 {
            child.kill().unwrap();
        }
    }
    child.wait().unwrap();
    assert!(firsts.len() >= 100);
    let store = SqliteStore::open(&path).unwrap();
    for number in firsts {
        assert_eq!(store.claim(nth(number)).await.unwrap(), Claimed::Replayed);
    }
}

#[test]
fn something_else_than_a_store_is_refused_and_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("notes.txt");
    let notes = "these are my notes, and no database\n".repeat(100);
    fs::write(&path, &notes).unwrap();
    let error = SqliteStore::open(&path).err().expect("it is refused");
    assert!(matches!(error, Error::Open { .. }), "{error}");
    assert!(error.to_string().contains("notes.txt"), "{error}");
    assert_eq!(fs::read_to_string(&path).unwrap(), notes);
}

#[test]
fn a_backup_under_load_is_a_store_that_works() {
    let deployment = Deployment::new();
    let mint = deployment.serve();
    let (kept, revoked) = (deployment.grant(), deployment.grant());
    let kept = mint.refresh(&kept).text("refresh_token");
    deployment.run_json(&["sessions", "revoke", "--all"]);
    let live = deployment.grant();
    let done = std::sync::atomic::AtomicBool::new(false);
    let backup = deployment.path("backup.db");
    let to = backup.display().to_string();
    let mut token = deployment.grant();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(std::sync::atomic::Ordering::Relaxed) {
                token = mint.refresh(&token).text("refresh_token");
            }
        });
        succeed(&mut deployment.command(&["store", "backup", "--to", &to]));
        done.store(true, std::sync::atomic::Ordering::Relaxed);
    });
    assert_eq!(fs::metadata(&backup).unwrap().permissions().mode() & 0o777, 0o600);
    let again = deployment.run(&["store", "backup", "--to", &to]);
    assert!(one_line_of_error(&again, 5).contains("it is there already"));
    drop(mint);
    deployment.edit(|config| config["store"]["url"] = toml_edit::value(format!("sqlite:{to}")));
    let mint = deployment.serve();
    mint.refresh(&live).text("access_token");
    mint.refresh(&kept).assert_error(400, "invalid_grant");
    mint.refresh(&revoked).assert_error(400, "invalid_grant");
}

#[test]
fn a_backup_of_no_store_leaves_nothing() {
    let deployment = Deployment::new();
    let to = deployment.path("backup.db").display().to_string();
    one_line_of_error(&deployment.run(&["store", "backup", "--to", &to]), 5);
    for name in ["backup.db", "backup.db.part", "mintkeep.db"] {
        assert!(!deployment.path(name).exists(), "{name}");
    }
}
