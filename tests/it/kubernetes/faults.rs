//! The keeper is lost while it signs.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use nix::sys::signal::Signal;
use tonic::Code;

use super::checks::{Seen, check_all};
use super::{apiserver, claims, deployment};
use crate::support::process::{OnDrop, eventually, runs, signal};

#[test]
fn a_keeper_that_is_killed_under_load_is_replaced_and_signs_on() {
    let deployment = deployment();
    let mint = deployment.serve();
    let (ended, signed, refused) = (AtomicBool::new(false), AtomicUsize::new(0), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        // Also where this fails: what a scope began is waited for.
        let _end = OnDrop(&ended);
        for _ in 0..8 {
            let (deployment, mint, ended, signed, refused) = (&deployment, &mint, &ended, &signed, &refused);
            scope.spawn(move || {
                let apiserver = apiserver(deployment, mint);
                while !ended.load(Ordering::Relaxed) {
                    match apiserver.sign(&claims(3600)) {
                        Ok(_) => drop(signed.fetch_add(1, Ordering::Relaxed)),
                        Err(status) => refused.lock().unwrap().push(status),
                    }
                }
            });
        }
        for _ in 0..3 {
            let before = signed.load(Ordering::Relaxed);
            eventually(|| signed.load(Ordering::Relaxed) > before + 20);
            let keeper = mint.keeper_pid();
            signal(keeper, Signal::SIGKILL);
            eventually(|| !runs(keeper));
        }
        let before = signed.load(Ordering::Relaxed);
        eventually(|| signed.load(Ordering::Relaxed) > before + 20);
    });
    for status in refused.into_inner().unwrap() {
        assert_eq!(status.code(), Code::Unavailable, "{status}");
    }
    check_all(&Seen::by(&apiserver(&deployment, &mint)));
}
