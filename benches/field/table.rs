//! The rows: connections x rate, each server in turn, and what is wanted of it.

use std::time::Duration;

use super::{
    Bench,
    figures::{Run, Spent},
    load::Load,
    report::{thousands, verdict},
    rival::{CORE, Rival, Running},
    soaker::Soaker,
};
use crate::measure::{self, Outcome};

/// Two ticks of the allocator.
const SETTLE: Duration = Duration::from_secs(5);
/// The one row in which lighttpd's total is looked at too.
const TOTALS_ROW: Row = Row { connections: 5_000, kilobytes: 50 };

/// Connections, and KB/s for each; 0: no limit.
#[derive(Copy, Clone, Debug, Eq, PartialEq)]
pub(crate) struct Row {
    pub(crate) connections: usize,
    pub(crate) kilobytes: u64,
}

impl Row {
    /// The table.
    pub(crate) const ALL: [Self; 6] = [
        Self { connections: 1_000, kilobytes: 50 },
        TOTALS_ROW,
        Self { connections: 5_000, kilobytes: 200 },
        Self { connections: 10_000, kilobytes: 20 },
        Self { connections: 10_000, kilobytes: 100 },
        Self { connections: 64, kilobytes: 0 },
    ];

    /// As `5000x200`.
    pub(crate) fn parse(text: &str) -> Outcome<Self> {
        let (connections, kilobytes) = text.split_once('x').ok_or_else(|| format!("{text}: write it as 5000x200"))?;
        Ok(Self { connections: connections.parse()?, kilobytes: kilobytes.parse()? })
    }

    pub(crate) fn rate(self) -> Option<u64> {
        (self.kilobytes > 0).then_some(self.kilobytes * 1000)
    }

    pub(crate) fn title(self) -> String {
        let count = thousands(self.connections);
        match self.kilobytes {
            0 => format!("{count}, no limit"),
            few if few < 1000 => format!("{count} x {few} KB/s"),
            many => format!("{count} x {} MB/s", many as f64 / 1000.0),
        }
    }

    /// Whether `rival` belongs into this row.
    fn admits(self, rival: Rival) -> bool {
        let named = std::env::var_os("EVENKEEL_BENCH_RIVALS").is_some();
        match rival {
            Rival::Evenkeel | Rival::Nginx | Rival::Lighttpd => true,
            Rival::EvenkeelCaps | Rival::Libtorrent => self.kilobytes > 0,
            Rival::LighttpdTotal => self.kilobytes > 0 && (named || self == TOTALS_ROW),
        }
    }

    /// What the server's processor time per GB is to be at most, over that of a rival.
    fn wanted_over(self, rival: Rival) -> Option<f64> {
        match (rival, self.connections, self.kilobytes) {
            (Rival::Nginx, _, 0) => Some(1.1),
            (Rival::Nginx, 1_000 | 5_000, 50) => Some(0.85),
            (Rival::Nginx, 5_000, 200) | (Rival::Nginx, 10_000, 20 | 100) => Some(0.8),
            (Rival::Libtorrent, 5_000, 200) => Some(0.5),
            _ => None,
        }
    }
}

/// Runs everybody `bench.runs` times in turns, and reports medians.
pub(crate) fn compare(bench: &Bench, row: Row) -> Outcome<()> {
    let mut all: Vec<(Rival, Vec<Run>)> =
        bench.rivals.iter().filter(|rival| row.admits(**rival)).map(|rival| (*rival, Vec::new())).collect();
    let mut notes = String::new();
    for _ in 0..bench.runs {
        let mut next = Vec::with_capacity(all.len());
        for (rival, mut runs) in all {
            match once(bench, rival, row.connections, row.rate(), bench.window) {
                Ok(run) => runs.push(run),
                Err(error) if rival != Rival::Evenkeel => {
                    notes.push_str(&format!("- {} is left out: {error}\n", rival.name()));
                    continue;
                }
                Err(error) => return Err(format!("evenkeel: {error}").into()),
            }
            next.push((rival, runs));
        }
        all = next;
    }
    let name = format!("{}x{}", row.connections, row.kilobytes);
    let words = format!("{}{notes}{}", figures(bench, row, &all), judged(row, &all));
    bench.report.block(&name, &words)
}

