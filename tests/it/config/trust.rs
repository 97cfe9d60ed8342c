//! Trust policies as they are written: what is taken, and what is said of a mistake.

use std::fs;
use std::path::Path;
use std::time::Duration;

use mintkeep::config::Config;
use mintkeep::keeper::policy::ClaimRules;
use mintkeep::oauth::trust::KeyLocation;
use tempfile::TempDir;

const DEVELOPMENT: &str = include_str!("../../../config/development.toml");

const ISSUER: &str = "issuer = \"https://token.actions.githubusercontent.com\"";
const CLIENT: &str = "client = \"ci-cd-pipeline-runner\"";
const POLICY: &str = r#"
[[trust]]
name = "deploy"
issuer = "https://token.actions.githubusercontent.com"
audience = "https://mint.example.com"
match = { repository_id = "123456" }
client = "ci-cd-pipeline-runner"
"#;

/// The development example in `folder`, with `head` before its first table and `tail` at its end.
fn parse_in(folder: &Path, head: &str, tail: &str) -> Result<Config, String> {
    let text = format!("{}{tail}", DEVELOPMENT.replacen("[listen]", &format!("{head}\n[listen]"), 1));
    Config::parse(&folder.join("mintkeep.toml"), &text).map_err(|error| error.to_string())
}

fn parse(tail: &str) -> Result<Config, String> {
    parse_in(Path::new("/etc/mintkeep"), "", tail)
}

/// Checks what is said of [`POLICY`] with `old` replaced by `new`, and of which line: the last of `new`.
#[track_caller]
fn assert_said(old: &str, new: &str, expected: &str) {
    assert!(POLICY.contains(old), "{old}");
    let policy = POLICY.replacen(old, new, 1);
    let error = parse(&policy).unwrap_err();
    assert!(error.contains(expected), "{expected:?} is not in {error}");
    let wrong = new.lines().last().unwrap();
    let line =
        DEVELOPMENT.matches('\n').count() + 1 + policy.lines().position(|line| line.contains(wrong)).unwrap() + 1;
    assert!(error.contains(&format!("/etc/mintkeep/mintkeep.toml:{line}:")), "line {line} is not in {error}");
}

#[test]
fn a_policy_has_what_its_client_has_where_it_does_not_say() {
    let config = parse(POLICY).unwrap();
    let policy = config.trust.named("deploy").unwrap();
    assert_eq!((policy.scope.as_str(), policy.lifetime), ("read:metrics write:deployments", Duration::from_secs(300)));
    assert_eq!((policy.subject.as_deref(), policy.actors.len()), (None, 0));
    let [issuer] = &config.trusted_issuers[..] else { panic!("{:?}", config.trusted_issuers) };
    assert_eq!(issuer.keys, KeyLocation::Discovery);
    assert_eq!(config.warnings(), [""; 0]);
}

/// The keeper refuses what lives longer, and a key is needed for as long.
#[test]
fn the_longest_lifetime_is_a_policys_where_that_is_longer_than_any_clients() {
    let config = parse(&format!("{POLICY}lifetime = \"3h\"\n")).unwrap();
    let longest = Duration::from_secs(3 * 60 * 60);
    assert_eq!(config.token_profiles()[0].rules, ClaimRules::AccessToken { max_lifetime: longest });
    assert_eq!(config.keys.signing.needed_for, longest);
}

#[test]
fn a_mistake_in_what_a_policy_matches_is_told_with_its_line() {
    let claims = "{ repository_id = \"123456\" }";
    for (wrong, expected) in [
        ("{}", "expected at least one claim"),
        ("{ repository_id = 1.5 }", "expected a string, an integer, true or false"),
        ("{ repository_id = 2026-01-01 }", "expected { pattern = \"…\" }"),
        ("{ repository_id = [] }", "expected at least one value"),
        ("{ repository_id = [\"a\", [\"b\"]] }", "expected a string, an integer, true or false"),
        ("{ ref = { patern = \"a*\" } }", "expected { pattern = \"…\" }"),
        ("{ ref = { pattern = \"a*\", not = \"ab\" } }", "expected { pattern = \"…\" }"),
        ("{ ref = { pattern = \"refs/**\" } }", "never matches a `/`"),
        ("{ ref = { pattern = \"*\" } }", "says nothing of whom it trusts"),
        ("{ \"/a~b\" = \"c\" }", "expected a JSON Pointer"),
        ("{ iss = \"x\" }", "as `issuer`"),
        ("{ \"/aud\" = \"x\" }", "as `audience`"),
    ] {
        assert_said(claims, wrong, expected);
    }
    assert_said("audience = \"https://mint.example.com\"", "audience = \"\"", "expected an audience");
}

