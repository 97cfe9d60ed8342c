//! The table, and the same in JSON. Every figure is the median of the rounds.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde_json::{Value, json};

use crate::kubernetes::Kubernetes;
use crate::load::{Measured, Work};
use crate::logins::Logins;
use crate::mint::{Cpu, Memory};
use crate::proofs::Proofs;
use crate::raw::Sequence;
use crate::sessions::Measured as Store;
use crate::tls::Https;
use crate::transit::Transit;
use crate::verification::Verification;

/// Everything that was measured, in the order of its first round.
#[derive(Default)]
pub struct Report {
    raw: BTreeMap<(Sequence, &'static str, usize), Vec<f64>>,
    tokens: BTreeMap<(String, bool, usize), Vec<Sample>>,
    memory: BTreeMap<bool, Vec<Memory>>,
    exchanges: BTreeMap<(&'static str, u32, bool), Vec<Sample>>,
    introspections: BTreeMap<(&'static str, u32), Vec<Sample>>,
    bytes_per_family: BTreeMap<&'static str, f64>,
    floods: BTreeMap<(&'static str, usize), Vec<Flooded>>,
    tpm: BTreeMap<(&'static str, usize), Vec<OnTpm>>,
    pub transit: Transit,
    pub logins: Logins,
    pub kubernetes: Kubernetes,
    pub proofs: Proofs,
    pub verification: Verification,
    pub https: Https,
}

/// A bare `Esys_Sign` and tokens, one right after the other.
struct OnTpm {
    bare: f64,
    tokens: f64,
    p99_us: f64,
}

/// Tokens per second without and with a flood, one right after the other.
struct Flooded {
    alone: f64,
    flooded: f64,
}

/// Answers per second, and what each of them took.
pub struct Sample {
    pub rate: f64,
    pub p50_us: f64,
    pub p99_us: f64,
    pub mint_us: f64,
    pub keeper_us: f64,
}

impl Sample {
    pub fn of(measured: &Measured, cpu: Cpu) -> Self {
        let answers = measured.tokens as f64;
        Self {
            rate: measured.rate(),
            p50_us: measured.p50_us as f64,
            p99_us: measured.p99_us as f64,
            mint_us: cpu.mint.as_secs_f64() * 1e6 / answers,
            keeper_us: cpu.keeper.as_secs_f64() * 1e6 / answers,
        }
    }

    /// Each figure of all `samples`.
    pub fn all(samples: &[Self]) -> Value {
        let all = |figure: fn(&Self) -> f64| samples.iter().map(figure).collect::<Vec<f64>>();
        json!({
            "per_second": all(|sample| sample.rate),
            "p50_us": all(|sample| sample.p50_us), "p99_us": all(|sample| sample.p99_us),
            "mint_cpu_us": all(|sample| sample.mint_us), "keeper_cpu_us": all(|sample| sample.keeper_us),
        })
    }
}

impl Report {
    pub fn raw(&mut self, sequence: Sequence, threads: usize, keys: &'static str, rate: f64) {
        self.raw.entry((sequence, keys, threads)).or_default().push(rate);
    }

    pub fn exchanges(&mut self, store: &Store, verify: bool, measured: &Measured, cpu: Cpu) {
        let samples = self.exchanges.entry((store.name, store.families, verify)).or_default();
        samples.push(Sample::of(measured, cpu));
        if let Some(bytes) = store.bytes {
            self.bytes_per_family.insert(store.name, bytes);
        }
    }

    pub fn introspections(&mut self, store: &Store, measured: &Measured, cpu: Cpu) {
        self.introspections.entry((store.name, store.families)).or_default().push(Sample::of(measured, cpu));
    }

    pub fn tokens(&mut self, work: Work, verify: bool, connections: usize, measured: &Measured, cpu: Cpu) {
        let samples = self.tokens.entry((name(work).to_owned(), verify, connections)).or_default();
        samples.push(Sample::of(measured, cpu));
    }

    pub fn flood(&mut self, work: Work, flooding: usize, alone: &Measured, flooded: &Measured) {
        let sample = Flooded { alone: alone.rate(), flooded: flooded.rate() };
        self.floods.entry((name(work), flooding)).or_default().push(sample);
    }

    #[cfg(feature = "tpm")]
    pub fn tpm(&mut self, session: &'static str, connections: usize, bare: f64, measured: &Measured) {
        let sample = OnTpm { bare, tokens: measured.rate(), p99_us: measured.p99_us as f64 };
        self.tpm.entry((session, connections)).or_default().push(sample);
    }

    pub fn memory(&mut self, verify: bool, memory: Memory) {
        self.memory.entry(verify).or_default().push(memory);
    }

    /// What the others are held against: two threads, with the keys in the token.
    fn ceiling(&self, sequence: Sequence) -> f64 {
        median(self.raw[&(sequence, "token", 2)].iter().copied())
    }

    pub fn table(&self) -> String {
        let mut text = String::new();
        if !self.raw.is_empty() {
            self.write_softhsm(&mut text);
        }
        if !self.kubernetes.is_empty() {
            self.kubernetes.write_table(self.ceiling(Sequence::Token), &mut text);
        }
        if !self.transit.is_empty() {
            self.transit.write_table(self.ceiling(Sequence::Token), &mut text);
        }
        if !self.tpm.is_empty() {
            self.write_tpm(&mut text);
        }
        if !self.logins.0.is_empty() {
            self.logins.0.write_table("the token step of a login", &mut text);
        }
        if !self.proofs.is_empty() {
            self.proofs.write_table(&mut text);
            self.verification.write_table(&mut text);
        }
        if !self.https.is_empty() {
            self.https.write_tables(&mut text);
        }
        text
    }

    fn write_tpm(&self, text: &mut String) {
        text.push_str(
            "\n| a TPM in software, session | connections | Esys_Sign per second | tokens per second | against Esys_Sign | p99 ms |\n|---|---:|---:|---:|---:|---:|\n",
        );
        for ((session, connections), samples) in &self.tpm {
            let of = |figure: fn(&OnTpm) -> f64| median(samples.iter().map(figure));
            let _ = writeln!(
                text,
                "| {session} | {connections} | {:.0} | {:.0} | {:.2} × | {:.2} |",
                of(|sample| sample.bare),
                of(|sample| sample.tokens),
                of(|sample| sample.tokens / sample.bare),
                of(|sample| sample.p99_us) / 1000.0,
            );
        }
    }

    fn write_softhsm(&self, text: &mut String) {
        text.push_str(
            "| straight against the module | keys | threads | per second | against its ceiling |\n|---|---|---:|---:|---:|\n",
        );
        for ((sequence, keys, threads), rates) in &self.raw {
            let rate = median(rates.iter().copied());
            let name = match sequence {
                Sequence::Token => "C_Sign",
                Sequence::Exchange => "C_Decrypt, C_Encrypt, C_Sign",
            };
            let keys = if *keys == "token" { "in the token" } else { "session copies" };
            let _ =
                writeln!(text, "| {name} | {keys} | {threads} | {rate:.0} | {:.2} × |", rate / self.ceiling(*sequence));
        }
        let ceiling = self.ceiling(Sequence::Token);
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
            "\n| tokens over 64 connections | connections with forged tokens | per second | against none |\n|---|---:|---:|---:|\n",
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
        self.write_sessions(text);
        text.push_str(
            "\n| memory of mint and keeper together, after 64 connections | resident MB | peak MB |\n|---|---:|---:|\n",
        );
        for (verify, samples) in &self.memory {
            let of = |figure: fn(&Memory) -> u64| median(samples.iter().map(|memory| figure(memory) as f64)) / 1024.0;
            let name = if *verify { "signatures verified" } else { "signatures not verified" };
            let _ =
                writeln!(text, "| {name} | {:.1} | {:.1} |", of(|memory| memory.resident), of(|memory| memory.peak));
        }
    }

    fn write_sessions(&self, text: &mut String) {
        text.push_str(
            "\n| refresh exchanges, 64 connections | families | verified | per second | against the ceiling of an exchange | p99 ms | mint µs | keeper µs |\n|---|---:|---|---:|---:|---:|---:|---:|\n",
        );
        let ceiling = self.ceiling(Sequence::Exchange);
        for ((store, families, verify), samples) in &self.exchanges {
            let of = |figure: fn(&Sample) -> f64| median(samples.iter().map(figure));
            let _ = writeln!(
                text,
                "| {store} | {families} | {} | {:.0} | {:.2} × | {:.2} | {:.0} | {:.0} |",
                if *verify { "yes" } else { "no" },
                of(|sample| sample.rate),
                of(|sample| sample.rate) / ceiling,
                of(|sample| sample.p99_us) / 1000.0,
                of(|sample| sample.mint_us),
                of(|sample| sample.keeper_us),
            );
        }
        text.push_str("\n| introspection, 64 connections | families | per second | mint µs | per second and core |\n|---|---:|---:|---:|---:|\n");
        for ((store, families), samples) in &self.introspections {
            let of = |figure: fn(&Sample) -> f64| median(samples.iter().map(figure));
            let (rate, mint_us) = (of(|sample| sample.rate), of(|sample| sample.mint_us));
            let _ = writeln!(text, "| {store} | {families} | {rate:.0} | {mint_us:.0} | {:.0} |", 1e6 / mint_us);
        }
        text.push_str("\n| on disk | bytes a family |\n|---|---:|\n");
        for (store, bytes) in &self.bytes_per_family {
            let _ = writeln!(text, "| {store} | {bytes:.0} |");
        }
    }

    pub fn json(&self) -> String {
        let raw: Vec<Value> = self
            .raw
            .iter()
            .map(|((sequence, keys, threads), rates)| {
                json!({ "sequence": format!("{sequence:?}"), "keys": keys, "threads": threads, "per_second": rates })
            })
            .collect();
        let tokens: Vec<Value> = self
            .tokens
            .iter()
            .map(|((work, verify, connections), samples)| {
                json!({ "work": work, "verify": verify, "connections": connections, "measured": Sample::all(samples) })
            })
            .collect();
        let exchanges: Vec<Value> = self
            .exchanges
            .iter()
            .map(|((store, families, verify), samples)| {
                json!({ "store": store, "families": families, "verify": verify, "measured": Sample::all(samples) })
            })
            .collect();
        let introspections: Vec<Value> = self
            .introspections
            .iter()
            .map(|((store, families), samples)| {
                json!({ "store": store, "families": families, "measured": Sample::all(samples) })
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
        let tpm: Vec<Value> = self
            .tpm
            .iter()
            .map(|((session, connections), samples)| {
                let all = |figure: fn(&OnTpm) -> f64| samples.iter().map(figure).collect::<Vec<f64>>();
                json!({
                    "session": session, "connections": connections, "esys_sign_per_second": all(|sample| sample.bare),
                    "tokens_per_second": all(|sample| sample.tokens), "p99_us": all(|sample| sample.p99_us),
                })
            })
            .collect();
        let report = json!({
            "raw": raw, "tokens": tokens, "exchanges": exchanges, "introspections": introspections,
            "bytes_per_family": self.bytes_per_family, "floods": floods, "memory": memory, "tpm": tpm,
            "kubernetes": self.kubernetes.json(), "transit": self.transit.json(), "logins": self.logins.0.json(),
            "proofs": self.proofs.json(), "verification_us": self.verification.json(), "https": self.https.json(),
        });
        format!("{report:#}\n")
    }
}

fn name(work: Work) -> &'static str {
    match work {
        Work::ClientCredentials => "client_credentials",
        Work::RefreshToken => "refresh_token",
        Work::Introspection => "introspection",
    }
}

pub fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}
