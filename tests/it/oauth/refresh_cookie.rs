//! Refresh tokens that browsers keep in a cookie.

use serde_json::json;

use crate::support::login::{AUDIENCE, CALLBACK, PEOPLE, VERIFIER, WEB_APP, code_of, decide, parameter};
use crate::support::running::{basic, form};
use crate::support::{API, Answer, Deployment, RunningMint, login};

/// A client whose refresh tokens are in a cookie.
const SPA: &str = "spa";
const COOKIE: &str = "__Secure-mintkeep-refresh-spa";

fn deployment() -> Deployment {
    let deployment = Deployment::new();
    deployment.add_logins();
    deployment.allow_failed_attempts();
    deployment.add_client(&format!(
        "id = \"{SPA}\"\nauthentication = \"none\"\ngrants = [\"authorization_code\", \"refresh_token\"]
scope = \"openid read\"\naudience = \"https://api.example.com\"\nredirect_uris = [\"{CALLBACK}\"]
refresh_token_lifetime = \"1h\"\nrefresh_token_cookie = true"
    ));
    deployment.edit(|config| {
        let frontends = config["frontend"].as_array_of_tables_mut().expect("front-ends");
        frontends.get_mut(0).expect("one")["clients"].as_array_mut().expect("clients").push(SPA);
    });
    deployment
}

/// Somebody logs in to `client`; the answer with the tokens, to a page of `origin`.
fn log_in(mint: &RunningMint, client: &str, origin: Option<&str>) -> Answer {
    let code = code_of(&decide(mint, PEOPLE, &login::begin(mint, client, &[]), "accept", &json!({"subject": "ada"})));
    let header = origin.map(|origin| format!("Origin: {origin}"));
    let headers: Vec<&str> = header.iter().map(String::as_str).collect();
    let redemption = [
        ("grant_type", "authorization_code"),
        ("client_id", client),
        ("code", &code),
        ("redirect_uri", CALLBACK),
        ("code_verifier", VERIFIER),
    ];
    mint.post_form(&headers, &form(&redemption))
}

/// The token in the cookie that `answer` sets, and its attributes.
#[track_caller]
fn set_cookie(answer: &Answer) -> (String, Vec<String>) {
    assert_eq!(answer.status, 200, "{answer:?}");
    let cookie = answer.header("set-cookie").unwrap_or_else(|| panic!("a cookie: {answer:?}"));
    let (pair, attributes) = cookie.split_once("; ").expect("attributes");
    let (name, value) = pair.split_once('=').expect("a value");
    assert_eq!(name, COOKIE);
    (value.to_owned(), attributes.split("; ").map(str::to_owned).collect())
}

fn refresh(mint: &RunningMint, headers: &[&str], further: &[(&str, &str)]) -> Answer {
    let parameters: Vec<_> =
        [("grant_type", "refresh_token"), ("client_id", SPA)].iter().chain(further).copied().collect();
    mint.post_form(headers, &form(&parameters))
}

#[test]
fn a_browser_keeps_the_refresh_token_where_no_script_finds_it() {
    let deployment = deployment();
    let mint = deployment.serve();
    let first = log_in(&mint, SPA, Some("https://app.example.com"));
    let (token, attributes) = set_cookie(&first);
    assert_eq!(first.json().get("refresh_token"), None);
    assert_eq!(attributes[1..], ["Path=/oauth", "HttpOnly", "Secure", "SameSite=Strict"]);
    let seconds: u64 = attributes[0].strip_prefix("Max-Age=").expect("an age").parse().expect("seconds");
    assert!((3500..=3600).contains(&seconds), "{seconds}");

    let cookie = format!("Cookie: theme=dark; {COOKIE}={token}");
    let second = refresh(&mint, &[&cookie, "Origin: https://mint.example.com"], &[]);
    let (next, _) = set_cookie(&second);
    assert!(next != token && second.json().get("refresh_token").is_none(), "{second:?}");
    // It is an ordinary refresh token, and its line ends by replay as ever.
    let third = refresh(&mint, &[&format!("Cookie: {COOKIE}={next}")], &[]);
    set_cookie(&third);
    refresh(&mint, &[&cookie], &[]).assert_error(400, "invalid_grant");
    let (last, _) = set_cookie(&third);
    refresh(&mint, &[&format!("Cookie: {COOKIE}={last}")], &[]).assert_error(400, "invalid_grant");
    for token in [token, next, last] {
        assert!(!mint.log().contains(&token), "nobody logs it");
    }
}