#[test]
fn a_mistake_in_what_a_policy_gives_is_told_with_its_line() {
    for (setting, expected) in [
        ("scope = \"write:deployments admin\"", "expected a scope within that of \"ci-cd-pipeline-runner\""),
        ("scope = \"\"", "expected at least one scope value"),
        ("lifetime = \"25h\"", "expected at the most \"24h\""),
        ("subject = \"\"", "expected a subject"),
        ("subject = \"billing-service\"", "the id of another client"),
        ("actors = []", "expected the names of trust policies"),
        ("actors = [\"deploi\"]", "did you mean \"deploy\"?"),
        ("sujbect = \"x\"", "did you mean `subject`?"),
    ] {
        assert_said(CLIENT, &format!("{CLIENT}\n{setting}"), expected);
    }
    assert_said(CLIENT, "client = \"ci-cd-pipline-runner\"", "did you mean \"ci-cd-pipeline-runner\"?");
    let other = format!("{CLIENT}\n{}", POLICY.lines().take(3).collect::<Vec<_>>().join("\n"));
    let rest = POLICY.lines().skip(3).collect::<Vec<_>>().join("\n");
    let error = parse(&POLICY.replacen(CLIENT, &format!("{other}\n{rest}"), 1)).unwrap_err();
    assert!(error.contains("another trust policy has the name \"deploy\" already"), "{error}");
}

#[test]
fn an_issuer_is_an_https_url_unless_it_is_at_home() {
    for wrong in [
        "http://token.example.com",
        "http://127.0.0.1:9000",
        "token.example.com",
        "https://user@token.example.com",
        "https://token.example.com?x",
        "https://token.example.com#x",
        " https://token.example.com",
    ] {
        assert_said(ISSUER, &format!("issuer = {wrong:?}"), "expected an https URL");
    }
    // What issuers are called is theirs to say.
    for issuer in ["https://tenant.auth.example.com/", "https://Token.example.com", "https://h:443/a/b"] {
        let config = parse(&POLICY.replacen(ISSUER, &format!("issuer = {issuer:?}"), 1)).unwrap();
        assert_eq!(config.trusted_issuers[0].issuer, issuer);
    }
    let at_home = parse(&POLICY.replacen(ISSUER, "issuer = \"http://localhost:9000\"", 1)).unwrap_err();
    assert!(at_home.contains("http is accepted for a loopback host, with allow_private_addresses = true"), "{at_home}");
}

#[test]
fn the_mints_own_tokens_are_verified_with_its_own_keys() {
    let issuer = DEVELOPMENT.lines().find(|line| line.starts_with("issuer = ")).unwrap();
    let config = parse(&POLICY.replacen(ISSUER, issuer, 1)).unwrap();
    assert_eq!(config.trusted_issuers[0].keys, KeyLocation::Own);
    assert_said(CLIENT, &format!("{CLIENT}\n[[trusted_issuer]]\n{issuer}"), "the mint's own issuer");
}

#[test]
fn a_trusted_issuer_says_where_its_keys_are() {
    let keys = |setting: &str| parse(&format!("{POLICY}[[trusted_issuer]]\n{ISSUER}\n{setting}\n"));
    let only = |setting| keys(setting).unwrap().trusted_issuers.remove(0);
    assert_eq!(only("").keys, KeyLocation::Discovery);
    assert_eq!(only("jwks_file = \"github.json\"").keys, KeyLocation::File("/etc/mintkeep/github.json".into()));
    let fetched =
        only("jwks_uri = \"https://proxy.example.com/jwks\"\nca = \"ca.pem\"\nallow_private_addresses = true");
    assert_eq!(fetched.ca.as_deref(), Some(Path::new("/etc/mintkeep/ca.pem")));
    assert!(fetched.allow_private_addresses);
    let KeyLocation::Uri(uri) = fetched.keys else { panic!("{:?}", fetched.keys) };
    assert_eq!(uri.as_str(), "https://proxy.example.com/jwks");

    let table = format!("{CLIENT}\n[[trusted_issuer]]\n{ISSUER}");
    for (settings, expected) in [
        ("jwks_uri = \"https://h/jwks\"\njwks_file = \"keys.json\"", "not both"),
        ("jwks_file = \"keys.json\"\nca = \"ca.pem\"", "remove them beside jwks_file"),
        ("jwks_uri = \"http://h/jwks\"", "expected an https URL"),
        ("jwks_uri = \"http://localhost/jwks\"", "with allow_private_addresses = true"),
        ("jwks_url = \"https://h/jwks\"", "did you mean `jwks_uri`?"),
    ] {
        assert_said(CLIENT, &format!("{table}\n{settings}"), expected);
    }
    let twice = parse(&format!("{POLICY}[[trusted_issuer]]\n{ISSUER}\n[[trusted_issuer]]\n{ISSUER}\n")).unwrap_err();
    assert!(twice.contains("another table is about the issuer"), "{twice}");
    let at_home = "[[trusted_issuer]]\nissuer = \"http://[::1]:9000\"\nallow_private_addresses = true\n";
    let warnings = parse(&format!("{POLICY}{at_home}")).unwrap().warnings();
    assert_eq!(warnings, ["no trust policy names the trusted issuer \"http://[::1]:9000\""]);
}

