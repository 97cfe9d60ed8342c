//! `make bench`: tokens per second over HTTP beside the raw rate of the hardware, in one run, because
//! machines are noisy and only ratios of one run mean something.
//!
//! The raw rate, the mint, its keeper and the load generator are processes of their own: this program
//! starts itself anew for the first and the last (`raw`, `load`), and for those who only disturb (`flood`).

#![expect(unreachable_pub, reason = "the modules of a program have no outside")]

mod flood;
mod load;
mod mint;
mod raw;
mod report;

use std::path::Path;
use std::time::Duration;

use self::flood::Flood;
use self::load::{Load, Work};
use self::mint::Mint;
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

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).filter(|word| *word != "--bench").collect();
    match words.as_slice() {
        ["raw", config, threads, object] => raw::measure(config, threads, object, SPAN),
        ["load"] => load::generate(),
        ["flood", address, connections, token] => flood::run(address, connections, token),
        [] => run(),
        other => panic!("expected no arguments, found {other:?}"),
    }
}

fn run() {
    let state = Path::new(env!("CARGO_TARGET_TMPDIR")).join("bench");
    let _ = std::fs::remove_dir_all(&state);
    let mut report = Report::default();
    mint::set_up(&state);
    for round in 1..=ROUNDS {
        eprintln!("round {round} of {ROUNDS}");
        for (threads, object) in [(1, "token"), (2, "token"), (4, "token"), (1, "copy"), (2, "copy")] {
            report.raw(threads, object, raw::in_process_of_its_own(&state, threads, object));
        }
        for verify in [false, true] {
            let mint = Mint::start(&state, verify);
            for work in [Work::ClientCredentials, Work::RefreshToken] {
                for connections in CONNECTIONS {
                    let before = mint.cpu();
                    let measured = Load::new(&mint, work, connections, SPAN).in_process_of_its_own();
                    report.tokens(work, verify, connections, &measured, mint.cpu().since(before));
                }
            }
            report.memory(verify, mint.memory());
        }
        let mint = Mint::start(&state, true);
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
    print!("{}", report.table());
    let results = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/bench/results.json");
    std::fs::create_dir_all(results.parent().expect("a file has a folder")).expect("target/bench can be made");
    std::fs::write(&results, report.json()).expect("the results can be written");
    println!("\nwritten to {}", results.display());
}
