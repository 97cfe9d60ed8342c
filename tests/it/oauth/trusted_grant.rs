//! Workloads that bring the identity of their platform: tokens of a real HTTPS issuer, against the running mint.

use serde_json::{Value, json};

use crate::support::client_key::{ClientKey, now};
use crate::support::issuer::{AUDIENCE, Issuer, github_job, gitlab_job, kubernetes_pod};
use crate::support::jose::claims_of;
use crate::support::running::{basic, form};
use crate::support::{Answer, Deployment, RunningMint, SERVICE, WORKLOAD};

const JWT: &str = "urn:ietf:params:oauth:token-type:jwt";
const ACCESS_TOKEN: &str = "urn:ietf:params:oauth:token-type:access_token";
const JWT_BEARER: &str = "urn:ietf:params:oauth:grant-type:jwt-bearer";
const TOKEN_EXCHANGE: &str = "urn:ietf:params:oauth:grant-type:token-exchange";

/// Policies for GitHub Actions, GitLab and Kubernetes, as if all were one issuer; a client for each kind of grant.
const POLICIES: &str = r#"
[[client]]
id = "workloads"
authentication = "none"
grants = ["urn:ietf:params:oauth:grant-type:jwt-bearer", "urn:ietf:params:oauth:grant-type:token-exchange"]
scope = "read write deploy"
audience = "https://api.example.com"
resources = ["https://other.example.com"]

[[trust]]
name = "deploy-from-main"
issuer = "ISSUER"
audience = "https://mint.example.com"
match = { repository_id = "123456", ref = "refs/heads/main" }
client = "workloads"
scope = "deploy"
lifetime = "2m"

[[trust]]
name = "gitlab-release"
issuer = "ISSUER"
audience = "https://mint.example.com"
match = { project_id = "42", namespace_id = "72", ref = { pattern = "ma?n" } }
client = "workloads"
subject = "gitlab:42"

[[trust]]
name = "ledger-pod"
issuer = "ISSUER"
audience = "https://mint.example.com"
match = { "/kubernetes.io/serviceaccount/uid" = "0c9f3a52-9a46-4b1c-8e35-8b1d3c8f5c01" }
client = "workloads"
scope = "read"
"#;

fn trusting(policies: &str) -> (Issuer, Deployment) {
    let (issuer, deployment) = (Issuer::start(21), Deployment::new());
    issuer.trusted_by(&deployment, policies);
    (issuer, deployment)
}

fn bearer(mint: &RunningMint, assertion: &str, further: &[(&str, &str)]) -> Answer {
    mint.post_form(&[], &form(&[&[("grant_type", JWT_BEARER), ("assertion", assertion)], further].concat()))
}

fn exchange(mint: &RunningMint, subject_token: &str, further: &[(&str, &str)]) -> Answer {
    let named = [("grant_type", TOKEN_EXCHANGE), ("subject_token", subject_token), ("subject_token_type", JWT)];
    mint.post_form(&[], &form(&[&named, further].concat()))
}

fn as_it_is(_: &mut Value, _: &mut Value) {}

