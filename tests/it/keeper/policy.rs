//! Somebody who owns the mint process speaks to the keeper directly, and still gets nothing signed that
//! the policy does not allow.

use mintkeep::clock::{Clock as _, SystemClock};
use mintkeep::hardware::{KeyName, PinnedPublicKey, Role};
use mintkeep::jose::jws::SigningInput;
use mintkeep::keeper::wire::{Refusal, Reply, Request, decode};
use serde_json::{Value, json};

use super::line::DirectLine;
use crate::support::{Deployment, SERVICE};

impl DirectLine {
    fn sign(&mut self, profile: &str, typ: &str, kid: &str, claims: &Value) -> Reply {
        let input = SigningInput::new(typ, kid, claims);
        let key = self.keys().keys.signing[0].kid();
        self.ask(&Request::Sign { client: SERVICE, kid: &key, profile, signing_input: input.as_bytes() })
    }

    #[track_caller]
    fn assert_refused(&mut self, profile: &str, typ: &str, kid: &str, claims: &Value, rule: &str) {
        match self.sign(profile, typ, kid, claims) {
            Reply::Refused(Refusal::Policy(broken)) => assert!(broken.starts_with(rule), "{broken} for {claims}"),
            other => panic!("{rule}: {other:?}"),
        }
    }
}

#[test]
fn what_the_policy_forbids_is_refused_by_its_rule() {
    let deployment = Deployment::new();
    let mut line = DirectLine::to_keeper_of(&deployment);
    let kid = line.keys().keys.signing[0].kid();
    let now = SystemClock.now().unix_seconds();
    let good = json!({
        "iss": "https://mint.example.com", "sub": "me", "aud": "https://api", "client_id": SERVICE, "jti": "1",
        "iat": now, "exp": now + 300,
    });
    let with = |name: &str, value: Value| {
        let mut claims = good.clone();
        claims[name] = value;
        claims
    };
    let without = |name: &str| {
        let mut claims = good.clone();
        claims.as_object_mut().unwrap().remove(name);
        claims
    };
    assert!(matches!(line.sign("access-token", "at+jwt", &kid, &good), Reply::Signature(_)));
    let ten_years = 10 * 365 * 24 * 3600;
    let early = json!({
        "iss": good["iss"], "sub": "me", "aud": "a", "client_id": SERVICE, "jti": "1",
        "iat": now - 120, "exp": now + 100,
    });
    let mut broken = vec![
        (with("exp", json!(now + 301)), "lifetime"),
        (with("exp", json!(now + ten_years)), "lifetime"),
        (with("exp", json!(now)), "lifetime"),
        (with("iss", json!("https://other.example.com")), "iss"),
        (with("client_id", json!("somebody-else")), "client_id"),
        (without("iss"), "iss"),
        (without("iat"), "iat"),
        (without("exp"), "exp"),
        (early, "iat"),
        // What no rule reads is not signed, however it is spelt: another reader might.
        (with("EXP", json!(now + ten_years)), "format"),
        (with("admin", json!(true)), "format"),
        (json!(["https://mint.example.com", "me"]), "format"),
    ];
    for name in ["sub", "aud", "jti", "client_id"] {
        broken.push((without(name), name));
        broken.push((with(name, json!("")), name));
    }
    for (claims, rule) in broken {
        line.assert_refused("access-token", "at+jwt", &kid, &claims, rule);
    }
    line.assert_refused("other-profile", "at+jwt", &kid, &good, "profile");
    line.assert_refused("access-token", "JWT", &kid, &good, "typ");
    line.assert_refused("access-token", "at+jwt", "another-key", &good, "kid");
    let unknown = Request::Sign { client: SERVICE, kid: "another-key", profile: "access-token", signing_input: b"" };
    assert_eq!(line.ask(&unknown), Reply::Refused(Refusal::UnknownKey("another-key".to_owned())));
    let signing_input = b"e30.e30.e30";
    let answer = line.ask(&Request::Sign { client: SERVICE, kid: &kid, profile: "access-token", signing_input });
    assert!(matches!(answer, Reply::Refused(Refusal::Policy(rule)) if rule.starts_with("format")));
}

