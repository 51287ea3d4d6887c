//! A peer in the tree: its limit, its nodes, and what its leaves may have before the allocator has seen them.

use std::sync::Arc;

use super::bucket::SharedBucket;
use super::clock::{Clock, Slack};
use super::keys::KeyMap;
use super::leaf::{Counted, Leaf, PROVISIONAL_NS};
use super::peer_node::PeerNode;
use super::shaper::Shaper;
use super::tier::TIERS;
use super::tree::{Kind, NodeId};
use crate::{Class, GroupKey, PeerKey, Rate};

/// A peer, with a node in every group in which it has had transfers.
#[derive(Debug)]
pub(super) struct Peer {
    pub(super) bucket: Arc<SharedBucket>,
    pub(super) weight: f64,
    /// What the operator guarantees to it while it has something to move.
    pub(super) floor: Rate,
    pub(super) nodes: Vec<PeerNode>,
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
            floor: Rate::ZERO,
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

    /// A leaf has woken at node `id`, to which `share` is due if it is the peer's only one, until the allocator has seen it or until
    /// `until`.
    pub(super) fn wake(&mut self, id: NodeId, share: Rate, until: u64, now: u64) {
        let first = !self.wakes(now);
        if first {
            self.guarantee = Clock::new(Rate::ZERO, now);
        }
        if let Some(node) = self.node(id) {
            node.wake(share, first, now);
        }
        // As it is now: what it was when fewer were there is no longer due.
        self.share = share;
        self.wakes_until = until;
        self.guarantee.set_rate(self.together(), now);
    }

    /// When the next guaranteed release of any of its leaves may go; with a node, of one there that no plan has seen.
    pub(super) fn ready_at(&self, now: u64, unplanned: Option<NodeId>) -> u64 {
        if !self.wakes(now) {
            return 0;
        }
        let node = unplanned.and_then(|id| self.nodes.iter().find(|node| node.id == id));
        self.guarantee.ready_at().max(node.map_or(0, PeerNode::ready_at))
    }

    pub(super) fn charge(&mut self, bytes: u32, now: u64, slack: Slack, unplanned: Option<NodeId>) {
        if self.wakes(now) {
            self.guarantee.charge(bytes, now, slack);
            if let Some(node) = unplanned.and_then(|id| self.node(id)) {
                node.charge(bytes, now, slack);
            }
        }
    }

    pub(super) fn refund(&mut self, bytes: u32, unplanned: Option<NodeId>) {
        self.guarantee.refund(bytes);
        if let Some(node) = unplanned.and_then(|id| self.node(id)) {
            node.refund(bytes);
        }
    }

    fn node(&mut self, id: NodeId) -> Option<&mut PeerNode> {
        self.nodes.iter_mut().find(|node| node.id == id)
    }

