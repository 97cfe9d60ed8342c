//! What the description says of the endpoints is so; schemathesis tries it harder (`clients::schemathesis`).

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use serde_json::{Value, json};
use toml_edit::value;

use crate::support::client_key::ClientKey;
use crate::support::running::{basic, form};
use crate::support::{API, Answer, Deployment, RunningMint};

fn description(mint: &RunningMint, path: &str) -> Value {
    let answer = mint.get(path);
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.json()
}

/// `METHOD path` without credentials or a body.
fn ask(mint: &RunningMint, method: &str, path: &str) -> Answer {
    mint.raw(
        format!("{method} {path} HTTP/1.1\r\nHost: mint\r\nConnection: close\r\nContent-Length: 0\r\n\r\n").as_bytes(),
    )
}

fn keys(object: &Value) -> BTreeSet<&str> {
    object.as_object().unwrap_or_else(|| panic!("{object} is an object")).keys().map(String::as_str).collect()
}

#[test]
fn the_description_is_a_document_that_caches_may_keep() {
    let deployment = Deployment::new();
    let mint = deployment.serve();
    let answer = mint.get("/openapi.json");
    assert_eq!(answer.header("content-type"), Some("application/json"));
    assert_eq!(answer.header("cache-control"), Some("public, max-age=300"));
    let etag = answer.header("etag").unwrap();
    let again = mint.raw(
        format!("GET /openapi.json HTTP/1.1\r\nHost: mint\r\nConnection: close\r\nIf-None-Match: {etag}\r\n\r\n")
            .as_bytes(),
    );
    assert_eq!((again.status, again.body.as_str()), (304, ""));
    assert_eq!(answer.json()["openapi"], "3.1.0");
    assert_eq!(answer.json()["info"]["version"], env!("CARGO_PKG_VERSION"));
}

#[test]
fn each_path_takes_the_methods_that_are_described_and_no_other() {
    let deployment = Deployment::new();
    deployment.add_resource_server("https://api.example.com");
    deployment.allow_registration("");
    deployment.edit(|config| config["issuer"] = value("https://mint.example.com/tenant"));
    let mint = deployment.serve();
    let description = description(&mint, "/tenant/openapi.json");
    let expected = BTreeSet::from([
        "/tenant/oauth/authorize",
        "/tenant/oauth/device_authorization",
        "/tenant/oauth/logout",
        "/tenant/oauth/par",
        "/tenant/oauth/userinfo",
        "/tenant/oauth/token",
        "/tenant/oauth/revoke",
        "/tenant/oauth/introspect",
        "/tenant/oauth/register",
        "/tenant/oauth/register/{client_id}",
        "/tenant/openapi.json",
        "/tenant/jwks/{profile}",
        "/tenant/.well-known/jwks.json",
        "/tenant/.well-known/openid-configuration",
        "/.well-known/oauth-authorization-server/tenant",
    ]);
    assert_eq!(keys(&description["paths"]), expected);
    for (path, item) in description["paths"].as_object().unwrap() {
        let methods = keys(item);
        for method in ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE"] {
            let answer = ask(&mint, method, path);
            if methods.contains(method.to_lowercase().as_str()) {
                // What is off is answered 404, and said to be.
                let may_be_off = item[method.to_lowercase()]["responses"]["404"].is_object();
                assert!(answer.status != 405, "{method} {path}: {answer:?}");
                assert!(answer.status != 404 || may_be_off, "{method} {path}: {answer:?}");
                continue;
            }
            answer.assert_error(405, "invalid_request");
            let allowed: BTreeSet<String> = answer.header("allow").unwrap().split(',').map(str::to_lowercase).collect();
            // HEAD is in every GET (RFC 9110 §9.3.2).
            let allowed: BTreeSet<&str> = allowed.iter().map(String::as_str).filter(|name| *name != "head").collect();
            assert_eq!(allowed, methods, "{method} {path}");
        }
    }
}

#[test]
fn introspection_is_there_and_described_also_where_nobody_may_ask_so_far() {
    let deployment = Deployment::new();
    let mint = deployment.serve();
    let description = description(&mint, "/openapi.json");
    assert!(keys(&description["paths"]).contains("/oauth/introspect"));
    mint.post_form_to("/oauth/introspect", &[], "token=x&client_id=x").assert_error(401, "invalid_client");
}