#[test]
fn what_is_not_the_protocol_ends_the_connection_and_nothing_else() {
    let deployment = Deployment::new();
    let oversized = u32::MAX.to_be_bytes();
    let undersized = 3_u32.to_be_bytes();
    for garbage in [&oversized[..], &undersized, b"GET / HTTP/1.1\r\n\r\n"] {
        let mut line = DirectLine::to_keeper_of(&deployment);
        line.line.send(garbage);
        assert_eq!(line.line.next_message(), None, "{garbage:?}");
    }
    let mut line = DirectLine::to_keeper_of(&deployment);
    let mut frame = 16_u32.to_be_bytes().to_vec();
    frame.extend_from_slice(&[0, 0, 0, 0, 0, 0, 0, 9, 0, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]);
    line.line.send(&frame);
    let answer: Reply = decode(&line.line.next_message().unwrap().1).unwrap();
    assert_eq!(answer, Reply::Refused(Refusal::Malformed), "a whole frame of nonsense is refused by itself");
    assert!(matches!(line.ask(&Request::Health), Reply::Healthy));
}

/// What `dex` signs, `made` has keys of its own, and `digests` signs what nobody can look at.
const PROFILES: &str = r#"
[[signing_profile]]
name = "dex"
content = "jwt"
issuers = ["https://dex.example.com"]
audiences = ["app"]
[[signing_profile]]
name = "digests"
content = "any"
prehashed_per_second = 3
[[signing_profile]]
name = "made"
content = "any"
keys = "created"
"#;

fn role(name: &str) -> Role {
    Role::Delegated(KeyName::parse(name).unwrap())
}

/// A keeper with a key of each, and their names.
fn with_profiles(deployment: &Deployment) -> (DirectLine, impl Fn(&str) -> String) {
    deployment.append(PROFILES);
    let mut line = DirectLine::to_keeper_of(deployment);
    for name in ["dex", "digests", "made/one"] {
        line.keys_after(&Request::Generate { role: role(name) });
    }
    let keys = line.keys().keys;
    let kid_of = move |name: &str| match name {
        "signing" => keys.signing[0].kid(),
        "sealing" => keys.sealing[0].kid(),
        name => keys.delegated.iter().find(|key| key.name.as_str() == name).unwrap().public_key.kid(),
    };
    (line, kid_of)
}

#[track_caller]
fn assert_rule(answer: Reply, rule: &str) {
    match answer {
        Reply::Refused(Refusal::Policy(broken)) => assert!(broken.starts_with(rule), "{broken}"),
        other => panic!("{rule}: {other:?}"),
    }
}

fn sign(line: &mut DirectLine, kid: &str, profile: &str, input: &SigningInput) -> Reply {
    line.ask(&Request::Sign { client: "front-end", kid, profile, signing_input: input.as_bytes() })
}

#[test]
fn a_profile_of_the_mint_cannot_use_a_key_of_a_front_end_nor_the_other_way_round() {
    let deployment = Deployment::new();
    let (mut line, kid_of) = with_profiles(&deployment);
    let now = SystemClock.now().unix_seconds();
    let dex = json!({"iss": "https://dex.example.com", "aud": "app", "iat": now, "exp": now + 3600, "any": [1]});
    let token = json!({
        "iss": "https://mint.example.com", "sub": "me", "aud": "https://api", "client_id": "front-end", "jti": "1",
        "iat": now, "exp": now + 300,
    });
    for (key, profile, typ, claims, is_allowed) in [
        ("dex", "dex", "JWT", &dex, true),
        ("signing", "access-token", "at+jwt", &token, true),
        ("signing", "dex", "JWT", &dex, false),
        ("digests", "dex", "JWT", &dex, false),
        ("made/one", "dex", "JWT", &dex, false),
        ("dex", "access-token", "at+jwt", &token, false),
        ("made/one", "access-token", "at+jwt", &token, false),
        ("dex", "digests", "JWT", &dex, false),
        ("digests", "digests", "JWT", &dex, true),
        ("made/one", "made", "JWT", &dex, true),
    ] {
        let kid = kid_of(key);
        let answer = sign(&mut line, &kid, profile, &SigningInput::new(typ, &kid, claims));
        match is_allowed {
            true => assert!(matches!(answer, Reply::Signature(_)), "{key} by {profile}: {answer:?}"),
            false => assert_rule(answer, "key: this profile signs by other keys"),
        }
    }
    let kid = kid_of("dex");
    let mut broken = |name: &str, value: Value, rule: &str| {
        let mut claims = dex.clone();
        claims[name] = value;
        assert_rule(sign(&mut line, &kid, "dex", &SigningInput::new("JWT", &kid, &claims)), rule);
    };
    broken("iss", json!("https://mint.example.com"), "iss");
    broken("aud", json!(["app", "other"]), "aud");
    broken("exp", json!(now + 3601), "lifetime");
    broken("iat", json!(now - 120), "iat");
    broken("nbf", json!(now + 3601), "nbf");
    broken("Exp", json!(now + 999_999), "exp: there in another spelling");
    assert_rule(sign(&mut line, &kid, "dex", &SigningInput::new("at+jwt", &kid, &dex)), "typ");
    let sealing = kid_of("sealing");
    let answer = sign(&mut line, &sealing, "dex", &SigningInput::new("JWT", &sealing, &dex));
    assert_eq!(answer, Reply::Refused(Refusal::UnknownKey(sealing)));
}