fn figures(bench: &Bench, row: Row, all: &[(Rival, Vec<Run>)]) -> String {
    let mut text = format!(
        "### {}\n\n{}; medians of {} alternating runs of {} s\n\n\
         | | limit | MB/s | core s/GB | process s/GB | worst 10 s | busiest second | busiest 100 ms | Jain | worst connection | load's core |\n\
         |---|---|---|---|---|---|---|---|---|---|---|\n",
        row.title(),
        bench.facts,
        bench.runs,
        bench.window.as_secs()
    );
    for (rival, runs) in all {
        let run = Run::median(runs);
        let limit = if row.kilobytes > 0 { rival.limited_by() } else { "none" };
        let ten = if row.kilobytes > 0 { format!("{:.2} %", run.worst_ten * 100.0) } else { "".to_owned() };
        text.push_str(&format!(
            "| {} | {limit} | {:.2} | {:.3} | {:.3} | {ten} | {:.4} | {:.3} | {:.5} | {:.1} % | {:.0} % |\n",
            rival.name(),
            run.rate / 1e6,
            run.core_per_gb,
            run.process_per_gb,
            run.busiest_second,
            run.busiest_slot,
            run.jain,
            run.worst * 100.0,
            run.load_share * 100.0
        ));
    }
    text + "\n"
}

fn judged(row: Row, all: &[(Rival, Vec<Run>)]) -> String {
    let mut text = String::new();
    let Some((Rival::Evenkeel, ours)) = all.first() else { return text };
    for (rival, theirs) in all.iter().skip(1) {
        // Paired: each run beside the one that came just before or after it.
        let paired =
            |of: fn(&Run) -> f64| measure::median(ours.iter().zip(theirs).map(|(ours, theirs)| of(ours) / of(theirs)));
        let (cost, rate) = (paired(|run| run.core_per_gb), paired(|run| run.rate));
        let name = rival.name();
        match row.wanted_over(*rival) {
            Some(wanted) => text.push_str(&verdict(&format!("core s/GB over {name}"), cost, wanted, true, 3)),
            None => text.push_str(&format!("- core s/GB over {name}: {cost:.3}\n")),
        }
        if row.kilobytes == 0 && *rival == Rival::Nginx {
            text.push_str(&verdict("MB/s over nginx", rate, 0.95, false, 3));
        }
    }
    if let Some((_, caps)) = all.iter().find(|(rival, _)| *rival == Rival::EvenkeelCaps) {
        let nginx = all.iter().find(|(rival, _)| *rival == Rival::Nginx);
        let ratio = |theirs: &[Run]| {
            measure::median(caps.iter().zip(theirs).map(|(ours, theirs)| ours.core_per_gb / theirs.core_per_gb))
        };
        if let Some((_, theirs)) = nginx {
            text.push_str(&format!("- with caps for each, core s/GB over nginx: {:.3}\n", ratio(theirs)));
        }
    }
    if row.kilobytes > 0 {
        let run = Run::median(ours);
        text.push_str(&verdict("worst 10 s off the limit, %", run.worst_ten * 100.0, 0.5, true, 3));
        text.push_str(&verdict("busiest second over the limit", run.busiest_second, 1.01, true, 4));
        text.push_str(&verdict("busiest 100 ms over the mean", run.busiest_slot, 1.15, true, 3));
        text.push_str(&verdict("worst connection off the mean, %", run.worst * 100.0, 5.0, true, 2));
        text.push_str(&verdict("Jain's index", run.jain, 0.9995, false, 5));
    }
    text
}

/// One run of one server.
pub(crate) fn once(
    bench: &Bench,
    rival: Rival,
    connections: usize,
    rate: Option<u64>,
    window: Duration,
) -> Outcome<Run> {
    measured(bench, &rival.start(&bench.room, connections, rate)?, connections, rate, (SETTLE, window))
}

/// One run of a server that was just started: it is given time to settle, then it is counted.
pub(crate) fn measured(
    bench: &Bench,
    running: &Running,
    connections: usize,
    rate: Option<u64>,
    (settle, window): (Duration, Duration),
) -> Outcome<Run> {
    let mut load = Load::open(running.address, &running.speech, connections)?;
    // It starts programs, and nobody looks after the connections meanwhile: what came then would count as the first 100 ms'.
    let soaker = Soaker::start(CORE)?;
    load.run_for(settle)?;
    let spent = || Spent::now(&soaker, Some(running.server.pid()));
    let before = spent()?;
    let counted = load.count(window)?;
    let busy = spent()?.since(&before);
    let limit = rate.map(|rate| rate as f64 * connections as f64);
    Ok(Run::of(&counted, busy, bench.idle_share, limit))
}
