//! Front-ends as they are written: what is taken, and what is said of a mistake.

use std::path::Path;
use std::time::Duration;

use mintkeep::config::Config;
use mintkeep::oauth::authentication::CertificateSubject;
use mintkeep::oauth::client::RequestLimits;
use mintkeep::oauth::frontend::{Frontend, FrontendProof, Pages, SigningRights};
use mintkeep::oauth::secret::SecretHash;
use tempfile::TempDir;

use crate::support::tls::Identity;

const DEVELOPMENT: &str = include_str!("../../../config/development.toml");

const UID: &str = "uid = 993";
const FRONTEND: &str = r#"
[[frontend]]
name = "pages"
uid = 993
clients = ["billing-service"]
login_url = "https://login.example.com/login?tenant=1"
"#;
const PROFILES: &str = r#"
[[signing_profile]]
name = "dex"
content = "jwt"
issuers = ["https://dex.example.com"]
max_lifetime = "10m"
prehashed_per_second = 5
[[signing_profile]]
name = "spire"
content = "jwt"
issuers = ["https://spire.example.com"]
audiences = ["a"]
max_lifetime = "5m"
keys = "created"
[[signing_profile]]
name = "raw"
content = "any"
"#;
const HASHES: [&str; 2] = [
    "1111111111111111111111111111111111111111111111111111111111111111",
    "2222222222222222222222222222222222222222222222222222222222222222",
];

fn parse_in(folder: &Path, tail: &str) -> Result<Config, String> {
    Config::parse(&folder.join("mintkeep.toml"), &format!("{DEVELOPMENT}{tail}")).map_err(|error| error.to_string())
}

fn parse(tail: &str) -> Result<Config, String> {
    parse_in(Path::new("/etc/mintkeep"), tail)
}

fn one(tail: &str) -> Frontend {
    let [frontend] = <[Frontend; 1]>::try_from(parse(tail).unwrap().frontends).unwrap();
    frontend
}

/// Checks what is said of [`FRONTEND`] with `old` replaced by `new`, and of which line: the last of `new`.
#[track_caller]
fn assert_said(old: &str, new: &str, expected: &str) {
    assert!(FRONTEND.contains(old), "{old}");
    assert_said_of(&FRONTEND.replacen(old, new, 1), new.lines().last().unwrap(), expected);
}

/// Checks what is said of `tail`, and that it is said of the last line that has `wrong`.
#[track_caller]
fn assert_said_of(tail: &str, wrong: &str, expected: &str) {
    let error = parse(tail).unwrap_err();
    assert!(error.contains(expected), "{expected:?} is not in {error}");
    let lines: Vec<&str> = tail.lines().collect();
    let line = DEVELOPMENT.matches('\n').count() + 1 + lines.iter().rposition(|line| line.contains(wrong)).unwrap();
    assert!(error.contains(&format!("/etc/mintkeep/mintkeep.toml:{line}:")), "line {line} is not in {error}");
}

#[test]
fn a_front_end_has_no_rights_that_nobody_gave_it() {
    assert!(parse("").unwrap().frontends.is_empty());
    let frontend = one("[[frontend]]\nname = \"n\"\nuid = 0\n");
    let expected = Frontend {
        name: "n".to_owned(),
        proof: FrontendProof::Uid(0),
        clients: Vec::new(),
        pages: Pages::default(),
        signing: SigningRights::default(),
        limits: RequestLimits::default(),
    };
    assert_eq!(frontend, expected);
    assert_eq!(expected.signing.profiles, [""; 0]);
    assert!(!expected.signing.prehashed && !expected.signing.creates_keys);
}

