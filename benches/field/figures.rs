//! What one run shows, and what several runs show together.

use std::{fs, time::Instant};

use super::load::Counted;
use crate::measure::{Outcome, cpu_seconds, median};

/// Processor time of the server's core and of the server's process, at one moment.
#[derive(Copy, Clone)]
pub(crate) struct Spent {
    at: Instant,
    idle_seconds: f64,
    process_seconds: f64,
}

impl Spent {
    /// Now. A core's idle time is exact where the kernel stops its tick on idle cores; what is not idle is the server, its soft
    /// interrupts taken while idle, `ksoftirqd`, and the machine's own little.
    pub(crate) fn now(core: usize, pid: Option<u32>) -> Outcome<Self> {
        let stat = fs::read_to_string("/proc/stat")?;
        let name = format!("cpu{core} ");
        let line = stat.lines().find(|line| line.starts_with(&name)).ok_or("no such core")?;
        let ticks: Vec<f64> = line.split_whitespace().skip(1).filter_map(|field| field.parse().ok()).collect();
        // idle and iowait, and steal: what another machine took was not the server's.
        let idle_ticks =
            ticks.get(3).zip(ticks.get(4)).zip(ticks.get(7)).map(|((idle, wait), steal)| idle + wait + steal);
        Ok(Self {
            at: Instant::now(),
            idle_seconds: idle_ticks.ok_or("an unknown /proc/stat")? / 100.0,
            process_seconds: pid.map_or(Ok(0.0), cpu_seconds)?,
        })
    }

    /// Seconds that the core was busy since, and of the process.
    pub(crate) fn since(&self, before: &Self) -> (f64, f64) {
        let wall = (self.at - before.at).as_secs_f64();
        let busy = (wall - (self.idle_seconds - before.idle_seconds)).max(0.0);
        (busy, self.process_seconds - before.process_seconds)
    }
}

/// One run.
#[derive(Copy, Clone)]
pub(crate) struct Run {
    /// Bytes per second.
    pub(crate) rate: f64,
    /// Processor seconds of the server's core per GB, less what the core spends without a server.
    pub(crate) core_per_gb: f64,
    /// Of the server's process alone.
    pub(crate) process_per_gb: f64,
    /// Busiest 100 ms over the mean.
    pub(crate) busiest_slot: f64,
    /// Busiest second over the mean.
    pub(crate) busiest_second: f64,
    /// Jain's index of the connections.
    pub(crate) jain: f64,
    /// Largest deviation of one connection from the mean.
    pub(crate) worst: f64,
}

impl Run {
    /// From what the load counted and the server spent, on a core that is busy for `idle_share` of the time anyway.
    pub(crate) fn of(counted: &Counted, (busy, process): (f64, f64), idle_share: f64) -> Self {
        let bytes: Vec<f64> = counted.bytes.iter().map(|bytes| *bytes as f64).collect();
        let total: f64 = bytes.iter().sum();
        let mean = total / bytes.len().max(1) as f64;
        let slots: Vec<f64> = counted.slots.iter().map(|bytes| *bytes as f64).collect();
        let slot_mean = slots.iter().sum::<f64>() / slots.len().max(1) as f64;
        let seconds = slots.windows(10).map(|slots| slots.iter().sum::<f64>() / 10.0);
        let gb = total / 1e9;
        Self {
            rate: total / counted.seconds,
            core_per_gb: (busy - idle_share * counted.seconds).max(0.0) / gb,
            process_per_gb: process / gb,
            busiest_slot: slots.iter().copied().fold(0.0, f64::max) / slot_mean,
            busiest_second: seconds.fold(0.0, f64::max) / slot_mean,
            jain: flow::jain(&bytes),
            worst: bytes.iter().map(|bytes| (bytes / mean - 1.0).abs()).fold(0.0, f64::max),
        }
    }

    /// The median of each figure.
    pub(crate) fn median(runs: &[Self]) -> Self {
        let of = |figure: &dyn Fn(&Self) -> f64| median(runs.iter().map(figure));
        Self {
            rate: of(&|run| run.rate),
            core_per_gb: of(&|run| run.core_per_gb),
            process_per_gb: of(&|run| run.process_per_gb),
            busiest_slot: of(&|run| run.busiest_slot),
            busiest_second: of(&|run| run.busiest_second),
            jain: of(&|run| run.jain),
            worst: of(&|run| run.worst),
        }
    }
}
