//! Claims as others write them.

use std::fmt::Write as _;
use std::time::Duration;

use serde_json::json;

use super::*;

#[test]
fn registered_claims_are_what_they_have_to_be_or_malformed() {
    let claims = |json: &str| parsed(&unsigned(r#"{"alg":"ES256"}"#, json)).claims();
    let mut members = String::from(r#"{"a":1"#);
    (2..=256).for_each(|number| write!(members, r#","{number}":1"#).unwrap());
    for json in [
        "{}",
        r#"{"aud":"a"}"#,
        r#"{"aud":["a","b"]}"#,
        r#"{"exp":1.9e9,"nbf":0,"iat":1.5}"#,
        &format!("{members}}}"),
        &nested(16),
        &format!(r#"{{"jti":"{}"}}"#, "j".repeat(256)),
    ] {
        assert!(claims(json).is_ok(), "{json}");
    }
    for json in [
        "",
        "null",
        "[]",
        "{",
        "{} {}",
        r#"{"a":1,"a":1}"#,
        r#"{"a":{"b":1,"b":1}}"#,
        r#"{"exp":1,"\u0065xp":9}"#,
        r#"{"iss":["https://good.example"]}"#,
        r#"{"iss":null}"#,
        r#"{"iss":1}"#,
        r#"{"iss":""}"#,
        r#"{"sub":{}}"#,
        r#"{"sub":true}"#,
        r#"{"aud":[]}"#,
        r#"{"aud":""}"#,
        r#"{"aud":[""]}"#,
        r#"{"aud":null}"#,
        r#"{"aud":1}"#,
        r#"{"aud":["a",1]}"#,
        r#"{"aud":[["a"]]}"#,
        r#"{"aud":{"a":1}}"#,
        r#"{"exp":"1700000000"}"#,
        r#"{"exp":null}"#,
        r#"{"exp":-1}"#,
        r#"{"exp":1e300}"#,
        r#"{"exp":1700000000000}"#,
        r#"{"exp":18446744073709551615}"#,
        r#"{"exp":1e999}"#,
        r#"{"nbf":[1]}"#,
        r#"{"iat":true}"#,
        r#"{"jti":1}"#,
        r#"{"jti":""}"#,
        &format!(r#"{members},"257":1}}"#),
        &nested(17),
        &"[".repeat(10_000),
    ] {
        assert_eq!(claims(json), Err(Malformed::Json), "{json}");
    }
    let long = format!(r#"{{"jti":"{}"}}"#, "j".repeat(257));
    assert_eq!(claims(&long), Err(Malformed::TooLong { most: 256 }));
    let read = claims(r#"{"iss":"i","sub":"s","aud":"a","exp":3.9,"nbf":2,"iat":1,"jti":"j","other":[1]}"#).unwrap();
    let seconds = |time: Option<Timestamp>| time.unwrap().unix_seconds();
    assert_eq!((seconds(read.exp), seconds(read.nbf), seconds(read.iat)), (3, 2, 1));
    assert_eq!((read.iss.unwrap(), read.sub.unwrap(), read.jti.unwrap()), ("i".into(), "s".into(), "j".into()));
    assert_eq!((read.aud, read.all.len()), (vec!["a".to_owned()], 8));
}

#[test]
fn times_are_judged_with_some_leeway() {
    let leeway = Duration::from_secs(10);
    let at = |offset: i64| NOW.unix_seconds() + offset;
    for (claims, expected) in [
        (json!({}), Err(Untimely::NoExpiry)),
        (json!({"exp": at(60)}), Ok(())),
        (json!({"exp": at(-9)}), Ok(())),
        (json!({"exp": at(-10)}), Err(Untimely::Expired)),
        (json!({"exp": at(60), "nbf": at(10), "iat": at(10)}), Ok(())),
        (json!({"exp": at(60), "nbf": at(11)}), Err(Untimely::NotYetValid)),
        (json!({"exp": at(60), "iat": at(11)}), Err(Untimely::IssuedInFuture)),
    ] {
        let text = unsigned(r#"{"alg":"ES256"}"#, &claims.to_string());
        assert_eq!(parsed(&text).claims().unwrap().check_times(NOW, leeway), expected, "{claims}");
    }
}
