//! Processor time per GB against the number of connections, the total being the same: what a connection costs by itself.

use std::{fs, time::Duration};

use super::{
    Bench,
    figures::Run,
    picture::{Line, picture},
    report::thousands,
    rival::Rival,
    table::once,
};
use crate::measure::{Outcome, median};

const CONNECTIONS: [usize; 5] = [100, 300, 1_000, 3_000, 10_000];
const TOTAL: u64 = 100_000_000;
/// Enough for 0.8 GB; shares are not judged here.
const WINDOW: Duration = Duration::from_secs(8);
const RIVALS: [Rival; 2] = [Rival::Evenkeel, Rival::Nginx];
const FILE: &str = "cpu-by-connections.svg";

/// Measures, and draws beside the file that is written.
pub(crate) fn draw(bench: &Bench) -> Outcome<()> {
    let rivals: Vec<Rival> = RIVALS.into_iter().filter(|rival| bench.rivals.contains(rival)).collect();
    let window = bench.window.min(WINDOW);
    let mut lines: Vec<Line> =
        rivals.iter().map(|rival| Line { name: rival.name().to_owned(), points: Vec::new() }).collect();
    let mut text = format!(
        "### CPU by connections, {} MB/s together\n\n{}; core s/GB, medians of {} alternating runs of {} s\n\n| connections |",
        TOTAL / 1_000_000,
        bench.facts,
        bench.runs,
        window.as_secs()
    );
    rivals.iter().for_each(|rival| text.push_str(&format!(" {} |", rival.name())));
    text.push_str(&format!("\n|---|{}\n", "---|".repeat(rivals.len())));
    for connections in CONNECTIONS {
        let mut all: Vec<Vec<Run>> = vec![Vec::new(); rivals.len()];
        for _ in 0..bench.runs {
            for (rival, runs) in rivals.iter().zip(&mut all) {
                runs.push(once(bench, *rival, connections, Some(TOTAL / connections as u64), window)?);
            }
        }
        text.push_str(&format!("| {} |", thousands(connections)));
        for (runs, line) in all.iter().zip(&mut lines) {
            let cost = median(runs.iter().map(|run| run.core_per_gb));
            line.points.push((connections as f64, cost));
            text.push_str(&format!(" {cost:.3} |"));
        }
        text.push('\n');
    }
    if let Some(file) = &bench.report.file {
        let title = format!("Server's core, seconds per GB, at {} MB/s in total", TOTAL / 1_000_000);
        fs::write(file.with_file_name(FILE), picture(&title, "connections", &lines))?;
        text.push_str(&format!("\n![Processor time per GB against the number of connections]({FILE})\n"));
    }
    bench.report.block("curve", &text)
}
