//! The recorder behind the metrics facade, described from the one table.

use actors::metric::{Kind, METRICS, Metric, Unit};
use metrics::{KeyName, Recorder, SharedString};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle, PrometheusRecorder};
use tracing_appender::non_blocking::ErrorCounter;

use super::Log;

/// Why counting could not begin.
#[derive(Debug, thiserror::Error)]
pub enum RecorderError {
    /// A process counts in one place.
    #[error("metrics are already being recorded in this process")]
    Installed,
    /// The table names a histogram without borders: our own bug.
    #[error("the table of metrics is wrong: {0}")]
    Table(String),
}

/// What has been counted, ready to be rendered.
#[derive(Clone)]
pub struct Metrics {
    handle: PrometheusHandle,
    lost_lines: Option<ErrorCounter>,
}

impl Metrics {
    /// Installs the recorder for the whole process and describes every metric of the table.
    pub fn install() -> Result<Self, RecorderError> {
        let recorder = recorder()?;
        let handle = recorder.handle();
        metrics::set_global_recorder(recorder).map_err(|_| RecorderError::Installed)?;
        Ok(Self { handle, lost_lines: None })
    }

    /// The same, with what `log` counts for itself: it is asked when the page is rendered.
    #[must_use]
    pub fn with_log(self, log: &Log) -> Self {
        Self { lost_lines: Some(log.lost()), ..self }
    }

    /// The page in Prometheus' text format.
    pub fn render(&self) -> String {
        if let Some(lost) = &self.lost_lines {
            metrics::counter!("evenkeel_log_lines_lost_total").absolute(lost.dropped_lines() as u64);
        }
        self.handle.render()
    }

    /// Moves raw observations into their buckets; without it, histograms that nobody scrapes would grow for ever.
    pub fn upkeep(&self) {
        self.handle.run_upkeep();
    }
}

fn recorder() -> Result<PrometheusRecorder, RecorderError> {
    let mut builder = PrometheusBuilder::new();
    for metric in METRICS {
        if let Kind::Histogram(borders) = metric.kind {
            builder = builder
                .set_buckets_for_metric(Matcher::Full(metric.name.to_owned()), borders)
                .map_err(|error| RecorderError::Table(format!("{}: {error}", metric.name)))?;
        }
    }
    let recorder = builder.build_recorder();
    METRICS.iter().for_each(|metric| describe(&recorder, metric));
    Ok(recorder)
}

fn describe(recorder: &PrometheusRecorder, metric: &'static Metric) {
    let name = KeyName::from_const_str(metric.name);
    let unit = match metric.unit {
        Unit::Count | Unit::Ratio => metrics::Unit::Count,
        Unit::Bytes | Unit::BytesPerSecond => metrics::Unit::Bytes,
        Unit::Seconds => metrics::Unit::Seconds,
    };
    let help = SharedString::const_str(metric.help);
    match metric.kind {
        Kind::Counter => recorder.describe_counter(name, Some(unit), help),
        Kind::Gauge => recorder.describe_gauge(name, Some(unit), help),
        Kind::Histogram(_) => recorder.describe_histogram(name, Some(unit), help),
    }
}

#[cfg(test)]
impl Metrics {
    /// For tests: a recorder of their own instead of the process'.
    pub(crate) fn local() -> (Self, PrometheusRecorder) {
        let recorder = recorder().unwrap();
        (Self { handle: recorder.handle(), lost_lines: None }, recorder)
    }
}

#[cfg(test)]
mod tests {
    use actors::metric::NodeMetrics;

    use super::*;

    #[test]
    fn every_metric_of_the_table_is_on_the_page_with_help_and_type() {
        let (metrics, recorder) = Metrics::local();
        let node = metrics::with_local_recorder(&recorder, NodeMetrics::register);
        node.refusal("tls").increment(3);
        node.control_latency.record(0.0004);
        let page = metrics.render();
        for metric in METRICS {
            let kind = match metric.kind {
                Kind::Counter => "counter",
                Kind::Gauge => "gauge",
                Kind::Histogram(_) => "histogram",
            };
            assert!(page.contains(&format!("# HELP {} ", metric.name)), "{}:\n{page}", metric.name);
            assert!(page.contains(&format!("# TYPE {} {kind}\n", metric.name)), "{}:\n{page}", metric.name);
        }
        assert!(page.contains("evenkeel_refusals_total{reason=\"tls\"} 3"), "{page}");
        assert!(page.contains("evenkeel_control_latency_seconds_bucket{le=\"0.000512\"} 1"), "{page}");
    }
}
