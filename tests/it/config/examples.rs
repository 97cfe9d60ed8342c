//! The examples in `config/` are configurations that work.

use std::path::Path;

#[cfg(feature = "tpm")]
use mintkeep::config::Hardware;
use mintkeep::config::{Config, StoreLocation};
#[cfg(feature = "tpm")]
use mintkeep::hardware::tpm::Protection;
use mintkeep::http::tls::ClientCertificates;
use mintkeep::oauth::registration::RegistrationRules;
use mintkeep::secret_source::SecretSource;

fn load(name: &str) -> Config {
    // The production example names users that a test machine need not have.
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("config").join(name);
    let text = std::fs::read_to_string(&path).unwrap();
    let text = text.replace("\"mintkeep-keeper\"", "\"nobody\"").replace("\"mintkeep\"\n", "\"daemon\"\n");
    Config::parse(&path, &text).unwrap()
}

#[test]
fn the_development_example_is_parsed() {
    let config = load("development.toml");
    assert_eq!(config.clients.len(), 2);
}

#[test]
fn what_a_development_mint_adds_to_it_is_parsed() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("config/development.toml");
    let [base, workloads, frontends] = ["development", "development-workloads", "development-frontends"]
        .map(|name| std::fs::read_to_string(path.with_file_name(format!("{name}.toml"))).unwrap());
    let listen = "[listen.frontend]\naddress = \"127.0.0.1:8081\"\n";
    // The tokens are different where it runs.
    let frontends = frontends.replacen("0000", "1111", 1);
    let config = Config::parse(&path, &(base + &workloads + &frontends + listen)).unwrap();
    assert_eq!((config.clients.len(), config.frontends.len(), config.signing_profiles.len()), (5, 3, 4));
    assert_eq!(config.trust.named("deploy-from-main").unwrap().audience, config.issuer.as_str());
    assert_eq!(config.warnings(), Vec::<String>::new());
}

#[test]
fn the_production_example_is_parsed() {
    let config = load("mintkeep.toml");
    assert!(config.issuer.as_str().starts_with("https://"));
    assert!(config.clients.len() >= 2);
    // As its comment says.
    assert_eq!(config.logins_per_source.get(), 600);
}

/// Each of the front-ends that the README has settings for, beside the rest of the example.
#[test]
fn the_front_ends_of_the_readme_are_parsed() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"));
    let readme = std::fs::read_to_string(folder.join("README.md")).unwrap();
    let path = folder.join("config/development.toml");
    let base = std::fs::read_to_string(&path).unwrap();
    for (mark, profiles, digests) in
        [("front-end", 0, false), ("dex", 1, true), ("spire", 1, true), ("kubernetes", 1, false)]
    {
        let text = readme.split(&format!("<!-- {mark} -->")).nth(1).unwrap_or_else(|| panic!("no {mark}"));
        let settings = text.split("```toml\n").nth(1).unwrap().split("```").next().unwrap();
        let config =
            Config::parse(&path, &format!("{base}\n{settings}")).unwrap_or_else(|error| panic!("{mark}: {error}"));
        assert_eq!((config.frontends.len(), config.signing_profiles.len()), (1, profiles), "{mark}");
        assert_eq!(config.frontends[0].signing.prehashed, digests, "{mark}");
        assert_eq!(config.warnings(), Vec::<String>::new(), "{mark}");
    }
}

