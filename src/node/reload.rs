//! SIGHUP: the configuration read again. A good one is put in force as far as a running node can take it over, all of that or
//! nothing, and what needs a restart is named; a bad one changes nothing.

use std::io;

use actors::NodeConsole;
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::config::Config;

use super::{compose, options::ConfigSource};

/// What a node started from, and where to look for what it is to be now.
pub(super) struct Reload {
    console: NodeConsole,
    source: ConfigSource,
    started: Config,
    hang_up: Signal,
}

impl Reload {
    /// For the node of `console`, which runs with `started` from `source`. From now on SIGHUP does not end the program.
    pub(super) fn listen(console: NodeConsole, source: ConfigSource, started: Config) -> io::Result<Self> {
        Ok(Self { console, source, started, hang_up: signal(SignalKind::hangup())? })
    }

    /// Waits until it is asked for.
    pub(super) async fn asked(&mut self) {
        if self.hang_up.recv().await.is_none() {
            std::future::pending().await
        }
    }

    /// Reads the configuration and takes it over.
    pub(super) async fn run(&self) {
        let metrics = &self.console.0.shared().metrics;
        match self.adopt().await {
            Ok(waiting) => {
                metrics.reloads_taken.increment(1);
                tracing::info!("configuration read again: limits, groups and peers are in force as it has them");
                if !waiting.is_empty() {
                    tracing::warn!("changed, and in force after a restart only: {}", waiting.join(", "));
                }
            }
            Err(words) => {
                metrics.reloads_refused.increment(1);
                tracing::error!("configuration refused, and all stays as it was: {words}");
            }
        }
    }

    /// Gives back what needs a restart, by section.
    async fn adopt(&self) -> Result<Vec<&'static str>, String> {
        if self.source.file.is_none() {
            return Err("there is none to read again: the node was started without `--config`".into());
        }
        let source = self.source.clone();
        // A disk may be slow, and this thread lets peers in.
        let read = tokio::task::spawn_blocking(move || source.read()).await;
        let (config, _) = read.map_err(|error| error.to_string())?.map_err(|error| error.to_string())?;
        self.console.adopt(compose::standings(&config)).await.map_err(|error| error.to_string())?;
        Ok(needs_restart(&self.started, &config))
    }
}

/// Sections of `next` that say something else than those of `started`, and are read at the start only.
fn needs_restart(started: &Config, next: &Config) -> Vec<&'static str> {
    let rules = |config: &Config| -> Vec<_> {
        let rule = |group: &crate::config::Group| {
            (group.name.clone(), group.shares.clone(), group.peers.clone(), group.addresses.clone())
        };
        config.groups.iter().map(rule).collect()
    };
    let sections = [
        ("[node]", started.node == next.node),
        ("[listen]", started.listen == next.listen),
        ("[allocation]", started.allocation == next.allocation),
        ("[shaping]", started.shaping == next.shaping),
        ("[sessions]", started.sessions == next.sessions),
        ("[transport]", started.transport == next.transport),
        ("[http]", started.http == next.http),
        ("[files]", started.files == next.files),
        ("[access]", started.access == next.access),
        ("[admin]", started.admin == next.admin),
        ("[log]", started.log == next.log),
        ("[[share]]", started.shares == next.shares),
        ("[[group]] names and rules", rules(started) == rules(next)),
    ];
    sections.into_iter().filter(|(_, same)| !same).map(|(name, _)| name).collect()
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::config::Overrides;

    fn config(text: &str) -> Config {
        Config::parse("test", text, Path::new(""), &Overrides::default()).unwrap()
    }

    #[test]
    fn what_a_running_node_takes_over_needs_no_restart() {
        let started = config("[limits]\nupload = \"1MB/s\"\n[[group]]\nname = \"g\"\naddresses = [\"10.0.0.0/8\"]\n");
        let limits =
            config("[[group]]\nname = \"g\"\naddresses = [\"10.0.0.0/8\"]\nweight = 3\nupload_cap = \"1MB/s\"\n");
        assert!(needs_restart(&started, &limits).is_empty());
        let peers = config(
            "[[group]]\nname = \"g\"\naddresses = [\"10.0.0.0/8\"]\n[[peer]]\nid = \"http:192.0.2.7\"\nweight = 2\n",
        );
        assert!(needs_restart(&started, &peers).is_empty());
    }

    #[test]
    fn every_other_section_is_named() {
        for (text, section) in [
            ("[node]\ndrain = \"1s\"", "[node]"),
            ("[listen]\npeers = \"127.0.0.1:1\"", "[listen]"),
            ("[allocation]\ninterval = \"1s\"", "[allocation]"),
            ("[shaping]\nquantum = \"300ms\"", "[shaping]"),
            ("[sessions]\nmax = 7", "[sessions]"),
            ("[transport]\nsendfile = false", "[transport]"),
            ("[http]\nlisten = \"127.0.0.1:1\"", "[http]"),
            ("[files]\ndisk_threads = 7", "[files]"),
            ("[access]\nopen = true", "[access]"),
            ("[admin]\ntoken = \"a-token-of-enough-letters\"", "[admin]"),
            ("[log]\nlevel = \"debug\"", "[log]"),
            ("[[share]]\nname = \"s\"\npath = \"x\"", "[[share]]"),
            ("[[group]]\nname = \"g\"\naddresses = [\"10.0.0.0/8\"]", "[[group]] names and rules"),
        ] {
            assert_eq!(needs_restart(&Config::default(), &config(text)), [section], "{text}");
        }
    }
}
