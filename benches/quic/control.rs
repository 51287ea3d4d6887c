//! What a control message waits for while data flows over QUIC: 50 backlogged peers under one total, control and data on sockets
//! apart as they are, on one connection (feature `one-connection`), and over TCP.
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
    pings::{Scene, Take, take},
};

pub(crate) fn run() -> Outcome<()> {
    let runs = setting("EVENKEEL_BENCH_RUNS", 3);
    let pings = setting("EVENKEEL_BENCH_PINGS", 4000);
    let peers = setting("EVENKEEL_BENCH_PEERS", 50);
    let total = std::env::var("EVENKEEL_BENCH_TOTAL").unwrap_or_else(|_| "200MB/s".into());
    let crowd_behind = setting("EVENKEEL_BENCH_CROWD_BEHIND", 1) != 0;
    let ours = (PathBuf::from(PROGRAM), std::env::current_exe()?);
    let joined = one_connection()?;
    let scene = |name, over, (program, player): &(PathBuf, PathBuf)| {
        let (program, player) = (program.clone(), player.clone());
        Scene { name, program, player, over, peers, crowd_behind, takes: Vec::new() }
    };
    let mut scenes = [
        scene("QUIC, two sockets", "quic", &ours),
        scene("QUIC, one connection", "quic", &joined),
        scene("TCP + TLS", "tcp", &ours),
    ];
    println!("{peers} backlogged peers, total {total}, {pings} pings per session and run, {runs} alternating runs");
    for _ in 0..runs {
        for scene in &mut scenes {
            let take = take(scene, &total, pings)?;
            scene.takes.push(take);
        }
    }
    println!(
        "medians, ms             separate session           a backlogged session       readable to written        frame to kernel   MB/s  cores"
    );
    println!(
        "                        p50     p99     p99.9      p50     p99     p99.9      p50     p99     p99.9      p50     p99"
    );
    for scene in &scenes {
        let of = |pick: &dyn Fn(&Take) -> f64| median(scene.takes.iter().map(pick));
        let [a, b, c] = [0, 1, 2].map(|index| of(&|take| take.separate[index]));
        let [d, e, f] = [0, 1, 2].map(|index| of(&|take| take.backlogged[index]));
        let [u, v, w] = [0, 1, 2].map(|index| of(&|take| take.wire[index]));
        let [g, h] = [0, 1].map(|index| of(&|take| take.inside[index]));
        let (rate, cores) = (of(&|take| take.megabytes_per_second), of(&|take| take.node_cores));
        println!(
            "{:20} {a:7.3} {b:7.3} {c:7.3}   {d:7.3} {e:7.3} {f:7.3}   {u:7.3} {v:7.3} {w:7.3}   {g:7.3} {h:7.3}   {rate:6.1}  {cores:.2}",
            scene.name
        );
    }
    let p99 = |scene: &Scene, pick: &dyn Fn(&Take) -> f64| median(scene.takes.iter().map(pick));
    let [two, one, _] = &scenes;
    println!(
        "p99, two sockets / one connection: separate {:.3}, backlogged {:.3}, readable to written {:.3}",
        p99(two, &|take| take.separate[1]) / p99(one, &|take| take.separate[1]),
        p99(two, &|take| take.backlogged[1]) / p99(one, &|take| take.backlogged[1]),
        p99(two, &|take| take.wire[1]) / p99(one, &|take| take.wire[1]),
    );
    Ok(())
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
