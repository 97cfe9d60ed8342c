//! The table, and the same in JSON. Every figure is the median of the rounds.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde_json::{Value, json};

use crate::load::{Measured, Work};
use crate::mint::{Cpu, Memory};

/// Everything that was measured, in the order of its first round.
#[derive(Default)]
pub struct Report {
    raw: BTreeMap<(String, usize), Vec<f64>>,
    tokens: BTreeMap<(String, bool, usize), Vec<Sample>>,
    memory: BTreeMap<bool, Vec<Memory>>,
    floods: BTreeMap<(&'static str, usize), Vec<Flooded>>,
}

/// Tokens per second without and with a flood, one right after the other.
struct Flooded {
    alone: f64,
    flooded: f64,
}

struct Sample {
    rate: f64,
    p50_us: f64,
    p99_us: f64,
    mint_us: f64,
    keeper_us: f64,
}

impl Report {
    pub fn raw(&mut self, threads: usize, object: &str, rate: f64) {
        self.raw.entry((object.to_owned(), threads)).or_default().push(rate);
    }

    pub fn tokens(&mut self, work: Work, verify: bool, connections: usize, measured: &Measured, cpu: Cpu) {
        let tokens = measured.tokens as f64;
        let sample = Sample {
            rate: tokens / measured.seconds,
            p50_us: measured.p50_us as f64,
            p99_us: measured.p99_us as f64,
            mint_us: cpu.mint.as_secs_f64() * 1e6 / tokens,
            keeper_us: cpu.keeper.as_secs_f64() * 1e6 / tokens,
        };
        self.tokens.entry((name(work).to_owned(), verify, connections)).or_default().push(sample);
    }

    pub fn flood(&mut self, work: Work, flooding: usize, alone: &Measured, flooded: &Measured) {
        let rate = |measured: &Measured| measured.tokens as f64 / measured.seconds;
        let sample = Flooded { alone: rate(alone), flooded: rate(flooded) };
        self.floods.entry((name(work), flooding)).or_default().push(sample);
    }

    pub fn memory(&mut self, verify: bool, memory: Memory) {
        self.memory.entry(verify).or_default().push(memory);
    }

    fn ceiling(&self) -> f64 {
        median(self.raw[&("token".to_owned(), 2)].iter().copied())
    }

    pub fn table(&self) -> String {
        let mut text = String::from(
            "| raw C_Sign, straight against the module | per second | against the ceiling |\n|---|---:|---:|\n",
        );
        let ceiling = self.ceiling();
        for ((object, threads), rates) in &self.raw {
            let rate = median(rates.iter().copied());
            let name = if object == "token" { "token key" } else { "session copy of the key" };
            let mark = if object == "token" && *threads == 2 { " (the ceiling)" } else { "" };
            let _ = writeln!(text, "| {name}, {threads} thread(s){mark} | {rate:.0} | {:.2} × |", rate / ceiling);
        }
        text.push_str(
            "\n| tokens over HTTP | verified | connections | per second | against the ceiling | p50 ms | p99 ms | mint µs | keeper µs |\n|---|---|---:|---:|---:|---:|---:|---:|---:|\n",
        );
        for ((work, verify, connections), samples) in &self.tokens {
            let of = |figure: fn(&Sample) -> f64| median(samples.iter().map(figure));
            let _ = writeln!(
                text,
                "| {work} | {} | {connections} | {:.0} | {:.2} × | {:.2} | {:.2} | {:.0} | {:.0} |",
                if *verify { "yes" } else { "no" },
                of(|sample| sample.rate),
                of(|sample| sample.rate) / ceiling,
                of(|sample| sample.p50_us) / 1000.0,
                of(|sample| sample.p99_us) / 1000.0,
                of(|sample| sample.mint_us),
                of(|sample| sample.keeper_us),
            );
        }
        text.push_str(
            "\n| tokens over 64 connections | connections with made-up tokens | per second | against none |\n|---|---:|---:|---:|\n",
        );
        for ((work, flooding), samples) in &self.floods {
            let of = |figure: fn(&Flooded) -> f64| median(samples.iter().map(figure));
            let _ = writeln!(
                text,
                "| {work} | {flooding} | {:.0} | {:.2} × |",
                of(|sample| sample.flooded),
                of(|sample| sample.flooded / sample.alone),
            );
        }
        text.push_str(
            "\n| memory of mint and keeper together, after 64 connections | resident MB | peak MB |\n|---|---:|---:|\n",
        );
        for (verify, samples) in &self.memory {
            let of = |figure: fn(&Memory) -> u64| median(samples.iter().map(|memory| figure(memory) as f64)) / 1024.0;
            let name = if *verify { "signatures verified" } else { "signatures not verified" };
            let _ =
                writeln!(text, "| {name} | {:.1} | {:.1} |", of(|memory| memory.resident), of(|memory| memory.peak));
        }
        text
    }

    pub fn json(&self) -> String {
        let raw: Vec<Value> = self
            .raw
            .iter()
            .map(|((object, threads), rates)| json!({ "object": object, "threads": threads, "per_second": rates }))
            .collect();
        let tokens: Vec<Value> = self
            .tokens
            .iter()
            .map(|((work, verify, connections), samples)| {
                let all = |figure: fn(&Sample) -> f64| samples.iter().map(figure).collect::<Vec<f64>>();
                json!({
                    "work": work, "verify": verify, "connections": connections,
                    "per_second": all(|sample| sample.rate),
                    "p50_us": all(|sample| sample.p50_us), "p99_us": all(|sample| sample.p99_us),
                    "mint_cpu_us_per_token": all(|sample| sample.mint_us),
                    "keeper_cpu_us_per_token": all(|sample| sample.keeper_us),
                })
            })
            .collect();
        let memory: Vec<Value> = self
            .memory
            .iter()
            .flat_map(|(verify, samples)| samples.iter().map(move |memory| (verify, memory)))
            .map(|(verify, memory)| json!({ "verify": verify, "resident_kb": memory.resident, "peak_kb": memory.peak }))
            .collect();
        let floods: Vec<Value> = self
            .floods
            .iter()
            .map(|((work, flooding), samples)| {
                let all = |figure: fn(&Flooded) -> f64| samples.iter().map(figure).collect::<Vec<f64>>();
                json!({
                    "work": work, "flooding_connections": flooding,
                    "per_second_alone": all(|sample| sample.alone), "per_second": all(|sample| sample.flooded),
                })
            })
            .collect();
        let report = json!({ "ceiling_per_second": self.ceiling(), "raw": raw, "tokens": tokens, "floods": floods, "memory": memory });
        format!("{report:#}\n")
    }
}

fn name(work: Work) -> &'static str {
    match work {
        Work::ClientCredentials => "client_credentials",
        Work::RefreshToken => "refresh_token",
    }
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}