#[test]
fn all_that_is_said_of_a_front_end_is_taken() {
    let frontend = one(&format!(
        "{PROFILES}{FRONTEND}device_url = \"http://127.0.0.1:3000/device\"\nlogout_url = \"http://localhost/out\"\n\
         profiles = [\"dex\", \"spire\"]\nissuers = \"https://dex.example.com\"\naudiences = [\"a\", \"b\"]\nmax_lifetime = \"5m\"\n\
         prehashed = true\ncreates_keys = true\nrequests_per_second = 7\nconcurrent_requests = 3\n"
    ));
    assert_eq!(frontend.clients, ["billing-service"]);
    assert_eq!(frontend.pages.login.unwrap().as_str(), "https://login.example.com/login?tenant=1");
    assert_eq!(frontend.pages.device.unwrap().as_str(), "http://127.0.0.1:3000/device");
    assert_eq!(frontend.pages.logout.unwrap().as_str(), "http://localhost/out");
    assert_eq!(frontend.signing.issuers.as_deref(), Some(&["https://dex.example.com".to_owned()][..]));
    assert_eq!(frontend.signing.audiences.as_deref(), Some(&["a".to_owned(), "b".to_owned()][..]));
    assert_eq!(frontend.signing.max_lifetime, Some(Duration::from_secs(300)));
    assert!(frontend.signing.prehashed && frontend.signing.creates_keys);
    assert_eq!((frontend.limits.per_second.unwrap().get(), frontend.limits.concurrent.unwrap().get()), (7, 3));
}

#[test]
fn a_front_end_proves_itself_in_exactly_one_way() {
    let proof = |lines: &str| one(&format!("[[frontend]]\nname = \"n\"\n{lines}\n")).proof;
    let [first, second] = HASHES;
    let hashes = HASHES.map(|hash| SecretHash::from_hexadecimal(hash).unwrap());
    assert_eq!(proof(&format!("token_sha256 = \"{first}\"")), FrontendProof::Token { hashes: vec![hashes[0]] });
    let both = proof(&format!("token_sha256 = [\"{first}\", \"{second}\"]"));
    assert_eq!(both, FrontendProof::Token { hashes: hashes.to_vec() });
    let subject = CertificateSubject::Dns("login.example.com".to_owned());
    assert_eq!(proof("tls_client_auth_san_dns = \"login.example.com\""), FrontendProof::Certificate { subject });
    let token = format!("token_sha256 = \"{first}\"");
    for (wrong, all) in [
        ("name", ""),
        ("name", "uid = 1\ntls_client_auth_san_dns = \"a\""),
        ("name", &format!("uid = 1\n{token}")),
        ("name", &format!("certificates = \"c.pem\"\n{token}")),
        ("name", "tls_client_auth_san_dns = \"a\"\ntls_client_auth_subject_dn = \"CN=a\""),
    ] {
        assert_said_of(&format!("[[frontend]]\nname = \"n\"\n{all}\n"), wrong, "expected exactly one proof");
    }
    let said = |lines: &str| parse(&format!("[[frontend]]\nname = \"n\"\n{lines}\n")).unwrap_err();
    assert!(said("token_sha256 = []").contains("expected token_sha256"));
    let error = said("token_sha256 = \"mks_this-is-the-token-itself\"");
    assert!(error.contains("64 hexadecimal digits") && !error.contains("itself"), "{error}");
    assert!(said("uid = -1").contains("expected u32"), "{}", said("uid = -1"));
}

#[test]
fn certificates_are_read_from_a_file() {
    let folder = TempDir::new().unwrap();
    let identity = Identity::self_signed("localhost");
    std::fs::write(folder.path().join("c.pem"), &identity.certificate_pem).unwrap();
    let table = "[[frontend]]\nname = \"n\"\ncertificates = \"c.pem\"\n";
    let proof = &parse_in(folder.path(), table).unwrap().frontends[0].proof;
    let FrontendProof::SelfSignedCertificate { certificates } = proof else { panic!("{proof:?}") };
    assert_eq!(certificates.len(), 1);
    std::fs::write(folder.path().join("c.pem"), "").unwrap();
    assert!(parse_in(folder.path(), table).unwrap_err().contains("expected a certificate in"));
    assert!(parse(table).unwrap_err().contains("cannot read /etc/mintkeep/c.pem"));
}

