//! How many requests of a front-end are served, and what is said of those that are no requests.

use std::io::Write as _;

use serde_json::{Value, json};

use crate::support::frontend::{FrontendRequest, own_uid, token_line};
use crate::support::{Answer, Deployment};

const QUESTION: &str = "/admin/v1/sign/no-such-profile/jwks";
const SIGN: &str = "/admin/v1/sign";

fn deployment(lines: &str) -> Deployment {
    let deployment = Deployment::new();
    deployment.listen_for_frontends();
    deployment.add_frontend("pages", &format!("uid = {}\n{lines}", own_uid()));
    deployment
}

#[track_caller]
fn assert_over_limit(answer: &Answer) {
    assert_eq!((answer.status, answer.header("retry-after")), (429, Some("1")), "{answer:?}");
    assert_eq!(answer.json()["error"], "temporarily_unavailable");
}

#[test]
fn so_many_requests_a_second_are_served() {
    let deployment = deployment("requests_per_second = 1");
    let mint = deployment.serve();
    let statuses: Vec<u16> = (0..20).map(|_| deployment.ask_socket(&FrontendRequest::get(QUESTION)).status).collect();
    assert_eq!(statuses[0], 403);
    assert!(statuses.contains(&429), "{statuses:?}");
    assert!(mint.log().contains("a front-end is over a limit of its own"));
}

#[test]
fn so_many_requests_at_a_time_are_served() {
    let deployment = deployment("concurrent_requests = 1");
    deployment.add_frontend("other", &token_line(&["mks_other"]));
    let _mint = deployment.serve();
    // Its body is still to come. The interim answer says that it is waited for, so its place is taken by then.
    let body = "{}";
    let mut first = deployment.connect_socket("frontend.sock");
    let head = format!(
        "POST {SIGN} HTTP/1.1\r\nHost: mint\r\nConnection: close\r\nContent-Type: application/json\r\nExpect: 100-continue\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    first.write_all(head.as_bytes()).unwrap();
    let mut interim = [0; 25];
    std::io::Read::read_exact(&mut first, &mut interim).unwrap();
    assert_eq!(&interim, b"HTTP/1.1 100 Continue\r\n\r\n");
    let question = FrontendRequest::get(QUESTION);
    assert_over_limit(&deployment.ask_socket(&question));
    // Another front-end's is another's.
    assert_eq!(deployment.ask_socket(&question.headers(&["Authorization: Bearer mks_other"])).status, 403);
    let answer = Answer::exchange(first, body.as_bytes());
    assert_eq!(answer.status, 400, "{answer:?}");
    assert_eq!(deployment.ask_socket(&question).status, 403);
}

#[test]
fn what_is_no_request_is_refused_and_told_what_one_is() {
    let deployment = deployment("");
    let mint = deployment.serve();
    let expected = "expected JSON with profile, and claims or signing_input, and, optionally, key and typ, each once";
    let deep = format!("{{\"profile\":\"p\",\"claims\":{{\"a\":{}1{}}}}}", "[".repeat(40), "]".repeat(40));
    for body in [
        "",
        "nonsense",
        "null",
        "[]",
        "{}",
        "{\"profile\":\"p\"}",
        "{\"claims\":{}}",
        "{\"profile\":1,\"claims\":{}}",
        "{\"profile\":\"p\",\"claims\":[]}",
        "{\"profile\":\"p\",\"claims\":\"{}\"}",
        "{\"profile\":\"p\",\"claims\":{},\"more\":1}",
        "{\"profile\":\"p\",\"claims\":{},\"key\":1}",
        "{\"profile\":\"p\",\"profile\":\"q\",\"claims\":{}}",
        "{\"profile\":\"p\",\"claims\":{\"sub\":\"a\",\"sub\":\"b\"}}",
        "{\"profile\":\"p\",\"claims\":{\"a\":{\"b\":1,\"b\":2}}}",
        "{\"profile\":\"p\",\"claims\":{}} x",
        "{\"profile\":\"p\",\"claims\":{\"a\":1e999}}",
        "[\"p\",{}]",
        &deep,
    ] {
        let answer = deployment.ask_socket(&FrontendRequest::post(SIGN, body));
        assert_eq!(answer.status, 400, "{body}: {answer:?}");
        assert_eq!(answer.json(), json!({ "error": "invalid_request", "error_description": expected }), "{body}");
    }
    let without_type = FrontendRequest::post(SIGN, "{}").headers(&["Content-Type: text/plain"]);
    let answer = deployment.ask_socket(&without_type);
    assert_eq!(answer.json()["error_description"], "expected Content-Type: application/json");
    let large = format!("{{\"profile\":\"p\",\"claims\":{{\"a\":\"{}\"}}}}", "x".repeat(17 * 1024));
    assert_eq!(deployment.ask_socket(&FrontendRequest::post(SIGN, &large)).status, 413);
    let wrong_method = deployment.ask_socket(&FrontendRequest::get(SIGN));
    assert_eq!((wrong_method.status, wrong_method.header("allow")), (405, Some("POST")));
    // Nobody learns what a request is like whose caller is nobody.
    let nobody = FrontendRequest::post(SIGN, "nonsense");
    assert_eq!(mint.ask_frontend_address(&nobody).status, 401);
}

#[test]
fn the_routes_are_described() {
    let deployment = deployment("");
    let mint = deployment.serve();
    let answer = mint.ask_frontend_address(&FrontendRequest::get("/openapi.json"));
    assert_eq!((answer.status, answer.header("content-type")), (200, Some("application/json")));
    let description: Value = answer.json();
    let paths: Vec<&String> = description["paths"].as_object().unwrap().keys().collect();
    for path in ["/admin/v1/sign", "/admin/v1/sign/{profile}/jwks", "/openapi.json"] {
        assert!(paths.iter().any(|known| *known == path), "{path} is not in {paths:?}");
    }
    let sign = &description["paths"]["/admin/v1/sign"]["post"];
    for status in ["200", "400", "401", "403", "413", "429", "503"] {
        assert!(sign["responses"].get(status).is_some(), "{status} is not in {sign}");
    }
    assert_eq!(sign["security"], json!([{ "frontend_token": [] }, {}]));
    let request = &description["components"]["schemas"]["SignRequest"];
    assert_eq!(request["required"], json!(["profile", "claims"]));
    // None of them is for the public.
    let public: Value = mint.get("/openapi.json").json();
    assert!(public["paths"].as_object().unwrap().keys().all(|path| !path.starts_with("/admin")));
    assert_eq!(mint.get(QUESTION).status, 404);
}
