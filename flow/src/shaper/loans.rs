//! What one worker has borrowed in one tier, measured by what is guaranteed to those of its leaves that borrow.
//!
//! Where several workers borrow, the one goes first that has borrowed the least for what it is guaranteed (start-time fair queueing, with
//! guarantees for weights). What is guaranteed follows weights through groups and peers, so what is lent does too, and no worker has to
//! know another's leaves.

use super::clock::NANOS_PER_MILLI;

/// Guarantees are counted over this time.
const PERIOD_NS: u64 = 500 * NANOS_PER_MILLI;

/// One that borrowed nothing for a while is behind by no more: some pieces.
const BEHIND_NS: u64 = 25 * NANOS_PER_MILLI;

/// Those that borrow are taken to be guaranteed this part of the line's second at least: 1 %. Or one whose leaves have no guarantee would
/// wait for ever.
const LEAST_OF_LINE: u64 = 100 * SECOND_NS / PERIOD_NS;
const SECOND_NS: u64 = 1_000 * NANOS_PER_MILLI;

#[derive(Copy, Clone, Debug, Default)]
pub(super) struct Loans {
    /// How long the worker would have been served within its guarantees with what it borrowed, in nanoseconds.
    at: u64,
    /// Begins the period of the sums: guaranteed to leaves that would have borrowed, in this period and the one before.
    since: u64,
    bytes: u64,
    bytes_before: u64,
}

impl Loans {
    pub(super) fn at(&self) -> u64 {
        self.at
    }

    /// A leaf that waited to borrow has had so much within its guarantee first.
    pub(super) fn note_guaranteed(&mut self, bytes: u32, now: u64) {
        let periods = now.saturating_sub(self.since) / PERIOD_NS;
        if periods > 0 {
            self.bytes_before = if periods == 1 { self.bytes } else { 0 };
            self.bytes = 0;
            self.since += periods * PERIOD_NS;
        }
        self.bytes += u64::from(bytes);
    }

    /// The worker has borrowed from a line of so many bytes per second.
    pub(super) fn borrow(&mut self, bytes: u32, line: u64) {
        self.at = self.at.saturating_add(self.cost_ns(bytes, line));
    }

    /// It did not use so much of it.
    pub(super) fn give_back(&mut self, bytes: u32, line: u64) {
        self.at = self.at.saturating_sub(self.cost_ns(bytes, line));
    }

    /// Another that waits to borrow, too, is at `others`.
    pub(super) fn catch_up(&mut self, others: u64) {
        self.at = self.at.max(others.saturating_sub(BEHIND_NS));
    }

    fn cost_ns(&self, bytes: u32, line: u64) -> u64 {
        let guaranteed = self.bytes.max(self.bytes_before).max(line / LEAST_OF_LINE).max(1);
        (u64::from(bytes) * PERIOD_NS) / guaranteed
    }
}
