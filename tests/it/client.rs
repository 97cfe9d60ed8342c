//! The client of the library, against a mint; and, for what it says of logins, against a listener that only writes down.

use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::time::Duration;

use mintkeep::client::{Acceptance, Client, ClientError, FrontendGrant, Login, Refusal, SignRequest};
use secrecy::SecretString;
use serde_json::{Value, json};

use crate::support::Deployment;
use crate::support::frontend::{own_uid, token_line};
use crate::support::process::succeed;

const TOKEN: &str = "mks_the-token-of-the-client";

fn deployment() -> Deployment {
    let deployment = Deployment::without_keys();
    deployment.listen_for_frontends();
    deployment
        .append("[[signing_profile]]\nname = \"dex\"\ncontent = \"jwt\"\nissuers = [\"https://dex.example.com\"]\n");
    deployment.add_frontend("local", &format!("uid = {}\nprofiles = [\"dex\"]", own_uid()));
    let limited = format!("{}\nprofiles = [\"dex\"]\nmax_lifetime = \"1m\"", token_line(&[TOKEN]));
    deployment.add_frontend("remote", &limited);
    deployment.add_frontend("slow", &format!("{}\nrequests_per_second = 1", token_line(&["mks_slow"])));
    succeed(&mut deployment.command(&["keys", "init"]));
    deployment
}

fn token(text: &str) -> SecretString {
    SecretString::from(text.to_owned())
}

#[tokio::test]
async fn claims_are_signed_over_a_socket_and_over_http() {
    let deployment = deployment();
    let mint = deployment.serve();
    let url = format!("http://{}", mint.frontend_address());
    let local = Client::at_socket(deployment.path("frontend.sock")).build().unwrap();
    let remote = Client::at_url(url.parse().unwrap()).token(token(TOKEN)).build().unwrap();
    for client in [&local, &remote, &local.clone()] {
        let signed = client.sign("dex", &json!({ "sub": "ada" })).await.unwrap();
        assert_eq!(signed.jws.split('.').count(), 3);
        let keys = client.jwks("dex").await.unwrap();
        assert_eq!(keys["keys"][0]["kid"], signed.kid.as_str());
    }
    let request = SignRequest {
        profile: "dex".to_owned(),
        claims: serde_json::Map::new(),
        key: None,
        typ: Some("at+jwt".to_owned()),
    };
    let refused = local.sign_request(&request).await.unwrap_err();
    let ClientError::Refused { status: 400, error, description } = refused else { panic!("{refused:?}") };
    assert_eq!((error.as_str(), description.as_str()), ("invalid_request", "typ: the profile allows no such type"));
}

#[tokio::test]
async fn what_is_not_granted_is_told_by_its_cause() {
    let deployment = deployment();
    let mint = deployment.serve();
    let url = format!("http://{}", mint.frontend_address());
    let with = |text: &str| Client::at_url(url.parse().unwrap()).token(token(text)).build().unwrap();
    let status = |error: ClientError| match error {
        ClientError::Refused { status, error, .. } => (status, error),
        other => panic!("{other:?}"),
    };
    let beyond = with(TOKEN).sign("dex", &json!({ "iat": 1, "exp": 1000 })).await.unwrap_err();
    assert_eq!(status(beyond), (403, "access_denied".to_owned()));
    let nobody = with("mks_wrong").sign("dex", &json!({})).await.unwrap_err();
    assert!(!format!("{nobody} {nobody:?}").contains("mks_"));
    assert_eq!(status(nobody), (401, "invalid_token".to_owned()));
    // Whatever a name is, it is one segment of the path.
    assert_eq!(status(with(TOKEN).jwks("../../sessions?a=b#c").await.unwrap_err()).0, 403);
    assert_eq!(status(with(TOKEN).jwks("a/b").await.unwrap_err()).0, 403);
    let slow = with("mks_slow");
    let mut outcomes = Vec::new();
    for _ in 0..20 {
        outcomes.push(slow.jwks("dex").await.unwrap_err());
    }
    let over = ClientError::Unavailable { retry_after: Duration::from_secs(1) };
    assert!(outcomes.contains(&over), "{outcomes:?}");
    for claims in [json!([]), json!("claims"), Value::Null] {
        assert!(matches!(with(TOKEN).sign("dex", &claims).await, Err(ClientError::Settings(_))));
    }
    assert!(mint.terminate().success());
    assert!(matches!(with(TOKEN).jwks("dex").await, Err(ClientError::Unreachable(_))));
    let local = Client::at_socket(deployment.path("frontend.sock")).build().unwrap();
    assert!(matches!(local.jwks("dex").await, Err(ClientError::Unreachable(_))));
}

