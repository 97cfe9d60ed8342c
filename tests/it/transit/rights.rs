//! What a caller may not, in each way, and the exact answer.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use mintkeep::clock::{Clock as _, SystemClock};
use serde_json::{Value, json};
use toml_edit::{Array, value};

use super::Scene;
use super::scene::{assert_refused, base64, data, document_digest, public_key, sha256, signature, verifies};
use crate::support::Answer;

const DENIED: &[&str] = &["permission denied"];

#[test]
fn who_is_nobody_has_nothing() {
    let scene = Scene::new();
    let paths = [
        ("GET", "/v1/transit/keys/dex"),
        ("LIST", "/v1/transit/keys"),
        ("PUT", "/v1/transit/sign/dex"),
        ("POST", "/v1/transit/verify/dex"),
        ("POST", "/v1/transit/keys/x"),
        ("DELETE", "/v1/transit/keys/x"),
        ("GET", "/v1/auth/token/lookup-self"),
        ("PUT", "/v1/auth/token/renew-self"),
        ("GET", "/v1/sys/internal/ui/mounts/transit"),
        ("GET", "/v1/anything"),
        ("PATCH", "/v1/transit/keys/dex"),
    ];
    for (method, path) in paths {
        for headers in [
            &[][..],
            &["X-Vault-Token: "],
            &["X-Vault-Token: dex-tokem"],
            &["X-Vault-Token: dex"],
            &["Authorization: Bearer wrong"],
            &["Authorization: Basic ZGV4OmRleC10b2tlbg=="],
            &["X-Vault-Token: dex-token", "X-Vault-Token: spire-token"],
            &["X-Vault-Token: dex-token", "Authorization: Bearer wrong"],
        ] {
            assert_refused(&scene.raw(headers, method, path, &Value::Null), 403, DENIED);
        }
    }
    assert!(!scene.mint.log().contains("dex-tokem"), "no token is logged, not even a wrong one");
    let wrapped =
        scene.raw(&["X-Vault-Token: dex-token", "X-Vault-Wrap-TTL: 60"], "GET", "/v1/transit/keys/dex", &Value::Null);
    assert_refused(&wrapped, 400, &["response wrapping is not supported"]);
}

#[test]
fn a_caller_knows_the_keys_of_its_own_profiles_only() {
    let scene = Scene::new();
    let create = |caller: &str, name: &str| {
        scene.ask(caller, "POST", &format!("/v1/transit/keys/{name}"), &json!({"type": "ecdsa-p256"}))
    };
    data(&create("spire", "shared-name"));
    let list = |caller: &str| scene.ask(caller, "LIST", "/v1/transit/keys", &Value::Null);
    assert_eq!(data(&list("notary")), json!({"keys": ["dex", "documents"]}));
    assert_eq!(data(&list("spire")), json!({"keys": ["shared-name"]}));
    assert_eq!(data(&list("reader")), json!({"keys": ["documents", "shared-name"]}));
    assert_refused(&list("elsewhere"), 404, &[]);

    let digest = json!({"input": document_digest(), "prehashed": true});
    for (caller, foreign) in
        [("dex", "documents"), ("dex", "shared-name"), ("dex", "spire"), ("elsewhere", "shared-name"), ("spire", "dex")]
    {
        assert_refused(&scene.ask(caller, "GET", &format!("/v1/transit/keys/{foreign}"), &Value::Null), 404, &[]);
        assert_refused(&scene.sign(caller, foreign, &digest), 400, &["signing key not found"]);
        let verify = scene.ask(caller, "POST", &format!("/v1/transit/verify/{foreign}"), &digest);
        assert_refused(&verify, 400, &["signature verification key not found"]);
    }
    // One name, two keys: each caller has its own.
    let theirs = data(&create("elsewhere", "shared-name"));
    assert_ne!(theirs["keys"], scene.key("spire", "shared-name")["keys"]);
    assert_eq!(scene.ask("elsewhere", "DELETE", "/v1/transit/keys/shared-name", &Value::Null).status, 204);
    assert_eq!(scene.key("spire", "shared-name")["name"], "shared-name");
}

