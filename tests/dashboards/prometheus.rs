//! Debian's Prometheus, scraping one node every second.

use std::{
    fs,
    io::Write,
    path::Path,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use serde_json::Value;

/// A running Prometheus; killed on drop.
pub(crate) struct Prometheus {
    process: Child,
    url: String,
}

impl Prometheus {
    /// Starts one in `room` that scrapes `target`, and waits until it answers.
    pub(crate) fn start(room: &Path, port: u16, target: &str) -> Self {
        let config = room.join("prometheus.yml");
        let text = format!(
            "global:\n  scrape_interval: 1s\nscrape_configs:\n  - job_name: evenkeel\n    static_configs:\n      \
             - targets: [\"{target}\"]\n"
        );
        fs::write(&config, text).unwrap();
        let process = Command::new("prometheus")
            .arg(format!("--config.file={}", config.display()))
            .arg(format!("--storage.tsdb.path={}", room.join("prometheus").display()))
            .arg(format!("--web.listen-address=127.0.0.1:{port}"))
            .arg("--log.level=error")
            .stdin(Stdio::null())
            .spawn()
            .unwrap();
        let started = Self { process, url: format!("http://127.0.0.1:{port}") };
        let deadline = Instant::now() + Duration::from_secs(30);
        while ureq::get(&format!("{}/-/ready", started.url)).call().is_err() {
            assert!(Instant::now() < deadline, "prometheus did not become ready");
            thread::sleep(Duration::from_millis(100));
        }
        started
    }

    /// Whether `expression` answers with at least one value that is a number.
    pub(crate) fn has_data(&self, expression: &str) -> bool {
        let request = ureq::get(&format!("{}/api/v1/query", self.url)).query("query", expression);
        let answer = request
            .config()
            .http_status_as_error(false)
            .build()
            .call()
            .unwrap()
            .body_mut()
            .read_json::<Value>()
            .unwrap();
        assert_eq!(answer["status"], "success", "{expression}: {}", answer["error"]);
        let results = answer["data"]["result"].as_array().map(Vec::as_slice).unwrap_or_default();
        let number = |result: &Value| result["value"][1].as_str().is_some_and(|value| value != "NaN");
        results.iter().any(number)
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// `promtool check metrics` must have nothing to say about `page`.
pub(crate) fn lint(page: &str) {
    let mut promtool = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    promtool.stdin.take().unwrap().write_all(page.as_bytes()).unwrap();
    let output = promtool.wait_with_output().unwrap();
    let words = [output.stdout, output.stderr].concat();
    assert!(output.status.success() && words.is_empty(), "promtool: {}", String::from_utf8_lossy(&words));
}
