//! What is left over goes to the peers of all workers alike (start-time fair queueing of Goyal, Vin and Cheng, 1996).
//!
//! On one worker borrowers take turns. Between workers each peer stands where it would have come if its share, and nothing more, had been
//! lent to it: what it borrowed over what its weight is worth. The worker goes first whose last borrower stood furthest back. So no worker
//! has to know another's leaves, and those that wait for a limit of their own count for nothing.

use super::clock::NANOS_PER_SECOND;
use super::shaper::Shaper;
use super::tier::Tier;
use super::tree::NodeId;

/// What a unit of weight is worth while no plan has said so, in bytes per second.
const WORTH_AT_FIRST: f64 = 1e6;

/// A peer that comes back, be it after the moment between two requests, stands no further back than so many of the largest steps, and
/// no further than this.
const STEPS_BEHIND: u64 = 2;
const BEHIND_NS_MAX: u64 = 2 * NANOS_PER_SECOND;

/// No piece moves a peer further: one whose weight is next to nothing would come to the end of the numbers.
const STEP_NS_MAX: f64 = 10.0 * NANOS_PER_SECOND as f64;

impl Shaper {
    /// One of a peer's leaves waits to borrow.
    pub(super) fn stand(&mut self, peer: NodeId, tier: Tier) {
        if let Some(nth) = tier.ring().filter(|_| !self.seat.has_one_worker()) {
            let behind = self.seat.step(nth).saturating_mul(STEPS_BEHIND).min(BEHIND_NS_MAX);
            let least = self.seat.lent(nth).saturating_sub(behind);
            let at = &mut self.tree.nodes[peer as usize].stands_at[nth];
            *at = least.max(*at);
        }
    }

    /// A leaf of the peer borrows `bytes`. Returns by how much the peer moves.
    pub(super) fn lend(&mut self, peer: NodeId, tier: Tier, bytes: u32) -> u64 {
        let Some(nth) = tier.ring().filter(|_| !self.seat.has_one_worker()) else { return 0 };
        let group = self.tree.parent(peer);
        let unit = Some(self.bucket(group).fair_rate()).filter(|unit| *unit > 0.0).unwrap_or(WORTH_AT_FIRST);
        let worth = unit * self.tree.places[peer as usize].weight;
        let step = (f64::from(bytes) * NANOS_PER_SECOND as f64 / worth).min(STEP_NS_MAX) as u64;
        let at = &mut self.tree.nodes[peer as usize].stands_at[nth];
        self.seat.lend(nth, *at, step);
        *at = at.saturating_add(step);
        step
    }

    /// The peer did not use all of it, and moves back by `step`.
    pub(super) fn take_back(&mut self, peer: NodeId, tier: Tier, step: u64) {
        if let Some(nth) = tier.ring() {
            let at = &mut self.tree.nodes[peer as usize].stands_at[nth];
            *at = at.saturating_sub(step);
        }
    }
}
