use proptest::prelude::*;
use serde_json::json;

use super::claim::{ClaimName, ClaimValue, Expected};
use super::pattern::Pattern;
use super::*;

const GITHUB: &str = "https://token.actions.githubusercontent.com";
const GITLAB: &str = "https://gitlab.com";
const CLUSTER: &str = "https://kubernetes.default.svc.cluster.local";
const MINT: &str = "https://mint.example.com";

/// A policy of GitHub Actions' tokens; `claims` are a claim and what it has to be, where a `*` makes a pattern.
fn policy(name: &str, claims: &[(&str, &str)]) -> TrustPolicy {
    let expected = |text: &str| match text {
        pattern if pattern.contains('*') => Expected::Pattern(Pattern::parse(pattern).unwrap()),
        texts => Expected::AnyOf(texts.split('|').map(|text| ClaimValue::Text(text.to_owned())).collect()),
    };
    let claims = claims
        .iter()
        .map(|(claim, text)| ClaimMatch { claim: ClaimName::parse(claim).unwrap(), expected: expected(text) });
    TrustPolicy {
        name: name.to_owned(),
        issuer: GITHUB.to_owned(),
        audience: MINT.to_owned(),
        claims: claims.collect(),
        client: "ci".to_owned(),
        scope: Scope::parse("write").unwrap(),
        lifetime: Duration::from_secs(300),
        subject: None,
        actors: Vec::new(),
    }
}

fn object(claims: Value) -> Map<String, Value> {
    claims.as_object().unwrap().clone()
}

fn audience() -> Vec<String> {
    vec![MINT.to_owned()]
}

#[test]
fn the_first_policy_that_matches_is_used() {
    let policies: TrustPolicies = [
        policy("other", &[("repository_id", "2")]),
        policy("release", &[("repository_id", "1"), ("ref", "refs/heads/release/*")]),
        TrustPolicy { client: "audit".to_owned(), ..policy("audit", &[("repository_id", "1|2")]) },
        policy("any", &[("repository_id", "1")]),
    ]
    .into_iter()
    .collect();
    let claims = |id: &str, git_ref: &str| object(json!({ "repository_id": id, "ref": git_ref }));
    let found = |claims: &Map<String, Value>, client| {
        policies.find(GITHUB, claims, &audience(), client).map(|policy| policy.name.as_str())
    };
    assert_eq!(found(&claims("1", "refs/heads/release/1.0"), None), Some("release"));
    assert_eq!(found(&claims("1", "refs/heads/main"), None), Some("audit"));
    assert_eq!(found(&claims("1", "refs/heads/main"), Some("ci")), Some("any"));
    assert_eq!(found(&claims("1", "refs/heads/main"), Some("another")), None);
    assert_eq!(found(&claims("2", "x"), Some("audit")), Some("audit"));
    assert_eq!(found(&claims("3", "x"), None), None);
    assert!(policies.find(GITLAB, &claims("1", "x"), &audience(), None).is_none());
}

/// A token that was made for somebody else as well may come from them.
#[test]
fn a_token_is_for_the_one_audience_alone() {
    let policies: TrustPolicies = [policy("p", &[("repository_id", "1")])].into_iter().collect();
    let claims = object(json!({ "repository_id": "1" }));
    for (audience, expected) in [
        (vec![MINT], true),
        (vec![], false),
        (vec!["https://other.example.com"], false),
        (vec![MINT, "https://other.example.com"], false),
        (vec![MINT, MINT], false),
        (vec!["https://mint.example.com/"], false),
    ] {
        let audience: Vec<String> = audience.into_iter().map(str::to_owned).collect();
        assert_eq!(policies.find(GITHUB, &claims, &audience, None).is_some(), expected, "{audience:?}");
    }
}

