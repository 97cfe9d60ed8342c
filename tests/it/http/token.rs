use crate::support::running::form;
use crate::support::{Deployment, WORKLOAD};

#[test]
fn a_malformed_request_is_answered_as_rfc_6749_has_it() {
    let deployment = Deployment::new();
    let mint = deployment.serve();
    let basic = mint.basic();
    let good = "grant_type=client_credentials";
    let error = |form: &str, code: &str| mint.post_form(&[&basic], form).assert_error(400, code);
    error("", "invalid_request");
    error("grant_type=", "invalid_request");
    error(&format!("{good}&{good}"), "invalid_request");
    error(&format!("{good}&scope=read:invoices&scope=read:invoices"), "invalid_request");
    // RFC 6749 §3.2: no parameter more than once, whether we know it or not; one that we do not know is ignored.
    error(&format!("{good}&x=1&x=2"), "invalid_request");
    mint.post_form(&[&basic], &format!("{good}&x=1")).text("access_token");
    error(&format!("{good}&scope=%ff%fe"), "invalid_request");
    let many: String = (0..5000).map(|number| format!("&p{number}=")).collect();
    error(&format!("{good}{}", &many[..15_000]), "invalid_request");
    error("grant_type=password", "unsupported_grant_type");
    error("grant_type=authorization_code", "unauthorized_client");
    error("grant_type=Client_Credentials", "unsupported_grant_type");
    mint.post_form(&[], &form(&[("grant_type", "refresh_token"), ("client_id", WORKLOAD)]))
        .assert_error(400, "invalid_request");
}

#[test]
fn only_a_form_is_taken() {
    let deployment = Deployment::new();
    let mint = deployment.serve();
    let post = |content_type: &str, body: &str| {
        let length = body.len();
        mint.raw(
            format!("POST /oauth/token HTTP/1.1\r\nHost: mint\r\nConnection: close\r\n{content_type}{}\r\nContent-Length: {length}\r\n\r\n{body}", mint.basic())
                .as_bytes(),
        )
    };
    let body = "grant_type=client_credentials";
    post("Content-Type: application/json\r\n", r#"{"grant_type":"client_credentials"}"#)
        .assert_error(400, "invalid_request");
    post("Content-Type: text/plain\r\n", body).assert_error(400, "invalid_request");
    post("Content-Type: multipart/form-data; boundary=x\r\n", body).assert_error(400, "invalid_request");
    post("", body).assert_error(400, "invalid_request");
    post("Content-Type: Application/X-WWW-Form-Urlencoded; charset=UTF-8\r\n", body).text("access_token");
}

#[test]
fn parameters_in_the_address_are_not_read() {
    let deployment = Deployment::new();
    let mint = deployment.serve();
    let answer = mint.raw(
        format!(
            "POST /oauth/token?grant_type=client_credentials HTTP/1.1\r\nHost: mint\r\nConnection: close\r\n{}\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: 0\r\n\r\n",
            mint.basic()
        )
        .as_bytes(),
    );
    answer.assert_error(400, "invalid_request");
}

#[test]
fn other_methods_are_refused_with_the_one_allowed() {
    let deployment = Deployment::new();
    let mint = deployment.serve();
    let answer = mint.get("/oauth/token?grant_type=client_credentials");
    answer.assert_error(405, "invalid_request");
    assert_eq!(answer.header("allow"), Some("POST"));
    assert_eq!(mint.get("/oauth/nothing").status, 404);
}

#[test]
fn a_token_or_a_secret_is_in_no_log_at_any_level() {
    let deployment = Deployment::new();
    deployment.edit(|config| config["log"]["level"] = toml_edit::value("trace"));
    let mint = deployment.serve();
    let first = deployment.grant();
    let answer = mint.refresh(&first);
    let (access, second) = (answer.text("access_token"), answer.text("refresh_token"));
    let third = mint.refresh(&second).text("refresh_token");
    mint.refresh(&first).assert_error(400, "invalid_grant");
    mint.client_credentials().text("access_token");
    mint.post_form(&["Authorization: Basic YmlsbGluZy1zZXJ2aWNlOndyb25nLXNlY3JldA=="], "grant_type=client_credentials")
        .assert_error(401, "invalid_client");
    mint.wait_for("a refresh token was replayed");
    let log = mint.log();
    assert!(log.contains("\"level\":\"WARN\""), "{log}");
    let pin = deployment.pin();
    for secret in [&first, &second, &third, &access, &deployment.secret, &pin, "wrong-secret"] {
        assert!(!log.contains(secret), "{secret} is in the log");
        let signature = secret.rsplit('.').next().unwrap();
        assert!(!log.contains(signature), "the end of {secret} is in the log");
    }
}
