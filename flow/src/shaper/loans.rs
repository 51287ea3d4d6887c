//! What is left over goes to the peers of all workers alike (start-time fair queueing of Goyal, Vin and Cheng, 1996).
//!
//! On one worker borrowers take turns. Between workers each peer stands where it would have come if its share, and nothing more, had been
//! lent to it: what it borrowed over what its weight is worth. The worker goes first whose last borrower stood furthest back. So no worker
//! has to know another's leaves, and those that wait for a limit of their own count for nothing. The same once more among the peers of a
//! group below its limit, where that and not the total is what is left over.

use super::bucket::SharedBucket;
use super::clock::NANOS_PER_SECOND;
use super::line::LineSeat;
use super::shaper::Shaper;
use super::tier::Tier;
use super::tree::{Kind, NodeId};

/// What a unit of weight is worth while no plan has said so, in bytes per second.
const WORTH_AT_FIRST: f64 = 1e6;

/// A peer that comes back, be it after the moment between two requests, stands no further back than so many of the largest steps, and
/// no further than this.
const STEPS_BEHIND: u64 = 2;
const BEHIND_NS_MAX: u64 = 2 * NANOS_PER_SECOND;

/// No piece moves a peer further: one whose weight is next to nothing would come to the end of the numbers.
const STEP_NS_MAX: f64 = 10.0 * NANOS_PER_SECOND as f64;

/// What a unit of a peer's weight is worth in a group: what it is assigned there.
pub(crate) fn worth(group: &SharedBucket) -> f64 {
    Some(group.fair_rate()).filter(|unit| *unit > 0.0).unwrap_or(WORTH_AT_FIRST)
}

impl LineSeat {
    /// Where one that waits to borrow and stood at `at` stands now.
    fn stand(&self, nth: usize, at: u64) -> u64 {
        let behind = self.step(nth).saturating_mul(STEPS_BEHIND).min(BEHIND_NS_MAX);
        self.lent(nth).saturating_sub(behind).max(at)
    }
}

impl Shaper {
    /// One of a peer's leaves waits to borrow.
    pub(super) fn stand(&mut self, peer: NodeId, tier: Tier) {
        let Some(nth) = tier.ring().filter(|_| !self.seat.has_one_worker()) else { return };
        let (group, node) = (self.tree.parent(peer), &self.tree.nodes[peer as usize]);
        let at = self.seat.stand(nth, node.stands_at[nth]);
        let in_group = match &self.tree.nodes[group as usize].kind {
            Kind::Group { bucket, seat } if !bucket.rate().is_unlimited() => seat.stand(nth, node.stands_in_group[nth]),
            _ => node.stands_in_group[nth],
        };
        let node = &mut self.tree.nodes[peer as usize];
        (node.stands_at[nth], node.stands_in_group[nth]) = (at, in_group);
    }

    /// A leaf of the peer borrows `bytes`. Returns by how much the peer moves.
    pub(super) fn lend(&mut self, peer: NodeId, tier: Tier, bytes: u32) -> u64 {
        let Some(nth) = tier.ring().filter(|_| !self.seat.has_one_worker()) else { return 0 };
        let group = self.tree.parent(peer);
        let worth = worth(self.bucket(group)) * self.tree.places[peer as usize].weight;
        let step = (f64::from(bytes) * NANOS_PER_SECOND as f64 / worth).min(STEP_NS_MAX) as u64;
        let node = &mut self.tree.nodes[peer as usize];
        let (at, in_group) = (node.stands_at[nth], node.stands_in_group[nth]);
        node.stands_at[nth] = at.saturating_add(step);
        node.stands_in_group[nth] = in_group.saturating_add(step);
        self.seat.lend(nth, at, step);
        if let Kind::Group { bucket, seat } = &mut self.tree.nodes[group as usize].kind
            && !bucket.rate().is_unlimited()
        {
            seat.lend(nth, in_group, step);
        }
        step
    }

    /// The peer did not use all of it, and moves back by `step`.
    pub(super) fn take_back(&mut self, peer: NodeId, tier: Tier, step: u64) {
        if let Some(nth) = tier.ring() {
            let node = &mut self.tree.nodes[peer as usize];
            for at in [&mut node.stands_at[nth], &mut node.stands_in_group[nth]] {
                *at = at.saturating_sub(step);
            }
        }
    }
}
