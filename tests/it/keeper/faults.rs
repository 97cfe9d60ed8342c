//! The keeper dies, hangs, or finds its hardware gone: a defined answer, and nothing lost.

use std::fs;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use nix::sys::signal::Signal;
use toml_edit::value;

use crate::support::process::{runs, signal};
use crate::support::running::try_refresh_at;
use crate::support::spy::Spy;
use crate::support::{Deployment, RunningMint};

const KILLS: usize = 8;

#[test]
fn keepers_killed_under_load_lose_no_refresh_token() {
    const WORKLOADS: usize = 12;
    let deployment = Deployment::new();
    let mint = deployment.serve();
    let done = AtomicBool::new(false);
    let (exchanges, refusals) = (AtomicUsize::new(0), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        for _ in 0..WORKLOADS {
            let (mint, done, exchanges, refusals) = (&mint, &done, &exchanges, &refusals);
            let mut token = deployment.grant();
            scope.spawn(move || {
                let mut is_last = false;
                while !is_last {
                    // One more after the last kill: every workload gets on with what it holds.
                    is_last = done.load(Ordering::Relaxed);
                    loop {
                        let answer = mint.refresh(&token);
                        if answer.status == 200 {
                            token = answer.text("refresh_token");
                            exchanges.fetch_add(1, Ordering::Relaxed);
                            break;
                        }
                        // A token that was refused for good would never come back from here.
                        answer.assert_error(503, "temporarily_unavailable");
                        assert_eq!(answer.header("retry-after"), Some("1"));
                        refusals.fetch_add(1, Ordering::Relaxed);
                    }
                }
            });
        }
        for _ in 0..KILLS {
            let before = exchanges.load(Ordering::Relaxed);
            signal(mint.keeper_pid(), Signal::SIGKILL);
            mint.wait_for("the keeper is back");
            // The next kill only hits a keeper that serves.
            while exchanges.load(Ordering::Relaxed) < before + WORKLOADS {
                std::thread::sleep(Duration::from_millis(5));
            }
        }
        done.store(true, Ordering::Relaxed);
    });
    assert!(exchanges.load(Ordering::Relaxed) >= WORKLOADS * KILLS);
    println!("{} exchanges, {} answered 503", exchanges.load(Ordering::Relaxed), refusals.load(Ordering::Relaxed));
}

#[test]
fn a_keeper_that_hangs_is_replaced() {
    let deployment = Deployment::new();
    deployment.edit(|config| config["keeper"]["request_timeout"] = value("1s"));
    let mint = deployment.serve();
    let hanging = mint.keeper_pid();
    signal(hanging, Signal::SIGSTOP);
    let answer = mint.client_credentials();
    answer.assert_error(503, "temporarily_unavailable");
    assert_eq!(answer.header("retry-after"), Some("1"));
    mint.wait_for("the keeper is back");
    mint.client_credentials().text("access_token");
    assert_ne!(mint.keeper_pid(), hanging);
    assert!(!runs(hanging));
}

#[test]
fn a_keeper_that_hangs_is_replaced_also_where_nobody_waits_for_it() {
    use std::io::Write as _;
    let deployment = Deployment::new();
    deployment.edit(|config| config["keeper"]["request_timeout"] = value("2s"));
    let mint = deployment.serve();
    signal(mint.keeper_pid(), Signal::SIGSTOP);
    let request = format!(
        "POST /oauth/token HTTP/1.1\r\nHost: mint\r\n{}\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: 29\r\n\r\ngrant_type=client_credentials",
        mint.basic()
    );
    // Each client gives up long before its request has to be answered.
    for _ in 0..10 {
        let mut stream = std::net::TcpStream::connect(mint.address()).unwrap();
        stream.write_all(request.as_bytes()).unwrap();
        std::thread::sleep(Duration::from_millis(50));
    }
    mint.wait_for("the keeper is back");
    mint.client_credentials().text("access_token");
}

#[test]
fn a_keeper_ends_with_its_mint_however_that_ends() {
    let deployment = Deployment::new();
    let mint = deployment.serve();
    let keeper = mint.keeper_pid();
    mint.kill();
    while runs(keeper) {
        std::thread::sleep(Duration::from_millis(10));
    }
    // And the next one takes up where it ended.
    deployment.serve().client_credentials().text("access_token");
}

