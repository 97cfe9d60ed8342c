//! Names that somebody else may be called tomorrow: a repository that is renamed or deleted leaves its name to whoever
//! registers it next, and with the name whatever trusts it.

use super::TrustPolicy;
use super::claim::{ClaimValue, Expected};

/// A claim whose values can pass to somebody else.
struct ReusableName {
    claim: &'static str,
    /// What its values begin with where they are such names; empty where they always are.
    prefix: &'static str,
    /// The claims that cannot; one of them makes up for it.
    ids: &'static [&'static str],
}

const GITHUB_IDS: &[&str] = &["repository_id", "repository_owner_id"];
const GITLAB_IDS: &[&str] = &["project_id", "namespace_id"];
const KUBERNETES_IDS: &[&str] = &["/kubernetes.io/serviceaccount/uid"];
const PERSON_IDS: &[&str] = &["sub", "oid", "user_id", "actor_id"];

const REUSABLE_NAMES: &[ReusableName] = &[
    // GitHub.
    ReusableName::always("repository", GITHUB_IDS),
    ReusableName::always("repository_owner", GITHUB_IDS),
    ReusableName::always("workflow_ref", GITHUB_IDS),
    ReusableName::always("job_workflow_ref", GITHUB_IDS),
    ReusableName::always("enterprise", &["enterprise_id", "repository_id", "repository_owner_id"]),
    ReusableName::always("actor", &["actor_id"]),
    ReusableName { claim: "sub", prefix: "repo:", ids: GITHUB_IDS },
    ReusableName { claim: "sub", prefix: "repository_owner:", ids: GITHUB_IDS },
    ReusableName { claim: "sub", prefix: "job_workflow_ref:", ids: GITHUB_IDS },
    // GitLab.
    ReusableName::always("project_path", GITLAB_IDS),
    ReusableName::always("namespace_path", GITLAB_IDS),
    ReusableName::always("user_login", &["user_id"]),
    ReusableName::always("user_email", &["user_id"]),
    ReusableName { claim: "sub", prefix: "project_path:", ids: GITLAB_IDS },
    // Kubernetes.
    ReusableName::always("/kubernetes.io/namespace", KUBERNETES_IDS),
    ReusableName::always("/kubernetes.io/serviceaccount/name", KUBERNETES_IDS),
    ReusableName { claim: "sub", prefix: "system:serviceaccount:", ids: KUBERNETES_IDS },
    // OpenID Connect Core 1.0 §5.7.
    ReusableName::always("email", PERSON_IDS),
    ReusableName::always("preferred_username", PERSON_IDS),
    ReusableName::always("upn", PERSON_IDS),
];

/// Issuers whose tokens anybody may have, and the claims that say whose a token is.
const OPEN_TO_ALL: &[(&str, &[&str])] = &[
    (
        "https://token.actions.githubusercontent.com",
        &[
            "sub",
            "repository_id",
            "repository_owner_id",
            "repository",
            "repository_owner",
            "enterprise_id",
            "enterprise",
            "workflow_ref",
            "job_workflow_ref",
            "actor_id",
            "actor",
        ],
    ),
    (
        "https://gitlab.com",
        &["sub", "project_id", "namespace_id", "project_path", "namespace_path", "user_id", "user_login", "user_email"],
    ),
];

impl ReusableName {
    const fn always(claim: &'static str, ids: &'static [&'static str]) -> Self {
        Self { claim, prefix: "", ids }
    }

    fn is_in(&self, claim: &str, expected: &Expected) -> bool {
        claim == self.claim
            && match expected {
                _ if self.prefix.is_empty() => true,
                Expected::Pattern(pattern) => pattern.as_str().starts_with(self.prefix),
                Expected::AnyOf(values) => {
                    values.iter().any(|value| matches!(value, ClaimValue::Text(text) if text.starts_with(self.prefix)))
                }
            }
    }
}

/// What an operator should know of `policy`: for each name in it that can be registered again, which claim to match as
/// well; and whether it asks nothing of who the token is about.
pub(super) fn warnings(policy: &TrustPolicy) -> Vec<String> {
    let has_one_of = |names: &[&str]| policy.claims.iter().any(|claim| names.contains(&plain(claim.claim.as_str())));
    let reusable = policy.claims.iter().filter_map(|claim| {
        let name = plain(claim.claim.as_str());
        let reusable = REUSABLE_NAMES.iter().find(|reusable| reusable.is_in(name, &claim.expected))?;
        (!has_one_of(reusable.ids)).then(|| {
            format!(
                "trust policy {:?} matches {name:?}, a name that somebody else can register once it is free; match {} too",
                policy.name,
                reusable.ids.iter().map(|id| format!("{id:?}")).collect::<Vec<_>>().join(" or ")
            )
        })
    });
    let open = OPEN_TO_ALL.iter().find(|(issuer, whose)| *issuer == policy.issuer && !has_one_of(whose)).map(|_| {
        format!(
            "trust policy {:?} says nothing of whose token it is: anybody can get one of {}",
            policy.name, policy.issuer
        )
    });
    reusable.chain(open).collect()
}

/// A pointer to an outermost claim is another way to write its name.
fn plain(name: &str) -> &str {
    name.strip_prefix('/').filter(|rest| !rest.contains('/')).unwrap_or(name)
}