#[test]
fn a_job_and_a_pod_get_a_short_token_with_no_secret() {
    let (issuer, deployment) = trusting(POLICIES);
    let mint = deployment.serve();
    for (claims, subject, scope, lifetime) in [
        (github_job(), "repo:octo-org/octo-repo:ref:refs/heads/main", "deploy", 120),
        (gitlab_job(), "gitlab:42", "read write deploy", 300),
        (kubernetes_pod(), "system:serviceaccount:payments:ledger", "read", 300),
    ] {
        let token = issuer.token(claims, as_it_is);
        for answer in [bearer(&mint, &token, &[]), exchange(&mint, &token, &[])] {
            let claims = claims_of(&answer.text("access_token"));
            assert_eq!((&claims["sub"], &claims["client_id"]), (&json!(subject), &json!("workloads")));
            assert_eq!((&claims["scope"], &claims["aud"]), (&json!(scope), &json!("https://api.example.com")));
            assert_eq!(claims["exp"].as_i64().unwrap() - claims["iat"].as_i64().unwrap(), lifetime);
            assert_eq!(claims.get("act"), None);
            let body = answer.json();
            assert_eq!((&body["expires_in"], body.get("refresh_token")), (&json!(lifetime), None));
        }
    }
    let token = issuer.token(github_job(), as_it_is);
    assert_eq!(bearer(&mint, &token, &[]).json().get("issued_token_type"), None);
    let exchanged =
        exchange(&mint, &token, &[("requested_token_type", ACCESS_TOKEN), ("audience", "https://other.example.com")]);
    assert_eq!(exchanged.json()["issued_token_type"], ACCESS_TOKEN);
    assert_eq!(claims_of(&exchanged.text("access_token"))["aud"], "https://other.example.com");
    // With its name too, and bound to a key.
    let key = ClientKey::new(4);
    let named =
        form(&[("grant_type", JWT_BEARER), ("assertion", &token), ("client_id", "workloads"), ("scope", "deploy")]);
    let bound = key.with_proof(|dpop| mint.post_form(&[dpop], &named));
    assert_eq!(claims_of(&bound.text("access_token"))["cnf"]["jkt"], key.thumbprint());
    // Its keys were asked for once, and its metadata.
    assert_eq!(issuer.server.seen().1, 2);
}

#[test]
fn what_is_asked_for_is_within_the_policy() {
    let (issuer, deployment) = trusting(POLICIES);
    let mint = deployment.serve();
    let token = issuer.token(github_job(), as_it_is);
    bearer(&mint, &token, &[("scope", "read")]).assert_error(400, "invalid_scope");
    bearer(&mint, &token, &[("resource", "https://evil.example")]).assert_error(400, "invalid_target");
    exchange(&mint, &token, &[("audience", "https://evil.example")]).assert_error(400, "invalid_target");
    exchange(&mint, &token, &[("requested_token_type", JWT)]).assert_error(400, "invalid_request");
    exchange(&mint, &token, &[("actor_token", &token)]).assert_error(400, "invalid_request");
    exchange(&mint, &token, &[("actor_token_type", JWT)]).assert_error(400, "invalid_request");
    exchange(&mint, &token, &[("actor_token", &token), ("actor_token_type", JWT)]).assert_error(400, "invalid_request");
    // Another client's name, and one whose client has to prove itself.
    bearer(&mint, &token, &[("client_id", WORKLOAD)]).assert_error(400, "invalid_grant");
    bearer(&mint, &token, &[("client_id", SERVICE)]).assert_error(401, "invalid_client");
    mint.post_form(&[], &form(&[("grant_type", JWT_BEARER)])).assert_error(400, "invalid_request");
    mint.post_form(&[], &form(&[("grant_type", TOKEN_EXCHANGE), ("subject_token", &token)]))
        .assert_error(400, "invalid_request");
}

