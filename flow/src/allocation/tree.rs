//! The snapshot laid out for the calculation: dense, sorted, indices instead of keys.
//!
//! Leaves are sorted by peer, then group, then key, so that a peer's leaves in one group (a *node*) and a peer's nodes are
//! neighbours. The order of the input decides nothing after this.

use std::ops::Range;

use super::{
    Knobs, LeafInput, PeerInput, Snapshot,
    curve::Claim,
    demand::Demand,
    order::{self, Place},
};
use crate::{Class, Limiter, Rate};

/// Weights outside are taken as the nearest inside; a wrong one must not stop the round.
const WEIGHT_MIN: f64 = 1e-6;
const WEIGHT_MAX: f64 = 1e6;

/// A leaf.
#[derive(Clone, Debug)]
pub(super) struct Leaf {
    pub(super) claim: Claim,
    /// See [`Demand::shown`].
    pub(super) shown: f64,
    /// See [`Demand::used`].
    pub(super) used: f64,
    /// Its own, infinite when it has none.
    pub(super) cap: f64,
    /// Position in the snapshot.
    pub(super) input: u32,
    pub(super) class: Class,
    /// What held it longest in the last round.
    pub(super) limiter: Limiter,
    /// See [`Demand::hungry`].
    pub(super) hungry: bool,
}

/// The leaves of one peer in one group.
#[derive(Clone, Debug)]
pub(super) struct Node {
    pub(super) peer: usize,
    pub(super) group: usize,
    pub(super) leaves: Range<usize>,
}

/// A peer.
#[derive(Clone, Debug)]
pub(super) struct Peer {
    /// Position in the snapshot, if it is there.
    pub(super) input: Option<u32>,
    pub(super) weight: f64,
    pub(super) cap: Rate,
    pub(super) negotiated: Rate,
    pub(super) floor: f64,
    pub(super) nodes: Range<usize>,
}

/// A group.
#[derive(Clone, Debug)]
pub(super) struct Group {
    /// Position in the snapshot, if it is there.
    pub(super) input: Option<u32>,
    pub(super) weight: f64,
    pub(super) cap: Rate,
    pub(super) floor: f64,
    /// Positions in `Tree::nodes`, by peer.
    pub(super) nodes: Vec<u32>,
}

/// The whole tree below the total.
#[derive(Clone, Debug)]
pub(super) struct Tree {
    pub(super) leaves: Vec<Leaf>,
    pub(super) nodes: Vec<Node>,
    pub(super) peers: Vec<Peer>,
    pub(super) groups: Vec<Group>,
}

impl Tree {
    pub(super) fn of(snapshot: &Snapshot, knobs: &Knobs) -> Self {
        let order = order::sorted(&snapshot.leaves);
        let mut tree = Self {
            leaves: Vec::with_capacity(order.len()),
            nodes: Vec::with_capacity(snapshot.peers.len()),
            peers: Vec::with_capacity(snapshot.peers.len()),
            groups: Vec::new(),
        };
        let group_keys = tree.put_groups(snapshot, &order);
        let mut known = Known::of(&snapshot.peers);
        let mut at = None;
        for Place { peer, group, input, .. } in order {
            if at.is_none_or(|(before, _)| before != peer) {
                tree.put_peer(known.take(peer), snapshot);
            }
            if at != Some((peer, group)) {
                let place = group_keys.binary_search(&group).unwrap_or_else(|_| unreachable!("every group was put"));
                tree.put_node(place);
            }
            at = Some((peer, group));
            tree.put_leaf(input, &snapshot.leaves[input as usize], knobs);
        }
        for index in known.rest() {
            tree.put_peer(Some(index), snapshot);
        }
        tree
    }

