use crate::support::running::{basic, form};
use crate::support::{Answer, Deployment, SERVICE, WORKLOAD};

#[track_caller]
fn assert_invalid_client(answer: &Answer) {
    answer.assert_error(401, "invalid_client");
    // RFC 6749 §5.2: the challenge of the scheme that the client used, or may use.
    let challenge = answer.header("www-authenticate").expect("a challenge");
    assert!(challenge.starts_with("Basic realm="), "{challenge}");
}

#[test]
fn a_secret_is_taken_from_the_header_or_from_the_form() {
    let deployment = Deployment::new();
    let mint = deployment.serve();
    mint.client_credentials().text("access_token");
    let in_form =
        form(&[("grant_type", "client_credentials"), ("client_id", SERVICE), ("client_secret", &deployment.secret)]);
    mint.post_form(&[], &in_form).text("access_token");
    // RFC 9110 §11.1: the scheme's name is case-insensitive.
    let lower_case = mint.basic().replacen("Basic", "basic", 1);
    mint.post_form(&[&lower_case], "grant_type=client_credentials").text("access_token");
    // The client may repeat its name, which must then be the same one.
    mint.post_form(&[&mint.basic()], &form(&[("grant_type", "client_credentials"), ("client_id", SERVICE)]))
        .text("access_token");
    mint.post_form(&[&mint.basic()], &form(&[("grant_type", "client_credentials"), ("client_id", WORKLOAD)]))
        .assert_error(400, "invalid_request");
}

#[test]
fn what_proves_nothing_is_an_invalid_client() {
    let deployment = Deployment::new();
    let mint = deployment.serve();
    let grant = "grant_type=client_credentials";
    let wrong = format!("{}x", deployment.secret);
    assert_invalid_client(&mint.post_form(&[&basic(SERVICE, &wrong)], grant));
    assert_invalid_client(&mint.post_form(&[&basic(SERVICE, "")], grant));
    assert_invalid_client(&mint.post_form(&[&basic("nobody", &deployment.secret)], grant));
    assert_invalid_client(&mint.post_form(&[], grant));
    assert_invalid_client(&mint.post_form(&[], &format!("{grant}&client_id={SERVICE}")));
    assert_invalid_client(&mint.post_form(&[], &format!("{grant}&client_id=nobody")));
    assert_invalid_client(&mint.post_form(&[], &format!("{grant}&client_id={SERVICE}&client_secret={wrong}")));
    // A public client has no secret; whatever is presented as one is wrong.
    assert_invalid_client(&mint.post_form(&[&basic(WORKLOAD, "x")], "grant_type=refresh_token&refresh_token=x"));
    // The hash in the configuration is not a secret.
    let hash = deployment.config_text().split("secret_sha256 = \"").nth(1).unwrap()[..64].to_owned();
    assert_invalid_client(&mint.post_form(&[&basic(SERVICE, &hash)], grant));
}

#[test]
fn credentials_in_two_places_and_broken_ones_are_refused() {
    let deployment = Deployment::new();
    let mint = deployment.serve();
    let twice = form(&[("grant_type", "client_credentials"), ("client_secret", &deployment.secret)]);
    mint.post_form(&[&mint.basic()], &twice).assert_error(400, "invalid_request");
    mint.post_form(&[&mint.basic(), &mint.basic()], "grant_type=client_credentials")
        .assert_error(400, "invalid_request");
    for header in ["Authorization: Basic %%%", "Authorization: Basic bm9jb2xvbg==", "Authorization: Bearer x"] {
        assert_invalid_client(&mint.post_form(&[header], "grant_type=client_credentials"));
    }
}

#[test]
fn a_client_uses_its_registered_way_and_no_other() {
    let deployment = Deployment::new();
    let hash = deployment.config_text().split("secret_sha256 = \"").nth(1).unwrap()[..64].to_owned();
    for method in ["client_secret_basic", "client_secret_post"] {
        deployment.add_client(&format!(
            "id = \"by {method}\"\nauthentication = \"{method}\"\nsecret_sha256 = \"{hash}\"\ngrants = [\"client_credentials\"]\nscope = \"s\"\naudience = \"https://a.example\""
        ));
    }
    let mint = deployment.serve();
    let secret = &deployment.secret;
    let by_header = |id: &str| mint.post_form(&[&basic(id, secret)], "grant_type=client_credentials");
    let by_form = |id: &str| {
        mint.post_form(
            &[],
            &form(&[("grant_type", "client_credentials"), ("client_id", id), ("client_secret", secret)]),
        )
    };
    // RFC 6749 §2.3.1: id and secret are form-encoded before they go into the header.
    by_header("by+client_secret_basic").text("access_token");
    by_header("by%20client_secret_basic").text("access_token");
    by_form("by client_secret_post").text("access_token");
    assert_invalid_client(&by_form("by client_secret_basic"));
    assert_invalid_client(&by_header("by+client_secret_post"));
}

#[test]
fn two_secrets_are_good_while_one_replaces_the_other() {
    let old = Deployment::new();
    let hash = |text: String| text.split("secret_sha256 = \"").nth(1).unwrap()[..64].to_owned();
    let new = Deployment::without_token();
    let both = format!("[\"{}\", \"{}\"]", hash(old.config_text()), hash(new.config_text()));
    old.add_client(&format!(
        "id = \"in-between\"\nauthentication = \"client_secret_basic\"\nsecret_sha256 = {both}\ngrants = [\"client_credentials\"]\nscope = \"s\"\naudience = \"https://a.example\""
    ));
    let mint = old.serve();
    for secret in [&old.secret, &new.secret] {
        mint.post_form(&[&basic("in-between", secret)], "grant_type=client_credentials").text("access_token");
    }
    assert_invalid_client(&mint.post_form(&[&basic("in-between", "mks_x")], "grant_type=client_credentials"));
}
