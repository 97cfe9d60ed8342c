//! ID tokens: what they say, verified by others, and to whom.

use aws_lc_rs::digest::{SHA256, digest};
use serde_json::{Value, json};

use crate::support::client_key::{encode, now};
use crate::support::jose::{claims_of, header_of, verified, verified_by_jwcrypto};
use crate::support::login::{AUDIENCE, WEB_APP, WEB_SERVICE, alice, log_in, redeem, redeem_for_service};
use crate::support::{Answer, Deployment, RunningMint};

fn deployment() -> Deployment {
    let deployment = Deployment::new();
    deployment.add_logins();
    deployment
}

/// The claims of the ID token in `answer`, verified; without `iat`, `exp`, `at_hash` and `sid`, which are checked here.
#[track_caller]
fn id_token(mint: &RunningMint, client: &str, answer: &Answer) -> Value {
    let (token, access_token) = (answer.text("id_token"), answer.text("access_token"));
    let header = header_of(&token);
    let members: Vec<&String> = header.as_object().unwrap().keys().collect();
    assert_eq!(members, ["alg", "kid", "typ"]);
    assert_eq!((&header["alg"], &header["typ"]), (&json!("ES256"), &json!("JWT")));
    let mut claims = verified(mint, &token, client);
    let by_python = verified_by_jwcrypto(&mint.get("/.well-known/jwks.json").body, &token);
    assert_eq!(by_python, Some(claims.clone()));
    let hash = digest(&SHA256, access_token.as_bytes());
    let mut take = |name: &str| claims.as_object_mut().unwrap().remove(name).expect("it is there");
    assert_eq!(take("at_hash"), json!(encode(&hash.as_ref()[..16])));
    assert_eq!(take("sid"), claims_of(&access_token)["sid"]);
    let (iat, exp) = (take("iat").as_i64().unwrap(), take("exp").as_i64().unwrap());
    assert!((now() - 30..=now()).contains(&iat), "{iat}");
    assert_eq!(exp - iat, 300);
    claims
}

#[test]
fn an_id_token_says_who_logged_in_how_and_for_which_client() {
    let deployment = deployment();
    let mint = deployment.serve();
    let auth_time = now() - 10;
    let claims = json!({
        "name": "Alice", "email": "alice@example.com", "email_verified": true, "phone_number": "+31 1",
        "groups": ["staff", "ops"], "https://example.com/tenant": {"id": 7},
    });
    let said =
        json!({"subject": "alice", "auth_time": auth_time, "acr": "urn:mfa", "amr": ["pwd", "otp"], "claims": claims});
    let asked = [("scope", "openid email"), ("nonce", "a nonce&\"x\""), ("max_age", "600")];
    let answer = redeem(&mint, WEB_APP, &log_in(&mint, WEB_APP, &asked, &said));
    let mut expected = json!({
        "iss": "https://mint.example.com", "sub": "alice", "aud": WEB_APP, "nonce": "a nonce&\"x\"",
        "auth_time": auth_time, "acr": "urn:mfa", "amr": ["pwd", "otp"], "email": "alice@example.com",
        "email_verified": true, "groups": ["staff", "ops"], "https://example.com/tenant": {"id": 7},
    });
    assert_eq!(id_token(&mint, WEB_APP, &answer), expected);
    // Nobody takes it for an access token.
    let shown = mint.bear("GET", "/oauth/userinfo", Some(&answer.text("id_token")), None);
    shown.assert_error(401, "invalid_token");
    // After a refresh it is the same login, and no answer to a request.
    let refreshed = mint.refresh_of(WEB_APP, &answer.text("refresh_token"));
    expected.as_object_mut().unwrap().remove("nonce");
    assert_eq!(id_token(&mint, WEB_APP, &refreshed), expected);
    // By the scope that is asked for at that time.
    let narrowed = mint.post_form(
        &[],
        &crate::support::running::form(&[
            ("grant_type", "refresh_token"),
            ("client_id", WEB_APP),
            ("refresh_token", &refreshed.text("refresh_token")),
            ("scope", "email"),
        ]),
    );
    assert_eq!(narrowed.json().get("id_token"), None);
}

#[test]
fn what_the_front_end_does_not_say_the_token_does_not_say() {
    let deployment = deployment();
    let mint = deployment.serve();
    let code = log_in(&mint, WEB_SERVICE, &[("scope", "openid")], &alice());
    let answer = redeem_for_service(&mint, &deployment.secret, &code);
    let expected = json!({"iss": "https://mint.example.com", "sub": "alice", "aud": WEB_SERVICE});
    assert_eq!(id_token(&mint, WEB_SERVICE, &answer), expected);
    let access = verified(&mint, &answer.text("access_token"), AUDIENCE);
    assert!(["auth_time", "acr", "amr"].iter().all(|name| access.get(*name).is_none()), "{access}");
}

#[test]
fn who_is_not_asked_who_it_is_says_nothing() {
    let deployment = deployment();
    let mint = deployment.serve();
    // Asked for, and not granted; and not asked for.
    let said = json!({"subject": "alice", "scope": "read"});
    for (asked, said) in [("openid read", &said), ("read", &alice())] {
        let answer = redeem(&mint, WEB_APP, &log_in(&mint, WEB_APP, &[("scope", asked)], said));
        assert_eq!((answer.json().get("id_token"), &answer.json()["scope"]), (None, &json!("read")));
    }
}

#[test]
fn openid_is_for_the_mint_whatever_the_resource_knows() {
    let deployment = deployment();
    deployment.append(&format!("[[resource]]\nid = \"{AUDIENCE}\"\nscope = \"read\""));
    let mint = deployment.serve();
    let answer = redeem(&mint, WEB_APP, &log_in(&mint, WEB_APP, &[], &alice()));
    assert_eq!(answer.json()["scope"], "openid profile email read");
    let refreshed = mint.refresh_of(WEB_APP, &answer.text("refresh_token"));
    assert_eq!(refreshed.json()["scope"], "openid profile email read");
    id_token(&mint, WEB_APP, &refreshed);
}
