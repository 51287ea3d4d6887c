//! Many connections at a limited rate, beside what people use today: processor time per GB, fairness, smoothness; what idle
//! connections cost, and what a control message waits for meanwhile; and what bulk mode is worth.
//!
//! `cargo bench --bench field [PART]... [--write FILE]`. A part is a row, connections x KB/s, as `5000x200`, or `64x0` without a limit;
//! or `curve`, `idle`, `control`, `open`, `modes`, `congestion` (`modes:100x2000`: a row of these two); without any: all of
//! `benches/README.md`. What is missing of Debian's packages is installed, if the user is root. `--write FILE` puts each part's Markdown into the file, in the place of what an earlier
//! run wrote there, and the curve's picture beside it.
//!
//! `EVENKEEL_BENCH_RUNS` (5) alternating runs; `EVENKEEL_BENCH_SECONDS` (30: 30 quanta of a second, 40 would be
//! judged more mildly) are counted in each.
//! `EVENKEEL_BENCH_RIVALS=evenkeel,nginx` leaves the others out; `EVENKEEL_PROGRAM` is measured instead of what cargo built,
//! `EVENKEEL_BENCH_CONFIG` is more TOML for it; `EVENKEEL_LANES_OFF` is the build without lanes. The server has core 0, the load core 1.

#[path = "field/control.rs"]
mod control;
#[path = "field/curve.rs"]
mod curve;
#[path = "field/figures.rs"]
mod figures;
#[path = "field/http.rs"]
mod http;
#[path = "field/idle.rs"]
mod idle;
#[path = "field/keeper.rs"]
mod keeper;
#[path = "field/load.rs"]
mod load;
mod measure;
#[path = "field/open.rs"]
mod open;
#[path = "field/picture.rs"]
mod picture;
#[path = "field/probe.rs"]
mod probe;
#[path = "field/report.rs"]
mod report;
#[path = "field/rival.rs"]
mod rival;
#[path = "field/setup.rs"]
mod setup;
#[path = "field/setups.rs"]
mod setups;
#[path = "field/soaker.rs"]
mod soaker;
#[path = "field/table.rs"]
mod table;
#[path = "field/torrent.rs"]
mod torrent;

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use keeper::Keeper;
use measure::{Outcome, noise, setting};
use report::Report;
use rival::Rival;
use setups::Contest;
use table::Row;

/// Served again and again.
const FILE_BYTES: u64 = 256 << 20;
/// What a connection gets before it rests.
const SMALL_BYTES: u64 = 1000;

/// What all parts need.
struct Bench {
    room: PathBuf,
    rivals: Vec<Rival>,
    report: Report,
    facts: String,
    runs: u64,
    window: Duration,
    /// Of the server's core without a server.
    idle_share: f64,
}

/// One part of the benchmark.
enum Part {
    Row(Row),
    Curve,
    Idle,
    Control,
    Open,
    Setups(Contest, Vec<Row>),
}

fn main() -> Outcome<()> {
    let args: Vec<String> = std::env::args().skip(1).filter(|arg| arg != "--bench").collect();
    if let [role, peers, admin, room, count] = args.as_slice()
        && role == "probe"
    {
        return probe::play(peers, admin, Path::new(room), count.parse()?);
    }
    let (parts, file) = wanted(&args)?;
    setup::raise_descriptor_limit()?;
    let room = tempfile::tempdir()?;
    let files = room.path().join("files");
    fs::create_dir_all(&files)?;
    for (name, bytes) in [("big", FILE_BYTES), ("small", SMALL_BYTES)] {
        noise(&files.join(name), bytes)?;
        fs::File::open(files.join(name))?.sync_all()?;
    }
    let (rivals, facts) = (setup::rivals(), setup::facts());
    setup::keep_off_the_server()?;
    let _keeper = Keeper::of(&["big", "small"].map(|name| files.join(name)));
    let bench = Bench {
        room: room.path().to_owned(),
        rivals,
        report: Report { file },
        facts,
        runs: setting("EVENKEEL_BENCH_RUNS", 5),
        window: Duration::from_secs(setting("EVENKEEL_BENCH_SECONDS", 30)),
        idle_share: setup::idle_share()?,
    };
    println!("{}; the server's core without a server: {:.1} % busy", bench.facts, bench.idle_share * 100.0);
    for part in parts {
        match part {
            Part::Row(row) => table::compare(&bench, row)?,
            Part::Curve => curve::draw(&bench)?,
            Part::Idle => idle::compare(&bench)?,
            Part::Control => control::compare(&bench)?,
            Part::Open => open::compare(&bench)?,
            Part::Setups(contest, rows) => setups::compare(&bench, contest, &rows)?,
        }
    }
    Ok(())
}

/// What the command line asks for, or all; and where to write it.
fn wanted(args: &[String]) -> Outcome<(Vec<Part>, Option<PathBuf>)> {
    let (mut parts, mut file) = (Vec::new(), None);
    let mut args = args.iter();
    while let Some(arg) = args.next() {
        match arg.as_str() {
            "--write" => {
                let name = args.next().ok_or("--write wants a file")?;
                // Cargo runs benchmarks in the package's directory.
                file = Some(Path::new(env!("CARGO_MANIFEST_DIR")).join(name));
            }
            "curve" => parts.push(Part::Curve),
            "idle" => parts.push(Part::Idle),
            "control" => parts.push(Part::Control),
            "open" => parts.push(Part::Open),
            text => parts.push(match Contest::parse(text)? {
                Some((contest, rows)) => Part::Setups(contest, rows),
                None => Part::Row(Row::parse(text)?),
            }),
        }
    }
    if parts.is_empty() {
        parts.extend(Row::ALL.map(Part::Row));
        parts.extend([Part::Curve, Part::Idle, Part::Control, Part::Open]);
        parts.extend([Contest::Modes, Contest::Congestion].map(|contest| Part::Setups(contest, contest.rows())));
    }
    Ok((parts, file))
}
