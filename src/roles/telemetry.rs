//! Logs and metrics of the process.

use std::{
    io::{IsTerminal as _, Write},
    sync::OnceLock,
    time::Duration,
};

use anyhow::Context as _;
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use tracing_subscriber::{
    EnvFilter,
    fmt::{self, MakeWriter},
    layer::SubscriberExt,
    util::SubscriberInitExt,
};

use super::{OnFailure, Parts};
use crate::{
    config::{Log, LogFormat},
    domain::redact::Redactor,
};

/// The metrics of the process: one recorder, however many roles run in it.
#[derive(Clone)]
pub struct Telemetry {
    metrics: PrometheusHandle,
}

impl std::fmt::Debug for Telemetry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Telemetry")
    }
}

impl Telemetry {
    /// Starts logging to standard error, and recording. Both happen once a process; the first call decides.
    ///
    /// # Errors
    /// When the level cannot be read or the recorder not be installed.
    pub fn install(log: &Log) -> anyhow::Result<Self> {
        static METRICS: OnceLock<PrometheusHandle> = OnceLock::new();
        install_log(log)?;
        if let Some(metrics) = METRICS.get() {
            return Ok(Self {
                metrics: metrics.clone(),
            });
        }
        let metrics = PrometheusBuilder::new()
            .set_buckets(&SECONDS)
            .context("buckets")?
            .install_recorder()
            .context("installing the metrics recorder")?;
        metrics::gauge!("carapulse_roles_build_info", "version" => env!("CARGO_PKG_VERSION")).set(1.0);
        Ok(Self {
            metrics: METRICS.get_or_init(|| metrics).clone(),
        })
    }

    /// Every metric, in Prometheus' text format.
    #[must_use]
    pub fn render(&self) -> String {
        self.metrics.render()
    }
}

/// Starts logging to standard error; a second call changes nothing.
///
/// # Errors
/// When the level cannot be read.
pub fn install_log(log: &Log) -> anyhow::Result<()> {
    // Our own lines say what is migrated; unless they are asked for, refinery's need not say it again.
    let quiet = if log.level.contains("refinery") {
        ""
    } else {
        ",refinery_core=warn"
    };
    let filter = EnvFilter::try_new(format!("{}{quiet}", log.level)).context("log.level")?;
    let registry = tracing_subscriber::registry().with(filter);
    // Spans carry request_id, execution_id and the like: both formats show them on every line.
    let installed = match log.format {
        LogFormat::Pretty => registry
            .with(
                fmt::layer()
                    .compact()
                    .with_ansi(std::io::stderr().is_terminal())
                    .with_writer(Redacting),
            )
            .try_init(),
        LogFormat::Json => {
            let layer = fmt::layer().json().flatten_event(true).with_current_span(false);
            registry.with(layer.with_writer(Redacting)).try_init()
        }
    };
    if installed.is_err() {
        tracing::debug!("logging was installed before");
    }
    Ok(())
}

/// Standard error, without secrets: the one way out of every log line, whoever wrote it and whatever it quotes.
struct Redacting;

impl<'a> MakeWriter<'a> for Redacting {
    type Writer = RedactingWriter<std::io::Stderr>;

    fn make_writer(&'a self) -> Self::Writer {
        RedactingWriter(std::io::stderr())
    }
}

/// Takes whole lines, as the formatters write them.
struct RedactingWriter<W>(W);

impl<W: Write> Write for RedactingWriter<W> {
    fn write(&mut self, line: &[u8]) -> std::io::Result<usize> {
        let text = Redactor::new().redact_text(&String::from_utf8_lossy(line));
        self.0.write_all(text.as_bytes())?;
        Ok(line.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.0.flush()
    }
}

/// Histograms are of seconds: from a tenth of a millisecond to five minutes.
const SECONDS: [f64; 15] = [
    0.0001, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 30.0, 300.0,
];

/// Samples of histograms gather until they are folded.
pub(super) fn spawn_upkeep(parts: &Parts) {
    let metrics = parts.telemetry.metrics.clone();
    parts
        .lifecycle
        .spawn("metrics upkeep", OnFailure::Log, move |stop| {
            let metrics = metrics.clone();
            async move {
                while stop
                    .run_until_cancelled(tokio::time::sleep(Duration::from_secs(5)))
                    .await
                    .is_some()
                {
                    metrics.run_upkeep();
                }
                Ok::<_, anyhow::Error>(())
            }
        });
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    #[derive(Clone, Default)]
    struct Seen(Arc<Mutex<Vec<u8>>>);

    impl Write for Seen {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().expect("no panic").extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn invariant_11_no_log_line_leaves_with_a_secret_in_either_format() {
        let token = concat!("glpat-", "abcdefghij0123456789");
        for json in [false, true] {
            let seen = Seen::default();
            let out = seen.clone();
            let writer = move || RedactingWriter(out.clone());
            let log = || {
                let span = tracing::info_span!("request", from = %format!("https://ada:hunter22@git.example/{token}"));
                let _in = span.enter();
                tracing::warn!(error = %format!("401 for password=hunter22 and {token}"), "the fetch of {token} failed");
            };
            if json {
                let layer = fmt::layer().json().flatten_event(true).with_writer(writer);
                tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), log);
            } else {
                let layer = fmt::layer().compact().with_ansi(false).with_writer(writer);
                tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), log);
            }
            let text = String::from_utf8(seen.0.lock().expect("no panic").clone()).expect("UTF-8");
            assert!(text.contains("failed") && text.contains("***"), "{text}");
            assert!(!text.contains(token) && !text.contains("hunter22"), "{text}");
            if json {
                serde_json::from_str::<serde_json::Value>(text.trim()).expect("still JSON");
            }
        }
    }
}
