//! Disks that fail under a store.

use std::fs;
use std::path::Path;

use mintkeep::store::sqlite::SqliteStore;
use mintkeep::store::{Error, Family, FamilyId, Store as _};

use super::contract::family;
use crate::keyring::orders::hurry;
use crate::support::disk::SmallDisk;
use crate::support::process::{one_line_of_error, succeed};
use crate::support::running::{basic, form};
use crate::support::{API, Answer, Deployment, RunningMint, WORKLOAD};

/// A deployment whose store alone is on a disk of its own.
fn deployment(mount: impl FnOnce(&Deployment) -> Option<SmallDisk>) -> Option<(Deployment, SmallDisk)> {
    let deployment = Deployment::new();
    deployment.add_resource_server("https://api.example.com");
    deployment.edit(|config| config["store"]["url"] = toml_edit::value("sqlite:small/mintkeep.db"));
    let disk = mount(&deployment)?;
    Some((deployment, disk))
}

fn introspect(deployment: &Deployment, mint: &RunningMint, token: &str) -> Answer {
    mint.post_form_to("/oauth/introspect", &[&basic(API, &deployment.secret)], &form(&[("token", token)]))
}

fn revoke(mint: &RunningMint, token: &str) -> Answer {
    mint.post_form_to("/oauth/revoke", &[], &form(&[("client_id", WORKLOAD), ("token", token)]))
}

/// Whatever the disk does, this is answered.
#[track_caller]
fn assert_discovery(mint: &RunningMint) {
    assert_eq!(mint.get("/.well-known/jwks.json").status, 200);
    assert_eq!(mint.get("/.well-known/oauth-authorization-server").status, 200);
    assert_eq!(mint.admin("/healthz").status, 200);
}

#[track_caller]
fn assert_unavailable(answer: &Answer) {
    answer.assert_error(503, "temporarily_unavailable");
    assert_eq!(answer.header("retry-after"), Some("1"));
}

/// What needs no write is answered, and what needs one is `503`.
#[track_caller]
fn assert_reads_only(deployment: &Deployment, mint: &RunningMint, refresh_token: &str, access_token: &str) {
    assert_unavailable(&mint.refresh(refresh_token));
    assert_unavailable(&revoke(mint, access_token));
    assert_unavailable(&revoke(mint, refresh_token));
    assert_eq!(introspect(deployment, mint, access_token).json()["active"], true);
    mint.client_credentials().text("access_token");
    assert_eq!(mint.admin("/readyz").status, 503);
    assert_discovery(mint);
}

#[test]
fn a_full_disk_is_a_503_and_loses_no_refresh_token() {
    let Some((deployment, disk)) = deployment(|deployment| SmallDisk::in_memory(deployment.path("small"), 1)) else {
        return;
    };
    let mint = deployment.serve();
    let first = mint.refresh(&deployment.grant());
    let (mut held, live) = (first.text("refresh_token"), first.text("access_token"));
    disk.fill();
    // The log of the store has some room of its own before it has to grow.
    for _ in 0..2000 {
        let answer = mint.refresh(&held);
        if answer.status != 200 {
            break;
        }
        held = answer.text("refresh_token");
    }
    assert_reads_only(&deployment, &mint, &held, &live);
    disk.make_room();
    held = mint.refresh(&held).text("refresh_token");
    assert_eq!(mint.admin("/readyz").status, 200);
    // What was refused can be repeated, and holds now.
    assert_eq!(revoke(&mint, &live).status, 200);
    assert_eq!(introspect(&deployment, &mint, &live).json()["active"], false);
    assert_eq!(revoke(&mint, &held).status, 200);
    mint.refresh(&held).assert_error(400, "invalid_grant");
}

/// However long it takes: the state of the keys can be read, and that is all that signing needs.
#[test]
fn a_full_disk_does_not_end_signing() {
    let Some((deployment, disk)) = deployment(|deployment| SmallDisk::in_memory(deployment.path("small"), 1)) else {
        return;
    };
    hurry(&deployment);
    let mint = deployment.serve();
    let mut held = mint.refresh(&deployment.grant()).text("refresh_token");
    disk.fill();
    loop {
        let answer = mint.refresh(&held);
        if answer.status != 200 {
            break;
        }
        held = answer.text("refresh_token");
    }
    // Twice, five seconds apart: keys are published a second ahead here.
    for _ in 0..2 {
        mint.client_credentials().text("access_token");
        mint.wait_for("cannot note what the keys made");
    }
    mint.client_credentials().text("access_token");
    disk.make_room();
    mint.refresh(&held).text("refresh_token");
}

#[test]
fn a_disk_that_turns_read_only_is_a_503_and_loses_no_refresh_token() {
    let Some((deployment, disk)) = deployment(|deployment| SmallDisk::in_file(deployment.path("small"))) else {
        return;
    };
    let mint = deployment.serve();
    let first = mint.refresh(&deployment.grant());
    let (held, live) = (first.text("refresh_token"), first.text("access_token"));
    disk.turn_read_only();
    for _ in 0..3 {
        assert_reads_only(&deployment, &mint, &held, &live);
    }
    let readiness = mint.admin("/readyz").json();
    assert!(readiness["store"].as_str().unwrap().contains("read-only or broken"), "{readiness}");
    // What is on it can still be saved.
    let backup = deployment.path("backup.db").display().to_string();
    succeed(&mut deployment.command(&["store", "backup", "--to", &backup]));
    assert!(mint.terminate().success(), "it ends in order, though it cannot tidy up");
    // As after the repair: what was answered is there.
    disk.mount_again("loop");
    let mint = deployment.serve();
    mint.refresh(&held).text("access_token");
    assert_eq!(introspect(&deployment, &mint, &live).json()["active"], true);
    assert_eq!(revoke(&mint, &live).status, 200);
    assert_eq!(introspect(&deployment, &mint, &live).json()["active"], false);
}