#[test]
fn a_client_that_is_registered_to_prove_itself_has_to_and_one_without_the_grant_gets_nothing() {
    let policy = |client: &str| {
        format!(
            "[[trust]]\nname = \"of {client}\"\nissuer = \"ISSUER\"\naudience = \"{AUDIENCE}\"\nmatch = {{ for = \"{client}\" }}\nclient = \"{client}\"\n"
        )
    };
    let (issuer, deployment) = trusting(&(policy("secretive") + &policy(SERVICE)));
    let hash = deployment.config_text().split("secret_sha256 = \"").nth(1).unwrap()[..64].to_owned();
    deployment.add_client(&format!(
        "id = \"secretive\"\nauthentication = \"client_secret_basic\"\nsecret_sha256 = \"{hash}\"\ngrants = [\"{JWT_BEARER}\"]\nscope = \"read\"\naudience = \"https://api.example.com\""
    ));
    let mint = deployment.serve();
    let token = issuer.token(json!({"sub": "job", "for": "secretive"}), as_it_is);
    bearer(&mint, &token, &[]).assert_error(401, "invalid_client");
    let with = |id: &str, token: &str| {
        mint.post_form(&[&basic(id, &deployment.secret)], &form(&[("grant_type", JWT_BEARER), ("assertion", token)]))
    };
    assert_eq!(claims_of(&with("secretive", &token).text("access_token"))["sub"], "job");
    let other = issuer.token(json!({"sub": "job", "for": SERVICE}), as_it_is);
    with("secretive", &other).assert_error(400, "invalid_grant");
    with(SERVICE, &other).assert_error(400, "unauthorized_client");
    // A subject must not pass for another client that speaks for itself (RFC 9068 §5).
    let impostor = issuer.token(json!({"sub": SERVICE, "for": "secretive"}), as_it_is);
    with("secretive", &impostor).assert_error(400, "invalid_request");
}

