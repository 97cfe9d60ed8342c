//! Logs and metrics. Logs go to standard error, one event a line; no secret, PIN or token is in any.

use std::fmt;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric as _};
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::registry::Registry;
use tracing_subscriber::EnvFilter;

use crate::keeper::Keeper;
use crate::keeper::counters::Counters;

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
        .unwrap_or_else(|_| EnvFilter::new(format!("{level},refinery_core=warn,tokio_postgres=warn")));
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

/// The metrics of a mint that asks `keeper`.
pub fn metrics(keeper: Keeper) -> Registry {
    let mut registry = Registry::with_prefix("mintkeep");
    registry.register_collector(Box::new(KeeperMetrics(keeper)));
    registry
}

/// Reads the keeper's counters when somebody asks.
struct KeeperMetrics(Keeper);

impl fmt::Debug for KeeperMetrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KeeperMetrics")
    }
}

impl Collector for KeeperMetrics {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let Counters { sign, seal, open, refused, connected } = self.0.counters();
        let numbers = [
            ("keeper_signatures_requested", "Signatures asked of the keeper", sign),
            ("keeper_seals_requested", "Seals asked of the keeper", seal),
            ("keeper_openings_requested", "Openings asked of the keeper", open),
            ("keeper_policy_refusals", "Requests that the signing policy refused", refused),
            ("keeper_connections", "Keepers connected to", connected),
        ];
        for (name, help, counter) in numbers {
            let number = ConstCounter::new(counter.value());
            number.encode(encoder.encode_descriptor(name, help, None, number.metric_type())?)?;
        }
        Ok(())
    }
}
