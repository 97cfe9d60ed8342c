use serde_json::Value;

use crate::support::process::one_line_of_error;
use crate::support::{Deployment, SERVICE, WORKLOAD};

fn sessions(deployment: &Deployment, words: &[&str]) -> Vec<Value> {
    let list = deployment.run_json(&[&["sessions", "list"], words].concat());
    list["sessions"].as_array().unwrap().clone()
}

fn revoke(deployment: &Deployment, words: &[&str]) -> u64 {
    deployment.run_json(&[&["sessions", "revoke"], words].concat())["revoked"].as_u64().unwrap()
}

fn grant(deployment: &Deployment, subject: &str) -> (String, String) {
    let grant = deployment.run_json(&["grant", "issue", "--client", WORKLOAD, "--subject", subject]);
    let text = |name: &str| grant[name].as_str().unwrap().to_owned();
    (text("refresh_token"), text("family"))
}

#[test]
fn sessions_are_listed_and_revoked_with_the_mint_running() {
    let deployment = Deployment::new();
    let mint = deployment.serve();
    let ((one, family), (two, _), (three, _)) =
        (grant(&deployment, "one"), grant(&deployment, "two"), grant(&deployment, "three"));
    assert_eq!(sessions(&deployment, &[]).len(), 3);
    let listed = sessions(&deployment, &["--family", &family]);
    assert_eq!(listed.len(), 1);
    assert_eq!((&listed[0]["subject"], &listed[0]["client_id"]), (&Value::from("one"), &Value::from(WORKLOAD)));
    assert!(listed[0].get("revoked_at").is_none());

    // A handle may begin with a hyphen.
    assert!(sessions(&deployment, &["--family", "-AAAAAAAAAAAAAAAAAAAAA"]).is_empty());
    assert_eq!(revoke(&deployment, &["--family", &family]), 1);
    mint.refresh(&one).assert_error(400, "invalid_grant");
    assert!(sessions(&deployment, &["--family", &family])[0]["revoked_at"].is_number());
    assert_eq!(revoke(&deployment, &["--client", WORKLOAD, "--subject", "two"]), 1);
    mint.refresh(&two).assert_error(400, "invalid_grant");
    assert_eq!(revoke(&deployment, &["--client", SERVICE]), 0);
    assert_eq!(revoke(&deployment, &["--issued-before", "2020-01-01T00:00:00Z"]), 0);
    let third = mint.refresh(&three).text("refresh_token");
    assert_eq!(revoke(&deployment, &["--issued-before", "2100-01-01T00:00:00Z"]), 1);
    mint.refresh(&third).assert_error(400, "invalid_grant");
    let (four, _) = grant(&deployment, "four");
    assert_eq!(revoke(&deployment, &["--all"]), 1);
    mint.refresh(&four).assert_error(400, "invalid_grant");
    mint.wait_for("sessions were revoked by an operator");
}

#[test]
fn a_revocation_without_a_running_mint_holds_when_it_runs() {
    let deployment = Deployment::new();
    let (token, _) = grant(&deployment, "one");
    assert_eq!(sessions(&deployment, &["--subject", "one"]).len(), 1);
    assert_eq!(revoke(&deployment, &["--subject", "one"]), 1);
    deployment.serve().refresh(&token).assert_error(400, "invalid_grant");
}

#[test]
fn everything_is_revoked_only_where_that_is_said() {
    let deployment = Deployment::new();
    let (token, _) = grant(&deployment, "one");
    let refused = |words: &[&str]| one_line_of_error(&deployment.run(&[&["sessions"], words].concat()), 7);
    let check = || {
        assert!(refused(&["revoke"]).contains("or all"));
        assert!(refused(&["revoke", "--family", "x"]).contains("family: expected"));
        assert!(refused(&["list", "--issued-before", "yesterday"]).contains("issued_before: expected"));
    };
    check();
    let mint = deployment.serve();
    check();
    mint.refresh(&token).text("access_token");
}

#[test]
fn a_long_list_comes_in_parts_and_is_complete() {
    let deployment = Deployment::new();
    let mint = deployment.serve();
    let families: Vec<String> = (0..5).map(|number| grant(&deployment, &format!("s{number}")).1).collect();
    let mut listed = Vec::new();
    let mut after = String::new();
    loop {
        let part = mint.admin(&format!("/admin/v1/sessions?limit=2{after}")).json();
        listed.extend(part["sessions"].as_array().unwrap().iter().map(|session| session["family"].clone()));
        let Some(next) = part["next"].as_str() else { break };
        after = format!("&after={next}");
    }
    let mut expected: Vec<Value> = families.into_iter().map(Value::from).collect();
    expected.sort_by_key(|family| listed.iter().position(|other| other == family));
    assert_eq!(listed, expected);
    for bad in ["limit=0", "limit=1001", "limit=x", "client=x", "after=x"] {
        mint.admin(&format!("/admin/v1/sessions?{bad}")).assert_error(400, "invalid_request");
    }
}
