//! Root > group > peer > leaf: who sits where, and which queues and rings have somebody to serve.
//!
//! A branch sits in its parent's queue, or ring of a tier, exactly while its own has somebody and its bucket is open for the tier. In a
//! queue it stands where the first of its own is due. So a walk from the root meets only those who can release, and idle leaves cost nothing.

use std::sync::Arc;

use super::bucket::SharedBucket;
use super::due::DueQueue;
use super::line::LineSeat;
use super::loans::worth;
use super::ring::{NONE, Place, Ring, sane_weight};
use super::tier::{RINGS, TIERS, Tier};
use crate::Rate;

pub(crate) type NodeId = u32;
pub(crate) const ROOT: NodeId = 0;

/// What a node is, and what belongs to that.
#[derive(Debug)]
pub(crate) enum Kind {
    Vacant,
    Root,
    /// With this worker's seat among those that share the group's limit.
    Group {
        bucket: Arc<SharedBucket>,
        seat: Box<LineSeat>,
    },
    /// `shared`: the peer has a node in another group too, under the same bucket.
    Peer {
        bucket: Arc<SharedBucket>,
        shared: bool,
    },
    /// Index into the shaper's leaves.
    Leaf(u32),
}

impl Kind {
    /// A group below that bucket.
    pub(crate) fn group(bucket: Arc<SharedBucket>) -> Self {
        Self::Group { seat: Box::new(LineSeat::new(bucket.line())), bucket }
    }
}

#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) kind: Kind,
    pub(crate) parent: NodeId,
    /// Those below who wait within a guarantee.
    pub(crate) due: DueQueue,
    /// Those below who borrow.
    pub(crate) rings: [Ring; RINGS],
    /// Of a peer: where it stands among those that borrow on all workers, and among those of its group where that is limited.
    pub(crate) stands_at: [u64; RINGS],
    pub(crate) stands_in_group: [u64; RINGS],
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
    /// The total's rate, where several workers share it. Then a group is given credit for what its peers here are worth of that, since as many
    /// may be elsewhere. Where there is one worker: for its weight.
    pub(crate) shared_line: Option<Rate>,
    vacant: Vec<NodeId>,
}

impl Tree {
    pub(crate) fn new() -> Self {
        let mut tree = Tree { nodes: Vec::new(), places: Vec::new(), shared_line: None, vacant: Vec::new() };
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
        let weight = sane_weight(weight);
        let before = std::mem::replace(&mut self.places[id as usize].weight, weight);
        for nth in 0..RINGS {
            self.give_share(id, nth);
            if self.places[id as usize].seats[nth].taken {
                let parent = self.nodes[id as usize].parent;
                self.nodes[parent as usize].rings[nth].reweigh(before, weight);
            }
        }
    }

    pub(crate) fn has_backlog(&self, tier: Tier) -> bool {
        self.has_waiting(ROOT, tier)
    }

    /// Whether a node has somebody to serve in a tier.
    pub(crate) fn has_waiting(&self, id: NodeId, tier: Tier) -> bool {
        let node = &self.nodes[id as usize];
        match tier.ring() {
            Some(nth) => !node.rings[nth].is_empty(),
            None => node.due.first().is_some(),
        }
    }

    /// Whether a node sits with its parent in a tier.
    pub(crate) fn is_seated(&self, id: NodeId, tier: Tier) -> bool {
        let place = &self.places[id as usize];
        match tier.ring() {
            Some(nth) => place.seats[nth].taken,
            None => place.due.taken,
        }
    }

    /// When the first of all that wait within a guarantee is due.
    pub(crate) fn first_due(&self) -> Option<u64> {
        self.nodes[ROOT as usize].due.first_at(&self.places)
    }

    /// Seats a node with its parent, and the parent with its own where it was without anybody. Within a guarantee it is due at `at`.
    pub(crate) fn enter(&mut self, id: NodeId, tier: Tier, at: u64) {
        let Some(nth) = tier.ring() else { return self.enter_due(id, at) };
        let mut id = id;
        while id != ROOT && !self.places[id as usize].seats[nth].taken {
            let parent = self.nodes[id as usize].parent;
            let above = &mut self.nodes[parent as usize];
            let ring = &mut above.rings[nth];
            let was_empty = ring.is_empty();
            ring.enter(&mut self.places, id, nth);
            let goes_on = was_empty && above.is_open(tier);
            match above.kind {
                _ if self.shared_line.is_none() => {}
                Kind::Group { .. } => self.give_share(parent, nth),
                // Its peers may have changed while one of them always had somebody waiting.
                Kind::Peer { .. } if !goes_on => self.give_share(self.parent(parent), nth),
                _ => {}
            }
            if !goes_on {
                return;
            }
            id = parent;
        }
    }

