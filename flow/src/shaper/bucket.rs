//! A token bucket that many worker threads draw from without a lock: the total, a group, a peer.
//!
//! Permission is one atomic clock (see `clock.rs`); a draw is one compare-and-swap, so the limit holds exactly over all
//! threads and no thread strands a share of it (DESIGN section 6).

use std::sync::{
    Arc, OnceLock,
    atomic::{AtomicU32, AtomicU64, Ordering},
};

use super::clock::{NEVER, Slack, advanced, cost_ns, retuned};
use super::line::Line;
use super::tier::{TIERS, Tier};
use crate::{Moment, Rate};

/// Rate changes of all buckets in this process. One load tells a shaper that a moment it waits for may have moved, without
/// looking at thousands of buckets.
static RATE_CHANGES: AtomicU64 = AtomicU64::new(0);

pub(crate) fn rate_changes() -> u64 {
    RATE_CHANGES.load(Ordering::Acquire)
}

/// One limit, shared by threads. Draws are lock-free; the rate may change at any time.
#[derive(Debug)]
pub struct SharedBucket {
    rate: AtomicU64,
    /// The moment up to which permission has been spent, in nanoseconds.
    spent_until: AtomicU64,
    last_borrower: AtomicU32,
    /// Of the workers that draw on it as their total, or as a group's limit.
    line: OnceLock<Arc<Line>>,
    /// What a unit of a peer's weight is assigned below it, in bytes per second as the bits of an `f64`.
    fair_rate: AtomicU64,
    /// Until when a tier leaves what lies unclaimed to those before it.
    held_until: [AtomicU64; TIERS],
}

impl SharedBucket {
    /// A bucket that lets `rate` bytes per second through; `Rate::UNLIMITED` lets everything through, `Rate::ZERO` nothing.
    pub fn new(rate: Rate) -> Self {
        SharedBucket {
            rate: AtomicU64::new(rate.bytes_per_second()),
            spent_until: AtomicU64::new(0),
            last_borrower: AtomicU32::new(0),
            line: OnceLock::new(),
            fair_rate: AtomicU64::new(0.0_f64.to_bits()),
            held_until: Default::default(),
        }
    }

    /// The limit now.
    pub fn rate(&self) -> Rate {
        Rate::from_bytes_per_second(self.rate.load(Ordering::Relaxed))
    }

    /// Changes the limit. It is in force from the next draw on: debt made at a lower rate is paid at the new one, and debt
    /// made at a higher rate keeps its time. Shapers that wait must be polled to notice at once.
    pub fn set_rate(&self, rate: Rate, now: Moment) {
        let old = Rate::from_bytes_per_second(self.rate.swap(rate.bytes_per_second(), Ordering::AcqRel));
        if old == rate {
            return;
        }
        let now = now.as_nanos();
        // fetch_update fails only when the closure declines, which means that there is no debt to convert.
        let _ = self.spent_until.fetch_update(Ordering::AcqRel, Ordering::Acquire, |at| {
            let moved = retuned(at, old, rate, now);
            (moved != at).then_some(moved)
        });
        RATE_CHANGES.fetch_add(1, Ordering::Release);
    }

    /// Takes permission for `bytes`, or says when to come back. `spare_only` succeeds only while at least half the burst
    /// (5 ms of rate) lies unclaimed, so that guaranteed traffic of other workers goes first.
    ///
    /// In any window W at most `rate * W + 5 ms of rate + one draw` pass.
    ///
    /// # Errors
    /// The first moment at which the same call could succeed, if nobody else draws before.
    pub fn try_take(&self, bytes: u32, now: Moment, spare_only: bool) -> Result<(), Moment> {
        let tier = if spare_only { Tier::Lent } else { Tier::Guaranteed };
        self.draw(bytes, now.as_nanos(), tier.reserve_ns(false), Slack::Root { piece_ns: NEVER })
            .map_err(Moment::from_nanos)
    }

    /// Returns permission that was taken and not used.
    pub fn give_back(&self, bytes: u32) {
        let cost = cost_ns(bytes, self.rate());
        if cost != 0 && cost != NEVER {
            // The closure never declines.
            let _ =
                self.spent_until.fetch_update(Ordering::AcqRel, Ordering::Relaxed, |at| Some(at.saturating_sub(cost)));
        }
    }

    /// When a draw with this reserve could succeed: 0 when always, `NEVER` when never.
    pub(crate) fn ready_at(&self, reserve_ns: u64) -> u64 {
        match self.rate.load(Ordering::Relaxed) {
            0 => NEVER,
            u64::MAX => 0,
            _ => self.spent_until.load(Ordering::Relaxed).saturating_add(reserve_ns),
        }
    }

    /// Notes the level to which the allocator fills a group, in bytes per second for one unit of a peer's weight: what a leaf that
    /// wakes may expect, on whichever worker it lives, until the allocator has seen it.
    pub fn set_fair_rate(&self, per_weight: f64) {
        self.fair_rate.store(per_weight.to_bits(), Ordering::Relaxed);
    }

    pub(crate) fn fair_rate(&self) -> f64 {
        f64::from_bits(self.fair_rate.load(Ordering::Relaxed))
    }

    /// Of the workers that draw on it as their total, or as a group's limit.
    pub(crate) fn line(&self) -> Arc<Line> {
        Arc::clone(self.line.get_or_init(Arc::default))
    }

    /// Somebody who goes in `tier` asks again in a moment: until `until`, lower tiers do not take what that will take.
    pub(crate) fn hold_below(&self, tier: Tier, until: u64) {
        if self.rate().is_unlimited() {
            return;
        }
        for lower in &self.held_until[tier.index() + 1..] {
            lower.fetch_max(until, Ordering::Relaxed);
        }
    }

    pub(crate) fn held_until(&self, tier: Tier) -> u64 {
        self.held_until[tier.index()].load(Ordering::Relaxed)
    }

    /// Whether `borrower` was the last to be noted.
    pub(crate) fn is_last_borrower(&self, borrower: u32) -> bool {
        self.last_borrower.load(Ordering::Relaxed) == borrower
    }

    /// Remembers who drew last among those that take turns: a peer's nodes in several groups on the peer's bucket.
    pub(crate) fn note_borrower(&self, borrower: u32) {
        // Only written when it changes: the cache line stays shared while one borrows alone.
        if !self.is_last_borrower(borrower) {
            self.last_borrower.store(borrower, Ordering::Relaxed);
        }
    }

    pub(crate) fn draw(&self, bytes: u32, now: u64, reserve_ns: u64, slack: Slack) -> Result<(), u64> {
        let rate = self.rate();
        if rate.is_unlimited() {
            return Ok(());
        }
        if rate == Rate::ZERO {
            return Err(NEVER);
        }
        let cost = cost_ns(bytes, rate);
        let mut at = self.spent_until.load(Ordering::Relaxed);
        loop {
            let ready_at = at.saturating_add(reserve_ns);
            if ready_at > now {
                return Err(ready_at);
            }
            let next = advanced(at, now, slack.ns(cost), cost);
            match self.spent_until.compare_exchange_weak(at, next, Ordering::AcqRel, Ordering::Relaxed) {
                Ok(_) => return Ok(()),
                Err(seen) => at = seen,
            }
        }
    }
}
