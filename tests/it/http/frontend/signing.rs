//! What is signed for whom: within the rights of a front-end, and within the profile, whoever asks.

use std::collections::BTreeSet;

use jsonwebtoken::jwk::JwkSet;
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use serde_json::{Map, Value, json};

use crate::support::frontend::{FrontendRequest, own_uid, token_line};
use crate::support::process::succeed;
use crate::support::{Answer, Deployment, RunningMint};

const SIGN: &str = "/admin/v1/sign";
const NARROW: &str = "Authorization: Bearer mks_narrow";
const PROFILES: &str = r#"
[[signing_profile]]
name = "dex"
content = "jwt"
issuers = ["https://dex.example.com", "https://dex.example.org"]
audiences = ["web", "cli"]
types = ["JWT", "at+jwt"]
max_lifetime = "10m"
[[signing_profile]]
name = "one-issuer"
content = "jwt"
issuers = ["https://one.example.com"]
[[signing_profile]]
name = "created"
content = "jwt"
issuers = ["https://created.example.com"]
keys = "created"
[[signing_profile]]
name = "nobodys"
content = "any"
"#;

/// A front-end with all of three profiles, known by its uid, and one that may have less of them.
fn deployment() -> Deployment {
    let deployment = Deployment::without_keys();
    deployment.listen_for_frontends();
    deployment.append(PROFILES);
    let profiles = "profiles = [\"dex\", \"one-issuer\", \"created\"]";
    deployment.add_frontend("wide", &format!("uid = {}\n{profiles}", own_uid()));
    let narrow = format!(
        "{}\nprofiles = [\"dex\"]\nissuers = \"https://dex.example.com\"\naudiences = \"web\"\nmax_lifetime = \"1m\"",
        token_line(&["mks_narrow"])
    );
    deployment.add_frontend("narrow", &narrow);
    succeed(&mut deployment.command(&["keys", "init"]));
    deployment
}

fn sign(deployment: &Deployment, request: &Value) -> Answer {
    deployment.ask_socket(&FrontendRequest::post(SIGN, &request.to_string()))
}

fn sign_narrowly(deployment: &Deployment, claims: &Value) -> Answer {
    let body = json!({ "profile": "dex", "claims": claims }).to_string();
    let request = FrontendRequest::post(SIGN, &body).headers(&["Content-Type: application/json", NARROW]);
    deployment.ask_socket(&request)
}

/// Header and claims of the token in `answer`, verified by the published keys of `profile`.
#[track_caller]
fn verified(mint: &RunningMint, profile: &str, answer: &Answer) -> (Value, Value) {
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    let (jws, kid) = (answer.text("jws"), answer.text("kid"));
    let keys: JwkSet = serde_json::from_str(&mint.get(&format!("/jwks/{profile}")).body).unwrap();
    let key = DecodingKey::from_jwk(keys.find(&kid).expect("the key is published")).unwrap();
    let mut validation = Validation::new(Algorithm::ES256);
    validation.validate_aud = false;
    let claims = jsonwebtoken::decode::<Value>(&jws, &key, &validation).unwrap().claims;
    let header = mintkeep::jose::base64url::decode(jws.split('.').next().unwrap()).unwrap();
    (serde_json::from_slice(&header).unwrap(), claims)
}

fn now() -> i64 {
    use mintkeep::clock::Clock as _;
    mintkeep::clock::SystemClock.now().unix_seconds()
}

/// A JSON object with members left out.
fn without(claims: &Value, names: &[&str]) -> Value {
    let members = claims.as_object().unwrap().iter().filter(|(name, _)| !names.contains(&name.as_str()));
    members.map(|(name, value)| (name.clone(), value.clone())).collect::<Map<_, _>>().into()
}

#[track_caller]
fn assert_refused(answer: &Answer, status: u16, error: &str, description: &str) {
    assert_eq!(answer.status, status, "{answer:?}");
    assert_eq!(answer.json(), json!({ "error": error, "error_description": description }));
}

