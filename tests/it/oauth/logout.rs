//! Logouts: that a client asks for, that a front-end performs, and that clients are told of.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, TcpListener, TcpStream};

use crossbeam_channel::{Receiver, unbounded};
use mintkeep::oauth::secret::SecretHash;
use serde_json::{Value, json};

use crate::support::jose::{claims_of, verified};
use crate::support::login::{AUDIENCE, CALLBACK, STRANGERS, parameter};
use crate::support::running::{basic, form};
use crate::support::{API, Answer, Deployment, RunningMint};

/// The token of the front-end.
const PAGES: &str = "mks_token-of-pages";
const AFTER: &str = "https://app.example.com/bye";
const EVENT: &str = "http://schemas.openid.net/event/backchannel-logout";

/// Where a client is told of logouts, in the clear at a loopback address. It answers each by the next of `statuses`, and
/// by 200 from then on.
struct Receiving {
    uri: String,
    requests: Receiver<(String, String)>,
}

impl Receiving {
    fn start(statuses: &'static [u16]) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let uri = format!("http://{}/logout?from=mint", listener.local_addr().unwrap());
        let (sender, requests) = unbounded();
        std::thread::spawn(move || {
            let mut statuses = statuses.iter();
            for stream in listener.incoming() {
                let Some(request) = received(stream.as_ref().unwrap()) else { continue };
                let status = statuses.next().unwrap_or(&200);
                let answer = format!("HTTP/1.1 {status} X\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
                stream.unwrap().write_all(answer.as_bytes()).unwrap();
                let _ = sender.send(request);
            }
        });
        Self { uri, requests }
    }

    /// The head of the next request, and the logout token in it.
    #[track_caller]
    fn next(&self) -> (String, String) {
        let (head, body) = self.requests.recv_timeout(std::time::Duration::from_secs(60)).expect("it is told");
        (head, body.strip_prefix("logout_token=").expect("one parameter").to_owned())
    }
}

/// Head and body of one request.
fn received(mut stream: &TcpStream) -> Option<(String, String)> {
    let mut request = Vec::new();
    let mut part = [0; 4096];
    loop {
        let length = stream.read(&mut part).ok().filter(|length| *length > 0)?;
        request.extend_from_slice(&part[..length]);
        let text = String::from_utf8_lossy(&request).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length =
                head.to_lowercase().split("content-length: ").nth(1).unwrap().lines().next().unwrap().to_owned();
            if body.len() == length.parse::<usize>().unwrap() {
                return Some((head.to_owned(), body.to_owned()));
            }
        }
    }
}

/// Clients of one front-end: `web`, told at `uri`, and `app`, which is not told.
fn deployment(uri: &str) -> Deployment {
    let deployment = Deployment::new();
    deployment.add_logins();
    deployment.allow_failed_attempts();
    deployment.add_resource_server(AUDIENCE);
    for (id, further) in [
        ("web", format!("post_logout_redirect_uris = [\"{AFTER}\"]\nbackchannel_logout_uri = \"{uri}\"")),
        ("app", String::new()),
        ("orphan", String::new()),
    ] {
        deployment.add_client(&format!(
            "id = \"{id}\"\nauthentication = \"none\"\ngrants = [\"authorization_code\", \"refresh_token\"]
scope = \"openid read\"\naudience = \"{AUDIENCE}\"\nredirect_uris = [\"{CALLBACK}\"]\n{further}"
        ));
    }
    let token = SecretHash::of(PAGES).hexadecimal();
    deployment.append(&format!(
        "[[frontend]]\nname = \"pages\"\ntoken_sha256 = \"{token}\"\nclients = [\"web\", \"app\"]
login_url = \"https://pages.example/login\"\nlogout_url = \"https://pages.example/logout?theme=dark\""
    ));
    deployment
}

/// The tokens of `client` for Ada, in the front-end's `session`.
fn tokens(mint: &RunningMint, client: &str, session: Option<&str>) -> Value {
    let mut said = json!({"client_id": client, "subject": "ada"});
    if let Some(session) = session {
        said["session"] = json!(session);
    }
    let answer = mint.bear_to_admin("POST", "/admin/v1/grants", Some(PAGES), Some(&said));
    assert_eq!(answer.status, 201, "{answer:?}");
    answer.json()
}