    /// Puts every group that is in the snapshot or named by a leaf, by key. Answers the keys.
    fn put_groups(&mut self, snapshot: &Snapshot, order: &[Place]) -> Vec<u32> {
        let mut found: Vec<(u32, Option<u32>)> =
            snapshot.groups.iter().enumerate().map(|(index, group)| (group.key.0, Some(index as u32))).collect();
        found.sort_unstable();
        let given = found.len();
        for Place { group, .. } in order {
            let last = found.last().is_some_and(|(key, _)| key == group);
            if !last && found[..given].binary_search_by_key(group, |(key, _)| *key).is_err() {
                found.push((*group, None));
            }
        }
        found.sort_unstable();
        found.dedup_by_key(|(key, _)| *key);
        for (_, input) in &found {
            let given = input.map(|index| &snapshot.groups[index as usize]);
            self.groups.push(Group {
                input: *input,
                weight: given.map_or(1.0, |group| weight(group.weight)),
                cap: given.map_or(Rate::UNLIMITED, |group| group.cap),
                floor: given.map_or(0.0, |group| group.floor as f64),
                nodes: Vec::new(),
            });
        }
        found.into_iter().map(|(key, _)| key).collect()
    }

    fn put_peer(&mut self, input: Option<u32>, snapshot: &Snapshot) {
        let given = input.map(|index| &snapshot.peers[index as usize]);
        self.peers.push(Peer {
            input,
            weight: given.map_or(1.0, |peer| weight(peer.weight)),
            cap: given.map_or(Rate::UNLIMITED, |peer| peer.cap),
            negotiated: given.map_or(Rate::UNLIMITED, |peer| peer.negotiated),
            floor: given.map_or(0.0, |peer| peer.floor as f64),
            nodes: self.nodes.len()..self.nodes.len(),
        });
    }

    fn put_node(&mut self, group: usize) {
        let peer = self.peers.len() - 1;
        self.groups[group].nodes.push(self.nodes.len() as u32);
        self.nodes.push(Node { peer, group, leaves: self.leaves.len()..self.leaves.len() });
        self.peers[peer].nodes.end = self.nodes.len();
    }

    fn put_leaf(&mut self, index: u32, input: &LeafInput, knobs: &Knobs) {
        let demand = Demand::of(input, knobs);
        let claim = Claim::new(weight(input.weight), input.floor as f64, demand.want);
        // What held it before it fell idle holds it no longer.
        let idle = demand.want == 0.0 && !input.backlogged;
        self.leaves.push(Leaf {
            claim,
            shown: demand.shown,
            used: demand.used,
            cap: input.cap.as_f64(),
            input: index,
            class: input.class,
            limiter: if idle { Limiter::Source } else { demand.limiter },
            hungry: demand.hungry,
        });
        let end = self.leaves.len();
        if let Some(node) = self.nodes.last_mut() {
            node.leaves.end = end;
        }
    }

    /// The claims of a node's leaves of one class, with their positions.
    pub(super) fn claims(&self, node: &Node, class: Class) -> impl Iterator<Item = (usize, Claim)> + Clone + '_ {
        let start = node.leaves.start;
        self.leaves[node.leaves.clone()]
            .iter()
            .enumerate()
            .filter(move |(_, leaf)| leaf.class == class)
            .map(move |(offset, leaf)| (start + offset, leaf.claim))
    }
}

impl Peer {
    /// Never above, over all its transfers.
    pub(super) fn limit(&self) -> Rate {
        self.cap.min(self.negotiated)
    }
}

/// The snapshot's peers by key, walked in step with the sorted leaves.
struct Known {
    sorted: Vec<(u64, u32)>,
    next: usize,
    without_leaves: Vec<u32>,
}

impl Known {
    fn of(peers: &[PeerInput]) -> Self {
        let mut sorted: Vec<(u64, u32)> =
            peers.iter().enumerate().map(|(index, peer)| (peer.key.0, index as u32)).collect();
        order::sort_by(&mut sorted, |(key, _)| *key);
        Self { sorted, next: 0, without_leaves: Vec::new() }
    }

    /// The position of `key`, which is greater than all keys asked before.
    fn take(&mut self, key: u64) -> Option<u32> {
        while let Some((candidate, index)) = self.sorted.get(self.next).copied() {
            if candidate > key {
                return None;
            }
            self.next += 1;
            if candidate == key {
                return Some(index);
            }
            self.without_leaves.push(index);
        }
        None
    }

    /// The peers that no leaf named.
    fn rest(mut self) -> Vec<u32> {
        self.without_leaves.extend(self.sorted[self.next..].iter().map(|(_, index)| *index));
        self.without_leaves
    }
}

fn weight(weight: f64) -> f64 {
    if weight.is_nan() { 1.0 } else { weight.clamp(WEIGHT_MIN, WEIGHT_MAX) }
}
