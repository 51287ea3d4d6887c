//! Who of a node's children is due first: a pairing heap (Fredman, Sedgewick, Sleator, Tarjan), its links in the children themselves.
//!
//! Guarantees are served so, earliest deadline first. The deadline of a piece is when the next one of its leaf falls due: the virtual clock
//! of Zhang. Each clock already says how much its leaf may have, and together they fit the total. Turns by weight would hold a fast one
//! back until every slow one has had its turn, and so would the order in which they came.

use super::ring::{NONE, Place};

/// A child's place in its parent's queue.
#[derive(Copy, Clone, Debug)]
pub(crate) struct DueSeat {
    /// By when its piece is to have gone.
    pub(crate) at: u64,
    /// It goes after all that are due until then: it has had its turn.
    pub(crate) not_before: u64,
    /// The first of those that it was found to be before, the next of its siblings, and the one before it or its parent in the heap.
    pub(crate) child: u32,
    pub(crate) next: u32,
    pub(crate) prev: u32,
    pub(crate) taken: bool,
}

impl DueSeat {
    pub(crate) const fn new() -> Self {
        DueSeat { at: 0, not_before: 0, child: NONE, next: NONE, prev: NONE, taken: false }
    }
}

/// The children of one node that wait within a guarantee.
#[derive(Copy, Clone, Debug)]
pub(crate) struct DueQueue {
    first: u32,
}

impl DueQueue {
    pub(crate) const fn new() -> Self {
        DueQueue { first: NONE }
    }

    pub(crate) fn first(&self) -> Option<u32> {
        (self.first != NONE).then_some(self.first)
    }

    /// When the first of them is due.
    pub(crate) fn first_at(&self, places: &[Place]) -> Option<u64> {
        self.first().map(|id| places[id as usize].due.at)
    }

    /// Seats a child that is due at `at`.
    pub(crate) fn insert(&mut self, places: &mut [Place], id: u32, at: u64) {
        let not_before = places[id as usize].due.not_before;
        places[id as usize].due = DueSeat { at: at.max(not_before), not_before, taken: true, ..DueSeat::new() };
        self.first = merge(places, self.first, id);
    }

    /// Takes a child's seat away.
    pub(crate) fn remove(&mut self, places: &mut [Place], id: u32) {
        let DueSeat { not_before, child, next, prev, .. } = places[id as usize].due;
        places[id as usize].due = DueSeat { not_before, ..DueSeat::new() };
        let below = merge_all(places, child);
        if self.first == id {
            self.first = below;
            return;
        }
        let above = &mut places[prev as usize].due;
        let link = if above.child == id { &mut above.child } else { &mut above.next };
        *link = next;
        if next != NONE {
            places[next as usize].due.prev = prev;
        }
        self.first = merge(places, self.first, below);
    }

    /// All children, for the recount; panics where links don't agree.
    #[cfg(any(test, debug_assertions))]
    pub(crate) fn check(&self, places: &[Place]) -> Vec<u32> {
        let mut open: Vec<u32> = self.first().into_iter().collect();
        let mut seen = Vec::new();
        while let Some(id) = open.pop() {
            seen.push(id);
            assert!(seen.len() <= places.len(), "a queue without an end");
            let seat = &places[id as usize].due;
            assert!(seat.taken, "{id} is in the queue without a seat");
            let (mut prev, mut child) = (id, seat.child);
            while child != NONE {
                let below = &places[child as usize].due;
                assert_eq!(below.prev, prev, "links of {child}");
                assert!(below.at >= seat.at, "{child} is due before {id}, which stands above it");
                open.push(child);
                (prev, child) = (child, below.next);
            }
        }
        seen
    }
}

/// Puts two heaps together, and cuts them off their siblings. Of equals the first stays in front.
fn merge(places: &mut [Place], one: u32, other: u32) -> u32 {
    let (above, below) = match (one, other) {
        (_, NONE) => (one, NONE),
        (NONE, _) => (other, NONE),
        _ if places[other as usize].due.at < places[one as usize].due.at => (other, one),
        _ => (one, other),
    };
    if below != NONE {
        let first = std::mem::replace(&mut places[above as usize].due.child, below);
        let seat = &mut places[below as usize].due;
        (seat.prev, seat.next) = (above, first);
        if first != NONE {
            places[first as usize].due.prev = below;
        }
    }
    if above != NONE {
        let seat = &mut places[above as usize].due;
        (seat.prev, seat.next) = (NONE, NONE);
    }
    above
}

/// Puts siblings together: in pairs, then the pairs from the last to the first.
fn merge_all(places: &mut [Place], first: u32) -> u32 {
    let (mut left, mut pairs) = (first, NONE);
    let next = |places: &[Place], id: u32| if id == NONE { NONE } else { places[id as usize].due.next };
    while left != NONE {
        let (one, other) = (left, next(places, left));
        left = next(places, other);
        let pair = merge(places, one, other);
        // A list of them, the last first.
        places[pair as usize].due.next = std::mem::replace(&mut pairs, pair);
    }
    let mut whole = NONE;
    while pairs != NONE {
        let pair = pairs;
        pairs = next(places, pair);
        whole = merge(places, whole, pair);
    }
    whole
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// As a sorted list of everybody would.
        #[test]
        fn the_first_is_who_is_due_first(steps in prop::collection::vec((0_u32..40, 0_u64..30), 0..400)) {
            let mut places = vec![Place::new(1.0); 40];
            let mut queue = DueQueue::new();
            let mut waiting = std::collections::BTreeMap::new();
            for (id, at) in steps {
                if waiting.remove(&id).is_some() {
                    queue.remove(&mut places, id);
                } else {
                    queue.insert(&mut places, id, at);
                    waiting.insert(id, at);
                }
                let mut seen = queue.check(&places);
                seen.sort_unstable();
                prop_assert_eq!(seen, waiting.keys().copied().collect::<Vec<_>>());
                prop_assert_eq!(queue.first_at(&places), waiting.values().copied().min());
            }
        }
    }
}
