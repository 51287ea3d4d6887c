//! What control messages wait for while 5,000 connections are served, beside an idle node and beside the build without lanes.

use std::{
    io::BufRead as _,
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Child, Stdio},
    time::Duration,
};

use super::{
    Bench,
    load::{Load, Speech},
    probe::Waits,
    report::{thousands, verdict},
    rival::start_evenkeel,
    setup::LOAD_CORE,
};
use crate::measure::{self, Outcome, PROGRAM, Server, median, pinned, setting};

const CONNECTIONS: usize = 5_000;
const RATE: u64 = 200_000;
const SETTLE: Duration = Duration::from_secs(4);
/// A probe's pings; a fifth as many requests to the API.
const PINGS: u64 = 3_000;

/// A node, and how many connections it serves.
struct Scene {
    name: &'static str,
    program: PathBuf,
    connections: usize,
    takes: Vec<Take>,
}

/// What one run saw.
pub(crate) struct Take {
    pub(crate) pings: Waits,
    pub(crate) asks: Waits,
    /// Bytes per second meanwhile.
    pub(crate) rate: f64,
}

/// The three in turns.
pub(crate) fn compare(bench: &Bench) -> Outcome<()> {
    let scene = |name, program: &Path, connections| Scene { name, program: program.into(), connections, takes: vec![] };
    let without = measure::lanes_off()?;
    let mut scenes = [
        scene("idle", Path::new(PROGRAM), 0),
        scene("under load", Path::new(PROGRAM), CONNECTIONS),
        scene("under load, lanes off", &without, CONNECTIONS),
    ];
    for _ in 0..bench.runs {
        for scene in &mut scenes {
            let take = once(bench, scene)?;
            scene.takes.push(take);
        }
    }
    let mut text = format!(
        "### Control while {} x {} KB/s run\n\n{}; medians of {} alternating runs of {PINGS} pings and {} requests of `/v1/status`, in ms\n\n{HEAD}",
        thousands(CONNECTIONS),
        RATE / 1000,
        bench.facts,
        bench.runs,
        PINGS / 5
    );
    scenes.iter().for_each(|scene| text.push_str(&line(scene.name, &scene.takes)));
    let p99 = |scene: &Scene, of: fn(&Take) -> Waits| median(scene.takes.iter().map(|take| of(take).inside[1]));
    text.push('\n');
    for (name, of) in KINDS {
        let (with, without) = (p99(&scenes[1], of), p99(&scenes[2], of));
        text.push_str(&verdict(&format!("{name}, p99 inside, ms"), with, 0.5, true, 3));
        text.push_str(&format!("- {name}, p99 inside over that with the lanes off: {:.3}\n", with / without));
    }
    bench.report.block("control", &text)
}

/// A kind of message by name, and its waits.
type Kind = (&'static str, fn(&Take) -> Waits);

/// What is measured of each take.
pub(crate) const KINDS: [Kind; 2] = [("ping", |take| take.pings), ("status", |take| take.asks)];

/// Of a table of takes.
pub(crate) const HEAD: &str = "| | MB/s | ping inside, p50 | p99 | ping seen, p50 | p99 | status inside, p50 | p99 | status seen, p50 | p99 |\n\
     |---|---|---|---|---|---|---|---|---|---|\n";

/// A line of that table: medians.
pub(crate) fn line(name: &str, takes: &[Take]) -> String {
    let mut text = format!("| {name} | {:.1} |", median(takes.iter().map(|take| take.rate)) / 1e6);
    for (_, of) in KINDS {
        for figure in [|waits: Waits| waits.inside, |waits: Waits| waits.seen] {
            for index in [0, 1] {
                let value = median(takes.iter().map(|take| figure(of(take))[index]));
                text.push_str(&format!(" {value:.3} |"));
            }
        }
    }
    text + "\n"
}

fn once(bench: &Bench, scene: &Scene) -> Outcome<Take> {
    let address = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
    let total = RATE * CONNECTIONS as u64;
    let node = start_evenkeel(&scene.program, &bench.room, address, Some(total), "")?;
    let mut load = Load::open(address, &Speech::Http("/bench/big".to_owned()), scene.connections)?;
    load.run_for(SETTLE)?;
    let mut probe = Probe::start(&node, &bench.room)?;
    let before = load.total();
    let began = std::time::Instant::now();
    while !probe.is_done()? {
        load.run_for(Duration::from_millis(100))?;
    }
    let rate = (load.total() - before) as f64 / began.elapsed().as_secs_f64();
    probe.take(rate)
}

/// A probe's process. It shares the load's core, and goes before it.
pub(crate) struct Probe(Child);

impl Probe {
    /// Begins to ask `node`.
    pub(crate) fn start(node: &Server, room: &Path) -> Outcome<Self> {
        let mut command = pinned(std::env::current_exe()?, Some(LOAD_CORE));
        let count = setting("EVENKEEL_BENCH_PINGS", PINGS);
        command.args(["probe", &node.address, &node.admin]).arg(room).arg(count.to_string());
        Ok(Self(command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn()?))
    }

    /// Whether it has seen enough.
    pub(crate) fn is_done(&mut self) -> Outcome<bool> {
        Ok(self.0.try_wait()?.is_some())
    }

    /// What it saw.
    pub(crate) fn take(mut self, rate: f64) -> Outcome<Take> {
        let mut lines = std::io::BufReader::new(self.0.stdout.take().ok_or("no stdout")?).lines();
        let mut line = || lines.next().ok_or("the probe failed")?.map_err(Box::<dyn std::error::Error>::from);
        Ok(Take { pings: Waits::parse(&line()?)?, asks: Waits::parse(&line()?)?, rate })
    }
}

impl Drop for Probe {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
