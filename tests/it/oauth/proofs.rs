//! Clients that prove themselves by what they hold: a key (RFC 7523), or a certificate (RFC 8705).

use serde_json::{Value, json};

use crate::support::client_key::{ClientKey, now};
use crate::support::issuer::Issuer;
use crate::support::jose::claims_of;
use crate::support::running::{basic, form, post as post_request};
use crate::support::tls::{Authority, Client as TlsClient, Identity};
use crate::support::{Answer, Deployment, Postgres, RunningMint, SERVICE};

/// What is done to an assertion.
type Change = fn(&mut Value, &mut Value);

const ROBOT: &str = "deploy-robot";
const ASSERTION_TYPE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

/// A deployment whose client [`ROBOT`] signs with the key of 31.
fn with_robot() -> Deployment {
    let deployment = Deployment::new();
    let jwk = ClientKey::new(31).jwk();
    deployment.add_client(&format!(
        "id = \"{ROBOT}\"\nauthentication = \"private_key_jwt\"\njwks = {{ keys = [{{ kty = \"EC\", crv = \"P-256\", x = {}, y = {} }}] }}
grants = [\"client_credentials\", \"refresh_token\"]\nscope = \"read write\"\naudience = \"https://api.example.com\"",
        jwk["x"], jwk["y"]
    ));
    deployment
}

fn presented(assertion: &str, further: &[(&str, &str)]) -> String {
    let named = [("client_assertion_type", ASSERTION_TYPE), ("client_assertion", assertion)];
    form(&[&named, further].concat())
}

const CLIENT_CREDENTIALS: (&str, &str) = ("grant_type", "client_credentials");

#[test]
fn a_client_proves_itself_by_its_key_once_for_each_assertion_at_every_endpoint() {
    let deployment = with_robot();
    let mint = deployment.serve();
    let key = ClientKey::new(31);
    let assertion = key.assertion(ROBOT, |_, _| {});
    let ask = |assertion: &str, further: &[(&str, &str)]| {
        mint.post_form(&[], &presented(assertion, &[&[CLIENT_CREDENTIALS], further].concat()))
    };
    let token = ask(&assertion, &[]).text("access_token");
    assert_eq!(claims_of(&token)["sub"], ROBOT);
    ask(&assertion, &[]).assert_error(401, "invalid_client");
    ask(&key.assertion(ROBOT, |_, _| {}), &[("client_id", ROBOT)]).text("access_token");
    ask(&key.assertion(ROBOT, |header, _| header["typ"] = "client-authentication+jwt".into()), &[])
        .text("access_token");
    ask(&key.assertion(ROBOT, |_, claims| claims["aud"] = json!(["https://mint.example.com"])), &[])
        .text("access_token");
    let revoke = presented(&key.assertion(ROBOT, |_, _| {}), &[("token", &token)]);
    assert_eq!(mint.post_form_to("/oauth/revoke", &[], &revoke).status, 200);
    // Its refresh tokens are bound to its key, and stay.
    let held = deployment.grant_to(ROBOT);
    let refresh = [("grant_type", "refresh_token"), ("refresh_token", held.as_str())];
    let answer = mint.post_form(&[], &presented(&key.assertion(ROBOT, |_, _| {}), &refresh));
    assert_eq!((answer.status, answer.json().get("refresh_token")), (200, None));
    mint.post_form(&[], &form(&[&refresh[..], &[("client_id", ROBOT)]].concat())).assert_error(401, "invalid_client");
    drop(mint);
    // A restart forgets nothing.
    let mint = deployment.serve();
    mint.post_form(&[], &presented(&assertion, &[CLIENT_CREDENTIALS])).assert_error(401, "invalid_client");
}

#[test]
fn whatever_is_wrong_with_an_assertion_it_proves_nothing() {
    let deployment = with_robot();
    deployment.allow_failed_attempts();
    let mint = deployment.serve();
    let key = ClientKey::new(31);
    let ask = |assertion: &str| mint.post_form(&[], &presented(assertion, &[CLIENT_CREDENTIALS]));
    let changes: &[(&str, Change)] = &[
        ("alg none", |header, _| header["alg"] = "none".into()),
        ("HMAC", |header, _| header["alg"] = "HS256".into()),
        ("another algorithm", |header, _| header["alg"] = "PS256".into()),
        ("crit", |header, _| header["crit"] = json!(["exp"])),
        ("its own key", |header, _| header["jwk"] = ClientKey::new(31).jwk()),
        ("a jku", |header, _| header["jku"] = "https://evil.example/jwks".into()),
        ("an x5u", |header, _| header["x5u"] = "https://evil.example/cert".into()),
        ("typ of a proof", |header, _| header["typ"] = "dpop+jwt".into()),
        ("typ of an access token", |header, _| header["typ"] = "at+jwt".into()),
        ("a kid that is not known", |header, _| header["kid"] = "unknown".into()),
        ("another iss", |_, claims| claims["iss"] = "billing-service".into()),
        ("iss in a list", |_, claims| claims["iss"] = json!([ROBOT])),
        ("no iss", |_, claims| drop(claims.as_object_mut().unwrap().remove("iss"))),
        ("another client", |_, claims| {
            claims["iss"] = "billing-service".into();
            claims["sub"] = "billing-service".into();
        }),
        ("no client", |_, claims| {
            claims["iss"] = "nobody".into();
            claims["sub"] = "nobody".into();
        }),
        ("no sub", |_, claims| drop(claims.as_object_mut().unwrap().remove("sub"))),
        ("no aud", |_, claims| drop(claims.as_object_mut().unwrap().remove("aud"))),
        ("the token endpoint", |_, claims| claims["aud"] = "https://mint.example.com/oauth/token".into()),
        ("the issuer with a slash", |_, claims| claims["aud"] = "https://mint.example.com/".into()),
        ("two audiences", |_, claims| {
            claims["aud"] = json!(["https://mint.example.com", "https://mint.example.com/oauth/token"]);
        }),
        ("the audience twice", |_, claims| {
            claims["aud"] = json!(["https://mint.example.com", "https://mint.example.com"]);
        }),
        ("expired", |_, claims| claims["exp"] = (now() - 40).into()),
        ("no exp", |_, claims| drop(claims.as_object_mut().unwrap().remove("exp"))),
        ("good for too long", |_, claims| claims["exp"] = (now() + 3700).into()),
        ("not yet valid", |_, claims| claims["nbf"] = (now() + 90).into()),
        ("of the future", |_, claims| claims["iat"] = (now() + 90).into()),
        ("no jti", |_, claims| drop(claims.as_object_mut().unwrap().remove("jti"))),
        ("a huge jti", |_, claims| claims["jti"] = "j".repeat(300).into()),
        ("deep", |_, claims| claims["deep"] = (0..40).fold(Value::Null, |inner, _| json!([inner]))),
    ];
    for (what, change) in changes {
        let answer = ask(&key.assertion(ROBOT, change));
        assert_eq!(answer.status, 401, "{what}: {answer:?}");
        answer.assert_error(401, "invalid_client");
    }
    let good = key.assertion(ROBOT, |_, _| {});
    let doubled = claims_of(&good).to_string().replacen('{', r#"{"sub":"billing-service","#, 1);
    for assertion in [
        ClientKey::new(32).assertion(ROBOT, |_, _| {}),
        key.sign_texts(r#"{"alg":"ES256"}"#, &doubled),
        format!("{good}="),
        good.rsplit_once('.').unwrap().0.to_owned() + ".",
        "x".to_owned(),
    ] {
        ask(&assertion).assert_error(401, "invalid_client");
    }
    // A client proves itself in one way, and in its own.
    let two = presented(&good, &[CLIENT_CREDENTIALS, ("client_secret", &deployment.secret), ("client_id", ROBOT)]);
    mint.post_form(&[], &two).assert_error(400, "invalid_request");
    mint.post_form(&[&mint.basic()], &presented(&good, &[CLIENT_CREDENTIALS])).assert_error(400, "invalid_request");
    mint.post_form(&[], &presented(&good, &[CLIENT_CREDENTIALS, ("client_id", SERVICE)]))
        .assert_error(400, "invalid_request");
    mint.post_form(&[], &form(&[CLIENT_CREDENTIALS, ("client_assertion", &good)])).assert_error(400, "invalid_request");
    mint.post_form(&[&basic(ROBOT, &deployment.secret)], &form(&[CLIENT_CREDENTIALS]))
        .assert_error(401, "invalid_client");
    let of_service = key.assertion(SERVICE, |_, _| {});
    ask(&of_service).assert_error(401, "invalid_client");
    // Nothing that was refused was used up.
    ask(&good).text("access_token");
    assert!(!mint.log().contains(good.rsplit('.').next().unwrap()), "no assertion is in the log");
}

#[test]
fn an_assertion_is_good_on_one_node_only() {
    let (deployment, postgres) = (with_robot(), Postgres::start());
    deployment.use_postgres(&postgres);
    let nodes = [deployment.serve(), deployment.serve_beside(|_| {})];
    let assertion = presented(&ClientKey::new(31).assertion(ROBOT, |_, _| {}), &[CLIENT_CREDENTIALS]);
    let statuses: Vec<u16> = std::thread::scope(|scope| {
        let ask = |node: &RunningMint| node.post_form(&[], &assertion).status;
        let asking: Vec<_> = (0..16)
            .map(|turn| {
                let node = &nodes[turn % 2];
                scope.spawn(move || ask(node))
            })
            .collect();
        asking.into_iter().map(|asked| asked.join().expect("it ends")).collect()
    });
    assert_eq!(statuses.iter().filter(|status| **status == 200).count(), 1, "{statuses:?}");
}

#[test]
fn the_keys_of_a_client_are_read_from_a_file_and_from_its_server() {
    let issuer = Issuer::start(33);
    let deployment = Deployment::new();
    let jwks = json!({"keys": [ClientKey::new(34).jwk()]});
    std::fs::write(deployment.path("robot.json"), jwks.to_string()).unwrap();
    let rest = "grants = [\"client_credentials\"]\nscope = \"read\"\naudience = \"https://api.example.com\"";
    deployment.add_client(&format!(
        "id = \"by-file\"\nauthentication = \"private_key_jwt\"\njwks_file = \"robot.json\"\n{rest}"
    ));
    deployment.add_client(&format!(
        "id = \"by-uri\"\nauthentication = \"private_key_jwt\"\njwks_uri = \"{}/jwks\"\njwks_ca = {:?}\njwks_allow_private_addresses = true\n{rest}",
        issuer.name(), issuer.server.authority()
    ));
    // Its server is at an address that is refused.
    deployment.add_client(&format!(
        "id = \"private\"\nauthentication = \"private_key_jwt\"\njwks_uri = \"{}/jwks\"\njwks_ca = {:?}\n{rest}",
        issuer.name(),
        issuer.server.authority()
    ));
    let mint = deployment.serve();
    let ask = |id: &str, number| {
        mint.post_form(&[], &presented(&ClientKey::new(number).assertion(id, |_, _| {}), &[CLIENT_CREDENTIALS]))
    };
    ask("by-file", 34).text("access_token");
    ask("by-file", 33).assert_error(401, "invalid_client");
    ask("by-uri", 33).text("access_token");
    ask("by-uri", 34).assert_error(401, "invalid_client");
    ask("private", 33).assert_error(503, "temporarily_unavailable");
}

/// By its certificate, in the handshake of a real TLS connection.
#[test]
fn a_client_proves_itself_by_its_certificate_and_its_tokens_are_bound_to_it() {
    let deployment = Deployment::new();
    let authority = Authority::new();
    let (ours, theirs) = (authority.vouch_for("robot.example.com"), authority.vouch_for("other.example.com"));
    let (own, strange) = (Identity::self_signed("robot"), Identity::self_signed("robot"));
    deployment.use_tls(&authority.vouch_for("127.0.0.1"));
    let ca = deployment.put_authority(&authority);
    deployment.edit(|config| {
        config["listen"]["tls"]["client_certificates"] = toml_edit::value("optional");
        config["listen"]["tls"]["client_ca"] = toml_edit::value(ca.display().to_string());
    });
    std::fs::write(deployment.path("own.pem"), &own.certificate_pem).unwrap();
    let rest = "grants = [\"client_credentials\"]\nscope = \"read\"\naudience = \"https://api.example.com\"";
    for (id, proof) in [
        ("by-name", "authentication = \"tls_client_auth\"\ntls_client_auth_san_dns = \"robot.example.com\""),
        ("by-own", "authentication = \"self_signed_tls_client_auth\"\ncertificates = \"own.pem\""),
        (
            "unbound",
            "authentication = \"tls_client_auth\"\ntls_client_auth_san_dns = \"robot.example.com\"\ntls_client_certificate_bound_access_tokens = false",
        ),
    ] {
        deployment.add_client(&format!("id = \"{id}\"\n{proof}\n{rest}"));
    }
    deployment.append("[[resource_server]]\nid = \"api-by-certificate\"\nauthentication = \"tls_client_auth\"\ntls_client_auth_san_dns = \"other.example.com\"\naudience = \"https://api.example.com\"");
    let mint = deployment.serve();
    let post = |identity: Option<&Identity>, path: &str, form: &str| {
        let client = TlsClient::trusting(&authority);
        let client = match identity {
            Some(identity) => client.presenting(identity),
            None => client,
        };
        Answer::exchange(client.connect(&mint), &post_request(path, &[], form))
    };
    let ask = |identity, id: &str| post(identity, "/oauth/token", &form(&[CLIENT_CREDENTIALS, ("client_id", id)]));
    for (id, identity) in [("by-name", &ours), ("by-own", &own)] {
        let token = ask(Some(identity), id).text("access_token");
        let claims = claims_of(&token);
        assert_eq!(claims["cnf"], json!({"x5t#S256": identity.thumbprint()}));
        let asked =
            post(Some(&theirs), "/oauth/introspect", &form(&[("client_id", "api-by-certificate"), ("token", &token)]));
        assert_eq!(asked.json()["cnf"], json!({"x5t#S256": identity.thumbprint()}));
        assert_eq!(asked.json()["token_type"], "Bearer");
    }
    assert_eq!(claims_of(&ask(Some(&ours), "unbound").text("access_token")).get("cnf"), None);
    let elsewhere = Authority::new().vouch_for("robot.example.com");
    for (id, identity) in [
        ("by-name", None),
        ("by-name", Some(&theirs)),
        ("by-name", Some(&own)),
        ("by-name", Some(&elsewhere)),
        ("by-own", None),
        ("by-own", Some(&strange)),
        ("by-own", Some(&ours)),
    ] {
        ask(identity, id).assert_error(401, "invalid_client");
    }
    post(Some(&ours), "/oauth/introspect", &form(&[("client_id", "api-by-certificate"), ("token", "x")]))
        .assert_error(401, "invalid_client");
    let metadata = Answer::exchange(
        TlsClient::trusting(&authority).connect(&mint),
        b"GET /.well-known/oauth-authorization-server HTTP/1.1\r\nHost: mint\r\nConnection: close\r\n\r\n",
    )
    .json();
    assert_eq!(metadata["tls_client_certificate_bound_access_tokens"], true);
    let methods = metadata["token_endpoint_auth_methods_supported"].as_array().unwrap();
    assert!(methods.contains(&json!("tls_client_auth")) && methods.contains(&json!("self_signed_tls_client_auth")));
}
