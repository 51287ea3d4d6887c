//! Every panel of every dashboard answers with data, from a real Prometheus that scrapes a real node under load; and
//! `promtool` finds nothing to say about the metrics page.
//!
//! Needs Debian's `prometheus` package. Without it the tests say so and pass, except where `CI` is `true`.

mod dashboard;
mod node;
mod prometheus;

use std::{
    env,
    net::TcpListener,
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, Instant},
};

use actors::metric::NodeMetrics;
use evenkeel::telemetry::Metrics;
use node::{Load, Node};
use prometheus::{Prometheus, lint};

/// From the first scrape until every query must have answered: pings come every 15 s, rates need two scrapes.
const DATA_SECONDS_MAX: u64 = 90;

/// Whether a tool is there; where it must be and is not, the test fails.
fn has(tool: &str) -> bool {
    if Command::new(tool).arg("--version").output().is_ok() {
        return true;
    }
    let words = format!("{tool} is not installed: sudo apt-get install prometheus");
    assert!(env::var("CI").as_deref() != Ok("true"), "{words}");
    eprintln!("skipped: {words}");
    false
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

fn dashboards() -> Vec<PathBuf> {
    let folder = root().join("grafana/dashboards");
    let mut files: Vec<_> = folder.read_dir().unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    assert!(!files.is_empty());
    files
}

#[test]
fn promtool_finds_nothing_in_the_table() {
    if !has("promtool") {
        return;
    }
    let metrics = Metrics::install().unwrap();
    let node = NodeMetrics::register();
    node.upload.desired.set(f64::INFINITY);
    node.upload.jain_index.set(f64::NAN);
    node.control_latency.record(0.0003);
    lint(&metrics.render());
}

#[test]
fn the_scrape_configuration_is_valid() {
    if !has("promtool") {
        return;
    }
    let output =
        Command::new("promtool").args(["check", "config"]).arg(root().join("grafana/prometheus.yml")).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn every_panel_has_data_while_a_node_is_under_load() {
    if !has("prometheus") || !has("promtool") {
        return;
    }
    let room = tempfile::tempdir().unwrap();
    let node = Node::start(room.path());
    let _load = Load::start(&node, room.path());
    let prometheus = Prometheus::start(room.path(), free_port(), &node.metrics);
    lint(&ureq::get(&format!("http://{}/metrics", node.metrics)).call().unwrap().body_mut().read_to_string().unwrap());

    let mut waiting: Vec<dashboard::Query> =
        dashboards().iter().flat_map(|file: &PathBuf| dashboard::queries(Path::new(file))).collect();
    assert!(waiting.len() > 10, "the dashboards ask for something");
    let deadline = Instant::now() + Duration::from_secs(DATA_SECONDS_MAX);
    while !waiting.is_empty() && Instant::now() < deadline {
        waiting.retain(|query| !prometheus.has_data(&query.expression));
        std::thread::sleep(Duration::from_millis(500));
    }
    let empty: Vec<String> = waiting.iter().map(|query| format!("{}: {}", query.panel, query.expression)).collect();
    assert!(
        empty.is_empty(),
        "no data after {DATA_SECONDS_MAX} s from a node under load:\n  {}\n{}",
        empty.join("\n  "),
        node.words()
    );
}