#[test]
fn what_the_metadata_name_is_described() {
    let deployment = Deployment::new();
    deployment.allow_registration("");
    let_people_log_in(&deployment);
    deployment.add_resource_server("https://api.example.com");
    let mint = deployment.serve();
    let description = description(&mint, "/openapi.json");
    let metadata = mint.get("/.well-known/oauth-authorization-server").json();
    let mut named = 0;
    for (name, url) in metadata.as_object().unwrap() {
        if name.ends_with("_endpoint") || name.ends_with("_uri") {
            let path = url.as_str().unwrap().strip_prefix("https://mint.example.com").unwrap();
            assert!(keys(&description["paths"]).contains(path), "{name}");
            named += 1;
        }
    }
    assert!(named >= 7, "{metadata}");
}

/// A parameter that the protocol reads and the description does not name, or the other way round, is a mistake.
#[test]
fn the_parameters_that_are_read_are_those_that_are_described() {
    let deployment = Deployment::new();
    deployment.add_resource_server("https://api.example.com");
    let description = description(&deployment.serve(), "/openapi.json");
    let forms = description["paths"].as_object().unwrap().values().filter_map(|item| {
        item.pointer("/post/requestBody/content/application~1x-www-form-urlencoded/schema/properties")
    });
    let mut described: BTreeSet<&str> = forms.flat_map(keys).collect();
    assert!(described.remove("token_type_hint"), "it is taken, and not read");
    let mut sources = String::new();
    let mut folders = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join("src/oauth")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            sources.push_str(fs::read_to_string(path).unwrap().split("#[cfg(test)]").next().unwrap());
        }
    }
    let found = [".find(\"", ".find_once(\"", ".find_all(\"", " required(\""].map(|call| sources.split(call).skip(1));
    let read = found.into_iter().flatten().map(|rest| rest.split('"').next().unwrap());
    assert_eq!(read.collect::<BTreeSet<&str>>(), described);
}

