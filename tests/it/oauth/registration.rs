use std::io::ErrorKind;
use std::net::TcpListener;

use serde_json::{Value, json};
use toml_edit::value;

use crate::support::client_key::ClientKey;
use crate::support::process::one_line_of_error;
use crate::support::running::{basic, form};
use crate::support::{API, Answer, Deployment, Postgres, RunningMint, SERVICE, jose};

const PATH: &str = "/oauth/register";
const BY_SECRET: &str = "grant_type=client_credentials";

fn allowing(lines: &str) -> Deployment {
    let deployment = Deployment::new();
    deployment.allow_registration(lines);
    deployment
}

/// A client, as it was told of its registration.
struct Registered(Value);

impl Registered {
    #[track_caller]
    fn new(deployment: &Deployment, mint: &RunningMint, metadata: &Value) -> Self {
        let answer = mint.bear("POST", PATH, Some(&deployment.secret), Some(metadata));
        assert_eq!(answer.status, 201, "{answer:?}");
        assert_eq!(answer.header("cache-control"), Some("no-store"));
        Self(answer.json())
    }

    fn text(&self, name: &str) -> &str {
        self.0[name].as_str().unwrap_or_else(|| panic!("no {name} in {}", self.0))
    }

    fn id(&self) -> &str {
        self.text("client_id")
    }

    /// Where it looks after itself.
    fn path(&self) -> &str {
        self.text("registration_client_uri").strip_prefix("https://mint.example.com").unwrap()
    }

    fn manage(&self, mint: &RunningMint, method: &str, body: Option<&Value>) -> Answer {
        mint.bear(method, self.path(), Some(self.text("registration_access_token")), body)
    }

    /// A token of its own, by its secret in the header.
    fn token(&self, mint: &RunningMint) -> Answer {
        mint.post_form(&[&basic(self.id(), self.text("client_secret"))], BY_SECRET)
    }
}

fn by_form(mint: &RunningMint, client: &Registered) -> Answer {
    let (id, secret) = (client.id(), client.text("client_secret"));
    mint.post_form(&[], &form(&[("grant_type", "client_credentials"), ("client_id", id), ("client_secret", secret)]))
}

fn by_assertion(mint: &RunningMint, client: &Registered) -> Answer {
    let assertion = ClientKey::new(1).assertion(client.id(), |_, _| {});
    mint.post_form(
        &[],
        &form(&[
            ("grant_type", "client_credentials"),
            ("client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"),
            ("client_assertion", &assertion),
        ]),
    )
}

fn jwks() -> Value {
    json!({"keys": [ClientKey::new(1).jwk()]})
}

#[test]
fn a_client_registers_has_tokens_changes_and_ends_whichever_way_it_proves_itself() {
    let deployment = allowing("");
    let mint = deployment.serve();
    type Ask = fn(&RunningMint, &Registered) -> Answer;
    let ways: [(Value, Ask); 3] = [
        (json!({}), |mint, client| client.token(mint)),
        (json!({"token_endpoint_auth_method": "client_secret_post"}), by_form),
        (json!({"token_endpoint_auth_method": "private_key_jwt", "jwks": jwks()}), by_assertion),
    ];
    for (metadata, ask) in ways {
        let client = Registered::new(&deployment, &mint, &metadata);
        assert!(client.id().starts_with("dcr_") && client.id().len() == 26, "{}", client.id());
        assert!(client.text("registration_access_token").starts_with("mkr_"));
        let has_secret = metadata.get("jwks").is_none();
        assert_eq!(client.0.get("client_secret").is_some(), has_secret, "{metadata}");
        assert_eq!(client.0.get("client_secret_expires_at"), has_secret.then_some(&json!(0)));
        assert_eq!(client.text("scope"), "read:metrics write:metrics");
        let claims = jose::verified(&mint, &ask(&mint, &client).text("access_token"), "https://api.example.com");
        assert_eq!((&claims["sub"], &claims["client_id"]), (&client.0["client_id"], &client.0["client_id"]));
        assert_eq!(claims["scope"], "read:metrics write:metrics");

        let told = client.manage(&mint, "GET", None);
        assert_eq!((told.status, told.header("cache-control")), (200, Some("no-store")));
        let mut expected = client.0.clone();
        expected.as_object_mut().unwrap().remove("client_secret");
        assert_eq!(told.json(), expected, "all but the secret, which nobody knows but the client");

        let mut update = metadata.clone();
        update["client_id"] = client.id().into();
        update["scope"] = "read:metrics".into();
        update["client_name"] = "Metrics".into();
        let changed = client.manage(&mint, "PUT", Some(&update));
        assert_eq!(changed.status, 200, "{changed:?}");
        for (name, expected) in [("scope", "read:metrics"), ("client_name", "Metrics")] {
            assert_eq!(changed.json()[name], expected);
            assert_eq!(client.manage(&mint, "GET", None).json()[name], expected);
        }
        assert_eq!(changed.json()["registration_access_token"], client.0["registration_access_token"]);
        assert_eq!(changed.json().get("client_secret"), None, "it keeps the one that it has");
        assert_eq!(ask(&mint, &client).json()["scope"], "read:metrics");

        let ended = client.manage(&mint, "DELETE", None);
        assert_eq!((ended.status, ended.body.as_str(), ended.header("cache-control")), (204, "", Some("no-store")));
        ask(&mint, &client).assert_error(401, "invalid_client");
        for method in ["GET", "PUT", "DELETE"] {
            client.manage(&mint, method, Some(&update)).assert_error(401, "invalid_token");
        }
    }
}

