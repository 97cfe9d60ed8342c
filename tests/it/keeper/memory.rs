//! The memory proof: no key and no PIN is ever in the memory of the process that talks to the network.

use std::fs::{self, File};
use std::os::unix::fs::FileExt as _;
use std::process::Command;

use p256::SecretKey;
use p256::pkcs8::EncodePrivateKey as _;
use toml_edit::value;

use crate::support::Deployment;
use crate::support::process::succeed;

const EXCHANGES: usize = 1000;
const SCALAR: [u8; 32] = *b"\x3emintkeep's known P-256 scalar \x51";
const AES_KEY: [u8; 32] = *b"\x9cmintkeep's known AES-256 key: \xe4";

#[test]
fn a_thousand_exchanges_leave_neither_key_nor_pin_in_the_mint() {
    let deployment = deployment_with_known_keys();
    let mint = deployment.serve();
    let mut token = deployment.grant();
    for exchange in 0..EXCHANGES {
        if exchange % 2 == 0 {
            token = mint.refresh(&token).text("refresh_token");
        } else {
            mint.client_credentials().text("access_token");
        }
    }
    let reversed: Vec<u8> = SCALAR.iter().rev().copied().collect();
    let pin = deployment.pin();
    let in_mint = Memory::of(mint.pid());
    let in_keeper = Memory::of(mint.keeper_pid());
    // The search works: what is known to be in a process is found in it.
    assert!(in_mint.holds(token.rsplit('.').next().unwrap().as_bytes()), "the token that the mint sent last");
    assert!(in_keeper.holds(&SCALAR) || in_keeper.holds(&reversed), "SoftHSM2 decrypts the signing key in the keeper");
    assert!(in_keeper.holds(&AES_KEY), "SoftHSM2 decrypts the sealing key in the keeper");
    for (secret, name) in [
        (&SCALAR[..], "the signing key"),
        // As OpenSSL and others hold numbers: the least significant limb first.
        (&reversed, "the signing key, least significant byte first"),
        (&AES_KEY, "the sealing key"),
        (pin.as_bytes(), "the PIN"),
    ] {
        assert!(!in_mint.holds(secret), "{name} is in the memory of the mint");
    }
    assert!(!in_keeper.holds(pin.as_bytes()), "the PIN is still in the keeper after the login");
}

fn deployment_with_known_keys() -> Deployment {
    let deployment = Deployment::without_keys();
    let pem = SecretKey::from_slice(&SCALAR).unwrap().to_pkcs8_pem(Default::default()).unwrap();
    fs::write(deployment.path("key.pem"), pem.as_bytes()).unwrap();
    fs::write(deployment.path("key.aes"), AES_KEY).unwrap();
    for (file, aes, label, id) in
        [("key.pem", None, "mintkeep-signing", "0a"), ("key.aes", Some("--aes"), "mintkeep-sealing", "0b")]
    {
        succeed(
            Command::new("softhsm2-util")
                .env("SOFTHSM2_CONF", deployment.path("softhsm/softhsm2.conf"))
                .arg("--import")
                .arg(deployment.path(file))
                .args(aes)
                .args(["--token", "mintkeep", "--label", label, "--id", id, "--pin", &deployment.pin()]),
        );
    }
    deployment.edit(|config| config["hardware"]["softhsm"]["allow_imported"] = value(true));
    deployment
}

/// Every readable page of a process.
struct Memory(Vec<Vec<u8>>);

impl Memory {
    fn of(pid: u32) -> Self {
        let maps = fs::read_to_string(format!("/proc/{pid}/maps")).unwrap();
        let memory = File::open(format!("/proc/{pid}/mem")).unwrap();
        let mut regions = Vec::new();
        for line in maps.lines() {
            let mut fields = line.split_whitespace();
            let (range, permissions) = (fields.next().unwrap(), fields.next().unwrap());
            let (start, end) = range.split_once('-').unwrap();
            let (start, end) = (u64::from_str_radix(start, 16).unwrap(), u64::from_str_radix(end, 16).unwrap());
            // The kernel's own variables cannot be read through `mem`.
            if !permissions.starts_with('r') || line.ends_with("[vvar]") || line.ends_with("[vvar_vclock]") {
                continue;
            }
            let mut bytes = vec![0; usize::try_from(end - start).unwrap()];
            match memory.read_exact_at(&mut bytes, start) {
                Ok(()) => regions.push(bytes),
                Err(error) => assert!(line.ends_with("[vsyscall]"), "{line}: {error}"),
            }
        }
        let total: usize = regions.iter().map(Vec::len).sum();
        assert!(total > 4_000_000, "{total} bytes were read");
        Self(regions)
    }

    fn holds(&self, secret: &[u8]) -> bool {
        self.0.iter().any(|region| contains(region, secret))
    }
}

fn contains(region: &[u8], secret: &[u8]) -> bool {
    // By the first byte, and then by all: quick enough without a library.
    let mut rest = region;
    while let Some(start) = rest.iter().position(|byte| *byte == secret[0]) {
        rest = &rest[start..];
        if rest.starts_with(secret) {
            return true;
        }
        rest = &rest[1..];
    }
    false
}