#[test]
fn the_token_is_taken_from_the_cookie_alone_and_for_pages_of_the_client_alone() {
    let deployment = deployment();
    let mint = deployment.serve();
    let (token, _) = set_cookie(&log_in(&mint, SPA, None));
    let cookie = format!("Cookie: {COOKIE}={token}");
    let refused = |answer: Answer, description: &str| {
        answer.assert_error(400, "invalid_request");
        assert_eq!(answer.json()["error_description"], description);
        assert_eq!(answer.header("set-cookie"), None);
    };
    let in_cookie = "the refresh token of this client is in its cookie; leave refresh_token out";
    refused(refresh(&mint, &[], &[("refresh_token", &token)]), in_cookie);
    refused(refresh(&mint, &[&cookie], &[("refresh_token", &token)]), in_cookie);
    let expected = "the refresh token of this client is in its cookie: expected that";
    refused(refresh(&mint, &[], &[]), expected);
    refused(refresh(&mint, &[&format!("Cookie: mintkeep-refresh-spa={token}")], &[]), expected);
    refused(refresh(&mint, &[&cookie, &cookie], &[]), "the cookie of the client is included more than once");
    for origin in ["https://evil.example", "null", "https://app.example.com.evil.example", "http://app.example.com"] {
        let answer = refresh(&mint, &[&cookie, &format!("Origin: {origin}")], &[]);
        refused(answer, "the request comes from a page that is not the client's");
    }
    let two = ["Origin: https://app.example.com", "Origin: https://app.example.com"];
    refused(refresh(&mint, &[&cookie, two[0], two[1]], &[]), "the request comes from a page that is not the client's");
    // A page of somebody else's cannot have its own login put into the browser either.
    let code = log_in(&mint, SPA, Some("https://evil.example"));
    refused(code, "the request comes from a page that is not the client's");
    refresh(&mint, &[&format!("Cookie: {COOKIE}=x.y.z")], &[]).assert_error(400, "invalid_grant");
    // None of this harmed it.
    set_cookie(&refresh(&mint, &[&cookie, "Origin: https://app.example.com"], &[]));
}

#[test]
fn other_clients_have_their_refresh_tokens_as_ever() {
    let deployment = deployment();
    let mint = deployment.serve();
    let answer = log_in(&mint, WEB_APP, Some("https://wherever.example"));
    let token = answer.text("refresh_token");
    assert_eq!(answer.header("set-cookie"), None);
    let cookie = format!("Cookie: __Secure-mintkeep-refresh-{WEB_APP}={token}");
    let by_cookie = mint.post_form(&[&cookie], &form(&[("grant_type", "refresh_token"), ("client_id", WEB_APP)]));
    by_cookie.assert_error(400, "invalid_request");
    assert_eq!(by_cookie.json()["error_description"], "refresh_token is required");
    let refreshed = mint.refresh_of(WEB_APP, &token);
    assert!(refreshed.header("set-cookie").is_none() && parameter(CALLBACK, "x").is_none());
    refreshed.text("refresh_token");
}

fn revoke(mint: &RunningMint, headers: &[&str], further: &[(&str, &str)]) -> Answer {
    let parameters: Vec<_> = [("client_id", SPA)].iter().chain(further).copied().collect();
    mint.post_form_to("/oauth/revoke", headers, &form(&parameters))
}

