//! `mintkeep trust`: what the policies say of tokens shaped like those of the platforms that issue them.

use std::fs;
use std::io::Write as _;
use std::process::{Output, Stdio};

use mintkeep::jose::base64url;
use p256::ecdsa::signature::Signer as _;
use p256::ecdsa::{Signature, SigningKey};
use serde_json::{Value, json};

use crate::support::Deployment;
use crate::support::process::one_line_of_error;

const MINT: &str = "https://mint.example.com";
const FAR: i64 = 4_000_000_000;

/// One policy for each platform, and one that matches GitHub by its name only.
const POLICIES: &str = r#"
[[trust]]
name = "github-release"
issuer = "https://token.actions.githubusercontent.com"
audience = "https://mint.example.com"
match = { repository_id = "74", ref = { pattern = "refs/heads/release/*" } }
client = "ci-cd-pipeline-runner"

[[trust]]
name = "github-production"
issuer = "https://token.actions.githubusercontent.com"
audience = "https://mint.example.com"
match = { repository_owner_id = "65", repository_id = "74", ref = "refs/heads/main", environment = ["production", "staging"], job_workflow_ref = { pattern = "octo-org/octo-automation/.github/workflows/oidc.yml@refs/heads/*" } }
client = "ci-cd-pipeline-runner"
scope = "write:deployments"
lifetime = "2m"

[[trust]]
name = "gitlab-protected"
issuer = "https://gitlab.example.com"
audience = "https://mint.example.com"
match = { namespace_id = "72", project_id = "20", ref_type = "branch", ref_protected = "true" }
client = "ci-cd-pipeline-runner"

[[trust]]
name = "cluster-deployer"
issuer = "https://kubernetes.default.svc.cluster.local"
audience = "https://mint.example.com"
match = { "/kubernetes.io/namespace" = "prod", "/kubernetes.io/serviceaccount/uid" = "14ee3fa4-a7e2-420f-9f9a-dbc4507c3798" }
client = "ci-cd-pipeline-runner"
subject = "deployer"

[[trust]]
name = "spiffe-deployer"
issuer = "https://spire.example.com"
audience = "https://mint.example.com"
match = { sub = { pattern = "spiffe://example.org/ns/*/sa/deployer" } }
client = "billing-service"
actors = ["cluster-deployer"]

[[trusted_issuer]]
issuer = "https://spire.example.com"
jwks_file = "spire.json"
"#;

/// <https://docs.github.com/en/actions/reference/security/oidc>.
fn github() -> Value {
    json!({
        "jti": "example-id", "sub": "repo:octo-org/octo-repo:environment:production", "environment": "production",
        "aud": MINT, "ref": "refs/heads/main", "sha": "example-sha", "repository": "octo-org/octo-repo",
        "repository_owner": "octo-org", "actor_id": "12", "repository_visibility": "private", "repository_id": "74",
        "repository_owner_id": "65", "run_id": "example-run-id", "run_number": "10", "run_attempt": "2",
        "runner_environment": "github-hosted", "actor": "octocat",
        "workflow": "example-workflow", "head_ref": "", "base_ref": "", "event_name": "workflow_dispatch",
        "ref_type": "branch",
        "workflow_ref": "octo-org/octo-repo/.github/workflows/deploy.yml@refs/heads/main",
        "job_workflow_ref": "octo-org/octo-automation/.github/workflows/oidc.yml@refs/heads/main",
        "iss": "https://token.actions.githubusercontent.com", "nbf": 1_632_492_967, "exp": FAR, "iat": 1_632_493_567,
    })
}

/// <https://docs.gitlab.com/ci/secrets/id_token_authentication/>.
fn gitlab() -> Value {
    json!({
        "namespace_id": "72", "namespace_path": "my-group", "project_id": "20", "project_path": "my-group/my-project",
        "user_id": "1", "user_login": "sample-user", "user_email": "sample-user@example.com",
        "user_identities": [{"provider": "github", "extern_uid": "2435223452345"}],
        "pipeline_id": "574", "pipeline_source": "push", "job_id": "302", "ref": "feature-branch-1",
        "ref_type": "branch", "ref_path": "refs/heads/feature-branch-1", "ref_protected": "true",
        "groups_direct": ["mygroup/mysubgroup"], "environment": "test-environment2", "environment_protected": "false",
        "deployment_tier": "testing", "runner_id": 1, "runner_environment": "self-hosted", "sha": "714a629c",
        "project_visibility": "public", "jti": "235b3a54-b797-45c7-ae9a-f72d7bc6ef5b",
        "iss": "https://gitlab.example.com", "iat": 1_681_395_193, "nbf": 1_681_395_188, "exp": FAR,
        "sub": "project_path:my-group/my-project:ref_type:branch:ref:feature-branch-1", "aud": MINT,
    })
}

