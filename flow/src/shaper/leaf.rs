//! One transfer direction: what it asks for, what it was promised, how far it may go.

use super::clock::{Clock, NANOS_PER_MILLI, NEVER, OWED_NS, Slack, cost_ns};
use super::mode::Mode;
use super::pace::Pace;
use super::peer_node::millionths;
use super::tier::Tier;
use super::tree::NodeId;
use crate::{Class, LeafKey, PeerKey, Rate};

/// What the plan says of one leaf.
#[derive(Copy, Clone, PartialEq, Debug)]
pub struct LeafRates {
    /// Guaranteed: released before anything is lent. Zero for an idle leaf, unlimited for one that nothing gates.
    pub assigned: Rate,
    /// Never above.
    pub ceiling: Rate,
    /// Its part of what is lent, among its peer's transfers.
    pub weight: f64,
    /// Background leaves borrow only what no foreground leaf can use.
    pub class: Class,
}

/// A leaf that asks again within this time of its last release never stopped wanting; later, its clocks forget what it left.
const PAUSE_NS: u64 = 20 * NANOS_PER_MILLI;

/// A leaf without a request for this long has to be woken, no longer just between two requests.
const IDLE_NS: u64 = 500 * NANOS_PER_MILLI;

/// How long a woken leaf lives on a provisional guarantee: two of the early rounds that its waking triggers (one per 250 ms).
pub(super) const PROVISIONAL_NS: u64 = 500 * NANOS_PER_MILLI;

/// A moment, about `now`, after all that came of it before.
pub(super) fn next_turn(turned_at: &mut u64, now: u64) -> u64 {
    *turned_at = now.max(*turned_at + 1);
    *turned_at
}

/// Where a leaf with a request belongs now.
#[derive(Copy, Clone, Eq, PartialEq, Debug)]
pub(crate) struct Standing {
    /// The tier in which it may go, `None` while its ceiling holds it.
    pub(crate) tier: Option<Tier>,
    /// When to look again.
    pub(crate) timer: Option<u64>,
}

/// What a peer's sums hold of one of its leaves.
#[derive(Copy, Clone, Debug)]
pub(crate) struct Counted {
    pub(crate) assigned: Rate,
    /// In millionths, as the next.
    pub(crate) weight: u64,
    /// The same of a leaf that woke, until a plan has seen it; else 0.
    pub(crate) woken_weight: u64,
}

impl Counted {
    /// Of a leaf that is not here.
    pub(crate) const NOTHING: Self = Self { assigned: Rate::ZERO, weight: 0, woken_weight: 0 };
}

#[derive(Debug)]
pub(crate) struct Leaf {
    pub(crate) key: LeafKey,
    pub(crate) peer: PeerKey,
    pub(crate) node: NodeId,
    pub(crate) rates: LeafRates,
    /// Bytes asked for; 0 when it waits for nothing.
    pub(crate) request: u32,
    /// Where it is seated.
    pub(crate) tier: Option<Tier>,
    pub(crate) guarantee: Clock,
    pub(crate) ceiling: Clock,
    pub(crate) pace: Pace,
    /// Of the link that it is on.
    pub(crate) mode: Mode,
    /// The last release, for what comes back of it.
    pub(crate) last: LastRelease,
    /// Has not gone since it woke: its first guaranteed release is due before those of leaves that are under way.
    pub(crate) woken: bool,
    /// Whether it has ever asked for anything.
    pub(crate) has_asked: bool,
    /// When its turn comes among those that wait for their peer's clock.
    pub(crate) comes_at: u64,
    /// Its weight as it was counted among those that woke; 0 while it isn't.
    pub(crate) woken_weight: u64,
    /// Until when its guarantee is at least the provisional one, and that one.
    provisional_until: u64,
    provisional: Rate,
    /// Last asked or released; `None` before the first time.
    active_at: Option<u64>,
}

