//! Logging once per interval what may happen thousands of times.

use std::sync::atomic::{AtomicU64, Ordering};

/// Counts events and lets one through per interval.
#[derive(Debug)]
pub(super) struct Seldom {
    interval_ns: u64,
    next_ns: AtomicU64,
    held_back: AtomicU64,
}

impl Seldom {
    /// Lets the first event through, then one per interval.
    pub(super) const fn new(interval_ns: u64) -> Self {
        Self { interval_ns, next_ns: AtomicU64::new(0), held_back: AtomicU64::new(0) }
    }

    /// An event at `now_ns` (monotonic): `Some(n)` when it should be told, with the number of those that were not told
    /// since the last one.
    pub(super) fn event(&self, now_ns: u64) -> Option<u64> {
        let next_ns = self.next_ns.load(Ordering::Relaxed);
        let won = now_ns >= next_ns
            && self
                .next_ns
                .compare_exchange(
                    next_ns,
                    now_ns.saturating_add(self.interval_ns),
                    Ordering::Relaxed,
                    Ordering::Relaxed,
                )
                .is_ok();
        if won {
            return Some(self.held_back.swap(0, Ordering::Relaxed));
        }
        self.held_back.fetch_add(1, Ordering::Relaxed);
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_per_interval_with_the_number_held_back() {
        let seldom = Seldom::new(100);
        assert_eq!(seldom.event(5), Some(0));
        assert_eq!(seldom.event(6), None);
        assert_eq!(seldom.event(104), None);
        assert_eq!(seldom.event(105), Some(2));
        assert_eq!(seldom.event(300), Some(0));
    }
}