    pub(super) fn node_ids(&self) -> Vec<NodeId> {
        self.nodes.iter().map(|node| node.id).collect()
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
    /// Adds or changes a peer: its cap, which holds over all groups and workers, and its weight among the peers. Its floor stays.
    pub fn put_peer(&mut self, key: PeerKey, bucket: Arc<SharedBucket>, weight: f64) {
        let peer = self.peers.entry(key).or_insert_with(|| Peer::new(bucket.clone(), weight));
        (peer.bucket, peer.weight) = (bucket, weight);
        for id in peer.node_ids() {
            self.tree.set_weight(id, weight);
            self.bind_peer(key, id);
        }
    }

    /// What a peer is guaranteed from now on whenever it has something to move: plans know it, this is for leaves that no plan has seen.
    pub fn set_floor(&mut self, key: PeerKey, floor: Rate) {
        if let Some(peer) = self.peers.get_mut(&key) {
            peer.floor = floor;
        }
    }

    /// Removes a peer and its leaves.
    pub fn remove_peer(&mut self, key: PeerKey) {
        let Some(peer) = self.peers.remove(&key) else { return };
        for PeerNode { id, .. } in peer.nodes {
            while let Some(child) = self.tree.first_child(id) {
                if let Kind::Leaf(leaf) = self.tree.nodes[child as usize].kind {
                    self.remove_leaf(self.leaves[leaf as usize].key);
                }
            }
            self.set_open_tiers(id, TIERS);
            self.wheel.remove(id);
            self.tree.remove(id);
        }
    }

    /// The peer's node in a group, made when needed. It outlives its leaves, so that a peer can't have a fresh turn by
    /// opening a fresh transfer.
    pub(super) fn peer_node(&mut self, key: PeerKey, group_key: GroupKey) -> NodeId {
        let unlimited = || Arc::new(SharedBucket::new(Rate::UNLIMITED));
        if !self.groups.contains_key(&group_key) {
            self.put_group(group_key, unlimited(), 1.0);
        }
        let group = self.groups[&group_key];
        let peer = self.peers.entry(key).or_insert_with(|| Peer::new(unlimited(), 1.0));
        if let Some(node) = peer.nodes.iter().find(|node| node.group == group_key) {
            return node.id;
        }
        let kind = Kind::Peer { bucket: peer.bucket.clone(), shared: false };
        let id = self.tree.add(group, kind, peer.weight);
        peer.nodes.push(PeerNode::new(group_key, id));
        for id in peer.node_ids() {
            self.bind_peer(key, id);
        }
        id
    }

    /// Hands a peer's bucket to one of its nodes.
    fn bind_peer(&mut self, key: PeerKey, id: NodeId) {
        if let Some(peer) = self.peers.get(&key) {
            let kind = Kind::Peer { bucket: peer.bucket.clone(), shared: peer.nodes.len() > 1 };
            self.tree.nodes[id as usize].kind = kind;
            self.regate(id);
        }
    }

    /// Of a leaf its peer counts `after`, and did `before`.
    pub(super) fn note_counted(&mut self, index: u32, before: Counted, after: Counted, now: u64) {
        let leaf = &self.leaves[index as usize];
        let id = self.tree.parent(leaf.node);
        let Some(peer) = self.peers.get_mut(&leaf.peer) else { return };
        if before.assigned != after.assigned {
            peer.note_assigned(before.assigned, after.assigned, now);
        }
        if let Some(node) = peer.node(id) {
            node.note(before, after);
        }
    }

    /// A leaf that was not there, or wanted nothing for long, asks.
    pub(super) fn wake_leaf(&mut self, index: u32, bytes: u32, now: u64) {
        let share = self.share(index);
        let until = now + PROVISIONAL_NS;
        let leaf = &mut self.leaves[index as usize];
        let id = self.tree.parent(leaf.node);
        let Some(peer) = self.peers.get_mut(&leaf.peer) else { return };
        let part = peer.node(id).map_or(share, |node| node.part(share, leaf.weight()));
        if leaf.ask(bytes, now, Some(part)) {
            let before = leaf.counted();
            leaf.woken_weight = leaf.weight();
            if let Some(node) = peer.node(id) {
                node.note(before, leaf.counted());
            }
            peer.wake(id, share, until, now);
            self.waking_until = until;
            leaf.woken = peer.ready_at(now, Some(id)) <= now;
        }
    }

    /// What its peer would be assigned, nearly, if it were one of those that want more: what the peer's weight gives it, and its floor
    /// if that is more. Background has nothing but a floor.
    pub(super) fn share(&self, index: u32) -> Rate {
        let leaf = &self.leaves[index as usize];
        let floor = self.peers.get(&leaf.peer).map_or(Rate::ZERO, |peer| peer.floor);
        if leaf.rates.class == Class::Background {
            return floor;
        }
        let peer = self.tree.parent(leaf.node);
        let group = self.bucket(self.tree.parent(peer));
        Rate::from_f64(group.fair_rate() * self.tree.places[peer as usize].weight).max(floor)
    }

    /// When its peer may have more that is guaranteed; at once, unless leaves of the peer have just woken.
    pub(super) fn peer_ready_at(&self, leaf: &Leaf, now: u64) -> u64 {
        if now >= self.waking_until {
            return 0;
        }
        let unplanned = leaf.is_unplanned(now).then(|| self.tree.parent(leaf.node));
        self.peers.get(&leaf.peer).map_or(0, |peer| peer.ready_at(now, unplanned))
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
            peer.wake(0, rate(5_000_000), until, 0);
            peer.wake(0, share, until, 0);
            assert_eq!(peer.guarantee.rate(), expected, "beside {planned:?}");
            planned.iter().for_each(|&rate| peer.note_assigned(rate, Rate::ZERO, 0));
            assert_eq!(peer.guarantee.rate(), share, "when {planned:?} are gone");
            peer.charge(100_000, 0, Slack::BelowRoot { turn_ns: 0 }, None);
            assert_eq!(peer.ready_at(0, None), 100 * NANOS_PER_MILLI);
            assert_eq!(peer.ready_at(until, None), 0, "nothing holds those that were planned");
        }
    }
}
