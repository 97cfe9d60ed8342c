use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::metadata::Proof;
use super::*;
use crate::clock::Timestamp;
use crate::entropy::SystemEntropy;
use crate::jose::claims::Audience;
use crate::jose::thumbprint::Thumbprint;
use crate::oauth::OAuthError;
use crate::oauth::authentication::CertificateSubject;
use crate::oauth::client::tests::client;
use crate::oauth::client::{ClientAuthentication, GrantType, SecretTransport};
use crate::oauth::scope::Scope;
use crate::oauth::secret::SecretHash;

const DAY: Duration = Duration::from_secs(24 * 60 * 60);
const START: Timestamp = Timestamp::from_unix_seconds(1_800_000_000);

fn rules() -> RegistrationRules {
    RegistrationRules {
        initial_access_tokens: vec![SecretHash::of("old"), SecretHash::of("new")],
        grants: vec![GrantType::ClientCredentials],
        methods: AuthenticationMethod::ALL.to_vec(),
        scope: Scope::parse("read write").unwrap(),
        audience: Audience::One("https://api.example.com".to_owned()),
        resources: Vec::new(),
        access_token_lifetime: Duration::from_secs(300),
        max_clients: 10,
        lifetime: None,
        refresh: client("").refresh,
    }
}

fn jwk() -> Value {
    // RFC 7517 appendix A.1.
    json!({
        "kty": "EC", "crv": "P-256",
        "x": "MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4", "y": "4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM",
    })
}

fn keys(keys: Value) -> Value {
    json!({"token_endpoint_auth_method": "private_key_jwt", "jwks": {"keys": keys}})
}

fn checked(metadata: &Value) -> Result<ClientMetadata, OAuthError> {
    PresentedMetadata::parse(metadata.to_string().as_bytes())?.checked(&rules())
}

fn registration(metadata: &Value) -> Registration {
    let metadata = checked(metadata).unwrap();
    let secret = matches!(metadata.proof(), Ok(Proof::Secret(_))).then(|| SecretHash::of("secret"));
    Registration {
        client_id: "dcr_AAAAAAAAAAAAAAAAAAAAAA".to_owned(),
        created_at: START,
        last_used_at: None,
        metadata,
        secret,
        token: SecretHash::of("token"),
    }
}

#[test]
fn an_id_is_recognised_by_its_form() {
    let entropy: &dyn Entropy = &SystemEntropy::new();
    let id = new_client_id(entropy);
    assert!(is_client_id(&id) && id.len() == 26, "{id}");
    assert_ne!(id, new_client_id(entropy));
    for other in ["", "dcr_", "dcr_AAAAAAAAAAAAAAAAAAAAA", "dcr_AAAAAAAAAAAAAAAAAAAAAAA", "dcr_AAAAAAAAAAAAAAAAAAAAAB"]
    {
        assert!(!is_client_id(other), "{other}");
    }
    for other in ["AAAAAAAAAAAAAAAAAAAAAA", "dcr_AAAAAAAAAAAAAAAAAAAAA/", " dcr_AAAAAAAAAAAAAAAAAAAAAA"] {
        assert!(!is_client_id(other), "{other}");
    }
}

#[test]
fn what_is_left_out_has_a_default_and_what_is_unknown_is_ignored() {
    let expected = json!({
        "token_endpoint_auth_method": "client_secret_basic",
        "grant_types": ["client_credentials"],
        "response_types": [],
        "scope": "read write",
        "tls_client_certificate_bound_access_tokens": false,
        "dpop_bound_access_tokens": false,
    });
    for presented in [
        json!({}),
        json!({"scope": null, "jwks": null, "grant_types": null, "dpop_bound_access_tokens": null}),
        json!({"redirect_uris": ["https://a.example/cb"], "logo_uri": 1, "client_name#ja": "x", "client_id": "x"}),
        json!({"grant_types": ["client_credentials", "client_credentials"], "response_types": []}),
    ] {
        assert_eq!(json!(checked(&presented).unwrap()), expected, "{presented}");
    }
    let all = json!({
        "client_name": "Ärger & Söhne", "contacts": ["ops@example.com"], "software_id": "4NRB1", "software_version": "2",
        "scope": "write", "dpop_bound_access_tokens": true,
    });
    let told = json!(checked(&all).unwrap());
    for (name, value) in all.as_object().unwrap() {
        assert_eq!(told[name], *value);
    }
}