#[test]
fn digests_are_signed_where_the_profile_says_so_and_no_faster() {
    let deployment = Deployment::new();
    let (mut line, kid_of) = with_profiles(&deployment);
    let digest = [7; 32];
    let mut sign = |key: &str, profile: &str| {
        line.ask(&Request::SignDigest { client: "front-end", kid: &kid_of(key), profile, digest })
    };
    assert_rule(sign("dex", "dex"), "digest: this profile signs no digests");
    assert_rule(sign("signing", "access-token"), "digest: this profile signs no digests");
    assert_rule(sign("made/one", "made"), "digest: this profile signs no digests");
    for key in ["signing", "dex", "made/one"] {
        assert_rule(sign(key, "digests"), "key: this profile signs by other keys");
    }
    let Reply::Signature(signature) = sign("digests", "digests") else { panic!("it is allowed") };
    let answers: Vec<Reply> = (0..20).map(|_| sign("digests", "digests")).collect();
    let refused = answers.into_iter().find(|answer| matches!(answer, Reply::Refused(_)));
    assert_rule(refused.expect("they were more than three"), "rate: more digests than prehashed_per_second");
    let keys = line.keys().keys;
    let key = keys.delegated.iter().find(|key| key.name.as_str() == "digests").unwrap();
    assert!(PinnedPublicKey::new(key.public_key).unwrap().verifies_digest(&digest, &signature));
    assert!(matches!(line.ask(&Request::Health), Reply::Healthy));
}

#[test]
fn keys_are_made_and_destroyed_only_where_a_profile_has_such() {
    let deployment = Deployment::new();
    let (mut line, kid_of) = with_profiles(&deployment);
    for name in ["other", "other/one", "dex/one", "made"] {
        assert_rule(
            line.ask(&Request::Generate { role: role(name) }),
            "keys: no signing profile has keys of that name",
        );
    }
    assert_rule(line.ask(&Request::Generate { role: role("made/one") }), "there is a key called made/one already");
    for key in ["signing", "sealing", "dex", "digests"] {
        assert_rule(line.ask(&Request::Destroy { kid: &kid_of(key) }), "keys: only those are destroyed");
    }
    let nobody = line.ask(&Request::Destroy { kid: "nobody" });
    assert_eq!(nobody, Reply::Refused(Refusal::UnknownKey("nobody".to_owned())));
    let left = line.keys_after(&Request::Destroy { kid: &kid_of("made/one") }).keys;
    assert_eq!(left.delegated.len(), 2);
    assert_eq!(line.keys_after(&Request::LookAgain).keys, left);
    // No more than there is room for, and the device is well.
    for number in 0..256 {
        line.keys_after(&Request::Generate { role: role(&format!("made/{number}")) });
    }
    assert_rule(line.ask(&Request::Generate { role: role("made/more") }), "the device has 256 delegated keys");
    assert!(matches!(line.ask(&Request::Health), Reply::Healthy));
}
