//! What one run shows, and what several runs show together.

use std::time::Instant;

use super::{load::Counted, soaker::Soaker};
use crate::measure::{Outcome, cpu_seconds, median};

/// Processor time of the server's core and of a process, at one moment.
#[derive(Copy, Clone)]
pub(crate) struct Spent {
    at: Instant,
    core_seconds: f64,
    process_seconds: f64,
}

impl Spent {
    /// Now, as the core's soaker and the kernel's books of the process have it.
    pub(crate) fn now(soaker: &Soaker, pid: Option<u32>) -> Outcome<Self> {
        Ok(Self {
            at: Instant::now(),
            core_seconds: soaker.taken_seconds(),
            process_seconds: pid.map_or(Ok(0.0), cpu_seconds)?,
        })
    }

    /// What was spent since.
    pub(crate) fn since(&self, before: &Self) -> Busy {
        let seconds = (self.at - before.at).as_secs_f64();
        let core = self.core_seconds - before.core_seconds;
        Busy { seconds, core, process: self.process_seconds - before.process_seconds }
    }
}

/// Seconds between two moments: by the clock, of the core, of the process.
#[derive(Copy, Clone)]
pub(crate) struct Busy {
    pub(crate) seconds: f64,
    pub(crate) core: f64,
    pub(crate) process: f64,
}

impl Busy {
    /// Part of the core, less what it is busy without a server.
    pub(crate) fn share(&self, idle_share: f64) -> f64 {
        (self.core / self.seconds - idle_share).max(0.0)
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
    /// Part of its time in which the load had something to do.
    pub(crate) load_share: f64,
    /// Largest deviation of ten seconds from the limit; NaN without one.
    pub(crate) worst_ten: f64,
    /// Busiest second over the limit; over the mean without one.
    pub(crate) busiest_second: f64,
    /// Busiest 100 ms over the mean.
    pub(crate) busiest_slot: f64,
    /// Jain's index of the connections.
    pub(crate) jain: f64,
    /// Largest deviation of one connection from the mean.
    pub(crate) worst: f64,
}

impl Run {
    /// What `counted` shows; the total was limited to `limit` bytes per second, if at all.
    pub(crate) fn of(counted: &Counted, server: Busy, idle_share: f64, limit: Option<f64>) -> Self {
        let (seconds, total) = counted.looks.last().map_or((1.0, 0.0), |look| (look.0, look.1 as f64));
        let bytes: Vec<f64> = counted.bytes.iter().map(|bytes| *bytes as f64).collect();
        let (rate, mean) = (total / seconds, total / bytes.len().max(1) as f64);
        let gb = total / 1e9;
        let most = |rates: &[f64]| rates.iter().copied().fold(0.0, f64::max);
        let off = |limit: f64| {
            let tens = rates(&counted.looks, 10.0_f64.min(seconds - 0.05));
            most(&tens.iter().map(|rate| (rate / limit - 1.0).abs()).collect::<Vec<_>>())
        };
        Self {
            rate,
            core_per_gb: server.share(idle_share) * server.seconds / gb,
            process_per_gb: server.process / gb,
            load_share: counted.busy.as_secs_f64() / seconds,
            worst_ten: limit.map_or(f64::NAN, off),
            busiest_second: most(&rates(&counted.looks, 0.99)) / limit.unwrap_or(rate),
            busiest_slot: most(&rates(&counted.looks, 0.0)) / rate,
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
            load_share: of(&|run| run.load_share),
            worst_ten: of(&|run| run.worst_ten),
            busiest_second: of(&|run| run.busiest_second),
            busiest_slot: of(&|run| run.busiest_slot),
            jain: of(&|run| run.jain),
            worst: of(&|run| run.worst),
        }
    }
}

/// Bytes per second over every stretch of `span` seconds, from each look to the first one that is so far away or farther.
fn rates(looks: &[(f64, u64)], span: f64) -> Vec<f64> {
    let mut rates = Vec::with_capacity(looks.len());
    let mut end = 0;
    for (index, (at, bytes)) in looks.iter().enumerate() {
        end = end.max(index + 1);
        while end < looks.len() && looks[end].0 - at < span {
            end += 1;
        }
        let Some((later, more)) = looks.get(end) else { break };
        rates.push((more - bytes) as f64 / (later - at));
    }
    rates
}
