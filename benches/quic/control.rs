//! What a control message waits for while data flows over QUIC: 50 backlogged peers under one total, control and data on sockets
//! apart as they are, on one connection (feature `one-connection`), and over TCP.
//!
//! `get`, `put`, `both`, `home`, `apart` and `nearby` name what the peers do ([`PARTS`]); none named means all. Where they get and
//! put, each direction has the total.
//!
//! All peers share a core, and over QUIC they need two fifths of it, in bursts. Those that do not ping are in the kernel's idle
//! class, so that the figures are the node's and not those of a machine with 50 clients; `EVENKEEL_BENCH_CROWD_BEHIND=0` leaves
//! them beside. What the pinging session's client waits for itself is left out by a relay between a further one and the node
//! (`support/stamped.rs`).

use std::{
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use crate::{
    measure::{Outcome, PROGRAM, median, setting},
    narrow::Home,
    pings::{Moves, Scene, Take, take},
};

/// What the backlogged peers do meanwhile.
struct Part {
    /// On the command line.
    name: &'static str,
    words: &'static str,
    moves: Moves,
    /// Before the one that pings.
    line: Option<Home>,
}

const PARTS: [Part; 6] = [
    Part { name: "get", words: "all get", moves: Moves::Gets, line: None },
    Part { name: "put", words: "all put", moves: Moves::Puts, line: None },
    Part { name: "both", words: "every other one gets, the others put", moves: Moves::Both, line: None },
    Part {
        name: "home",
        words: "all get, the one that pings over 16 Mbit/s, 40 ms and one queue",
        moves: Moves::Gets,
        line: Some(Home::ONE_QUEUE),
    },
    Part {
        name: "apart",
        words: "the same, each of its connections with a queue of its own",
        moves: Moves::Gets,
        line: Some(Home::QUEUES_APART),
    },
    Part { name: "nearby", words: "the same over 1 ms there and back", moves: Moves::Gets, line: Some(Home::NEARBY) },
];

/// At most this much of one connection is wanted, and at most so many milliseconds.
const SHARE_MAX: f64 = 1.0 / 3.0;
const P99_MS_MAX: f64 = 5.0;

pub(crate) fn run() -> Outcome<()> {
    let runs = setting("EVENKEEL_BENCH_RUNS", 3);
    let pings = setting("EVENKEEL_BENCH_PINGS", 4000);
    let total = std::env::var("EVENKEEL_BENCH_TOTAL").unwrap_or_else(|_| "200MB/s".into());
    let builds = Builds { ours: (PathBuf::from(PROGRAM), std::env::current_exe()?), joined: one_connection()? };
    let is_named = |part: &Part| std::env::args().any(|arg| arg == part.name);
    let is_any_named = PARTS.iter().any(is_named);
    for part in PARTS.iter().filter(|part| !is_any_named || is_named(part)) {
        let mut scenes = scenes(part, &builds);
        let peers = scenes[0].peers;
        println!(
            "{peers} backlogged peers, {}, total {total}, {pings} pings per session and run, {runs} alternating runs",
            part.words
        );
        for _ in 0..runs {
            for scene in &mut scenes {
                let take = take(scene, &total, pings)?;
                println!("  {:20} separate {:?}  backlogged {:?}", scene.name, take.separate, take.backlogged);
                scene.takes.push(take);
            }
        }
        print(&scenes);
    }
    Ok(())
}

/// Node and player: as they are, and with one connection.
struct Builds {
    ours: (PathBuf, PathBuf),
    joined: (PathBuf, PathBuf),
}

/// Two sockets, one connection, and TCP; the last not on a line that is made for datagrams.
fn scenes(part: &Part, builds: &Builds) -> Vec<Scene> {
    let Part { moves, line, .. } = *part;
    let peers = setting("EVENKEEL_BENCH_PEERS", 50);
    let crowd_behind = setting("EVENKEEL_BENCH_CROWD_BEHIND", 1) != 0;
    let scene = |name, over, (program, player): &(PathBuf, PathBuf)| {
        let (program, player) = (program.clone(), player.clone());
        Scene { name, program, player, over, peers, crowd_behind, moves, line, takes: Vec::new() }
    };
    let mut scenes =
        vec![scene("QUIC, two sockets", "quic", &builds.ours), scene("QUIC, one connection", "quic", &builds.joined)];
    if line.is_none() {
        scenes.push(scene("TCP + TLS", "tcp", &builds.ours));
    }
    scenes
}

fn print(scenes: &[Scene]) {
    println!(
        "medians, ms             separate session           a backlogged session       readable to written        frame to kernel   MB/s got, put  cores"
    );
    println!(
        "                        p50     p99     p99.9      p50     p99     p99.9      p50     p99     p99.9      p50     p99"
    );
    let of = |scene: &Scene, pick: &dyn Fn(&Take) -> f64| median(scene.takes.iter().map(pick));
    for scene in scenes {
        let of = |pick: &dyn Fn(&Take) -> f64| of(scene, pick);
        let [a, b, c] = [0, 1, 2].map(|index| of(&|take| take.separate[index]));
        let [d, e, f] = [0, 1, 2].map(|index| of(&|take| take.backlogged[index]));
        let [u, v, w] = [0, 1, 2].map(|index| of(&|take| take.wire[index]));
        let [g, h] = [0, 1].map(|index| of(&|take| take.inside[index]));
        let (got, put) = (of(&|take| take.megabytes_per_second), of(&|take| take.put_megabytes_per_second));
        let cores = of(&|take| take.node_cores);
        println!(
            "{:20} {a:7.3} {b:7.3} {c:7.3}   {d:7.3} {e:7.3} {f:7.3}   {u:7.3} {v:7.3} {w:7.3}   {g:7.3} {h:7.3}   {got:6.1} {put:6.1}  {cores:.2}",
            scene.name
        );
    }
    let (two, one) = (&scenes[0], &scenes[1]);
    // What the line itself takes is in both builds and neither's doing; only the backlogged session is behind it.
    let line_ms = two.line.map_or(0.0, |line| 2e3 * line.one_way.as_secs_f64());
    let seen: [(&str, f64, Pick); 3] = [
        ("separate", 0.0, |take| take.separate[1]),
        ("backlogged", line_ms, |take| take.backlogged[1]),
        ("readable to written", 0.0, |take| take.wire[1]),
    ];
    for (name, line_ms, pick) in seen {
        let (ms, joined_ms) = (of(two, &pick), of(one, &pick));
        println!(
            "p99, {name}: {ms:.3} ms, {:.3} of one connection (at most a third: {})",
            ms / joined_ms,
            verdict(ms <= SHARE_MAX * joined_ms)
        );
        let (waits_ms, joined_ms) = (ms - line_ms, joined_ms - line_ms);
        let beyond = if line_ms > 0.0 { format!(" beyond the line's {line_ms:.0} ms") } else { String::new() };
        let share = waits_ms / joined_ms;
        println!(
            "    waits{beyond} {waits_ms:.3} ms (at most {P99_MS_MAX}: {}), {share:.3} of one connection",
            verdict(waits_ms <= P99_MS_MAX)
        );
    }
}

/// One figure of a run.
type Pick = fn(&Take) -> f64;

fn verdict(is_met: bool) -> &'static str {
    if is_met { "met" } else { "missed" }
}

