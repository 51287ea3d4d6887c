//! Root > group > peer > leaf: who sits where, and which rings have somebody to serve.
//!
//! A branch sits in its parent's ring of a tier exactly while its own ring of that tier has somebody and its bucket is
//! open for the tier. So a walk from the root meets only those who can release, and idle leaves cost nothing.

use std::sync::Arc;

use super::bucket::SharedBucket;
use super::ring::{NONE, Place, Ring, sane_weight};
use super::tier::{TIERS, Tier};

pub(crate) type NodeId = u32;
pub(crate) const ROOT: NodeId = 0;

/// What a node is, and what belongs to that.
#[derive(Debug)]
pub(crate) enum Kind {
    Vacant,
    Root,
    Group(Arc<SharedBucket>),
    /// `shared`: the peer has a node in another group too, under the same bucket.
    Peer {
        bucket: Arc<SharedBucket>,
        shared: bool,
    },
    /// Index into the shaper's leaves.
    Leaf(u32),
}

#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) kind: Kind,
    pub(crate) parent: NodeId,
    pub(crate) rings: [Ring; TIERS],
    /// How many tiers, counted from the first, the node's bucket was last seen open for.
    pub(crate) open_tiers: u8,
    first_child: NodeId,
    prev_sibling: NodeId,
    next_sibling: NodeId,
}

/// The nodes of one shaper in one dense slab; what rings need of them lies apart, so that a ring can be changed while its
/// children are.
#[derive(Debug)]
pub(crate) struct Tree {
    pub(crate) nodes: Vec<Node>,
    pub(crate) places: Vec<Place>,
    vacant: Vec<NodeId>,
}

impl Tree {
    pub(crate) fn new() -> Self {
        let mut tree = Tree { nodes: Vec::new(), places: Vec::new(), vacant: Vec::new() };
        tree.nodes.push(Tree::node(Kind::Root, NONE));
        tree.places.push(Place::new(1.0));
        tree
    }

    pub(crate) fn add(&mut self, parent: NodeId, kind: Kind, weight: f64) -> NodeId {
        let node = Tree::node(kind, parent);
        let id = match self.vacant.pop() {
            Some(id) => {
                self.nodes[id as usize] = node;
                self.places[id as usize] = Place::new(weight);
                id
            }
            None => {
                self.nodes.push(node);
                self.places.push(Place::new(weight));
                (self.nodes.len() - 1) as NodeId
            }
        };
        let first = std::mem::replace(&mut self.nodes[parent as usize].first_child, id);
        self.nodes[id as usize].next_sibling = first;
        if first != NONE {
            self.nodes[first as usize].prev_sibling = id;
        }
        id
    }

    /// Removes a node without children.
    pub(crate) fn remove(&mut self, id: NodeId) {
        debug_assert_eq!(self.nodes[id as usize].first_child, NONE, "a node is removed after its children");
        for tier in Tier::ALL {
            self.leave(id, tier);
        }
        let Node { parent, prev_sibling, next_sibling, .. } = self.nodes[id as usize];
        match prev_sibling {
            NONE => self.nodes[parent as usize].first_child = next_sibling,
            prev => self.nodes[prev as usize].next_sibling = next_sibling,
        }
        if next_sibling != NONE {
            self.nodes[next_sibling as usize].prev_sibling = prev_sibling;
        }
        self.nodes[id as usize] = Tree::node(Kind::Vacant, NONE);
        self.vacant.push(id);
    }

    pub(crate) fn first_child(&self, id: NodeId) -> Option<NodeId> {
        let first = self.nodes[id as usize].first_child;
        (first != NONE).then_some(first)
    }

    pub(crate) fn parent(&self, id: NodeId) -> NodeId {
        self.nodes[id as usize].parent
    }

    pub(crate) fn set_weight(&mut self, id: NodeId, weight: f64) {
        self.places[id as usize].weight = sane_weight(weight);
    }

    pub(crate) fn has_backlog(&self, tier: Tier) -> bool {
        !self.nodes[ROOT as usize].rings[tier.index()].is_empty()
    }

    /// Seats a node with its parent, and the parent with its own where it was without anybody.
    pub(crate) fn enter(&mut self, id: NodeId, tier: Tier, first: bool) {
        let mut id = id;
        while id != ROOT && !self.places[id as usize].seats[tier.index()].taken {
            let parent = self.nodes[id as usize].parent;
            let above = &mut self.nodes[parent as usize];
            let ring = &mut above.rings[tier.index()];
            let was_empty = ring.is_empty();
            ring.enter(&mut self.places, id, tier, first);
            if !was_empty || !above.is_open(tier) {
                return;
            }
            id = parent;
        }
    }

    /// Unseats a node, and every ancestor that has nobody left.
    pub(crate) fn leave(&mut self, id: NodeId, tier: Tier) {
        let mut id = id;
        while id != ROOT && self.places[id as usize].seats[tier.index()].taken {
            let parent = self.nodes[id as usize].parent;
            let ring = &mut self.nodes[parent as usize].rings[tier.index()];
            ring.leave(&mut self.places, id, tier);
            if !ring.is_empty() {
                return;
            }
            id = parent;
        }
    }

    /// Notes for how many tiers a branch is open, and seats or unseats it accordingly.
    pub(crate) fn set_open_tiers(&mut self, id: NodeId, open_tiers: u8) {
        self.nodes[id as usize].open_tiers = open_tiers;
        for tier in Tier::ALL {
            let node = &self.nodes[id as usize];
            if node.is_open(tier) && !node.rings[tier.index()].is_empty() {
                self.enter(id, tier, false);
            } else {
                self.leave(id, tier);
            }
        }
    }

    /// The child of `parent` whose turn it is.
    pub(crate) fn turn(&mut self, parent: NodeId, tier: Tier) -> Option<NodeId> {
        self.nodes[parent as usize].rings[tier.index()].turn(&mut self.places, tier)
    }

    /// Books a release on a leaf and all above it.
    pub(crate) fn charge(&mut self, leaf: NodeId, tier: Tier, bytes: u32) {
        let mut id = leaf;
        while id != ROOT {
            let parent = self.nodes[id as usize].parent;
            self.nodes[parent as usize].rings[tier.index()].charge(&mut self.places, id, tier, bytes);
            id = parent;
        }
    }

    /// Books a release back.
    pub(crate) fn refund(&mut self, leaf: NodeId, tier: Tier, bytes: u32) {
        let mut id = leaf;
        while id != ROOT {
            Ring::refund(&mut self.places, id, tier, bytes);
            id = self.nodes[id as usize].parent;
        }
    }

    fn node(kind: Kind, parent: NodeId) -> Node {
        Node {
            kind,
            parent,
            rings: [Ring::new(); TIERS],
            open_tiers: TIERS as u8,
            first_child: NONE,
            prev_sibling: NONE,
            next_sibling: NONE,
        }
    }
}

impl Node {
    pub(crate) fn is_open(&self, tier: Tier) -> bool {
        tier.index() < usize::from(self.open_tiers)
    }

    /// Whether its bucket holds some tier back.
    pub(crate) fn is_parked(&self) -> bool {
        usize::from(self.open_tiers) < TIERS
    }
}