#[test]
fn no_two_front_ends_can_be_taken_for_each_other() {
    let [first, second] = HASHES;
    let pair = |one: &str, other: &str| {
        format!("[[frontend]]\nname = \"one\"\n{one}\n[[frontend]]\nname = \"other\"\n{other}\n")
    };
    let same = "proves itself in the same way";
    assert_said_of(&pair("uid = 1", "uid = 1"), "\"other\"", same);
    let both = format!("token_sha256 = [\"{first}\", \"{second}\"]");
    assert_said_of(&pair(&both, &format!("token_sha256 = \"{second}\"")), "\"other\"", same);
    let name = "tls_client_auth_san_uri = \"spiffe://a/b\"";
    assert_said_of(&pair(name, name), "\"other\"", same);
    assert!(parse(&pair("uid = 1", "uid = 2")).is_ok());
    let twice = pair("uid = 1", "uid = 2").replace("\"other\"", "\"one\"");
    assert_said_of(&twice, "\"one\"", "another front-end has the name \"one\" already");
    let client = "clients = [\"billing-service\"]";
    let shared = pair(&format!("uid = 1\n{client}"), &format!("uid = 2\n{client}"));
    assert_said_of(&shared, client, "the client \"billing-service\" is one of the front-end \"one\" already");
}

#[test]
fn a_mistake_says_its_line_and_what_was_expected() {
    assert_said("[\"billing-service\"]", "[\"billing-servise\"]", "no client has the id \"billing-servise\"; did you");
    let twice = "[\"billing-service\", \"billing-service\"]";
    assert_said("[\"billing-service\"]", twice, "is one of the front-end \"pages\" already");
    let without_clients = FRONTEND.replacen("clients = [\"billing-service\"]\n", "", 1);
    assert_said_of(&without_clients, "name =", "expected clients too, or no login_url, device_url and logout_url");
    for name in ["", "a b", "a/b", "\u{e4}", &"x".repeat(65)] {
        assert_said("\"pages\"", &format!("\"{name}\""), "expected a name of 1 to 64 letters, digits, dots");
    }
    for url in [
        "http://login.example.com/",
        "https://ada@login.example.com/",
        "https://:secret@login.example.com/",
        "https://login.example.com/#top",
        "javascript:alert(1)",
        "/login",
        "http://127.0.0.1.example.com/",
    ] {
        assert_said("https://login.example.com/login?tenant=1", url, "expected an https URL without user and fragment");
    }
    for setting in
        ["issuers = \"a\"", "audiences = \"a\"", "max_lifetime = \"5m\"", "prehashed = false", "creates_keys = true"]
    {
        assert_said(UID, &format!("{UID}\n{setting}"), "expected profiles too, or not this");
    }
    assert_said(UID, &format!("{UID}\nrequests_per_second = 0"), "expected a nonzero u32");
    assert_said(UID, &format!("{UID}\nlogin_uri = 1"), "did you mean `login_url`?");
}

#[test]
fn rights_are_within_the_profiles() {
    let said = |lines: &str, wrong: &str, expected: &str| {
        assert_said_of(&format!("{PROFILES}{FRONTEND}{lines}\n"), wrong, expected);
    };
    said("profiles = [\"dix\"]", "dix", "no signing profile has the name \"dix\"; did you mean \"dex\"?");
    said("profiles = [\"dex\", \"raw\"]\nissuers = \"https://dex.example.com\"", "issuers", "raw signs anything");
    said("profiles = [\"dex\"]\nissuers = []", "issuers", "expected at least one value");
    said("profiles = [\"dex\"]\naudiences = [\"a\", \"\"]", "audiences", "expected at least one value");
    let further = "allows \"https://spire.example.com\"; nothing here extends a profile";
    said("profiles = [\"dex\"]\nissuers = [\"https://spire.example.com\"]", "issuers", further);
    said("profiles = [\"spire\"]\naudiences = [\"b\"]", "audiences", "allows \"b\"");
    said("profiles = [\"spire\"]\nmax_lifetime = \"6m\"", "max_lifetime", "expected at the most \"5m\"");
    said(
        "profiles = [\"spire\", \"raw\"]\nprehashed = true",
        "prehashed",
        "no profile of this front-end signs digests",
    );
    let created = "no profile of this front-end has keys that are created";
    said("profiles = [\"dex\", \"raw\"]\ncreates_keys = true", "creates_keys", created);
    let taken = |lines: &str| one(&format!("{PROFILES}{FRONTEND}{lines}\n")).signing;
    assert!(taken("profiles = [\"raw\", \"dex\"]\nprehashed = true").prehashed);
    assert!(!taken("profiles = [\"raw\"]\nprehashed = false").prehashed);
    // One profile allows it, and the keeper holds the other to its own.
    assert!(taken("profiles = [\"dex\", \"spire\"]\naudiences = \"b\"\nmax_lifetime = \"10m\"").audiences.is_some());
}

