use serde_json::Value;

use crate::support::running::{basic, form};
use crate::support::{API, Answer, Deployment, RunningMint, SERVICE, WORKLOAD};

fn revoke(mint: &RunningMint, client: &str, token: &str) -> Answer {
    mint.post_form_to("/oauth/revoke", &[], &form(&[("client_id", client), ("token", token)]))
}

#[track_caller]
fn assert_revoked(answer: &Answer) {
    assert_eq!((answer.status, answer.body.as_str()), (200, ""), "{answer:?}");
    assert_eq!(answer.header("cache-control"), Some("no-store"));
}

fn is_active(deployment: &Deployment, mint: &RunningMint, token: &str) -> bool {
    let header = basic(API, &deployment.secret);
    let answer = mint.post_form_to("/oauth/introspect", &[&header], &form(&[("token", token)]));
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.json()["active"] == Value::Bool(true)
}

#[test]
fn a_revoked_refresh_token_ends_its_family_and_all_access_tokens_of_it() {
    let deployment = Deployment::new();
    deployment.add_resource_server("https://api.example.com");
    let mint = deployment.serve();
    let (first, other) = (deployment.grant(), mint.refresh(&deployment.grant()));
    let answer = mint.refresh(&first);
    let (second, access) = (answer.text("refresh_token"), answer.text("access_token"));
    assert!(is_active(&deployment, &mint, &access));
    assert_revoked(&revoke(&mint, WORKLOAD, &second));
    mint.refresh(&second).assert_error(400, "invalid_grant");
    assert!(!is_active(&deployment, &mint, &access));
    // Others are as they were; and a second time is a success too (RFC 7009 §2.2).
    assert!(is_active(&deployment, &mint, &other.text("access_token")));
    mint.refresh(&other.text("refresh_token")).text("access_token");
    assert_revoked(&revoke(&mint, WORKLOAD, &second));
    // It lasts.
    drop(mint);
    let mint = deployment.serve();
    mint.refresh(&second).assert_error(400, "invalid_grant");
    assert!(!is_active(&deployment, &mint, &access));
}

#[test]
fn an_older_refresh_token_of_the_family_revokes_it_too() {
    let deployment = Deployment::new();
    let mint = deployment.serve();
    let first = deployment.grant();
    let second = mint.refresh(&first).text("refresh_token");
    let third = mint.refresh(&second).text("refresh_token");
    assert_revoked(&revoke(&mint, WORKLOAD, &first));
    mint.refresh(&third).assert_error(400, "invalid_grant");
}

#[test]
fn a_revoked_access_token_ends_alone() {
    let deployment = Deployment::new();
    deployment.add_resource_server("https://api.example.com");
    let mint = deployment.serve();
    let first = mint.refresh(&deployment.grant());
    let second = mint.refresh(&first.text("refresh_token"));
    assert_revoked(&revoke(&mint, WORKLOAD, &first.text("access_token")));
    assert!(!is_active(&deployment, &mint, &first.text("access_token")));
    assert!(is_active(&deployment, &mint, &second.text("access_token")));
    mint.refresh(&second.text("refresh_token")).text("access_token");
}

#[test]
fn only_the_owner_revokes_and_only_by_a_token_that_opens() {
    let deployment = Deployment::new();
    deployment.add_client(
        "id = \"other\"\nauthentication = \"none\"\ngrants = [\"refresh_token\"]\nscope = \"s\"\naudience = \"https://a.example\"",
    );
    let mint = deployment.serve();
    let token = deployment.grant();
    revoke(&mint, "other", &token).assert_error(400, "invalid_grant");
    let access = mint.client_credentials().text("access_token");
    revoke(&mint, WORKLOAD, &access).assert_error(400, "invalid_grant");
    // The family's handle is no secret: a made-up token with it revokes nothing, and says nothing.
    let (header, _) = token.split_once('.').unwrap();
    assert_revoked(&revoke(&mint, WORKLOAD, &format!("{header}..AAAAAAAAAAAAAAAA.AAAA.AAAAAAAAAAAAAAAAAAAAAA")));
    mint.refresh(&token).text("access_token");
}

#[test]
fn a_token_that_is_none_is_a_success_and_a_request_that_is_none_an_error() {
    let deployment = Deployment::new();
    let mint = deployment.serve();
    for token in ["x", "a.b.c", "....", &"A".repeat(10_000)] {
        assert_revoked(&revoke(&mint, WORKLOAD, token));
    }
    let post = |headers: &[&str], form: &str| mint.post_form_to("/oauth/revoke", headers, form);
    post(&[], &format!("client_id={WORKLOAD}")).assert_error(400, "invalid_request");
    post(&[], "token=x").assert_error(401, "invalid_client");
    post(&[], &format!("client_id={SERVICE}&token=x")).assert_error(401, "invalid_client");
    post(&[&basic(SERVICE, "wrong")], "token=x").assert_error(401, "invalid_client");
    assert_revoked(&post(&[&mint.basic()], "token=x&token_type_hint=refresh_token"));
    assert_eq!(mint.get("/oauth/revoke").status, 405);
}
