//! Handles of every metric, registered once at the start of a node and shared by all its threads.

use std::time::{SystemTime, UNIX_EPOCH};

use flow::{Binding, Class, Direction, Mode};
use metrics::{Counter, Gauge, Histogram, Key, Label, Level, Metadata};
use wire::FailureCode;

use crate::port::Transport;

use super::{
    labels::{CAUSES, FAILURES, HTTP_STATUSES, LEAVE_REASONS, OPERATIONS, OUTCOMES, REFUSAL_REASONS, STATUSES},
    table::{Kind, Metric, find},
};

/// Which lane of an inbox; a label.
#[derive(Copy, Clone, Debug, Eq, PartialEq, Hash)]
pub enum Lane {
    /// Served first.
    Control,
    /// Chunks and their permissions.
    Data,
}

impl Lane {
    const ALL: [Self; 2] = [Self::Control, Self::Data];

    /// The label's value.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Control => "control",
            Self::Data => "data",
        }
    }
}

/// Handles of one direction.
pub struct DirectionMetrics {
    /// `evenkeel_overhead_bytes_total`.
    pub overhead_bytes: Counter,
    /// `evenkeel_transfers`.
    pub transfers: Gauge,
    /// `evenkeel_desired_bytes_per_second`; set +Inf for unlimited.
    pub desired: Gauge,
    /// `evenkeel_allowed_bytes_per_second`; set +Inf for not gated.
    pub allowed: Gauge,
    /// `evenkeel_assigned_bytes_per_second`; set +Inf for not gated.
    pub assigned: Gauge,
    /// `evenkeel_achieved_bytes_per_second`.
    pub achieved: Gauge,
    /// `evenkeel_lent_bytes_per_second`.
    pub lent: Gauge,
    /// `evenkeel_capacity_bytes_per_second`; 0 while unknown.
    pub capacity: Gauge,
    /// `evenkeel_jain_index`; NaN while fewer than two peers are backlogged.
    pub jain_index: Gauge,
    /// `evenkeel_peer_assigned_bytes_per_second`.
    pub peer_assigned: Histogram,
    /// `evenkeel_peer_achieved_bytes_per_second`.
    pub peer_achieved: Histogram,
    payload_bytes: Vec<Counter>,
    bindings: Vec<Gauge>,
    links: [Gauge; 2],
    mode_switches: [Counter; 2],
    ended: Cases<Counter>,
}

impl DirectionMetrics {
    fn register(direction: Direction) -> Self {
        let by = [("direction", direction_label(direction))];
        let with = |name: &'static str, value: &'static str| [by[0], (name, value)];
        let payload = |class, transport: Transport| {
            let labels = [by[0], ("class", class_label(class)), ("transport", transport.as_str())];
            counter("evenkeel_payload_bytes_total", &labels)
        };
        let classes = [Class::Foreground, Class::Background];
        let pairs = classes.iter().flat_map(|class| Transport::ALL.iter().map(move |transport| (*class, *transport)));
        let binding = |binding: &Binding| gauge("evenkeel_bindings", &with("binding", binding.as_str()));
        Self {
            overhead_bytes: counter("evenkeel_overhead_bytes_total", &by),
            transfers: gauge("evenkeel_transfers", &by),
            desired: gauge("evenkeel_desired_bytes_per_second", &by),
            allowed: gauge("evenkeel_allowed_bytes_per_second", &by),
            assigned: gauge("evenkeel_assigned_bytes_per_second", &by),
            achieved: gauge("evenkeel_achieved_bytes_per_second", &by),
            lent: gauge("evenkeel_lent_bytes_per_second", &by),
            capacity: gauge("evenkeel_capacity_bytes_per_second", &by),
            jain_index: gauge("evenkeel_jain_index", &by),
            peer_assigned: histogram("evenkeel_peer_assigned_bytes_per_second", &by),
            peer_achieved: histogram("evenkeel_peer_achieved_bytes_per_second", &by),
            payload_bytes: pairs.map(|(class, transport)| payload(class, transport)).collect(),
            bindings: Binding::ALL.iter().map(binding).collect(),
            links: Mode::ALL.map(|mode| gauge("evenkeel_links", &with("mode", mode.as_str()))),
            mode_switches: Mode::ALL.map(|mode| counter("evenkeel_mode_switches_total", &with("to", mode.as_str()))),
            ended: Cases::new(OUTCOMES, |outcome| counter("evenkeel_transfers_ended_total", &with("outcome", outcome))),
        }
    }

    /// `evenkeel_payload_bytes_total`: a link keeps a clone of its own.
    pub fn payload_bytes(&self, class: Class, transport: Transport) -> &Counter {
        let class = match class {
            Class::Foreground => 0,
            Class::Background => 1,
        };
        let transport = match transport {
            Transport::Tcp => 0,
            Transport::TcpPlain => 1,
            Transport::Http => 2,
            Transport::Quic => 3,
        };
        &self.payload_bytes[class * Transport::ALL.len() + transport]
    }