#[test]
fn limits_that_digests_get_around_are_warned_of() {
    let warnings =
        |lines: &str| parse(&format!("{PROFILES}{FRONTEND}profiles = [\"dex\"]\n{lines}\n")).unwrap().warnings();
    assert_eq!(warnings("prehashed = true"), [""; 0]);
    assert_eq!(warnings("max_lifetime = \"1m\""), [""; 0]);
    let both = warnings("prehashed = true\nmax_lifetime = \"1m\"");
    assert!(both[0].contains("\"pages\" may have digests signed, and nobody sees"), "{both:?}");
}

#[test]
fn the_listener_of_front_ends_keeps_tokens_out_of_the_clear() {
    let listen = |lines: &str| {
        let text = DEVELOPMENT.replacen("[hardware.softhsm]", &format!("{lines}\n[hardware.softhsm]"), 1);
        let line = |text: &str| text.lines().position(|line| line == "[listen.frontend]").map_or(0, |line| line + 1);
        let parsed = Config::parse(Path::new("/etc/mintkeep/mintkeep.toml"), &text);
        (parsed.map_err(|error| error.to_string()), line(&text))
    };
    let tls = "[listen.frontend.tls]\ncertificate = \"c.pem\"\nkey = \"k.pem\"";
    assert!(listen("").0.unwrap().listen.frontend.is_none());
    let both = listen("[listen.frontend]\nsocket = \"f.sock\"\naddress = \"[::1]:0\"").0.unwrap();
    let both = both.listen.frontend.unwrap();
    assert_eq!(both.socket.unwrap(), Path::new("/etc/mintkeep/f.sock"));
    assert!(both.address.unwrap().ip().is_loopback() && both.tls.is_none());
    let open =
        listen(&format!("[listen.frontend]\naddress = \"0.0.0.0:0\"\n{tls}")).0.unwrap().listen.frontend.unwrap();
    assert_eq!(open.tls.unwrap().table, "listen.frontend.tls");
    for (further, lines, expected) in [
        (0, "[listen.frontend]", "expected socket, address or both"),
        (1, "[listen.frontend]\naddress = \"0.0.0.0:1\"", "expected a loopback address, such as \"127.0.0.1:8081\""),
        (2, &format!("[listen.frontend]\nsocket = \"f.sock\"\n{tls}"), "TLS is for listen.frontend.address"),
    ] {
        let (parsed, line) = listen(lines);
        let error = parsed.unwrap_err();
        assert!(error.contains(expected), "{expected:?} is not in {error}");
        assert!(
            error.contains(&format!("mintkeep.toml:{}:", line + further)),
            "line {line}+{further} is not in {error}"
        );
    }
}

#[test]
fn a_front_end_that_has_no_way_to_prove_itself_is_warned_of() {
    let [hash, _] = HASHES;
    let warnings = |lines: &str| parse(&format!("[[frontend]]\nname = \"n\"\n{lines}\n")).unwrap().warnings();
    assert_eq!(warnings("uid = 1"), [""; 0]);
    let token = warnings(&format!("token_sha256 = \"{hash}\""));
    assert_eq!(token, ["the front-end \"n\" has no listener to prove itself at; it needs [listen.frontend]"]);
    let certificate = warnings("tls_client_auth_san_dns = \"a\"");
    assert!(certificate[0].contains("[listen.frontend.tls] with client_certificates"), "{certificate:?}");
}
