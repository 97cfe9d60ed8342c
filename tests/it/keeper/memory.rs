//! The memory proof: no key and no PIN is ever in the memory of the process that talks to the network.

use std::fs::{self, File};
use std::os::unix::fs::FileExt as _;
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use memchr::memmem;
use nix::sys::signal::Signal;
use p256::SecretKey;
use p256::pkcs8::EncodePrivateKey as _;
use toml_edit::value;

use crate::support::process::{signal, succeed};
use crate::support::{Deployment, RunningMint};

/// Exchanges before the search is over.
const EXCHANGES: usize = 1000;
/// Searches of each process at least, spread over the exchanges.
const SEARCHES: usize = 10;
/// Searches at the most: SoftHSM2 holds a key in the clear only while it uses it, so the keeper has to
/// be stopped at the right moment.
const PATIENCE: usize = 2000;

const SCALAR: [u8; 32] = *b"\x3emintkeep's known P-256 scalar \x51";
const AES_KEY: [u8; 32] = *b"\x9cmintkeep's known AES-256 key: \xe4";

#[test]
fn a_thousand_exchanges_leave_neither_key_nor_pin_in_the_mint() {
    let deployment = deployment_with_known_keys();
    let mint = deployment.serve();
    let tokens: Vec<String> = (0..4).map(|_| deployment.grant()).collect();
    let (keeper, pin) = (mint.keeper_pid(), deployment.pin());
    // As OpenSSL holds numbers on this machine: the least significant byte first.
    let reversed: Vec<u8> = SCALAR.iter().rev().copied().collect();
    let (exchanges, done) = (AtomicUsize::new(0), AtomicBool::new(false));
    std::thread::scope(|scope| {
        for token in tokens {
            scope.spawn(|| exchange(&mint, token, &exchanges, &done));
        }
        // Also where an assertion fails: the exchanges have to end.
        let _end = SetOnDrop(&done);
        let (mut scalar_seen, mut aes_key_seen, mut searches) = (false, false, 0);
        while !scalar_seen || !aes_key_seen || searches < SEARCHES || exchanges.load(Ordering::Relaxed) < EXCHANGES {
            let in_mint = Memory::of_stopped(mint.pid());
            for (secret, name) in [
                (&SCALAR[..], "the signing key"),
                (&reversed, "the signing key, least significant byte first"),
                (&AES_KEY, "the sealing key"),
                (pin.as_bytes(), "the PIN"),
            ] {
                assert!(!in_mint.holds(secret), "{name} is in the memory of the mint");
            }
            searches += 1;
            // The keeper closes its memory to all but root.
            if !nix::unistd::Uid::effective().is_root() {
                assert!(File::open(format!("/proc/{keeper}/mem")).is_err());
                (scalar_seen, aes_key_seen) = (true, true);
                continue;
            }
            // The positive control: the same search finds the same keys where they are.
            let in_keeper = Memory::of_stopped(keeper);
            scalar_seen |= in_keeper.holds(&SCALAR) || in_keeper.holds(&reversed);
            aes_key_seen |= in_keeper.holds(&AES_KEY);
            assert!(!in_keeper.holds(pin.as_bytes()), "the PIN is still in the keeper after the login");
            assert!(searches < PATIENCE, "seen in the keeper: scalar {scalar_seen}, AES key {aes_key_seen}");
        }
        println!("{searches} searches, {} exchanges", exchanges.load(Ordering::Relaxed));
    });
    // And the search finds what is known to be in the mint.
    let token = mint.client_credentials().text("access_token");
    let claims = token.split('.').nth(1).unwrap();
    assert!(Memory::of_stopped(mint.pid()).holds(&claims.as_bytes()[..40]));
}

fn exchange(mint: &RunningMint, mut token: String, exchanges: &AtomicUsize, done: &AtomicBool) {
    while !done.load(Ordering::Relaxed) {
        token = mint.refresh(&token).text("refresh_token");
        exchanges.fetch_add(1, Ordering::Relaxed);
    }
}

struct SetOnDrop<'a>(&'a AtomicBool);

impl Drop for SetOnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
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
    deployment.edit(|config| {
        config["hardware"]["softhsm"]["allow_imported"] = value(true);
        // A process that is stopped for a search must not pass for one that hangs.
        config["keeper"]["request_timeout"] = value("60s");
        config["keeper"]["hang_timeout"] = value("60s");
        config["listen"]["request_timeout"] = value("120s");
    });
    deployment
}

/// Every readable page of a process.
struct Memory(Vec<Vec<u8>>);

impl Memory {
    /// Reads all of it at one moment.
    fn of_stopped(pid: u32) -> Self {
        signal(pid, Signal::SIGSTOP);
        let memory = Self::of(pid);
        signal(pid, Signal::SIGCONT);
        memory
    }

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
        self.0.iter().any(|region| memmem::find(region, secret).is_some())
    }
}
