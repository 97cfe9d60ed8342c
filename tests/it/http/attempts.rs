use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};

use toml_edit::{Array, value};

use crate::support::running::{basic, form};
use crate::support::{API, Answer, Deployment, RunningMint, SERVICE, WORKLOAD};

const FAILED: &str = "mintkeep_failed_attempts_total";
const OVER: &str = "mintkeep_failed_attempts_over_limit_total";

/// More than a test can use up.
const PLENTY: i64 = 1000;

/// A refresh token grant that fails in the name of a client.
fn failure_of(client: &str) -> String {
    form(&[("grant_type", "refresh_token"), ("client_id", client), ("refresh_token", "made up")])
}

#[track_caller]
fn assert_over_limit(answer: &Answer, code: &str) {
    answer.assert_error(429, code);
    assert_eq!(answer.header("retry-after"), Some("1"), "{answer:?}");
}

/// Uses up a budget of one: the next failure is over it.
#[track_caller]
fn fail_once(mint: &RunningMint) {
    mint.refresh("made up").assert_error(400, "invalid_grant");
}

#[test]
fn failures_beyond_the_budget_are_told_so_with_the_error_that_they_are() {
    let deployment = Deployment::new();
    deployment.limit_failed_attempts(2, PLENTY);
    deployment.add_resource_server("https://api.example.com");
    let mint = deployment.serve();
    for _ in 0..2 {
        fail_once(&mint);
    }
    assert_eq!((mint.metric(FAILED), mint.metric(OVER)), (2, 0));
    assert_over_limit(&mint.refresh("made up"), "invalid_grant");
    let wrong = mint.post_form(&[&basic(SERVICE, "wrong")], "grant_type=client_credentials");
    assert_over_limit(&wrong, "invalid_client");
    assert!(wrong.header("www-authenticate").is_some(), "RFC 6749 §5.2: {wrong:?}");
    assert_over_limit(&mint.post_form(&["Authorization: Bearer x"], ""), "invalid_client");
    let others = mint.client_credentials().text("access_token");
    let revocation = form(&[("client_id", WORKLOAD), ("token", &others)]);
    assert_over_limit(&mint.post_form_to("/oauth/revoke", &[], &revocation), "invalid_grant");
    let wrong = mint.post_form_to("/oauth/introspect", &[&basic(API, "wrong")], "token=x");
    assert_over_limit(&wrong, "invalid_client");
    assert_eq!((mint.metric(FAILED), mint.metric(OVER)), (7, 5));
    // Mistakes are no attempts, and are answered as ever.
    mint.post_form(&[], "grant_type=refresh_token&client_id=x&client_id=x").assert_error(400, "invalid_request");
    assert_eq!(mint.metric(FAILED), 7);
}

#[test]
fn a_flood_of_failures_is_one_line_of_the_log() {
    let deployment = Deployment::new();
    deployment.limit_failed_attempts(1, 1);
    // No answer is held back, so that there are many soon.
    deployment.edit(|config| config["listen"]["max_connections"] = value(3));
    let mint = deployment.serve();
    fail_once(&mint);
    for _ in 0..20 {
        assert_over_limit(&mint.refresh("made up"), "invalid_grant");
    }
    let event = mint.wait_for("failed attempts are over a limit; their answers are held back");
    assert_eq!(event["fields"]["source"], "127.0.0.1");
    assert_eq!(event["fields"]["client"], WORKLOAD);
    mint.client_credentials().text("access_token");
    assert_eq!(mint.log().matches("failed attempts are over a limit").count(), 1, "{}", mint.log());
}

#[test]
fn a_good_request_is_answered_whatever_failed_in_its_name() {
    let deployment = Deployment::new();
    deployment.limit_failed_attempts(1, 1);
    let mint = deployment.serve();
    let mut token = deployment.grant();
    for _ in 0..3 {
        assert!([400, 429].contains(&mint.refresh("made up").status));
        token = mint.refresh(&token).text("refresh_token");
        let wrong = mint.post_form(&[&basic(SERVICE, "wrong")], "grant_type=client_credentials");
        assert_over_limit(&wrong, "invalid_client");
        mint.client_credentials().text("access_token");
    }
    assert_eq!(mint.metric(OVER), 5);
}

#[test]
fn each_source_has_a_budget_of_its_own() {
    let deployment = Deployment::new();
    deployment.limit_failed_attempts(1, PLENTY);
    let mint = deployment.serve();
    fail_once(&mint);
    assert_over_limit(&mint.refresh("made up"), "invalid_grant");
    let other = Ipv4Addr::new(127, 0, 0, 2);
    let fail = |client: &str| mint.post_form_from(other, &[], &failure_of(client));
    fail(WORKLOAD).assert_error(400, "invalid_grant");
    // Whomever it names.
    assert_over_limit(&fail("nobody"), "invalid_client");
}