#[test]
fn what_is_not_allowed_is_refused_with_what_was_expected() {
    let method = |method: &str| json!({"token_endpoint_auth_method": method});
    let with = |mut metadata: Value, name: &str, value: Value| {
        metadata[name] = value;
        metadata
    };
    let private = with(jwk(), "d", json!("870MB6gfuTJ4HtUnUvYMyJpr5eUZNP4Bk43bVdj3eAE"));
    const METHOD: &str = "token_endpoint_auth_method: expected one that is allowed to clients that register";
    const GRANTS: &str = "grant_types: expected some that are allowed to clients that register";
    const NAME: &str = "client_name: expected 1 to 255 bytes of text";
    const CONTACTS: &str = "contacts: expected at most 16, each 1 to 255 bytes of text";
    const KEY_SET: &str = "jwks: expected a JWK Set (RFC 7517 §5)";
    const PRIVATE: &str = "jwks: expected public keys; a private one is worthless once others have seen it";
    const NO_KEY: &str = "jwks: no key of it can be used";
    const KEYS: &str = "private_key_jwt: expected jwks or jwks_uri";
    const URI: &str = "jwks_uri: expected an https URL without user and password";
    const OTHERS_KEYS: &str = "jwks and jwks_uri: for private_key_jwt and self_signed_tls_client_auth only";
    const SUBJECT: &str = "tls_client_auth_*: expected one of them (RFC 8705 §2.1.2)";
    const X5C: &str = "self_signed_tls_client_auth: expected jwks with a certificate in each x5c";
    let uri = |uri: &str| with(method("private_key_jwt"), "jwks_uri", json!(uri));
    for (metadata, expected) in [
        (method("none"), METHOD),
        (method("client_secret_jwt"), METHOD),
        (json!({"token_endpoint_auth_method": 1}), "token_endpoint_auth_method: expected a string"),
        (json!({"grant_types": []}), GRANTS),
        (json!({"grant_types": ["authorization_code"]}), GRANTS),
        (json!({"grant_types": ["client_credentials", "refresh_token"]}), GRANTS),
        (json!({"grant_types": "client_credentials"}), "grant_types: expected a list of strings"),
        (json!({"grant_types": [1]}), "grant_types: expected a list of strings"),
        (json!({"response_types": ["code"]}), "response_types: expected an empty list"),
        (json!({"response_types": "code"}), "response_types: expected an empty list"),
        (json!({"scope": "read admin"}), "scope: more than a client that registers may have"),
        (json!({"scope": "read  write"}), "scope: expected values separated by one space each"),
        (json!({"scope": ""}), "scope: expected a string"),
        (json!({"scope": ["read"]}), "scope: expected a string"),
        (json!({"client_name": ""}), NAME),
        (json!({"client_name": "a\nb"}), NAME),
        (json!({"client_name": "a".repeat(256)}), NAME),
        (json!({"contacts": "a"}), "contacts: expected a list of strings"),
        (json!({"contacts": ["a\u{1b}[2J"]}), CONTACTS),
        (json!({"contacts": vec!["a"; 17]}), CONTACTS),
        (json!({"software_id": {}}), "software_id: expected 1 to 255 bytes of text"),
        (json!({"software_version": 1}), "software_version: expected 1 to 255 bytes of text"),
        (method("private_key_jwt"), KEYS),
        (with(method("private_key_jwt"), "jwks", json!("x")), KEY_SET),
        (with(method("private_key_jwt"), "jwks", json!([])), KEY_SET),
        (keys(json!([])), NO_KEY),
        (keys(json!([{"kty": "EC"}])), NO_KEY),
        (keys(json!([private])), PRIVATE),
        (keys(json!([jwk(), private])), PRIVATE),
        (keys(json!([{"kty": "oct", "k": "AAAA"}])), PRIVATE),
        (uri("http://a.example/jwks"), URI),
        (uri("https://user:secret@a.example/jwks"), URI),
        (uri("file:///etc/passwd"), URI),
        (uri("jwks"), URI),
        (with(uri("https://a.example"), "jwks_uri", json!(["https://a.example"])), "jwks_uri: expected a string"),
        (
            with(keys(json!([jwk()])), "jwks_uri", json!("https://a.example")),
            "jwks and jwks_uri: expected one of them (RFC 7591 §2)",
        ),
        (json!({"jwks": {"keys": [jwk()]}}), OTHERS_KEYS),
        (json!({"jwks_uri": "https://a.example"}), OTHERS_KEYS),
        (json!({"tls_client_auth_san_dns": "a.example"}), "tls_client_auth_*: for tls_client_auth only"),
        (method("tls_client_auth"), SUBJECT),
        (
            json!({
                "token_endpoint_auth_method": "tls_client_auth",
                "tls_client_auth_san_dns": "a.example", "tls_client_auth_san_email": "a@b.example",
            }),
            SUBJECT,
        ),
        (with(method("tls_client_auth"), "tls_client_auth_san_dns", json!("")), "tls_client_auth_*: expected a string"),
        (
            with(method("tls_client_auth"), "tls_client_auth_san_ip", json!("host")),
            "tls_client_auth_san_ip: expected an IP address",
        ),
        (method("self_signed_tls_client_auth"), X5C),
        (with(method("self_signed_tls_client_auth"), "jwks_uri", json!("https://a.example")), X5C),
        (with(method("self_signed_tls_client_auth"), "jwks", json!({"keys": []})), X5C),
        (with(method("self_signed_tls_client_auth"), "jwks", json!({"keys": [jwk()]})), X5C),
        (
            with(method("self_signed_tls_client_auth"), "jwks", json!({"keys": [with(jwk(), "x5c", json!(["AAAA"]))]})),
            X5C,
        ),
        (with(method("self_signed_tls_client_auth"), "jwks", json!({"keys": [private]})), PRIVATE),
        (json!({"dpop_bound_access_tokens": "true"}), "dpop_bound_access_tokens: expected true or false"),
        (
            json!({"tls_client_certificate_bound_access_tokens": 1}),
            "tls_client_certificate_bound_access_tokens: expected true or false",
        ),
        (
            json!({"tls_client_certificate_bound_access_tokens": true, "dpop_bound_access_tokens": true}),
            "dpop_bound_access_tokens and tls_client_certificate_bound_access_tokens: expected one of them",
        ),
    ] {
        assert_eq!(checked(&metadata).err(), Some(OAuthError::InvalidClientMetadata(expected)), "{metadata}");
    }
}

