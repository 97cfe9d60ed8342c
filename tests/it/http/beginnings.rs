//! What one source may begin: logins, pushed requests, logouts and devices.

use toml_edit::{Array, value};

use crate::support::login::{AUDIENCE, CALLBACK, parameter, request};
use crate::support::running::{basic, form, post};
use crate::support::{Answer, Deployment, RunningMint};

const APP: &str = "app";
const SERVICE: &str = "pushing-service";
const REFUSED: &str = "mintkeep_logins_over_limit_total";

/// Every way to begin something.
const WAYS: [Way; 6] = [Way::Authorize, Way::AuthorizeByForm, Way::Push, Way::Logout, Way::LogoutByForm, Way::Device];

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Way {
    Authorize,
    AuthorizeByForm,
    Push,
    Logout,
    LogoutByForm,
    Device,
}

/// A mint that trusts its own address as a proxy, where each source may begin `number`.
fn deployment(number: i64) -> Deployment {
    let deployment = Deployment::new();
    let hash = deployment.secret_hash();
    for (id, authentication) in
        [(APP, "\"none\"".to_owned()), (SERVICE, format!("\"client_secret_basic\"\nsecret_sha256 = \"{hash}\""))]
    {
        deployment.add_client(&format!(
            "id = \"{id}\"\nauthentication = {authentication}
grants = [\"authorization_code\", \"urn:ietf:params:oauth:grant-type:device_code\"]
scope = \"read\"\naudience = \"{AUDIENCE}\"\nredirect_uris = [\"{CALLBACK}\"]"
        ));
    }
    deployment.append(&format!(
        "[[frontend]]\nname = \"pages\"\nuid = 4711\nclients = [\"{APP}\", \"{SERVICE}\"]
login_url = \"https://pages.example/login\"\nlogout_url = \"https://pages.example/logout\"
device_url = \"https://pages.example/device\""
    ));
    deployment.edit(|config| {
        config["limits"]["logins_per_source"] = value(number);
        config["listen"]["trusted_proxies"] = value(["127.0.0.1"].into_iter().collect::<Array>());
    });
    deployment
}

fn from(source: &str) -> String {
    format!("X-Forwarded-For: {source}")
}

fn get(mint: &RunningMint, source: &str, path: &str, parameters: &[(&str, &str)]) -> Answer {
    let (header, query) = (from(source), form(parameters));
    mint.raw(format!("GET {path}?{query} HTTP/1.1\r\nHost: mint\r\nConnection: close\r\n{header}\r\n\r\n").as_bytes())
}

impl Way {
    /// A request of [`APP`] that comes from `source`.
    fn ask(self, mint: &RunningMint, source: &str) -> Answer {
        self.ask_as(mint, source, APP)
    }

    fn ask_as(self, mint: &RunningMint, source: &str, client: &str) -> Answer {
        let (login, logout) = (request(client, &[]), [("client_id", client)]);
        let post = |path, parameters: &[(&str, &str)]| mint.raw(&post(path, &[&from(source)], &form(parameters)));
        match self {
            Self::Authorize => get(mint, source, "/oauth/authorize", &login),
            Self::AuthorizeByForm => post("/oauth/authorize", &login),
            Self::Push => post("/oauth/par", &login),
            Self::Logout => get(mint, source, "/oauth/logout", &logout),
            Self::LogoutByForm => post("/oauth/logout", &logout),
            Self::Device => post("/oauth/device_authorization", &logout),
        }
    }

    #[track_caller]
    fn assert_begun(self, answer: &Answer) {
        let expected = match self {
            Self::Authorize | Self::AuthorizeByForm | Self::Logout | Self::LogoutByForm => 303,
            Self::Push => 201,
            Self::Device => 200,
        };
        assert_eq!(answer.status, expected, "{self:?}: {answer:?}");
        let pages = answer.header("location").is_none_or(|location| location.starts_with("https://pages.example/"));
        assert!(pages, "{self:?}: {answer:?}");
    }

    /// Asserts that nothing was begun, and that a browser stays where it is.
    #[track_caller]
    fn assert_refused(self, answer: &Answer, retry_after: &str) {
        assert_eq!(answer.status, 429, "{self:?}: {answer:?}");
        assert_eq!(answer.header("retry-after"), Some(retry_after), "{self:?}: {answer:?}");
        assert_eq!(answer.header("cache-control"), Some("no-store"), "{self:?}: {answer:?}");
        assert_eq!(answer.header("location"), None, "{self:?}: {answer:?}");
        match self {
            Self::Push | Self::Device => answer.assert_error(429, "temporarily_unavailable"),
            Self::Authorize | Self::AuthorizeByForm | Self::Logout | Self::LogoutByForm => {
                assert_eq!(answer.header("content-type"), Some("text/plain; charset=utf-8"), "{self:?}: {answer:?}");
                let expected =
                    "temporarily_unavailable: more is begun from your address than may be; try again later\n";
                assert_eq!(answer.body, expected, "{self:?}");
            }
        }
    }
}

#[test]
fn one_source_is_refused_at_each_endpoint_and_the_others_go_on() {
    let deployment = deployment(2);
    let mint = deployment.serve();
    for (number, way) in WAYS.into_iter().enumerate() {
        let (source, other) = (format!("192.0.2.{number}"), format!("2001:db8:0:{number}::1"));
        for _ in 0..2 {
            way.assert_begun(&way.ask(&mint, &source));
        }
        // Half a minute is the time of one.
        way.assert_refused(&way.ask(&mint, &source), "30");
        way.assert_begun(&way.ask(&mint, &other));
        // The same network of 64 bits.
        way.assert_begun(&way.ask(&mint, &format!("2001:db8:0:{number}:ffff::2")));
        way.assert_refused(&way.ask(&mint, &other), "30");
    }
    assert_eq!(mint.metric(REFUSED), 12);
    let event = mint.wait_for("a source begins more logins than it may: answering 429");
    assert_eq!(event["fields"]["source"], "192.0.2.0");
    assert_eq!(mint.log().matches("a source begins more logins").count(), 1, "{}", mint.log());
}

#[test]
fn all_that_a_source_begins_is_of_one_budget_and_what_is_not_good_is_not_counted() {
    let deployment = deployment(6);
    let mint = deployment.serve();
    let source = "192.0.2.1";
    for way in WAYS {
        for client in ["nobody", "billing-service"] {
            let answer = way.ask_as(&mint, source, client);
            assert!([400, 401].contains(&answer.status), "{way:?}: {answer:?}");
        }
    }
    let wrong = get(&mint, source, "/oauth/authorize", &request(APP, &[("scope", "admin")]));
    assert!(wrong.header("location").unwrap().contains("error=invalid_scope"), "{wrong:?}");
    for way in WAYS {
        way.assert_begun(&way.ask(&mint, source));
    }
    for way in WAYS {
        way.assert_refused(&way.ask(&mint, source), "10");
    }
    // Who is at the address of the proxy, and not behind it, is one of the sources.
    assert_eq!(mint.get(&format!("/oauth/logout?client_id={APP}")).status, 303);
    assert_eq!(mint.metric(REFUSED), 6);
}

#[test]
fn a_client_that_proves_itself_pushes_for_all_of_its_people_and_they_are_counted_by_where_they_are() {
    let deployment = deployment(1);
    let mint = deployment.serve();
    let push = || {
        let headers = [basic(SERVICE, &deployment.secret), from("192.0.2.1")];
        let headers: Vec<&str> = headers.iter().map(String::as_str).collect();
        let answer = mint.post_form_to("/oauth/par", &headers, &form(&request(SERVICE, &[])));
        Way::Push.assert_begun(&answer);
        answer.json()["request_uri"].as_str().expect("a name").to_owned()
    };
    let pushed = [push(), push(), push()];
    let bring = |source: &str, request_uri: &str| {
        get(&mint, source, "/oauth/authorize", &[("client_id", SERVICE), ("request_uri", request_uri)])
    };
    Way::Authorize.assert_begun(&bring("192.0.2.2", &pushed[0]));
    Way::Authorize.assert_refused(&bring("192.0.2.2", &pushed[1]), "60");
    // It is there for another try.
    let begun = bring("192.0.2.3", &pushed[1]);
    Way::Authorize.assert_begun(&begun);
    assert!(parameter(begun.header("location").unwrap(), "login").is_some());
    // What is no name of a request takes nothing.
    assert_eq!(bring("192.0.2.4", "urn:ietf:params:oauth:request_uri:x").status, 400);
    assert_eq!(bring("192.0.2.4", &pushed[1]).status, 400);
    Way::Authorize.assert_begun(&bring("192.0.2.4", &pushed[2]));
}
