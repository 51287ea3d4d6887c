//! The stage of a hostile scene: a node, and a neighbour whose transfer must not notice anything.

use std::{fs, path::PathBuf, sync::Arc, time::Duration};

use wire::FailureCode;

use crate::support::{
    Client, Server, assert_same, noise,
    steady::{self, Moment},
    transport, wait_until,
};

/// What the neighbour gets, or puts: more than it moves during any scene at [`LIMIT`].
const NEIGHBOUR_BYTES: usize = 48 << 20;
/// The node's limit, both ways.
pub(crate) const LIMIT: u64 = 1_000_000;
/// Of what is due to it by the limit, the neighbour must get at least this. The rest is for a busy machine.
const SERENITY: f64 = 0.6;

/// A node that anybody may read, limited to [`LIMIT`], with a short handshake; `config` is appended to its configuration
/// (its first lines belong to `[sessions]`).
pub(crate) fn node(config: &str) -> Server {
    node_waiting("2s", config)
}

/// The same; a handshake may take so long.
pub(crate) fn node_waiting(handshake: &str, config: &str) -> Server {
    let room = tempfile::tempdir().unwrap();
    let share = room.path().join("share");
    fs::create_dir(&share).unwrap();
    noise(&share.join("large"), NEIGHBOUR_BYTES, 1);
    noise(&share.join("small"), 100_000, 2);
    let file = room.path().join("node.toml");
    fs::write(&file, format!("[sessions]\nhandshake = \"{handshake}\"\n{config}")).unwrap();
    let share = format!("share={}", share.display());
    let limit = LIMIT.to_string();
    let args = ["--config", file.to_str().unwrap(), "--share", &share, "--open", "--upload-limit", &limit];
    Server::start_in(Arc::new(room), &[&args[..], &["--download-limit", &limit]].concat())
}

/// A well-behaved client with a long transfer.
pub(crate) struct Neighbour<'a> {
    server: &'a Server,
    client: Client,
    source: PathBuf,
    target: PathBuf,
    direction: &'static str,
    share: f64,
    since: Moment,
    bytes_then: u64,
}

impl<'a> Neighbour<'a> {
    /// Gets the large file and has the node's upload for itself.
    pub(crate) fn getting(server: &'a Server) -> Self {
        let target = PathBuf::from(server.path("neighbour.out"));
        let client = server.spawn_as("neighbour", &["get", &server.at("large"), "-o", target.to_str().unwrap()]);
        Self::started(server, client, server.share().join("large"), target, "upload")
    }

    /// Puts a large file and has the node's download for itself.
    pub(crate) fn putting(server: &'a Server) -> Self {
        let source = PathBuf::from(server.path("neighbour.in"));
        noise(&source, NEIGHBOUR_BYTES, 3);
        let client = server.spawn(&["put", source.to_str().unwrap(), &server.at("neighbour")]);
        Self::started(server, client, source, server.share().join("neighbour"), "download")
    }

    fn started(server: &'a Server, client: Client, source: PathBuf, target: PathBuf, direction: &'static str) -> Self {
        let mut this =
            Self { server, client, source, target, direction, share: 1.0, since: Moment::now(), bytes_then: 0 };
        wait_until("the neighbour's transfer runs", 30, || this.bytes() > 200_000);
        (this.since, this.bytes_then) = (Moment::now(), this.bytes());
        this
    }

    /// Others have a right to the rest.
    pub(crate) fn with_share(mut self, share: f64) -> Self {
        self.share = share;
        self
    }

    fn bytes(&self) -> u64 {
        let mut part = self.target.clone().into_os_string();
        part.push(".part");
        fs::metadata(part).map_or(0, |meta| meta.len())
    }

    /// It kept its rate; now it may finish at full speed, with the right bytes.
    #[track_caller]
    pub(crate) fn was_undisturbed(self) {
        // What is in hand when one looks must not decide.
        if let Some(missing) = Duration::from_secs(3).checked_sub(self.since.elapsed()) {
            steady::sleep(missing);
        }
        let (bytes, seconds) = (self.bytes() - self.bytes_then, self.since.elapsed().as_secs_f64());
        let due = LIMIT as f64 * self.share * seconds;
        assert!(
            bytes as f64 >= due * SERENITY,
            "the neighbour moved {bytes} bytes in {seconds:.1} s, {:.0} % of its due",
            bytes as f64 / due * 100.0
        );
        let other = format!("transport=\"{}\"", if transport() == "quic" { "tcp" } else { "quic" });
        let astray = self.server.metric("evenkeel_payload_bytes_total", &[&other]);
        assert_eq!(astray, 0.0, "bytes over the transport that this scene is not about");
        let body = format!(r#"{{"{}_bytes_per_second": null}}"#, self.direction);
        assert_eq!(self.server.api("PATCH", "/v1/limits", Some(&body)).0, 200);
        let (code, words) = self.client.wait(60);
        assert_eq!(code, 0, "{words}");
        assert_same(&self.source, &self.target);
    }
}

/// Counters before a scene, to see what rose.
pub(crate) struct Counts<'a> {
    server: &'a Server,
}

impl<'a> Counts<'a> {
    pub(crate) fn of(server: &'a Server) -> Self {
        Self { server }
    }

    pub(crate) fn refusals(&self, reason: &str) -> f64 {
        self.server.metric("evenkeel_refusals_total", &[&format!("reason=\"{reason}\"")])
    }

    pub(crate) fn violations(&self, code: &str) -> f64 {
        self.server.metric("evenkeel_violations_total", &[&format!("code=\"{code}\"")])
    }

    pub(crate) fn failures(&self, code: FailureCode) -> f64 {
        self.server.metric("evenkeel_failures_total", &[&format!("code=\"{}\"", code.as_str())])
    }

    /// Runs `scene`, which is told `code` that many times, and sees that it was counted.
    #[track_caller]
    pub(crate) fn failed(&self, code: FailureCode, times: usize, scene: impl FnOnce()) {
        let before = self.failures(code);
        scene();
        assert_eq!(self.failures(code) - before, times as f64, "failures told as `{}`", code.as_str());
    }

    /// Runs `scene` and waits until `reason` was counted `times` more.
    #[track_caller]
    pub(crate) fn refused(&self, reason: &str, times: usize, scene: impl FnOnce()) {
        let before = self.refusals(reason);
        scene();
        let wanted = before + times as f64;
        wait_until(&format!("{times} refusals for `{reason}`"), 10, || self.refusals(reason) >= wanted);
    }

    /// Runs `scene` and waits until a violation of `code` was counted.
    #[track_caller]
    pub(crate) fn violated(&self, code: &str, scene: impl FnOnce()) {
        let before = self.violations(code);
        scene();
        wait_until(&format!("a violation `{code}`"), 10, || self.violations(code) > before);
    }
}

/// The node still serves whoever behaves, and has kept nothing of those who did not.
#[track_caller]
pub(crate) fn serves_on(server: &Server) {
    let out = server.path("small.out");
    let output = server.run_as("newcomer", &["get", &server.at("small"), "-o", &out]);
    crate::support::Said::expect_code(output, 0);
    assert_same(server.share().join("small"), &out);
    let _ = fs::remove_file(&out);
    assert_eq!(server.metric("evenkeel_actor_panics_total", &[]), 0.0, "an actor panicked");
    assert!(!server.words().contains("panicked"), "something panicked");
}

/// Only so many connections are left: nothing of a scene stays.
#[track_caller]
pub(crate) fn connections_fall_to(server: &Server, most: f64, seconds: u64) {
    wait_until(&format!("at most {most} connections"), seconds, || server.metric("evenkeel_connections", &[]) <= most);
}