    /// `evenkeel_bindings`, all of them: sets how many leaves each binding holds now.
    pub fn set_bindings(&self, count: impl Fn(Binding) -> usize) {
        for (binding, gauge) in Binding::ALL.iter().zip(&self.bindings) {
            gauge.set(count(*binding) as f64);
        }
    }

    /// `evenkeel_links`.
    pub fn links(&self, mode: Mode) -> &Gauge {
        &self.links[mode.index()]
    }

    /// `evenkeel_mode_switches_total`.
    pub fn mode_switches(&self, to: Mode) -> &Counter {
        &self.mode_switches[to.index()]
    }

    /// `evenkeel_transfers_ended_total`: `stored`, `sent`, `failed`, `cancelled`, `lost`.
    pub fn ended(&self, outcome: &str) -> &Counter {
        self.ended.get(outcome)
    }
}

/// Handles of a node. Register them after the recorder is installed, share them in an `Arc`.
pub struct NodeMetrics {
    /// Node to peers.
    pub upload: DirectionMetrics,
    /// Peers to node.
    pub download: DirectionMetrics,
    /// `evenkeel_sessions`.
    pub sessions: Gauge,
    /// `evenkeel_peers`.
    pub peers: Gauge,
    /// `evenkeel_names_hidden_total`.
    pub names_hidden: Counter,
    /// `evenkeel_certificate_changes_total`, of good files.
    pub certificates_taken: Counter,
    /// The same, of bad ones: the certificate before stays in force.
    pub certificates_refused: Counter,
    /// `evenkeel_config_reloads_total`, of good files.
    pub reloads_taken: Counter,
    /// The same, of bad ones: all stays as it was.
    pub reloads_refused: Counter,
    /// `evenkeel_joins_total`.
    pub joins: Counter,
    /// `evenkeel_connections`.
    pub connections: Gauge,
    /// `evenkeel_connections_max`.
    pub connections_max: Gauge,
    /// `evenkeel_http_connections`.
    pub http_connections: Gauge,
    /// `evenkeel_allocation_round_duration_seconds`.
    pub round_duration: Histogram,
    /// `evenkeel_rate_updates_total`, outcome `sent`.
    pub rate_updates_sent: Counter,
    /// `evenkeel_rate_updates_total`, outcome `suppressed`.
    pub rate_updates_suppressed: Counter,
    /// `evenkeel_control_latency_seconds`.
    pub control_latency: Histogram,
    /// `evenkeel_actor_panics_total`.
    pub actor_panics: Counter,
    /// `evenkeel_workers`.
    pub workers: Gauge,
    /// `evenkeel_open_files_max`.
    pub open_files_max: Gauge,
    lane_depth: [Histogram; 2],
    lane_wait: [Histogram; 2],
    worker_turns: [Counter; 2],
    leaves: Cases<Counter>,
    refusals: Cases<Counter>,
    failures: Cases<Counter>,
    rounds: Cases<Counter>,
    disk_wait: Cases<Histogram>,
    api_requests: Cases<Counter>,
    http_requests: Cases<Counter>,
}

