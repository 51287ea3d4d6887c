//! Deficit round robin among the children of one node, in one tier.
//!
//! Shreedhar and Varghese's DRR with three changes that the shaper needs:
//! - a release is never split, so a deficit may go below zero and is paid back in later rounds;
//! - a child leaves while it waits for a limit of its own or for its next request. Each child knows the round in which
//!   its next turn is due; one that comes back late goes to the front, so that a limit below the fair share is met in full,
//!   and one that has had its turn goes to the back. No child has more than one turn in a round either way;
//! - the credit of a turn tunes itself: it grows when turns pass without a release and shrinks when they don't, so that a
//!   release costs O(1) turns whatever the weights and quanta are.

use super::tier::{TIERS, Tier};

pub(crate) const NONE: u32 = u32::MAX;

/// Bytes of credit per unit of weight and round at first: the smallest quantum of a leaf whose rate is not yet known.
const CREDIT_BYTES_AT_FIRST: f64 = 8.0 * 1024.0;
const CREDIT_BYTES_MIN: f64 = 64.0;
/// Four turns in five release something when these two balance.
const CREDIT_GROWTH: f64 = 1.0 + 1.0 / 32.0;
const CREDIT_DECAY: f64 = 1.0 - 1.0 / 128.0;

/// Limits a weight to what the arithmetic bears; configuration refuses others long before.
pub(crate) fn sane_weight(weight: f64) -> f64 {
    if weight.is_finite() { weight.clamp(1e-6, 1e6) } else { 1.0 }
}

/// A child's place in its parent's ring of one tier.
#[derive(Copy, Clone, Debug)]
pub(crate) struct Seat {
    pub(crate) prev: u32,
    pub(crate) next: u32,
    pub(crate) taken: bool,
    /// Bytes it may still have in this turn; negative: owes.
    deficit: f64,
    /// The round in which its next turn is due.
    due: u64,
}

/// What rings know of a node as a child.
#[derive(Copy, Clone, Debug)]
pub(crate) struct Place {
    pub(crate) weight: f64,
    pub(crate) seats: [Seat; TIERS],
}

impl Place {
    pub(crate) fn new(weight: f64) -> Self {
        // Due since round 0 with something in hand: a newcomer's first turn comes first.
        let seat = Seat { prev: NONE, next: NONE, taken: false, deficit: 1.0, due: 0 };
        Place { weight: sane_weight(weight), seats: [seat; TIERS] }
    }
}

/// The children of one node that can release in one tier, in the order of their turns.
#[derive(Copy, Clone, Debug)]
pub(crate) struct Ring {
    pub(crate) head: u32,
    tail: u32,
    round: u64,
    /// The same for all in one round, or those who end their turns early and late in it would get unequal credit.
    credit_per_weight: f64,
    /// What the credit of the next round will be.
    credit_tuned: f64,
}