#[test]
fn a_client_sends_its_token_to_nobody_in_the_clear_and_shows_it_to_nobody() {
    for url in
        ["http://mint.example.com", "http://127.0.0.1.example.com", "ftp://localhost", "https://h/?a", "https://h/#a"]
    {
        let built = Client::at_url(url.parse().unwrap()).token(token(TOKEN)).build();
        assert!(matches!(built, Err(ClientError::Settings(_))), "{url}");
    }
    let client = Client::at_url("https://mint.example.com".parse().unwrap()).token(token(TOKEN)).build().unwrap();
    assert!(!format!("{client:?}").contains(TOKEN));
    let wrong = Client::at_socket("s").authorities("nonsense").build().unwrap_err();
    assert!(wrong.to_string().contains("expected"), "{wrong}");
    let secret = "-----BEGIN PRIVATE KEY-----\nsecret!\n-----END PRIVATE KEY-----\n";
    let wrong = Client::at_socket("s").certificate("", token(secret)).build().unwrap_err();
    assert!(!format!("{wrong:?}").contains("secret!"), "{wrong}");
}

/// A client whose mint answers `answer`, and the request that it gets.
fn written_down(answer: &Value) -> (Client, std::thread::JoinHandle<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/behind/", listener.local_addr().unwrap());
    let body = answer.to_string();
    let request = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let (mut received, mut part) = (Vec::new(), [0; 4096]);
        loop {
            let text = String::from_utf8(received.clone()).unwrap();
            let whole = text.split_once("\r\n\r\n").filter(|(head, body)| {
                let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
                length.is_none_or(|length| body.len() == length.parse::<usize>().unwrap())
            });
            if whole.is_some() {
                let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", body.len());
                stream.write_all(format!("{head}{body}").as_bytes()).unwrap();
                return text;
            }
            let length = stream.read(&mut part).unwrap();
            assert_ne!(length, 0, "half a request: {text}");
            received.extend_from_slice(&part[..length]);
        }
    });
    (Client::at_url(url.parse().unwrap()).token(token(TOKEN)).build().unwrap(), request)
}

/// Its first line, and its body.
fn parts(request: std::thread::JoinHandle<String>) -> (String, Value) {
    let text = request.join().unwrap();
    assert!(text.contains(&format!("authorization: Bearer {TOKEN}\r\n")), "{text}");
    let (head, body) = text.split_once("\r\n\r\n").unwrap();
    (head.lines().next().unwrap().to_owned(), serde_json::from_str(body).unwrap_or_default())
}