#[test]
fn the_budget_of_a_client_is_used_from_wherever_it_is_named() {
    let deployment = Deployment::new();
    deployment.limit_failed_attempts(PLENTY, 2);
    let mint = deployment.serve();
    let mut last = 1;
    let mut fail = |client: &str| {
        last += 1;
        mint.post_form_from(Ipv4Addr::new(127, 0, 0, last), &[], &failure_of(client))
    };
    fail(WORKLOAD).assert_error(400, "invalid_grant");
    fail(WORKLOAD).assert_error(400, "invalid_grant");
    assert_over_limit(&fail(WORKLOAD), "invalid_grant");
    // Others are not concerned, and names that nobody has are no clients.
    fail(SERVICE).assert_error(401, "invalid_client");
    for _ in 0..3 {
        fail("nobody").assert_error(401, "invalid_client");
    }
}

#[test]
fn who_forwarded_a_request_is_believed_of_a_trusted_proxy_only() {
    let deployment = Deployment::new();
    deployment.limit_failed_attempts(1, PLENTY);
    let proxies = ["127.0.0.2", "127.1.0.0/16"];
    deployment.edit(|config| config["listen"]["trusted_proxies"] = value(proxies.into_iter().collect::<Array>()));
    let mint = deployment.serve();
    let fail = |peer: [u8; 4], forwarded_for: &str| {
        let header = format!("X-Forwarded-For: {forwarded_for}");
        mint.post_form_from(peer.into(), &[&header], &failure_of(WORKLOAD))
    };
    fail([127, 0, 0, 1], "192.0.2.1").assert_error(400, "invalid_grant");
    assert_over_limit(&fail([127, 0, 0, 1], "192.0.2.2"), "invalid_grant");
    // Through one proxy or through two, with whatever the client itself wrote before it.
    fail([127, 0, 0, 2], "192.0.2.1").assert_error(400, "invalid_grant");
    fail([127, 0, 0, 2], "192.0.2.2").assert_error(400, "invalid_grant");
    assert_over_limit(&fail([127, 0, 0, 2], "192.0.2.3, 192.0.2.1"), "invalid_grant");
    assert_over_limit(&fail([127, 1, 0, 1], "192.0.2.2, 127.0.0.2"), "invalid_grant");
}

#[test]
fn answers_that_are_held_back_block_nobody() {
    let deployment = Deployment::new();
    deployment.limit_failed_attempts(1, PLENTY);
    let mint = deployment.serve();
    let mut token = deployment.grant();
    fail_once(&mint);
    std::thread::scope(|scope| {
        let failing: Vec<_> = (0..16).map(|_| scope.spawn(|| mint.refresh("made up"))).collect();
        for _ in 0..50 {
            token = mint.refresh(&token).text("refresh_token");
        }
        for failing in failing {
            assert_over_limit(&failing.join().unwrap(), "invalid_grant");
        }
    });
}

#[test]
fn an_answer_that_cannot_be_held_back_ends_its_connection() {
    let deployment = Deployment::new();
    deployment.limit_failed_attempts(1, PLENTY);
    // One in four is left to good requests, and three are no four.
    deployment.edit(|config| config["listen"]["max_connections"] = value(3));
    let mint = deployment.serve();
    fail_once(&mint);
    let body = failure_of(WORKLOAD);
    let request = format!(
        "POST /oauth/token HTTP/1.1\r\nHost: mint\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    let mut stream = TcpStream::connect(mint.address()).unwrap();
    // The second is not read any more.
    stream.write_all(request.repeat(2).as_bytes()).unwrap();
    let mut answers = String::new();
    let _ = stream.read_to_string(&mut answers);
    assert_eq!(answers.matches("HTTP/1.1 429").count(), 1, "{answers}");
    assert!(answers.contains("connection: close\r\n"), "{answers}");
    assert_eq!(mint.metric(FAILED), 2);
}

#[test]
fn an_answer_that_is_held_back_arrives_also_at_the_end() {
    let deployment = Deployment::new();
    deployment.limit_failed_attempts(1, PLENTY);
    let mint = deployment.serve();
    fail_once(&mint);
    let address = mint.address();
    std::thread::scope(|scope| {
        let failing = scope.spawn(|| crate::support::running::try_refresh_at(address, "made up"));
        mint.wait_for("failed attempts are over a limit; their answers are held back");
        crate::support::process::signal(mint.pid(), nix::sys::signal::Signal::SIGTERM);
        mint.wait_for("ending");
        assert_over_limit(&failing.join().unwrap().expect("an answer"), "invalid_grant");
    });
    assert!(mint.ended().success());
}

#[test]
fn forged_tokens_leave_room_in_the_queue_of_the_hardware() {
    let deployment = Deployment::new();
    deployment.allow_failed_attempts();
    deployment.edit(|config| {
        config["keeper"] = toml_edit::table();
        config["keeper"]["queue"] = value(4);
    });
    let mint = deployment.serve();
    let token = deployment.grant();
    // Its family is a live one, so it reaches the hardware, and does not open.
    let last = if token.ends_with('A') { 'Q' } else { 'A' };
    let forged = format!("{}{last}", &token[..token.len() - 1]);
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for _ in 0..16 {
            scope.spawn(|| {
                while !done.load(Ordering::Relaxed) {
                    mint.refresh(&forged).assert_error(400, "invalid_grant");
                }
            });
        }
        let answers: Vec<Answer> = (0..100).map(|_| mint.client_credentials()).collect();
        done.store(true, Ordering::Relaxed);
        for answer in answers {
            answer.text("access_token");
        }
    });
}
