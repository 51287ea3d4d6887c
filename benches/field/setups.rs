//! One node, set up in several ways: the modes of a link, whose marks these figures choose, and congestion control.

use std::{
    net::{SocketAddr, TcpListener},
    path::Path,
    process::Command,
    time::Duration,
};

use super::{
    Bench,
    figures::Run,
    load::Speech,
    rival::{Rival, Running, start_evenkeel},
    table::{Row, measured},
};
use crate::measure::{Outcome, PROGRAM, median};

/// One tick of the allocator; everybody wants as much from the beginning.
const SETTLE: Duration = Duration::from_secs(3);
/// At 200 MB/s more than a gigabyte.
const WINDOW: Duration = Duration::from_secs(6);

const PRECISE: &str = "[shaping]\nbulk_on = \"off\"\n";
const BULK: &str = "[shaping]\nbulk_on = \"2B/s\"\nbulk_off = \"1B/s\"\n";
const COPIED: &str = "[shaping]\nbulk_on = \"off\"\n[transport]\nsendfile = \"off\"\n";

/// What is compared.
#[derive(Copy, Clone, Debug, Eq, PartialEq)]
pub(crate) enum Contest {
    /// Never in bulk mode, always, never and all copied; and nginx.
    Modes,
    Congestion,
}

/// A server of a contest.
enum Entrant {
    /// A node with this in its configuration.
    Node(&'static str),
    Other(Rival),
}

impl Contest {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Modes => "modes",
            Self::Congestion => "congestion",
        }
    }

    /// As `modes`, or a row of it as `modes:100x2000`.
    pub(crate) fn parse(text: &str) -> Outcome<Option<(Self, Vec<Row>)>> {
        let (name, row) = text.split_once(':').map_or((text, None), |(name, row)| (name, Some(row)));
        let Some(contest) = [Self::Modes, Self::Congestion].into_iter().find(|contest| contest.name() == name) else {
            return Ok(None);
        };
        let rows = row.map_or_else(|| Ok(contest.rows()), |row| Row::parse(row).map(|row| vec![row]));
        Ok(Some((contest, rows?)))
    }

    /// Together some 200 MB/s, so that the node has time to spare; and without a limit.
    pub(crate) fn rows(self) -> Vec<Row> {
        let rows: &[(usize, u64)] = match self {
            Self::Modes => &[
                (2000, 50),
                (1000, 200),
                (200, 1_000),
                (100, 2_000),
                (20, 10_000),
                (8, 25_000),
                (4, 50_000),
                (2, 100_000),
                (64, 0),
            ],
            Self::Congestion => &[(2000, 50), (1000, 200), (100, 2_000)],
        };
        rows.iter().map(|(connections, kilobytes)| Row { connections: *connections, kilobytes: *kilobytes }).collect()
    }

    fn title(self) -> &'static str {
        match self {
            Self::Modes => "Precise and bulk",
            Self::Congestion => "Congestion control",
        }
    }

    /// Each is put beside the first.
    fn entrants(self) -> Vec<(&'static str, Entrant)> {
        match self {
            Self::Modes => vec![
                ("precise", Entrant::Node(PRECISE)),
                ("bulk", Entrant::Node(BULK)),
                ("copied", Entrant::Node(COPIED)),
                ("nginx", Entrant::Other(Rival::Nginx)),
            ],
            Self::Congestion => vec![
                ("cubic", Entrant::Node("[transport]\ncongestion = \"cubic\"\n")),
                ("bbr", Entrant::Node("[transport]\ncongestion = \"bbr\"\n")),
            ],
        }
    }
}

impl Entrant {
    fn is_wanted(&self, bench: &Bench) -> bool {
        match self {
            Self::Node(_) => true,
            Self::Other(rival) => bench.rivals.contains(rival),
        }
    }

    fn start(&self, room: &Path, row: Row) -> Outcome<Running> {
        match self {
            Self::Other(rival) => rival.start(room, row.connections, row.rate()),
            Self::Node(more) => {
                let address: SocketAddr = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
                let total = row.rate().map(|rate| rate * row.connections as u64);
                let server = start_evenkeel(Path::new(PROGRAM), room, address, total, more)?;
                Ok(Running { server, address, speech: Speech::Http("/bench/big".to_owned()) })
            }
        }
    }
}

/// Measures these rows, in turns. Rows that an earlier run wrote stay in the table.
pub(crate) fn compare(bench: &Bench, contest: Contest, rows: &[Row]) -> Outcome<()> {
    let entrants = contest.entrants();
    let entrants: Vec<_> = entrants.into_iter().filter(|(_, entrant)| entrant.is_wanted(bench)).collect();
    let (runs, window) = (bench.runs, bench.window.min(WINDOW));
    let mut lines = bench.report.lines(contest.name());
    for row in rows {
        let mut all: Vec<Vec<Run>> = entrants.iter().map(|_| Vec::new()).collect();
        for _ in 0..runs {
            for ((_, entrant), runs) in entrants.iter().zip(&mut all) {
                let running = entrant.start(&bench.room, *row)?;
                runs.push(measured(bench, &running, row.connections, row.rate(), (SETTLE, window))?);
            }
        }
        let cells: Vec<(&str, &[Run])> =
            entrants.iter().map(|(name, _)| *name).zip(all.iter().map(Vec::as_slice)).collect();
        let text = table_lines(*row, &cells)?;
        text.iter().for_each(|line| println!("{line}"));
        let key = format!("| {} |", row.title());
        let place = lines.iter().position(|line| line.starts_with(&key)).unwrap_or(lines.len());
        lines.retain(|line| !line.starts_with(&key));
        lines.splice(place..place, text);
    }
    let first = entrants.first().map_or("", |(name, _)| name);
    let text = format!(
        "### {}\n\n{}; medians of {runs} alternating runs of {} s\n\n\
         | | | MB/s | core s/GB | over {first} | process s/GB | busiest 100 ms | worst connection | taken |\n\
         |---|---|---|---|---|---|---|---|---|\n{}\n",
        contest.title(),
        bench.facts,
        window.as_secs(),
        lines.join("\n")
    );
    bench.report.block(contest.name(), &text)
}

fn table_lines(row: Row, all: &[(&str, &[Run])]) -> Outcome<Vec<String>> {
    let now = Command::new("date").args(["-u", "+%m-%d %H:%M"]).output()?;
    let (title, now) = (row.title(), String::from_utf8_lossy(&now.stdout).trim().to_owned());
    let first = all.first().map_or(&[][..], |(_, runs)| *runs);
    let line = |(name, runs): &(&str, &[Run])| {
        // Paired: each run beside the one that came just before.
        let over = median(runs.iter().zip(first).map(|(run, first)| run.core_per_gb / first.core_per_gb));
        let run = Run::median(runs);
        format!(
            "| {title} | {name} | {:.1} | {:.3} | {over:.2} | {:.3} | {:.3} | {:.1} % | {now} |",
            run.rate / 1e6,
            run.core_per_gb,
            run.process_per_gb,
            run.busiest_slot,
            run.worst * 100.0
        )
    };
    Ok(all.iter().map(line).collect())
}
