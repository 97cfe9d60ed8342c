//! Who a token is for, as its client asks (RFC 8707).

use crate::support::jose::claims_of;
use crate::support::running::{basic, form};
use crate::support::{Answer, Deployment, RunningMint};

const CLIENT: &str = "ledger";

/// `ledger` may have tokens for two audiences at once, and one more by its name.
fn deployment(further: &str) -> Deployment {
    let deployment = Deployment::new();
    let hash = deployment.config_text().split("secret_sha256 = \"").nth(1).unwrap()[..64].to_owned();
    deployment.add_client(&format!(
        "id = \"{CLIENT}\"\nauthentication = \"client_secret_basic\"\nsecret_sha256 = \"{hash}\"
grants = [\"client_credentials\", \"refresh_token\"]\nscope = \"read write admin\"
audience = [\"https://a.example\", \"https://b.example\"]\nresources = [\"https://c.example\"]\n{further}
[[resource]]\nid = \"https://a.example\"\nscope = \"read\"
[[resource]]\nid = \"https://b.example\"\nscope = \"write\""
    ));
    deployment
}

fn ask(mint: &RunningMint, deployment: &Deployment, parameters: &[(&str, &str)]) -> Answer {
    let form = form(&[&[("grant_type", "client_credentials")], parameters].concat());
    mint.post_form(&[&basic(CLIENT, &deployment.secret)], &form)
}

#[test]
fn a_token_is_for_who_was_named_with_the_scope_that_is_known_there() {
    let deployment = deployment("");
    let mint = deployment.serve();
    for (parameters, audience, scope) in [
        (&[][..], r#"["https://a.example","https://b.example"]"#, "read write"),
        (&[("resource", "https://a.example")], r#""https://a.example""#, "read"),
        (&[("resource", "https://c.example")], r#""https://c.example""#, "read write admin"),
        (&[("resource", "https://c.example"), ("scope", "admin")], r#""https://c.example""#, "admin"),
        (
            &[("resource", "https://b.example"), ("resource", "https://c.example")],
            r#"["https://b.example","https://c.example"]"#,
            "read write admin",
        ),
    ] {
        let answer = ask(&mint, &deployment, parameters);
        let claims = claims_of(&answer.text("access_token"));
        assert_eq!(claims["aud"].to_string(), audience, "{parameters:?}");
        assert_eq!(claims["scope"], scope, "{parameters:?}");
        assert_eq!(answer.json()["scope"], scope, "{parameters:?}");
    }
    ask(&mint, &deployment, &[("resource", "https://a.example"), ("scope", "write")])
        .assert_error(400, "invalid_scope");
    for resource in ["https://d.example", "https://a.example#fragment", "a.example", "https://a.example/"] {
        ask(&mint, &deployment, &[("resource", resource)]).assert_error(400, "invalid_target");
    }
}

#[test]
fn several_at_once_are_for_who_may_have_them() {
    let deployment = deployment("several_audiences = false");
    let mint = deployment.serve();
    let both = [("resource", "https://a.example"), ("resource", "https://b.example")];
    ask(&mint, &deployment, &both).assert_error(400, "invalid_target");
    ask(&mint, &deployment, &both[..1]).text("access_token");
}

#[test]
fn a_refresh_token_serves_each_resource_with_what_is_known_there() {
    let deployment = deployment("");
    let mint = deployment.serve();
    let token = deployment.grant_to(CLIENT);
    let refresh = |parameters: &[(&str, &str)]| {
        let form = form(&[&[("grant_type", "refresh_token"), ("refresh_token", &token)], parameters].concat());
        mint.post_form(&[&basic(CLIENT, &deployment.secret)], &form)
    };
    let claims = claims_of(&refresh(&[("resource", "https://b.example")]).text("access_token"));
    assert_eq!((&claims["aud"], &claims["scope"]), (&"https://b.example".into(), &"write".into()));
    refresh(&[("resource", "https://d.example")]).assert_error(400, "invalid_target");
    // What failed cost nothing.
    refresh(&[]).text("access_token");
}
