//! Two network namespaces with a shaped line between them. Needs root, `ip` and `tc`; takes away what it made.

use std::process::Command;

use super::program::Words;

/// The sender's and the receivers' namespaces, joined by a veth pair whose sending end is shaped by TBF.
pub(crate) struct Line {
    /// Where the node runs.
    pub(crate) near: String,
    /// Where the peers run.
    pub(crate) far: String,
    device: String,
}

/// The node's address on the line.
pub(crate) const NEAR_ADDRESS: &str = "10.201.7.1";
const FAR_ADDRESS: &str = "10.201.7.2";
/// What the line keeps before it drops, as time: a router with a small queue.
const QUEUE: &str = "50ms";
/// What passes at once: more than a tick's worth at 1 Gbit/s and HZ 250.
const BURST: &str = "64kb";

impl Line {
    /// A line of `mbit` Mbit/s from `near` to `far`; unshaped the other way.
    pub(crate) fn new(mbit: u32) -> Result<Self, Words> {
        let pid = std::process::id();
        let line = Self { near: format!("evk-{pid}-a"), far: format!("evk-{pid}-b"), device: format!("evk{pid}a") };
        let other = format!("evk{pid}b");
        run("ip", &["netns", "add", &line.near])?;
        run("ip", &["netns", "add", &line.far])?;
        let ends = ["type", "veth", "peer", "name", &other, "netns", &line.far];
        run("ip", &[&["-n", &line.near, "link", "add", &line.device], &ends[..]].concat())?;
        for (namespace, device, address) in [(&line.near, &line.device, NEAR_ADDRESS), (&line.far, &other, FAR_ADDRESS)]
        {
            run("ip", &["-n", namespace, "address", "add", &format!("{address}/24"), "dev", device])?;
            run("ip", &["-n", namespace, "link", "set", device, "up"])?;
            run("ip", &["-n", namespace, "link", "set", "lo", "up"])?;
        }
        line.shape("add", mbit)?;
        Ok(line)
    }

    /// Changes its rate.
    pub(crate) fn set_rate(&self, mbit: u32) -> Result<(), Words> {
        self.shape("change", mbit)
    }

    fn shape(&self, verb: &str, mbit: u32) -> Result<(), Words> {
        let rate = format!("{mbit}mbit");
        let shape = ["tbf", "rate", &rate, "burst", BURST, "latency", QUEUE];
        run("tc", &[&["-n", &self.near, "qdisc", verb, "dev", &self.device, "root"], &shape[..]].concat())
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        // A namespace takes its end of the pair with it, and an end the other.
        let _ = run("ip", &["netns", "del", &self.near]);
        let _ = run("ip", &["netns", "del", &self.far]);
    }
}

fn run(program: &str, args: &[&str]) -> Result<(), Words> {
    let output = Command::new(program).args(args).output().map_err(|error| format!("{program}: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    Err(format!("{program} {}: {}", args.join(" "), String::from_utf8_lossy(&output.stderr).trim()))
}