/// The node and this benchmark with one connection for both; built if `EVENKEEL_ONE_CONNECTION` does not name the directory.
fn one_connection() -> Outcome<(PathBuf, PathBuf)> {
    let target = match std::env::var_os("EVENKEEL_ONE_CONNECTION") {
        Some(path) => path.into(),
        // PROGRAM is TARGET/PROFILE/evenkeel.
        None => Path::new(PROGRAM).ancestors().nth(2).ok_or("no target directory")?.join("one-connection"),
    };
    println!("the build with one connection is in {}", target.display());
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.args([
        "build",
        "--release",
        "--quiet",
        "--bench",
        "quic",
        "--bin",
        "evenkeel",
        "--features",
        "one-connection",
    ]);
    cargo.args(["--message-format", "json", "--target-dir"]).arg(&target).current_dir(env!("CARGO_MANIFEST_DIR"));
    let built = cargo.stderr(Stdio::inherit()).output()?;
    if !built.status.success() {
        return Err("the build with one connection failed".into());
    }
    let executables = String::from_utf8(built.stdout)?;
    let player = executables.lines().find_map(|line| {
        let message: serde_json::Value = serde_json::from_str(line).ok()?;
        let is_ours = message["target"]["name"] == "quic" && message["target"]["kind"][0] == "bench";
        is_ours.then(|| message["executable"].as_str().map(PathBuf::from)).flatten()
    });
    Ok((target.join("release/evenkeel"), player.ok_or("cargo names no benchmark")?))
}
