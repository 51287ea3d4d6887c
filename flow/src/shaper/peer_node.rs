//! A peer's node in one group, and what its leaves there may have before the allocator has seen them.
//!
//! Whoever begins a transfer anew after each piece, or many at once, would have the peer's share with each of them. So one clock goes over
//! all that is guaranteed here, and another gives those that no plan has seen no more than what their weights are worth beside the others:
//! a transfer that goes on would have nothing else. In another group the peer has another share.

use super::clock::{Clock, NANOS_PER_MILLI, Slack, cost_ns};
use super::leaf::Counted;
use super::ring::sane_weight;
use super::tree::NodeId;
use crate::{GroupKey, Rate};

/// Longer nobody's next transfer waits for what his last has spent: among thousands a piece is a second of its rate.
const AHEAD_NS_MAX: u64 = 250 * NANOS_PER_MILLI;

#[derive(Debug)]
pub(super) struct PeerNode {
    pub(super) group: GroupKey,
    pub(super) id: NodeId,
    /// What its leaves are assigned together, and how many of them nothing gates.
    assigned: u128,
    ungated: u32,
    /// Of all leaves, in [`millionths`], and of those that woke, until a plan has seen them.
    weights: u64,
    woken: u64,
    /// The peer's here, while leaves wake.
    share: Rate,
    wakes_until: u64,
    /// Until when those that ended have spent what was guaranteed here: their last pieces were drawn on credit.
    spent_until: u64,
    /// Until when turns have been given to those that wait for it.
    turns_until: u64,
    /// What is guaranteed to all leaves together meanwhile, and to those that no plan has seen.
    guarantee: Clock,
    unplanned: Clock,
}

impl PeerNode {
    pub(super) fn new(group: GroupKey, id: NodeId) -> Self {
        let closed = Clock::new(Rate::ZERO, 0);
        Self {
            group,
            id,
            assigned: 0,
            ungated: 0,
            weights: 0,
            woken: 0,
            share: Rate::ZERO,
            wakes_until: 0,
            spent_until: 0,
            turns_until: 0,
            guarantee: closed,
            unplanned: closed,
        }
    }

    /// Of a leaf the sums hold `after`, and did hold `before`.
    pub(super) fn note(&mut self, before: Counted, after: Counted, now: u64) {
        self.assigned = self.assigned - gated(before.assigned) + gated(after.assigned);
        let is_ungated = |counted: Counted| u32::from(counted.assigned.is_unlimited());
        self.ungated = self.ungated - is_ungated(before) + is_ungated(after);
        self.weights = self.weights - before.weight + after.weight;
        self.woken = self.woken - before.woken_weight + after.woken_weight;
        if before.assigned != after.assigned && self.wakes(now) {
            self.guarantee.set_rate(self.together(), now);
        }
    }

    /// What its leaves are assigned together.
    pub(super) fn assigned(&self) -> Rate {
        let sum = Rate::from_bytes_per_second(u64::try_from(self.assigned).unwrap_or(u64::MAX));
        if self.ungated > 0 { Rate::UNLIMITED } else { sum }
    }

    /// The part of `share` that leaves of this weight have.
    pub(super) fn part(&self, share: Rate, weights: u64) -> Rate {
        let part = share.as_f64() * weights as f64 / self.weights.max(1) as f64;
        if weights >= self.weights { share } else { Rate::from_f64(part) }
    }

    /// A leaf has woken, to which `share` is due if it is the only one, until the allocator has seen it or until `until`.
    pub(super) fn wake(&mut self, share: Rate, until: u64, now: u64) {
        let goes_on = self.wakes(now);
        // As it is now: what it was when fewer were there is no longer due.
        self.share = share;
        self.wakes_until = until;
        let (together, unplanned) = (self.together(), self.part(share, self.woken));
        if goes_on {
            self.guarantee.set_rate(together, now);
            self.unplanned.set_rate(unplanned, now);
        } else {
            self.guarantee = Clock::new(together, now.max(self.spent_until));
            self.unplanned = Clock::new(unplanned, now);
        }
    }

    /// When the next guaranteed release of any of its leaves may go, or of one that no plan has seen.
    pub(super) fn ready_at(&self, is_unplanned: bool, now: u64) -> u64 {
        match (self.wakes(now), is_unplanned) {
            (false, _) => 0,
            (true, false) => self.guarantee.ready_at(),
            (true, true) => self.guarantee.ready_at().max(self.unplanned.ready_at()),
        }
    }

    /// When another leaf may have its turn that waits for `bytes`, the first being at `ready_at`: after those that wait already.
    pub(super) fn turn_at(&mut self, ready_at: u64, bytes: u32) -> u64 {
        let at = self.turns_until.clamp(ready_at, ready_at.saturating_add(AHEAD_NS_MAX));
        self.turns_until = at.saturating_add(cost_ns(bytes, self.guarantee.rate()));
        at
    }

    /// One that had a turn to come has gone. Those of the others stay, and the next one is given as if there were none.
    pub(super) fn end_turns(&mut self) {
        self.turns_until = 0;
    }