    /// By what a group is given credit from now on: its peers come and go, and plans change, while it keeps its seat. Asked when somebody
    /// comes: whoever was released a moment ago is away then, and in a release most are.
    fn give_share(&mut self, id: NodeId, nth: usize) {
        let node = &self.nodes[id as usize];
        let place = &mut self.places[id as usize];
        let weight = node.rings[nth].weight();
        place.shares[nth] = match (&node.kind, self.shared_line) {
            (Kind::Group { bucket, .. }, Some(line)) if weight > 0.0 => {
                sane_weight(worth(bucket) * weight / line.as_f64())
            }
            // The last of them has just gone.
            (Kind::Group { .. }, Some(_)) => return,
            _ => place.weight,
        };
    }

    /// The same within a guarantee, also where it sits already. Ancestors move with their first.
    fn enter_due(&mut self, id: NodeId, at: u64) {
        let (mut id, mut at) = (id, at);
        while id != ROOT {
            let parent = self.nodes[id as usize].parent;
            let above = &mut self.nodes[parent as usize];
            if self.places[id as usize].due.taken {
                above.due.remove(&mut self.places, id);
            }
            above.due.insert(&mut self.places, id, at);
            let first = above.due.first_at(&self.places).unwrap_or(at);
            let seat = &self.places[parent as usize].due;
            if !above.is_open(Tier::Guaranteed) || seat.taken && seat.at == first.max(seat.not_before) {
                return;
            }
            (id, at) = (parent, first);
        }
    }

    /// Unseats a node, and every ancestor that has nobody left.
    pub(crate) fn leave(&mut self, id: NodeId, tier: Tier) {
        let mut id = id;
        while id != ROOT && self.is_seated(id, tier) {
            let parent = self.nodes[id as usize].parent;
            let above = &mut self.nodes[parent as usize];
            match tier.ring() {
                Some(nth) => above.rings[nth].leave(&mut self.places, id, nth),
                None => above.due.remove(&mut self.places, id),
            }
            if self.has_waiting(parent, tier) {
                if tier == Tier::Guaranteed {
                    self.move_due(parent);
                }
                return;
            }
            id = parent;
        }
    }

    /// Puts a branch, and what is above it, where the first of its own is due.
    fn move_due(&mut self, id: NodeId) {
        let seat = &self.places[id as usize].due;
        if seat.taken
            && let Some(at) = self.nodes[id as usize].due.first_at(&self.places)
            && seat.at != at.max(seat.not_before)
        {
            self.enter_due(id, at);
        }
    }

    /// Notes for how many tiers a branch is open, and seats or unseats it accordingly.
    pub(crate) fn set_open_tiers(&mut self, id: NodeId, open_tiers: u8) {
        self.nodes[id as usize].open_tiers = open_tiers;
        for tier in Tier::ALL {
            let is_open = self.nodes[id as usize].is_open(tier);
            if !is_open || !self.has_waiting(id, tier) {
                self.leave(id, tier);
            } else if !self.is_seated(id, tier) {
                let at = self.nodes[id as usize].due.first_at(&self.places);
                self.enter(id, tier, at.unwrap_or(0));
            }
        }
    }

    /// The child of `parent` whose turn it is.
    pub(crate) fn turn(&mut self, parent: NodeId, tier: Tier) -> Option<NodeId> {
        let node = &mut self.nodes[parent as usize];
        match tier.ring() {
            Some(nth) => node.rings[nth].turn(&mut self.places, nth),
            None => node.due.first(),
        }
    }

    /// Books a release on a leaf and all above it.
    pub(crate) fn charge(&mut self, leaf: NodeId, tier: Tier, bytes: u32) {
        let Some(nth) = tier.ring() else { return };
        let mut id = leaf;
        while id != ROOT {
            let parent = self.nodes[id as usize].parent;
            self.nodes[parent as usize].rings[nth].charge(&mut self.places, id, nth, bytes);
            id = parent;
        }
    }

    /// A leaf that nothing gates has gone: its peer and its group are due again after all that wait since before `at`. By the times of
    /// their first those with many leaves would have as many turns.
    pub(crate) fn end_turn(&mut self, leaf: NodeId, at: u64) {
        let mut id = self.parent(leaf);
        while id != ROOT {
            self.places[id as usize].due.not_before = at;
            self.move_due(id);
            id = self.parent(id);
        }
    }

    /// Books a release back.
    pub(crate) fn refund(&mut self, leaf: NodeId, tier: Tier, bytes: u32) {
        let Some(nth) = tier.ring() else { return };
        let mut id = leaf;
        while id != ROOT {
            Ring::refund(&mut self.places, id, nth, bytes);
            id = self.nodes[id as usize].parent;
        }
    }

    fn node(kind: Kind, parent: NodeId) -> Node {
        Node {
            kind,
            parent,
            due: DueQueue::new(),
            rings: [Ring::new(); RINGS],
            stands_at: [0; RINGS],
            stands_in_group: [0; RINGS],
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