/// The store that the example describes as the other one.
#[test]
fn the_cluster_store_of_the_production_example_is_one() {
    let text = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("config/mintkeep.toml")).unwrap();
    let other = |name| text.lines().find_map(|line| line.strip_prefix("#   ").filter(|line| line.starts_with(name)));
    let (url, password) = (other("url").unwrap(), other("password").unwrap());
    let text = format!(
        "issuer = \"https://mint.example.com\"\n[listen]\npublic = \"127.0.0.1:0\"\nadmin = \"a\"\n[hardware.hsm]\nkind = \"pkcs11\"\nmodule = \"m\"\ntoken = {{ label = \"t\" }}\npin = {{ file = \"p\" }}\n[store]\n{url}\n{password}\n"
    );
    let config = Config::parse(Path::new("mintkeep.toml"), &text).unwrap();
    let StoreLocation::Postgres(database) = &config.store else { panic!("{:?}", config.store) };
    assert_eq!(database.url.to_string(), "postgres://mintkeep@db1.example.com:5432,db2.example.com:5432/mintkeep");
    assert_eq!(database.password, Some(SecretSource::SystemdCredential("database-password".to_owned())));
}

/// The HTTPS that the example describes.
#[test]
fn the_tls_of_the_production_example_is_one() {
    let text = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("config/mintkeep.toml")).unwrap();
    let indented = text.lines().filter_map(|line| line.strip_prefix("#   "));
    let tls: Vec<&str> = indented.skip_while(|line| *line != "[listen.tls]").take(6).collect();
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("config/development.toml");
    let text = std::fs::read_to_string(&path).unwrap();
    let text = text.replace("[hardware.softhsm]", &format!("{}\n[hardware.softhsm]", tls.join("\n")));
    let tls = Config::parse(&path, &text).unwrap().listen.tls.unwrap();
    assert_eq!(tls.handshake_limit, std::time::Duration::from_secs(10));
    let authorities = Some("/etc/mintkeep/tls/client-ca.pem".into());
    assert_eq!(tls.client_certificates, ClientCertificates::Optional { authorities });
}

/// The device that the example describes as the other one.
#[cfg(feature = "tpm")]
#[test]
fn the_tpm_of_the_production_example_is_one() {
    let text = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("config/mintkeep.toml")).unwrap();
    let indented = text.lines().filter_map(|line| line.strip_prefix("#   "));
    let tpm: Vec<&str> = indented.skip_while(|line| *line != "[hardware.tpm]").take(7).collect();
    let text = format!(
        "issuer = \"https://mint.example.com\"\n[listen]\npublic = \"127.0.0.1:0\"\nadmin = \"a\"\n{}\n[store]\nurl = \"sqlite:s\"\n",
        tpm.join("\n")
    );
    let config = Config::parse(Path::new("mintkeep.toml"), &text).unwrap();
    let [Hardware::Tpm(tpm)] = &config.hardware[..] else { panic!("{:?}", config.hardware) };
    assert_eq!(tpm.device.tcti, "device:/dev/tpmrm0");
    assert_eq!(tpm.device.authorization, SecretSource::SystemdCredential("tpm-auth".to_owned()));
    assert_eq!(tpm.device.protection, Protection::Encrypted);
    assert_eq!(tpm.device.persistent_handles.unwrap().to_string(), "0x81100000-0x8110001f");
}

/// The trust that the example describes and, because whoever is in it gets in, does not have.
#[test]
fn the_trust_of_the_production_example_is_some() {
    assert!(load("mintkeep.toml").trust.is_empty());
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("config/mintkeep.toml");
    let text = std::fs::read_to_string(&path).unwrap();
    let (before, trust) = text.split_once("# --- Trust ---").unwrap();
    let trust: Vec<&str> = trust.lines().filter_map(|line| line.strip_prefix("#   ")).collect();
    let text = format!("{before}\n{}", trust.join("\n"));
    let text = text.replace("\"mintkeep-keeper\"", "\"nobody\"").replace("\"mintkeep\"\n", "\"daemon\"\n");
    let config = Config::parse(&path, &text).unwrap();
    let names: Vec<&str> = config.trust.iter().map(|policy| policy.name.as_str()).collect();
    assert_eq!(names, ["deploy-from-main", "deployer-pod"]);
    assert_eq!(config.trusted_issuers.len(), 2);
    assert_eq!(config.warnings(), [""; 0]);
}

