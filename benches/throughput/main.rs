//! `make bench`: tokens per second over HTTP beside the raw rate of the hardware, in one run, because
//! machines are noisy and only ratios of one run mean something.
//!
//! The raw rate, the mint, its keeper and the load generator are processes of their own: this program
//! starts itself anew for the first and the last (`raw`; `load`, `redeem`, `prove`, `secure`, `sign`), and for those who only disturb (`flood`).

#![expect(unreachable_pub, reason = "the modules of a program have no outside")]

mod beside;
mod devices;
mod flood;
mod kubernetes;
mod load;
mod logins;
mod mint;
mod proofs;
mod raw;
mod report;
mod sessions;
mod support;
mod tls;
#[cfg(feature = "tpm")]
mod tpm;
mod transit;
mod verification;

use std::path::Path;
use std::time::Duration;

use self::flood::Flood;
use self::load::{Load, Work};
use self::mint::Mint;
use self::raw::Sequence;
use self::report::Report;

/// How often everything is measured; medians are reported.
const ROUNDS: usize = 3;
/// How long each measurement takes.
const SPAN: Duration = Duration::from_secs(2);
/// Keep-alive connections of the load generator.
const CONNECTIONS: [usize; 3] = [1, 16, MOST_CONNECTIONS];
const MOST_CONNECTIONS: usize = 64;
/// Connections that present forged tokens, as fast as they are answered. The mint holds back 768 answers.
const FLOODS: [usize; 2] = [64, 700];

/// What can be measured by itself: `cargo bench --bench throughput -- sessions`.
const PARTS: [&str; 10] = ["tokens", "sessions", "floods", KUBERNETES, TRANSIT, LOGINS, PROOFS, TLS, TPM, DEVICES];
/// The one that is asked for by a kube-apiserver.
const KUBERNETES: &str = "kubernetes";
/// The one that is asked for by clients of Vault.
const TRANSIT: &str = "transit";
/// The token step of people's logins.
const LOGINS: &str = "logins";
/// Those that have a measure of their own, and need none of the hardware.
const PROOFS: &str = "proofs";
const TLS: &str = "tls";
/// The one that is not on SoftHSM2.
const TPM: &str = "tpm";
/// The one that is on devices of other speeds.
const DEVICES: &str = "devices";

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).filter(|word| *word != "--bench").collect();
    match words.as_slice() {
        ["raw", config, sequence, threads, keys] => raw::measure(config, sequence, threads, keys, SPAN),
        #[cfg(feature = "tpm")]
        ["esys", tcti, session] => tpm::run(tcti, session, SPAN),
        ["redeem"] => logins::generate(),
        ["ask-transit"] => transit::generate(),
        ["keeper", ..] => kubernetes::be_keeper(),
        ["sign"] => kubernetes::generate(),
        ["load"] => load::generate(),
        ["paced"] => devices::generate(),
        ["inside"] => devices::inside::generate(),
        ["prove"] => proofs::generate(),
        ["secure"] => tls::generate(),
        ["flood", address, connections, token] => flood::run(address, connections, token),
        parts if parts.iter().all(|part| PARTS.contains(part)) => run(parts),
        other => panic!("expected nothing, or some of {PARTS:?}; found {other:?}"),
    }
}