impl NodeMetrics {
    /// Registers everything with the installed recorder, so that every series is there, at zero, from the first scrape. Sets
    /// build info and start time.
    pub fn register() -> Self {
        let build = [
            ("version", env!("CARGO_PKG_VERSION")),
            ("profile", if cfg!(debug_assertions) { "debug" } else { "release" }),
            ("os", std::env::consts::OS),
            ("arch", std::env::consts::ARCH),
        ];
        gauge("evenkeel_build_info", &build).set(1.0);
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        gauge("evenkeel_start_time_seconds", &[]).set(now.as_secs_f64());
        // The log counts for itself.
        let _ = counter("evenkeel_log_lines_lost_total", &[]);
        let lane_histogram = |name| Lane::ALL.map(|lane| histogram(name, &[("lane", lane.as_str())]));
        let rate_updates = |outcome| counter("evenkeel_rate_updates_total", &[("outcome", outcome)]);
        let reasons = |name, reasons| Cases::new(reasons, |reason| counter(name, &[("reason", reason)]));
        // So that the series exists before the first breach; the other codes appear with theirs.
        let _ = violation("malformed");
        Self {
            upload: DirectionMetrics::register(Direction::Upload),
            download: DirectionMetrics::register(Direction::Download),
            sessions: gauge("evenkeel_sessions", &[]),
            peers: gauge("evenkeel_peers", &[]),
            names_hidden: counter("evenkeel_names_hidden_total", &[]),
            certificates_taken: counter("evenkeel_certificate_changes_total", &[("outcome", "taken")]),
            certificates_refused: counter("evenkeel_certificate_changes_total", &[("outcome", "refused")]),
            reloads_taken: counter("evenkeel_config_reloads_total", &[("outcome", "taken")]),
            reloads_refused: counter("evenkeel_config_reloads_total", &[("outcome", "refused")]),
            joins: counter("evenkeel_joins_total", &[]),
            connections: gauge("evenkeel_connections", &[]),
            connections_max: gauge("evenkeel_connections_max", &[]),
            http_connections: gauge("evenkeel_http_connections", &[]),
            round_duration: histogram("evenkeel_allocation_round_duration_seconds", &[]),
            rate_updates_sent: rate_updates("sent"),
            rate_updates_suppressed: rate_updates("suppressed"),
            control_latency: histogram("evenkeel_control_latency_seconds", &[]),
            actor_panics: counter("evenkeel_actor_panics_total", &[]),
            workers: gauge("evenkeel_workers", &[]),
            open_files_max: gauge("evenkeel_open_files_max", &[]),
            lane_depth: lane_histogram("evenkeel_lane_depth"),
            lane_wait: lane_histogram("evenkeel_lane_wait_seconds"),
            worker_turns: Lane::ALL.map(|lane| counter("evenkeel_worker_turns_total", &[("lane", lane.as_str())])),
            leaves: reasons("evenkeel_leaves_total", LEAVE_REASONS),
            refusals: reasons("evenkeel_refusals_total", REFUSAL_REASONS),
            failures: Cases::new(FAILURES, |code| counter("evenkeel_failures_total", &[("code", code)])),
            rounds: Cases::new(CAUSES, |cause| counter("evenkeel_allocation_rounds_total", &[("cause", cause)])),
            disk_wait: Cases::new(OPERATIONS, |operation| {
                histogram("evenkeel_disk_wait_seconds", &[("operation", operation)])
            }),
            api_requests: Cases::new(STATUSES, |status| counter("evenkeel_api_requests_total", &[("status", status)])),
            http_requests: Cases::new(HTTP_STATUSES, |status| {
                counter("evenkeel_http_requests_total", &[("status", status)])
            }),
        }
    }

    /// Handles of `direction`.
    pub fn direction(&self, direction: Direction) -> &DirectionMetrics {
        match direction {
            Direction::Upload => &self.upload,
            Direction::Download => &self.download,
        }
    }

    /// `evenkeel_leaves_total`: `clean`, `drained`, `disconnected`, `lost`, `timed_out`, `violation`, `refused`, `panic`.
    pub fn leave(&self, reason: &str) -> &Counter {
        self.leaves.get(reason)
    }

    /// `evenkeel_refusals_total`: a link fault, a refusal code in snake case, `connections` or `draining`.
    pub fn refusal(&self, reason: &str) -> &Counter {
        self.refusals.get(reason)
    }

    /// `evenkeel_failures_total`.
    pub fn failure(&self, code: FailureCode) -> &Counter {
        self.failures.get(code.as_str())
    }

    /// `evenkeel_violations_total`. Looks the name up: a session breaks the protocol once, then it is closed.
    pub fn violation(&self, code: &'static str) -> Counter {
        violation(code)
    }

    /// `evenkeel_allocation_rounds_total`: `tick`, `early`, `order`.
    pub fn round(&self, cause: &str) -> &Counter {
        self.rounds.get(cause)
    }

    /// `evenkeel_lane_depth`.
    pub fn lane_depth(&self, lane: Lane) -> &Histogram {
        &self.lane_depth[lane as usize]
    }

    /// `evenkeel_lane_wait_seconds`.
    pub fn lane_wait(&self, lane: Lane) -> &Histogram {
        &self.lane_wait[lane as usize]
    }

    /// `evenkeel_worker_turns_total`.
    pub fn worker_turns(&self, lane: Lane) -> &Counter {
        &self.worker_turns[lane as usize]
    }

    /// `evenkeel_api_requests_total`, by HTTP status.
    pub fn api_request(&self, status: &str) -> &Counter {
        self.api_requests.get(status)
    }

    /// `evenkeel_http_requests_total`, by HTTP status.
    pub fn http_request(&self, status: &str) -> &Counter {
        self.http_requests.get(status)
    }

    /// `evenkeel_disk_wait_seconds`: `open`, `read`, `write`, `hash`, `finish`.
    pub fn disk_wait(&self, operation: &str) -> &Histogram {
        self.disk_wait.get(operation)
    }
}

