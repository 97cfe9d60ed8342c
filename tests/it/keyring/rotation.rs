//! Keys that follow one another while everybody works.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use nix::sys::signal::Signal;
use toml_edit::value;

use super::orders::{active, hurry, in_state, is_replaced, kid_of, published};
use crate::support::jose::verified;
use crate::support::process::{OnDrop, eventually, succeed};
use crate::support::{Deployment, Postgres, RunningMint};

const AUDIENCE: &str = "https://billing.example.com";

/// Two nodes under load, whose keys all change: no request fails, every token verifies by the keys that are published
/// at that moment, on either node, and what is over goes away by itself.
#[test]
fn keys_change_under_load_and_no_request_fails() {
    let (deployment, postgres) = (Deployment::new(), Postgres::start());
    deployment.use_postgres(&postgres);
    hurry(&deployment);
    deployment.edit(|config| {
        config["tokens"]["access_token_lifetime"] = value("2s");
    });
    let nodes = [deployment.serve(), deployment.serve_beside(|_| {})];
    let first = [active(&deployment, "signing"), active(&deployment, "sealing")];
    let (ended, exchanges) = (AtomicBool::new(false), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        // Also where this fails: what a scope began is waited for.
        let _end = OnDrop(&ended);
        for number in 0..4 {
            let (deployment, nodes, ended, exchanges) = (&deployment, &nodes, &ended, &exchanges);
            scope.spawn(move || {
                let mut held = deployment.grant();
                let mut turn = number;
                while !ended.load(Ordering::Relaxed) {
                    let (here, there): (&RunningMint, &RunningMint) = (&nodes[turn % 2], &nodes[(turn + 1) % 2]);
                    held = here.refresh(&held).text("refresh_token");
                    let token = here.client_credentials().text("access_token");
                    verified(there, &token, AUDIENCE);
                    exchanges.fetch_add(1, Ordering::Relaxed);
                    turn += 1;
                    std::thread::sleep(Duration::from_millis(20));
                }
            });
        }
        succeed(&mut deployment.command(&["keys", "rotate"]));
        for (role, first) in ["signing", "sealing"].iter().zip(&first) {
            eventually(|| is_replaced(&deployment, role, first));
        }
        let before = exchanges.load(Ordering::Relaxed);
        eventually(|| exchanges.load(Ordering::Relaxed) >= before + 40);
    });
    // Within what a node takes to read the store.
    for node in &nodes {
        eventually(|| kid_of(&node.client_credentials().text("access_token")) == active(&deployment, "signing"));
    }
    // Its last token ended long ago by now; the clocks may differ by five seconds.
    eventually(|| !in_state(&deployment, "signing", "removed").is_empty());
    for node in &nodes {
        eventually(|| published(node) == [active(&deployment, "signing")]);
    }
    assert_eq!(in_state(&deployment, "sealing", "retired").len(), 1, "its refresh tokens are about for a month");
}

/// Others may have retired and removed the keys that it knows. Each role has its own time.
#[test]
fn a_node_that_cannot_read_the_store_signs_for_as_long_as_keys_are_published_ahead() {
    let (deployment, postgres) = (Deployment::new(), Postgres::start());
    deployment.use_postgres(&postgres);
    deployment.edit(|config| config["keys"]["sealing"]["publish_ahead"] = value("1s"));
    let mint = deployment.serve();
    let held = mint.refresh(&deployment.grant()).text("refresh_token");
    postgres.signal(Signal::SIGSTOP);
    let told = mint.wait_for("the store could not be read for too long; its keys are not used any more until it can");
    assert_eq!(told["fields"]["role"], "sealing");
    let token = mint.client_credentials().text("access_token");
    assert_eq!(mint.get("/.well-known/jwks.json").status, 200, "{token} can still be verified");
    postgres.signal(Signal::SIGCONT);
    eventually(|| mint.refresh(&held).status == 200);
    drop(mint);
    hurry(&deployment);
    let mint = deployment.serve();
    mint.client_credentials().text("access_token");
    postgres.signal(Signal::SIGSTOP);
    eventually(|| mint.client_credentials().status == 503);
    postgres.signal(Signal::SIGCONT);
    eventually(|| mint.client_credentials().status == 200);
}

#[test]
fn keys_are_replaced_by_age_and_by_count_without_anybody_asking() {
    let deployment = Deployment::new();
    hurry(&deployment);
    deployment.edit(|config| {
        config["keys"]["signing"]["rotate_every"] = value("2s");
        config["keys"]["sealing"]["rotate_after"] = value(2);
    });
    let mint = deployment.serve();
    let first = [active(&deployment, "signing"), active(&deployment, "sealing")];
    let mut held = deployment.grant();
    for _ in 0..3 {
        held = mint.refresh(&held).text("refresh_token");
    }
    for (role, first) in ["signing", "sealing"].iter().zip(&first) {
        eventually(|| is_replaced(&deployment, role, first));
    }
    mint.refresh(&held).text("access_token");
}

/// On a TPM too, where the keys are loaded as they are needed.
#[cfg(feature = "tpm")]
#[test]
fn the_keys_of_a_tpm_follow_one_another() {
    let deployment = Deployment::on_tpm();
    hurry(&deployment);
    let mint = deployment.serve();
    let held = deployment.grant();
    let first = active(&deployment, "signing");
    succeed(&mut deployment.command(&["keys", "rotate"]));
    eventually(|| {
        !in_state(&deployment, "sealing", "retired").is_empty() && is_replaced(&deployment, "signing", &first)
    });
    let held = mint.refresh(&held).text("refresh_token");
    drop(mint);
    let mint = deployment.serve();
    let token = mint.refresh(&held).text("access_token");
    assert_eq!(kid_of(&token), active(&deployment, "signing"));
}