#[test]
fn claims_are_signed_as_they_are_and_what_is_left_out_is_added() {
    let deployment = deployment();
    let mint = deployment.serve();
    let began = now();
    let own = json!({ "sub": "ada", "groups": ["admins"], "nested": { "a": [1, null, "\u{e4}"] }, "n": 9_007_199_254_740_993_i64 });
    let (header, claims) =
        verified(&mint, "one-issuer", &sign(&deployment, &json!({ "profile": "one-issuer", "claims": own })));
    let members: BTreeSet<&str> = header.as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(members, BTreeSet::from(["alg", "kid", "typ"]));
    assert_eq!((&header["alg"], &header["typ"]), (&json!("ES256"), &json!("JWT")));
    let iat = claims["iat"].as_i64().unwrap();
    assert!((began..=now()).contains(&iat));
    // An hour is what a profile allows that says nothing else.
    assert_eq!((&claims["exp"], &claims["iss"]), (&json!(iat + 3600), &json!("https://one.example.com")));
    assert_eq!(without(&claims, &["iat", "exp", "iss"]), own);
    // What is said stays said.
    let said =
        json!({ "iss": "https://dex.example.org", "aud": ["cli"], "iat": began - 5, "exp": began + 60, "nbf": began });
    let request = json!({ "profile": "dex", "claims": said, "typ": "at+jwt" });
    let (header, claims) = verified(&mint, "dex", &sign(&deployment, &request));
    assert_eq!((&header["typ"], claims), (&json!("at+jwt"), said));
    // The limits of the front-end count where nothing is said, too.
    let (_, claims) = verified(&mint, "dex", &sign_narrowly(&deployment, &json!({ "aud": "web" })));
    assert_eq!(claims["exp"].as_i64().unwrap() - claims["iat"].as_i64().unwrap(), 60);
    assert_eq!(claims["iss"], "https://dex.example.com");
}

#[test]
fn a_front_end_that_asks_beyond_its_rights_is_told_and_the_keeper_is_not_asked() {
    let deployment = deployment();
    let mint = deployment.serve();
    let at = now();
    let good = json!({ "iss": "https://dex.example.com", "aud": "web", "iat": at, "exp": at + 60 });
    assert_eq!(sign_narrowly(&deployment, &good).status, 200);
    let asked = || mint.metric("mintkeep_keeper_signatures_requested_total");
    let before = asked();
    let changed = |name: &str, value: Value| {
        let mut claims = good.clone();
        claims[name] = value;
        sign_narrowly(&deployment, &claims)
    };
    let denied = |answer: &Answer, description: &str| assert_refused(answer, 403, "access_denied", description);
    let issuer = "the front-end may not sign for this issuer";
    denied(&changed("iss", json!("https://dex.example.org")), issuer);
    denied(&changed("iss", json!(["https://dex.example.com"])), issuer);
    let audience = "the front-end may not sign for this audience";
    denied(&changed("aud", json!("cli")), audience);
    denied(&changed("aud", json!(["web", "cli"])), audience);
    denied(&changed("aud", json!([])), audience);
    denied(&sign_narrowly(&deployment, &without(&good, &["aud"])), audience);
    denied(&changed("exp", json!(at + 61)), "the front-end may not sign for so long a lifetime");
    let times = "the front-end has to say iat, and exp after it";
    denied(&changed("exp", json!("tomorrow")), times);
    denied(&changed("exp", json!(at - 1)), times);
    denied(&changed("iat", json!(1.5)), times);
    for profile in ["one-issuer", "nobodys", "no-such-profile", "access-token", ""] {
        let body = json!({ "profile": profile, "claims": good }).to_string();
        let request = FrontendRequest::post(SIGN, &body).headers(&["Content-Type: application/json", NARROW]);
        denied(&deployment.ask_socket(&request), "the front-end may not use this signing profile");
    }
    assert_eq!(asked(), before, "the keeper was asked");
}