fn logout(mint: &RunningMint, parameters: &[(&str, &str)]) -> Answer {
    mint.get(&format!("/oauth/logout?{}", form(parameters)))
}

/// The handle that the browser brings to the front-end.
#[track_caller]
fn handle(answer: &Answer) -> String {
    assert_eq!(answer.status, 303, "{answer:?}");
    let location = answer.header("location").expect("a location");
    assert!(location.starts_with("https://pages.example/logout?theme=dark&logout="), "{location}");
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    assert_eq!(answer.header("referrer-policy"), Some("no-referrer"));
    parameter(location, "logout").expect("a handle")
}

fn read(mint: &RunningMint, token: &str, handle: &str) -> Answer {
    mint.bear_to_admin("GET", &format!("/admin/v1/logouts/{handle}"), Some(token), None)
}

fn accept(mint: &RunningMint, token: &str, handle: &str, said: Option<&Value>) -> Answer {
    mint.bear_to_admin("POST", &format!("/admin/v1/logouts/{handle}/accept"), Some(token), said)
}

fn text<'a>(tokens: &'a Value, name: &str) -> &'a str {
    tokens[name].as_str().unwrap_or_else(|| panic!("no {name} in {tokens}"))
}

/// Whether the access token of `tokens` is still good.
fn is_active(deployment: &Deployment, mint: &RunningMint, tokens: &Value) -> bool {
    let token = form(&[("token", text(tokens, "access_token"))]);
    let answer = mint.post_form_to("/oauth/introspect", &[&basic(API, &deployment.secret)], &token);
    answer.json()["active"].as_bool().expect("a verdict")
}

/// What a logout token says, but for its name.
#[track_caller]
fn said(mint: &RunningMint, token: &str, tokens: &Value) {
    let claims = verified(mint, token, "web");
    let header = jsonwebtoken::decode_header(token).unwrap();
    assert_eq!(header.typ.as_deref(), Some("logout+jwt"));
    let issued_at = claims["iat"].as_i64().expect("a time");
    let sid = claims_of(text(tokens, "id_token"))["sid"].clone();
    assert_eq!(
        claims,
        json!({
            "iss": "https://mint.example.com", "sub": "ada", "aud": "web", "iat": issued_at, "exp": issued_at + 120,
            "jti": claims["jti"], "sid": sid, "events": { EVENT: {} },
        })
    );
}

#[test]
fn a_client_logs_its_person_out_and_all_clients_of_the_session_lose_their_tokens() {
    let web = Receiving::start(&[]);
    let deployment = deployment(&web.uri);
    let mint = deployment.serve();
    let (of_web, of_app) = (tokens(&mint, "web", Some("s1")), tokens(&mint, "app", Some("s1")));
    let elsewhere = tokens(&mint, "web", Some("s2"));
    let hint = text(&of_web, "id_token");
    let asked = [
        ("id_token_hint", hint),
        ("client_id", "web"),
        ("post_logout_redirect_uri", AFTER),
        ("state", "a&b"),
        ("ui_locales", "nl en"),
        ("logout_hint", "ada@example.com"),
    ];
    let handle = handle(&logout(&mint, &asked));
    assert!(is_active(&deployment, &mint, &of_web), "nothing ended yet");
    let waiting = read(&mint, PAGES, &handle).json();
    assert_eq!(
        waiting,
        json!({
            "client_id": "web", "post_logout_redirect_uri": AFTER, "subject": "ada", "session": "s1",
            "logout_hint": "ada@example.com", "ui_locales": "nl en", "expires_at": waiting["expires_at"],
        })
    );
    let accepted = accept(&mint, PAGES, &handle, None);
    assert_eq!(accepted.text("redirect_to"), format!("{AFTER}?state=a%26b"));
    accept(&mint, PAGES, &handle, None).assert_error(409, "invalid_request");
    read(&mint, PAGES, &handle).assert_error(409, "invalid_request");
    for (client, tokens) in [("web", &of_web), ("app", &of_app)] {
        assert!(!is_active(&deployment, &mint, tokens), "{client}");
        mint.refresh_of(client, text(tokens, "refresh_token")).assert_error(400, "invalid_grant");
    }
    assert!(is_active(&deployment, &mint, &elsewhere), "another session is another one");
    let (head, token) = web.next();
    assert!(head.starts_with("POST /logout?from=mint HTTP/1.1\r\n"), "{head}");
    assert!(head.to_lowercase().contains("content-type: application/x-www-form-urlencoded"), "{head}");
    said(&mint, &token, &of_web);
    mint.wait_for("told a client of a logout");

    // A logout token is for who is told, and nobody takes it for another one.
    let as_hint = logout(&mint, &[("id_token_hint", &token)]);
    assert_eq!(
        (as_hint.status, as_hint.body.as_str()),
        (400, "invalid_request: id_token_hint: expected an ID token of ours\n")
    );
    let introspected = json!({"access_token": token});
    assert!(!is_active(&deployment, &mint, &introspected));
}

