//! A log line at most once per interval, with the number of those left out: a flood of bad peers must not become a flood of
//! log lines (DESIGN 14).

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

/// How often one kind of trouble is written, where nothing else is asked for.
pub const LOG_INTERVAL: Duration = Duration::from_secs(10);

/// Lets one line through per interval. `const`, so that it can be a `static` beside the line it guards.
///
/// ```
/// use actors::log_gate::{LOG_INTERVAL, LogGate};
/// static GATE: LogGate = LogGate::new(LOG_INTERVAL);
/// if let Some(suppressed) = GATE.open(host::monotonic_nanos()) {
///     tracing::warn!(suppressed, "a link broke the protocol");
/// }
/// ```
pub struct LogGate {
    interval_ns: u64,
    /// When the next line may go; 0 = at once.
    next_ns: AtomicU64,
    suppressed: AtomicU64,
}

impl LogGate {
    /// A gate that opens once per `interval`.
    pub const fn new(interval: Duration) -> Self {
        Self { interval_ns: interval.as_nanos() as u64, next_ns: AtomicU64::new(0), suppressed: AtomicU64::new(0) }
    }

    /// `Some(n)`: write the line, `n` were left out since the last one. `None`: leave it out. `now_ns` is monotonic.
    pub fn open(&self, now_ns: u64) -> Option<u64> {
        let next_ns = self.next_ns.load(Ordering::Relaxed);
        let after_ns = now_ns.saturating_add(self.interval_ns);
        // Of several threads that come at once, one writes.
        let mine = now_ns >= next_ns
            && self.next_ns.compare_exchange(next_ns, after_ns, Ordering::Relaxed, Ordering::Relaxed).is_ok();
        if mine {
            return Some(self.suppressed.swap(0, Ordering::Relaxed));
        }
        self.suppressed.fetch_add(1, Ordering::Relaxed);
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_line_per_interval_with_the_number_left_out() {
        let gate = LogGate::new(Duration::from_nanos(100));
        assert_eq!(gate.open(5), Some(0));
        assert_eq!(gate.open(6), None);
        assert_eq!(gate.open(104), None);
        assert_eq!(gate.open(105), Some(2));
        assert_eq!(gate.open(400), Some(0));
    }

    #[test]
    fn a_flood_from_many_threads_loses_no_count() {
        let gate = LogGate::new(Duration::from_secs(3600));
        let written: u64 = std::thread::scope(|scope| {
            let flood = || (0..1000).filter(|_| gate.open(1).is_some()).count() as u64;
            let threads: Vec<_> = (0..4).map(|_| scope.spawn(flood)).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).sum()
        });
        assert_eq!((written, gate.open(u64::MAX)), (1, Some(3999)));
    }
}