#[test]
fn claims_that_break_the_profile_are_refused_and_only_the_log_says_which_rule() {
    let deployment = deployment();
    let mint = deployment.serve();
    let at = now();
    let good = json!({ "iss": "https://dex.example.com", "aud": "web", "iat": at, "exp": at + 60 });
    let refused = |claims: &Value| {
        let answer = sign(&deployment, &json!({ "profile": "dex", "claims": claims }));
        assert_refused(&answer, 400, "invalid_request", "the claims do not keep to the signing profile");
    };
    let with = |name: &str, value: Value| {
        let mut claims = good.clone();
        claims[name] = value;
        claims
    };
    refused(&with("iss", json!("https://evil.example.com")));
    let event = mint.wait_for("the keeper refused to sign");
    let fields = &event["fields"];
    assert_eq!((&fields["frontend"], &fields["profile"]), (&json!("wide"), &json!("dex")));
    assert!(fields["rule"].as_str().unwrap().contains("iss"), "{fields}");
    assert!(!mint.log().contains("evil.example.com"), "claims are not for the log");
    refused(&without(&good, &["iss"]));
    refused(&without(&good, &["aud"]));
    refused(&with("aud", json!("api")));
    refused(&with("exp", json!(at + 601)));
    refused(&with("exp", json!(at)));
    refused(&with("iat", json!(at + 3600)));
    refused(&with("EXP", json!(at + 9999)));
    let request = |further: Value| {
        let mut request = json!({ "profile": "dex", "claims": good });
        request.as_object_mut().unwrap().extend(further.as_object().unwrap().clone());
        sign(&deployment, &request)
    };
    assert_refused(
        &request(json!({ "typ": "logout+jwt" })),
        400,
        "invalid_request",
        "typ: the profile allows no such type",
    );
    assert_refused(&request(json!({ "typ": "" })), 400, "invalid_request", "typ: the profile allows no such type");
    let one = "key: the profile has one key; leave this out";
    assert_refused(&request(json!({ "key": "k" })), 400, "invalid_request", one);
    let created = |key: Value| {
        let mut request = json!({ "profile": "created", "claims": {} });
        request.as_object_mut().unwrap().extend(key.as_object().unwrap().clone());
        sign(&deployment, &request)
    };
    assert_refused(&created(json!({})), 400, "invalid_request", "key: expected the name of a key of the profile");
    for key in ["no-such-key", "", "a/b", "../dex", &"x".repeat(65)] {
        let none = "the profile has no key of this name";
        assert_refused(&created(json!({ "key": key })), 400, "invalid_request", none);
    }
}

#[test]
fn the_keys_of_a_profile_are_everybodys_and_those_of_the_mint_are_others() {
    let deployment = deployment();
    let mint = deployment.serve();
    let public = mint.get("/jwks/dex");
    assert_eq!((public.status, public.header("content-type")), (200, Some("application/jwk-set+json")));
    assert_eq!(public.header("cache-control"), Some("public, max-age=300"));
    let kids = |answer: &Answer| -> Vec<String> {
        let keys = answer.json()["keys"].as_array().unwrap().clone();
        keys.iter().map(|key| key["kid"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(kids(&public).len(), 1);
    let own = deployment.ask_socket(&FrontendRequest::get("/admin/v1/sign/dex/jwks"));
    assert_eq!(own.body, public.body);
    assert!(kids(&mint.get("/.well-known/jwks.json")).iter().all(|kid| !kids(&public).contains(kid)));
    assert_ne!(kids(&mint.get("/jwks/one-issuer")), kids(&public));
    assert_eq!(kids(&mint.get("/jwks/created")), [""; 0]);
    for path in ["/jwks/no-such-profile", "/jwks/", "/jwks/access-token", "/jwks/dex%2Fx"] {
        assert_eq!(mint.get(path).status, 404, "{path}");
    }
    let etag = format!("If-None-Match: {}", public.header("etag").unwrap());
    let again = deployment.ask_socket(&FrontendRequest::get("/admin/v1/sign/dex/jwks").headers(&[&etag]));
    assert_eq!((again.status, again.body.as_str()), (304, ""));
    let other = deployment.ask_socket(&FrontendRequest::get("/admin/v1/sign/one-issuer/jwks").headers(&[NARROW]));
    assert_eq!(other.status, 403);
}