#[test]
fn a_browser_revokes_the_token_that_it_keeps_and_forgets_it() {
    let deployment = deployment();
    deployment.add_resource_server(AUDIENCE);
    let mint = deployment.serve();
    let is_active = |token: &str| {
        let answer =
            mint.post_form_to("/oauth/introspect", &[&basic(API, &deployment.secret)], &form(&[("token", token)]));
        answer.json()["active"] == json!(true)
    };
    let tokens = log_in(&mint, SPA, Some("https://app.example.com"));
    let (token, set) = set_cookie(&tokens);
    let access_token = tokens.text("access_token");
    assert!(is_active(&access_token));
    // A browser sends it there: what is below the path (RFC 6265 §5.1.4).
    let path = set[1].strip_prefix("Path=").expect("a path");
    assert!("/oauth/revoke".strip_prefix(path).is_some_and(|rest| rest.starts_with('/')), "{set:?}");
    let cookie = format!("Cookie: {COOKIE}={token}");
    let revoked = revoke(&mint, &[&cookie, "Origin: https://app.example.com"], &[]);
    assert_eq!((revoked.status, revoked.body.as_str()), (200, ""), "{revoked:?}");
    assert_eq!(revoked.header("cache-control"), Some("no-store"));
    // One that is there no more is removed by its name and path (RFC 6265 §5.3).
    let (value, removal) = set_cookie(&revoked);
    assert_eq!((value.as_str(), removal[0].as_str()), ("", "Max-Age=0"));
    assert_eq!(removal[1..], set[1..]);
    refresh(&mint, &[&cookie], &[]).assert_error(400, "invalid_grant");
    assert!(!is_active(&access_token), "its family ended");
    // What is none any more, or never was, is forgotten too.
    for none in [&cookie, &format!("Cookie: {COOKIE}=x.y.z")] {
        assert_eq!(set_cookie(&revoke(&mint, &[none], &[])).1[0], "Max-Age=0");
    }
    assert!(!mint.log().contains(&token), "nobody logs it");
}

#[test]
fn the_cookie_is_revoked_by_pages_of_its_client_alone_and_where_no_other_token_is_named() {
    let deployment = deployment();
    let mint = deployment.serve();
    let tokens = log_in(&mint, SPA, None);
    let (token, _) = set_cookie(&tokens);
    let cookie = format!("Cookie: {COOKIE}={token}");
    let refused = |answer: Answer, description: &str| {
        answer.assert_error(400, "invalid_request");
        assert_eq!(answer.json()["error_description"], description);
        assert_eq!(answer.header("set-cookie"), None);
    };
    for origin in ["https://evil.example", "null", "http://app.example.com"] {
        let answer = revoke(&mint, &[&cookie, &format!("Origin: {origin}")], &[]);
        refused(answer, "the request comes from a page that is not the client's");
    }
    let expected = "the refresh token of this client is in its cookie: expected that";
    refused(revoke(&mint, &[], &[]), expected);
    refused(revoke(&mint, &[&cookie, &cookie], &[]), "the cookie of the client is included more than once");
    let other = mint.post_form_to("/oauth/revoke", &[&cookie], &form(&[("client_id", WEB_APP)]));
    refused(other, "token is required");
    let other = format!("Cookie: __Secure-mintkeep-refresh-{WEB_APP}={token}");
    refused(mint.post_form_to("/oauth/revoke", &[&other], &form(&[("client_id", WEB_APP)])), "token is required");
    // A token in the form is the one that is meant, wherever the request comes from.
    let named = revoke(&mint, &[&cookie, "Origin: https://evil.example"], &[("token", &tokens.text("access_token"))]);
    assert_eq!((named.status, named.header("set-cookie")), (200, None), "{named:?}");
    // None of this harmed it.
    let (next, _) = set_cookie(&refresh(&mint, &[&cookie, "Origin: https://app.example.com"], &[]));
    let named = revoke(&mint, &[], &[("token", &next)]);
    assert_eq!((named.status, named.header("set-cookie")), (200, None), "{named:?}");
    refresh(&mint, &[&format!("Cookie: {COOKIE}={next}")], &[]).assert_error(400, "invalid_grant");
}
