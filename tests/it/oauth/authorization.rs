//! Authorization requests: which ones begin a login, and where the browser goes with all the others.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use mintkeep::oauth::authorization::AuthorizationRequest;
use mintkeep::store::sqlite::SqliteStore;
use mintkeep::store::{LoginId, LoginKind, LoginState, Store as _};
use serde_json::{Value, json};
use url::Url;

use crate::support::client_key::{ClientKey, now, random};
use crate::support::running::{basic, form};
use crate::support::{Answer, Deployment, RunningMint};

const ISSUER: &str = "https://mint.example.com";
const CALLBACK: &str = "https://app.example.com/callback";
/// The example of RFC 7636, appendix B.
const CHALLENGE: &str = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";

/// A request that is good.
const GOOD: [(&str, &str); 7] = [
    ("client_id", "web-app"),
    ("response_type", "code"),
    ("redirect_uri", CALLBACK),
    ("scope", "openid read"),
    ("state", "a state&b=c"),
    ("code_challenge", CHALLENGE),
    ("code_challenge_method", "S256"),
];

/// What a browser sees.
#[derive(Clone, Copy, Debug)]
enum Seen {
    /// A page that says no more than this error.
    Page(&'static str),
    /// This error, back at the client.
    Told(&'static str),
    /// The login page.
    Login,
}

/// Clients with their front-end: `web-app` and `other-app` have keys; `pushing` has to push, and `signing` to sign.
fn deployment() -> Deployment {
    let deployment = Deployment::new();
    let hash = deployment.config_text().split("secret_sha256 = \"").nth(1).unwrap()[..64].to_owned();
    let keys = |number| {
        let jwk = ClientKey::new(number).jwk();
        let text = |name: &str| jwk[name].as_str().unwrap().to_owned();
        format!(
            "jwks = {{ keys = [{{ kty = \"EC\", crv = \"P-256\", x = \"{}\", y = \"{}\" }}] }}",
            text("x"),
            text("y")
        )
    };
    let login = |id: &str, redirect_uris: &str, lines: &str| {
        deployment.add_client(&format!(
            "id = \"{id}\"\ngrants = [\"authorization_code\"]\nscope = \"openid profile read write\"
audience = \"https://a.example\"\nresources = [\"https://b.example\", \"https://c.example\"]
redirect_uris = {redirect_uris}\n{lines}"
        ));
    };
    login(
        "web-app",
        &format!("[\"{CALLBACK}\", \"https://app.example.com/with?tenant=a\", \"http://127.0.0.1/callback\"]"),
        &format!("authentication = \"none\"\n{}", keys(1)),
    );
    login("other-app", "[\"https://other.example.com/callback\"]", &format!("authentication = \"none\"\n{}", keys(2)));
    let secret = format!("authentication = \"client_secret_basic\"\nsecret_sha256 = \"{hash}\"");
    login(
        "pushing",
        "[\"https://pushing.example.com/\"]",
        &format!("{secret}\nrequire_pushed_authorization_requests = true"),
    );
    login(
        "signing",
        "[\"https://signing.example.com/\"]",
        &format!("authentication = \"private_key_jwt\"\n{}\nrequire_signed_request_object = true", keys(3)),
    );
    login("lonely", "[\"https://lonely.example.com/\"]", "authentication = \"none\"");
    deployment.append(
        "[[resource]]\nid = \"https://b.example\"\nscope = \"read\"
[[frontend]]\nname = \"people\"\nuid = 4711\nclients = [\"web-app\", \"other-app\", \"pushing\", \"signing\"]
login_url = \"https://login.example.com/login?theme=dark\"",
    );
    deployment
}

/// [`GOOD`] with other values; an empty one is left out.
fn changed<'a>(changes: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
    let kept = GOOD.iter().filter(|(name, _)| !changes.iter().any(|(changed, _)| changed == name)).copied();
    kept.chain(changes.iter().copied().filter(|(_, value)| !value.is_empty())).collect()
}

fn authorize(mint: &RunningMint, parameters: &[(&str, &str)]) -> Answer {
    mint.get(&format!("/oauth/authorize?{}", form(parameters)))
}

/// Asserts all of what a browser is answered.
#[track_caller]
fn assert_seen(answer: &Answer, expected: Seen, what: &str) {
    assert_eq!(answer.header("cache-control"), Some("no-store"), "{what}: {answer:?}");
    assert_eq!(answer.header("referrer-policy"), Some("no-referrer"), "{what}: {answer:?}");
    let Seen::Page(code) = expected else {
        assert_eq!((answer.status, answer.body.as_str()), (303, ""), "{what}: {answer:?}");
        let location = Url::parse(answer.header("location").expect("a location")).unwrap();
        let pairs: Vec<(String, String)> = location.query_pairs().into_owned().collect();
        let pairs: Vec<(&str, &str)> = pairs.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        match (expected, pairs.as_slice()) {
            (Seen::Login, [("theme", "dark"), ("login", handle)]) => {
                assert!(location.as_str().starts_with("https://login.example.com/login?"), "{what}: {location}");
                assert_eq!(URL_SAFE_NO_PAD.decode(handle).unwrap().len(), 32, "{what}: {location}");
            }
            (
                Seen::Told(code),
                [("error", error), ("error_description", description), ("state", "a state&b=c"), ("iss", ISSUER)],
            ) => {
                assert_eq!(*error, code, "{what}: {location}");
                assert!(!description.is_empty(), "{what}: {location}");
                assert!(location.as_str().starts_with(&format!("{CALLBACK}?")), "{what}: {location}");
            }
            _ => panic!("{what}: expected {expected:?}, and it was {location}"),
        }
        return;
    };
    assert_eq!(answer.status, 400, "{what}: {answer:?}");
    assert_eq!(answer.header("location"), None, "{what}: {answer:?}");
    assert_eq!(answer.header("content-type"), Some("text/plain; charset=utf-8"), "{what}: {answer:?}");
    assert_eq!(answer.header("x-content-type-options"), Some("nosniff"), "{what}: {answer:?}");
    assert!(answer.header("content-security-policy").is_some_and(|policy| policy.contains("default-src 'none'")));
    assert!(answer.body.starts_with(&format!("{code}: ")), "{what}: {answer:?}");
    assert!(!answer.body.contains("evil"), "{what}: {answer:?}");
}

#[test]
fn a_request_is_taken_or_its_client_is_told_what_was_wrong() {
    let deployment = deployment();
    let mint = deployment.serve();
    let long = "x".repeat(2049);
    let told = Seen::Told;
    for (changes, expected) in [
        (&[][..], Seen::Login),
        (&[("scope", ""), ("state", ""), ("nonce", "n"), ("response_mode", "query")], Seen::Login),
        (&[("prompt", "none")], Seen::Login),
        (&[("prompt", "login consent select_account"), ("max_age", "0")], Seen::Login),
        (&[("login_hint", "ada@example.com"), ("ui_locales", "de en"), ("acr_values", "gold")], Seen::Login),
        (&[("dpop_jkt", CHALLENGE), ("something", "else")], Seen::Login),
        (&[("resource", "https://b.example"), ("scope", "openid profile read")], Seen::Login),
        (&[("response_type", "")], told("invalid_request")),
        (&[("response_type", "token")], told("unsupported_response_type")),
        (&[("response_type", "code id_token")], told("unsupported_response_type")),
        (&[("response_type", "CODE")], told("unsupported_response_type")),
        (&[("response_mode", "fragment")], told("invalid_request")),
        (&[("response_mode", "form_post")], told("invalid_request")),
        // The downgrades of RFC 9700 §2.1.1.
        (&[("code_challenge", "")], told("invalid_request")),
        (&[("code_challenge", ""), ("code_challenge_method", "")], told("invalid_request")),
        (&[("code_challenge_method", "")], told("invalid_request")),
        (&[("code_challenge_method", "plain")], told("invalid_request")),
        (&[("code_challenge_method", "s256")], told("invalid_request")),
        (&[("code_challenge", "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-c")], told("invalid_request")),
        (&[("code_challenge", "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw+cM")], told("invalid_request")),
        (&[("code_challenge", "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM=")], told("invalid_request")),
        (&[("scope", "openid admin")], told("invalid_scope")),
        (&[("scope", "openid  read")], told("invalid_scope")),
        (&[("scope", "openid\tread")], told("invalid_scope")),
        (&[("resource", "https://b.example"), ("scope", "write")], told("invalid_scope")),
        (&[("resource", "https://d.example")], told("invalid_target")),
        (&[("resource", "https://b.example#part")], told("invalid_target")),
        (&[("prompt", "none login")], told("invalid_request")),
        (&[("prompt", "create")], told("invalid_request")),
        (&[("prompt", "login  consent")], told("invalid_request")),
        (&[("max_age", "-1")], told("invalid_request")),
        (&[("max_age", "+1")], told("invalid_request")),
        (&[("max_age", "1.5")], told("invalid_request")),
        (&[("max_age", "99999999999999999999")], told("invalid_request")),
        (&[("dpop_jkt", "x")], told("invalid_request")),
        (&[("id_token_hint", "x.y.z")], told("invalid_request")),
        (&[("nonce", &long)], told("invalid_request")),
        (&[("login_hint", "a\nb")], told("invalid_request")),
        (&[("client_id", "")], Seen::Page("invalid_request")),
        (&[("client_id", "nobody")], Seen::Page("invalid_request")),
        (&[("client_id", "WEB-APP")], Seen::Page("invalid_request")),
        // It has no redirect URI: nobody logs in to it.
        (&[("client_id", "billing-service")], Seen::Page("unauthorized_client")),
    ] {
        let parameters = changed(changes);
        assert_seen(&authorize(&mint, &parameters), expected, &format!("{changes:?}"));
        // The same as a form (OpenID Connect Core §3.1.2.1).
        let answer = mint.post_form_to("/oauth/authorize", &[], &form(&parameters));
        assert_seen(&answer, expected, &format!("form: {changes:?}"));
    }
    // Without a state none comes back.
    let answer = authorize(&mint, &changed(&[("state", ""), ("scope", "admin")]));
    let location = answer.header("location").unwrap();
    assert!(location.starts_with(&format!("{CALLBACK}?error=invalid_scope&error_description=")), "{location}");
    assert!(!location.contains("state=") && location.ends_with("&iss=https%3A%2F%2Fmint.example.com"), "{location}");
    // The query of a redirect URI stays (RFC 6749 §3.1.2).
    let answer =
        authorize(&mint, &changed(&[("redirect_uri", "https://app.example.com/with?tenant=a"), ("scope", "x")]));
    assert!(
        answer.header("location").unwrap().starts_with("https://app.example.com/with?tenant=a&error=invalid_scope&")
    );
    let json = mint.bear("POST", "/oauth/authorize", None, Some(&json!({ "client_id": "web-app" })));
    assert_seen(&json, Seen::Page("invalid_request"), "JSON");
    // Nobody logs in there, and its client learns so.
    let lonely = [("client_id", "lonely"), ("redirect_uri", "https://lonely.example.com/")];
    let answer = authorize(&mint, &changed(&lonely));
    assert!(answer.header("location").unwrap().starts_with("https://lonely.example.com/?error=unauthorized_client&"));
}

#[test]
fn a_browser_is_sent_nowhere_that_is_not_registered() {
    let deployment = deployment();
    let mint = deployment.serve();
    for redirect_uri in ["http://127.0.0.1/callback", "http://127.0.0.1:1/callback", "http://127.0.0.1:65535/callback"]
    {
        assert_seen(&authorize(&mint, &changed(&[("redirect_uri", redirect_uri)])), Seen::Login, redirect_uri);
    }
    for redirect_uri in [
        "",
        "https://evil.example/callback",
        "//evil.example/callback",
        "/callback",
        "https://app.example.com",
        "https://app.example.com/callback/",
        "https://app.example.com/callback?a=b",
        "https://app.example.com/callback#evil",
        "https://app.example.com/callback#",
        "https://app.example.com/callback/../evil",
        "https://app.example.com/evil/../callback",
        "https://app.example.com/%63allback",
        "https://app.example.com/callback%2f..%2fevil",
        "https://app.example.com:443/callback",
        "https://app.example.com:8443/callback",
        "https://app.example.com./callback",
        "https://APP.example.com/callback",
        "HTTPS://app.example.com/callback",
        "http://app.example.com/callback",
        "https://app.example.com@evil.example/callback",
        "https://app.example.com:x@evil.example/callback",
        "https://evil@app.example.com/callback",
        "https://app.example.com.evil.example/callback",
        "https://evil.example\\@app.example.com/callback",
        "https://app.example.com\\.evil.example/callback",
        "https://app.example.com%2eevil.example/callback",
        "https://app.example.com/callback\r\nLocation: https://evil.example",
        "https://app.example.com/callback\0",
        " https://app.example.com/callback",
        "https://app.example.com/callback ",
        "https://app.example.com/with?tenant=evil",
        "https://app.example.com/with?tenant=a&tenant=evil",
        // Another client's.
        "https://other.example.com/callback",
        "javascript:alert(1)//evil",
        "data:text/html,evil",
        "http://127.0.0.1:0/callback",
        "http://127.0.0.1:65536/callback",
        "http://127.0.0.1:080/callback",
        "http://127.0.0.1:80@evil.example/callback",
        "http://127.0.0.1.evil.example/callback",
        "http://127.0.0.1:80/evil",
        "http://127.0.0.2/callback",
        "http://localhost/callback",
        "http://[::1]/callback",
        "https://127.0.0.1/callback",
    ] {
        let answer = authorize(&mint, &changed(&[("redirect_uri", redirect_uri)]));
        assert_seen(&answer, Seen::Page("invalid_request"), redirect_uri);
        // Whatever else is wrong with it.
        let answer = authorize(&mint, &changed(&[("redirect_uri", redirect_uri), ("response_type", "token")]));
        assert_seen(&answer, Seen::Page("invalid_request"), redirect_uri);
    }
}

#[test]
fn what_is_there_twice_is_refused_and_told_only_to_whom_it_is_clear() {
    let deployment = deployment();
    let mint = deployment.serve();
    let twice = |further: &str| mint.get(&format!("/oauth/authorize?{}&{further}", form(&GOOD)));
    for further in
        ["scope=openid", "scope=", "response_type=code", "code_challenge_method=plain", "unknown=1&unknown=1"]
    {
        assert_seen(&twice(further), Seen::Told("invalid_request"), further);
    }
    for further in [
        "redirect_uri=https%3A%2F%2Fevil.example",
        "redirect_uri=https%3A%2F%2Fapp.example.com%2Fcallback",
        "redirect%5Furi=https%3A%2F%2Fevil.example",
        "redirect_uri=",
        "client_id=other-app",
        "client_id=web-app",
        "request=a&request=b",
        "request_uri=a&request_uri=b",
        "request_uri=a&request=b",
        "nonce=%ff",
        &"a=b&".repeat(40),
    ] {
        assert_seen(&twice(further), Seen::Page("invalid_request"), further);
    }
    // Which of two states is the client's, nobody knows.
    let answer = twice("state=other");
    let location = answer.header("location").unwrap();
    assert!(location.contains("error=invalid_request") && !location.contains("state="), "{location}");
    // Several resources are no repetition.
    assert_seen(&twice("resource=https://b.example&resource=https://c.example"), Seen::Login, "resources");
}

#[test]
fn what_a_front_end_finds_is_what_was_asked_for() {
    let deployment = deployment();
    let mint = deployment.serve();
    let parameters = changed(&[
        ("redirect_uri", "http://127.0.0.1:49152/callback"),
        ("nonce", "n"),
        ("prompt", "login consent login"),
        ("max_age", "3600"),
        ("login_hint", "ada"),
        ("ui_locales", "de"),
        ("acr_values", "gold"),
        ("dpop_jkt", CHALLENGE),
        ("resource", "https://b.example"),
        ("resource", "https://b.example"),
        ("resource", "https://c.example"),
    ]);
    let handle = handle(&authorize(&mint, &parameters));
    assert_ne!(handle, self::handle(&authorize(&mint, &parameters)), "each has its own");
    assert!(!mint.log().contains(&handle));
    let request = stored(&deployment, &handle);
    let expected = json!({
        "client_id": "web-app", "redirect_uri": "http://127.0.0.1:49152/callback", "scope": "openid read",
        "state": "a state&b=c", "nonce": "n", "code_challenge": CHALLENGE, "prompt": ["login", "consent"],
        "max_age": 3600, "login_hint": "ada", "ui_locales": "de", "acr_values": "gold",
        "resources": ["https://b.example", "https://c.example"], "dpop_jkt": CHALLENGE,
    });
    assert_eq!(request, expected);
    serde_json::from_value::<AuthorizationRequest>(request).unwrap();
}

/// What waits for a front-end under `handle`.
fn stored(deployment: &Deployment, handle: &str) -> Value {
    let store = SqliteStore::open(&deployment.path("mintkeep.db")).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let login = runtime.block_on(store.login(LoginId::of(handle))).unwrap().expect("it waits");
    assert_eq!((login.kind, login.client_id.as_str()), (LoginKind::Authorization, "web-app"));
    assert_eq!(login.state, LoginState::Pending);
    assert_eq!(login.expires_at.since(login.created_at).as_secs(), 600);
    serde_json::from_str(&login.request).unwrap()
}

/// The handle of the login that began.
#[track_caller]
fn handle(answer: &Answer) -> String {
    assert_seen(answer, Seen::Login, "a login");
    answer.header("location").unwrap().split("login=").nth(1).unwrap().to_owned()
}

/// A request object of `web-app`, as `change` wants it.
fn object(key: u8, change: impl FnOnce(&mut Value, &mut Value)) -> String {
    let mut header = json!({ "alg": "ES256", "typ": "oauth-authz-req+jwt" });
    let mut claims = json!({
        "iss": "web-app", "aud": ISSUER, "exp": now() + 300, "iat": now(), "jti": random(), "max_age": 60,
    });
    for (name, value) in GOOD {
        claims[name] = value.into();
    }
    change(&mut header, &mut claims);
    ClientKey::new(key).sign(&header, &claims)
}

#[test]
fn a_signed_request_counts_as_it_was_signed() {
    let deployment = deployment();
    let mint = deployment.serve();
    let ask = |object: &str| authorize(&mint, &[("client_id", "web-app"), ("request", object)]);
    let good = object(1, |_, _| {});
    assert_seen(&ask(&good), Seen::Login, "signed");
    assert_seen(&ask(&good), Seen::Page("invalid_request_object"), "used twice");
    // Without a jti there is nothing to remember it by.
    let without = object(1, |_, claims| drop(claims.as_object_mut().unwrap().remove("jti")));
    assert_seen(&ask(&without), Seen::Login, "without a jti");
    // What is beside it does not count, where it is wrong as little as where it would be needed (RFC 9101 §6.3).
    let signed = object(1, |_, _| {});
    let beside = changed(&[("redirect_uri", "https://evil.example"), ("scope", "admin"), ("request", &signed)]);
    assert_seen(&authorize(&mint, &beside), Seen::Login, "beside");
    let no_challenge = object(1, |_, claims| drop(claims.as_object_mut().unwrap().remove("code_challenge")));
    assert_seen(&authorize(&mint, &changed(&[("request", &no_challenge)])), Seen::Told("invalid_request"), "outside");
    let several = object(1, |_, claims| claims["resource"] = json!(["https://b.example", "https://c.example"]));
    assert_seen(&ask(&several), Seen::Login, "several resources");
    let evil = object(1, |_, claims| claims["redirect_uri"] = "https://evil.example".into());
    assert_seen(&ask(&evil), Seen::Page("invalid_request"), "a redirect URI that is not registered");
    type Change = fn(&mut Value, &mut Value);
    let changes: [(&str, Change); 20] = [
        ("none", |header, _| header["alg"] = "none".into()),
        ("HS256", |header, _| header["alg"] = "HS256".into()),
        ("typ", |header, _| header["typ"] = "client-authentication+jwt".into()),
        ("crit", |header, _| header["crit"] = json!(["exp"])),
        ("jku", |header, _| header["jku"] = "https://evil.example".into()),
        ("jwk", |header, _| header["jwk"] = ClientKey::new(9).jwk()),
        ("iss of another client", |_, claims| claims["iss"] = "other-app".into()),
        ("client_id of another", |_, claims| claims["client_id"] = "other-app".into()),
        ("no client_id", |_, claims| drop(claims.as_object_mut().unwrap().remove("client_id"))),
        ("sub of the client", |_, claims| claims["sub"] = "web-app".into()),
        ("aud of another issuer", |_, claims| claims["aud"] = "https://evil.example".into()),
        ("aud of the endpoint", |_, claims| claims["aud"] = format!("{ISSUER}/oauth/authorize").into()),
        ("aud of two", |_, claims| claims["aud"] = json!([ISSUER, "https://evil.example"])),
        ("no aud", |_, claims| drop(claims.as_object_mut().unwrap().remove("aud"))),
        ("no exp", |_, claims| drop(claims.as_object_mut().unwrap().remove("exp"))),
        ("ended", |_, claims| claims["exp"] = (now() - 31).into()),
        ("for an hour", |_, claims| claims["exp"] = (now() + 3600).into()),
        ("a request within", |_, claims| claims["request"] = "x".into()),
        ("a request_uri within", |_, claims| claims["request_uri"] = "x".into()),
        ("scope as a list", |_, claims| claims["scope"] = json!(["openid"])),
    ];
    for (what, change) in changes {
        assert_seen(&ask(&object(1, change)), Seen::Page("invalid_request_object"), what);
    }
    assert_seen(&ask(&object(2, |_, _| {})), Seen::Page("invalid_request_object"), "the key of another client");
    let stripped = format!("{}.", object(1, |_, _| {}).rsplit_once('.').unwrap().0);
    assert_seen(&ask(&stripped), Seen::Page("invalid_request_object"), "no signature");
    assert_seen(&ask("x"), Seen::Page("invalid_request_object"), "no JWT");
    let other = object(1, |_, _| {});
    let taken = authorize(&mint, &[("client_id", "other-app"), ("request", &other)]);
    assert_seen(&taken, Seen::Page("invalid_request_object"), "by another client");
    let lonely = authorize(&mint, &[("client_id", "lonely"), ("request", &other)]);
    assert_seen(&lonely, Seen::Page("invalid_request_object"), "by one that has no keys");
    // Who has to sign and does not is told so.
    let signing = changed(&[("client_id", "signing"), ("redirect_uri", "https://signing.example.com/")]);
    let told = authorize(&mint, &signing);
    assert!(told.header("location").unwrap().starts_with("https://signing.example.com/?error=invalid_request&"));
    let signed = object(3, |_, claims| {
        claims["iss"] = "signing".into();
        claims["client_id"] = "signing".into();
        claims["redirect_uri"] = "https://signing.example.com/".into();
    });
    assert_seen(&authorize(&mint, &[("client_id", "signing"), ("request", &signed)]), Seen::Login, "signing");
}

/// The name of what `answer` says was pushed.
#[track_caller]
fn request_uri(answer: &Answer) -> String {
    assert_eq!(answer.status, 201, "{answer:?}");
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    assert_eq!(answer.json()["expires_in"], 90);
    let request_uri = answer.json()["request_uri"].as_str().unwrap().to_owned();
    let random = request_uri.strip_prefix("urn:ietf:params:oauth:request_uri:").unwrap();
    assert_eq!(URL_SAFE_NO_PAD.decode(random).unwrap().len(), 32);
    request_uri
}

#[test]
fn a_pushed_request_is_one_clients_for_one_login() {
    let deployment = deployment();
    let mint = deployment.serve();
    let push = |changes: &[(&str, &str)]| mint.post_form_to("/oauth/par", &[], &form(&changed(changes)));
    let ask = |client: &str, uri: &str| authorize(&mint, &[("client_id", client), ("request_uri", uri)]);
    let pushed = request_uri(&push(&[]));
    // Another client gets nothing of it, and does not use it up.
    assert_seen(&ask("other-app", &pushed), Seen::Page("invalid_request_uri"), "stolen");
    assert_seen(&authorize(&mint, &[("request_uri", &pushed)]), Seen::Page("invalid_request"), "no client_id");
    // What the browser adds does not count.
    let evil = changed(&[("redirect_uri", "https://evil.example"), ("scope", "admin"), ("request_uri", &pushed)]);
    assert_seen(&authorize(&mint, &evil), Seen::Login, "pushed");
    assert_seen(&ask("web-app", &pushed), Seen::Page("invalid_request_uri"), "used twice");
    let made_up = format!("{}{}", &pushed[..pushed.len() - 43], "A".repeat(43));
    for uri in [
        &made_up,
        "https://evil.example/request",
        "urn:ietf:params:oauth:request_uri:",
        "x",
        &pushed[..pushed.len() - 1],
    ] {
        assert_seen(&ask("web-app", uri), Seen::Page("invalid_request_uri"), uri);
    }
    // What a browser would have been refused is refused here.
    for (changes, code) in [
        (&[("redirect_uri", "https://evil.example")][..], "invalid_request"),
        (&[("code_challenge", "")], "invalid_request"),
        (&[("code_challenge_method", "plain")], "invalid_request"),
        (&[("response_type", "token")], "unsupported_response_type"),
        (&[("scope", "admin")], "invalid_scope"),
        (&[("resource", "https://d.example")], "invalid_target"),
        (&[("request_uri", &pushed)], "invalid_request"),
        (&[("request", "x")], "invalid_request_object"),
        (&[("scope", "read"), ("scope", "write")], "invalid_request"),
    ] {
        push(changes).assert_error(400, code);
    }
    push(&[("client_id", "nobody")]).assert_error(401, "invalid_client");
    push(&[("client_id", "")]).assert_error(401, "invalid_client");
    // Signed and pushed.
    let signed = object(1, |_, _| {});
    let both = mint.post_form_to("/oauth/par", &[], &form(&[("client_id", "web-app"), ("request", &signed)]));
    assert_seen(&ask("web-app", &request_uri(&both)), Seen::Login, "signed and pushed");
}

#[test]
fn who_has_to_push_proves_itself_and_its_browsers_bring_names_only() {
    let deployment = deployment();
    let mint = deployment.serve();
    let parameters = changed(&[("client_id", "pushing"), ("redirect_uri", "https://pushing.example.com/")]);
    let told = authorize(&mint, &parameters);
    assert!(told.header("location").unwrap().starts_with("https://pushing.example.com/?error=invalid_request&"));
    mint.post_form_to("/oauth/par", &[], &form(&parameters)).assert_error(401, "invalid_client");
    let wrong = basic("pushing", "wrong");
    mint.post_form_to("/oauth/par", &[&wrong], &form(&parameters)).assert_error(401, "invalid_client");
    let proven = basic("pushing", &deployment.secret);
    let pushed = request_uri(&mint.post_form_to("/oauth/par", &[&proven], &form(&parameters)));
    let ask = |client: &str| authorize(&mint, &[("client_id", client), ("request_uri", &pushed)]);
    assert_seen(&ask("pushing"), Seen::Login, "pushed");
}

#[test]
fn a_proof_that_comes_with_a_pushed_request_names_the_key_of_its_code() {
    let deployment = deployment();
    let mint = deployment.serve();
    let key = ClientKey::new(5);
    let push = |proof: &str, changes: &[(&str, &str)]| {
        mint.post_form_to("/oauth/par", &[&format!("DPoP: {proof}")], &form(&changed(changes)))
    };
    let proof = |nonce: &str| key.proof(nonce, |_, claims| claims["htu"] = format!("{ISSUER}/oauth/par").into());
    let first = push(&proof("none yet"), &[]);
    first.assert_error(400, "use_dpop_nonce");
    let nonce = first.header("dpop-nonce").expect("a nonce").to_owned();
    push(&key.proof(&nonce, |_, _| {}), &[]).assert_error(400, "invalid_dpop_proof");
    push(&proof(&nonce), &[("dpop_jkt", CHALLENGE)]).assert_error(400, "invalid_request");
    let good = proof(&nonce);
    let pushed = request_uri(&push(&good, &[("dpop_jkt", &key.thumbprint())]));
    push(&good, &[]).assert_error(400, "invalid_dpop_proof");
    let pushed_without = request_uri(&push(&proof(&nonce), &[]));
    for request_uri in [pushed, pushed_without] {
        let begun = handle(&authorize(&mint, &[("client_id", "web-app"), ("request_uri", &request_uri)]));
        assert_eq!(stored(&deployment, &begun)["dpop_jkt"], key.thumbprint());
    }
}

#[test]
fn the_metadata_name_the_endpoint_where_somebody_can_log_in() {
    let deployment = deployment();
    let metadata = deployment.serve().get("/.well-known/oauth-authorization-server").json();
    for (name, value) in [
        ("authorization_endpoint", json!("https://mint.example.com/oauth/authorize")),
        ("pushed_authorization_request_endpoint", json!("https://mint.example.com/oauth/par")),
        ("require_pushed_authorization_requests", json!(false)),
        ("response_types_supported", json!(["code"])),
        ("response_modes_supported", json!(["query"])),
        ("code_challenge_methods_supported", json!(["S256"])),
        ("authorization_response_iss_parameter_supported", json!(true)),
        ("prompt_values_supported", json!(["none", "login", "consent", "select_account"])),
        ("request_parameter_supported", json!(true)),
        ("request_uri_parameter_supported", json!(false)),
        (
            "request_object_signing_alg_values_supported",
            json!(["ES256", "ES384", "EdDSA", "Ed25519", "RS256", "PS256"]),
        ),
        ("require_signed_request_object", json!(false)),
    ] {
        assert_eq!(metadata[name], value, "{name}");
    }
}