/// Handles for a fixed list of label values; the last value stands for whatever is not in the list.
struct Cases<H> {
    handles: Vec<(&'static str, H)>,
}

impl<H> Cases<H> {
    fn new(values: &'static [&'static str], register: impl Fn(&'static str) -> H) -> Self {
        debug_assert_eq!(values.last(), Some(&"other"));
        Self { handles: values.iter().map(|value| (*value, register(value))).collect() }
    }

    fn get(&self, value: &str) -> &H {
        let found = self.handles.iter().position(|(name, _)| *name == value);
        &self.handles[found.unwrap_or(self.handles.len() - 1)].1
    }
}

fn direction_label(direction: Direction) -> &'static str {
    match direction {
        Direction::Upload => "upload",
        Direction::Download => "download",
    }
}

fn class_label(class: Class) -> &'static str {
    match class {
        Class::Foreground => "foreground",
        Class::Background => "background",
    }
}

fn violation(code: &'static str) -> Counter {
    counter("evenkeel_violations_total", &[("code", code)])
}

type Labels = [(&'static str, &'static str)];

const METADATA: Metadata<'static> = Metadata::new("evenkeel", Level::INFO, None);

fn counter(name: &'static str, labels: &Labels) -> Counter {
    let metric = declared(name, labels);
    assert!(metric.kind == Kind::Counter, "{name} is not a counter");
    metrics::with_recorder(|recorder| recorder.register_counter(&key(name, labels), &METADATA))
}

fn gauge(name: &'static str, labels: &Labels) -> Gauge {
    let metric = declared(name, labels);
    assert!(metric.kind == Kind::Gauge, "{name} is not a gauge");
    metrics::with_recorder(|recorder| recorder.register_gauge(&key(name, labels), &METADATA))
}

fn histogram(name: &'static str, labels: &Labels) -> Histogram {
    let metric = declared(name, labels);
    assert!(matches!(metric.kind, Kind::Histogram(_)), "{name} is not a histogram");
    metrics::with_recorder(|recorder| recorder.register_histogram(&key(name, labels), &METADATA))
}

/// A handle that is not in the table, or with other labels, is our own bug, and every start of a node would show it.
fn declared(name: &str, labels: &Labels) -> &'static Metric {
    let metric = find(name).unwrap_or_else(|| panic!("{name} is not in the table of metrics"));
    assert!(
        metric.labels.iter().eq(labels.iter().map(|(label, _)| label)),
        "{name} has the labels {:?}",
        metric.labels
    );
    metric
}

fn key(name: &'static str, labels: &Labels) -> Key {
    let labels: Vec<Label> = labels.iter().map(|(label, value)| Label::from_static_parts(label, value)).collect();
    Key::from_parts(name, labels)
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeSet, sync::Mutex};

    use metrics::{KeyName, Recorder, SharedString};

    use super::*;
    use crate::metric::METRICS;

    /// Remembers which names were registered.
    #[derive(Default)]
    struct Names(Mutex<BTreeSet<String>>);

    impl Recorder for Names {
        fn describe_counter(&self, _: KeyName, _: Option<metrics::Unit>, _: SharedString) {}
        fn describe_gauge(&self, _: KeyName, _: Option<metrics::Unit>, _: SharedString) {}
        fn describe_histogram(&self, _: KeyName, _: Option<metrics::Unit>, _: SharedString) {}
        fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
            self.0.lock().unwrap().insert(key.name().to_owned());
            Counter::noop()
        }
        fn register_gauge(&self, key: &Key, _: &Metadata<'_>) -> Gauge {
            self.0.lock().unwrap().insert(key.name().to_owned());
            Gauge::noop()
        }
        fn register_histogram(&self, key: &Key, _: &Metadata<'_>) -> Histogram {
            self.0.lock().unwrap().insert(key.name().to_owned());
            Histogram::noop()
        }
    }

    #[test]
    fn every_metric_of_the_table_has_its_handle() {
        let names = Names::default();
        metrics::with_local_recorder(&names, NodeMetrics::register);
        let table: BTreeSet<String> = METRICS.iter().map(|metric| metric.name.to_owned()).collect();
        assert_eq!(*names.0.lock().unwrap(), table);
    }

    #[test]
    fn an_unknown_reason_counts_as_other() {
        let cases = Cases::new(LEAVE_REASONS, |reason| reason);
        assert_eq!(*cases.get("clean"), "clean");
        assert_eq!(*cases.get("peer said something odd"), "other");
    }

    #[test]
    fn payload_handles_do_not_mix_their_labels() {
        let metrics = NodeMetrics::register();
        assert_eq!(metrics.upload.payload_bytes.len(), 2 * Transport::ALL.len());
        for transport in Transport::ALL {
            let first = metrics.upload.payload_bytes(Class::Foreground, transport);
            let second = metrics.upload.payload_bytes(Class::Background, transport);
            assert!(!std::ptr::eq(first, second));
        }
    }
}