/// <https://kubernetes.io/docs/reference/access-authn-authz/service-accounts-admin/>.
fn kubernetes() -> Value {
    json!({
        "aud": [MINT], "exp": FAR, "iat": 1_700_081_405, "nbf": 1_700_081_405, "jti": "aed34954",
        "iss": "https://kubernetes.default.svc.cluster.local",
        "kubernetes.io": {
            "namespace": "prod",
            "node": {"name": "127.0.0.1", "uid": "58456cb0-dd00-45ed-b797-5578fdceaced"},
            "pod": {"name": "deployer-69cbfb9798-jv9gn", "uid": "778a530c-b3f4-47c0-9cd5-ab018fb64f33"},
            "serviceaccount": {"name": "deployer", "uid": "14ee3fa4-a7e2-420f-9f9a-dbc4507c3798"},
            "warnafter": 1_700_085_012,
        },
        "sub": "system:serviceaccount:prod:deployer",
    })
}

/// <https://github.com/spiffe/spiffe/blob/main/standards/JWT-SVID.md>.
fn spiffe() -> Value {
    json!({
        "sub": "spiffe://example.org/ns/prod/sa/deployer", "aud": [MINT], "exp": FAR, "iat": 1_700_000_000,
        "iss": "https://spire.example.com",
    })
}

fn with(mut claims: Value, name: &str, value: Value) -> Value {
    claims[name] = value;
    claims
}

/// `claims` in a JWT, signed by nobody of whom anything is known.
fn token(claims: &Value) -> String {
    token_of(&claims.to_string())
}

fn token_of(claims: &str) -> String {
    let header = json!({"typ": "JWT", "alg": "RS256", "kid": "38826b17-6a30-5f9b-b169-8beb8202f723"});
    format!(
        "{}.{}.{}",
        base64url::encode(header.to_string()),
        base64url::encode(claims),
        base64url::encode("signature")
    )
}

fn deployment() -> Deployment {
    let deployment = Deployment::without_token();
    add(&deployment, POLICIES);
    fs::write(deployment.path("spire.json"), json!({"keys": [key().1]}).to_string()).unwrap();
    deployment
}

fn add(deployment: &Deployment, tables: &str) {
    fs::write(deployment.config_path(), format!("{}\n{tables}", deployment.config_text())).unwrap();
}

/// A key of the SPIFFE issuer, and its public half as a JWK.
fn key() -> (SigningKey, Value) {
    let key = SigningKey::from_slice(&[7; 32]).unwrap();
    let point = key.verifying_key().to_sec1_point(false);
    let part = |bytes: Option<&p256::FieldBytes>| base64url::encode(bytes.unwrap());
    (key.clone(), json!({"kty": "EC", "crv": "P-256", "kid": "spire", "x": part(point.x()), "y": part(point.y())}))
}

/// `mintkeep trust test` of `token`, with `more` options.
#[track_caller]
fn test(deployment: &Deployment, token: &str, more: &[&str]) -> Output {
    fs::write(deployment.path("token"), format!("{token}\n")).unwrap();
    let output = deployment.run(&[&["trust", "test", "--token", "token"], more].concat());
    for text in [&output.stdout, &output.stderr].map(|text| String::from_utf8_lossy(text)) {
        for part in token.split('.').filter(|part| part.len() > 8) {
            assert!(!text.contains(part), "the token is in {text}");
        }
    }
    output
}

#[track_caller]
fn trial(deployment: &Deployment, claims: &Value) -> (Option<i32>, Value) {
    let output = test(deployment, &token(claims), &["--json"]);
    let error = String::from_utf8_lossy(&output.stderr);
    (output.status.code(), serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{error}")))
}

/// What the policy `name` does not match.
fn mismatch<'a>(trial: &'a Value, name: &str) -> &'a str {
    let policies = trial["policies"].as_array().unwrap();
    let policy = policies.iter().find(|policy| policy["name"] == name).expect("each policy says something");
    policy["mismatch"].as_str().unwrap_or_default()
}

#[test]
fn a_token_of_each_platform_is_taken_by_the_policy_for_it() {
    let deployment = deployment();
    for (claims, expected) in [
        (github(), "github-production"),
        (with(github(), "ref", json!("refs/heads/release/1.0")), "github-release"),
        (gitlab(), "gitlab-protected"),
        (kubernetes(), "cluster-deployer"),
        (spiffe(), "spiffe-deployer"),
    ] {
        let (_, trial) = trial(&deployment, &claims);
        assert_eq!(trial["policy"]["name"], expected, "{trial:#}");
        assert_eq!(mismatch(&trial, expected), "");
        assert_eq!(trial["policies"].as_array().unwrap().len(), 5);
        let others = trial["policies"].as_array().unwrap().iter().filter(|policy| policy["name"] != expected);
        assert!(
            others.clone().count() == 4 && others.clone().all(|policy| policy["mismatch"].is_string()),
            "{trial:#}"
        );
    }
    let (code, trial) = trial(&deployment, &github());
    assert_eq!(code, Some(0));
    let policy = &trial["policy"];
    assert_eq!((&policy["client"], &policy["scope"]), (&json!("ci-cd-pipeline-runner"), &json!("write:deployments")));
    assert_eq!(policy["lifetime_seconds"], 120);
    assert_eq!(trial["untimely"], Value::Null);
}

