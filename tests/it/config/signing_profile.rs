//! What front-ends may have signed, as it is configured.

use std::num::NonZeroU32;
use std::path::Path;
use std::time::Duration;

use mintkeep::config::Config;
use mintkeep::hardware::{KeyName, ProfileKeys, Role};
use mintkeep::keeper::policy::{Content, DelegatedKeys, DelegatedProfile};

use super::mistakes::assert_said;

fn example() -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("config/mintkeep.toml");
    let text = std::fs::read_to_string(path).unwrap();
    let (_, part) = text.split_once("# --- Signing for front-ends ---").unwrap();
    let (part, _) = part.split_once("# --- Tokens ---").unwrap();
    let lines: Vec<&str> = part.lines().filter_map(|line| line.strip_prefix("#   ")).collect();
    lines.join("\n")
}

fn parsed(tables: &str) -> Config {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("config/development.toml");
    let text = format!("{}\n{tables}", std::fs::read_to_string(&path).unwrap());
    Config::parse(&path, &text).unwrap()
}

/// The profile that the example describes. What it says of the defaults is so.
#[test]
fn the_signing_profile_of_the_production_example_is_one() {
    assert_eq!(parsed("").signing_profiles, []);
    let config = parsed(&example());
    let name = KeyName::parse("kubernetes").unwrap();
    let texts = |texts: &[&str]| texts.iter().map(|&text| text.to_owned()).collect::<Vec<_>>();
    let content = Content::Jwt {
        issuers: texts(&["https://kubernetes.example.com"]),
        audiences: Some(texts(&["https://kubernetes.example.com", "vault"])),
        types: texts(&["JWT"]),
        max_lifetime: Duration::from_secs(3600),
    };
    let prehashed_per_second = NonZeroU32::new(50);
    let profile = DelegatedProfile { name, content, prehashed_per_second, keys: DelegatedKeys::One };
    assert_eq!(config.signing_profiles, std::slice::from_ref(&profile));
    let schedule = config.keys.of(Role::Delegated(name)).unwrap();
    assert_eq!(schedule.publish_ahead, Duration::from_secs(3600));
    assert_eq!(schedule.needed_for, Duration::from_secs(3600 + 300), "and a caller may name it after it was retired");
    let keys = config.keys.delegated[0].keys;
    assert_eq!(keys, ProfileKeys { profile: name, keys: DelegatedKeys::One });
    assert_eq!(config.hardware[0].label(Role::Delegated(name)), "mintkeep-delegated:kubernetes");
    let is_default =
        |line: &&str| ["types", "max_lifetime", "keys", "publish_ahead"].iter().any(|name| line.starts_with(name));
    let text = example();
    let required: Vec<&str> = text.lines().filter(|line| !is_default(line)).collect();
    let again = parsed(&required.join("\n"));
    assert_eq!((again.signing_profiles, again.keys), (config.signing_profiles, config.keys));
}

#[test]
fn a_mistake_in_a_signing_profile_says_what_was_expected() {
    let said = |lines: &str, expected: &str| {
        // The first of these lines is the wrong one.
        assert_said("[store]", &format!("[[signing_profile]]\n{lines}\n[store]"), expected);
    };
    let jwt = "name = \"dex\"\ncontent = \"jwt\"\nissuers = [\"https://dex.example.com\"]";
    let any = "name = \"dex\"\ncontent = \"any\"";
    let content = "\ncontent = \"any\"";
    for name in ["", "a/b", "a b", "a:b", &"x".repeat(65)] {
        said(&format!("name = \"{name}\"{content}"), "names no signing profile; expected 1 to 64 characters");
    }
    for name in ["access-token", "token-introspection", "id-token", "logout-token"] {
        said(&format!("name = \"{name}\"{content}"), "is the profile of what mintkeep makes itself");
    }
    said("content = \"jwts\"\nname = \"dex\"", "did you mean `jwt`?");
    said("keys = \"create\"\nname = \"dex\"\ncontent = \"any\"", "did you mean `created`?");
    said("name = \"dex\"\ncontent = \"jwt\"", "needs issuers: the `iss` that it may sign");
    for setting in ["issuers", "audiences", "types"] {
        said(&format!("{setting} = [\"a\"]\n{any}"), "content = \"any\" is not looked at");
        said(
            &format!("{setting} = []\n{}", jwt.replace("issuers", if setting == "issuers" { "#" } else { "issuers" })),
            "expected a list of one or more",
        );
    }
    said(&format!("audiences = [\"\"]\n{jwt}"), "none of them empty");
    said(&format!("max_lifetime = \"367d\"\n{jwt}"), "expected at the most \"366d\"");
    said(&format!("prehashed_per_second = 0\n{jwt}"), "expected a nonzero u32");
    said(&format!("rotate_every = \"90d\"\nkeys = \"created\"\n{any}"), "are never replaced");
    said(&format!("rotate_every = \"90m\"\n{any}"), "expected at least twice publish_ahead");
    said(&format!("publish_ahead = \"1m\"\n{any}"), "expected at least \"5m\": tokens.jwks_max_age");
    said(&format!("issuer = \"a\"\n{any}"), "did you mean `issuers`?");
    let path = Path::new("mintkeep.toml");
    let development = include_str!("../../../config/development.toml");
    let twice = format!("{development}\n[[signing_profile]]\n{any}\n[[signing_profile]]\n{any}\n");
    let error = Config::parse(path, &twice).unwrap_err().to_string();
    assert!(error.contains("another signing profile has the id \"dex\" already"), "{error}");
}
