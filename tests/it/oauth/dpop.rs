//! Proofs of possession (RFC 9449), against the running mint.

use serde_json::{Value, json};

use crate::support::client_key::{ClientKey, TOKEN_ENDPOINT, encode, now};
use crate::support::jose::claims_of;
use crate::support::running::{basic, form};
use crate::support::{API, Answer, Deployment, Postgres, RunningMint, WORKLOAD};

/// What is done to a proof.
type Change = fn(&mut Value, &mut Value);

fn ask(mint: &RunningMint, proof: &str) -> Answer {
    mint.post_form(&[&mint.basic(), &format!("DPoP: {proof}")], "grant_type=client_credentials")
}

/// A nonce of the mint's.
fn nonce(mint: &RunningMint) -> String {
    let answer =
        ask(mint, &ClientKey::new(1).proof("", |_, claims| drop(claims.as_object_mut().unwrap().remove("nonce"))));
    answer.assert_error(400, "use_dpop_nonce");
    answer.header("dpop-nonce").expect("a nonce").to_owned()
}

#[test]
fn a_token_is_bound_to_the_key_that_was_proven_and_everybody_is_told_so() {
    let deployment = Deployment::new();
    deployment.add_resource_server("https://billing.example.com");
    let mint = deployment.serve();
    let key = ClientKey::new(1);
    let answer = key.with_proof(|dpop| mint.post_form(&[&mint.basic(), dpop], "grant_type=client_credentials"));
    let token = answer.text("access_token");
    assert_eq!(answer.json()["token_type"], "DPoP");
    assert!(answer.header("dpop-nonce").is_some(), "so that the next request needs no second try");
    assert_eq!(claims_of(&token)["cnf"], json!({"jkt": key.thumbprint()}));
    let asked = mint.post_form_to("/oauth/introspect", &[&basic(API, &deployment.secret)], &form(&[("token", &token)]));
    assert_eq!(asked.json()["cnf"], json!({"jkt": key.thumbprint()}));
    assert_eq!(asked.json()["token_type"], "DPoP");
    // Who proves nothing gets a bearer token.
    let plain = mint.client_credentials();
    assert_eq!((&plain.json()["token_type"], plain.header("dpop-nonce")), (&json!("Bearer"), None));
    assert_eq!(claims_of(&plain.text("access_token")).get("cnf"), None);
}

#[test]
fn a_proof_is_good_once_on_every_node_and_after_a_restart() {
    let (deployment, postgres) = (Deployment::new(), Postgres::start());
    deployment.use_postgres(&postgres);
    let nodes = [deployment.serve(), deployment.serve_beside(|_| {})];
    let proof = ClientKey::new(1).proof(&nonce(&nodes[0]), |_, _| {});
    // Nodes take each other's nonces.
    ask(&nodes[1], &proof).text("access_token");
    for node in &nodes {
        ask(node, &proof).assert_error(400, "invalid_dpop_proof");
    }
    let [first, second] = nodes;
    first.kill();
    drop(second);
    let mint = deployment.serve();
    ask(&mint, &proof).assert_error(400, "invalid_dpop_proof");
    // The nonce is good on.
    let nonce = claims_of(&proof)["nonce"].as_str().unwrap().to_owned();
    ask(&mint, &ClientKey::new(1).proof(&nonce, |_, _| {})).text("access_token");
}

