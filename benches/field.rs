//! Many HTTP connections at a limited rate, beside what people use today: processor time per GB, fairness, smoothness.
//!
//! `cargo bench --bench field [ROW]...`, where a row is connections x KB/s, as `5000x200`, or `64x0` without a limit. Without
//! rows: all of the table in `benches/README.md`. `EVENKEEL_BENCH_RUNS` (5) paired runs; `EVENKEEL_BENCH_SECONDS` (16) are counted
//! in each. `EVENKEEL_BENCH_RIVALS=evenkeel,nginx` leaves the others out. The server has core 0, the load core 1. Whoever is not
//! installed is left out, and named.

#[path = "field/figures.rs"]
mod figures;
#[path = "field/load.rs"]
mod load;
mod measure;
#[path = "field/rival.rs"]
mod rival;

use std::{fs, path::Path, process::Command, thread, time::Duration};

use figures::{Run, Spent};
use measure::{Outcome, noise, setting};
use rival::{CORE, Rival};

/// Served again and again.
const FILE_BYTES: u64 = 256 << 20;
/// Two ticks of the allocator and a little.
const SETTLE: Duration = Duration::from_secs(6);
/// Connections and KB/s for each; 0: no limit.
const ROWS: [(usize, u64); 6] = [(1_000, 50), (5_000, 50), (5_000, 200), (10_000, 20), (10_000, 100), (64, 0)];

fn main() -> Outcome<()> {
    host::raise_descriptor_limit()?;
    let rows = rows()?;
    let runs = setting("EVENKEEL_BENCH_RUNS", 5);
    let window = Duration::from_secs(setting("EVENKEEL_BENCH_SECONDS", 16));
    let room = tempfile::tempdir()?;
    fs::create_dir_all(room.path().join("files"))?;
    noise(&room.path().join("files/big"), FILE_BYTES)?;
    fs::File::open(room.path().join("files/big"))?.sync_all()?;
    // The load keeps off the server's core.
    let other = if host::cores() > 1 { 1 } else { 0 };
    let own = std::process::id().to_string();
    Command::new("taskset").args(["-a", "-p", "-c", &other.to_string(), &own]).output()?;
    let rivals = rivals();
    let before = Spent::now(CORE, None)?;
    thread::sleep(Duration::from_secs(3));
    let idle_share = Spent::now(CORE, None)?.since(&before).0 / 3.0;
    println!(
        "{runs} alternating runs of {} s, medians; {} cores; the server's core without a server: {:.1} % busy",
        window.as_secs(),
        host::cores(),
        idle_share * 100.0
    );
    for (connections, rate) in rows {
        compare(room.path(), &rivals, (connections, rate), runs, window, idle_share)?;
    }
    Ok(())
}

/// Those that the command line names, or all.
fn rows() -> Outcome<Vec<(usize, u64)>> {
    let named: Vec<String> = std::env::args().skip(1).filter(|arg| !arg.starts_with("--")).collect();
    if named.is_empty() {
        return Ok(ROWS.to_vec());
    }
    let row = |text: &String| -> Outcome<(usize, u64)> {
        let (connections, rate) = text.split_once('x').ok_or_else(|| format!("{text}: write it as 5000x200"))?;
        Ok((connections.parse()?, rate.parse()?))
    };
    named.iter().map(row).collect()
}

fn rivals() -> Vec<Rival> {
    let wanted = std::env::var("EVENKEEL_BENCH_RIVALS").ok();
    let is_wanted =
        |rival: &Rival| wanted.as_ref().is_none_or(|names| names.split(',').any(|name| name == rival.name()));
    let (here, missing): (Vec<Rival>, Vec<Rival>) =
        Rival::ALL.into_iter().filter(is_wanted).partition(|rival| rival.is_here());
    for rival in missing {
        println!("{} is not installed and left out (apt-get install {})", rival.name(), rival.name());
    }
    here
}

fn compare(
    room: &Path,
    rivals: &[Rival],
    (connections, kilobytes): (usize, u64),
    runs: u64,
    window: Duration,
    idle_share: f64,
) -> Outcome<()> {
    let rate = (kilobytes > 0).then_some(kilobytes * 1000);
    let wish = rate.map_or_else(|| "without a limit".to_owned(), |_| format!("{kilobytes} KB/s"));
    println!("\n{connections} connections x {wish}");
    println!(
        "  {:<10} {:>10} {:>12} {:>12} {:>9} {:>9} {:>9} {:>8}",
        "", "MB/s", "core s/GB", "process", "100 ms", "second", "Jain", "worst"
    );
    let mut all: Vec<Vec<Run>> = vec![Vec::new(); rivals.len()];
    for _ in 0..runs {
        for (rival, runs) in rivals.iter().zip(&mut all) {
            runs.push(once(*rival, room, connections, rate, window, idle_share)?);
        }
    }
    let medians: Vec<Run> = all.iter().map(|runs| Run::median(runs)).collect();
    for (rival, run) in rivals.iter().zip(&medians) {
        println!(
            "  {:<10} {:>10.2} {:>12.3} {:>12.3} {:>9.3} {:>9.4} {:>9.5} {:>6.1} %",
            rival.name(),
            run.rate / 1e6,
            run.core_per_gb,
            run.process_per_gb,
            run.busiest_slot,
            run.busiest_second,
            run.jain,
            run.worst * 100.0
        );
    }
    for (index, rival) in rivals.iter().enumerate().skip(1) {
        // Paired: each run beside the one that came just before or after it.
        let paired = |of: fn(&Run) -> f64| {
            measure::median(all[0].iter().zip(&all[index]).map(|(ours, theirs)| of(ours) / of(theirs)))
        };
        println!(
            "  evenkeel / {:<10} rate {:.3} x   core s/GB {:.2} x",
            rival.name(),
            paired(|run| run.rate),
            paired(|run| run.core_per_gb)
        );
    }
    Ok(())
}

fn once(
    rival: Rival,
    room: &Path,
    connections: usize,
    rate: Option<u64>,
    window: Duration,
    idle_share: f64,
) -> Outcome<Run> {
    let (server, address) = rival.start(room, connections, rate)?;
    let wish = load::Wish { address, target: rival.target(), connections, settle: SETTLE, window };
    let mut spent = Vec::new();
    let counted = load::run(&wish, || spent.push(Spent::now(CORE, Some(server.pid()))));
    let counted = counted.map_err(|error| format!("{}: {error}", rival.name()))?;
    let mut edges = spent.into_iter();
    let (Some(first), Some(last)) = (edges.next(), edges.next()) else { return Err("no edges".into()) };
    Ok(Run::of(&counted, last?.since(&first?), idle_share))
}