#[test]
fn the_first_thing_that_is_wrong_is_told() {
    let policy = policy("p", &[("repository_id", "1"), ("ref", "refs/heads/*"), ("environment", "production|staging")]);
    let said = |issuer: &str, claims: Value, audience: &[&str], client: Option<&str>| {
        let audience: Vec<String> = audience.iter().map(|&audience| audience.to_owned()).collect();
        policy.check(issuer, &object(claims), &audience, client).unwrap_err().to_string()
    };
    let of_claims = |claims| said(GITHUB, claims, &[MINT], None);
    for (told, expected) in [
        (said(GITHUB, json!({}), &[MINT], Some("x")), r#"the client is "x" and not "ci""#),
        (
            said(GITLAB, json!({}), &[MINT], None),
            r#"the issuer is "https://gitlab.com" and not "https://token.actions.githubusercontent.com""#,
        ),
        (said(GITHUB, json!({}), &["x"], None), r#"the audience is "x" and not "https://mint.example.com""#),
        (
            said(GITHUB, json!({}), &[], None),
            r#"the token has no audience, and should have "https://mint.example.com""#,
        ),
        (
            said(GITHUB, json!({}), &["x", "y"], None),
            r#"the token has several audiences, ["x", "y"], and should have "https://mint.example.com" alone"#,
        ),
        (of_claims(json!({ "ref": "x" })), r#"claim "repository_id" is absent"#),
        (of_claims(json!({ "repository_id": 1 })), r#"claim "repository_id" is 1 and not "1""#),
        (of_claims(json!({ "repository_id": null })), r#"claim "repository_id" is null and not "1""#),
        (of_claims(json!({ "repository_id": ["1"] })), r#"claim "repository_id" is a list, which no policy matches"#),
        (of_claims(json!({ "repository_id": {} })), r#"claim "repository_id" is an object, which no policy matches"#),
        (
            of_claims(json!({ "repository_id": "1", "ref": "a\u{1b}[2J\u{202e}" })),
            r#"claim "ref" is "a\u{1b}[2J\u{202e}" and not like "refs/heads/*""#,
        ),
        (
            of_claims(json!({ "repository_id": "1", "ref": "refs/heads/a", "environment": "test" })),
            r#"claim "environment" is "test" and not "production" or "staging""#,
        ),
    ] {
        assert_eq!(told, expected);
    }
}

#[test]
fn an_actor_is_one_of_those_that_the_policy_names() {
    let mut delegated = policy("delegated", &[("repository_id", "1")]);
    delegated.actors = vec!["agent".to_owned(), "robot".to_owned()];
    let of_cluster = |name| TrustPolicy { issuer: CLUSTER.to_owned(), ..policy(name, &[("sub", name)]) };
    let policies: TrustPolicies =
        [delegated, of_cluster("robot"), of_cluster("agent"), of_cluster("stranger")].into_iter().collect();
    let delegated = policies.named("delegated").unwrap();
    let actor = |issuer, sub: &str| {
        let claims = object(json!({ "sub": sub, "repository_id": "1" }));
        policies.find_actor(delegated, issuer, &claims, &audience()).map(|policy| policy.name.as_str())
    };
    assert_eq!(actor(CLUSTER, "robot"), Some("robot"));
    assert_eq!(actor(CLUSTER, "stranger"), None);
    assert_eq!(actor(GITHUB, "robot"), None);
    let takes_nobody = policies.named("robot").unwrap();
    let claims = object(json!({ "sub": "robot" }));
    assert!(policies.find_actor(takes_nobody, CLUSTER, &claims, &audience()).is_none());
}

/// Not how fast, which a busy machine decides, but how much is looked at.
#[test]
fn ten_thousand_policies_leave_few_to_look_at() {
    let shared = ("ref", "refs/heads/main");
    let policies: Vec<TrustPolicy> = (0..10_000)
        .map(|id| policy(&format!("p{id}"), &[shared, ("repository_id", &format!("{id}|{}", id + 20_000))]))
        .chain([policy("pattern", &[("repository_id", "77*")])])
        .collect();
    let policies: TrustPolicies = policies.into_iter().collect();
    let claims = object(json!({ "ref": "refs/heads/main", "repository_id": "27777" }));
    assert_eq!(policies.by_issuer[GITHUB].candidates(&claims), [7777, 10_000]);
    assert_eq!(policies.find(GITHUB, &claims, &audience(), None).unwrap().name, "p7777");
    let nobody = object(json!({ "ref": "refs/heads/main", "repository_id": "x" }));
    assert_eq!(policies.by_issuer[GITHUB].candidates(&nobody), [10_000]);
}

#[test]
fn a_name_that_can_be_registered_again_is_warned_of() {
    let warned = |issuer: &str, claims: &[(&str, &str)]| {
        let policy = TrustPolicy { issuer: issuer.to_owned(), ..policy("p", claims) };
        policy.warnings().join("\n")
    };
    for (issuer, claims, expected) in [
        (GITHUB, &[("repository", "octo-org/octo-repo")][..], "match \"repository_id\" or \"repository_owner_id\" too"),
        (GITHUB, &[("/repository", "octo-org/octo-repo")], "matches \"repository\""),
        (GITHUB, &[("repository_owner", "octo-org"), ("ref", "r")], "\"repository_owner_id\""),
        (GITHUB, &[("sub", "repo:octo-org/octo-repo:ref:refs/heads/main")], "\"repository_id\""),
        (GITHUB, &[("sub", "repository_owner:octo-org:ref:refs/heads/main")], "\"repository_owner_id\""),
        (GITHUB, &[("sub", "repo:octo-org/*:environment:production")], "\"repository_id\""),
        (GITHUB, &[("job_workflow_ref", "octo-org/w/.github/workflows/x.yml@refs/heads/main")], "\"repository_id\""),
        (GITHUB, &[("actor", "octocat"), ("repository_id", "1")], "\"actor_id\""),
        (GITHUB, &[("ref", "refs/heads/main")], "anybody can get one"),
        (GITLAB, &[("project_path", "group/project")], "\"project_id\" or \"namespace_id\""),
        (GITLAB, &[("sub", "project_path:group/project:ref_type:branch:ref:main")], "\"project_id\""),
        (GITLAB, &[("user_login", "alice"), ("namespace_id", "1")], "\"user_id\""),
        (GITLAB, &[("ref_protected", "true")], "anybody can get one"),
        (CLUSTER, &[("sub", "system:serviceaccount:prod:deployer")], "\"/kubernetes.io/serviceaccount/uid\""),
        (CLUSTER, &[("/kubernetes.io/namespace", "prod")], "\"/kubernetes.io/serviceaccount/uid\""),
        ("https://idp.example.com", &[("email", "alice@example.com")], "\"sub\""),
    ] {
        let warned = warned(issuer, claims);
        assert!(warned.contains(expected) && warned.contains("trust policy \"p\""), "{claims:?}: {warned:?}");
        assert_eq!(warned.lines().count(), 1, "{warned}");
    }
    for (issuer, claims) in [
        (GITHUB, &[("repository_id", "1"), ("repository", "octo-org/octo-repo"), ("ref", "r")][..]),
        (GITHUB, &[("/repository_owner_id", "1"), ("sub", "repo:octo-org/octo-repo:ref:r")]),
        (GITHUB, &[("sub", "repository_owner_id:65:ref:refs/heads/main")]),
        (GITLAB, &[("project_id", "1"), ("project_path", "group/project")]),
        (CLUSTER, &[("sub", "system:serviceaccount:p:d"), ("/kubernetes.io/serviceaccount/uid", "u")]),
        ("https://idp.example.com", &[("sub", "248289761001"), ("email", "alice@example.com")]),
        ("https://spire.example.com", &[("sub", "spiffe://example.org/ns/prod/sa/deployer")]),
    ] {
        assert_eq!(warned(issuer, claims), "", "{claims:?}");
    }
}

/// What claims have in their names and values here is little, so that policies share them.
fn any_value() -> impl Strategy<Value = Value> {
    prop_oneof![
        "[ab/]{0,3}".prop_map(Value::from),
        (0..3_i64).prop_map(Value::from),
        any::<bool>().prop_map(Value::from),
        Just(json!(null)),
        Just(json!(["a"])),
        Just(json!(1.0)),
    ]
}

fn any_expected() -> impl Strategy<Value = Expected> {
    let exact = prop_oneof![
        "[ab/]{0,3}".prop_map(ClaimValue::Text),
        (0..3_i64).prop_map(ClaimValue::Integer),
        any::<bool>().prop_map(ClaimValue::Boolean),
    ];
    prop_oneof![
        4 => prop::collection::hash_set(exact, 1..4).prop_map(|values| Expected::AnyOf(values.into_iter().collect())),
        1 => "[ab?*/]{1,3}".prop_filter_map("a pattern", |text| Pattern::parse(&text).ok().map(Expected::Pattern)),
    ]
}

fn any_claim_name() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec!["x", "y", "/x", "/o/x", "/o/y"])
}

fn any_policy() -> impl Strategy<Value = TrustPolicy> {
    let claims = prop::collection::vec((any_claim_name(), any_expected()), 1..4);
    (claims, 0..3, 0..3, 0..2).prop_map(|(claims, issuer, audience, client)| {
        let claims =
            claims.into_iter().map(|(name, expected)| ClaimMatch { claim: ClaimName::parse(name).unwrap(), expected });
        TrustPolicy {
            issuer: format!("https://issuer{}.example.com", issuer / 2),
            audience: format!("audience{}", audience / 2),
            claims: claims.collect(),
            client: format!("client{client}"),
            ..policy("p", &[])
        }
    })
}

fn any_claims() -> impl Strategy<Value = Map<String, Value>> {
    prop::collection::vec(prop::option::of(any_value()), 4).prop_map(|values| {
        let mut values = values.into_iter();
        let mut claims = Map::new();
        let mut inner = Map::new();
        for (object, name) in [(true, "x"), (true, "y"), (false, "x"), (false, "y")] {
            if let Some(Some(value)) = values.next() {
                let object = if object { &mut claims } else { &mut inner };
                object.insert(name.to_owned(), value);
            }
        }
        claims.insert("o".to_owned(), Value::Object(inner));
        claims
    })
}

proptest! {
    /// The index leaves nothing out and puts nothing first.
    #[test]
    fn what_is_found_is_the_first_that_matches_of_all(
        policies in prop::collection::vec(any_policy(), 0..40),
        claims in any_claims(),
        audience in prop::collection::vec(prop::sample::select(vec!["audience0", "audience1"]), 0..3),
        client in prop::option::of(prop::sample::select(vec!["client0", "client1"])),
    ) {
        let named = policies.into_iter().enumerate();
        let policies: TrustPolicies =
            named.map(|(position, policy)| TrustPolicy { name: position.to_string(), ..policy }).collect();
        let audience: Vec<String> = audience.into_iter().map(str::to_owned).collect();
        for issuer in ["https://issuer0.example.com", "https://issuer1.example.com", "https://issuer2.example.com"] {
            let explained = policies.explain(issuer, &claims, &audience, client);
            prop_assert_eq!(explained.len(), policies.iter().count());
            let first = explained.iter().find(|explanation| explanation.outcome.is_ok()).map(|found| found.policy);
            let found = policies.find(issuer, &claims, &audience, client).map(|policy| policy.name.as_str());
            prop_assert_eq!(found, first);
        }
    }
}
