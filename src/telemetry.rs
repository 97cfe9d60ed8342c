//! Logs and metrics. Logs go to standard error, one event a line; no secret, PIN or token is in any.

use std::fmt;
use std::sync::Arc;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric as _};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Registry;
use tracing_subscriber::EnvFilter;

use crate::hardware::Fault;
use crate::keeper::counters::{Counter, Counters};
use crate::keeper::{Keeper, Keepers};
use crate::oauth::attempts::FailedAttempts;
use crate::oauth::beginnings::Beginnings;
use crate::oauth::client_limits::ClientLimits;

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

/// The metrics of a mint that asks `keepers`, counts `attempts` and `beginnings`, and holds clients to `limits`.
pub fn metrics(
    keepers: Keepers,
    attempts: Arc<FailedAttempts>,
    beginnings: Arc<Beginnings>,
    limits: Arc<ClientLimits>,
) -> Registry {
    let mut registry = Registry::with_prefix("mintkeep");
    registry.register_collector(Box::new(KeeperMetrics(keepers)));
    registry.register_collector(Box::new(AttemptMetrics(attempts)));
    registry.register_collector(Box::new(BeginningMetrics(beginnings)));
    registry.register_collector(Box::new(LimitMetrics(limits)));
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
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let total = |of: fn(&Counters) -> &Counter| {
            self.0.members().iter().map(|member| of(member.keeper.counters()).value()).sum()
        };
        let numbers = [
            ("keeper_signatures_requested", "Signatures asked of the keepers", total(|counters| &counters.sign)),
            ("keeper_seals_requested", "Seals asked of the keepers", total(|counters| &counters.seal)),
            ("keeper_openings_requested", "Openings asked of the keepers", total(|counters| &counters.open)),
            ("keeper_policy_refusals", "Requests that the signing policy refused", total(|counters| &counters.refused)),
            ("keeper_connections", "Keepers connected to", total(|counters| &counters.connected)),
        ];
        write(&mut encoder, &numbers)?;
        let device = |of: fn(&Keeper) -> i64| {
            self.0.members().iter().map(move |member| (member.name.as_str(), of(&member.keeper)))
        };
        let up = device(|keeper| i64::from(keeper.is_well()));
        write_by_device(&mut encoder, "device_up", "Whether the device answers", up)?;
        let waiting = device(|keeper| i64::try_from(keeper.requests()).unwrap_or(i64::MAX));
        write_by_device(
            &mut encoder,
            "device_requests",
            "Requests that are with the device now, or wait for it",
            waiting,
        )?;
        let opened = device(|keeper| i64::try_from(keeper.counters().breaker_opened.value()).unwrap_or(i64::MAX));
        let help = "Times that requests began to be refused because the device failed or said nothing";
        write_by_device(&mut encoder, "device_breaker_openings", help, opened)?;
        write_faults(&mut encoder, &self.0)
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
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let (failed, over) = self.0.totals();
        let numbers = [
            ("failed_attempts", "Requests answered invalid_client or invalid_grant", failed),
            ("failed_attempts_over_limit", "Those of them that were over a limit", over),
        ];
        write(&mut encoder, &numbers)
    }
}

/// Reads how many logins were refused to sources over their limit when somebody asks.
struct BeginningMetrics(Arc<Beginnings>);

impl fmt::Debug for BeginningMetrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("BeginningMetrics")
    }
}

impl Collector for BeginningMetrics {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let help = "Logins, logouts and devices that were not begun because their source is over its limit";
        write(&mut encoder, &[("logins_over_limit", help, self.0.refused())])
    }
}

/// Reads how many requests were refused to clients over their limits when somebody asks.
struct LimitMetrics(Arc<ClientLimits>);

impl fmt::Debug for LimitMetrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("LimitMetrics")
    }
}

impl Collector for LimitMetrics {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let help = "Requests that were granted, and not served because their client is over a limit of its own";
        write(&mut encoder, &[("client_limit_refusals", help, self.0.refused())])
    }
}

/// Writes counters: their names, what they count, and how far they are.
fn write(encoder: &mut DescriptorEncoder<'_>, numbers: &[(&str, &str, u64)]) -> fmt::Result {
    for (name, help, number) in numbers {
        let counter = ConstCounter::new(*number);
        counter.encode(encoder.encode_descriptor(name, help, None, counter.metric_type())?)?;
    }
    Ok(())
}

/// Writes one number of each device.
fn write_by_device<'a>(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    numbers: impl Iterator<Item = (&'a str, i64)>,
) -> fmt::Result {
    let mut family = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
    for (device, number) in numbers {
        ConstGauge::new(number).encode(family.encode_family(&[("device", device)])?)?;
    }
    Ok(())
}

fn write_faults(encoder: &mut DescriptorEncoder<'_>, keepers: &Keepers) -> fmt::Result {
    let help = "What the device failed by";
    let mut family = encoder.encode_descriptor("device_faults", help, None, MetricType::Counter)?;
    for member in keepers.members() {
        for fault in Fault::ALL {
            let labels = [("device", member.name.as_str()), ("fault", fault.name())];
            ConstCounter::new(member.keeper.counters().faults(fault).value()).encode(family.encode_family(&labels)?)?;
        }
    }
    Ok(())
}
