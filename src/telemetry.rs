//! Logs and metrics. Logs go to standard error, one event a line; no secret, PIN or token is in any.

use std::fmt;
use std::sync::Arc;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric as _};
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::registry::Registry;
use tracing_subscriber::EnvFilter;

use crate::keeper::Keepers;
use crate::keeper::counters::Counters;
use crate::oauth::attempts::FailedAttempts;

/// How a log line is written.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

/// Sends every event of this process at or above `level` to standard error. `RUST_LOG` overrides the
/// level. Only the first call has an effect.
pub fn log_to_stderr(format: LogFormat, level: &str) {
    let filter = EnvFilter::try_from_default_env()
        .unwrap_or_else(|_| EnvFilter::new(format!("{level},refinery_core=warn,tokio_postgres=warn,tss_esapi=off")));
    let subscriber = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_target(false)
        // Complaining about standard error on standard error is a panic.
        .log_internal_errors(false);
    // An error says that one is set already, which is as good.
    let _ = match format {
        LogFormat::Text => subscriber.with_ansi(false).try_init(),
        LogFormat::Json => subscriber.json().try_init(),
    };
}

/// The metrics of a mint that asks `keeper` and counts `attempts`.
pub fn metrics(keepers: Keepers, attempts: Arc<FailedAttempts>) -> Registry {
    let mut registry = Registry::with_prefix("mintkeep");
    registry.register_collector(Box::new(KeeperMetrics(keepers)));
    registry.register_collector(Box::new(AttemptMetrics(attempts)));
    registry
}

/// Reads the keeper's counters when somebody asks.
struct KeeperMetrics(Keepers);

impl fmt::Debug for KeeperMetrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KeeperMetrics")
    }
}

impl Collector for KeeperMetrics {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let Counters { sign, seal, open, refused, connected } = self.0.members()[0].keeper.counters();
        let numbers = [
            ("keeper_signatures_requested", "Signatures asked of the keeper", sign.value()),
            ("keeper_seals_requested", "Seals asked of the keeper", seal.value()),
            ("keeper_openings_requested", "Openings asked of the keeper", open.value()),
            ("keeper_policy_refusals", "Requests that the signing policy refused", refused.value()),
            ("keeper_connections", "Keepers connected to", connected.value()),
        ];
        write(encoder, &numbers)
    }
}

/// Reads how many attempts failed when somebody asks.
struct AttemptMetrics(Arc<FailedAttempts>);

impl fmt::Debug for AttemptMetrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AttemptMetrics")
    }
}

impl Collector for AttemptMetrics {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let (failed, over) = self.0.totals();
        let numbers = [
            ("failed_attempts", "Requests answered invalid_client or invalid_grant", failed),
            ("failed_attempts_over_limit", "Those of them that were over a limit", over),
        ];
        write(encoder, &numbers)
    }
}

/// Writes counters: their names, what they count, and how far they are.
fn write(mut encoder: DescriptorEncoder<'_>, numbers: &[(&str, &str, u64)]) -> fmt::Result {
    for (name, help, number) in numbers {
        let counter = ConstCounter::new(*number);
        counter.encode(encoder.encode_descriptor(name, help, None, counter.metric_type())?)?;
    }
    Ok(())
}