/// Has people log in to the client `web-app`, which signs its requests.
fn let_people_log_in(deployment: &Deployment) {
    let jwk = ClientKey::new(1).jwk();
    deployment.add_client(&format!(
        "id = \"web-app\"\nauthentication = \"none\"\ngrants = [\"authorization_code\"]\nscope = \"openid\"
audience = \"https://api.example.com\"\nredirect_uris = [\"https://app.example.com/\"]
jwks = {{ keys = [{{ kty = \"EC\", crv = \"P-256\", x = {}, y = {} }}] }}
[[frontend]]\nname = \"people\"\nuid = 4711\nclients = [\"web-app\"]\nlogin_url = \"https://login.example.com/\"",
        jwk["x"], jwk["y"]
    ));
}

/// Each member of an answer is in the schema, and each that the schema requires is in the answer.
#[test]
fn the_answers_are_as_their_schemas_say() {
    let deployment = Deployment::new();
    deployment.add_resource_server("https://api.example.com");
    deployment.allow_registration("");
    let_people_log_in(&deployment);
    let mint = deployment.serve();
    let description = description(&mint, "/openapi.json");
    let check = |method: &str, path: &str, answer: &Answer| {
        let responses = &description["paths"][path][method]["responses"];
        let response = resolved(&description, &responses[answer.status.to_string()]);
        let content = &response["content"][answer.header("content-type").unwrap()]["schema"];
        conforms(&description, content, &answer.json(), path);
    };
    let grant = mint.refresh(&deployment.grant());
    check("post", "/oauth/token", &grant);
    check("post", "/oauth/token", &mint.client_credentials());
    check("post", "/oauth/token", &mint.refresh("made up"));
    check("post", "/oauth/token", &mint.post_form(&[], ""));
    for path in ["/.well-known/jwks.json", "/.well-known/oauth-authorization-server"] {
        check("get", path, &mint.get(path));
    }
    let request = [
        ("client_id", "web-app"),
        ("response_type", "code"),
        ("redirect_uri", "https://app.example.com/"),
        ("code_challenge", "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"),
        ("code_challenge_method", "S256"),
    ];
    check("post", "/oauth/par", &mint.post_form_to("/oauth/par", &[], &form(&request)));
    check("post", "/oauth/par", &mint.post_form_to("/oauth/par", &[], &form(&request[1..])));
    check("post", "/oauth/par", &mint.post_form_to("/oauth/par", &[], &form(&request[..4])));
    for token in [grant.text("access_token"), "x".to_owned()] {
        let form = form(&[("token", &token)]);
        let answer = mint.post_form_to("/oauth/introspect", &[&basic(API, &deployment.secret)], &form);
        assert_eq!(answer.status, 200);
        check("post", "/oauth/introspect", &answer);
    }
    let metadata = json!({
        "client_name": "a", "contacts": ["b"], "software_id": "c", "software_version": "d", "scope": "read:metrics",
    });
    let registered = mint.bear("POST", "/oauth/register", Some(&deployment.secret), Some(&metadata));
    assert_eq!(registered.status, 201);
    check("post", "/oauth/register", &registered);
    check("post", "/oauth/register", &mint.bear("POST", "/oauth/register", None, Some(&metadata)));
    let token = registered.json()["registration_access_token"].as_str().unwrap().to_owned();
    let path = format!("/oauth/register/{}", registered.json()["client_id"].as_str().unwrap());
    check("get", "/oauth/register/{client_id}", &mint.bear("GET", &path, Some(&token), None));
    let update = json!({
        "client_id": registered.json()["client_id"], "token_endpoint_auth_method": "private_key_jwt",
        "jwks": {"keys": [ClientKey::new(1).jwk()]},
    });
    check("put", "/oauth/register/{client_id}", &mint.bear("PUT", &path, Some(&token), Some(&update)));
    check("put", "/oauth/register/{client_id}", &mint.bear("PUT", &path, Some(&token), Some(&json!({}))));
    check("delete", "/oauth/register/{client_id}", &mint.bear("DELETE", &path, None, None));
}

/// A member of the metadata that is read and not described, or the other way round, is a mistake.
#[test]
fn the_metadata_that_are_read_are_those_that_are_described() {
    let description = description(&Deployment::new().serve(), "/openapi.json");
    let described = keys(&description["components"]["schemas"]["PresentedMetadata"]["properties"]);
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/oauth/registration/presented.rs");
    let source: String = fs::read_to_string(source).unwrap().split_whitespace().collect();
    let calls = ["text", "texts", "name", "flag", "take"].map(|reader| format!(".{reader}(\""));
    let read = calls.iter().flat_map(|call| source.split(call.as_str()).skip(1));
    assert_eq!(read.map(|rest| rest.split('"').next().unwrap()).collect::<BTreeSet<&str>>(), described);
}

fn resolved<'a>(description: &'a Value, schema: &'a Value) -> &'a Value {
    match schema["$ref"].as_str() {
        Some(reference) => description.pointer(reference.strip_prefix('#').unwrap()).unwrap(),
        None => schema,
    }
}

/// The properties of an object's schema and those that it requires, those of its parts included.
fn members<'a>(description: &'a Value, schema: &'a Value) -> (Vec<(&'a str, &'a Value)>, Vec<&'a Value>) {
    let schema = resolved(description, schema);
    let (mut properties, mut required) = (Vec::new(), Vec::new());
    for part in schema["allOf"].as_array().into_iter().flatten() {
        // A group whose members are there together or not at all requires none.
        let (more, also) = members(description, part["oneOf"].get(0).unwrap_or(part));
        properties.extend(more);
        required.extend(also.into_iter().filter(|_| part["oneOf"].is_null()));
    }
    properties.extend(schema["properties"].as_object().into_iter().flatten().map(|(name, of)| (name.as_str(), of)));
    required.extend(schema["required"].as_array().into_iter().flatten());
    (properties, required)
}

#[track_caller]
fn conforms(description: &Value, schema: &Value, value: &Value, place: &str) {
    match value {
        Value::Object(object) => {
            let (properties, required) = members(description, schema);
            // Anything: what a client registered comes back as it was.
            if properties.is_empty() && resolved(description, schema)["type"] == "object" {
                return;
            }
            for (name, value) in object {
                let property = properties.iter().find(|(known, _)| known == name);
                let (_, property) = property.unwrap_or_else(|| panic!("{place}: {name} is not in {schema}"));
                conforms(description, property, value, name);
            }
            for name in required {
                assert!(object.contains_key(name.as_str().unwrap()), "{place}: no {name} in {value}");
            }
        }
        Value::Array(values) => {
            for value in values {
                conforms(description, &resolved(description, schema)["items"], value, place);
            }
        }
        _ => assert_ne!(resolved(description, schema), &json!(null), "{place}"),
    }
}