#[test]
fn a_body_is_one_object_with_each_member_once() {
    let deep = format!("{{\"jwks\": {}{}}}", "[".repeat(10), "]".repeat(10));
    let broad = format!("{{{}}}", (0..1025).map(|number| format!("\"{number}\":0")).collect::<Vec<_>>().join(","));
    for body in
        ["", "[]", "null", "{} {}", "{", r#"{"scope": "read", "scope": "read"}"#, r#"{"x": {"a": 1, "\u0061": 1}}"#]
    {
        assert!(matches!(PresentedMetadata::parse(body.as_bytes()), Err(OAuthError::InvalidRequest(_))), "{body}");
    }
    for body in [&deep, &broad] {
        assert!(matches!(PresentedMetadata::parse(body.as_bytes()), Err(OAuthError::InvalidRequest(_))), "{body}");
    }
    let answered = json!({"client_id": "x", "registration_access_token": "x"}).to_string();
    assert!(PresentedMetadata::parse(answered.as_bytes()).is_ok());
    assert!(matches!(PresentedMetadata::parse_update(answered.as_bytes()), Err(OAuthError::InvalidRequest(_))));
}

#[test]
fn each_method_is_proven_by_what_was_registered_for_it() {
    let made = |metadata: Value| rules().client(registration(&metadata), START).unwrap();
    let by = |metadata: Value| made(metadata).authentication;
    let hashes = vec![SecretHash::of("secret")];
    let is_by_secret = |metadata: Value, expected: SecretTransport| matches!(by(metadata), ClientAuthentication::Secret { transport, hashes: known } if transport == expected && known == hashes);
    assert!(is_by_secret(json!({}), SecretTransport::Basic));
    assert!(is_by_secret(json!({"token_endpoint_auth_method": "client_secret_post"}), SecretTransport::Post));
    assert!(by(keys(json!([jwk(), {"kty": "unheard of"}]))).keys().is_some());
    let uri = json!({"token_endpoint_auth_method": "private_key_jwt", "jwks_uri": "https://a.example/jwks"});
    assert!(by(uri).keys().is_some());
    for (name, text, expected) in [
        ("subject_dn", "CN=a,O=b", CertificateSubject::DistinguishedName("CN=a,O=b".to_owned())),
        ("san_dns", "a.example", CertificateSubject::Dns("a.example".to_owned())),
        ("san_uri", "spiffe://a/b", CertificateSubject::Uri("spiffe://a/b".to_owned())),
        ("san_ip", "2001:db8::1", CertificateSubject::Ip("2001:db8::1".parse().unwrap())),
        ("san_email", "a@b.example", CertificateSubject::Email("a@b.example".to_owned())),
    ] {
        let mut metadata = json!({"token_endpoint_auth_method": "tls_client_auth"});
        metadata[format!("tls_client_auth_{name}")] = text.into();
        let client = made(metadata.clone());
        let ClientAuthentication::TlsClientAuth { subject } = client.authentication else { panic!("{metadata}") };
        assert_eq!((subject, client.certificate_bound_access_tokens), (expected, true), "{metadata}");
        metadata["dpop_bound_access_tokens"] = true.into();
        let client = made(metadata);
        assert!(client.dpop_bound_access_tokens && !client.certificate_bound_access_tokens);
    }
    let key = rcgen::KeyPair::generate().unwrap();
    let der = rcgen::CertificateParams::default().self_signed(&key).unwrap().der().to_vec();
    let jwks = json!({"keys": [{"kty": "EC", "x5c": [STANDARD.encode(&der), "what follows is not looked at"]}]});
    let metadata = json!({"token_endpoint_auth_method": "self_signed_tls_client_auth", "jwks": jwks});
    let ClientAuthentication::SelfSignedTlsClientAuth { certificates } = by(metadata) else { panic!("{der:?}") };
    assert_eq!(certificates, [Thumbprint::of(&der)]);
}

#[test]
fn the_rules_of_the_moment_cut_down_what_was_registered_before() {
    let registered = registration(&json!({"scope": "write read"}));
    let by = |rules: &RegistrationRules| rules.client(registered.clone(), START.plus(DAY));
    let as_it_was = by(&rules()).unwrap();
    assert_eq!((as_it_was.scope.as_str(), as_it_was.access_token_lifetime.as_secs()), ("write read", 300));
    assert_eq!(as_it_was.grants, [GrantType::ClientCredentials]);
    let narrower = RegistrationRules { scope: Scope::parse("read more").unwrap(), ..rules() };
    assert_eq!(by(&narrower).unwrap().scope.as_str(), "read");
    assert_eq!(narrower.cut_down(registered.metadata.clone()).scope, "read");
    let others = RegistrationRules { scope: Scope::parse("more").unwrap(), ..rules() };
    assert_eq!(by(&others).err(), Some(Refused::Scope));
    let methods = vec![AuthenticationMethod::PrivateKeyJwt];
    assert_eq!(by(&RegistrationRules { methods, ..rules() }).err(), Some(Refused::Method));
    assert_eq!(by(&RegistrationRules { grants: Vec::new(), ..rules() }).err(), Some(Refused::Grants));
    let elsewhere = Audience::One("https://other.example.com".to_owned());
    assert_eq!(by(&RegistrationRules { audience: elsewhere, ..rules() }).unwrap().audience.values().len(), 1);
    let without_secret = Registration { secret: None, ..registered };
    assert_eq!(rules().client(without_secret, START).err(), Some(Refused::Metadata));
}

#[test]
fn a_registration_ends_and_no_access_token_outlives_it() {
    let rules = RegistrationRules { lifetime: Some(DAY), ..rules() };
    let at = |seconds: i64| {
        let now = Timestamp::from_unix_seconds(START.plus(DAY).unix_seconds() + seconds);
        rules.client(registration(&json!({})), now).map(|client| client.access_token_lifetime.as_secs())
    };
    assert_eq!([at(-301), at(-300), at(-299), at(-1)], [Ok(300), Ok(300), Ok(299), Ok(1)]);
    assert_eq!([at(0), at(1)], [Err(Refused::Expired); 2]);
}

#[test]
fn the_store_gives_back_what_was_registered_and_nothing_of_a_later_release() {
    for metadata in [json!({"client_name": "a", "contacts": ["b"]}), keys(json!([jwk()]))] {
        let registration = registration(&metadata);
        assert_eq!(Registration::of(registration.clone().into_record()), Ok(registration));
    }
    let record = registration(&json!({})).into_record();
    assert!(!record.document.contains("\"secret\""), "a hash, and not the secret");
    let change = |change: fn(&mut Value)| {
        let mut document: Value = serde_json::from_str(&record.document).unwrap();
        change(&mut document);
        Registration::of(crate::store::RegisteredClient { document: document.to_string(), ..record.clone() })
    };
    assert!(change(|_| ()).is_ok());
    for unknown in [
        change(|document| document["limit"] = 1.into()),
        change(|document| document["metadata"]["limit"] = 1.into()),
        change(|document| document["metadata"]["token_endpoint_auth_method"] = "none".into()),
        change(|document| document["secret_sha256"] = "x".into()),
        change(|document| *document = json!("x")),
    ] {
        assert_eq!(unknown, Err(Unreadable));
    }
}

#[test]
fn either_initial_access_token_is_good_while_one_replaces_the_other() {
    let rules = rules();
    assert!(["old", "new"].iter().all(|token| rules.is_initial_access_token(token)));
    assert!(!["", "other", "old "].iter().any(|token| rules.is_initial_access_token(token)));
}

#[test]
fn the_names_of_methods_are_written_as_they_are_read() {
    for method in AuthenticationMethod::ALL {
        assert_eq!(json!(method), json!(method.as_str()));
        assert_eq!(AuthenticationMethod::parse(method.as_str()), Some(method));
    }
}
