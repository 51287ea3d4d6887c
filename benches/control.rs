//! What a control message waits for while data flows: pings over real sockets to a node with 50 backlogged peers under a
//! total of 200 MB/s, beside the same node built without its lanes (feature `lanes-off`) and beside an idle node.
//!
//! `cargo bench --bench control`. The build without lanes is made into `target/lanes-off` on the first run (some minutes),
//! or taken from `EVENKEEL_LANES_OFF`. `EVENKEEL_BENCH_RUNS` (3), `EVENKEEL_BENCH_PINGS` (4000), `EVENKEEL_BENCH_PEERS` (50)
//! and `EVENKEEL_BENCH_TOTAL` (200MB/s) change the rest. The node has core 0 for itself, the peers and their pings core 1,
//! both with priority over other programs where that is permitted.
//!
//! Two sessions ping, every 2 ms on the average: one that only pings, and one of the backlogged peers. What they see holds
//! both ends' scheduling; what the node's own histogram sees is from a frame's being read to its answer's being handed to
//! the kernel.

#[path = "support/fountain.rs"]
mod fountain;
mod measure;
#[path = "support/narrow.rs"]
mod narrow;
#[path = "support/pings.rs"]
mod pings;
#[path = "support/stamped.rs"]
mod stamped;
#[path = "support/void.rs"]
mod void;

use std::path::Path;

use measure::{Outcome, PROGRAM, median, setting};
use pings::{Moves, Scene, Take, take};

fn main() -> Outcome<()> {
    let args: Vec<String> = std::env::args().skip(1).filter(|arg| arg != "--bench").collect();
    pings::play(&args).unwrap_or_else(compare)
}

fn compare() -> Outcome<()> {
    let runs = setting("EVENKEEL_BENCH_RUNS", 3);
    let pings = setting("EVENKEEL_BENCH_PINGS", 4000);
    let peers = setting("EVENKEEL_BENCH_PEERS", 50);
    let total = std::env::var("EVENKEEL_BENCH_TOTAL").unwrap_or_else(|_| "200MB/s".into());
    let player = std::env::current_exe()?;
    let scene = |name, program: &Path, peers| {
        let (program, player) = (program.into(), player.clone());
        Scene {
            name,
            program,
            player,
            over: "tcp",
            peers,
            crowd_behind: false,
            moves: Moves::Gets,
            line: None,
            takes: Vec::new(),
        }
    };
    let lanes_off = measure::lanes_off()?;
    let mut scenes = [
        scene("idle", Path::new(PROGRAM), 0),
        scene("lanes", Path::new(PROGRAM), peers),
        scene("lanes off", &lanes_off, peers),
    ];
    println!("{peers} backlogged peers, total {total}, {pings} pings per session and run, {runs} alternating runs");
    for _ in 0..runs {
        for scene in &mut scenes {
            let take = take(scene, &total, pings)?;
            println!(
                "  {:10} separate {:?}  backlogged {:?}  inside {:?}  {:.0} MB/s, node {:.2} cores",
                scene.name, take.separate, take.backlogged, take.inside, take.megabytes_per_second, take.node_cores
            );
            scene.takes.push(take);
        }
    }
    println!("medians, ms     separate session           a backlogged session       inside the node");
    println!("                p50     p99     p99.9      p50     p99     p99.9      p50     p99");
    for scene in &scenes {
        let of = |pick: &dyn Fn(&Take) -> f64| median(scene.takes.iter().map(pick));
        let seen = |pick: &dyn Fn(&Take) -> [f64; 3]| [0, 1, 2].map(|index| of(&|take| pick(take)[index]));
        let [a, b, c] = seen(&|take| take.separate);
        let [d, e, f] = seen(&|take| take.backlogged);
        let [g, h] = [0, 1].map(|index| of(&|take| take.inside[index]));
        println!("{:12} {a:7.3} {b:7.3} {c:7.3}   {d:7.3} {e:7.3} {f:7.3}   {g:7.3} {h:7.3}", scene.name);
    }
    let p99 = |scene: &Scene, pick: &dyn Fn(&Take) -> f64| median(scene.takes.iter().map(pick));
    let [_, with, without] = &scenes;
    println!(
        "p99 with lanes / without: separate {:.3}, backlogged {:.3}, inside {:.3}",
        p99(with, &|take| take.separate[1]) / p99(without, &|take| take.separate[1]),
        p99(with, &|take| take.backlogged[1]) / p99(without, &|take| take.backlogged[1]),
        p99(with, &|take| take.inside[1]) / p99(without, &|take| take.inside[1]),
    );
    Ok(())
}