#[tokio::test]
async fn logins_are_read_and_decided() {
    let answer = json!({ "client_id": "web", "redirect_uri": "http://127.0.0.1/cb", "scope": "openid", "max_age": 60, "expires_at": 7, "more": 1 });
    let (client, request) = written_down(&answer);
    let login: Login = client.login("handle").await.unwrap();
    assert_eq!((login.client_id.as_str(), login.max_age, login.expires_at), ("web", Some(60), 7));
    assert_eq!(parts(request).0, "GET /behind/admin/v1/logins/handle HTTP/1.1");
    let redirection = json!({ "redirect_to": "http://127.0.0.1/cb?code=c" });
    let (client, request) = written_down(&redirection);
    let acceptance = Acceptance { subject: "ada".to_owned(), acr: Some("2".to_owned()), ..Acceptance::default() };
    assert_eq!(client.accept("handle", &acceptance).await.unwrap().redirect_to, "http://127.0.0.1/cb?code=c");
    let accepted =
        ("POST /behind/admin/v1/logins/handle/accept HTTP/1.1".to_owned(), json!({ "subject": "ada", "acr": "2" }));
    assert_eq!(parts(request), accepted);
    let (client, request) = written_down(&redirection);
    let refusal = Refusal { error: "access_denied".to_owned(), error_description: None };
    client.refuse("handle", &refusal).await.unwrap();
    let refused =
        ("POST /behind/admin/v1/logins/handle/refuse HTTP/1.1".to_owned(), json!({ "error": "access_denied" }));
    assert_eq!(parts(request), refused);
    let (client, request) =
        written_down(&json!({ "access_token": "secret!", "token_type": "Bearer", "expires_in": 5 }));
    let grant = FrontendGrant { client_id: "web".to_owned(), resource: None, acceptance: acceptance.clone() };
    let tokens = client.grant(&grant).await.unwrap();
    assert!(!format!("{tokens:?}").contains("secret!"));
    let granted = (
        "POST /behind/admin/v1/grants HTTP/1.1".to_owned(),
        json!({ "client_id": "web", "subject": "ada", "acr": "2" }),
    );
    assert_eq!(parts(request), granted);
    // What is not understood is not repeated: it may be a token.
    let (client, _) = written_down(&json!({ "access_token": ["secret!"] }));
    let error = client.grant(&grant).await.unwrap_err();
    assert!(matches!(error, ClientError::Answer(_)) && !format!("{error:?}").contains("secret!"), "{error:?}");
}

#[tokio::test]
async fn devices_and_logouts_are_decided() {
    let post = |path: &str| format!("POST /behind/admin/v1/{path} HTTP/1.1");
    let (client, request) = written_down(&json!({ "client_id": "tv", "scope": "openid", "expires_at": 7 }));
    assert_eq!(client.device("BDWD-HQPK").await.unwrap().client_id, "tv");
    assert_eq!(parts(request).0, "GET /behind/admin/v1/devices/BDWD-HQPK HTTP/1.1");
    let (client, request) = written_down(&json!({}));
    let acceptance = Acceptance { subject: "ada".to_owned(), ..Acceptance::default() };
    client.accept_device("BDWD-HQPK", &acceptance).await.unwrap();
    assert_eq!(parts(request), (post("devices/BDWD-HQPK/accept"), json!({ "subject": "ada" })));
    let (client, request) = written_down(&json!({}));
    let refusal = Refusal { error: "access_denied".to_owned(), error_description: Some("no".to_owned()) };
    client.refuse_device("BDWD-HQPK", &refusal).await.unwrap();
    let refused = json!({ "error": "access_denied", "error_description": "no" });
    assert_eq!(parts(request), (post("devices/BDWD-HQPK/refuse"), refused));
    let (client, request) = written_down(&json!({ "client_id": "web", "session": "s", "expires_at": 7 }));
    assert_eq!(client.logout("handle").await.unwrap().session.as_deref(), Some("s"));
    assert_eq!(parts(request).0, "GET /behind/admin/v1/logouts/handle HTTP/1.1");
    for (session, body) in [(None, json!({})), (Some("s"), json!({ "session": "s" }))] {
        let (client, request) = written_down(&json!({}));
        assert_eq!(client.accept_logout("handle", session).await.unwrap().redirect_to, None);
        assert_eq!(parts(request), (post("logouts/handle/accept"), body));
    }
    let (client, request) = written_down(&json!({ "families": 2 }));
    assert_eq!(client.end_session("s").await.unwrap().families, 2);
    assert_eq!(parts(request), (post("sessions/end"), json!({ "session": "s" })));
}