#[test]
fn digests_are_signed_where_the_front_end_and_the_profile_allow_it_and_as_often() {
    let scene = Scene::with(|deployment| {
        deployment.edit(|config| {
            let profiles = config["signing_profile"].as_array_of_tables_mut().unwrap();
            profiles.get_mut(0).unwrap()["prehashed_per_second"] = value(1);
        });
    });
    let digest = json!({"input": document_digest(), "prehashed": true});
    // Neither the front-end, nor the profile.
    let no_digests = "permission denied: the front-end may not have digests signed";
    assert_refused(&scene.sign("notary", "dex", &digest), 403, &[no_digests]);
    assert_refused(&scene.sign("notary", "documents", &digest), 403, &[no_digests]);
    let no_profile = "permission denied: the signing profile signs no digests";
    assert_refused(&scene.sign("reader", "documents", &digest), 403, &[no_profile]);
    let answers: Vec<Answer> = (0..8).map(|_| scene.sign("dex", "dex", &digest)).collect();
    assert_eq!(signature(&answers[0], false).1, 1);
    let refused = answers.iter().find(|answer| answer.status != 200).expect("eight are more than one a second");
    assert_refused(refused, 429, &["rate limit quota exceeded"]);
    assert_eq!(refused.header("retry-after"), Some("1"));
}

#[test]
fn keys_are_made_and_ended_by_those_who_may() {
    let scene = Scene::new();
    let typed = json!({"type": "ecdsa-p256"});
    let create =
        |caller: &str, name: &str, body: &Value| scene.ask(caller, "PUT", &format!("/v1/transit/keys/{name}"), body);
    let none = "permission denied: the front-end may not create or destroy keys";
    data(&create("spire", "mine", &typed));
    for caller in ["dex", "reader"] {
        assert_refused(&create(caller, "new", &typed), 403, &[none]);
        let config = scene.ask(caller, "POST", "/v1/transit/keys/mine/config", &json!({"deletion_allowed": true}));
        assert_refused(&config, 403, &[none]);
        assert_refused(&scene.ask(caller, "DELETE", "/v1/transit/keys/mine", &Value::Null), 403, &[none]);
    }
    for (body, error) in [
        (json!({}), "missing key type: expected ecdsa-p256"),
        (json!({"type": "rsa-2048"}), "unknown key type \"rsa-2048\": keys are of the type ecdsa-p256 here"),
        (json!({"type": "ecdsa-p256", "exportable": true}), "cannot set exportable: the key never leaves its device"),
    ] {
        assert_refused(&create("spire", "new", &body), 400, &[error]);
    }
    for name in ["a%20b", "%C3%A4", &"x".repeat(65)] {
        assert_eq!(create("spire", name, &typed).status, 400, "{name}");
    }
    let config = |body: Value| scene.ask("spire", "POST", "/v1/transit/keys/mine/config", &body);
    assert_eq!(data(&config(json!({"min_decryption_version": 1})))["deletion_allowed"], true);
    assert_refused(
        &config(json!({"deletion_allowed": false})),
        400,
        &["cannot unset deletion_allowed: a key that was made here can be deleted by whoever may make keys"],
    );
    let rotates = "cannot set auto_rotate_period: the operator's configuration says when keys are replaced";
    assert_refused(&config(json!({"auto_rotate_period": "24h"})), 400, &[rotates]);
    // A key of the operator's is nobody's to end.
    let scene = Scene::with(|deployment| {
        deployment.edit(|config| {
            let frontends = config["frontend"].as_array_of_tables_mut().unwrap();
            let dex = frontends.get_mut(0).unwrap();
            dex["creates_keys"] = value(true);
            dex["profiles"] = value(Array::from_iter(["dex", "elsewhere"]));
        });
    });
    let ask = |method: &str, path: &str, body: Value| scene.ask("dex", method, path, &body);
    let kept = ask("DELETE", "/v1/transit/keys/dex", Value::Null);
    assert_refused(&kept, 400, &["error deleting policy dex: deletion is not allowed for this key"]);
    let config = ask("POST", "/v1/transit/keys/dex/config", json!({"deletion_allowed": "true"}));
    assert_refused(&config, 400, &["cannot set deletion_allowed: the key is the operator's"]);
    let existing = ask("POST", "/v1/transit/keys/dex", typed.clone());
    assert_eq!(existing.json()["warnings"], json!(["key dex already existed"]));
    let rotated = ask("POST", "/v1/transit/keys/dex/rotate", Value::Null);
    assert_refused(&rotated, 400, &["cannot rotate the key: the operator's configuration says when keys are replaced"]);
    // What it makes itself is.
    data(&ask("POST", "/v1/transit/keys/new", typed));
    assert_eq!(ask("DELETE", "/v1/transit/keys/new", Value::Null).status, 204);
}

