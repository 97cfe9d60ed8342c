//! The limits that clients are registered with, against the running mint.

use nix::sys::signal::Signal;
use toml_edit::value;

use crate::support::faulty::FaultyModule;
use crate::support::process::{eventually, signal};
use crate::support::running::basic;
use crate::support::{Answer, Deployment, RunningMint, SERVICE, WORKLOAD};

const REFUSED: &str = "mintkeep_client_limit_refusals_total";

fn limit(deployment: &Deployment, client: &str, setting: &str, number: i64) {
    deployment.edit(|config| {
        let clients = config["client"].as_array_of_tables_mut().expect("clients");
        let client = clients.iter_mut().find(|table| table["id"].as_str() == Some(client)).expect("the client");
        client[setting] = value(number);
    });
}

fn reload(mint: &RunningMint) {
    signal(mint.pid(), Signal::SIGHUP);
    mint.wait_for("the registrations were read again");
}

#[track_caller]
fn assert_over_limit(answer: &Answer) {
    answer.assert_error(429, "temporarily_unavailable");
    assert_eq!(answer.header("retry-after"), Some("1"), "{answer:?}");
}

/// Asks until the client is over its limit: two requests in the same second are enough.
fn until_over_limit(mut ask: impl FnMut() -> Answer) -> Answer {
    (0..1000).map(|_| ask()).find(|answer| answer.status != 200).expect("a limit")
}

#[test]
fn a_client_over_its_rate_is_told_so_and_others_are_served() {
    let deployment = Deployment::new();
    limit(&deployment, SERVICE, "requests_per_second", 1);
    let mint = deployment.serve();
    assert_over_limit(&until_over_limit(|| mint.client_credentials()));
    let event = mint.wait_for("a client is over a limit of its own");
    assert_eq!(
        (&event["fields"]["client"], &event["fields"]["limit"]),
        (&SERVICE.into(), &"requests_per_second".into())
    );
    let mut token = deployment.grant();
    for _ in 0..10 {
        token = mint.refresh(&token).text("refresh_token");
    }
    let refused = mint.metric(REFUSED);
    assert!(refused >= 1);
    // It is for some requests that it waits, and not for good.
    eventually(|| mint.client_credentials().status == 200);
}

#[test]
fn a_refresh_token_that_is_refused_over_a_limit_is_good_on_and_nothing_was_made_for_it() {
    let deployment = Deployment::new();
    limit(&deployment, WORKLOAD, "requests_per_second", 1);
    let mint = deployment.serve();
    let made = || {
        let count = |name: &str| mint.metric(&format!("mintkeep_keeper_{name}_requested_total"));
        (count("signatures"), count("seals"))
    };
    let (mut token, mut before) = (deployment.grant(), made());
    let refused = until_over_limit(|| {
        before = made();
        let answer = mint.refresh(&token);
        if answer.status == 200 {
            token = answer.text("refresh_token");
        }
        answer
    });
    assert_over_limit(&refused);
    assert_eq!(made(), before);
    let mut answer = mint.refresh(&token);
    while answer.status == 429 {
        answer = mint.refresh(&token);
    }
    mint.wait_for("a client is over a limit of its own");
    assert_ne!(answer.text("refresh_token"), token);
}

/// The first request gets no signature as long as its keeper lives.
#[test]
fn so_many_requests_of_a_client_are_served_at_a_time_as_it_is_registered_for_now() {
    let deployment = Deployment::new();
    limit(&deployment, SERVICE, "concurrent_requests", 1);
    deployment.edit(|config| {
        config["listen"]["request_timeout"] = value("1h");
        for limit in ["request_timeout", "hang_timeout"] {
            config["keeper"][limit] = value("1h");
        }
    });
    let faulty = FaultyModule::before(&deployment);
    let mint = deployment.serve();
    mint.client_credentials().text("access_token");
    faulty.script("C_Sign 1 hang");
    std::thread::scope(|scope| {
        let first = scope.spawn(|| mint.client_credentials());
        eventually(|| faulty.has_happened());
        assert_over_limit(&mint.client_credentials());
        // Only what is granted counts.
        mint.post_form(&[&basic(SERVICE, "wrong")], "grant_type=client_credentials")
            .assert_error(401, "invalid_client");
        mint.post_form(&[&mint.basic()], "grant_type=client_credentials&scope=other")
            .assert_error(400, "invalid_scope");
        assert_eq!(mint.metric(REFUSED), 1);
        mint.refresh(&deployment.grant()).text("access_token");
        limit(&deployment, SERVICE, "concurrent_requests", 2);
        reload(&mint);
        mint.client_credentials().text("access_token");
        limit(&deployment, SERVICE, "concurrent_requests", 1);
        reload(&mint);
        assert_over_limit(&mint.client_credentials());
        faulty.script("");
        signal(mint.keeper_pid(), Signal::SIGKILL);
        first.join().unwrap();
    });
    eventually(|| mint.client_credentials().status == 200);
    assert_eq!(mint.metric(REFUSED), 2);
}
