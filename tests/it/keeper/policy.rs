//! Somebody who owns the mint process speaks to the keeper directly, and still gets nothing signed that
//! the policy does not allow.

use std::io::Read as _;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::process::{Child, Stdio};

use mintkeep::clock::{Clock as _, SystemClock};
use mintkeep::jose::jws::SigningInput;
use mintkeep::keeper::wire::{Greeting, Inbox, PREAMBLE, PublicKeys, Refusal, Reply, Request, append_frame, decode};
use serde_json::{Value, json};

use crate::support::{Deployment, SERVICE};

/// A keeper, and a test in the place of its mint.
struct DirectLine {
    keeper: Child,
    stream: UnixStream,
    inbox: Inbox,
}

impl DirectLine {
    fn to_keeper_of(deployment: &Deployment) -> Self {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let keeper =
            deployment.command(&["keeper", "--standard-input"]).stdin(Stdio::from(OwnedFd::from(theirs))).spawn();
        let mut line = Self { keeper: keeper.unwrap(), stream: ours, inbox: Inbox::default() };
        std::io::Write::write_all(&mut line.stream, &PREAMBLE).unwrap();
        let greeting: Greeting = decode(&line.next_message().expect("a greeting")).unwrap();
        assert_eq!(greeting, Greeting::Ready);
        line
    }

    fn send(&mut self, bytes: &[u8]) {
        let _ = std::io::Write::write_all(&mut self.stream, bytes);
    }

    /// The next message; `None` when the keeper closed the connection.
    fn next_message(&mut self) -> Option<Vec<u8>> {
        loop {
            if let Some(frame) = self.inbox.next_frame().unwrap() {
                return Some(frame.message.to_vec());
            }
            let mut chunk = [0; 4096];
            match self.stream.read(&mut chunk) {
                Ok(length @ 1..) => self.inbox.extend(&chunk[..length]),
                Ok(0) | Err(_) => return None,
            }
        }
    }

    fn ask(&mut self, request: &Request<'_>) -> Reply {
        let mut frame = Vec::new();
        append_frame(&mut frame, 1, 5_000, request).unwrap();
        self.send(&frame);
        decode(&self.next_message().expect("an answer")).unwrap()
    }

    fn keys(&mut self) -> PublicKeys {
        match self.ask(&Request::PublicKeys) {
            Reply::PublicKeys(keys) => keys,
            other => panic!("{other:?}"),
        }
    }

    fn sign(&mut self, profile: &str, typ: &str, kid: &str, claims: &Value) -> Reply {
        let input = SigningInput::new(typ, kid, claims);
        self.ask(&Request::Sign { client: SERVICE, profile, signing_input: input.as_bytes() })
    }

    #[track_caller]
    fn assert_refused(&mut self, profile: &str, typ: &str, kid: &str, claims: &Value, rule: &str) {
        match self.sign(profile, typ, kid, claims) {
            Reply::Refused(Refusal::Policy(broken)) => assert!(broken.starts_with(rule), "{broken} for {claims}"),
            other => panic!("{rule}: {other:?}"),
        }
    }
}

impl Drop for DirectLine {
    fn drop(&mut self) {
        let _ = self.stream.shutdown(std::net::Shutdown::Both);
        let _ = self.keeper.wait();
    }
}

#[test]
fn what_the_policy_forbids_is_refused_by_its_rule() {
    let deployment = Deployment::new();
    let mut line = DirectLine::to_keeper_of(&deployment);
    let kid = line.keys().signing.kid();
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
    let signing_input = b"e30.e30.e30";
    let answer = line.ask(&Request::Sign { client: SERVICE, profile: "access-token", signing_input });
    assert!(matches!(answer, Reply::Refused(Refusal::Policy(rule)) if rule.starts_with("format")));
}

#[test]
fn what_is_not_the_protocol_ends_the_connection_and_nothing_else() {
    let deployment = Deployment::new();
    let oversized = u32::MAX.to_be_bytes();
    let undersized = 3_u32.to_be_bytes();
    for garbage in [&oversized[..], &undersized, b"GET / HTTP/1.1\r\n\r\n"] {
        let mut line = DirectLine::to_keeper_of(&deployment);
        line.send(garbage);
        assert_eq!(line.next_message(), None, "{garbage:?}");
    }
    let mut line = DirectLine::to_keeper_of(&deployment);
    let mut frame = 16_u32.to_be_bytes().to_vec();
    frame.extend_from_slice(&[0, 0, 0, 0, 0, 0, 0, 9, 0, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]);
    line.send(&frame);
    let answer: Reply = decode(&line.next_message().unwrap()).unwrap();
    assert_eq!(answer, Reply::Refused(Refusal::Malformed), "a whole frame of nonsense is refused by itself");
    assert!(matches!(line.ask(&Request::Health), Reply::Healthy));
}
