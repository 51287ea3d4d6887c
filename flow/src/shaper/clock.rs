//! The arithmetic of a token bucket kept as one point in time (GCRA).
//!
//! A clock `at` is the moment up to which permission has been spent. It may draw while `at <= now`, and a draw moves it:
//! `at <- max(at, now - slack) + bytes / rate` (DESIGN section 6). Drawing on credit, so that a draw needs no knowledge of
//! its own size, makes "when may it go" one number; `slack` is how much unspent time is remembered, so that a late timer
//! or a turn waited for costs no rate. In any window a clock passes at most `rate * window + slack * rate + one quantum`.

use crate::Rate;

/// A moment that never comes; also the cost of a byte at rate zero.
pub(crate) const NEVER: u64 = u64::MAX;

pub(crate) const NANOS_PER_SECOND: u64 = 1_000_000_000;
pub(crate) const NANOS_PER_MILLI: u64 = 1_000_000;

/// 5 ms of rate: half of the 1 % by which a second may exceed its limit (the other half is the quantum), and several
/// times what a timer of 1 ms is late.
pub(crate) const SLACK_NS: u64 = 5 * NANOS_PER_MILLI;

/// What slack and a draw of a root may be together: 0.9 % of a second. Where pieces are a small part of the
/// second, more unspent time is remembered: a worker that has thousands of leaves to look after is late at times, also because
/// somebody else needs its core, and what it forgets is lost to all.
const SLACK_WITH_QUANTUM_NS: u64 = 9 * NANOS_PER_MILLI;

/// How much of a guarantee is owed at most.
pub(crate) const OWED_NS: u64 = 100 * NANOS_PER_MILLI;

/// Nanoseconds that `bytes` take at `rate`, rounded up so that rounding never exceeds a limit.
pub(crate) fn cost_ns(bytes: u32, rate: Rate) -> u64 {
    if rate.is_unlimited() {
        return 0;
    }
    match rate.bytes_per_second() {
        0 => NEVER,
        // u32::MAX * 10^9 < 2^63: no overflow.
        per_second => (u64::from(bytes) * NANOS_PER_SECOND).div_ceil(per_second),
    }
}

/// Least slack below the root, where a clock waits for a timer of 1 ms and for its turn among others. It is also all that a
/// leaf which was idle comes back with.
pub(crate) const SLACK_BELOW_ROOT_NS: u64 = 10 * NANOS_PER_MILLI;

/// How much unspent time a clock remembers.
#[derive(Copy, Clone, Debug)]
pub(crate) enum Slack {
    /// The root waits for nobody but its worker: at least 5 ms, and up to 9 ms less `piece_ns`, what this draw takes of it, or the largest
    /// that may follow.
    Root { piece_ns: u64 },
    /// Below it a clock also waits while others go: up to one period of its own when the guarantees fill the line, and
    /// `turn_ns`, one quantum at the root's rate, for whoever began just before. Time spent waiting so must not be lost, or
    /// caps and guarantees would be missed whenever the line is full.
    BelowRoot { turn_ns: u64 },
    /// A guarantee is owed while its leaf asks: what that waited for because the line was full comes later.
    Owed,
}

impl Slack {
    pub(crate) fn ns(self, cost_ns: u64) -> u64 {
        match self {
            Slack::Root { piece_ns } => SLACK_WITH_QUANTUM_NS.saturating_sub(piece_ns).max(SLACK_NS),
            Slack::Owed => OWED_NS + cost_ns,
            Slack::BelowRoot { turn_ns } => turn_ns + SLACK_BELOW_ROOT_NS.max(cost_ns),
        }
    }
}

/// Where the clock stands after a draw.
pub(crate) fn advanced(at: u64, now: u64, slack_ns: u64, cost_ns: u64) -> u64 {
    at.max(now.saturating_sub(slack_ns)).saturating_add(cost_ns)
}

/// Where the clock stands after its rate changed. A raised rate pays old debt off at the new rate; a lowered rate keeps the
/// debt's time, so that one quantum drawn at 10 MB/s is not a minute's wait at 1 KiB/s.
pub(crate) fn retuned(at: u64, old: Rate, new: Rate, now: u64) -> u64 {
    if at <= now {
        return at;
    }
    if new.is_unlimited() || old.is_unlimited() || old.bytes_per_second() == 0 {
        return now;
    }
    if new <= old {
        return at;
    }
    let debt_ns = u128::from(at - now) * u128::from(old.bytes_per_second()) / u128::from(new.bytes_per_second());
    now.saturating_add(debt_ns as u64)
}

/// A clock of one thread: a leaf's guarantee or ceiling.
#[derive(Copy, Clone, Debug)]
pub(crate) struct Clock {
    at: u64,
    rate: Rate,
}

impl Clock {
    /// A clock that may draw one quantum at `now`.
    pub(crate) fn new(rate: Rate, now: u64) -> Self {
        Clock { at: now, rate }
    }

    pub(crate) fn rate(&self) -> Rate {
        self.rate
    }

    /// The first moment at which it may draw, `NEVER` at rate zero.
    pub(crate) fn ready_at(&self) -> u64 {
        if self.rate.is_unlimited() {
            0
        } else if self.rate == Rate::ZERO {
            NEVER
        } else {
            self.at
        }
    }

    pub(crate) fn charge(&mut self, bytes: u32, now: u64, slack: Slack) {
        if self.rate.is_unlimited() || self.rate == Rate::ZERO {
            return;
        }
        let cost = cost_ns(bytes, self.rate);
        self.at = advanced(self.at, now, slack.ns(cost), cost);
    }

    /// What it stands for is spent until `at`, and no longer.
    pub(crate) fn begin_at(&mut self, at: u64) {
        self.at = at;
    }

    /// Forgets what was not spent while nobody asked.
    pub(crate) fn forget(&mut self, now: u64) {
        self.at = self.at.max(now.saturating_sub(SLACK_BELOW_ROOT_NS));
    }

    pub(crate) fn refund(&mut self, bytes: u32) {
        if self.rate.is_unlimited() || self.rate == Rate::ZERO {
            return;
        }
        self.at = self.at.saturating_sub(cost_ns(bytes, self.rate));
    }

    pub(crate) fn set_rate(&mut self, rate: Rate, now: u64) {
        if rate != self.rate {
            self.at = retuned(self.at, self.rate, rate, now);
            self.rate = rate;
        }
    }
}