/// The signing input of a JWT of `claims` by the key `name` as `caller` reads it.
fn jwt(scene: &Scene, caller: &str, name: &str, change: impl FnOnce(&mut Value, &mut Value)) -> String {
    let point = public_key(&scene.key(caller, name), 1).to_sec1_point(false);
    let kid = mintkeep::jose::jwk::P256PublicKey::from_uncompressed(point.as_bytes()).unwrap().kid();
    let now = SystemClock.now().unix_seconds();
    let mut header = json!({"alg": "ES256", "kid": kid, "typ": "JWT"});
    let mut claims =
        json!({"iss": "https://dex.example.com", "aud": "https://a.example.com", "iat": now, "exp": now + 60});
    change(&mut header, &mut claims);
    let part = |value: Value| URL_SAFE_NO_PAD.encode(value.to_string());
    format!("{}.{}", part(header), part(claims))
}

#[test]
fn a_jwt_keeps_to_the_profile_and_to_what_its_front_end_may() {
    let scene = Scene::new();
    let sign = |caller: &str, input: &str| scene.sign(caller, "dex", &json!({"input": base64(input)}));
    let good = jwt(&scene, "notary", "dex", |_, _| {});
    let made = signature(&sign("notary", &good), false).0;
    assert!(verifies(&public_key(&scene.key("dex", "dex"), 1), &sha256(good.as_bytes()), &made));
    signature(&sign("narrow", &good), false);

    // The keeper's rules: they hold for everybody.
    type Change = fn(&mut Value, &mut Value);
    let changes: [(Change, &str); 7] = [
        (|_, claims| claims["iss"] = json!("https://evil.example.com"), "iss: "),
        (|_, claims| claims["exp"] = json!(claims["iat"].as_i64().unwrap() + 601), "lifetime: "),
        (|_, claims| claims["iat"] = json!(0), "iat: "),
        (|header, _| header["kid"] = json!("another"), "kid: "),
        (|header, _| header["alg"] = json!("none"), "alg: "),
        (|header, _| header["jku"] = json!("https://evil.example.com"), "format: "),
        (|header, _| header["typ"] = json!("at+jwt"), "typ: "),
    ];
    for (change, rule) in changes {
        let answer = sign("notary", &jwt(&scene, "notary", "dex", change));
        assert_eq!(answer.status, 400, "{answer:?}");
        let error = answer.json()["errors"][0].as_str().unwrap().to_owned();
        assert!(error.starts_with(&format!("the signing policy refused: {rule}")), "{rule}: {error}");
    }
    let document = sign("notary", "a document");
    assert_eq!(document.status, 400, "{document:?}");

    // The front-end's own: narrower.
    let narrow: [(Change, &str); 3] = [
        (|_, claims| claims["aud"] = json!("https://b.example.com"), "the front-end may not sign for this audience"),
        (
            |_, claims| claims["exp"] = json!(claims["iat"].as_i64().unwrap() + 61),
            "the front-end may not sign for so long a lifetime",
        ),
        (|_, claims| claims["exp"] = Value::Null, "the front-end has to say iat, and exp after it"),
    ];
    for (change, reason) in narrow {
        let answer = sign("narrow", &jwt(&scene, "narrow", "dex", change));
        assert_refused(&answer, 403, &[&format!("permission denied: {reason}")]);
    }
}
