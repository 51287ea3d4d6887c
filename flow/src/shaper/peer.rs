//! A peer in the tree: its limit, its nodes, and what its leaves may have before the allocator has seen them.

use std::sync::Arc;

use super::bucket::SharedBucket;
use super::clock::NEVER;
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
}

impl Peer {
    pub(super) fn new(bucket: Arc<SharedBucket>, weight: f64) -> Self {
        Peer { bucket, weight, floor: Rate::ZERO, nodes: Vec::new() }
    }

    pub(super) fn node(&mut self, id: NodeId) -> Option<&mut PeerNode> {
        self.nodes.iter_mut().find(|node| node.id == id)
    }

    pub(super) fn node_ids(&self) -> Vec<NodeId> {
        self.nodes.iter().map(|node| node.id).collect()
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

    /// A peer's weight here and its floor; `None` if it is not here.
    pub fn terms_of(&self, key: PeerKey) -> Option<(f64, Rate)> {
        self.peers.get(&key).map(|peer| (peer.weight, peer.floor))
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
        if let Some(node) = self.peers.get_mut(&leaf.peer).and_then(|peer| peer.node(id)) {
            node.note(before, after, now);
        }
    }

    /// A leaf is about to go.
    pub(super) fn note_spent(&mut self, index: u32, now: u64) {
        let leaf = &self.leaves[index as usize];
        let (rate, ready_at) = (leaf.guarantee.rate(), leaf.guarantee.ready_at());
        let (has_spent, has_turn) = (ready_at > now && ready_at != NEVER, leaf.comes_at > now);
        let id = self.tree.parent(leaf.node);
        if (has_spent || has_turn)
            && let Some(node) = self.peers.get_mut(&leaf.peer).and_then(|peer| peer.node(id))
        {
            if has_spent {
                node.leave(rate, ready_at - now, now);
            }
            if has_turn {
                node.end_turns();
            }
        }
    }

    /// A leaf that was not there, or wanted nothing for long, asks.
    pub(super) fn wake_leaf(&mut self, index: u32, bytes: u32, now: u64) {
        let share = self.share(index);
        let until = now + PROVISIONAL_NS;
        let leaf = &mut self.leaves[index as usize];
        let id = self.tree.parent(leaf.node);
        let Some(node) = self.peers.get_mut(&leaf.peer).and_then(|peer| peer.node(id)) else {
            leaf.ask(bytes, now, None);
            return;
        };
        if leaf.ask(bytes, now, Some(node.part(share, leaf.weight()))) {
            let before = leaf.counted();
            leaf.woken_weight = leaf.weight();
            node.note(before, leaf.counted(), now);
            node.wake(share, until, now);
            let ready_at = node.ready_at(true, now);
            leaf.woken = ready_at <= now;
            if ready_at != NEVER {
                leaf.go_on_from(ready_at, now);
            }
            self.waking_until = until;
        }
    }

    /// What its peer would be assigned, nearly, if it were one of those that want more: what the peer's weight gives it, and its floor
    /// if that is more. Background has nothing but a floor.
    pub(super) fn share(&self, index: u32) -> Rate {
        let leaf = &self.leaves[index as usize];
        let id = self.tree.parent(leaf.node);
        let floor =
            self.peers.get(&leaf.peer).map_or(Rate::ZERO, |peer| {
                // It is one over all groups.
                let elsewhere = peer.nodes.iter().filter(|node| node.id != id).map(PeerNode::assigned);
                Rate::from_bytes_per_second(elsewhere.fold(peer.floor.bytes_per_second(), |left, assigned| {
                    left.saturating_sub(assigned.bytes_per_second())
                }))
            });
        if leaf.rates.class == Class::Background {
            return floor;
        }
        let group = self.bucket(self.tree.parent(id));
        Rate::from_f64(group.fair_rate() * self.tree.places[id as usize].weight).max(floor)
    }

    /// When its peer may have more that is guaranteed; at once, unless leaves of the peer have just woken.
    pub(super) fn peer_ready_at(&self, leaf: &Leaf, now: u64) -> u64 {
        if now >= self.waking_until {
            return 0;
        }
        let id = self.tree.parent(leaf.node);
        let node = self.peers.get(&leaf.peer).and_then(|peer| peer.nodes.iter().find(|node| node.id == id));
        node.map_or(0, |node| node.ready_at(leaf.is_unplanned(now), now))
    }

    /// When to look at a leaf again that is to be looked at `at`. Those that wait for their peer's clock come one after the other, as it
    /// will let them: of thousands all but one would have been looked at for nothing at each piece.
    pub(super) fn timer(
        &mut self,
        index: u32,
        at: Option<u64>,
        peer_ready_at: u64,
        piece: u32,
        now: u64,
    ) -> Option<u64> {
        let leaf = &mut self.leaves[index as usize];
        if at.is_none_or(|at| at > peer_ready_at) || peer_ready_at <= now {
            return at;
        }
        if leaf.comes_at <= now {
            let id = self.tree.parent(leaf.node);
            let node = self.peers.get_mut(&leaf.peer).and_then(|peer| peer.node(id));
            leaf.comes_at = node.map_or(0, |node| node.turn_at(peer_ready_at, leaf.request.min(piece)));
        }
        Some(leaf.comes_at.max(peer_ready_at))
    }
}

/// The node, if leaves there may have woken.
pub(super) fn waking(
    peers: &mut KeyMap<PeerKey, Peer>,
    until: u64,
    key: PeerKey,
    id: NodeId,
    now: u64,
) -> Option<&mut PeerNode> {
    if now < until { peers.get_mut(&key)?.node(id) } else { None }
}