impl Ring {
    pub(crate) const fn new() -> Self {
        Ring {
            head: NONE,
            tail: NONE,
            round: 0,
            credit_per_weight: CREDIT_BYTES_AT_FIRST,
            credit_tuned: CREDIT_BYTES_AT_FIRST,
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.head == NONE
    }

    /// Seats a child: in front when its turn is due in this round or was missed, else at the back.
    pub(crate) fn enter(&mut self, places: &mut [Place], id: u32, tier: Tier) {
        let place = &mut places[id as usize];
        let credit = self.credit_per_weight * place.weight;
        let seat = &mut place.seats[tier.index()];
        let missed = self.round.saturating_sub(seat.due);
        if missed > 0 && seat.deficit < credit {
            // The rounds it was away for would each have paid back one credit; at most one is kept in hand.
            seat.deficit = credit.min(seat.deficit + missed as f64 * credit);
        }
        if seat.due <= self.round {
            seat.due = self.round;
            self.push_front(places, id, tier);
        } else {
            self.push_back(places, id, tier);
        }
    }

    /// Takes a child's seat away. Deficit and due round stay with the child.
    pub(crate) fn leave(&mut self, places: &mut [Place], id: u32, tier: Tier) {
        let tier = tier.index();
        let seat = &mut places[id as usize].seats[tier];
        let (prev, next) = (seat.prev, seat.next);
        (seat.prev, seat.next, seat.taken) = (NONE, NONE, false);
        match prev {
            NONE => self.head = next,
            _ => places[prev as usize].seats[tier].next = next,
        }
        match next {
            NONE => self.tail = prev,
            _ => places[next as usize].seats[tier].prev = prev,
        }
    }

    /// Whose turn it is.
    pub(crate) fn turn(&mut self, places: &mut [Place], tier: Tier) -> Option<u32> {
        while self.head != NONE {
            let id = self.head;
            let seat = &places[id as usize].seats[tier.index()];
            if seat.due > self.round {
                self.round = seat.due;
                self.credit_per_weight = self.credit_tuned;
            }
            if seat.deficit > 0.0 {
                self.credit_tuned = CREDIT_BYTES_MIN.max(self.credit_tuned * CREDIT_DECAY);
                return Some(id);
            }
            self.credit_tuned *= CREDIT_GROWTH;
            self.end_turn(places, id, tier);
        }
        None
    }

    /// Books a release; the turn ends when the deficit is used up.
    pub(crate) fn charge(&mut self, places: &mut [Place], id: u32, tier: Tier, bytes: u32) {
        let seat = &mut places[id as usize].seats[tier.index()];
        seat.deficit -= f64::from(bytes);
        if seat.deficit <= 0.0 {
            self.end_turn(places, id, tier);
        }
    }

    /// Books a release back.
    pub(crate) fn refund(places: &mut [Place], id: u32, tier: Tier, bytes: u32) {
        places[id as usize].seats[tier.index()].deficit += f64::from(bytes);
    }

    fn end_turn(&mut self, places: &mut [Place], id: u32, tier: Tier) {
        let place = &mut places[id as usize];
        let credit = self.credit_per_weight * place.weight;
        let seat = &mut place.seats[tier.index()];
        seat.deficit += credit;
        seat.due = self.round + 1;
        if seat.taken && self.tail != id {
            self.leave(places, id, tier);
            self.push_back(places, id, tier);
        }
    }

    fn push_front(&mut self, places: &mut [Place], id: u32, tier: Tier) {
        let tier = tier.index();
        let seat = &mut places[id as usize].seats[tier];
        (seat.prev, seat.next, seat.taken) = (NONE, self.head, true);
        match self.head {
            NONE => self.tail = id,
            head => places[head as usize].seats[tier].prev = id,
        }
        self.head = id;
    }

    fn push_back(&mut self, places: &mut [Place], id: u32, tier: Tier) {
        let tier = tier.index();
        let seat = &mut places[id as usize].seats[tier];
        (seat.prev, seat.next, seat.taken) = (self.tail, NONE, true);
        match self.tail {
            NONE => self.head = id,
            tail => places[tail as usize].seats[tier].next = id,
        }
        self.tail = id;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn served(weights: &[f64], bytes: &[u32], releases: usize) -> Vec<u64> {
        let mut places: Vec<Place> = weights.iter().map(|&weight| Place::new(weight)).collect();
        let mut ring = Ring::new();
        for id in 0..weights.len() as u32 {
            ring.enter(&mut places, id, Tier::Lent);
        }
        let mut sums = vec![0; weights.len()];
        for _ in 0..releases {
            let id = ring.turn(&mut places, Tier::Lent).expect("seated");
            ring.charge(&mut places, id, Tier::Lent, bytes[id as usize]);
            sums[id as usize] += u64::from(bytes[id as usize]);
        }
        sums
    }

    #[test]
    fn splits_by_weight_whatever_the_quanta() {
        let sums = served(&[1.0, 2.0, 10.0], &[65_536, 1_024, 8_192], 100_000);
        let per_weight = [sums[0] as f64, sums[1] as f64 / 2.0, sums[2] as f64 / 10.0];
        for share in per_weight {
            assert!((share / per_weight[0] - 1.0).abs() < 0.01, "{sums:?}");
        }
    }

    #[test]
    fn a_tiny_weight_neither_stops_the_ring_nor_is_forgotten() {
        let sums = served(&[0.001, 1.0, 1.0], &[65_536; 3], 100_000);
        let share = sums[0] as f64 / sums[1] as f64;
        assert!((0.0008..0.0015).contains(&share), "{sums:?}");
    }

    #[test]
    fn leaving_between_turns_gains_nothing() {
        let mut places = vec![Place::new(1.0); 3];
        let mut ring = Ring::new();
        for id in 0..3 {
            ring.enter(&mut places, id, Tier::Lent);
        }
        let mut sums = [0_u32; 3];
        for _ in 0..3_000 {
            let id = ring.turn(&mut places, Tier::Lent).expect("seated");
            // Children 0 and 1 leave and come back around every release, as leaves do.
            if id < 2 {
                ring.leave(&mut places, id, Tier::Lent);
            }
            ring.charge(&mut places, id, Tier::Lent, 1000);
            if id < 2 {
                ring.enter(&mut places, id, Tier::Lent);
            }
            sums[id as usize] += 1;
        }
        assert!(sums.iter().all(|&sum| (980..1020).contains(&sum)), "{sums:?}");
    }
}
