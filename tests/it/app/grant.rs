use crate::support::process::one_line_of_error;
use crate::support::{Deployment, SERVICE, WORKLOAD, jose};

#[test]
fn a_grant_before_the_start_and_one_beside_a_running_mint_both_work() {
    let deployment = Deployment::new();
    let before = deployment.grant();
    let mint = deployment.serve();
    let beside = deployment.grant();
    for token in [before, beside] {
        let access = mint.refresh(&token).text("access_token");
        assert_eq!(jose::verified(&mint, &access, "https://api.example.com")["sub"], "deploy@example.com");
    }
}

#[test]
fn a_grant_is_for_the_scope_that_it_says() {
    let deployment = Deployment::new();
    let grant =
        deployment.run_json(&["grant", "issue", "--client", WORKLOAD, "--subject", "s", "--scope", "read:metrics"]);
    assert_eq!(grant["scope"], "read:metrics");
    let mint = deployment.serve();
    assert_eq!(mint.refresh(grant["refresh_token"].as_str().unwrap()).json()["scope"], "read:metrics");
}

#[test]
fn what_may_not_be_granted_is_refused_with_the_mint_running_or_not() {
    let deployment = Deployment::new();
    let refused = |words: &[&str]| one_line_of_error(&deployment.run(&[&["grant", "issue"], words].concat()), 7);
    let check = || {
        assert!(refused(&["--client", "nobody", "--subject", "s"]).contains("invalid_client"));
        assert!(refused(&["--client", SERVICE, "--subject", "s"]).contains("unauthorized_client"));
        assert!(refused(&["--client", WORKLOAD, "--subject", ""]).contains("invalid_request"));
        assert!(refused(&["--client", WORKLOAD, "--subject", "a\nb"]).contains("invalid_request"));
        assert!(refused(&["--client", WORKLOAD, "--subject", &"a".repeat(256)]).contains("invalid_request"));
        assert!(refused(&["--client", WORKLOAD, "--subject", SERVICE]).contains("invalid_request"));
        assert!(refused(&["--client", WORKLOAD, "--subject", "s", "--scope", "admin"]).contains("invalid_scope"));
    };
    check();
    let mint = deployment.serve();
    check();
    drop(mint);
}