#[test]
fn whatever_is_wrong_with_a_token_it_is_refused() {
    type Change = fn(&mut Value, &mut Value);
    let (issuer, deployment) = trusting(POLICIES);
    deployment.allow_failed_attempts();
    let mint = deployment.serve();
    let changes: &[(&str, Change)] = &[
        ("alg none", |header, _| header["alg"] = "none".into()),
        ("HMAC", |header, _| header["alg"] = "HS256".into()),
        ("another algorithm", |header, _| header["alg"] = "RS256".into()),
        ("crit", |header, _| header["crit"] = json!(["b64"])),
        ("its own key", |header, _| header["jwk"] = ClientKey::new(21).jwk()),
        ("a jku", |header, _| header["jku"] = "https://localhost/jwks".into()),
        ("an x5u", |header, _| header["x5u"] = "https://localhost/cert".into()),
        ("an unknown kid", |header, _| header["kid"] = "unknown".into()),
        ("typ of an access token", |header, _| header["typ"] = "at+jwt".into()),
        ("typ of a proof", |header, _| header["typ"] = "dpop+jwt".into()),
        ("typ of a logout token", |header, _| header["typ"] = "logout+jwt".into()),
        ("another issuer", |_, claims| claims["iss"] = "https://evil.example".into()),
        ("the issuer with a slash", |_, claims| claims["iss"] = format!("{}/", claims["iss"].as_str().unwrap()).into()),
        ("issuers in a list", |_, claims| claims["iss"] = json!([claims["iss"].clone()])),
        ("no issuer", |_, claims| drop(claims.as_object_mut().unwrap().remove("iss"))),
        ("no subject", |_, claims| drop(claims.as_object_mut().unwrap().remove("sub"))),
        ("no audience", |_, claims| drop(claims.as_object_mut().unwrap().remove("aud"))),
        ("another audience", |_, claims| claims["aud"] = "https://mint.example.org".into()),
        ("two audiences", |_, claims| claims["aud"] = json!([AUDIENCE, "https://evil.example"])),
        ("the audience twice", |_, claims| claims["aud"] = json!([AUDIENCE, AUDIENCE])),
        ("expired", |_, claims| claims["exp"] = (now() - 60).into()),
        ("no end", |_, claims| drop(claims.as_object_mut().unwrap().remove("exp"))),
        ("an end that is text", |_, claims| claims["exp"] = (now() + 60).to_string().into()),
        ("not yet valid", |_, claims| claims["nbf"] = (now() + 120).into()),
        ("of the future", |_, claims| claims["iat"] = (now() + 120).into()),
        ("another branch", |_, claims| claims["ref"] = "refs/heads/main2".into()),
        ("a branch in a list", |_, claims| claims["ref"] = json!(["refs/heads/main"])),
        ("another repository of that name", |_, claims| claims["repository_id"] = "123457".into()),
        ("a repository that is a number", |_, claims| claims["repository_id"] = 123_456.into()),
        ("bound to a key that nobody shows", |_, claims| {
            claims["cnf"] = json!({"jkt": ClientKey::new(9).thumbprint()})
        }),
        ("bound in a way that is not known", |_, claims| claims["cnf"] = json!({"kid": "x"})),
        ("act that is no actor", |_, claims| claims["act"] = json!(["robot"])),
    ];
    for (what, change) in changes {
        let token = issuer.token(github_job(), change);
        let answer = bearer(&mint, &token, &[]);
        assert_eq!(answer.status, 400, "{what}");
        answer.assert_error(400, "invalid_grant");
        exchange(&mint, &token, &[]).assert_error(400, "invalid_request");
    }
    let good = issuer.token(github_job(), as_it_is);
    let forged =
        ClientKey::new(22).sign(&json!({"alg": "ES256", "kid": ClientKey::new(21).thumbprint()}), &claims_of(&good));
    let doubled = ClientKey::new(21).sign_texts(
        &json!({"alg": "ES256", "kid": ClientKey::new(21).thumbprint()}).to_string(),
        &claims_of(&good).to_string().replacen('{', r#"{"ref":"refs/heads/evil","#, 1),
    );
    let deep = issuer.token(github_job(), |_, claims| {
        claims["deep"] = (0..40).fold(Value::Null, |inner, _| json!([inner]));
    });
    for token in ["x", "a.b.c", &good[..good.len() - 4], &forged, &doubled, &deep] {
        bearer(&mint, token, &[]).assert_error(400, "invalid_grant");
    }
    bearer(&mint, &good, &[]).text("access_token");
    let log = mint.log();
    assert!(!log.contains(good.rsplit('.').next().unwrap()), "no token is in the log");
    assert!(log.contains(r#"claim \"ref\" is \"refs/heads/main2\""#), "the operator learns why: {log}");
}

#[test]
fn the_last_keys_of_an_issuer_serve_while_it_is_down_and_one_that_it_gave_up_is_found_out() {
    let (issuer, deployment) = trusting(POLICIES);
    let before = issuer.token(github_job(), as_it_is);
    issuer.use_key(23);
    let mint = deployment.serve();
    bearer(&mint, &before, &[]).assert_error(400, "invalid_grant");
    bearer(&mint, &issuer.token(github_job(), as_it_is), &[]).text("access_token");
    let token = issuer.token(github_job(), as_it_is);
    drop(issuer);
    bearer(&mint, &token, &[]).text("access_token");
}

#[test]
fn an_issuer_that_was_never_reached_is_no_fault_of_the_token() {
    let (issuer, deployment) = trusting(POLICIES);
    let token = issuer.token(github_job(), as_it_is);
    // Nobody vouches for its server now.
    deployment.edit(|config| {
        let issuers = config["trusted_issuer"].as_array_of_tables_mut().expect("issuers");
        issuers.get_mut(0).expect("one").remove("ca");
    });
    let mint = deployment.serve();
    let answer = bearer(&mint, &token, &[]);
    answer.assert_error(503, "temporarily_unavailable");
    assert!(answer.header("retry-after").is_some());
}

#[test]
fn who_acts_for_a_subject_is_named_and_has_to_be_allowed_to() {
    let (issuer, deployment) = trusting(
        r#"
[[client]]
id = "gateway"
authentication = "none"
grants = ["urn:ietf:params:oauth:grant-type:token-exchange"]
scope = "read"
audience = "https://api.example.com"

[[trust]]
name = "users"
issuer = "ISSUER"
audience = "https://mint.example.com"
match = { kind = "user" }
client = "gateway"
actors = ["agents"]

[[trust]]
name = "agents"
issuer = "ISSUER"
audience = "https://mint.example.com"
match = { kind = "agent" }
client = "gateway"

[[trust]]
name = "again"
issuer = "https://mint.example.com"
audience = "https://api.example.com"
match = { client_id = "gateway" }
client = "gateway"
actors = ["agents"]
"#,
    );
    let mint = deployment.serve();
    let user = issuer.token(json!({"sub": "alice", "kind": "user"}), as_it_is);
    let agent = issuer.token(json!({"sub": "agent-7", "kind": "agent"}), as_it_is);
    let acting = |subject: &str, kind: &str, actor: &str| {
        mint.post_form(
            &[],
            &form(&[
                ("grant_type", TOKEN_EXCHANGE),
                ("subject_token", subject),
                ("subject_token_type", kind),
                ("actor_token", actor),
                ("actor_token_type", JWT),
            ]),
        )
    };
    let first = acting(&user, JWT, &agent).text("access_token");
    let claims = claims_of(&first);
    assert_eq!((&claims["sub"], &claims["act"]), (&json!("alice"), &json!({"sub": "agent-7", "iss": issuer.name()})));
    // Nobody acts who is not named, and a token for delegation is good for nothing else.
    exchange(&mint, &user, &[]).assert_error(400, "invalid_request");
    acting(&user, JWT, &user).assert_error(400, "invalid_request");
    acting(&agent, JWT, &agent).assert_error(400, "invalid_request");
    // The token itself may say who may act (RFC 8693 §4.4).
    for (may_act, is_good) in [
        (json!({"sub": "agent-7"}), true),
        (json!({"sub": "agent-7", "iss": issuer.name()}), true),
        (json!({"sub": "agent-8"}), false),
        (json!({"sub": "agent-7", "iss": "https://other.example"}), false),
        (json!("agent-7"), false),
    ] {
        let user = issuer.token(json!({"sub": "alice", "kind": "user", "may_act": may_act}), as_it_is);
        assert_eq!(acting(&user, JWT, &agent).status == 200, is_good, "{may_act}");
    }
    // Who acted before is behind who acts now: our own token is exchanged, as long as it was not revoked.
    let next = issuer.token(json!({"sub": "agent-8", "kind": "agent"}), as_it_is);
    let second = claims_of(&acting(&first, ACCESS_TOKEN, &next).text("access_token"));
    assert_eq!(second["act"]["sub"], "agent-8");
    assert_eq!(second["act"]["act"], json!({"sub": "agent-7", "iss": issuer.name()}));
    assert_eq!(
        mint.post_form_to("/oauth/revoke", &[], &form(&[("client_id", "gateway"), ("token", &first)])).status,
        200
    );
    acting(&first, ACCESS_TOKEN, &next).assert_error(400, "invalid_request");
}

#[test]
fn a_bound_token_is_exchanged_by_who_holds_its_key() {
    let (issuer, deployment) = trusting(POLICIES);
    let mint = deployment.serve();
    let (key, other) = (ClientKey::new(5), ClientKey::new(6));
    let token = issuer.token(github_job(), |_, claims| claims["cnf"] = json!({"jkt": key.thumbprint()}));
    let form = form(&[("grant_type", TOKEN_EXCHANGE), ("subject_token", &token), ("subject_token_type", JWT)]);
    other.with_proof(|dpop| mint.post_form(&[dpop], &form)).assert_error(400, "invalid_request");
    let answer = key.with_proof(|dpop| mint.post_form(&[dpop], &form));
    assert_eq!(claims_of(&answer.text("access_token"))["cnf"]["jkt"], key.thumbprint());
    // A proof that names a token names this one (`ath`).
    let nonce = answer.header("dpop-nonce").unwrap();
    let with_ath = |of: &str| {
        use aws_lc_rs::digest::{SHA256, digest};
        let ath = crate::support::client_key::encode(digest(&SHA256, of.as_bytes()));
        format!("DPoP: {}", key.proof(nonce, |_, claims| claims["ath"] = ath.into()))
    };
    mint.post_form(&[&with_ath("another token")], &form).assert_error(400, "invalid_request");
    mint.post_form(&[&with_ath(&token)], &form).text("access_token");
}