#[test]
fn a_client_uses_the_way_that_it_registered_and_no_other() {
    let deployment = allowing("");
    let mint = deployment.serve();
    let basic = Registered::new(&deployment, &mint, &json!({}));
    by_form(&mint, &basic).assert_error(401, "invalid_client");
    by_assertion(&mint, &basic).assert_error(401, "invalid_client");
    mint.post_form(&[], &form(&[("grant_type", "client_credentials"), ("client_id", basic.id())]))
        .assert_error(401, "invalid_client");
    let post = Registered::new(&deployment, &mint, &json!({"token_endpoint_auth_method": "client_secret_post"}));
    post.token(&mint).assert_error(401, "invalid_client");
    // Its tokens have to be bound, where it said so.
    let bound = Registered::new(&deployment, &mint, &json!({"dpop_bound_access_tokens": true}));
    bound.token(&mint).assert_error(400, "invalid_request");
    let secret = crate::support::running::basic(bound.id(), bound.text("client_secret"));
    let answer = ClientKey::new(1).with_proof(|proof| mint.post_form(&[&secret, proof], BY_SECRET));
    assert_eq!(answer.json()["token_type"], "DPoP", "{answer:?}");
}

#[test]
fn what_is_not_good_is_refused_and_nothing_is_registered() {
    let deployment = allowing("authentication = \"client_secret_basic\"");
    let mint = deployment.serve();
    let post = |body: &Value| mint.bear("POST", PATH, Some(&deployment.secret), Some(body));
    for metadata in [
        json!({"token_endpoint_auth_method": "none"}),
        json!({"token_endpoint_auth_method": "private_key_jwt", "jwks": jwks()}),
        json!({"grant_types": ["refresh_token"]}),
        json!({"scope": "admin"}),
    ] {
        post(&metadata).assert_error(400, "invalid_client_metadata");
    }
    post(&json!([])).assert_error(400, "invalid_request");
    let raw = |media_type: &str, body: &str| {
        let (secret, length) = (&deployment.secret, body.len());
        mint.raw(format!("POST {PATH} HTTP/1.1\r\nHost: mint\r\nConnection: close\r\nContent-Type: {media_type}\r\nContent-Length: {length}\r\nAuthorization: Bearer {secret}\r\n\r\n{body}").as_bytes())
    };
    raw("application/x-www-form-urlencoded", "{}").assert_error(400, "invalid_request");
    raw("application/json", r#"{"scope": "read:metrics", "scope": "write:metrics"}"#)
        .assert_error(400, "invalid_request");
    let large = format!("{{\"x\": \"{}\"}}", "x".repeat(16 * 1024));
    raw("application/json", &large).assert_error(413, "invalid_request");
    assert_eq!(raw("Application/JSON; charset=utf-8", "{}").status, 201);
    assert_eq!(deployment.run_json(&["client", "list"])["clients"].as_array().unwrap().len(), 1);
}

#[test]
fn a_token_that_is_not_good_is_refused_the_same_whatever_is_wrong_and_counted() {
    let deployment = allowing("");
    let mint = deployment.serve();
    let (client, other) =
        (Registered::new(&deployment, &mint, &json!({})), Registered::new(&deployment, &mint, &json!({})));
    let unknown = format!("{PATH}/dcr_AAAAAAAAAAAAAAAAAAAAAA");
    let of_service = format!("{PATH}/{SERVICE}");
    let (its, others) = (client.text("registration_access_token"), other.text("registration_access_token"));
    let mut said = Vec::new();
    for (method, path, token) in [
        ("POST", PATH, None),
        ("POST", PATH, Some("mks_x")),
        // Neither a client's secret nor its token registers others.
        ("POST", PATH, Some(client.text("client_secret"))),
        ("POST", PATH, Some(its)),
        ("GET", client.path(), None),
        ("GET", client.path(), Some("")),
        ("GET", client.path(), Some(others)),
        ("GET", client.path(), Some(&deployment.secret)),
        ("PUT", client.path(), Some(others)),
        ("DELETE", client.path(), Some(others)),
        ("GET", &unknown, Some(its)),
        ("DELETE", &unknown, Some(its)),
        ("GET", &of_service, Some(&deployment.secret)),
        ("GET", &format!("{PATH}/%ff"), Some(its)),
    ] {
        let answer = mint.bear(method, path, token, Some(&json!({})));
        answer.assert_error(401, "invalid_token");
        let challenge = answer.header("www-authenticate").map(str::to_owned);
        assert!(challenge.as_deref().unwrap().contains("error=\"invalid_token\""), "{method} {path} {challenge:?}");
        said.push((answer.body, challenge));
    }
    assert_eq!(mint.metric("mintkeep_failed_attempts_total"), said.len() as u64);
    said.dedup();
    assert_eq!(said.len(), 1, "{said:?}");
    for client in [&client, &other] {
        assert_eq!(client.manage(&mint, "GET", None).status, 200);
        client.token(&mint).text("access_token");
    }
}

#[test]
fn an_update_is_of_its_own_client_and_gives_a_secret_where_one_is_needed_only() {
    let deployment = allowing("");
    let mint = deployment.serve();
    let client = Registered::new(&deployment, &mint, &json!({}));
    let put = |body: Value| client.manage(&mint, "PUT", Some(&body));
    let id = client.id();
    for wrong in [
        json!({}),
        json!({"client_id": "dcr_AAAAAAAAAAAAAAAAAAAAAA"}),
        json!({"client_id": id, "client_secret": "mks_x"}),
        json!({"client_id": id, "registration_access_token": client.text("registration_access_token")}),
        json!({"client_id": id, "client_secret_expires_at": 0}),
    ] {
        put(wrong).assert_error(400, "invalid_request");
    }
    put(json!({"client_id": id, "scope": "admin"})).assert_error(400, "invalid_client_metadata");
    assert_eq!(put(json!({"client_id": id, "client_secret": client.text("client_secret")})).status, 200);
    client.token(&mint).text("access_token");
    // From a secret to a key, the secret is none any more; and back, there is another one.
    let by_key = json!({"client_id": id, "token_endpoint_auth_method": "private_key_jwt", "jwks": jwks()});
    assert_eq!(put(by_key).json().get("client_secret"), None);
    client.token(&mint).assert_error(401, "invalid_client");
    by_assertion(&mint, &client).text("access_token");
    let back = Registered(put(json!({"client_id": id})).json());
    assert_ne!(back.text("client_secret"), client.text("client_secret"));
    back.token(&mint).text("access_token");
    client.token(&mint).assert_error(401, "invalid_client");
    by_assertion(&mint, &client).assert_error(401, "invalid_client");
}

#[test]
fn without_the_setting_there_is_no_such_endpoint() {
    let deployment = Deployment::new();
    let mint = deployment.serve();
    let id = format!("{PATH}/dcr_AAAAAAAAAAAAAAAAAAAAAA");
    for (method, path) in [("POST", PATH), ("GET", &id), ("PUT", &id), ("DELETE", &id)] {
        let answer = mint.bear(method, path, Some(&deployment.secret), Some(&json!({})));
        assert_eq!((answer.status, answer.body.as_str()), (404, ""), "{method}");
    }
    assert_eq!(mint.metric("mintkeep_failed_attempts_total"), 0);
}

#[test]
fn a_registration_survives_a_restart_within_the_rules_of_then() {
    let deployment = allowing("access_token_lifetime = \"1h\"");
    let mint = deployment.serve();
    let client = Registered::new(&deployment, &mint, &json!({}));
    let by_key = json!({"token_endpoint_auth_method": "private_key_jwt", "jwks": jwks()});
    let by_key = Registered::new(&deployment, &mint, &by_key);
    drop(mint);
    let mint = deployment.serve();
    // Longer than that of any other client: the keeper signs it.
    assert_eq!(client.token(&mint).json()["expires_in"], 3600);
    by_assertion(&mint, &by_key).text("access_token");
    assert_eq!(client.manage(&mint, "GET", None).status, 200);
    drop(mint);

    deployment.edit(|config| {
        config["registration"]["scope"] = value("read:metrics read:more");
        config["registration"]["authentication"] = value("client_secret_basic");
    });
    let mint = deployment.serve();
    assert_eq!(client.token(&mint).json()["scope"], "read:metrics");
    let wider = format!("{BY_SECRET}&scope=write:metrics");
    mint.post_form(&[&basic(client.id(), client.text("client_secret"))], &wider).assert_error(400, "invalid_scope");
    assert_eq!(client.manage(&mint, "GET", None).json()["scope"], "read:metrics");
    by_assertion(&mint, &by_key).assert_error(401, "invalid_client");
    let listed = deployment.run_json(&["client", "list"]);
    let of = |client: &Registered| {
        let clients = listed["clients"].as_array().unwrap();
        clients.iter().find(|listed| listed["client_id"] == client.id()).unwrap().get("refused").cloned()
    };
    assert_eq!((of(&client), of(&by_key)), (None, Some("it may not prove itself in this way".into())));
    drop(mint);

    deployment.edit(|config| drop(config.remove("registration")));
    let mint = deployment.serve();
    client.token(&mint).assert_error(401, "invalid_client");
    assert_eq!(client.manage(&mint, "GET", None).status, 404);
}

#[test]
fn what_one_node_registered_or_ended_the_other_one_knows_at_once() {
    let (deployment, postgres) = (allowing("lifetime = \"30d\"\nmax_clients = 2"), Postgres::start());
    deployment.add_resource_server("https://api.example.com");
    deployment.use_postgres(&postgres);
    let [one, other] = [deployment.serve(), deployment.serve_beside(|_| {})];
    let client = Registered::new(&deployment, &one, &json!({}));
    let month =
        client.0["client_secret_expires_at"].as_i64().unwrap() - client.0["client_id_issued_at"].as_i64().unwrap();
    assert_eq!(month, 30 * 24 * 60 * 60);
    let token = client.token(&other).text("access_token");
    let is_active = || {
        let asked = form(&[("token", &token)]);
        let answer = one.post_form_to("/oauth/introspect", &[&basic(API, &deployment.secret)], &asked);
        answer.json()["active"].as_bool().unwrap()
    };
    assert!(is_active());
    assert_eq!(client.manage(&other, "DELETE", None).status, 204);
    client.token(&one).assert_error(401, "invalid_client");
    assert!(!is_active(), "RFC 7592 §2.3: its tokens end with it");

    // As many as may be, on whichever node; one that expired makes room.
    let [first, second] = [&one, &other].map(|node| Registered::new(&deployment, node, &json!({})));
    let third = |node: &RunningMint| node.bear("POST", PATH, Some(&deployment.secret), Some(&json!({})));
    for node in [&one, &other] {
        third(node).assert_error(503, "temporarily_unavailable");
    }
    let days_ago = |seconds: i64| {
        let id = first.id();
        postgres
            .sql(&format!("UPDATE registered_client SET created_at = created_at - {seconds} WHERE client_id = '{id}'"));
    };
    days_ago(29 * 24 * 60 * 60);
    first.token(&one).text("access_token");
    third(&one).assert_error(503, "temporarily_unavailable");
    days_ago(24 * 60 * 60);
    for node in [&one, &other] {
        first.token(node).assert_error(401, "invalid_client");
        first.manage(node, "GET", None).assert_error(401, "invalid_token");
    }
    assert_eq!(third(&other).status, 201);
    second.token(&one).text("access_token");
    assert_eq!(
        postgres.sql(&format!("SELECT count(*) FROM registered_client WHERE client_id = '{}'", first.id())),
        "0"
    );
}

#[test]
fn no_log_has_a_secret_or_a_token_of_a_registration() {
    let deployment = allowing("");
    deployment.edit(|config| config["log"]["level"] = value("trace"));
    let mint = deployment.serve();
    let client = Registered::new(&deployment, &mint, &json!({"client_name": "what a name"}));
    client.token(&mint).text("access_token");
    assert_eq!(client.manage(&mint, "PUT", Some(&json!({"client_id": client.id()}))).status, 200);
    mint.bear("GET", client.path(), Some("mkr_wrong"), None).assert_error(401, "invalid_token");
    assert_eq!(client.manage(&mint, "DELETE", None).status, 204);
    assert_eq!(mint.wait_for("a client ended its registration")["fields"]["client"], client.id());
    let log = mint.log();
    for secret in
        [client.text("client_secret"), client.text("registration_access_token"), &deployment.secret, "mkr_wrong"]
    {
        assert!(!log.contains(secret), "{secret}");
    }
}

#[test]
fn keys_are_not_fetched_from_where_only_the_mint_can_reach() {
    let deployment = allowing("");
    let mint = deployment.serve();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    for host in ["127.0.0.1", "localhost"] {
        let uri = format!("https://{host}:{}/jwks", listener.local_addr().unwrap().port());
        let metadata = json!({"token_endpoint_auth_method": "private_key_jwt", "jwks_uri": uri});
        let client = Registered::new(&deployment, &mint, &metadata);
        by_assertion(&mint, &client).assert_error(503, "temporarily_unavailable");
        mint.wait_for("keys could not be read");
    }
    assert_eq!(listener.accept().unwrap_err().kind(), ErrorKind::WouldBlock, "nobody came");
}

#[test]
fn operators_list_clients_and_end_them_with_the_mint_running_or_not() {
    let deployment = allowing("lifetime = \"30d\"");
    let mint = deployment.serve();
    let named = Registered::new(&deployment, &mint, &json!({"client_name": "Metrics", "scope": "read:metrics"}));
    let other = Registered::new(&deployment, &mint, &json!({}));
    named.token(&mint).text("access_token");
    let check = |number: usize| {
        let list = deployment.run_json(&["client", "list"]);
        let clients = list["clients"].as_array().unwrap().clone();
        assert_eq!(clients.len(), number, "{list}");
        clients
    };
    let listed = check(2);
    let of_named = listed.iter().find(|client| client["client_id"] == named.id()).unwrap();
    assert_eq!((&of_named["client_name"], &of_named["scope"]), (&json!("Metrics"), &json!("read:metrics")));
    assert_eq!(of_named["token_endpoint_auth_method"], "client_secret_basic");
    assert!(of_named["last_used_at"].is_number() && of_named["expires_at"].is_number(), "{of_named}");
    let text = String::from_utf8(deployment.run(&["client", "list"]).stdout).unwrap();
    assert!(
        text.contains(&format!("{}  Metrics  client_secret_basic  [read:metrics]  registered", named.id())),
        "{text}"
    );
    let unknown = || {
        for id in ["dcr_AAAAAAAAAAAAAAAAAAAAAA", SERVICE, "a/b"] {
            let error = one_line_of_error(&deployment.run(&["client", "remove", id]), 7);
            assert!(error.contains("no client of that id has registered itself"), "{error}");
        }
    };
    unknown();
    assert_eq!(deployment.run_json(&["client", "remove", named.id()])["removed"], named.id());
    named.token(&mint).assert_error(401, "invalid_client");
    for bad in ["limit=0", "limit=1001", "client=x"] {
        mint.admin(&format!("/admin/v1/clients?{bad}")).assert_error(400, "invalid_request");
    }
    let part = mint.admin("/admin/v1/clients?limit=1").json();
    assert_eq!((&part["clients"][0]["client_id"], &part["next"]), (&other.0["client_id"], &other.0["client_id"]));
    drop(mint);
    unknown();
    check(1);
    assert_eq!(deployment.run_json(&["client", "remove", other.id()])["removed"], other.id());
    check(0);
}