#[derive(Copy, Clone, Debug)]
pub(crate) struct LastRelease {
    pub(crate) bytes: u32,
    pub(crate) tier: Tier,
    /// By how much its peer moved on among those that borrow.
    pub(crate) step: u64,
}

impl Leaf {
    pub(crate) fn new(key: LeafKey, peer: PeerKey, node: NodeId, rates: LeafRates, now: u64) -> Self {
        Leaf {
            key,
            peer,
            node,
            rates,
            request: 0,
            tier: None,
            guarantee: Clock::new(rates.assigned, now),
            ceiling: Clock::new(rates.ceiling, now),
            pace: Pace::new(now),
            mode: Mode::Precise,
            last: LastRelease { bytes: 0, tier: Tier::Guaranteed, step: 0 },
            woken: false,
            has_asked: false,
            comes_at: 0,
            woken_weight: 0,
            provisional_until: 0,
            provisional: Rate::ZERO,
            // A leaf that comes with an assignment is known to the allocator; one without has just woken.
            active_at: if rates.assigned == Rate::ZERO { None } else { Some(now) },
        }
    }

    /// Whether a request that it makes now wakes it.
    pub(crate) fn wakes(&self, now: u64) -> bool {
        self.request == 0 && self.active_at.is_none_or(|at| now >= at.saturating_add(IDLE_NS))
    }

    /// Takes a request. One that wakes it comes with its part of what its peer would be assigned: it is guaranteed as much until the
    /// allocator has seen it, or it would wait a round behind those who share its part (DESIGN 13: at once). Returns whether that is
    /// more than was planned.
    pub(crate) fn ask(&mut self, bytes: u32, now: u64, share: Option<Rate>) -> bool {
        if self.request == 0 && self.active_at.is_none_or(|at| now >= at.saturating_add(PAUSE_NS)) {
            self.ceiling.forget(now);
            self.guarantee.forget(now);
        }
        self.request = bytes;
        self.active_at = Some(now);
        let Some(share) = share else { return false };
        self.woken = true;
        self.pace = Pace::new(now);
        self.provisional = share;
        self.provisional_until = now + PROVISIONAL_NS;
        share > self.rates.assigned
    }

    /// Its first piece, of `piece` bytes, waits until it is paid for where a ceiling was there from the beginning: drawn on credit, what is
    /// no more than a piece would be for nothing, and ended with its debt.
    pub(crate) fn wait_for_first(&mut self, piece: u32, now: u64) {
        if !self.ceiling.rate().is_unlimited() && self.ceiling.rate() != Rate::ZERO {
            self.ceiling.begin_at(now.saturating_add(cost_ns(piece, self.ceiling.rate())));
        }
    }

    pub(crate) fn set_rates(&mut self, rates: LeafRates, now: u64) {
        if rates.assigned > self.rates.assigned {
            // The allocator has seen it wake.
            self.provisional_until = 0;
        }
        if now >= self.provisional_until {
            self.woken_weight = 0;
        }
        self.rates = rates;
        self.ceiling.set_rate(rates.ceiling, now);
        self.tune_guarantee(now);
    }

    /// Where it belongs, given its request and clocks, and when its peer may have more that is guaranteed.
    pub(crate) fn standing(&mut self, now: u64, peer_ready_at: u64) -> Standing {
        if self.request == 0 {
            return Standing { tier: None, timer: None };
        }
        self.tune_guarantee(now);
        let open_at = self.ceiling.ready_at();
        if open_at > now {
            return Standing { tier: None, timer: Some(open_at) };
        }
        let guaranteed_at = self.guarantee.ready_at().max(peer_ready_at);
        if guaranteed_at <= now {
            return Standing { tier: Some(Tier::Guaranteed), timer: None };
        }
        Standing { tier: Some(self.borrows_in()), timer: (guaranteed_at != NEVER).then_some(guaranteed_at) }
    }

