//! A peer in the tree: its limit, its nodes, and what its leaves may have before the allocator has seen them.

use std::sync::Arc;

use super::bucket::SharedBucket;
use super::clock::{Clock, Slack};
use super::tree::NodeId;
use crate::{GroupKey, Rate};

/// A peer, with a node in every group in which it has had transfers.
#[derive(Debug)]
pub(super) struct Peer {
    pub(super) bucket: Arc<SharedBucket>,
    pub(super) weight: f64,
    pub(super) nodes: Vec<(GroupKey, NodeId)>,
    /// What its leaves are assigned together.
    assigned: u128,
    /// How many of them are assigned something.
    planned: u64,
    /// What those that have just woken have together, in releases that no assignment covers. One clock for all: whoever begins a
    /// transfer anew after each piece, or many at once, would else have a share with each of them.
    provisional: Clock,
}

impl Peer {
    pub(super) fn new(bucket: Arc<SharedBucket>, weight: f64, now: u64) -> Self {
        Peer { bucket, weight, nodes: Vec::new(), assigned: 0, planned: 0, provisional: Clock::new(Rate::ZERO, now) }
    }

    /// One of its leaves is assigned `rate` now, and was `before`; zero is none.
    pub(super) fn note_assigned(&mut self, before: Rate, rate: Rate) {
        self.assigned = self.assigned - gated(before) + gated(rate);
        self.planned = self.planned - u64::from(before != Rate::ZERO) + u64::from(rate != Rate::ZERO);
    }

    /// Recounts.
    #[cfg(any(test, debug_assertions))]
    pub(super) fn check(&self, assigned: impl Iterator<Item = Rate>) {
        let of_leaves =
            assigned.filter(|&rate| rate != Rate::ZERO).fold((0, 0), |(sum, n), rate| (sum + gated(rate), n + 1));
        assert_eq!((self.assigned, self.planned), of_leaves, "what a peer's leaves are assigned together");
    }

    /// A leaf has woken, to which `share` is due if it is the peer's only one: what the peer's others leave of that, and at least what
    /// is due to one among them.
    pub(super) fn wake(&mut self, share: Rate, now: u64) {
        let rest = share.as_f64() - self.assigned as f64;
        let part = share.as_f64() / (self.planned + 1) as f64;
        self.provisional.set_rate(if share.is_unlimited() { share } else { Rate::from_f64(rest.max(part)) }, now);
    }

    /// When the next provisional release may go.
    pub(super) fn ready_at(&self) -> u64 {
        self.provisional.ready_at()
    }

    pub(super) fn charge(&mut self, bytes: u32, now: u64, slack: Slack) {
        self.provisional.charge(bytes, now, slack);
    }

    pub(super) fn refund(&mut self, bytes: u32) {
        self.provisional.refund(bytes);
    }
}

/// What counts of an assignment: where nothing gates there is nothing to divide.
fn gated(rate: Rate) -> u128 {
    if rate.is_unlimited() { 0 } else { rate.bytes_per_second().into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer() -> Peer {
        Peer::new(Arc::new(SharedBucket::new(Rate::UNLIMITED)), 1.0, 0)
    }

    fn rate(bytes_per_second: u64) -> Rate {
        Rate::from_bytes_per_second(bytes_per_second)
    }

    #[test]
    fn a_leaf_that_wakes_has_what_its_peers_others_leave_and_at_least_what_is_due_to_one_of_them() {
        let share = rate(1_000_000);
        for (others, expected) in [
            (&[][..], 1_000_000),
            (&[300_000], 700_000),
            (&[900_000], 500_000),
            (&[250_000; 4], 200_000),
            (&[2_000_000; 9], 100_000),
        ] {
            let mut peer = peer();
            others.iter().for_each(|&other| peer.note_assigned(Rate::ZERO, rate(other)));
            peer.wake(share, 0);
            assert_eq!(peer.provisional.rate(), rate(expected), "beside {others:?}");
            others.iter().for_each(|&other| peer.note_assigned(rate(other), Rate::ZERO));
            peer.wake(share, 0);
            assert_eq!(peer.provisional.rate(), share, "when {others:?} are gone");
        }
    }
}