#[test]
fn the_front_end_says_whose_browser_it_was_and_a_token_without_a_session_ends_alone() {
    let web = Receiving::start(&[]);
    let deployment = deployment(&web.uri);
    let mint = deployment.serve();
    let (alone, in_session) = (tokens(&mint, "web", None), tokens(&mint, "app", Some("s1")));
    // By a form, without anything to go to afterwards.
    let hint = form(&[("id_token_hint", text(&alone, "id_token"))]);
    let handle = handle(&mint.post_form_to("/oauth/logout", &[], &hint));
    assert_eq!(read(&mint, PAGES, &handle).json().get("session"), None);
    let accepted = accept(&mint, PAGES, &handle, Some(&json!({"session": "s1"})));
    assert_eq!((accepted.status, accepted.json()), (200, json!({})));
    for tokens in [&alone, &in_session] {
        assert!(!is_active(&deployment, &mint, tokens));
    }
    said(&mint, &web.next().1, &alone);
}

#[test]
fn a_front_end_ends_a_session_and_a_client_that_is_down_is_told_later() {
    let web = Receiving::start(&[503]);
    let deployment = deployment(&web.uri);
    let mint = deployment.serve();
    let of_session = tokens(&mint, "web", Some("s1"));
    let end = |token: &str, said: &Value| mint.bear_to_admin("POST", "/admin/v1/sessions/end", Some(token), Some(said));
    // Another front-end's session of that name is another one.
    assert_eq!(end(STRANGERS, &json!({"session": "s1"})).json(), json!({"families": 0}));
    assert_eq!(end(STRANGERS, &json!({"session": "pages/s1"})).json(), json!({"families": 0}));
    for wrong in [json!({}), json!({"session": 1}), json!({"session": "s1", "all": true}), json!([])] {
        end(PAGES, &wrong).assert_error(400, "invalid_request");
    }
    end("mks_nobody", &json!({"session": "s1"})).assert_error(401, "invalid_token");
    assert!(is_active(&deployment, &mint, &of_session));
    assert_eq!(end(PAGES, &json!({"session": "s1"})).json(), json!({"families": 1}));
    assert!(!is_active(&deployment, &mint, &of_session));
    assert_eq!(end(PAGES, &json!({"session": "s1"})).json(), json!({"families": 0}));
    let attempts = [web.next().1, web.next().1];
    for token in &attempts {
        said(&mint, token, &of_session);
    }
    assert_ne!(claims_of(&attempts[0])["jti"], claims_of(&attempts[1])["jti"]);
    mint.wait_for("told a client of a logout");
    assert!(!mint.log().contains(&attempts[0]), "nobody logs it");
}

