//! The seeds of the fuzz targets: those called `good…` are taken, the others are refused, and none breaks a rule.
//! `make fuzz` goes on from them.

use std::fs;
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};
use std::time::Duration;

use mintkeep::hardware::{DelegatedKey, DeviceKeys, Fault, KeyName, Role, SealingKey};
use mintkeep::jose::jwe::KeyManagement;
use mintkeep::jose::jwk::P256PublicKey;
use mintkeep::keeper::policy::{ClaimRules, Content, DelegatedKeys, DelegatedProfile, Profile};
use mintkeep::keeper::wire::{Greeting, PREAMBLE, PublicKeys, Refusal, Reply, Request, StartFailure, append_frame};
use serde::Serialize;

#[path = "../../fuzz/src/lib.rs"]
mod targets;

type Target = fn(&[u8]) -> bool;

const TARGETS: [(&str, Target); 9] = [
    ("form", targets::form::run),
    ("jws", targets::jws::run),
    ("dpop", targets::dpop::run),
    ("assertion", targets::assertion::run),
    ("policy", targets::policy::run),
    ("trust", targets::trust::run),
    ("frames", targets::frames::run),
    ("certificate", targets::certificate::run),
    ("redirect", targets::redirect::run),
];

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz").join(name)
}

fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut names: Vec<String> =
        entries.map(|entry| entry.unwrap().file_name().into_string().expect("a name in UTF-8")).collect();
    names.sort();
    names
}

#[test]
fn every_target_has_seeds_that_are_taken_and_none_breaks_a_rule() {
    for (target, run) in TARGETS {
        let seeds = folder("seeds").join(target);
        let names = names(&seeds);
        for is_good in [true, false] {
            assert!(names.iter().any(|name| name.starts_with("good") == is_good), "{target}: {names:?}");
        }
        for name in names {
            assert_eq!(run(&fs::read(seeds.join(&name)).unwrap()), name.starts_with("good"), "{target}/{name}");
        }
    }
}

#[test]
fn every_target_is_built_and_has_its_seeds() {
    let mut expected: Vec<String> = TARGETS.map(|(target, _)| target.to_owned()).to_vec();
    expected.sort();
    assert_eq!(names(&folder("seeds")), expected);
    let files: Vec<String> = expected.iter().map(|target| format!("{target}.rs")).collect();
    assert_eq!(names(&folder("fuzz_targets")), files);
    let manifest = fs::read_to_string(folder("Cargo.toml")).unwrap();
    for target in &expected {
        assert!(manifest.contains(&format!("name = \"{target}\"\npath = \"fuzz_targets/{target}.rs\"")), "{target}");
        let text = fs::read_to_string(folder("fuzz_targets").join(format!("{target}.rs"))).unwrap();
        assert!(text.contains(&format!("mintkeep_fuzz::{target}::run")), "{target} fuzzes another");
    }
}

/// Bytes of an older version of the protocol would end at its preamble.
#[test]
fn the_seeds_of_frames_are_what_mint_and_keeper_say_now() {
    for (name, expected) in
        [("good-requests", requests()), ("good-replies", replies()), ("good-greetings", greetings())]
    {
        let path = folder("seeds/frames").join(name);
        if std::env::var_os("MINTKEEP_WRITE_SEEDS").is_some() {
            fs::write(&path, &expected).unwrap();
        }
        let is_up_to_date = fs::read(&path).is_ok_and(|found| found == expected);
        assert!(is_up_to_date, "{name}: pass this test once with MINTKEEP_WRITE_SEEDS=1, and commit");
    }
}

fn conversation<Message: Serialize>(messages: &[Message]) -> Vec<u8> {
    // Reads of seven bytes.
    let mut bytes = vec![7];
    bytes.extend(PREAMBLE);
    for (id, message) in (1..).zip(messages) {
        append_frame(&mut bytes, id, 5000, message).unwrap();
    }
    bytes
}

fn requests() -> Vec<u8> {
    let (client, kid) = ("robot", "key-1");
    let epk = P256PublicKey::from_uncompressed(&[4; 65]).unwrap();
    let open = |key_management| Request::Open {
        client,
        kid,
        key_management,
        nonce: [1; 12],
        aad: b"header",
        ciphertext_and_tag: &[2; 20],
    };
    conversation(&[
        Request::Sign { client, kid, profile: "access-token", signing_input: b"e30.e30" },
        Request::Seal { client, kid, aad: b"header", plaintext: b"content" },
        open(KeyManagement::Direct),
        open(KeyManagement::EcdhEs { epk }),
        Request::PublicKeys,
        Request::LookAgain,
        Request::Generate { role: Role::Signing },
        Request::Generate { role: Role::Delegated(KeyName::parse("spire/x509").unwrap()) },
        Request::SignDigest { client, kid, profile: "dex", digest: [4; 32] },
        Request::Destroy { kid },
        Request::Attest { kid, nonce: &[3; 32] },
        Request::Health,
        Request::Cancel,
    ])
}

fn replies() -> Vec<u8> {
    let key = P256PublicKey::from_uncompressed(&[4; 65]).unwrap();
    let sealing = vec![SealingKey::Direct("key-1".to_owned()), SealingKey::EcdhEs(key)];
    let profile = |name: &str, rules| Profile {
        name: name.to_owned(),
        issuer: "https://mint.example.com".to_owned(),
        typ: "at+jwt".to_owned(),
        rules,
    };
    let access_token = ClaimRules::AccessToken { max_lifetime: Duration::from_secs(300) };
    let profiles = vec![profile("access-token", access_token), profile("introspection", ClaimRules::Introspection)];
    let name = KeyName::parse("dex").unwrap();
    let delegated_profiles = vec![DelegatedProfile {
        name,
        content: Content::Jwt {
            issuers: vec!["https://dex.example.com".to_owned()],
            audiences: None,
            types: vec!["JWT".to_owned()],
            max_lifetime: Duration::from_secs(300),
        },
        prehashed_per_second: NonZeroU32::new(10),
        keys: DelegatedKeys::One,
    }];
    let text = || "what went wrong".to_owned();
    let refusals = [
        Refusal::Policy(text()),
        Refusal::Busy,
        Refusal::TooLate,
        Refusal::UnknownKey(text()),
        Refusal::NotAuthentic,
        Refusal::Hardware(Fault::SessionLost, text()),
        Refusal::Malformed,
    ];
    let mut replies = vec![
        Reply::Signature([9; 64]),
        Reply::Sealed { nonce: [1; 12], ciphertext_and_tag: vec![2; 20] },
        Reply::Opened(b"content".to_vec()),
        Reply::PublicKeys(PublicKeys {
            device: "hsm".to_owned(),
            keys: DeviceKeys { signing: vec![key], sealing, delegated: vec![DelegatedKey { name, public_key: key }] },
            profiles,
            delegated_profiles,
        }),
        Reply::Attestation(b"{}".to_vec()),
        Reply::Healthy,
    ];
    replies.extend(refusals.map(Reply::Refused));
    conversation(&replies)
}

fn greetings() -> Vec<u8> {
    let failure = StartFailure { message: "the PIN is wrong".to_owned(), is_final: true };
    conversation(&[Greeting::LoggingIn, Greeting::LoggedIn, Greeting::Ready, Greeting::Failed(failure)])
}
