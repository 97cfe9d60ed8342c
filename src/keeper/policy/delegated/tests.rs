//! Each rule of the profiles for front-ends, broken.

use std::sync::Arc;

use serde_json::json;

use super::*;
use crate::clock::{Clock, FrozenClock};
use crate::jose::base64url;
use crate::keeper::policy::{ACCESS_TOKEN_PROFILE, ClaimRules, Policy, Profile};

const NOW: i64 = 1_800_000_000;
const KID: &str = "its-key";

fn frozen() -> Arc<FrozenClock> {
    FrozenClock::at(Timestamp::from_unix_seconds(NOW))
}

fn name(text: &str) -> KeyName {
    KeyName::parse(text).unwrap()
}

fn profile(profile: &str, content: Content, keys: DelegatedKeys) -> DelegatedProfile {
    DelegatedProfile { name: name(profile), content, prehashed_per_second: None, keys }
}

fn jwt(audiences: Option<&[&str]>, types: &[&str]) -> Content {
    let texts = |texts: &[&str]| texts.iter().map(|&text| text.to_owned()).collect();
    Content::Jwt {
        issuers: texts(&["https://idp.example", "https://other.example"]),
        audiences: audiences.map(texts),
        types: texts(types),
        max_lifetime: Duration::from_secs(600),
    }
}

/// `cluster` signs JWTs for an audience or two, `loose` more of them, `any` and `made` anything.
fn policy(clock: Arc<dyn Clock>) -> Policy {
    let access_token = Profile {
        name: ACCESS_TOKEN_PROFILE.to_owned(),
        issuer: "https://mint.example".to_owned(),
        typ: "at+jwt".to_owned(),
        rules: ClaimRules::AccessToken { max_lifetime: Duration::from_secs(300) },
    };
    let prehashed = DelegatedProfile {
        prehashed_per_second: NonZeroU32::new(2),
        ..profile("any", Content::Any, DelegatedKeys::One)
    };
    let delegated = vec![
        profile("cluster", jwt(Some(&["api", "vault"]), &["JWT"]), DelegatedKeys::One),
        profile("loose", jwt(None, &["JWT", ""]), DelegatedKeys::One),
        prehashed,
        profile("made", Content::Any, DelegatedKeys::Created),
    ];
    Policy::new(vec![access_token]).with_delegated(delegated, &clock)
}

