//! `[kubernetes]`.

use std::path::Path;
use std::time::Duration;

use mintkeep::config::Config;
use mintkeep::kubernetes::Address;

const TABLES: &str = r#"
[[signing_profile]]
name = "cluster"
content = "jwt"
issuers = ["https://kubernetes.default.svc"]
audiences = ["https://kubernetes.default.svc"]
max_lifetime = "1h"
publish_ahead = "5m"

[[signing_profile]]
name = "anything"
content = "any"

[[signing_profile]]
name = "created"
content = "jwt"
issuers = ["https://kubernetes.default.svc"]
max_lifetime = "1h"
keys = "created"

[[frontend]]
name = "kube-apiserver"
uid = 0
profiles = ["cluster"]

[kubernetes]
socket = "kubernetes.sock"
profile = "cluster"
"#;

fn text() -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("config/development.toml");
    std::fs::read_to_string(path).unwrap() + TABLES
}

fn parsed(old: &str, new: &str) -> Result<Config, String> {
    let text = text();
    assert!(text.contains(old), "{old}");
    Config::parse(Path::new("/etc/mintkeep/mintkeep.toml"), &text.replacen(old, new, 1))
        .map_err(|error| error.to_string())
}

#[test]
fn the_socket_is_a_path_or_a_name_and_the_hint_a_minute_at_first() {
    let settings = parsed("", "").unwrap().kubernetes.unwrap();
    assert_eq!(settings.address, Address::Path("/etc/mintkeep/kubernetes.sock".into()));
    assert_eq!((settings.profile.as_str(), settings.max_lifetime), ("cluster", Duration::from_secs(3600)));
    assert_eq!(settings.refresh_hint, Duration::from_secs(60));
    let named = parsed("kubernetes.sock", "@mintkeep").unwrap().kubernetes.unwrap();
    assert_eq!(named.address, Address::Abstract("mintkeep".to_owned()));
    assert_eq!(named.address.to_string(), "@mintkeep");
    let hinted =
        |hint: &str| parsed("profile = \"cluster\"\n", &format!("profile = \"cluster\"\nrefresh_hint = \"{hint}\"\n"));
    assert_eq!(hinted("5m").unwrap().kubernetes.unwrap().refresh_hint, Duration::from_secs(300));
    let warnings = |old, new| parsed(old, new).unwrap().warnings();
    assert_eq!(warnings("", ""), [""; 0]);
    let expected = "[kubernetes]: no front-end has a uid and the signing profile \"cluster\", so nobody may call";
    assert_eq!(warnings("profiles = [\"cluster\"]", "profiles = [\"anything\"]"), [expected]);
    let of_token = warnings("uid = 0", &format!("token_sha256 = \"{}\"", "0".repeat(64)));
    assert!(of_token.contains(&expected.to_owned()), "{of_token:?}");
}

#[test]
fn what_no_kube_apiserver_would_take_is_a_mistake() {
    let said = |old: &str, new: &str, line: &str, expected: &str| {
        let error = parsed(old, new).unwrap_err();
        let text = text().replacen(old, new, 1);
        let before = &text[..text.rfind(line).unwrap()];
        let place = format!("/etc/mintkeep/mintkeep.toml:{}:", before.matches('\n').count() + 1);
        assert!(error.starts_with(&place), "{place} is not at the start of {error}");
        assert!(error.contains(expected), "{expected:?} is not in {error}");
    };
    let in_table = "profile = \"cluster\"\n";
    let socket = "socket = \"kubernetes.sock\"";
    for wrong in ["", "@", "a\\u0000b"] {
        let new = format!("socket = \"{wrong}\"");
        said(socket, &new, &new, "expected a path, or a name in the abstract namespace such as \"@mintkeep\"");
    }
    let long = "x".repeat(108);
    said(socket, &format!("socket = \"@{long}\""), "socket = \"@", "expected a name of 107 bytes at the most");
    said(
        socket,
        &format!("socket = \"/{}\"", &long[..103]),
        "socket = \"/",
        "expected a path of 103 bytes at the most",
    );
    let profile = "\nprofile = \"cluster\"";
    said(profile, "\nprofile = \"clutser\"", "profile = \"clutser\"", "of that name; did you mean \"cluster\"?");
    said(profile, "\nprofile = \"anything\"", "profile = \"anything\"", "expected one of content = \"jwt\"");
    said(profile, "\nprofile = \"created\"", "profile = \"created\"", "expected keys = \"one\"");
    said("max_lifetime = \"1h\"", "max_lifetime = \"599s\"", in_table, "has to have max_lifetime = \"10m\" at least");
    said(
        "content = \"jwt\"",
        "content = \"jwt\"\ntypes = [\"at+jwt\"]",
        in_table,
        "has to have \"JWT\" among its types",
    );
    let hinted = format!("{in_table}refresh_hint = \"301s\"\n");
    let expected = "refresh_hint is \"5m 1s\", and publish_ahead of the signing profile \"cluster\" is \"5m\"";
    said(in_table, &hinted, "refresh_hint", expected);
    said(in_table, &format!("{in_table}refresh_hint = \"0s\"\n"), "refresh_hint", "at least one");
    said(in_table, &format!("{in_table}refresh_hnt = \"1m\"\n"), "refresh_hnt", "did you mean `refresh_hint`?");
}