#[test]
fn whatever_is_wrong_with_a_proof_it_is_refused_and_nothing_is_lost() {
    let deployment = Deployment::new();
    let mint = deployment.serve();
    let nonce = nonce(&mint);
    let (key, other) = (ClientKey::new(1), ClientKey::new(2));
    let changes: &[(&str, Change)] = &[
        ("typ absent", |header, _| drop(header.as_object_mut().unwrap().remove("typ"))),
        ("typ of another kind", |header, _| header["typ"] = "JWT".into()),
        ("alg none", |header, _| header["alg"] = "none".into()),
        ("alg symmetric", |header, _| header["alg"] = "HS256".into()),
        ("alg of another key", |header, _| header["alg"] = "ES384".into()),
        ("no jwk", |header, _| drop(header.as_object_mut().unwrap().remove("jwk"))),
        ("a jwk with a private member", |header, _| header["jwk"] = ClientKey::new(1).private_jwk()),
        ("another key's jwk", |header, _| header["jwk"] = ClientKey::new(2).jwk()),
        ("a symmetric jwk", |header, _| header["jwk"] = json!({"kty": "oct", "k": "AAAA"})),
        ("a point that is not on the curve", |header, _| header["jwk"]["y"] = header["jwk"]["x"].clone()),
        ("a jku beside it", |header, _| header["jku"] = "https://evil.example/jwks.json".into()),
        ("an x5u", |header, _| header["x5u"] = "https://evil.example/cert.pem".into()),
        ("crit", |header, _| header["crit"] = json!(["exp"])),
        ("no jti", |_, claims| drop(claims.as_object_mut().unwrap().remove("jti"))),
        ("a jti that is no text", |_, claims| claims["jti"] = 7.into()),
        ("a huge jti", |_, claims| claims["jti"] = "j".repeat(257).into()),
        ("no htm", |_, claims| drop(claims.as_object_mut().unwrap().remove("htm"))),
        ("another method", |_, claims| claims["htm"] = "GET".into()),
        ("a method in lower case", |_, claims| claims["htm"] = "post".into()),
        ("no htu", |_, claims| drop(claims.as_object_mut().unwrap().remove("htu"))),
        ("another endpoint", |_, claims| claims["htu"] = "https://mint.example.com/oauth/introspect".into()),
        ("another host", |_, claims| claims["htu"] = "https://mint.example.org/oauth/token".into()),
        ("another scheme", |_, claims| claims["htu"] = "http://mint.example.com/oauth/token".into()),
        ("no iat", |_, claims| drop(claims.as_object_mut().unwrap().remove("iat"))),
        ("an old iat", |_, claims| claims["iat"] = (now() - 301).into()),
        ("an iat in the future", |_, claims| claims["iat"] = (now() + 90).into()),
        ("an iat that is text", |_, claims| claims["iat"] = now().to_string().into()),
        ("an ath that is none", |_, claims| claims["ath"] = "short".into()),
    ];
    for (what, change) in changes {
        let answer = ask(&mint, &key.proof(&nonce, change));
        answer.assert_error(400, "invalid_dpop_proof");
        assert!(answer.header("dpop-nonce").is_some(), "{what}");
    }
    for (what, change) in [
        ("no nonce", (|_, claims| drop(claims.as_object_mut().unwrap().remove("nonce"))) as Change),
        ("an empty nonce", |_, claims| claims["nonce"] = "".into()),
        ("a nonce that is a number", |_, claims| claims["nonce"] = 1.into()),
        // Of the year 2001, whatever its code.
        ("a stale nonce", |_, claims| {
            claims["nonce"] = encode([&[0, 0, 0, 0, 1, 0, 0, 0][..], &[7; 16]].concat()).into()
        }),
    ] {
        let answer = ask(&mint, &key.proof(&nonce, change));
        answer.assert_error(400, "use_dpop_nonce");
        assert_eq!(answer.header("dpop-nonce"), Some(nonce.as_str()), "{what}");
    }
    let good = key.proof(&nonce, |_, _| {});
    let (input, signature) = good.rsplit_once('.').unwrap();
    let foreign = other.proof(&nonce, |_, _| {});
    let deep = format!("{}1{}", "[".repeat(100), "]".repeat(100));
    for text in [
        "",
        "x",
        input,
        &format!("{input}."),
        &format!("{input}.{}", foreign.rsplit_once('.').unwrap().1),
        &format!("{input}.{signature}="),
        &format!("{good}.{signature}"),
        &key.sign_texts(
            &json!({"typ": "dpop+jwt", "alg": "ES256", "jwk": key.jwk()}).to_string(),
            &claims_of(&good).to_string().replacen('{', r#"{"htm":"GET","#, 1),
        ),
        &key.sign_texts(
            &json!({"typ": "dpop+jwt", "alg": "ES256", "jwk": key.jwk()}).to_string().replacen(
                '{',
                r#"{"alg":"none","#,
                1,
            ),
            &claims_of(&good).to_string(),
        ),
        &key.sign_texts(
            &json!({"typ": "dpop+jwt", "alg": "ES256", "jwk": key.jwk()}).to_string(),
            &claims_of(&good).to_string().replacen('{', &format!(r#"{{"deep":{deep},"#), 1),
        ),
    ] {
        ask(&mint, text).assert_error(400, "invalid_dpop_proof");
    }
    // Longer than any header may be.
    assert_eq!(ask(&mint, &key.proof(&nonce, |_, claims| claims["huge"] = "x".repeat(13_000).into())).status, 431);
    let twice = format!("DPoP: {good}");
    mint.post_form(&[&mint.basic(), &twice, &twice], "grant_type=client_credentials")
        .assert_error(400, "invalid_dpop_proof");
    // A query and a fragment are no part of it; nothing that was refused was used up.
    ask(&mint, &key.proof(&nonce, |_, claims| claims["htu"] = format!("{TOKEN_ENDPOINT}?a=b#c").into()))
        .text("access_token");
    ask(&mint, &key.proof(&nonce, |_, claims| claims["htu"] = "HTTPS://MINT.example.com:443/oauth/token".into()))
        .text("access_token");
    ask(&mint, &good).text("access_token");
    assert!(!mint.log().contains(signature), "no proof is in the log");
}

#[test]
fn the_refresh_tokens_of_a_public_client_are_bound_to_the_key_that_it_first_shows() {
    let deployment = Deployment::new();
    deployment.allow_failed_attempts();
    let mint = deployment.serve();
    let (key, other) = (ClientKey::new(1), ClientKey::new(2));
    let refresh = |by: Option<&ClientKey>, token: &str| {
        let form = form(&[("grant_type", "refresh_token"), ("client_id", WORKLOAD), ("refresh_token", token)]);
        match by {
            Some(key) => key.with_proof(|dpop| mint.post_form(&[dpop], &form)),
            None => mint.post_form(&[], &form),
        }
    };
    let first = deployment.grant();
    let second = refresh(Some(&key), &first);
    assert_eq!(claims_of(&second.text("access_token"))["cnf"]["jkt"], key.thumbprint());
    let second = second.text("refresh_token");
    let before = mint.metric("mintkeep_keeper_openings_requested_total");
    for token in [&first, &second] {
        refresh(None, token).assert_error(400, "invalid_grant");
        refresh(Some(&other), token).assert_error(400, "invalid_grant");
    }
    assert_eq!(
        mint.metric("mintkeep_keeper_openings_requested_total"),
        before,
        "who lacks the key costs no hardware operation"
    );
    // A thief did not end the session of the client; a lost answer is given again.
    let again = refresh(Some(&key), &first).text("refresh_token");
    let third = refresh(Some(&key), &again).text("refresh_token");
    // Replay by who has the key is replay.
    refresh(Some(&key), &first).assert_error(400, "invalid_grant");
    refresh(Some(&key), &third).assert_error(400, "invalid_grant");
}

#[test]
fn a_client_that_is_registered_for_bound_tokens_gets_no_others() {
    let deployment = Deployment::new();
    deployment.edit(|config| {
        let clients = config["client"].as_array_of_tables_mut().expect("clients");
        clients.get_mut(1).expect("the service")["dpop_bound_access_tokens"] = toml_edit::value(true);
    });
    let mint = deployment.serve();
    mint.client_credentials().assert_error(400, "invalid_request");
    let key = ClientKey::new(3);
    key.with_proof(|dpop| mint.post_form(&[&mint.basic(), dpop], "grant_type=client_credentials")).text("access_token");
}