fn request(profile: &'static str, role: Role) -> SigningRequest<'static> {
    SigningRequest { client: "dex", profile, kid: KID, role }
}

fn check_text(profile: &'static str, header: &str, claims: &str) -> Result<(), Rule> {
    let input = format!("{}.{}", base64url::encode(header), base64url::encode(claims));
    let request = request(profile, Role::Delegated(name(profile)));
    policy(frozen()).check(&request, input.as_bytes(), Timestamp::from_unix_seconds(NOW))
}

fn check(profile: &'static str, header: &Value, claims: &Value) -> Result<(), Rule> {
    check_text(profile, &header.to_string(), &claims.to_string())
}

fn header() -> Value {
    json!({"alg": "ES256", "kid": KID, "typ": "JWT"})
}

fn claims() -> Value {
    json!({
        "iss": "https://idp.example", "aud": ["api"], "iat": NOW, "exp": NOW + 600, "nbf": NOW, "sub": "pod",
        "kubernetes.io": {"namespace": "default", "pod": {"name": "a", "uid": "b"}},
    })
}

fn with(member: &str, value: Value) -> Value {
    let mut claims = claims();
    claims[member] = value;
    claims
}

fn without(member: &str) -> Value {
    let mut claims = claims();
    claims.as_object_mut().unwrap().remove(member);
    claims
}

#[test]
fn what_the_profile_describes_is_signed() {
    let good = [
        claims(),
        with("aud", json!("vault")),
        with("aud", json!(["api", "vault"])),
        with("iss", json!("https://other.example")),
        with("nbf", json!(NOW + 600)),
        with("exp", json!(NOW + 1)),
        with("iat", json!(NOW - 60)),
        without("nbf"),
        with("anything", json!({"iss": "https://evil.example", "EXP": [1.5, null]})),
    ];
    for claims in good {
        let exp = claims["iat"].as_i64().unwrap() + 600;
        let mut claims = claims;
        if claims["exp"].as_i64().unwrap() > exp {
            claims["exp"] = json!(exp);
        }
        if claims.get("nbf").and_then(Value::as_i64).is_some_and(|nbf| nbf > exp) {
            claims["nbf"] = json!(exp);
        }
        assert_eq!(check("cluster", &header(), &claims), Ok(()), "{claims}");
    }
    assert_eq!(check("loose", &json!({"alg": "ES256", "kid": KID}), &without("aud")), Ok(()));
    assert_eq!(check("loose", &header(), &with("aud", json!("whoever"))), Ok(()));
}

#[test]
fn each_rule_about_claims_refuses_what_breaks_it() {
    let broken = [
        (with("iss", json!("https://evil.example")), Rule::Issuer),
        (with("iss", json!("https://idp.example/")), Rule::Issuer),
        (with("iss", json!("")), Rule::Issuer),
        (with("iss", json!(["https://idp.example"])), Rule::Required("iss")),
        (without("iss"), Rule::Required("iss")),
        (with("aud", json!("other")), Rule::Audiences),
        (with("aud", json!(["api", "other"])), Rule::Audiences),
        (with("aud", json!([])), Rule::Audiences),
        (with("aud", json!([["api"]])), Rule::Audiences),
        (with("aud", json!(7)), Rule::Audiences),
        (with("aud", Value::Null), Rule::Audiences),
        (without("aud"), Rule::Required("aud")),
        (with("exp", json!(NOW + 601)), Rule::Lifetime),
        (with("exp", json!(NOW)), Rule::Lifetime),
        (with("exp", json!(i64::MAX)), Rule::Lifetime),
        (with("exp", json!(i64::MIN)), Rule::Lifetime),
        (with("exp", json!(u64::MAX)), Rule::Seconds("exp")),
        (with("exp", json!(1_800_000_300.5)), Rule::Seconds("exp")),
        (with("exp", json!("1800000300")), Rule::Seconds("exp")),
        (with("exp", Value::Null), Rule::Seconds("exp")),
        (without("exp"), Rule::Required("exp")),
        (with("iat", json!(NOW + 61)), Rule::IssuedAt),
        (with("iat", json!(NOW - 61)), Rule::IssuedAt),
        (with("iat", json!(i64::MIN)), Rule::IssuedAt),
        (with("iat", json!(true)), Rule::Seconds("iat")),
        (without("iat"), Rule::Required("iat")),
        (with("nbf", json!(NOW + 601)), Rule::NotBefore),
        (with("nbf", json!("now")), Rule::Seconds("nbf")),
        (with("Exp", json!(NOW + 999_999)), Rule::Spelling("exp")),
        (with("ISS", json!("https://evil.example")), Rule::Spelling("iss")),
        (with("aUd", json!("other")), Rule::Spelling("aud")),
        (json!([1]), Rule::Format(Malformed::Json)),
        (json!("text"), Rule::Format(Malformed::Json)),
    ];
    for (claims, rule) in broken {
        assert_eq!(check("cluster", &header(), &claims), Err(rule), "{claims}");
    }
    assert_eq!(check("loose", &header(), &with("aud", json!([""]))), Err(Rule::Audiences));
}

#[test]
fn a_header_has_just_its_members() {
    let broken = [
        (json!({"alg": "none", "kid": KID, "typ": "JWT"}), Rule::Algorithm),
        (json!({"kid": KID, "typ": "JWT"}), Rule::Algorithm),
        (json!({"alg": "ES256", "kid": "another", "typ": "JWT"}), Rule::KeyId),
        (json!({"alg": "ES256", "typ": "JWT"}), Rule::KeyId),
        (json!({"alg": "ES256", "kid": KID, "typ": "at+jwt"}), Rule::Type),
        (json!({"alg": "ES256", "kid": KID, "typ": "jwt"}), Rule::Type),
        (json!({"alg": "ES256", "kid": KID, "typ": null}), Rule::Type),
        (json!({"alg": "ES256", "kid": KID}), Rule::Type),
        (json!({"alg": "ES256", "kid": KID, "typ": "JWT", "jku": "https://evil"}), Rule::Format(Malformed::Json)),
        (json!({"alg": "ES256", "kid": KID, "typ": "JWT", "crit": []}), Rule::Format(Malformed::Json)),
        (json!([]), Rule::Format(Malformed::Json)),
    ];
    for (header, rule) in broken {
        assert_eq!(check("cluster", &header, &claims()), Err(rule), "{header}");
    }
    for typ in [json!(""), Value::Null] {
        let header = json!({"alg": "ES256", "kid": KID, "typ": typ});
        assert_eq!(check("loose", &header, &claims()), Err(Rule::Type), "an empty one is not the same as none");
    }
}

#[test]
fn a_name_that_is_there_twice_is_refused_wherever_it_is() {
    let (header, claims) = (header().to_string(), claims().to_string());
    let malformed = Err(Rule::Format(Malformed::Json));
    let twice = claims.replacen('{', r#"{"exp":9999999999,"#, 1);
    assert_eq!(check_text("cluster", &header, &twice), malformed);
    let escaped = claims.replacen('{', r#"{"\u0065xp":9999999999,"#, 1);
    assert_eq!(check_text("cluster", &header, &escaped), malformed);
    let deeper = claims.replacen(r#""uid""#, r#""name":"c","uid""#, 1);
    assert_ne!(deeper, claims);
    assert_eq!(check_text("cluster", &header, &deeper), malformed);
    let header = header.replacen('{', r#"{"typ":"JWT","#, 1);
    assert_eq!(check_text("cluster", &header, &claims), malformed);
}

#[test]
fn a_profile_signs_by_its_own_keys_only() {
    let policy = policy(frozen());
    let input = format!("{}.{}", base64url::encode(header().to_string()), base64url::encode(claims().to_string()));
    let check = |profile, role| {
        let now = Timestamp::from_unix_seconds(NOW);
        policy.check(&request(profile, role), input.as_bytes(), now)
    };
    let delegated = |text| Role::Delegated(name(text));
    assert_eq!(check("cluster", delegated("cluster")), Ok(()));
    for role in [Role::Signing, Role::Sealing, delegated("loose"), delegated("cluster/cluster"), delegated("made/x")] {
        assert_eq!(check("cluster", role), Err(Rule::Key), "{role}");
    }
    for role in [Role::Sealing, delegated("cluster"), delegated("made/x")] {
        assert_eq!(check(ACCESS_TOKEN_PROFILE, role), Err(Rule::Key), "{role}");
    }
    assert_eq!(check("made", delegated("made/x")), Ok(()));
    for role in [delegated("made"), delegated("any"), delegated("any/x"), Role::Signing] {
        assert_eq!(check("made", role), Err(Rule::Key), "{role}");
    }
    assert_eq!(check("unknown", delegated("unknown")), Err(Rule::Profile));
}

#[test]
fn anything_is_signed_but_evidence() {
    let check = |input: &[u8]| {
        let now = Timestamp::from_unix_seconds(NOW);
        policy(frozen()).check(&request("any", Role::Delegated(name("any"))), input, now)
    };
    for input in [&b""[..], b"\x30\x82", b"mintkeep attestation"] {
        assert_eq!(check(input), Ok(()));
    }
    assert_eq!(check(b"mintkeep attestation: {}"), Err(Rule::Evidence));
}

#[test]
fn digests_are_signed_where_that_is_allowed_and_as_many_as_are() {
    let clock = frozen();
    let policy = policy(Arc::clone(&clock) as Arc<dyn Clock>);
    let check = |profile, role| policy.check_digest(&request(profile, role));
    let delegated = |text| Role::Delegated(name(text));
    assert_eq!(check("cluster", delegated("cluster")), Err(Rule::Digest));
    assert_eq!(check("made", delegated("made/x")), Err(Rule::Digest));
    assert_eq!(check(ACCESS_TOKEN_PROFILE, Role::Signing), Err(Rule::Digest));
    assert_eq!(check("any", delegated("cluster")), Err(Rule::Key));
    assert_eq!(check("any", Role::Signing), Err(Rule::Key));
    assert_eq!(check("unknown", delegated("any")), Err(Rule::Profile));
    // What was refused has used nothing up.
    for _ in 0..3 {
        let answers = [(); 3].map(|()| check("any", delegated("any")));
        assert_eq!(answers, [Ok(()), Ok(()), Err(Rule::Rate)]);
        clock.advance(Duration::from_secs(1));
    }
}

#[test]
fn keys_are_made_for_profiles_only_and_destroyed_where_a_front_end_had_them_made() {
    let policy = policy(frozen());
    let delegated = |text| Role::Delegated(name(text));
    for role in [Role::Signing, Role::Sealing, delegated("cluster"), delegated("made/x")] {
        assert_eq!(policy.check_generate(role), Ok(()), "{role}");
    }
    for role in [delegated("made"), delegated("cluster/x"), delegated("unknown"), delegated("unknown/x")] {
        assert_eq!(policy.check_generate(role), Err(Rule::NoSuchKeys), "{role}");
    }
    assert_eq!(policy.check_destroy(delegated("made/x")), Ok(()));
    for role in [Role::Signing, Role::Sealing, delegated("cluster"), delegated("unknown/x")] {
        assert_eq!(policy.check_destroy(role), Err(Rule::NotCreated), "{role}");
    }
}
