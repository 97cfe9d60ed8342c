//! Signing inputs that front-ends have put together themselves: `POST /admin/v1/sign` with `signing_input`.

use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode};
use mintkeep::clock::{Clock as _, SystemClock};
use mintkeep::jose::base64url::encode;
use serde_json::{Value, json};

use crate::support::frontend::FrontendRequest;
use crate::support::process::succeed;
use crate::support::{Answer, Deployment};

const ISSUER: &str = "https://provider.example.com";
const NO_INPUT: &str = "signing_input: expected a header and claims in base64url, with a full stop between them";
const NO_KID: &str = "signing_input: its kid is of no key of the profile";
const NO_REQUEST: &str =
    "expected JSON with profile, and claims or signing_input, and, optionally, key and typ, each once";

fn deployment() -> Deployment {
    let deployment = Deployment::without_keys();
    deployment.append(&format!(
        "[[signing_profile]]\nname = \"provider\"\ncontent = \"jwt\"\nissuers = [\"{ISSUER}\", \"https://b.example.com\"]\nmax_lifetime = \"10m\"\ntypes = [\"\", \"at+jwt\"]"
    ));
    deployment.add_example("provider", &format!("profiles = [\"provider\"]\nissuers = \"{ISSUER}\""));
    succeed(&mut deployment.command(&["keys", "init"]));
    deployment
}

fn ask(deployment: &Deployment, request: FrontendRequest<'_>) -> Answer {
    let token = format!("Authorization: Bearer {}", deployment.secret);
    deployment.ask_socket(&request.headers(&["Content-Type: application/json", &token]))
}

fn sign(deployment: &Deployment, request: &Value) -> Answer {
    ask(deployment, FrontendRequest::post("/admin/v1/sign", &request.to_string()))
}

fn kid(deployment: &Deployment) -> (String, Value) {
    let set = ask(deployment, FrontendRequest::get("/admin/v1/sign/provider/jwks")).json();
    let key = set["keys"][0].clone();
    (key["kid"].as_str().expect("a kid").to_owned(), key)
}

fn claims() -> Value {
    let now = SystemClock.now().unix_seconds();
    json!({ "sub": "ada", "iss": ISSUER, "aud": "web", "iat": now, "exp": now + 60 })
}

fn input(header: &Value, claims: &Value) -> String {
    format!("{}.{}", encode(header.to_string()), encode(claims.to_string()))
}

#[test]
fn a_signing_input_is_signed_as_it_stands_by_the_key_that_it_names() {
    let deployment = deployment();
    let _mint = deployment.serve();
    let (kid, key) = kid(&deployment);
    for header in [json!({ "typ": "at+jwt", "kid": kid, "alg": "ES256" }), json!({ "alg": "ES256", "kid": kid })] {
        let input = input(&header, &claims());
        let answer = sign(&deployment, &json!({ "profile": "provider", "signing_input": input }));
        assert_eq!((answer.status, answer.header("cache-control")), (200, Some("no-store")), "{answer:?}");
        assert_eq!(answer.json().as_object().unwrap().len(), 2);
        assert_eq!(answer.text("kid"), kid);
        let jws = format!("{input}.{}", answer.text("signature"));
        let key = DecodingKey::from_jwk(&serde_json::from_value(key.clone()).unwrap()).unwrap();
        let mut validation = Validation::new(Algorithm::ES256);
        validation.set_audience(&["web"]);
        assert_eq!(decode::<Value>(&jws, &key, &validation).unwrap().claims["sub"], "ada");
    }
}

#[test]
fn a_signing_input_is_refused_that_is_none_or_goes_beyond_what_the_front_end_may() {
    let deployment = deployment();
    let _mint = deployment.serve();
    let (kid, _) = kid(&deployment);
    let header = json!({ "alg": "ES256", "kid": kid });
    let asked =
        |signing_input: &str| sign(&deployment, &json!({ "profile": "provider", "signing_input": signing_input }));
    let refused = |answer: Answer, status: u16, error: &str, description: &str| {
        assert_eq!(answer.status, status, "{answer:?}");
        assert_eq!(answer.json(), json!({ "error": error, "error_description": description }));
    };
    let good = input(&header, &claims());
    let (head, body) = good.split_once('.').unwrap();
    for wrong in [
        String::new(),
        head.to_owned(),
        format!("{good}.sig"),
        format!("{head}=.{body}"),
        format!("{head}.{}", encode("{\"iss\":\"a\",\"iss\":\"b\"}")),
        format!("{}.{body}", encode("[]")),
    ] {
        refused(asked(&wrong), 400, "invalid_request", NO_INPUT);
    }
    for nobodys in [json!({ "alg": "ES256" }), json!({ "alg": "ES256", "kid": "x" }), json!({ "kid": 1 })] {
        refused(asked(&input(&nobodys, &claims())), 400, "invalid_request", NO_KID);
    }
    // The rights of the front-end, and then the profile, which the keeper enforces.
    let changed = |name: &str, value: Value| {
        let mut claims = claims();
        claims[name] = value;
        asked(&input(&header, &claims))
    };
    let issuer = "the front-end may not sign for this issuer";
    refused(changed("iss", json!("https://b.example.com")), 403, "access_denied", issuer);
    let rule = "the claims do not keep to the signing profile";
    refused(changed("exp", json!(SystemClock.now().unix_seconds() + 3600)), 400, "invalid_request", rule);
    for header in [
        json!({ "alg": "none", "kid": kid }),
        json!({ "alg": "ES256", "kid": kid, "typ": "JWT" }),
        json!({ "alg": "ES256", "kid": kid, "jku": "https://a.example.com" }),
    ] {
        refused(asked(&input(&header, &claims())), 400, "invalid_request", rule);
    }
    for both in [
        json!({ "profile": "provider", "signing_input": good, "claims": {} }),
        json!({ "profile": "provider", "signing_input": good, "typ": "JWT" }),
        json!({ "profile": "provider" }),
    ] {
        refused(sign(&deployment, &both), 400, "invalid_request", NO_REQUEST);
    }
}