#[test]
fn a_logout_request_that_is_not_good_goes_nowhere() {
    let deployment = deployment("http://127.0.0.1:9/logout");
    let mint = deployment.serve();
    let tokens = tokens(&mint, "web", Some("s1"));
    let hint = text(&tokens, "id_token");
    let (head, signature) = hint.rsplit_once('.').unwrap();
    let forged = format!("{head}.{}{signature}", if signature.starts_with('A') { "B" } else { "A" });
    let long = "x".repeat(2049);
    let unregistered = "post_logout_redirect_uri: expected one that is registered, character for character";
    let cases: [(&[(&str, &str)], &str); 15] = [
        (&[], "id_token_hint or client_id is required"),
        (&[("state", "x")], "id_token_hint or client_id is required"),
        (&[("client_id", "nobody")], "client_id: there is no such client"),
        (&[("id_token_hint", "x.y.z")], "id_token_hint: expected an ID token of ours"),
        (&[("id_token_hint", &forged)], "id_token_hint: expected an ID token of ours"),
        (&[("id_token_hint", text(&tokens, "access_token"))], "id_token_hint: expected an ID token of ours"),
        (&[("id_token_hint", hint), ("client_id", "app")], "id_token_hint: expected an ID token of the client"),
        (&[("client_id", "web"), ("client_id", "web")], "a parameter is included more than once"),
        (&[("client_id", "web"), ("post_logout_redirect_uri", "https://evil.example/")], unregistered),
        (&[("client_id", "web"), ("post_logout_redirect_uri", "https://app.example.com/bye/")], unregistered),
        (&[("client_id", "web"), ("post_logout_redirect_uri", "https://app.example.com/bye?next=evil")], unregistered),
        (&[("client_id", "web"), ("post_logout_redirect_uri", "//evil.example")], unregistered),
        // Where codes may go, nobody is sent after a logout.
        (&[("client_id", "app"), ("post_logout_redirect_uri", CALLBACK)], unregistered),
        (
            &[("client_id", "web"), ("state", &long)],
            "state, logout_hint, ui_locales: expected at the most 2048 bytes of text each",
        ),
        (
            &[("client_id", "web"), ("logout_hint", "a\nb")],
            "state, logout_hint, ui_locales: expected at the most 2048 bytes of text each",
        ),
    ];
    for (parameters, expected) in cases {
        let answer = logout(&mint, parameters);
        assert_eq!((answer.status, answer.header("location")), (400, None), "{parameters:?}");
        assert_eq!(answer.body, format!("invalid_request: {expected}\n"), "{parameters:?}");
        assert_eq!(answer.header("content-type"), Some("text/plain; charset=utf-8"));
    }
    let orphan = logout(&mint, &[("client_id", "orphan")]);
    assert_eq!(
        (orphan.status, orphan.body.as_str()),
        (400, "unauthorized_client: no front-end logs people out of this client\n")
    );
    let json = mint.raw(b"POST /oauth/logout HTTP/1.1\r\nHost: mint\r\nConnection: close\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}");
    assert_eq!((json.status, json.header("content-type")), (400, Some("text/plain; charset=utf-8")));
    assert!(is_active(&deployment, &mint, &tokens));
    let metadata = mint.get("/.well-known/openid-configuration").json();
    assert_eq!(metadata["end_session_endpoint"], "https://mint.example.com/oauth/logout");
    assert_eq!(metadata["backchannel_logout_supported"], true);
    assert_eq!(metadata["backchannel_logout_session_supported"], true);
}

#[test]
fn a_logout_is_its_front_ends_to_perform() {
    let deployment = deployment("http://127.0.0.1:9/logout");
    let mint = deployment.serve();
    let of_web = tokens(&mint, "web", Some("s1"));
    // The handle of a login is none of a logout, and the other way round.
    let login = crate::support::login::begin(&mint, "app", &[]);
    let logout = handle(&logout(&mint, &[("client_id", "web"), ("post_logout_redirect_uri", AFTER)]));
    read(&mint, PAGES, &login).assert_error(404, "invalid_request");
    accept(&mint, PAGES, &login, None).assert_error(404, "invalid_request");
    crate::support::login::read(&mint, PAGES, &logout).assert_error(404, "invalid_request");
    for handle in ["x", &"A".repeat(43), &logout[1..], "%FF"] {
        read(&mint, PAGES, handle).assert_error(404, "invalid_request");
    }
    read(&mint, STRANGERS, &logout).assert_error(403, "access_denied");
    accept(&mint, STRANGERS, &logout, None).assert_error(403, "access_denied");
    for wrong in [json!({"session": 1}), json!({"sessions": "s1"}), json!([])] {
        accept(&mint, PAGES, &logout, Some(&wrong)).assert_error(400, "invalid_request");
    }
    // Who the client means is not known, and the front-end knows of no session: then none ends.
    assert_eq!(accept(&mint, PAGES, &logout, Some(&json!({}))).text("redirect_to"), AFTER);
    assert!(is_active(&deployment, &mint, &of_web));
}
