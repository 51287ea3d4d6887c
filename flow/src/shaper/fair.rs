//! What a leaf that wakes may expect, before the allocator has seen it.

use super::clock::NANOS_PER_MILLI;
use super::leaf::LeafRates;

/// The most that was assigned to one unit of weight lately: the level to which the allocator fills, and so what a leaf that
/// wakes will be assigned. The greatest of this period and the one before, so that leaves that left are forgotten.
#[derive(Debug, Default)]
pub(crate) struct FairRate {
    current: f64,
    before: f64,
    since: u64,
}

/// Longer than an allocation round (2.5 s), in which every leaf is assigned anew.
const FAIR_PERIOD_NS: u64 = 3_000 * NANOS_PER_MILLI;

impl FairRate {
    pub(crate) fn note(&mut self, rates: &LeafRates, now: u64) {
        if rates.assigned.is_unlimited() || rates.weight <= 0.0 {
            return;
        }
        if now >= self.since + FAIR_PERIOD_NS {
            self.before = self.current;
            self.current = 0.0;
            self.since = now;
        }
        self.current = self.current.max(rates.assigned.as_f64() / rates.weight);
    }

    /// Bytes per second for one unit of weight.
    pub(crate) fn per_weight(&self) -> f64 {
        self.current.max(self.before)
    }
}
