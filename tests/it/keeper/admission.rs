//! In front of a slow device: what cannot be done in time is refused before it touches it, and clients have fair shares.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use toml_edit::value;

use crate::support::faulty::FaultyModule;
use crate::support::running::{basic, form};
use crate::support::{Deployment, RunningMint};

/// A device with one session that makes ten signatures a second, and a mint that gives it a second for each.
fn slow() -> (Deployment, FaultyModule) {
    let deployment = Deployment::new();
    deployment.edit(|config| {
        config["keeper"]["request_timeout"] = value("1s");
        config["hardware"]["softhsm"]["sessions"] = value(1);
    });
    let faulty = FaultyModule::before(&deployment);
    (deployment, faulty)
}

fn slow_down(faulty: &FaultyModule, mint: &RunningMint) {
    faulty.script("C_Sign 1+ latency 100ms 1");
    // Until the mint has seen how slow it is.
    for _ in 0..20 {
        mint.client_credentials();
    }
    faulty.script("C_Sign 1+ latency 100ms 1 ");
}

#[test]
fn what_is_refused_never_touched_the_device() {
    let (deployment, faulty) = slow();
    let mint = deployment.serve();
    slow_down(&faulty, &mint);
    let (served, refused) = (AtomicUsize::new(0), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        for _ in 0..40 {
            scope.spawn(|| {
                for _ in 0..3 {
                    let answer = mint.client_credentials();
                    if answer.status == 200 {
                        served.fetch_add(1, Ordering::Relaxed);
                    } else {
                        answer.assert_error(503, "temporarily_unavailable");
                        let seconds: u64 = answer.header("retry-after").unwrap().parse().unwrap();
                        assert!((1..=30).contains(&seconds), "{seconds}");
                        refused.fetch_add(1, Ordering::Relaxed);
                    }
                }
            });
        }
    });
    let (served, refused) = (served.into_inner(), refused.into_inner());
    assert!(served >= 5 && refused >= 40, "{served} {refused}");
    assert_eq!(faulty.count("C_Sign"), served, "no signature was made for nobody");
}

#[test]
fn a_client_that_asks_for_much_takes_nothing_from_one_that_asks_for_little() {
    let (deployment, faulty) = slow();
    let secret = deployment.config_text().split("secret_sha256 = \"").nth(1).unwrap()[..64].to_owned();
    deployment.add_client(&format!(
        "id = \"modest\"\nauthentication = \"client_secret_basic\"\nsecret_sha256 = \"{secret}\"\ngrants = [\"client_credentials\"]\nscope = \"read\"\naudience = \"https://api.example.com\""
    ));
    let mint = deployment.serve();
    slow_down(&faulty, &mint);
    let (done, greedy) = (AtomicBool::new(false), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        for _ in 0..30 {
            scope.spawn(|| {
                while !done.load(Ordering::Relaxed) {
                    if mint.client_credentials().status == 503 {
                        greedy.fetch_add(1, Ordering::Relaxed);
                    }
                }
            });
        }
        let modest = basic("modest", &deployment.secret);
        let grant = form(&[("grant_type", "client_credentials")]);
        let statuses: Vec<u16> = (0..10).map(|_| mint.post_form(&[&modest], &grant).status).collect();
        done.store(true, Ordering::Relaxed);
        assert!(statuses.iter().all(|status| *status == 200), "{statuses:?}");
    });
    assert!(greedy.into_inner() > 10, "the other one had more than it could get");
}

#[test]
fn forged_tokens_leave_room_for_signatures() {
    let (deployment, faulty) = slow();
    deployment.edit(|config| config["keeper"]["request_timeout"] = value("2s"));
    deployment.allow_failed_attempts();
    let mint = deployment.serve();
    let token = deployment.grant();
    let last = if token.ends_with('A') { 'Q' } else { 'A' };
    let forged = format!("{}{last}", &token[..token.len() - 1]);
    faulty.script("C_Sign,C_Decrypt 1+ latency 50ms 1");
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for _ in 0..80 {
            scope.spawn(|| {
                while !done.load(Ordering::Relaxed) {
                    assert!([400, 503].contains(&mint.refresh(&forged).status));
                }
            });
        }
        let statuses: Vec<u16> = (0..10).map(|_| mint.client_credentials().status).collect();
        done.store(true, Ordering::Relaxed);
        assert!(statuses.iter().all(|status| *status == 200), "{statuses:?}");
    });
}
