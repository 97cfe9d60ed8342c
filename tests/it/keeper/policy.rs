//! Somebody who owns the mint process speaks to the keeper directly, and still gets nothing signed that
//! the policy does not allow.

use mintkeep::clock::{Clock as _, SystemClock};
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
