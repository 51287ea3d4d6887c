//! A recount of everything that is kept incrementally. Debug builds and tests only; panics where the books don't agree.

use super::leaf::Leaf;
use super::ring::NONE;
use super::shaper::Shaper;
use super::tier::{RINGS, Tier};
use super::tree::{Kind, NodeId, ROOT};

impl Shaper {
    /// Recounts rings, gates and timers.
    ///
    /// # Panics
    /// When an invariant of the shaper is broken, which is a bug of the shaper.
    pub fn check(&self) {
        let mut timers = 0;
        let mut parked = 0;
        for id in 0..self.tree.nodes.len() as NodeId {
            let node = &self.tree.nodes[id as usize];
            timers += usize::from(self.wheel.is_armed(id));
            match node.kind {
                Kind::Vacant => assert!(!self.wheel.is_armed(id), "vacant node {id} has a timer"),
                Kind::Root => assert!(!self.wheel.is_armed(id), "the root waits for its bucket, not for the wheel"),
                Kind::Group { .. } | Kind::Peer { .. } => {
                    parked += usize::from(node.is_parked());
                    assert_eq!(node.is_parked(), self.wheel.is_armed(id), "branch {id}: parked is armed");
                    self.check_branch_seats(id);
                }
                Kind::Leaf(index) => self.check_leaf(id, index),
            }
            self.check_queue(id);
            (0..RINGS).for_each(|nth| self.check_ring(id, nth));
        }
        assert_eq!(timers, self.wheel.armed(), "timers belong to nodes");
        assert_eq!(parked, self.parked, "parked branches are counted");
        for node in self.peers.values().flat_map(|peer| &peer.nodes) {
            let leaves = self.leaf_of.values().map(|&index| &self.leaves[index as usize]);
            node.check(leaves.filter(|leaf| self.tree.parent(leaf.node) == node.id).map(Leaf::counted));
        }
        assert_eq!(self.leaves.len() - self.vacant.len(), self.leaf_of.len(), "every leaf has its key");
    }

    /// A branch sits with its parent in a tier exactly while it is open for the tier and has somebody in it.
    fn check_branch_seats(&self, id: NodeId) {
        let node = &self.tree.nodes[id as usize];
        for tier in Tier::ALL {
            let expected = node.is_open(tier) && self.tree.has_waiting(id, tier);
            let seated = self.tree.is_seated(id, tier);
            assert_eq!(seated, expected, "branch {id} in {tier:?}");
        }
    }

    /// A leaf with a request is in one ring or on the wheel; one without is in neither.
    fn check_leaf(&self, id: NodeId, index: u32) {
        let leaf = &self.leaves[index as usize];
        assert_eq!((leaf.node, self.leaf_of.get(&leaf.key)), (id, Some(&index)), "leaf {index} and its node agree");
        for tier in Tier::ALL {
            let seated = self.tree.is_seated(id, tier);
            assert_eq!(seated, leaf.tier == Some(tier), "leaf {index} in {tier:?}");
        }
        let waits = leaf.tier.is_some() || self.wheel.is_armed(id);
        assert_eq!(waits, leaf.request > 0, "leaf {index} with {} bytes asked for: seated or timed", leaf.request);
    }

    /// All in a queue are children, and a branch stands where its first does, or has had its turn.
    fn check_queue(&self, parent: NodeId) {
        for id in self.tree.nodes[parent as usize].due.check(&self.tree.places) {
            assert!(id != ROOT && self.tree.parent(id) == parent, "{id} is a child of {parent}");
            let seat = &self.tree.places[id as usize].due;
            let first = self.tree.nodes[id as usize].due.first_at(&self.tree.places);
            assert!(
                first.is_none_or(|first| seat.at == first.max(seat.not_before)),
                "{id} stands where its first does"
            );
        }
    }

    /// Both directions of a ring agree and all in it are children.
    fn check_ring(&self, parent: NodeId, nth: usize) {
        let mut left = self.tree.nodes.len();
        let mut weight = 0.0;
        for head in self.tree.nodes[parent as usize].rings[nth].heads() {
            let (mut previous, mut id) = (NONE, head);
            while id != NONE {
                assert!(left > 0, "ring {nth} of {parent} has no end");
                left -= 1;
                let seat = &self.tree.places[id as usize].seats[nth];
                assert!(seat.taken && seat.prev == previous, "links of {id} below {parent} in ring {nth}");
                assert!(id != ROOT && self.tree.parent(id) == parent, "{id} is a child of {parent}");
                weight += self.tree.places[id as usize].weight;
                previous = id;
                id = seat.next;
            }
        }
        let kept = self.tree.nodes[parent as usize].rings[nth].weight();
        assert!((kept - weight).abs() <= 1e-6 * (1.0 + weight), "weight of ring {nth} of {parent}: {kept}, {weight}");
    }
}