    /// By when its next piece within its guarantee, of `piece` bytes at most, is to have gone: when the one after it falls due. Those that
    /// nothing gates have no such moment and take turns, of which `turned_at` was the last. One that woke is due before
    /// all that are not as late as they can be.
    pub(crate) fn due_at(&self, peer_ready_at: u64, piece: u32, turned_at: &mut u64, now: u64) -> u64 {
        if self.guarantee.rate().is_unlimited() {
            return next_turn(turned_at, now);
        }
        let ready_at = self.guarantee.ready_at().max(peer_ready_at);
        let due_at = ready_at.saturating_add(cost_ns(self.request.min(piece), self.guarantee.rate()));
        if self.woken { due_at.min(now.saturating_sub(OWED_NS)) } else { due_at }
    }

    /// The tier in which it would go if it asked once more.
    pub(crate) fn next_tier(&self, now: u64, peer_ready_at: u64) -> Option<Tier> {
        match (self.ceiling.ready_at() <= now, self.guarantee.ready_at().max(peer_ready_at) <= now) {
            (false, _) => None,
            (true, true) => Some(Tier::Guaranteed),
            (true, false) => Some(self.borrows_in()),
        }
    }

    fn borrows_in(&self) -> Tier {
        match self.rates.class {
            Class::Foreground => Tier::Lent,
            Class::Background => Tier::Background,
        }
    }

    /// Books a release and ends the request.
    pub(crate) fn charge(&mut self, release: LastRelease, now: u64, turn_ns: u64) {
        let LastRelease { bytes, tier, .. } = release;
        self.request = 0;
        self.woken = false;
        self.comes_at = 0;
        self.active_at = Some(now);
        self.last = release;
        self.pace.add(bytes, now);
        self.ceiling.charge(bytes, now, Slack::BelowRoot { turn_ns });
        // What is lent comes on top of the guarantee, or borrowing would eat it up.
        if tier == Tier::Guaranteed {
            self.guarantee.charge(bytes, now, Slack::Owed);
        }
    }

    /// Books part of the last release back; returns how much, and by how much its peer moves back among those that borrow.
    pub(crate) fn refund(&mut self, bytes: u32) -> (u32, u64) {
        let bytes = bytes.min(self.last.bytes);
        let step = (self.last.step as f64 * f64::from(bytes) / f64::from(self.last.bytes.max(1))) as u64;
        self.last.step -= step.min(self.last.step);
        self.last.bytes -= bytes;
        self.pace.subtract(bytes);
        self.ceiling.refund(bytes);
        if self.last.tier == Tier::Guaranteed {
            self.guarantee.refund(bytes);
        }
        (bytes, step)
    }

    /// What its peer's sums hold of it.
    pub(crate) fn counted(&self) -> Counted {
        Counted { assigned: self.rates.assigned, weight: self.weight(), woken_weight: self.woken_weight }
    }

    /// Its weight in whole numbers.
    pub(crate) fn weight(&self) -> u64 {
        millionths(self.rates.weight)
    }

    /// Whether it lives on what nobody has planned.
    pub(crate) fn is_unplanned(&self, now: u64) -> bool {
        now < self.provisional_until && self.provisional > self.rates.assigned
    }

    /// It has woken, and its peer has spent what is guaranteed to it until `at`. Where that is past the peer is owed the rest, and so
    /// is a leaf that takes it in more than one piece.
    pub(crate) fn go_on_from(&mut self, at: u64, now: u64) {
        self.tune_guarantee(now);
        self.guarantee.begin_at(at.max(now.saturating_sub(OWED_NS)));
    }

    /// Puts the guarantee in force: the assigned rate, or the provisional one while that holds and is more.
    fn tune_guarantee(&mut self, now: u64) {
        let provisional = if now < self.provisional_until { self.provisional } else { Rate::ZERO };
        self.guarantee.set_rate(self.rates.assigned.max(provisional), now);
    }
}