/// A folder with the files of a trust directory.
fn directory(files: &[(&str, &str)]) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("trust.d")).unwrap();
    for (name, text) in files {
        fs::write(folder.path().join("trust.d").join(name), text).unwrap();
    }
    folder
}

const DIRECTORY: &str = "trust_directory = \"trust.d\"";

fn named(name: &str) -> String {
    POLICY.replacen("\"deploy\"", &format!("{name:?}"), 1)
}

#[test]
fn the_files_of_the_trust_directory_are_read_in_the_order_of_their_names() {
    let issuer = format!("[[trusted_issuer]]\n{ISSUER}\njwks_file = \"github.json\"\n");
    let (second, third) = (named("second"), format!("{}actors = [\"first\", \"second\"]\n", named("third")));
    let folder = directory(&[
        ("20-b.toml", &third),
        ("10-a.toml", &second),
        ("30-issuers.toml", &issuer),
        (".40-editor.toml", "half done"),
        ("README", "no TOML"),
    ]);
    let config = parse_in(folder.path(), DIRECTORY, &named("first")).unwrap();
    let names: Vec<&str> = config.trust.iter().map(|policy| policy.name.as_str()).collect();
    assert_eq!(names, ["first", "second", "third"]);
    assert_eq!(config.trust.named("third").unwrap().actors, ["first", "second"]);
    // A path in a file begins where the file is.
    let keys = folder.path().join("trust.d/github.json");
    assert_eq!(config.trusted_issuers[0].keys, KeyLocation::File(keys));
}

#[test]
fn a_mistake_in_the_trust_directory_is_told_with_its_file_and_line() {
    let said = |text: &str, expected: &str| {
        let folder = directory(&[("10-a.toml", &named("first")), ("20-b.toml", text)]);
        let error = parse_in(folder.path(), DIRECTORY, POLICY).unwrap_err();
        let place = format!("{}:{expected}", folder.path().join("trust.d/20-b.toml").display());
        assert!(error.starts_with(&place), "{place} is not at the start of {error}");
    };
    said(&named("first"), "3:8: another trust policy has the name \"first\" already");
    said(&named("x").replacen("ci-cd", "ci", 1), "7:10: no client has the id");
    said(&format!("{}scope = \"admin\"\n", named("x")), "8:9: expected a scope within");
    said("\n[[trsut]]\n", "2:3: unknown field `trsut`");
    said("issuer = \"x\"\n", "1:1: unknown field `issuer`");
    said("[[trusted_issuer]]\nissuer = \"ftp://x\"\n", "2:10: issuer: expected an https URL");
}

#[test]
fn a_trust_directory_that_is_not_there_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let error = parse_in(folder.path(), DIRECTORY, POLICY).unwrap_err();
    assert!(error.contains("mintkeep.toml:") && error.contains("cannot read the trust directory"), "{error}");
    assert!(error.contains(&folder.path().join("trust.d").display().to_string()), "{error}");
}

#[test]
fn what_an_operator_should_think_twice_about_is_no_error() {
    let by_name = POLICY.replacen("repository_id", "repository", 1);
    let warnings = parse(&by_name).unwrap().warnings();
    assert!(
        matches!(&warnings[..], [warning] if warning.contains("\"deploy\"") && warning.contains("\"repository_id\""))
    );
}
