//! A peer in the tree: its limit, its nodes, and what its leaves may have before the allocator has seen them.

use std::sync::Arc;

use super::bucket::SharedBucket;
use super::clock::{Clock, Slack};
use super::keys::KeyMap;
use super::leaf::Leaf;
use super::shaper::Shaper;
use super::tree::NodeId;
use crate::{GroupKey, PeerKey, Rate};

/// A peer, with a node in every group in which it has had transfers.
#[derive(Debug)]
pub(super) struct Peer {
    pub(super) bucket: Arc<SharedBucket>,
    pub(super) weight: f64,
    pub(super) nodes: Vec<(GroupKey, NodeId)>,
    /// What its leaves are assigned together, and how many of them nothing gates.
    assigned: u128,
    ungated: u32,
    /// What is guaranteed to all of its leaves together, while some live on what nobody has planned. Whoever begins a transfer anew
    /// after each piece, or many at once, would else have a share with each of them.
    guarantee: Clock,
    share: Rate,
    /// Until when that is so.
    wakes_until: u64,
}

impl Peer {
    pub(super) fn new(bucket: Arc<SharedBucket>, weight: f64) -> Self {
        Peer {
            bucket,
            weight,
            nodes: Vec::new(),
            assigned: 0,
            ungated: 0,
            guarantee: Clock::new(Rate::ZERO, 0),
            share: Rate::ZERO,
            wakes_until: 0,
        }
    }

    /// One of its leaves is assigned `rate` now, and was `before`; zero is none.
    pub(super) fn note_assigned(&mut self, before: Rate, rate: Rate, now: u64) {
        self.assigned = self.assigned - gated(before) + gated(rate);
        self.ungated = self.ungated - u32::from(before.is_unlimited()) + u32::from(rate.is_unlimited());
        if self.wakes(now) {
            self.guarantee.set_rate(self.together(), now);
        }
    }

    /// A leaf has woken, to which `share` is due if it is the peer's only one, until the allocator has seen it or until `until`.
    pub(super) fn wake(&mut self, share: Rate, until: u64, now: u64) {
        if !self.wakes(now) {
            self.guarantee = Clock::new(Rate::ZERO, now);
        }
        // As it is now: what it was when fewer were there is no longer due.
        self.share = share;
        self.wakes_until = until;
        self.guarantee.set_rate(self.together(), now);
    }

    /// When the next guaranteed release of any of its leaves may go.
    pub(super) fn ready_at(&self, now: u64) -> u64 {
        if self.wakes(now) { self.guarantee.ready_at() } else { 0 }
    }

    pub(super) fn charge(&mut self, bytes: u32, now: u64, slack: Slack) {
        if self.wakes(now) {
            self.guarantee.charge(bytes, now, slack);
        }
    }

    pub(super) fn refund(&mut self, bytes: u32) {
        self.guarantee.refund(bytes);
    }

    fn wakes(&self, now: u64) -> bool {
        now < self.wakes_until
    }

    /// One share, or all that was planned if that is more.
    fn together(&self) -> Rate {
        let assigned = Rate::from_bytes_per_second(u64::try_from(self.assigned).unwrap_or(u64::MAX));
        if self.ungated > 0 { Rate::UNLIMITED } else { self.share.max(assigned) }
    }

    /// Recounts.
    #[cfg(any(test, debug_assertions))]
    pub(super) fn check(&self, leaves: impl Iterator<Item = Rate>) {
        let of_leaves =
            leaves.fold((0, 0), |(sum, ungated), rate| (sum + gated(rate), ungated + u32::from(rate.is_unlimited())));
        assert_eq!((self.assigned, self.ungated), of_leaves, "what a peer's leaves are assigned together");
    }
}

impl Shaper {
    pub(super) fn note_assigned(&mut self, peer: PeerKey, before: Rate, rate: Rate, now: u64) {
        if before != rate
            && let Some(peer) = self.peers.get_mut(&peer)
        {
            peer.note_assigned(before, rate, now);
        }
    }

    /// What its peer would be assigned, nearly, if it were one of those that want more.
    pub(super) fn share(&self, index: u32) -> Rate {
        let leaf = &self.leaves[index as usize];
        let peer = self.tree.parent(leaf.node);
        let group = self.bucket(self.tree.parent(peer));
        Rate::from_f64(group.fair_rate() * self.tree.places[peer as usize].weight)
    }

    /// When its peer may have more that is guaranteed; at once, unless leaves of the peer have just woken.
    pub(super) fn peer_ready_at(&self, leaf: &Leaf, now: u64) -> u64 {
        if now >= self.waking_until { 0 } else { self.peers.get(&leaf.peer).map_or(0, |peer| peer.ready_at(now)) }
    }
}

/// The peer, if leaves of it may have woken.
pub(super) fn waking(peers: &mut KeyMap<PeerKey, Peer>, until: u64, key: PeerKey, now: u64) -> Option<&mut Peer> {
    if now < until { peers.get_mut(&key) } else { None }
}

fn gated(rate: Rate) -> u128 {
    if rate.is_unlimited() { 0 } else { rate.bytes_per_second().into() }
}

#[cfg(test)]
mod tests {
    use super::super::clock::NANOS_PER_MILLI;
    use super::*;

    #[test]
    fn a_peer_of_which_leaves_wake_is_guaranteed_one_share_or_all_that_was_planned() {
        let rate = Rate::from_bytes_per_second;
        let (share, until) = (rate(1_000_000), 500 * NANOS_PER_MILLI);
        for (planned, expected) in [
            (&[][..], share),
            (&[rate(300_000)], share),
            (&[rate(600_000); 3], rate(1_800_000)),
            (&[rate(300_000), Rate::UNLIMITED], Rate::UNLIMITED),
        ] {
            let mut peer = Peer::new(Arc::new(SharedBucket::new(Rate::UNLIMITED)), 1.0);
            planned.iter().for_each(|&rate| peer.note_assigned(Rate::ZERO, rate, 0));
            peer.wake(rate(5_000_000), until, 0);
            peer.wake(share, until, 0);
            assert_eq!(peer.guarantee.rate(), expected, "beside {planned:?}");
            planned.iter().for_each(|&rate| peer.note_assigned(rate, Rate::ZERO, 0));
            assert_eq!(peer.guarantee.rate(), share, "when {planned:?} are gone");
            peer.charge(100_000, 0, Slack::BelowRoot { turn_ns: 0 });
            assert_eq!(peer.ready_at(0), 100 * NANOS_PER_MILLI);
            assert_eq!(peer.ready_at(until), 0, "nothing holds those that were planned");
        }
    }
}