#[test]
fn a_disk_that_is_lost_is_a_503_for_all_that_asks_the_store() {
    let Some((deployment, disk)) = deployment(|deployment| SmallDisk::in_file(deployment.path("small"))) else {
        return;
    };
    let mint = deployment.serve();
    let first = mint.refresh(&deployment.grant());
    let (held, live) = (first.text("refresh_token"), first.text("access_token"));
    disk.lose();
    for _ in 0..3 {
        assert_unavailable(&mint.refresh(&held));
        assert_unavailable(&revoke(&mint, &live));
        // Nobody knows whether it was revoked.
        assert_unavailable(&introspect(&deployment, &mint, &live));
        mint.client_credentials().text("access_token");
        assert_discovery(&mint);
    }
    assert!(mint.terminate().success(), "it ends in order, though it cannot tidy up");
    disk.mount_again("loop");
    let mint = deployment.serve();
    mint.refresh(&held).text("access_token");
}

#[test]
fn a_store_on_a_read_only_disk_is_refused_with_what_to_do() {
    let Some((deployment, disk)) = deployment(|deployment| SmallDisk::in_file(deployment.path("small"))) else {
        return;
    };
    let mint = deployment.serve();
    let token = deployment.grant();
    // Killed, so that its log is there to be read, and cannot be.
    mint.kill();
    disk.mount_again("loop,ro");
    for command in [["serve"].as_slice(), &["sessions", "list"]] {
        let error = one_line_of_error(&deployment.run(command), 5);
        assert!(error.contains("mintkeep.db: ") && error.contains("mount its disk for writing"), "{error}");
    }
    assert_eq!(deployment.run(&["check"]).status.code(), Some(5));
    disk.mount_again("loop");
    deployment.serve().refresh(&token).text("access_token");
}

/// The log of the store is used anew from its start after each checkpoint, so it has room where the store itself
/// has none to grow.
#[tokio::test(flavor = "multi_thread")]
async fn a_checkpoint_that_cannot_be_written_loses_nothing_and_is_made_up_for() {
    let folder = tempfile::tempdir().unwrap();
    let Some(disk) = SmallDisk::in_memory(folder.path().join("small"), 16) else {
        return;
    };
    let path = disk.path().join("mintkeep.db");
    let length = |path: &Path| fs::metadata(path).unwrap().len();
    let store = SqliteStore::open(&path).unwrap();
    let numbered = |number: u32| {
        let mut fid = [0; 16];
        // Each somewhere else, as random handles are.
        fid[..4].copy_from_slice(&number.wrapping_mul(2_654_435_761).to_be_bytes());
        Family { fid: FamilyId(fid), ..family(1) }
    };
    let mut begun = 0;
    let empty = length(&path);
    while length(&path) == empty {
        store.begin_family(numbered(begun)).await.unwrap();
        begun += 1;
    }
    disk.fill();
    let (before, at_checkpoint) = (length(&path), begun);
    let error = loop {
        match store.begin_family(numbered(begun)).await {
            Ok(()) => begun += 1,
            Err(error) => break error,
        }
    };
    assert!(matches!(error, Error::Failed(_)), "{error}");
    assert!(begun - at_checkpoint > 50, "the log had room for {}", begun - at_checkpoint);
    assert_eq!(length(&path), before, "the checkpoint was not written");
    assert!(store.family(numbered(begun - 1).fid).await.unwrap().is_some(), "it is read all the same");
    disk.make_room();
    store.begin_family(numbered(begun)).await.unwrap();
    assert!(length(&path) > before, "the checkpoint was made up for");
    drop(store);
    let store = SqliteStore::open(&path).unwrap();
    for number in 0..=begun {
        assert!(store.family(numbered(number).fid).await.unwrap().is_some(), "{number} of {begun}");
    }
}

#[test]
fn a_store_on_a_full_disk_is_refused_with_what_to_do() {
    let Some((deployment, disk)) = deployment(|deployment| SmallDisk::in_memory(deployment.path("small"), 1)) else {
        return;
    };
    // Where none was made yet, and where there is one that nobody uses.
    for _ in 0..2 {
        disk.fill();
        let error = one_line_of_error(&deployment.run(&["serve"]), 5);
        assert!(error.contains("mintkeep.db: ") && error.contains("disk is full"), "{error}");
        disk.make_room();
        deployment.serve().refresh(&deployment.grant()).text("access_token");
        // A log that is left beside the store has room of its own; who closes the store last puts it away.
        let store = rusqlite::Connection::open(disk.path().join("mintkeep.db")).unwrap();
        store.query_row("SELECT count(*) FROM family", [], |_| Ok(())).unwrap();
        store.close().unwrap();
        assert!(!disk.path().join("mintkeep.db-wal").exists());
    }
}
