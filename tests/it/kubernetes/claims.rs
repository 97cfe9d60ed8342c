//! What is signed, and what is not.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE, URL_SAFE_NO_PAD};
use serde_json::{Value, json};
use tonic::Code;

use super::{Apiserver, ISSUER, PROFILE, VAULT, apiserver, claims, deployment, deployment_with, frontend};

#[track_caller]
fn refused(apiserver: &Apiserver, claims: String, code: Code, text: &str) {
    let status = apiserver.sign_encoded(claims).unwrap_err();
    assert_eq!((status.code(), status.message()), (code, text));
}

#[test]
fn malformed_claims_are_refused_before_the_hardware_is_asked() {
    let deployment = deployment();
    let mint = deployment.serve();
    let apiserver = apiserver(&deployment, &mint);
    let good = claims(3600).to_string();
    // So long that each of the alphabets has characters of its own in it.
    let telling = good.replace("web-0", "?>~\u{ff}?>~\u{ff}\u{ff}");
    let encoded = URL_SAFE_NO_PAD.encode(&good);
    let spliced = |at: usize, text: &str| format!("{}{text}{}", &encoded[..at], &encoded[at..]);
    let padded = [good.clone(), format!("{good} "), format!("{good}  ")].map(|json| URL_SAFE.encode(json));
    let padded = padded.into_iter().find(|text| text.ends_with('=')).unwrap();
    let standard = STANDARD.encode(&telling).trim_end_matches('=').to_owned();
    assert!(standard.contains(['+', '/']), "{standard}");
    for text in [
        padded,
        standard,
        spliced(0, " "),
        spliced(encoded.len(), "\n"),
        spliced(9, " "),
        spliced(9, "="),
        spliced(9, "."),
        spliced(9, "%3D"),
        spliced(9, "\u{e9}"),
        with_bits_left_over(&good),
        // One character says less than a byte.
        format!("{}A", URL_SAFE_NO_PAD.encode([b' ', b'{', b'}'])),
    ] {
        refused(&apiserver, text, Code::InvalidArgument, "claims: expected base64url without padding");
    }
    for json in [
        String::new(),
        "[]".to_owned(),
        "1".to_owned(),
        format!("[{good}]"),
        format!("{good}x"),
        good.replace('"', "'"),
    ] {
        let text = URL_SAFE_NO_PAD.encode(json);
        refused(&apiserver, text, Code::InvalidArgument, "claims: expected a JSON object");
    }
    let text = URL_SAFE_NO_PAD.encode([good.as_bytes(), &[0xff]].concat());
    refused(&apiserver, text, Code::InvalidArgument, "claims: expected a JSON object");
    apiserver.sign_encoded(encoded).unwrap();
}

/// `json` with spaces behind it, whose last character says more than its last byte does.
fn with_bits_left_over(json: &str) -> String {
    let json = [0, 1, 2].map(|spaces| format!("{json}{}", " ".repeat(spaces)));
    let json = json.iter().find(|json| json.len() % 3 == 1).unwrap();
    let text = URL_SAFE_NO_PAD.encode(json);
    let (rest, last) = text.split_at(text.len() - 1);
    // Of the last character two bits count, and it has four more.
    let next = char::from(last.as_bytes()[0] + 1);
    format!("{rest}{next}")
}

#[test]
fn claims_that_break_the_profile_are_refused_by_the_keeper() {
    let deployment = deployment();
    let mint = deployment.serve();
    let apiserver = apiserver(&deployment, &mint);
    let with = |claim: &str, value: Value| {
        let mut claims = claims(3600);
        claims[claim] = value;
        claims
    };
    let without = |claim: &str| {
        let mut claims = claims(3600);
        claims.as_object_mut().unwrap().remove(claim);
        claims
    };
    let now = super::now();
    let broken = [
        with("iss", json!("https://kubernetes.default.svc.cluster.local")),
        with("iss", json!([ISSUER])),
        without("iss"),
        with("aud", json!(["https://elsewhere.example.com"])),
        with("aud", json!([ISSUER, "https://elsewhere.example.com"])),
        with("aud", json!([])),
        without("aud"),
        with("exp", json!(now + 3700)),
        with("exp", json!(now - 10)),
        with("exp", json!(f64::from(1_900_000_000) + 0.5)),
        with("exp", json!("never")),
        without("exp"),
        with("iat", json!(now - 600)),
        with("iat", json!(now + 600)),
        without("iat"),
        with("nbf", json!(now + 7200)),
    ];
    let twice = [
        claims(3600).to_string().replacen('{', &format!("{{\"exp\":{},", now + 99_999), 1),
        claims(3600).to_string().replacen('{', "{\"iss\":\"https://elsewhere.example.com\",", 1),
        claims(3600).to_string().replacen('{', "{\"\\u0069ss\":\"https://elsewhere.example.com\",", 1),
    ];
    for json in broken.iter().map(Value::to_string).chain(twice) {
        let status = apiserver.sign_encoded(URL_SAFE_NO_PAD.encode(&json)).unwrap_err();
        let said = (status.code(), status.message());
        assert_eq!(said, (Code::PermissionDenied, "the signing profile does not allow these claims"), "{json}");
    }
    // The log says which rule it was, and none of the claims.
    let logged = mint.wait_for("did not answer a call of Kubernetes");
    assert!(logged["fields"]["error"].as_str().unwrap().contains("iss"), "{logged}");
    assert_eq!((&logged["fields"]["call"], &logged["fields"]["profile"]), (&json!("Sign"), &json!(PROFILE)));
    assert!(!mint.log().contains("5e0bd49b-f040-43b0-99b7-22765a53f7f3"), "the pod's uid");
    apiserver.sign(&with("aud", json!([VAULT, ISSUER]))).unwrap();
    apiserver.sign(&with("aud", json!(VAULT))).unwrap();
}

#[test]
fn a_front_end_may_have_less_than_the_profile_allows() {
    let deployment = deployment_with(|config| {
        frontend(config, "audiences", VAULT);
        frontend(config, "max_lifetime", "20m");
    });
    let mint = deployment.serve();
    let apiserver = apiserver(&deployment, &mint);
    let mut claims = claims(1200);
    let status = apiserver.sign(&claims).unwrap_err();
    assert_eq!(
        (status.code(), status.message()),
        (Code::PermissionDenied, "the front-end may not sign for this audience")
    );
    claims["aud"] = json!([VAULT]);
    apiserver.sign(&claims).unwrap();
    claims["exp"] = json!(claims["iat"].as_i64().unwrap() + 1201);
    let status = apiserver.sign(&claims).unwrap_err();
    assert_eq!(
        (status.code(), status.message()),
        (Code::PermissionDenied, "the front-end may not sign for so long a lifetime")
    );
    assert_eq!(apiserver.metadata().unwrap().max_token_expiration_seconds, 1200);
}