    pub(super) fn charge(&mut self, bytes: u32, is_unplanned: bool, now: u64, slack: Slack) {
        if self.wakes(now) {
            self.guarantee.charge(bytes, now, slack);
            if is_unplanned {
                self.unplanned.charge(bytes, now, slack);
            }
        }
    }

    pub(super) fn refund(&mut self, bytes: u32, is_unplanned: bool) {
        self.guarantee.refund(bytes);
        if is_unplanned {
            self.unplanned.refund(bytes);
        }
    }

    /// A leaf ends that is guaranteed `rate`, and has spent it for `ahead_ns` to come. At the rate of all leaves that is less.
    pub(super) fn leave(&mut self, rate: Rate, ahead_ns: u64, now: u64) {
        let together = self.together();
        if rate.is_unlimited() || together.is_unlimited() || together == Rate::ZERO {
            return;
        }
        let ahead_ns = (ahead_ns as f64 * rate.as_f64() / together.as_f64()) as u64;
        self.spent_until = self.spent_until.max(now) + ahead_ns;
        self.spent_until = self.spent_until.min(now + AHEAD_NS_MAX);
    }

    fn wakes(&self, now: u64) -> bool {
        now < self.wakes_until
    }

    /// One share, or all that was planned if that is more.
    fn together(&self) -> Rate {
        self.share.max(self.assigned())
    }

    /// Recounts.
    #[cfg(any(test, debug_assertions))]
    pub(super) fn check(&self, leaves: impl Iterator<Item = Counted>) {
        let mut sums = (0, 0, 0, 0);
        for leaf in leaves {
            sums.0 += gated(leaf.assigned);
            sums.1 += u32::from(leaf.assigned.is_unlimited());
            sums.2 += leaf.weight;
            sums.3 += leaf.woken_weight;
        }
        assert_eq!(
            (self.assigned, self.ungated, self.weights, self.woken),
            sums,
            "sums over the leaves of node {}",
            self.id
        );
    }
}

/// A weight as a number whose sums are exact, however often something is added and taken away.
pub(super) fn millionths(weight: f64) -> u64 {
    (sane_weight(weight) * 1e6) as u64
}

fn gated(rate: Rate) -> u128 {
    if rate.is_unlimited() { 0 } else { rate.bytes_per_second().into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn leaf(assigned: Rate, weight: f64, is_woken: bool) -> Counted {
        let weight = millionths(weight);
        Counted { assigned, weight, woken_weight: if is_woken { weight } else { 0 } }
    }

    #[test]
    fn when_leaves_wake_all_are_guaranteed_one_share_or_all_that_was_planned() {
        let rate = Rate::from_bytes_per_second;
        let (share, until) = (rate(1_000_000), 500 * NANOS_PER_MILLI);
        for (planned, expected) in [
            (&[][..], share),
            (&[rate(300_000)], share),
            (&[rate(600_000); 3], rate(1_800_000)),
            (&[rate(300_000), Rate::UNLIMITED], Rate::UNLIMITED),
        ] {
            let mut node = PeerNode::new(GroupKey(0), 1);
            planned.iter().for_each(|&rate| node.note(Counted::NOTHING, leaf(rate, 1.0, false), 0));
            node.wake(rate(5_000_000), until, 0);
            node.wake(share, until, 0);
            assert_eq!(node.guarantee.rate(), expected, "beside {planned:?}");
            planned.iter().for_each(|&rate| node.note(leaf(rate, 1.0, false), Counted::NOTHING, 0));
            assert_eq!(node.guarantee.rate(), share, "when {planned:?} are gone");
            node.charge(100_000, false, 0, Slack::BelowRoot { turn_ns: 0 });
            assert_eq!(node.ready_at(false, 0), 100 * NANOS_PER_MILLI);
            assert_eq!(node.ready_at(false, until), 0, "nothing holds those that were planned");
        }
    }

    #[test]
    fn those_that_no_plan_has_seen_have_their_part_together() {
        let share = Rate::from_bytes_per_second(1_000_000);
        for (planned, woken, expected) in [
            (&[][..], &[1.0][..], 1_000_000),
            (&[1.0], &[1.0], 500_000),
            (&[1.0], &[1.0; 4], 800_000),
            (&[1.0], &[3.0], 750_000),
            (&[0.5, 0.5], &[0.001], 999),
        ] {
            let mut node = PeerNode::new(GroupKey(0), 1);
            planned.iter().for_each(|&weight| node.note(Counted::NOTHING, leaf(share, weight, false), 0));
            for &weight in woken {
                node.note(Counted::NOTHING, leaf(Rate::ZERO, weight, true), 0);
                node.wake(share, 1, 0);
            }
            assert_eq!(node.unplanned.rate().bytes_per_second(), expected, "{woken:?} beside {planned:?}");
            assert_eq!(node.part(Rate::UNLIMITED, node.woken), Rate::UNLIMITED, "nothing gates them");
            woken.iter().for_each(|&weight| node.note(leaf(Rate::ZERO, weight, true), Counted::NOTHING, 0));
            planned.iter().for_each(|&weight| node.note(leaf(share, weight, false), Counted::NOTHING, 0));
            node.check(std::iter::empty());
        }
    }
}