/// The front-end that the example describes, and the listener, with one of the proofs at a time.
#[test]
fn the_front_end_of_the_production_example_is_one() {
    let text = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("config/mintkeep.toml")).unwrap();
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("config/development.toml");
    let development = std::fs::read_to_string(&path).unwrap();
    let indented: Vec<&str> = text.lines().filter_map(|line| line.strip_prefix("#   ")).collect();
    let of_table = |name: &'static str| indented.iter().skip_while(move |line| **line != name).copied();
    let listen: Vec<&str> = of_table("[listen.frontend]").take(9).collect();
    let profile: Vec<&str> = of_table("[[signing_profile]]").take(11).collect();
    let frontend: Vec<&str> = of_table("[[frontend]]").take_while(|line| *line != "[[trust]]").collect();
    let is_proof = |line: &&&str| {
        ["uid", "token_sha256", "tls_client_auth", "certificates"].iter().any(|name| line.starts_with(name))
    };
    let proofs: Vec<&&str> =
        frontend.iter().filter(is_proof).filter(|line| !line.starts_with("certificates")).collect();
    assert_eq!(proofs.len(), 7);
    for proof in proofs {
        let rest = frontend.iter().filter(|line| !is_proof(line)).copied();
        let rest: Vec<&str> = rest.chain([*proof]).collect();
        let text = development.replace("[hardware.softhsm]", &format!("{}\n[hardware.softhsm]", listen.join("\n")));
        let config = Config::parse(&path, &format!("{text}\n{}\n{}", profile.join("\n"), rest.join("\n"))).unwrap();
        assert_eq!(config.warnings(), [""; 0]);
        let [frontend] = &config.frontends[..] else { panic!("{:?}", config.frontends) };
        assert_eq!(frontend.signing.max_lifetime, Some(std::time::Duration::from_secs(300)));
        assert!(config.listen.frontend.unwrap().tls.is_some());
    }
}

/// The registration that the example describes and, because whoever has the token gets in, does not have.
#[test]
fn the_registration_of_the_production_example_is_one() {
    assert!(load("mintkeep.toml").registration.is_none());
    let text = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("config/mintkeep.toml")).unwrap();
    let indented = text.lines().filter_map(|line| line.strip_prefix("#   "));
    let registration: Vec<&str> = indented.skip_while(|line| *line != "[registration]").take(10).collect();
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("config/development.toml");
    let parsed = |registration: &[&str]| {
        let text = format!("{}\n{}", std::fs::read_to_string(&path).unwrap(), registration.join("\n"));
        Config::parse(&path, &text).unwrap().registration.unwrap()
    };
    let all = parsed(&registration);
    assert_eq!(all.lifetime, Some(std::time::Duration::from_secs(30 * 24 * 60 * 60)));
    // What it says of the defaults is so.
    let is_required = |line: &&str| ["[", "initial", "scope", "audience"].iter().any(|name| line.starts_with(name));
    let required: Vec<&str> = registration.into_iter().filter(is_required).collect();
    assert_eq!(format!("{:?}", parsed(&required)), format!("{:?}", RegistrationRules { lifetime: None, ..all }));
}

/// What is commented out is right too: each line that looks like a setting is one, with its default.
#[test]
fn every_setting_of_the_production_example_is_one() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("config/mintkeep.toml");
    let text = std::fs::read_to_string(&path).unwrap();
    let mut settings = 0;
    let uncommented: Vec<&str> = text
        .lines()
        .map(|line| match line.strip_prefix("#") {
            Some(setting) if !setting.starts_with(' ') && setting.contains(" = ") => {
                settings += 1;
                setting
            }
            _ => line,
        })
        .collect();
    assert!(settings > 10, "{settings} settings are commented out");
    let text =
        uncommented.join("\n").replace("\"mintkeep-keeper\"", "\"nobody\"").replace("\"mintkeep\"\n", "\"daemon\"\n");
    Config::parse(&path, &text).unwrap();
}
