//! What connections cost that do nothing: each has had one small answer, and keeps its connection.

use std::{fs, time::Duration};

use super::{
    Bench,
    figures::Spent,
    load::{Load, Speech},
    report::{thousands, verdict},
    rival::{CORE, Rival},
    soaker::Soaker,
};
use crate::measure::{Outcome, median};

const CONNECTIONS: usize = 10_000;
const RIVALS: [Rival; 3] = [Rival::Evenkeel, Rival::Nginx, Rival::Lighttpd];
/// Longer than a node remembers who was served.
const SETTLE: Duration = Duration::from_secs(8);
const WINDOW: Duration = Duration::from_secs(10);

/// One server at rest.
struct Rest {
    /// Of the core, less what it is busy without a server.
    core_share: f64,
    process_share: f64,
    /// Memory of its own for each.
    bytes_each: f64,
}

/// Everybody in turns.
pub(crate) fn compare(bench: &Bench) -> Outcome<()> {
    let mut all: Vec<(Rival, Vec<Rest>)> =
        RIVALS.into_iter().filter(|rival| bench.rivals.contains(rival)).map(|rival| (rival, Vec::new())).collect();
    for _ in 0..bench.runs {
        for (rival, rests) in &mut all {
            rests.push(once(bench, *rival)?);
        }
    }
    let mut text = format!(
        "### {} idle connections\n\n{}; medians of {} alternating runs of {} s\n\n\
         | | core | process | memory of its own, each |\n|---|---|---|---|\n",
        thousands(CONNECTIONS),
        bench.facts,
        bench.runs,
        WINDOW.as_secs()
    );
    let mut verdicts = String::new();
    for (rival, rests) in &all {
        let of = |figure: &dyn Fn(&Rest) -> f64| median(rests.iter().map(figure));
        let (core, process) = (of(&|rest| rest.core_share) * 100.0, of(&|rest| rest.process_share) * 100.0);
        let bytes = of(&|rest| rest.bytes_each);
        text.push_str(&format!("| {} | {core:.2} % | {process:.2} % | {bytes:.0} bytes |\n", rival.name()));
        if *rival == Rival::Evenkeel {
            // The core's figure holds the machine's own little, which is as large; what rests causes no interrupts.
            verdicts = verdict("process, % of a core", process, 1.0, true, 2)
                + &verdict("memory, bytes", bytes, 4096.0, true, 0);
        }
    }
    bench.report.block("idle", &format!("{text}\n{verdicts}"))
}

fn once(bench: &Bench, rival: Rival) -> Outcome<Rest> {
    let running = rival.start(&bench.room, CONNECTIONS, None)?;
    let path = if rival == Rival::Evenkeel { "/bench/small" } else { "/small" };
    let before = own_memory(running.server.pid())?;
    let mut load = Load::open(running.address, &Speech::HttpOnce(path.to_owned()), CONNECTIONS)?;
    load.run_for(SETTLE)?;
    let soaker = Soaker::start(CORE)?;
    let spent = || Spent::now(&soaker, Some(running.server.pid()));
    let before_rest = spent()?;
    load.run_for(WINDOW)?;
    let busy = spent()?.since(&before_rest);
    let grown = own_memory(running.server.pid())?.saturating_sub(before);
    if load.silent() > 0 {
        return Err(format!("{}: {} connections got no answer", rival.name(), load.silent()).into());
    }
    Ok(Rest {
        core_share: busy.share(bench.idle_share),
        process_share: busy.process / busy.seconds,
        bytes_each: grown as f64 / CONNECTIONS as f64,
    })
}

/// Resident memory that no file stands behind.
fn own_memory(pid: u32) -> Outcome<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).ok_or("no RssAnon")?;
    Ok(line.split_whitespace().next().ok_or("no RssAnon")?.parse::<u64>()? * 1024)
}