#[test]
fn what_is_wrong_first_is_told_and_the_exit_code_is_7_where_no_policy_matches() {
    let deployment = deployment();
    let mut other_account = kubernetes();
    other_account["kubernetes.io"]["serviceaccount"]["uid"] = json!("another");
    for (claims, policy, expected) in [
        (
            with(github(), "ref", json!("refs/heads/release/1/0")),
            "github-release",
            r#"claim "ref" is "refs/heads/release/1/0" and not like "refs/heads/release/*""#,
        ),
        (
            with(github(), "environment", json!("test")),
            "github-production",
            r#"claim "environment" is "test" and not "production" or "staging""#,
        ),
        (with(github(), "repository_id", json!(74)), "github-release", r#"claim "repository_id" is 74 and not "74""#),
        (with(github(), "aud", json!("https://github.com/octo-org")), "github-release", "the audience is"),
        (with(gitlab(), "ref_protected", json!("false")), "gitlab-protected", r#"is "false" and not "true""#),
        (with(gitlab(), "ref_protected", json!(true)), "gitlab-protected", r#"is true and not "true""#),
        (with(gitlab(), "project_id", json!(["20"])), "gitlab-protected", "is a list"),
        (other_account, "cluster-deployer", r#"claim "/kubernetes.io/serviceaccount/uid" is "another""#),
        (with(kubernetes(), "kubernetes.io", json!({})), "cluster-deployer", r#""/kubernetes.io/namespace" is absent"#),
        (with(kubernetes(), "aud", json!([MINT, "other"])), "cluster-deployer", "several audiences"),
        (with(spiffe(), "sub", json!("spiffe://example.org/ns/a/b/sa/deployer")), "spiffe-deployer", "and not like"),
        (with(spiffe(), "iss", json!("https://spire.example.com/")), "spiffe-deployer", "the issuer is"),
    ] {
        let (code, trial) = trial(&deployment, &claims);
        assert!(mismatch(&trial, policy).contains(expected), "{expected} is not in {trial:#}");
        assert_eq!((code, &trial["policy"]), (Some(7), &Value::Null), "{trial:#}");
    }
}

#[test]
fn people_read_which_policy_is_used_and_why_the_others_are_not() {
    let deployment = deployment();
    let output = test(&deployment, &token(&github()), &[]);
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(0), "{text}");
    for expected in [
        "does not   github-release: claim \"ref\" is \"refs/heads/main\" and not like \"refs/heads/release/*\"\n",
        "matches    github-production\n",
        "signature: not checked",
        "time:      expires 2096-10-02T07:06:40Z\n",
        "used: github-production, for the client ci-cd-pipeline-runner, scope \"write:deployments\", for 2m\n",
    ] {
        assert!(text.contains(expected), "{expected:?} is not in {text}");
    }
}

#[test]
fn a_token_that_has_expired_is_told_of() {
    let deployment = deployment();
    let (code, trial) = trial(&deployment, &with(github(), "exp", json!(1_700_000_000)));
    assert_eq!((code, &trial["untimely"]), (Some(0), &json!("it has expired: 2023-11-14T22:13:20Z")));
    let output = test(&deployment, &token(&with(github(), "exp", json!(1_700_000_000))), &[]);
    assert!(String::from_utf8(output.stdout).unwrap().contains("NOT GOOD: it has expired: 2023-11-14T22:13:20Z"));
}

#[test]
fn the_signature_is_checked_where_the_keys_are_in_a_file() {
    let deployment = deployment();
    let header = json!({"typ": "JWT", "alg": "ES256", "kid": "spire"});
    let input = format!("{}.{}", base64url::encode(header.to_string()), base64url::encode(spiffe().to_string()));
    let signature: Signature = key().0.sign(input.as_bytes());
    let good = format!("{input}.{}", base64url::encode(signature.to_bytes()));
    let output = test(&deployment, &good, &["--json"]);
    let trial: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((output.status.code(), &trial["signature"]["standing"]), (Some(0), &json!("verified")), "{trial:#}");

    let forged = format!("{input}.{}", base64url::encode([1; 64]));
    let output = test(&deployment, &forged, &["--json"]);
    let trial: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((output.status.code(), &trial["signature"]["standing"]), (Some(7), &json!("refused")), "{trial:#}");
    assert_eq!(trial["policy"]["name"], "spiffe-deployer");

    fs::write(deployment.path("spire.json"), "{}").unwrap();
    let error = one_line_of_error(&test(&deployment, &good, &[]), 3);
    assert!(error.contains("spire.json") && error.contains("JWK Set"), "{error}");
}

#[test]
fn what_is_no_token_is_refused_and_not_repeated() {
    let deployment = deployment();
    let twice = github().to_string().replacen('{', "{\"repository_id\":\"74\",", 1);
    for text in ["mks_not-a-token-but-a-secret", "", "a.b.c", &token_of("[]"), &token_of(&twice), &"a".repeat(40_000)] {
        let error = one_line_of_error(&test(&deployment, text, &[]), 1);
        assert!(error.contains("token is not a JWT: "), "{error}");
    }
    let error = one_line_of_error(&deployment.run(&["trust", "test", "--token", "nowhere"]), 1);
    assert!(error.contains("cannot read nowhere"), "{error}");
    assert_eq!(deployment.run(&["trust", "test"]).status.code(), Some(2));
    let error = one_line_of_error(&test(&deployment, &token(&github()), &["--client", "nobody"]), 7);
    assert!(error.contains("no client has the id \"nobody\""), "{error}");
    deployment.edit(|config| config["isuer"] = toml_edit::value("x"));
    one_line_of_error(&test(&deployment, &token(&github()), &[]), 3);
}

#[test]
fn a_client_is_given_the_policies_for_it_only() {
    let deployment = deployment();
    let output = test(&deployment, &token(&github()), &["--client", "billing-service", "--json"]);
    let trial: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(7));
    assert!(mismatch(&trial, "github-production").contains("the client is \"billing-service\""), "{trial:#}");
}

#[test]
fn a_token_is_read_from_standard_input() {
    let deployment = deployment();
    let mut command = deployment.command(&["trust", "test", "--token", "-", "--json"]);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(token(&kubernetes()).as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let trial: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((output.status.code(), &trial["policy"]["name"]), (Some(0), &json!("cluster-deployer")));
}

#[test]
fn the_policies_are_listed_as_they_are_in_force() {
    let deployment = deployment();
    let list = deployment.run_json(&["trust", "list"]);
    let policies = list["policies"].as_array().unwrap();
    assert_eq!(policies[0]["scope"], "read:metrics write:deployments");
    assert_eq!(policies[0]["match"]["ref"], json!({"pattern": "refs/heads/release/*"}));
    assert_eq!(policies[1]["match"]["environment"], json!(["production", "staging"]));
    assert_eq!(policies[3]["subject"], "deployer");
    assert_eq!(policies[4]["actors"], json!(["cluster-deployer"]));
    let issuers = list["issuers"].as_array().unwrap();
    assert_eq!(issuers.len(), 4);
    assert!(issuers[0]["keys"].as_str().unwrap().ends_with("/spire.json"), "{list:#}");
    assert_eq!(issuers[1], json!({"issuer": "https://token.actions.githubusercontent.com", "keys": "discovery"}));
    let text = String::from_utf8(deployment.run(&["trust", "list"]).stdout).unwrap();
    assert!(text.contains("\ngithub-production\n") && text.contains("match     ref = \"refs/heads/main\"\n"), "{text}");
}

/// Whoever trusts a name trusts whoever is called so later.
#[test]
fn a_name_that_can_be_registered_again_is_warned_of_by_check_and_at_the_start() {
    let deployment = deployment();
    let by_name = r#"
[[trust]]
name = "by-name"
issuer = "https://token.actions.githubusercontent.com"
audience = "https://mint.example.com"
match = { repository = "octo-org/octo-repo" }
client = "ci-cd-pipeline-runner"
"#;
    let warnings = |deployment: &Deployment| {
        let check = deployment.run(&["check", "--json"]);
        let check: Value = serde_json::from_slice(&check.stdout).unwrap();
        let warned = |finding: &&Value| finding["warning"] == true && finding["ok"] == true;
        check["findings"].as_array().unwrap().iter().filter(warned).cloned().collect::<Vec<_>>()
    };
    assert_eq!(warnings(&deployment), Vec::<Value>::new());
    add(&deployment, by_name);
    let [warning] = &warnings(&deployment)[..] else { panic!("one warning") };
    let found = warning["found"].as_str().unwrap();
    assert!(found.contains("\"by-name\"") && found.contains("\"repository_id\""), "{found}");
    let log = String::from_utf8(deployment.run(&["serve"]).stderr).unwrap();
    let line = log.lines().find(|line| line.contains("by-name")).expect("the start says it too");
    assert_eq!(serde_json::from_str::<Value>(line).unwrap()["level"], "WARN");
}
