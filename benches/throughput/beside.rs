//! What is measured beside something else, one right after the other: a machine is not the same for long, and the
//! ratios of one run are what is reported.

use std::fmt::Write as _;

use serde_json::{Value, json};

use crate::load::Measured;
use crate::mint::Cpu;
use crate::report::{Sample, median};

/// Rows, in the order in which they were measured first.
#[derive(Default)]
pub struct Beside(Vec<Row>);

struct Row {
    name: String,
    connections: usize,
    samples: Vec<Sample>,
    /// To what was measured before it, in the same round; none for that itself.
    ratios: Vec<f64>,
}

impl Beside {
    /// Notes what came of `name`, of which `plain` is the measure where it is not one itself.
    pub fn add(&mut self, name: &str, connections: usize, plain: Option<&Measured>, measured: &Measured, cpu: Cpu) {
        let is_it = |row: &Row| (row.name.as_str(), row.connections) == (name, connections);
        let place = self.0.iter().position(is_it).unwrap_or_else(|| {
            self.0.push(Row { name: name.to_owned(), connections, samples: Vec::new(), ratios: Vec::new() });
            self.0.len() - 1
        });
        self.0[place].samples.push(Sample::of(measured, cpu));
        self.0[place].ratios.extend(plain.map(|plain| measured.rate() / plain.rate()));
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// A table in which the first column is named `heading`.
    pub fn write_table(&self, heading: &str, text: &mut String) {
        let _ = writeln!(
            text,
            "\n| {heading} | connections | per second | against plain (least, most) | p50 ms | p99 ms | mint µs | keeper µs | per second of the mint |\n|---|---:|---:|---:|---:|---:|---:|---:|---:|"
        );
        for Row { name, connections, samples, ratios } in &self.0 {
            let of = |figure: fn(&Sample) -> f64| median(samples.iter().map(figure));
            let least = ratios.iter().copied().fold(f64::INFINITY, f64::min);
            let most = ratios.iter().copied().fold(0.0, f64::max);
            let ratio = match ratios.is_empty() {
                true => "1".to_owned(),
                false => format!("{:.2} × ({least:.2}, {most:.2})", median(ratios.iter().copied())),
            };
            let _ = writeln!(
                text,
                "| {name} | {connections} | {:.0} | {ratio} | {:.2} | {:.2} | {:.0} | {:.0} | {:.0} |",
                of(|sample| sample.rate),
                of(|sample| sample.p50_us) / 1000.0,
                of(|sample| sample.p99_us) / 1000.0,
                of(|sample| sample.mint_us),
                of(|sample| sample.keeper_us),
                // Of one processor that does nothing else.
                1e6 / of(|sample| sample.mint_us),
            );
        }
    }

    pub fn json(&self) -> Value {
        let row = |row: &Row| {
            let mut all = Sample::all(&row.samples);
            all["against_plain"] = json!(row.ratios);
            json!({ "name": row.name, "connections": row.connections, "measured": all })
        };
        self.0.iter().map(row).collect()
    }
}