/// Measures all parts, or those that are named.
fn run(named: &[&str]) {
    let is_wanted = |part| named.is_empty() || named.contains(&part);
    let state = Path::new(env!("CARGO_TARGET_TMPDIR")).join("bench");
    for state in [&state, &state.with_file_name("bench-tpm")] {
        let _ = std::fs::remove_dir_all(state);
    }
    let mut report = Report::default();
    mint::set_up(&state, "softhsm");
    if named == [DEVICES] {
        return devices::measure(&state);
    }
    #[cfg(feature = "tpm")]
    let on_tpm = is_wanted(TPM).then(|| tpm::OnTpm::set_up(&state.with_file_name("bench-tpm")));
    let has_own_measure = |part: &&str| [PROOFS, TLS, TPM, LOGINS].contains(part);
    let is_on_softhsm = named.is_empty() || !named.iter().all(has_own_measure);
    let (stores, _servers) = if is_wanted("sessions") { sessions::set_up(&state) } else { Default::default() };
    for round in 1..=ROUNDS {
        eprintln!("round {round} of {ROUNDS}");
        for sequence in [Sequence::Token, Sequence::Exchange].into_iter().filter(|_| is_on_softhsm) {
            for (threads, keys) in [(1, "token"), (2, "token"), (4, "token"), (1, "copies"), (2, "copies")] {
                report.raw(sequence, threads, keys, raw::in_process_of_its_own(&state, sequence, threads, keys));
            }
        }
        if is_wanted("tokens") {
            measure_tokens(&state, &mut report);
        }
        for store in &stores {
            measure_sessions(&state, store, &mut report);
        }
        if is_wanted("floods") {
            measure_floods(&state, &mut report);
        }
        if is_wanted(TRANSIT) {
            report.transit.measure(&state, SPAN);
        }
        if is_wanted(KUBERNETES) {
            report.kubernetes.measure(&state, SPAN);
        }
        if is_wanted(LOGINS) {
            report.logins.measure(&state, SPAN);
        }
        if is_wanted(PROOFS) {
            report.verification.measure(&state);
            report.proofs.measure(&state, SPAN);
        }
        if is_wanted(TLS) {
            report.https.measure(&state, SPAN);
        }
        #[cfg(feature = "tpm")]
        if let Some(on_tpm) = &on_tpm {
            on_tpm.measure(&mut report, SPAN);
        }
    }
    print!("{}", report.table());
    let results = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/bench/results.json");
    std::fs::create_dir_all(results.parent().expect("a file has a folder")).expect("target/bench can be made");
    std::fs::write(&results, report.json()).expect("the results can be written");
    println!("\nwritten to {}", results.display());
    if is_wanted("devices") {
        devices::measure(&state);
    }
}

fn measure_tokens(state: &Path, report: &mut Report) {
    for verify in [false, true] {
        let mint = Mint::start(state, verify);
        for work in [Work::ClientCredentials, Work::RefreshToken] {
            for connections in CONNECTIONS {
                let before = mint.cpu();
                let measured = Load::new(&mint, work, connections, SPAN).in_process_of_its_own();
                report.tokens(work, verify, connections, &measured, mint.cpu().since(before));
            }
        }
        report.memory(verify, mint.memory());
    }
}

fn measure_sessions(state: &Path, store: &sessions::Measured, report: &mut Report) {
    for verify in [false, true] {
        let mint = Mint::start_on(state, verify, Some(&store.url));
        let load = Load::new(&mint, Work::RefreshToken, MOST_CONNECTIONS, SPAN);
        let before = mint.cpu();
        let measured = load.in_process_of_its_own();
        report.exchanges(store, verify, &measured, mint.cpu().since(before));
    }
    let mint = Mint::start_on(state, true, Some(&store.url));
    let load = Load::new(&mint, Work::Introspection, MOST_CONNECTIONS, SPAN);
    let before = mint.cpu();
    let measured = load.in_process_of_its_own();
    report.introspections(store, &measured, mint.cpu().since(before));
}

fn measure_floods(state: &Path, report: &mut Report) {
    let mint = Mint::start(state, true);
    for work in [Work::ClientCredentials, Work::RefreshToken] {
        // Once with and once without each, one after the other: the machine is not the same for long.
        for flooding in FLOODS {
            let load = || Load::new(&mint, work, MOST_CONNECTIONS, SPAN);
            let alone = load().in_process_of_its_own();
            let load = load();
            let _flood = Flood::start(&mint, flooding);
            report.flood(work, flooding, &alone, &load.in_process_of_its_own());
        }
    }
}