#[test]
fn a_mint_killed_under_way_loses_no_refresh_token() {
    let deployment = Deployment::new();
    let mut token = deployment.grant();
    for _ in 0..5 {
        let mint = deployment.serve();
        let taken = std::thread::scope(|scope| {
            let workload = scope.spawn(|| {
                let mut held = token.clone();
                while let Some(next) = try_refresh(&mint, &held) {
                    held = next;
                }
                held
            });
            std::thread::sleep(Duration::from_millis(50));
            signal(mint.pid(), Signal::SIGKILL);
            workload.join().unwrap()
        });
        token = taken;
    }
    // The last answer may have been lost with the mint; what the workload holds is still good.
    deployment.serve().refresh(&token).text("access_token");
}

/// The next token, or `None` where the mint is gone before it answered.
fn try_refresh(mint: &RunningMint, token: &str) -> Option<String> {
    try_refresh_at(mint.address(), token).map(|answer| answer.text("refresh_token"))
}

#[test]
fn a_wrong_pin_is_tried_once_and_never_again() {
    let deployment = Deployment::new();
    let spy = Spy::on(&deployment);
    let mint = deployment.serve();
    assert_eq!(spy.count("C_Login"), 1);
    fs::write(deployment.path("softhsm/pin"), "not the PIN").unwrap();
    signal(mint.keeper_pid(), Signal::SIGKILL);
    mint.wait_for("the keeper refused to start and is not tried again");
    for _ in 0..5 {
        mint.client_credentials().assert_error(503, "temporarily_unavailable");
    }
    assert_eq!(spy.count("C_Login"), 2, "the good one, and the wrong one once");
    let ready = mint.admin("/readyz");
    assert_eq!(ready.status, 503);
    assert!(ready.json()["keeper"].as_str().unwrap().contains("the PIN is wrong"), "{ready:?}");
    assert!(!mint.log().contains("not the PIN"));
    assert!(mint.terminate().success());
}

#[test]
fn a_crash_of_the_keeper_leaves_no_core_file() {
    let deployment = Deployment::new();
    let mint = deployment.serve();
    let limits = fs::read_to_string(format!("/proc/{}/limits", mint.keeper_pid())).unwrap();
    let line = limits.lines().find(|line| line.starts_with("Max core file size")).unwrap();
    let numbers: Vec<&str> = line.trim_start_matches("Max core file size").split_whitespace().take(2).collect();
    assert!(numbers.iter().all(|number| ["0", "1"].contains(number)), "{line}");
}

#[test]
fn the_keepers_memory_is_locked_or_it_says_what_to_set() {
    let deployment = Deployment::new();
    let mint = deployment.serve();
    let status = fs::read_to_string(format!("/proc/{}/status", mint.keeper_pid())).unwrap();
    let locked = status.lines().find_map(|line| line.strip_prefix("VmLck:")).unwrap();
    let is_locked = locked.trim() != "0 kB";
    assert_eq!(is_locked, !mint.log().contains("LimitMEMLOCK=infinity"), "VmLck: {locked}");
    mint.client_credentials().text("access_token");
}

#[test]
fn a_device_that_comes_back_with_another_key_is_refused() {
    let deployment = Deployment::new();
    let mint = deployment.serve();
    crate::support::process::succeed(&mut deployment.pkcs11_tool(&[
        "--keypairgen",
        "--key-type",
        "EC:prime256v1",
        "--label",
        "other",
        "--id",
        "0f",
        "--usage-sign",
        "--sensitive",
    ]));
    deployment.edit(|config| config["hardware"]["softhsm"]["signing_key"] = value("other"));
    signal(mint.keeper_pid(), Signal::SIGKILL);
    mint.wait_for("the keeper refused to start and is not tried again");
    mint.client_credentials().assert_error(503, "temporarily_unavailable");
}

#[test]
fn a_token_that_is_gone_is_waited_for() {
    let deployment = Deployment::new();
    let mint = deployment.serve();
    let (tokens, hidden) = (deployment.path("softhsm/tokens"), deployment.path("softhsm/hidden"));
    fs::rename(&tokens, &hidden).unwrap();
    fs::create_dir(&tokens).unwrap();
    signal(mint.keeper_pid(), Signal::SIGKILL);
    mint.wait_for("the keeper did not start");
    fs::remove_dir(&tokens).unwrap();
    fs::rename(&hidden, &tokens).unwrap();
    mint.wait_for("the keeper is back");
    mint.client_credentials().text("access_token");
}
